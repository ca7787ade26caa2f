"""The host as a program: its import, its command tree, and a run as by an interpreter."""

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

from spec_kitty_client.transports.warm.server.state import changes, private, state, undone

__all__ = ["READ_ONLY", "CannotFork", "Program", "as_an_interpreter", "flush_all"]

OURS = "<warm>"  # the name of these files in tracebacks
READ_ONLY = ["orchestrator-api", "contract-version"]
"""The arguments of a dry start, and the first argument of every call of the API."""
LATE = (
    "encodings.utf_8_sig",
    "ruamel.yaml.mergevalue",
    "specify_cli.readiness.coordinator",
    "specify_cli.runtime.agent_skills",
    "specify_cli.compat._adapters.uv_receipt",
    "specify_cli.compat.messages",
    "specify_cli.migration.backfill_topology",
)
"""Modules that hosts of 1.0 to 3.2.7 import only during a call. It is imported once instead."""


class CannotFork(Exception):
    """This process must not be forked for calls, or not any more.

    Args:
        reason: The reason, as a clause.
        again: Whether a new process may succeed.
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


class Program:
    """The host: a console script, or a package for ``python -m``."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.script: str | None = options["script"]
        self.module: str = options["module"]
        self.first_on_path: bool = options["first_on_path"]
        self.code: types.CodeType | None = None
        self.depends_on_folder: bool = False
        """Whether other modules may be found in another folder."""
        self.files: dict[str, tuple[int, ...]] = {}
        self.folders: dict[str, int | None] = {}
        self.edited: list[str] = []
        """Files that are not installed, so that somebody may be working on them."""
        self.app: Any = None
        self.tree: Any = None
        """The command tree of the application; None: the host is not built with typer."""
        self.set_up: dict[str, Any] = {}
        """The state at the parser."""

    def load(self) -> None:
        """Import everything that the program imports when it starts."""
        self._import()
        here = os.stat(".")
        for folder in sys.path:
            with contextlib.suppress(OSError):
                if not os.path.isabs(folder) or os.path.samestat(os.stat(folder), here):
                    self.depends_on_folder = True

    def _import(self) -> None:
        if self.script is None:
            if self.first_on_path:
                sys.path.insert(0, os.getcwd())
            spec = importlib.util.find_spec(self.module)
            if spec is None or not spec.submodule_search_locations:
                raise CannotFork(f"{self.module} is no package that is installed there")
            importlib.import_module(self.module)
            return
        name = os.path.basename(self.script)
        found = importlib.metadata.entry_points(group="console_scripts", name=name)
        if not found:
            raise CannotFork(f"no package that is installed there has a console script {name!r}")
        with open(self.script, "rb") as file:
            self.code = compile(file.read(), self.script, "exec", dont_inherit=True)
        if self.first_on_path:
            sys.path.insert(0, os.path.dirname(os.path.realpath(self.script)))
        next(iter(found)).load()

    def run(self, argv: list[str]) -> None:
        """Run the program as an interpreter does."""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        if self.script is None or self.code is None:
            sys.argv[:] = ["-m", *argv]
            private(runpy)._run_module_as_main(self.module)
            return
        sys.argv[:] = [self.script, *argv]
        loader = importlib.machinery.SourceFileLoader("__main__", self.script)
        main.__dict__.update(__file__=self.script, __cached__=None, __loader__=loader)
        exec(self.code, main.__dict__)

    # Its files

    def note_files(self, since: int) -> None:
        """Remember the files that it was imported from.

        Raises:
            CannotFork: If a file was changed since then, so that its old content may be in memory.
        """
        modules = [getattr(module, "__file__", None) for module in tuple(sys.modules.values())]
        for path in (self.script, sys.executable, *modules):
            if isinstance(path, str):
                with contextlib.suppress(OSError, ValueError):
                    self._note_file(path, since)
        self.folders = {folder: _mtime(folder) for folder in map(os.path.dirname, self.files)}

    def _note_file(self, path: str, since: int) -> None:
        if os.stat(path).st_ctime_ns >= since:
            raise CannotFork(f"{path} has changed", again=True)
        self.files[path] = _version(path)
        if path == self.script or not path.startswith((sys.prefix, sys.base_prefix)):
            self.edited.append(path)

    def changed_file(self) -> str | None:
        """Return a changed file of the host, if there is one.

        An installer replaces files, which changes their folders, and there are ten times fewer
        folders than files. Only a file that is not installed may be written to in its place.
        """
        now = {folder: _mtime(folder) for folder in self.folders}
        same, self.folders = now == self.folders, now  # a change may be no more than new bytecode
        for path in self.edited if same else self.files:
            try:
                if _version(path) != self.files[path]:
                    return path
            except OSError:
                return path
        return None

    # Its command tree

    def has_command(self, argv: list[str]) -> bool:
        """Return whether the remembered tree has the command of a call.

        4.0.0rc7 loads only the commands that it finds in its arguments when it is imported.
        """
        commands = getattr(self.tree, "commands", None)
        return not (commands and argv) or argv[0].startswith("-") or argv[0] in commands

    def remember_commands(self) -> None:
        """Keep the command tree, which typer otherwise makes from its decorators in every call.

        The program is started and stopped at its parser. Everything that it has set up on its way
        there is undone, because that may depend on its arguments, but for its imports and the
        filters of warnings that come with them: a second start does not set these. A third start,
        in a fork, must come to the same point from here.
        """
        typer: Any = sys.modules.get("typer.main")
        if typer is None:
            return
        before = state()
        app, self.set_up = self._dry_start(typer)
        again = self._dry_start(typer)[1]["warnings"][1]
        before["warnings"][1][:0] = [x for x in self.set_up["warnings"][1] if x not in again]
        private(warnings).filters[:] = before["warnings"][1]
        make, made_of = typer.get_command, _decorations(app)
        self.app, self.tree = app, make(app)
        self._parse()
        for name in LATE:
            if name.partition(".")[0] in sys.modules:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        # An import may register functions for the exit, and a fork has random numbers of its own.
        left = {*changes(before)} - {"exit", "random"}
        if left or not _in_a_fork(self.rehearse):
            raise CannotFork(f"what it sets up for all of its process cannot be undone {[*left]}")

        def get_command(typer_instance: Any) -> Any:
            same = typer_instance is app and _decorations(app) == made_of
            return self.tree if same else make(typer_instance)

        typer.get_command = get_command

    def rehearse(self) -> bool:
        """Start up to the parser, parse a call, and return whether the process is unchanged.

        A preforked child does so while it waits: a short call then has to copy only half as many
        shared memory pages.
        """
        if self.tree is None:
            return True
        before = state()
        app, set_up = self._dry_start(sys.modules["typer.main"])
        self._parse()
        other = {*changes(self.set_up, set_up)} - {"random", "open files"}  # as of each fork
        return app is self.app and not other and not changes(before)

    def _parse(self) -> None:
        command, name, words, context = self.tree, READ_ONLY[0], list(READ_ONLY), None
        with contextlib.suppress(Exception):
            while hasattr(command, "make_context"):
                context = command.make_context(name, list(words), parent=context)
                name, command, words = command.resolve_command(context, words)

    def _dry_start(self, typer: Any) -> tuple[Any, dict[str, Any]]:
        """Return the application whose parser the program reaches, and the state at that point."""
        found: list[Any] = []

        def stop(app: Any, *_: Any, **__: Any) -> NoReturn:
            found.extend((app, state()))
            raise _AtTheParser

        call = typer.Typer.__call__
        typer.Typer.__call__ = stop
        try:
            with undone():
                self.run(READ_ONLY)
        except _AtTheParser:
            return found[0], found[1]
        except BaseException as e:
            raise CannotFork(f"it does not start: {e!r}") from e
        finally:
            typer.Typer.__call__ = call
        raise CannotFork("it does not come to a parser that is known")


