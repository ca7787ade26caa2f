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
import fcntl
import functools
import gc
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import io
import itertools
import json
import locale
import logging
import os
import resource
import runpy
import select
import signal
import sys
import tempfile
import threading
import time
import types
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import IO, Any, NoReturn

CHUNK = 64 * 1024  # bytes of output in one reply, so that calls take turns
GRACE = 5.0  # seconds between two steps of ending a call
PATIENCE = 30.0  # seconds for an import that is only tried
OURS = "<warm>"  # the name of this file in tracebacks
READ_ONLY = ["orchestrator-api", "contract-version"]
"""What the host is given when it is stopped at its parser; how a call of its API begins."""
MUST_STAY = "folder", "umask", "open files"
"""What a call gets from who has called it, whatever was imported before."""


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
        self.script: str | None = told["script"]
        self.module: str = told["module"]
        self.first_on_path: bool = told["first_on_path"]
        self.code: types.CodeType | None = None
        self.by_folder = False
        """Whether other modules may be found in another folder."""
        self.files: dict[str, tuple[int, ...]] = {}
        self.folders: dict[str, int] = {}
        self.edited: list[str] = []
        """Those of the files that somebody may be working on."""

    def load(self) -> None:
        """Import what the program imports."""
        self._import()
        here = os.stat(".")
        for folder in sys.path:
            with contextlib.suppress(OSError):
                if not os.path.isabs(folder) or os.path.samestat(os.stat(folder), here):
                    self.by_folder = True

    def _import(self) -> None:
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
        if self.first_on_path:
            sys.path.insert(0, os.path.dirname(os.path.realpath(self.script)))
        next(iter(found)).load()

    def note(self, path: str, since: int) -> None:
        """Remember what a file is like, and when its folder was last changed.

        Raises:
            Unfit: If it may be another one than that which was read since then.
        """
        with contextlib.suppress(OSError, ValueError):
            if os.stat(path).st_ctime_ns >= since:
                raise Unfit(f"{path} has changed", again=True)
            self.files[path] = _likeness(path)
            if path == self.script or not path.startswith((sys.prefix, sys.base_prefix)):
                self.edited.append(path)
            folder = os.path.dirname(path)
            if folder not in self.folders:
                self.folders[folder] = os.stat(folder).st_mtime_ns

    def note_files(self, since: int) -> None:
        """Remember what the files are like that were read since then."""
        about = [getattr(module, "__file__", None) for module in tuple(sys.modules.values())]
        for path in (self.script, sys.executable, *about):
            if isinstance(path, str) and path not in self.files:
                self.note(path, since)

    def changed(self) -> str | None:
        """Return a file that is not what it was.

        Whoever installs replaces files, which their folders tell, a tenth as many. Only what is
        not installed, but used from where it is written, may be written to in its place.
        """
        for path in self.edited if self._same_folders() else self.files:
            try:
                if _likeness(path) != self.files[path]:
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
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        if self.script is None or self.code is None:
            sys.argv[:] = ["-m", *argv]
            inside(runpy)._run_module_as_main(self.module)
            return
        sys.argv[:] = [self.script, *argv]
        loader = importlib.machinery.SourceFileLoader("__main__", self.script)
        main.__dict__.update(__file__=self.script, __cached__=None, __loader__=loader)
        exec(self.code, main.__dict__)


def _likeness(path: str) -> tuple[int, ...]:
    about = os.stat(path)
    return about.st_ino, about.st_size, about.st_mtime_ns


class _AtTheParser(BaseException):
    """The host has come to its parser."""


def remember_commands(program: Program) -> None:
    """Keep the command tree, which typer makes anew from its decorators at every start.

    The program is started, and stopped at its parser; what it has set up on its way there is
    undone, because that may depend on its words. What it has imported there is not, nor are the
    filters of warnings that only came with that, as a second start tells. Whether that is the
    whole difference is seen in a fork, which must get to the same point from here.
    """
    typer: Any = sys.modules.get("typer.main")
    if typer is None:
        return
    before = _state()
    app, set_up = _at_the_parser(program, typer)
    again = _at_the_parser(program, typer)[1]["warnings"][1]
    before["warnings"][1][:0] = [x for x in set_up["warnings"][1] if x not in again]
    inside(warnings).filters[:] = before["warnings"][1]
    # An import may want something to be done at the end, and a fork has a chance of its own.
    left = [name for name in _different(before) if name not in ("end", "chance")]
    if left or not _in_a_fork(lambda: _starts_again(program, typer, app, set_up)):
        raise Unfit(f"what it sets up for all of its process cannot be undone {left}")
    make = typer.get_command
    tree, made_of = make(app), _decorations(app)

    def get_command(typer_instance: Any) -> Any:
        if typer_instance is app and _decorations(app) == made_of:
            return tree
        return make(typer_instance)

    typer.get_command = get_command


