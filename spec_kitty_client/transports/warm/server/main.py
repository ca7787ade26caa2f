"""A host that is imported once and forked for every call. Run by the host's own interpreter.

It is sent there as text, so standard library only, and nothing of this project. Requests come
as lines of JSON on its input and their end is its own end; replies go to its output.

A child of it is what the host's console script would be: the same code with the same words, in
a process of its own with its own group, folder and files, whose parent has done the imports
already. Whatever in this process could make a difference to that ends it.
"""

import collections
import contextlib
import fcntl
import functools
import gc
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import IO, Any, NoReturn

from spec_kitty_client.transports.warm.server.call import (
    CHUNK,
    GRACE,
    Call,
    files_of,
    line_of,
    modules_since,
)
from spec_kitty_client.transports.warm.server.pages import Pages
from spec_kitty_client.transports.warm.server.program import (
    READ_ONLY,
    Program,
    Unfit,
    as_an_interpreter,
    remember_commands,
)
from spec_kitty_client.transports.warm.server.state import different, state, threads

__all__ = ["main"]

PATIENCE = 30.0  # seconds for an import that is only tried
MUST_STAY = "folder", "umask", "open files"
"""What a call gets from who has called it, whatever was imported before."""


def _now(folder: str) -> int:
    """Return the time that a file gets which is changed now, in nanoseconds."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_ctime_ns


class Server:
    """Takes requests, forks, and tells what came of it; nothing waits for anything else."""

    def __init__(self, told: dict[str, Any], requests: int, replies: int, said: IO[bytes]) -> None:
        self.pid = os.getpid()
        self.program = Program(told)
        self.pages = Pages()
        self.largest: int = told["largest"]
        self.files: str = told["files"]
        """Where outputs are put."""
        self.requests, self.replies, self.said = requests, replies, said
        self.calls: dict[int, Call] = {}  # by pid
        self.spare: Call | None = None
        """The next one, which waits for its request."""
        self.may_fork = True
        """Whether a call has ended since that was made: one that dies is not made for ever."""
        self.untold: set[Call] = set()
        """Those whose files are open."""
        self.unread = b""
        self.out = b""
        self.queue: collections.deque[Iterator[bytes]] = collections.deque()
        self.to_import: collections.deque[dict[str, str | None]] = collections.deque()
        self.refused: set[str] = set()
        self.trying = False
        self.unfit: dict[str, Any] = {}
        """Why it cannot be forked, once that is so."""
        self.over = False
        self.woken, self.wake = os.pipe()
        for end in (self.woken, self.wake, requests, replies):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Serve until nobody asks any more and every call has ended."""
        signal.signal(signal.SIGCHLD, _ended)
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        with _ends_with(self.requests):
            self.attempt(self.prepare)
        # Nothing is asked for before this is read: without it, nothing was done.
        self.queue.append(iter([line_of(**(self.unfit or {"ready": True}))]))
        while not (self.over and not self.calls):
            self.turn()

    def prepare(self) -> None:
        """Import the host, and see whether anything speaks against forking it."""
        if not hasattr(os, "fork"):
            raise Unfit("there is no fork on that system")
        before, since, self.folder = state(), _now(self.files), os.stat(".")
        self.program.load()
        self.check()
        remember_commands(self.program)
        if moved := [name for name in different(before) if name in MUST_STAY]:
            raise Unfit(f"it changes something of its process when it is imported {moved}")
        self.settle(since)

    def settle(self, since: int) -> None:
        """Take note of what was imported, and keep the collector from what children share."""
        self.program.note_files(since)
        self.check()
        gc.collect()
        gc.freeze()

    def attempt(self, function: Callable[[], None]) -> None:
        """Do it, or remember why this process is unfit."""
        try:
            function()
        except Unfit as e:
            self.unfit = {"unfit": str(e), "again": e.again}
        except BaseException as e:
            self.unfit = {"unfit": f"{type(e).__name__}: {e}", "again": False}

    def check(self) -> None:
        """See that a child would be what a process of its own would be."""
        if path := self.program.changed():
            raise Unfit(f"{path} has changed", again=True)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        if os.fstat(self.said.fileno()).st_size:
            self.said.seek(0)
            words = self.said.read(500).decode(errors="replace")
            # What is compiled for the first time may have warnings, which are not seen again.
            raise Unfit(f"it prints when it is imported: {words!r}", again=True)
        if (count := threads()) > 1:
            raise Unfit(f"{count - 1} threads run in it, which a fork does not take along")
        if signal.getsignal(signal.SIGCHLD) is not _ended:
            raise Unfit("it wants to be told of processes that end")

    # One turn of the loop

    def turn(self) -> None:
        """Do what there is to do, or wait until there is."""
        while not self.out and self.queue:
            self.fill()
        read = [self.woken] if self.over else [self.woken, self.requests]
        write = [self.replies] if self.out else []
        readable, writable, _ = select.select(read, write, [], self.patience())
        if self.woken in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self.woken, 4096)
        if writable:
            self.send()
        if self.requests in readable:
            self.receive()
        self.reap()
        self.end_late_ones()
        if not readable and not writable:
            if self.may_learn():
                self.learn()
            elif self.may_prepare():
                self.prepare_call()

    def patience(self) -> float | None:
        """Return how long nothing has to be done, in seconds; None: for ever."""
        if self.may_learn() or self.may_prepare():
            return 0
        steps = [c.next_step for c in self.calls.values() if c.next_step is not None]
        return max(0.0, min(steps) - time.monotonic()) if steps else None

    def fill(self) -> None:
        """Take the next reply, from each call in turn."""
        replies = self.queue.popleft()
        for self.out in replies:
            self.queue.append(replies)
            return

    def send(self) -> None:
        """Send as much as is taken now."""
        try:
            self.out = self.out[os.write(self.replies, self.out) :]
        except BlockingIOError:
            pass
        except OSError:
            self.hang_up()

    def receive(self) -> None:
        """Read requests, as far as they are there."""
        try:
            part = os.read(self.requests, CHUNK)
        except BlockingIOError:
            return
        if not part:
            self.hang_up()
            return
        *lines, self.unread = (self.unread + part).split(b"\n")
        for line in lines:
            self.take(json.loads(line))

    def hang_up(self) -> None:
        """End what runs, a while after nobody waits for it any more."""
        self.over, self.out = True, b""
        self.queue.clear()
        for call in self.calls.values():
            if not call.number:
                call.end()  # nobody ever waits for it
            elif not (call.over or call.is_asked_to_end):
                call.next_step = time.monotonic() + GRACE

    def take(self, request: dict[str, Any]) -> None:
        """Do what is asked: a call, or the end of one."""
        if "end" in request:
            for call in self.calls.values():
                if call.number == request["end"]:
                    call.end(at_once=request["at_once"])
            return
        if not self.unfit:
            self.attempt(self.check)
        if self.unfit:
            self.queue.append(iter([line_of(id=request["id"], **self.unfit)]))
            return
        try:
            self.make(request)
        except OSError as e:  # one call less is no reason to end all others
            self.queue.append(iter([line_of(id=request["id"], declined=str(e))]))

    def make(self, request: dict[str, Any]) -> None:
        """Make a call.

        Raises:
            OSError: If that cannot be done here and now; nothing has happened.
        """
        call, self.spare = self.spare or self.new_call(in_time=False), None
        call.begin(request)

    def new_call(self, *, in_time: bool) -> Call:
        """Have a child that waits for what it is asked for.

        Args:
            in_time: Whether that is not known yet.

        Raises:
            OSError: If there cannot be one more.
        """
        call = Call(self.files, self.ended)
        self.fork(call, functools.partial(self.be_the_program, call, in_time))
        return call

    def may_prepare(self) -> bool:
        """Tell whether there is time for the next call."""
        busy = self.trying or any(not call.over for call in self.calls.values())
        return not (busy or self.spare or not self.may_fork or self.unfit or self.over)

    def prepare_call(self) -> None:
        """Fork for the next call; it costs a little memory until then."""
        self.may_fork = False
        with contextlib.suppress(OSError):  # it was only to save time
            self.spare = self.new_call(in_time=True)

    def fork(self, call: Call, function: Callable[[], int]) -> None:
        """Have a child do something, whose value is its exit code."""
        call.pid = os.fork()
        if call.pid == 0:
            code = 1
            try:
                self.leave(call)
                code = function()
            finally:
                os._exit(code)
        with contextlib.suppress(OSError):
            os.setpgid(call.pid, call.pid)
        call.begins.close()
        self.calls[call.pid] = call
        self.untold.add(call)

    def reap(self) -> None:
        """Notice children that have ended, or have nothing to do but that."""
        for call in tuple(self.calls.values()):
            code = call.has_ended()
            has_ended = code is not None
            if code is None:
                code = call.ends()
            if code is not None and not call.over:
                call.over = True
                call.then(call, code)
            if has_ended:
                self.bury(call)

    def bury(self, call: Call) -> None:
        """Have the last of a child."""
        del self.calls[call.pid]
        if pages := call.told_later().get("pages"):
            self.pages.learn(pages)
        for file in (call.news, call.go):
            file.close()

    def ended(self, call: Call, code: int) -> None:
        """Tell what became of a call."""
        told = call.told()
        if call is self.spare:
            self.spare = None
        elif call.number:
            self.may_fork = True
            self.to_import.append(told.get("modules", {}))
        if self.over or not call.number:
            self.close(call)
        elif "argv" in told and not call.is_asked_to_end:  # that is what it should have read
            self.decline(call, "its process was killed before it began")
        elif "declined" in told:
            self.decline(call, told["declined"])
        else:
            self.queue.append(self.told(call, code))

    def decline(self, call: Call, why: str) -> None:
        """Tell that nothing has come of a call."""
        self.close(call)
        self.queue.append(iter([line_of(id=call.number, declined=why)]))

    def close(self, call: Call) -> None:
        """Forget what a child has written."""
        self.untold.discard(call)
        call.forget()

    def told(self, call: Call, code: int) -> Iterator[bytes]:
        """Tell what a call has written, and how it ended."""
        try:
            yield from call.replies(code, self.largest)
        finally:
            self.close(call)

    def end_late_ones(self) -> None:
        """End what was asked to end, and has not."""
        now = time.monotonic()
        for call in self.calls.values():
            if call.next_step is not None and call.next_step <= now:
                call.end()

    # What calls import late

    def may_learn(self) -> bool:
        """Tell whether there is something that it could have for all calls."""
        return bool(self.to_import) and not (self.trying or self.unfit or self.over)

    def learn(self) -> None:
        """Have what a call has imported late imported by a child, to see what comes of it."""
        told = self.to_import.popleft()
        names = {n: told[n] for n in told if n not in sys.modules and n not in self.refused}
        if names:
            with contextlib.suppress(OSError):  # it was only to save time
                trial = Call(self.files, functools.partial(self.tried, names))
                trial.next_step = time.monotonic() + PATIENCE
                self.fork(trial, functools.partial(_leaves_no_trace, names))
                self.trying = True

    def tried(self, names: dict[str, str | None], trial: Call, code: int) -> None:
        """Import what was tried, if nothing came of it; else look for what it was."""
        self.trying = False
        harmless = code == 0 and not trial.has_written()
        self.close(trial)
        if self.over or self.unfit:
            return
        if harmless:
            self.attempt(functools.partial(self.take_over, names))
        elif len(names) > 1:
            each, half = list(names.items()), len(names) // 2
            self.to_import.extendleft([dict(each[half:]), dict(each[:half])])
        else:
            self.refused.update(names)

    def take_over(self, names: Iterable[str]) -> None:
        """Import something, so that the next call has it."""
        since = _now(self.files)
        for name in names:
            importlib.import_module(name)
        self.settle(since)

    # In the child

    def leave(self, call: Call) -> None:
        """Let go of everything that belongs to the parent."""
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        call.take_files()
        for other in {*self.untold, *self.calls.values()}:
            other.close()
        for end in (self.woken, self.wake, self.requests, self.replies):
            os.close(end)
        self.said.close()

    def be_the_program(self, call: Call, in_time: bool) -> int:
        """Do what it is asked for, and return the exit code."""
        if in_time:
            self.pages.copy()
        request = call.request()
        if request is None:
            return 0
        try:
            self.go_where(request)
        except OSError as e:
            call.tell(line_of(declined=str(e)))
            return 0
        if not self.program.has(request["argv"]):
            call.tell(line_of(declined="its command was not loaded when the host was imported"))
            return 0
        before = len(sys.modules)
        code = as_an_interpreter(self.program, request["argv"])
        if call.tell_end(code, modules_since(before), self.pid) and self.pages.wanted():
            call.tell(line_of(pages=self.pages.own()))
        return code

    def go_where(self, request: dict[str, Any]) -> None:
        """Go where a call is to run.

        Raises:
            OSError: If that cannot be; nothing has happened.
        """
        if request["umask"] is not None:
            os.umask(request["umask"])
        if request["cwd"] is not None:
            os.chdir(request["cwd"])
        # A host may take a default from the folder in which it is imported; its API does not.
        of_api = request["argv"][:1] == READ_ONLY[:1] and not self.program.by_folder
        if not of_api and not os.path.samestat(os.stat("."), self.folder):
            raise OSError("it was imported in another folder")


