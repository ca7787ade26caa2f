"""A host that is imported once and forked for every call. Run by the host's own interpreter.

It is sent there as text, so standard library only, and nothing of this project. Requests come
as lines of JSON on its input and their end is its own end; replies go to its output.

A child of it is what the host's console script would be: the same code with the same words, in
a process of its own with its own group, folder and files, whose parent has done the imports
already. Whatever in this process could make a difference to that ends it.
"""

import atexit
import builtins
import collections
import contextlib
import gc
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import io
import itertools
import json
import logging
import os
import runpy
import select
import signal
import sys
import tempfile
import threading
import time
import types
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import IO, Any, NoReturn

CHUNK = 64 * 1024  # bytes of output in one reply, so that calls take turns
GRACE = 5.0  # seconds between two steps of ending a call
RECENTLY = 0.25  # seconds
OURS = "<warm>"  # the name of this file in tracebacks
READ_ONLY = ["orchestrator-api", "contract-version"]
"""What the host is given when it is stopped at its parser."""


def inside(module: types.ModuleType) -> Any:
    """Return a module with what it does not promise to have, and has had for ever."""
    return module


class Unfit(Exception):
    """This process must not be forked for calls, or not any more.

    Args:
        reason: Why.
        again: Whether a new process may do better.
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


class Program:
    """The program that is called: a console script, or a package for ``python -m``."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.words: list[str] = told["words"]
        self.script: str | None = told["script"]
        self.module: str = told["module"]
        self.first_on_path: bool = told["first_on_path"]
        self.code: types.CodeType | None = None
        self.files: dict[str, tuple[int, ...]] = {}
        self.folders: dict[str, int] = {}
        self.looked_at = 0.0

    def load(self) -> None:
        """Import what the program imports."""
        if self.script is None:
            if self.first_on_path:
                sys.path.insert(0, os.getcwd())
            spec = importlib.util.find_spec(self.module)
            if spec is None or not spec.submodule_search_locations:
                raise Unfit(f"{self.module} is no package that is installed there")
            importlib.import_module(self.module)
            return
        name = os.path.basename(self.script)
        found = importlib.metadata.entry_points(group="console_scripts", name=name)
        if not found:
            raise Unfit(f"no package that is installed there has a console script {name!r}")
        with open(self.script, "rb") as file:
            self.code = compile(file.read(), self.script, "exec", dont_inherit=True)
        self.note(self.script)
        self.note(sys.executable)
        if self.first_on_path:
            sys.path.insert(0, os.path.dirname(os.path.realpath(self.script)))
        next(iter(found)).load()

    def note(self, path: str) -> None:
        """Remember what a file is like, and when its folder was last changed."""
        with contextlib.suppress(OSError, ValueError):
            self.files[path] = _likeness(path)
            folder = os.path.dirname(path)
            if folder not in self.folders:
                self.folders[folder] = os.stat(folder).st_mtime_ns

    def note_modules(self) -> None:
        """Remember what the files of all modules are like."""
        for module in tuple(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and path not in self.files:
                self.note(path)

    def changed(self) -> str | None:
        """Return a file that is not what it was.

        Whoever installs replaces files, which their folders tell, ten of them in the time of
        one. What is edited in its place is looked for as well, but not by every call of many.
        """
        now = time.monotonic()
        if self._same_folders() and now - self.looked_at < RECENTLY:
            return None
        self.looked_at = now
        for path, likeness in self.files.items():
            try:
                if _likeness(path) != likeness:
                    return path
            except OSError:
                return path
        return None

    def _same_folders(self) -> bool:
        same = True
        for folder, mtime in self.folders.items():
            try:
                now = os.stat(folder).st_mtime_ns
            except OSError:
                return False
            if now != mtime:  # it may be only that there is bytecode now
                self.folders[folder], same = now, False
        return same

    def run(self, argv: list[str]) -> None:
        """Do what the interpreter does with the program."""
        sys.argv[:] = [*self.words, *argv]
        if self.script is None or self.code is None:
            sys.argv[:] = ["-m", *argv]
            runpy.run_module(self.module, run_name="__main__", alter_sys=True)
            return
        main = types.ModuleType("__main__")
        loader = importlib.machinery.SourceFileLoader("__main__", self.script)
        main.__dict__.update(
            __file__=self.script, __cached__=None, __builtins__=builtins, __loader__=loader
        )
        sys.modules["__main__"] = main
        exec(self.code, main.__dict__)


def _likeness(path: str) -> tuple[int, ...]:
    about = os.stat(path)
    return about.st_ino, about.st_size, about.st_mtime_ns


class _AtTheParser(BaseException):
    """The host has come to its parser."""


def remember_commands(program: Program) -> None:
    """Keep the command tree, which typer makes anew from its decorators at every start.

    The program is started, and stopped at its parser; what it has set up on its way there is
    undone, because that may depend on its words. A tree that a call would not have is not used.
    """
    typer: Any = sys.modules.get("typer.main")
    if typer is None:
        return
    found: list[Any] = []

    def stop(app: Any, *_: Any, **__: Any) -> NoReturn:
        found.append(app)
        raise _AtTheParser

    call = typer.Typer.__call__
    typer.Typer.__call__ = stop
    try:
        with _undone():
            program.run(READ_ONLY)
    except _AtTheParser:
        pass
    except BaseException as e:
        raise Unfit(f"it does not start: {e!r}") from e
    finally:
        typer.Typer.__call__ = call
    if not found:
        raise Unfit("it does not come to a parser that is known")
    make = typer.get_command
    app, tree = found[0], make(found[0])
    made_of = _decorations(app)

    def get_command(typer_instance: Any) -> Any:
        if typer_instance is app and _decorations(app) == made_of:
            return tree
        return make(typer_instance)

    typer.get_command = get_command


def _decorations(app: Any) -> tuple[Any, ...]:
    """Return what the tree of an application is made of."""
    groups = [g.typer_instance for g in app.registered_groups]
    inner = [_decorations(group) for group in groups if group is not None]
    return id(app.registered_callback), len(app.registered_commands), len(groups), inner


@contextlib.contextmanager
def _undone() -> Generator[None]:
    """Put back what a program sets up for all of its process."""
    loggers = [
        logging.root,
        *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger)),
    ]
    logs = [
        (x, list(x.handlers), [(h, h.level) for h in x.handlers], x.level, x.propagate, x.disabled)
        for x in loggers
    ]
    filters, show, hook = list(warnings.filters), warnings.showwarning, sys.excepthook
    environ, folder, path, argv = dict(os.environ), os.getcwd(), list(sys.path), list(sys.argv)
    captured = inside(logging)._warnings_showwarning
    signals = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    main, callbacks = sys.modules["__main__"], inside(atexit)._ncallbacks()
    try:
        yield
    finally:
        for logger, handlers, levels, level, propagate, disabled in logs:
            logger.handlers[:] = handlers
            for handler, own in levels:
                handler.setLevel(own)
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled
        warnings.showwarning, sys.excepthook = show, hook
        warnings.resetwarnings()
        inside(warnings).filters.extend(filters)
        inside(logging)._warnings_showwarning = captured
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(folder)
        sys.path[:], sys.argv[:] = path, argv
        sys.modules["__main__"] = main
        for number, before in signals.items():
            if before is not None:
                signal.signal(number, before)
    if inside(atexit)._ncallbacks() != callbacks:
        raise Unfit("it wants something to be done at the end of this process")