def _at_the_parser(program: Program, typer: Any) -> tuple[Any, dict[str, Any]]:
    """Return the application whose parser a program comes to, and what is set up by then."""
    found: list[Any] = []

    def stop(app: Any, *_: Any, **__: Any) -> NoReturn:
        found.extend((app, _state()))
        raise _AtTheParser

    call = typer.Typer.__call__
    typer.Typer.__call__ = stop
    try:
        with _undone():
            program.run(READ_ONLY)
    except _AtTheParser:
        return found[0], found[1]
    except BaseException as e:
        raise Unfit(f"it does not start: {e!r}") from e
    finally:
        typer.Typer.__call__ = call
    raise Unfit("it does not come to a parser that is known")


def _starts_again(program: Program, typer: Any, app: Any, set_up: dict[str, Any]) -> bool:
    """Tell whether a start comes to the same, and leaves nothing when it is undone."""
    before = _state()
    other, again = _at_the_parser(program, typer)
    again["chance"] = set_up["chance"]  # another one in each fork
    return other is app and again == set_up and not _different(before)


def _in_a_fork(holds: Callable[[], bool]) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if holds() else 1)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _decorations(app: Any) -> tuple[Any, ...]:
    """Return what the tree of an application is made of."""
    groups = [g.typer_instance for g in app.registered_groups]
    inner = [_decorations(group) for group in groups if group is not None]
    return app.registered_callback, *app.registered_commands, *app.registered_groups, inner


@contextlib.contextmanager
def _undone() -> Generator[None]:
    """Put back what a program sets up for all of its process."""
    before, folder, argv = _state(), os.getcwd(), list(sys.argv)
    captured, main = inside(logging)._warnings_showwarning, sys.modules["__main__"]
    logs = [
        (x, list(x.handlers), [(h, h.level) for h in x.handlers], x.level, x.propagate, x.disabled)
        for _, x in _loggers()
    ]
    try:
        yield
    finally:
        for logger, handlers, levels, level, propagate, disabled in logs:
            logger.handlers[:] = handlers
            for handler, own in levels:
                handler.setLevel(own)
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled
        inside(logging)._warnings_showwarning = captured
        warnings.showwarning, sys.excepthook = before["warnings"][0], before["hooks"][0]
        warnings.resetwarnings()
        inside(warnings).filters.extend(before["warnings"][1])
        os.environ.clear()
        os.environ.update(before["environment"])
        os.chdir(folder)
        sys.path[:], sys.argv[:], sys.modules["__main__"] = before["paths"][0], argv, main
        for number, was in before["signals"].items():
            if was is not None and signal.getsignal(number) != was:
                signal.signal(number, was)


def _loggers() -> list[tuple[str, logging.Logger]]:
    known = logging.root.manager.loggerDict.items()
    return [("", logging.root), *((n, x) for n, x in known if isinstance(x, logging.Logger))]


def _settings(logger: logging.Logger) -> tuple[Any, ...]:
    handlers = [
        (type(h), h.level) for h in logger.handlers if not isinstance(h, logging.NullHandler)
    ]
    return handlers, logger.level, logger.propagate, logger.disabled


