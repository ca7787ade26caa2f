"""The program that a warm host is: its import, its parser, and a run of it as an interpreter's.

Run by the host's own interpreter; see `main`.
"""

import atexit
import builtins
import contextlib
import gc
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import io
import os
import runpy
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from spec_kitty_client.transports.warm.server.state import different, inside, state, undone

__all__ = ["READ_ONLY", "Program", "Unfit", "as_an_interpreter", "remember_commands"]

OURS = "<warm>"  # the name of these files in tracebacks
READ_ONLY = ["orchestrator-api", "contract-version"]
"""What the host is given when it is stopped at its parser; how a call of its API begins."""


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
        self.commands: frozenset[str] | None = None
        """The commands of the remembered tree; None: none is remembered."""

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

    def has(self, argv: list[str]) -> bool:
        """Return whether a call's command is in the remembered tree.

        4.0.0rc7 loads the commands that it finds in its arguments when it is imported.
        """
        if self.commands is None or not argv or argv[0].startswith("-"):
            return True
        return argv[0] in self.commands

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
    before = state()
    app, set_up = _at_the_parser(program, typer)
    again = _at_the_parser(program, typer)[1]["warnings"][1]
    before["warnings"][1][:0] = [x for x in set_up["warnings"][1] if x not in again]
    inside(warnings).filters[:] = before["warnings"][1]
    # An import may want something to be done at the end, and a fork has a chance of its own.
    left = [name for name in different(before) if name not in ("end", "chance")]
    if left or not _in_a_fork(lambda: _starts_again(program, typer, app, set_up)):
        raise Unfit(f"what it sets up for all of its process cannot be undone {left}")
    make = typer.get_command
    tree, made_of = make(app), _decorations(app)
    program.commands = frozenset(getattr(tree, "commands", ())) or None

    def get_command(typer_instance: Any) -> Any:
        if typer_instance is app and _decorations(app) == made_of:
            return tree
        return make(typer_instance)

    typer.get_command = get_command


def _at_the_parser(program: Program, typer: Any) -> tuple[Any, dict[str, Any]]:
    """Return the application whose parser a program comes to, and what is set up by then."""
    found: list[Any] = []

    def stop(app: Any, *_: Any, **__: Any) -> NoReturn:
        found.extend((app, state()))
        raise _AtTheParser

    call = typer.Typer.__call__
    typer.Typer.__call__ = stop
    try:
        with undone():
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
    before = state()
    other, again = _at_the_parser(program, typer)
    again["chance"] = set_up["chance"]  # another one in each fork
    return other is app and again == set_up and not different(before)


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


def as_an_interpreter(program: Program, argv: list[str]) -> int:
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