class Call:
    """One child, from its fork to the last byte of what it has written."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.out, self.err, self.news = (
            tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been told
            for _ in range(3)
        )
        self.next_step: float | None = None
        self.steps = [signal.SIGTERM, signal.SIGKILL]

    def end(self, *, at_once: bool = False) -> None:
        """Ask it to end, then end it: the next of two steps each time."""
        if at_once:
            self.steps = [signal.SIGKILL]
        if self.steps:
            self.signal(self.steps.pop(0))
        self.next_step = time.monotonic() + GRACE if self.steps else None

    def signal(self, number: int) -> None:
        """Signal it and everything that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def has_ended(self) -> int | None:
        """Return its exit code, once it has one; who was asked to end leaves nothing."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        if self.next_step is not None or not self.steps:
            self.signal(signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def replies(self, code: int, largest: int) -> Iterator[bytes]:
        """Yield what the child has written, and then how it ended."""
        for name, file in (("out", self.out), ("err", self.err)):
            left = os.fstat(file.fileno()).st_size
            at = max(0, left - largest)
            while at < left:
                part = os.pread(file.fileno(), min(CHUNK, left - at), at)
                if not part:
                    break
                at += len(part)
                yield _line(id=self.number, stream=name, length=len(part)) + part
        yield _line(id=self.number, code=code)

    def modules(self) -> list[str]:
        """Return the names that the child has imported and we have not."""
        self.news.seek(0)
        return self.news.read().decode().split()

    def close(self) -> None:
        """Forget what it has written."""
        for file in (self.out, self.err, self.news):
            file.close()


def _line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


class Server:
    """Takes requests, forks, and tells what came of it; nothing waits for anything else."""

    def __init__(self, told: dict[str, Any], requests: int, replies: int, said: IO[bytes]) -> None:
        self.program = Program(told)
        self.largest: int = told["largest"]
        self.requests, self.replies, self.said = requests, replies, said
        self.calls: dict[int, Call] = {}  # by pid
        self.unread = b""
        self.out = b""
        self.queue: collections.deque[Iterator[bytes]] = collections.deque()
        self.to_import: collections.deque[str] = collections.deque()
        self.tried: set[str] = set()
        self.unfit: dict[str, Any] = {}
        """Why it cannot be forked, once that is so."""
        self.over = False
        self.woken, self.wake = os.pipe()
        for end in (self.woken, self.wake, requests, replies):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Serve until nobody asks any more and every call has ended."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        self.attempt(self.prepare)
        # Nothing is asked for before this is read: without it, nothing was done.
        self.queue.append(iter([_line(**(self.unfit or {"ready": True}))]))
        while not (self.over and not self.calls):
            self.turn()

    def prepare(self) -> None:
        """Import the host, and see whether anything speaks against forking it."""
        if not hasattr(os, "fork"):
            raise Unfit("there is no fork on that system")
        self.program.load()
        remember_commands(self.program)
        self.settle()

    def settle(self) -> None:
        """Take note of what was imported, and keep the collector from what children share."""
        self.program.note_modules()
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
        if os.fstat(self.said.fileno()).st_size:
            self.said.seek(0)
            words = self.said.read(500).decode(errors="replace")
            # What is compiled for the first time may have warnings, which are not seen again.
            raise Unfit(f"it prints when it is imported: {words!r}", again=True)
        count = threading.active_count()
        with contextlib.suppress(OSError):
            count = len(os.listdir("/proc/self/task"))
        if count > 1:
            raise Unfit(f"{count - 1} threads run in it, which a fork does not take along")

    # One turn of the loop

    def turn(self) -> None:
        """Do what there is to do, or wait until there is."""
        if not self.out and self.queue:
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
        if not readable and not writable and self.to_import:
            self.attempt(self.learn)

    def patience(self) -> float | None:
        """Return how long nothing has to be done, in seconds; None: for ever."""
        if self.to_import and not self.unfit:
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
            if call.next_step is None and call.steps:
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
            self.queue.append(iter([_line(id=request["id"], **self.unfit)]))
            return
        call = Call(request["id"])
        call.pid = os.fork()
        if call.pid == 0:
            self.be_the_program(call, request)
        with contextlib.suppress(OSError):
            os.setpgid(call.pid, call.pid)
        self.calls[call.pid] = call

    def reap(self) -> None:
        """Notice calls that have ended."""
        for call in tuple(self.calls.values()):
            code = call.has_ended()
            if code is None:
                continue
            del self.calls[call.pid]
            self.to_import.extend(call.modules())
            if self.over:
                call.close()
            else:
                self.queue.append(self.told(call, code))

    def told(self, call: Call, code: int) -> Iterator[bytes]:
        """Tell what a call has written, and how it ended."""
        try:
            yield from call.replies(code, self.largest)
        finally:
            call.close()

    def end_late_ones(self) -> None:
        """End what was asked to end, and has not."""
        now = time.monotonic()
        for call in self.calls.values():
            if call.next_step is not None and call.next_step <= now:
                call.end()

    def learn(self) -> None:
        """Import one thing that a child has imported late, so that the next one has it."""
        name = self.to_import.popleft()
        if name not in self.tried and name not in sys.modules:
            self.tried.add(name)
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        if not self.to_import:
            self.settle()

    # In the child

    def be_the_program(self, call: Call, request: dict[str, Any]) -> NoReturn:
        """Never returns."""
        code = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(call.out.fileno(), 1)
            os.dup2(call.err.fileno(), 2)
            for file in (call.out, call.err):
                file.close()
            for other in self.calls.values():
                other.close()
            for end in (self.woken, self.wake, self.requests, self.replies):
                os.close(end)
            self.said.close()
            if request["cwd"] is not None:
                os.chdir(request["cwd"])
            before = len(sys.modules)
            code = _as_an_interpreter(self.program, request["argv"])
            # From the end, because to touch what is shared with the parent copies it.
            new = [*itertools.islice(reversed(sys.modules), max(0, len(sys.modules) - before))]
            new.reverse()
            os.pwrite(call.news.fileno(), " ".join(new).encode(), 0)
        finally:
            os._exit(code)


def _as_an_interpreter(program: Program, argv: list[str]) -> int:
    """Run the program and end it as an interpreter does; return its exit code."""
    code: Any = None
    try:
        program.run(argv)
    except SystemExit as e:
        code = e.code
    except BaseException as e:
        while e.__traceback__ and e.__traceback__.tb_frame.f_code.co_filename == OURS:
            e.__traceback__ = e.__traceback__.tb_next
        sys.excepthook(type(e), e, e.__traceback__)
        code = 1
        if isinstance(e, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    if code is None:
        code = 0
    elif not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    inside(threading)._shutdown()
    inside(atexit)._run_exitfuncs()
    for thing in gc.get_objects():  # of this child only: the others are frozen
        if isinstance(thing, io.IOBase) and not thing.closed:
            with contextlib.suppress(Exception):
                thing.flush()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    return int(code) & 0xFF


def main(told: dict[str, Any]) -> NoReturn:
    """Serve: `told` says what."""
    requests, replies = os.dup(0), os.dup(1)
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the children
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    Server(told, requests, replies, said).serve()
    os._exit(0)
