"""A fork server: it imports the host once, and forks a child for every call.

The SDK sends it to the host's own interpreter as text, so it needs only the standard library. Each
line on its stdin is a request as JSON. A reply is a line of JSON, for a call that has ended
followed by the bytes of its stdout and stderr. The end of stdin ends the server.

A child does what the host's console script does in a process of its own: the same code and
arguments, its own process group, folder and files. Only the imports are done already. `CannotFork`
is raised for anything in this process that could make a difference.
"""

import contextlib
import gc
import json
import os
import select
import signal
import tempfile
import time
from typing import IO, Any, NoReturn

from spec_kitty_client.transports.warm.server.call import GRACE, ForkedCall
from spec_kitty_client.transports.warm.server.program import (
    READ_ONLY,
    CannotFork,
    Program,
    as_an_interpreter,
    flush_all,
)
from spec_kitty_client.transports.warm.server.state import changes, state, threads

__all__ = ["main"]

LONGEST_IMPORT = 120  # seconds, even if the client has ended meanwhile
OF_THE_CALLER = "folder", "umask", "open files"
"""The parts of a process that a call gets from its caller, whatever the import has changed."""


class ForkServer:
    """Receives requests, forks and replies, and never waits for one call alone."""

    def __init__(
        self, options: dict[str, Any], requests: int, replies: int, printed: IO[bytes]
    ) -> None:
        self.program: Program = Program(options)
        self.largest: int = options["largest"]
        self.temporary: str = options["temporary"]
        """The folder of the output files."""
        self.requests: int = requests
        self.replies: int = replies
        self.printed = printed
        """The stdout and stderr of this process, for anything that an import prints."""
        self.calls: dict[int, ForkedCall] = {}  # by pid
        self.preforked: ForkedCall | None = None
        self.may_prefork: bool = True
        """Whether a call has ended since the last prefork, so that a dying child is not forked
        endlessly."""
        self.unread: bytes = b""
        self.unsent: bytearray = bytearray()
        self.cannot_fork: dict[str, Any] = {}
        """The reply to all requests, once it is known that this process must not be forked."""
        self.closing: bool = False
        self.folder: os.stat_result = os.stat(".")
        self.woken: int
        self.wake: int
        self.woken, self.wake = os.pipe()
        for end in (self.woken, self.wake, requests, replies):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Serve until stdin and all calls have ended."""
        signal.signal(signal.SIGCHLD, _child_ended)
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        self.attempt(self.prepare)
        self.reply(**(self.cannot_fork or {"ready": True}))
        while not self.closing or self.calls:
            self.turn()

    def prepare(self) -> None:
        """Import the host, and check that it can be forked."""
        signal.alarm(LONGEST_IMPORT)
        before, since = state(), _file_time(self.temporary)
        self.program.load()
        self.check()
        self.program.remember_commands()
        if changed := [name for name in changes(before) if name in OF_THE_CALLER]:
            raise CannotFork(f"it changes something of its process when it is imported {changed}")
        self.program.note_files(since)
        self.check()
        signal.alarm(0)
        gc.collect()
        gc.freeze()  # a collection in a child would write to all memory that it shares

    def attempt(self, function: Any) -> None:
        """Call a function; if it fails, note the reason that this process cannot be forked."""
        try:
            function()
        except CannotFork as e:
            self.cannot_fork = {"cannot_fork": str(e), "again": e.again}
        except BaseException as e:
            self.cannot_fork = {"cannot_fork": f"{type(e).__name__}: {e}", "again": False}

    def check(self) -> None:
        """Raise `CannotFork` unless a child would be like a process of its own."""
        if path := self.program.changed_file():
            raise CannotFork(f"{path} has changed", again=True)
        flush_all()
        if os.fstat(self.printed.fileno()).st_size:
            text = os.pread(self.printed.fileno(), 500, 0).decode(errors="replace")
            # Python prints some warnings only when it compiles a module for the first time.
            raise CannotFork(f"it prints when it is imported: {text!r}", again=True)
        if (count := threads()) > 1:
            raise CannotFork(f"{count - 1} threads run in it, which a fork does not take along")
        if signal.getsignal(signal.SIGCHLD) is not _child_ended:
            raise CannotFork("it wants to be told of processes that end")

    def turn(self) -> None:
        """Wait for an event, and act on it."""
        read = [self.woken] if self.closing else [self.woken, self.requests]
        write = [self.replies] if self.unsent else []
        readable, writable, _ = select.select(read, write, [], self.time_left())
        if self.woken in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self.woken, 4096)
        if writable:
            self.send()
        if self.requests in readable:
            self.receive()
        self.reap()
        if self.has_time_to_prefork() and not (readable or writable):
            self.prefork()

    def time_left(self) -> float | None:
        """Return the seconds until there is something to do; None: no limit."""
        if self.has_time_to_prefork():
            return 0
        times = [c.next_signal_at for c in self.calls.values() if c.next_signal_at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def reply(self, *output: bytes, **fields: object) -> None:
        """Queue a reply."""
        self.unsent += b"".join([json.dumps(fields).encode(), b"\n", *output])

    def send(self) -> None:
        """Send as much as the client takes now."""
        try:
            del self.unsent[: os.write(self.replies, self.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.hang_up()

    def receive(self) -> None:
        """Read the available requests."""
        try:
            part = os.read(self.requests, 64 * 1024)
        except BlockingIOError:
            return
        if not part:
            self.hang_up()
        *lines, self.unread = (self.unread + part).split(b"\n")
        for line in lines:
            self.handle(json.loads(line))

    def hang_up(self) -> None:
        """Give the calls a grace period, because their client has ended."""
        self.closing = True
        self.unsent.clear()
        for call in self.calls.values():
            if call is self.preforked:
                call.end()
            elif not call.is_ending:
                call.next_signal_at = time.monotonic() + GRACE

    def handle(self, request: dict[str, Any]) -> None:
        """Start a call, or end one."""
        if "end" in request:
            for call in self.calls.values():
                if call.number == request["end"]:
                    call.end(at_once=request["at_once"])
            return
        if not self.cannot_fork:
            self.attempt(self.check)
        if self.cannot_fork:
            self.reply(id=request["id"], **self.cannot_fork)
            return
        try:
            self.start(request)
        except OSError as e:  # the failure of one call must not end the others
            self.reply(id=request["id"], rejected=str(e))

    def start(self, request: dict[str, Any]) -> None:
        """Give a request to a child.

        Raises:
            OSError: If this server cannot run the call. The host has done nothing.
        """
        # A host may take a default from the folder in which it is imported; its API does not.
        of_api = request["argv"][:1] == READ_ONLY[:1] and not self.program.depends_on_folder
        if not of_api and not os.path.samestat(os.stat(request["cwd"] or "."), self.folder):
            raise OSError("it was imported in another folder")
        if not self.program.has_command(request["argv"]):
            raise OSError("its command was not loaded when the host was imported")
        call, self.preforked = self.preforked or self.fork(rehearse=False), None
        call.send(request)

    def has_time_to_prefork(self) -> bool:
        """Return whether no call is running, and none is preforked."""
        return self.may_prefork and not (self.calls or self.cannot_fork or self.closing)

    def prefork(self) -> None:
        """Fork a child for the next call."""
        self.may_prefork = False
        with contextlib.suppress(OSError):  # the next call forks its own child
            self.preforked = self.fork(rehearse=True)

    def fork(self, *, rehearse: bool) -> ForkedCall:
        """Fork a child that waits for its request.

        Raises:
            OSError: If the system refuses.
        """
        call = ForkedCall(self.temporary)
        call.pid = os.fork()
        if call.pid == 0:
            code = 1
            try:
                self.leave()
                code = self.be_the_call(call, rehearse=rehearse)
            finally:
                os._exit(code)
        with contextlib.suppress(OSError):
            os.setpgid(call.pid, call.pid)
        call.socket_of_child.close()
        self.calls[call.pid] = call
        return call

    def reap(self) -> None:
        """Reply for each ended call, and signal the calls whose time is up."""
        for call in tuple(self.calls.values()):
            if (code := call.exit_code()) is not None:
                del self.calls[call.pid]
                if call is self.preforked:
                    self.preforked = None
                if call.number and not self.closing:
                    self.conclude(call, code)
                call.close()
            elif call.next_signal_at is not None and call.next_signal_at <= time.monotonic():
                call.end()

    def conclude(self, call: ForkedCall, code: int) -> None:
        """Send the output and the exit code of a call, or the reason that it did not begin."""
        self.may_prefork = True
        if not call.is_ending and (why := call.rejection()) is not None:
            self.reply(id=call.number, rejected=why)
            return
        out, err = call.output(self.largest)
        self.reply(out, err, id=call.number, code=code, out=len(out), err=len(err))

    # In the child

    def leave(self) -> None:
        """Close everything that belongs to the server."""
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for call in self.calls.values():
            call.close()
        for end in (self.woken, self.wake, self.requests, self.replies):
            os.close(end)
        self.printed.close()

    def be_the_call(self, call: ForkedCall, *, rehearse: bool) -> int:
        """Wait for the request, run the host, and return the exit code."""
        if rehearse and not self.program.rehearse():
            return 1
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # not before: a rehearsal compares signals
        flush_all()  # to the server's file: it does not fork after any output
        if (request := call.receive()) is None:
            return 0
        try:
            os.environ.update(request["env"])
            if request["umask"] is not None:
                os.umask(request["umask"])
            if request["cwd"] is not None:
                os.chdir(request["cwd"])
        except OSError as e:
            call.answer(str(e))
            return 0
        call.answer(None)
        return as_an_interpreter(self.program, request["argv"])


def _child_ended(*_: object) -> None:
    """Do nothing: only a signal with a handler wakes the loop."""


def _file_time(folder: str) -> int:
    """Return the current time of the file system, in nanoseconds."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_ctime_ns


def main(options: dict[str, Any]) -> NoReturn:
    """Serve on stdin and stdout."""
    requests, replies = os.dup(0), os.dup(1)
    # tempfile must not remember it, because a call may have another one.
    options["temporary"], tempfile.tempdir = tempfile.gettempdir(), None
    printed = tempfile.TemporaryFile(dir=options["temporary"], buffering=0)  # noqa: SIM115
    with open(os.devnull, "r+b", 0) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)
    ForkServer(options, requests, replies, printed).serve()
    os._exit(0)