class _AtTheParser(BaseException):
    """A dry start has reached the parser."""


def _version(path: str) -> tuple[int, ...]:
    about = os.stat(path)
    return about.st_ino, about.st_size, about.st_mtime_ns


def _mtime(path: str) -> int | None:
    with contextlib.suppress(OSError):
        return os.stat(path).st_mtime_ns
    return None


def _in_a_fork(holds: Callable[[], bool]) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if holds() else 1)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _decorations(app: Any) -> tuple[Any, ...]:
    """Return the parts of an application's command tree."""
    groups = [g.typer_instance for g in app.registered_groups]
    inner = [_decorations(group) for group in groups if group is not None]
    return app.registered_callback, *app.registered_commands, *app.registered_groups, inner


def as_an_interpreter(program: Program, argv: list[str]) -> int:
    """Run the program and end it as an interpreter does; return its exit code."""
    error = _raised(program.run, argv)
    code = 0 if error is None else _exit_code(error)
    _raised(private(threading)._shutdown)
    private(atexit)._run_exitfuncs()
    if not flush_all():
        code = 120
    for thing in gc.get_objects():  # without those of the server, which are frozen
        if isinstance(thing, io.IOBase):
            _flush(thing)
    if type(error) is KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return code


def _raised(function: Callable[..., object], *args: object) -> BaseException | None:
    """Return the exception that a function raises, without this file in its traceback."""
    try:
        function(*args)
    except BaseException as e:
        while e.__traceback__ and e.__traceback__.tb_frame.f_code.co_filename == OURS:
            e.__traceback__ = e.__traceback__.tb_next
        return e
    return None


def _exit_code(error: BaseException) -> int:
    """Print an exception, and return the exit code of a program that ends by it."""
    if not isinstance(error, SystemExit):
        other = _raised(sys.excepthook, type(error), error, error.__traceback__)
        return _exit_code(other) if isinstance(other, SystemExit) else 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    with contextlib.suppress(Exception):
        print(error.code, file=sys.stderr or sys.__stderr__)
    return 1


def flush_all() -> bool:
    """Flush stdout and stderr, and return whether that was possible."""
    return all([_flush(sys.stdout), _flush(sys.stderr)])


def _flush(stream: Any) -> bool:
    with contextlib.suppress(Exception):
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()
        return True
    return False