def _ended(*_: object) -> None:
    """Be called when a child has ended, so that the loop is woken."""


@contextlib.contextmanager
def _ends_with(requests: int) -> Generator[None]:
    """Have this process killed when nobody can ask any more; for while it does not look."""
    flags = fcntl.fcntl(requests, fcntl.F_GETFL)
    fcntl.fcntl(requests, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(requests, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        yield
    finally:
        fcntl.fcntl(requests, fcntl.F_SETFL, flags)


def _leaves_no_trace(names: dict[str, str | None]) -> int:
    """Import modules, and return 0 if that changes nothing but what is imported."""
    before, known = state(), set(sys.modules)
    for name in names:
        importlib.import_module(name)
    sys.stdout.flush()
    sys.stderr.flush()
    new = files_of(sys.modules.keys() - known)
    as_in_the_call = all(names.get(name, "") == file for name, file in new.items())
    return 0 if as_in_the_call and not different(before) else 1


def main(told: dict[str, Any]) -> NoReturn:
    """Serve: `told` says what."""
    requests, replies = os.dup(0), os.dup(1)
    # Found once, and then forgotten: a call may look elsewhere.
    told["files"], tempfile.tempdir = tempfile.gettempdir(), None
    said = tempfile.TemporaryFile(dir=told["files"])  # noqa: SIM115 - closed by the children
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    Server(told, requests, replies, said).serve()
    os._exit(0)