def _state() -> dict[str, Any]:
    """Return what a process has only once, and whoever changes it changes it for all."""
    umask = os.umask(0)
    os.umask(umask)
    usual: tuple[Any, ...] = [], logging.NOTSET, True, False
    socket, random = sys.modules.get("socket"), sys.modules.get("random")
    limits = [getattr(resource, x) for x in dir(resource) if x.startswith("RLIMIT_")]
    return {
        "environment": dict(os.environ),
        "folder": os.path.realpath("."),
        "umask": umask,
        "paths": (list(sys.path), list(sys.meta_path), list(sys.path_hooks)),
        "warnings": (warnings.showwarning, list(warnings.filters)),
        "loggers": {n: about for n, x in _loggers() if (about := _settings(x)) != usual},
        "logging": (logging.root.manager.disable, logging.getLogRecordFactory()),
        "signals": {n: signal.getsignal(n) for n in signal.valid_signals()},
        "locale": locale.setlocale(locale.LC_ALL),
        "names for all": dict(vars(builtins)),
        "hooks": (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook),
        "end": inside(atexit)._ncallbacks(),
        "threads": _threads(),
        "limits": {number: resource.getrlimit(number) for number in limits},
        "sockets": (inside(socket).getdefaulttimeout() if socket else None,),
        "chance": inside(random).getstate() if random else None,
        "input and outputs": [
            (x, getattr(x, "encoding", None), getattr(x, "errors", None))
            for x in (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        ],
        "open files": _open_files(),
        "interpreter": (sys.getrecursionlimit(), sys.gettrace(), sys.getprofile()),
        "collector": (gc.isenabled(), gc.get_threshold(), list(gc.callbacks)),
    }


def _different(before: dict[str, Any]) -> list[str]:
    """Return what is not as it was, as far as it was known."""
    now = _state()
    return [name for name in before if before[name] not in (None, now[name])]


def _threads() -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    return threading.active_count()


def _open_files() -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(os.listdir("/dev/fd"))
    return []


class Call:
    """One child, from its fork to the last byte of what it has written."""

    def __init__(self, number: int, folder: str, then: Callable[["Call", int], None]) -> None:
        self.number = number
        self.pid = 0
        self.then = then
        """What is done with it and its exit code."""
        self.out, self.err, self.news = (
            tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed when it has been told
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

    def modules(self) -> dict[str, str | None]:
        """Return the names that the child has imported and we have not, with their files."""
        self.news.seek(0)
        told: dict[str, str | None] = {}
        with contextlib.suppress(ValueError):  # there is none of who was killed
            told = json.loads(self.news.read())
        return told

    def tell_modules(self, before: int) -> None:
        """Remember what was imported in the child."""
        # From the end, because to touch what is shared with the parent copies it.
        new = [*itertools.islice(reversed(sys.modules), max(0, len(sys.modules) - before))]
        os.pwrite(self.news.fileno(), json.dumps(_files(reversed(new))).encode(), 0)

    def has_written(self) -> bool:
        """Tell whether there is any output of it."""
        return any(os.fstat(file.fileno()).st_size for file in (self.out, self.err))

    def close(self) -> None:
        """Forget what it has written."""
        for file in (self.out, self.err, self.news):
            file.close()


def _files(names: Iterable[str]) -> dict[str, str | None]:
    """Return where modules are from."""
    about = {name: getattr(sys.modules.get(name), "__dict__", {}).get("__file__") for name in names}
    return {name: file if isinstance(file, str) else None for name, file in about.items()}


def _now(folder: str) -> int:
    """Return the time that a file gets which is changed now, in nanoseconds."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_ctime_ns


def _line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


class Server:
    """Takes requests, forks, and tells what came of it; nothing waits for anything else."""

    def __init__(self, told: dict[str, Any], requests: int, replies: int, said: IO[bytes]) -> None:
        self.program = Program(told)
        self.largest: int = told["largest"]
        self.files: str = told["files"]
        """Where outputs are put."""
        self.requests, self.replies, self.said = requests, replies, said
        self.calls: dict[int, Call] = {}  # by pid
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
        self.queue.append(iter([_line(**(self.unfit or {"ready": True}))]))
        while not (self.over and not self.calls):
            self.turn()

    def prepare(self) -> None:
        """Import the host, and see whether anything speaks against forking it."""
        if not hasattr(os, "fork"):
            raise Unfit("there is no fork on that system")
        before, since, self.folder = _state(), _now(self.files), os.stat(".")
        self.program.load()
        self.check()
        remember_commands(self.program)
        if moved := [name for name in _different(before) if name in MUST_STAY]:
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
        if (count := _threads()) > 1:
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
        if not readable and not writable and self.may_learn():
            self.learn()

    def patience(self) -> float | None:
        """Return how long nothing has to be done, in seconds; None: for ever."""
        if self.may_learn():
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
                call.end()  # nobody ever waits for what is only tried
            elif call.next_step is None and call.steps:
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
        try:
            self.make(request)
        except OSError as e:  # one call less is no reason to end all others
            self.queue.append(iter([_line(id=request["id"], declined=str(e))]))

    def make(self, request: dict[str, Any]) -> None:
        """Make a call.

        Raises:
            OSError: If that cannot be done here and now; nothing has happened.
        """
        if request["cwd"] is not None:
            os.chdir(request["cwd"])
        # A host may take a default from the folder in which it is imported; its API does not.
        of_api = request["argv"][:1] == READ_ONLY[:1] and not self.program.by_folder
        if not of_api and not os.path.samestat(os.stat("."), self.folder):
            raise OSError("it was imported in another folder")
        call = Call(request["id"], self.files, self.ended)
        self.fork(call, functools.partial(self.be_the_program, call, request))

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
        self.calls[call.pid] = call
        self.untold.add(call)

    def reap(self) -> None:
        """Notice children that have ended."""
        for call in tuple(self.calls.values()):
            code = call.has_ended()
            if code is not None:
                del self.calls[call.pid]
                call.then(call, code)

    def ended(self, call: Call, code: int) -> None:
        """Tell what became of a call."""
        self.to_import.append(call.modules())
        if self.over:
            self.close(call)
        else:
            self.queue.append(self.told(call, code))

    def close(self, call: Call) -> None:
        """Forget what a child has written."""
        self.untold.discard(call)
        call.close()

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
                trial = Call(0, self.files, functools.partial(self.tried, names))
                trial.steps, trial.next_step = [signal.SIGKILL], time.monotonic() + PATIENCE
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
        os.dup2(call.out.fileno(), 1)
        os.dup2(call.err.fileno(), 2)
        for file in (call.out, call.err):
            file.close()
        for other in self.untold:
            other.close()
        for end in (self.woken, self.wake, self.requests, self.replies):
            os.close(end)
        self.said.close()

    def be_the_program(self, call: Call, request: dict[str, Any]) -> int:
        """Do what was asked, and return the exit code."""
        if request["umask"] is not None:
            os.umask(request["umask"])
        before = len(sys.modules)
        code = _as_an_interpreter(self.program, request["argv"])
        call.tell_modules(before)
        return code


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
    before, known = _state(), set(sys.modules)
    for name in names:
        importlib.import_module(name)
    sys.stdout.flush()
    sys.stderr.flush()
    new = _files(sys.modules.keys() - known)
    as_in_the_call = all(names.get(name, "") == file for name, file in new.items())
    return 0 if as_in_the_call and not _different(before) else 1


def _as_an_interpreter(program: Program, argv: list[str]) -> int:
    """Run the program and end it as an interpreter does; return its exit code."""
    error = _raised(program.run, argv)
    code = 0 if error is None else _exit_code(error)
    _raised(inside(threading)._shutdown)
    inside(atexit)._run_exitfuncs()
    if not all([_flushed(sys.stdout), _flushed(sys.stderr)]):
        code = 120
    for thing in gc.get_objects():  # of this child only: the others are frozen
        if isinstance(thing, io.IOBase) and not thing.closed:
            with contextlib.suppress(Exception):
                thing.flush()
    if type(error) is KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return code


def _raised(function: Callable[..., object], *args: object) -> BaseException | None:
    """Return what a function raises, as if it were called by nobody."""
    try:
        function(*args)
    except BaseException as e:
        while e.__traceback__ and e.__traceback__.tb_frame.f_code.co_filename == OURS:
            e.__traceback__ = e.__traceback__.tb_next
        return e
    return None


def _exit_code(error: BaseException) -> int:
    """Tell an exception, and return the exit code of a program that ends by it."""
    if not isinstance(error, SystemExit):
        other = _raised(sys.excepthook, type(error), error, error.__traceback__)
        if isinstance(other, SystemExit):
            return _exit_code(other)
        if other is not None:
            for words, what in (
                ("Error in sys.excepthook:", other),
                ("\nOriginal exception was:", error),
            ):
                print(words, file=sys.stderr)
                sys.__excepthook__(type(what), what, what.__traceback__)
        return 1
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF if -(2**63) <= error.code < 2**63 else 0xFF
    with contextlib.suppress(Exception):
        print(error.code, file=sys.stderr or sys.__stderr__)
    return 1


def _flushed(stream: Any) -> bool:
    """Write out what is left in an output, and tell whether that could be done."""
    if stream is None or getattr(stream, "closed", False):
        return True
    error = _raised(lambda: stream.flush())  # noqa: PLW0108 - there may be no flush
    if error is None:
        return True
    if stream is sys.stdout:
        where = "while flushing sys.stdout" if sys.version_info >= (3, 14) else f"in: {stream!r}"
        print(f"Exception ignored {where}", file=sys.stderr)
        sys.__excepthook__(type(error), error, error.__traceback__)
    return False


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
