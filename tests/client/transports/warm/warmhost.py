"""A made-up host that runs the Python code of its arguments, in the process of a call.

The host is a package in a folder of its own, with the console script that pip writes and a
parser that is made as typer makes one.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from attrs import define, field, frozen

from spec_kitty_client.transports import Completed
from spec_kitty_client.transports.process import AsyncProcessTransport, ProcessTransport
from spec_kitty_client.transports.warm import AsyncWarmTransport, WarmTransport
from tests.client.transports.scripts import PATIENCE, script

__all__ = ["FORMS", "Caller", "MadeUp", "install"]

FORMS = ["script", "module", "wrapper", "wrapped module", "link", "long path", "env"]
_COMMANDS = """\
import sys
import typer.main

app = typer.main.Typer()

@app.command
def do(code, *words):
    exec(code, {"__name__": "told", "words": words})

def start():
    app()
"""
_CLI = """\
import madeup.commands

def main():
    madeup.commands.start()
"""
_CONSOLE_SCRIPT = """\
# -*- coding: utf-8 -*-
import re
import sys
from madeup.cli import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
_TYPER = """\
import sys

class Typer:
    def __init__(self):
        self.registered_commands, self.registered_groups = [], []
        self.registered_callback = None

    def command(self, function):
        self.registered_commands.append(function)
        return function

    def __call__(self, *args, **kwargs):
        return get_command(self)(*args, **kwargs)

def get_command(typer_instance):
    with open({trees!r}, "a") as file:
        file.write("x")
    commands = {{c.__name__: c for c in typer_instance.registered_commands}}

    def tree(*args, **kwargs):
        name, *words = sys.argv[1:]
        return commands[name.replace("orchestrator-api", "do")](*words)

    return tree
"""
_METADATA = "Metadata-Version: 2.1\nName: madeup\nVersion: 1.0\n"
_ENTRY_POINTS = "[console_scripts]\nspec-kitty = madeup.cli:main\n"


@frozen
class MadeUp:
    """An installed host."""

    folder: Path
    program: str | tuple[str, ...]
    """Its command: a path, or an interpreter and a module."""

    @property
    def site(self) -> Path:
        """The folder of its packages."""
        return self.folder / "site"

    @property
    def package(self) -> Path:
        """The folder of its modules."""
        return self.site / "madeup"

    @property
    def script(self) -> Path:
        """The console script."""
        return self.folder / "bin" / "spec-kitty"

    @property
    def trees(self) -> int:
        """How many parsers were made."""
        return len((self.folder / "trees").read_text())


@define(eq=False)
class Caller:
    """A caller of a host in a folder, cold and warm."""

    host: MadeUp
    repo: Path | str
    backend: str = "sync"
    """``sync``, or the event loop of an async caller."""
    env: Mapping[str, str] = field(factory=dict, kw_only=True)
    only: bool = field(default=True, kw_only=True)
    cold: Any = field(init=False)
    warm: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        program, repo = self.host.program, self.repo
        env = {"PYTHONPATH": str(self.host.site), **self.env}
        if self.backend == "sync":
            cold = ProcessTransport(repo=repo, executable=program, env=env)
            self.cold, self.warm = cold, WarmTransport(cold, only=self.only)
        else:
            other = AsyncProcessTransport(repo=repo, executable=program, env=env)
            self.cold, self.warm = other, AsyncWarmTransport(other, only=self.only)

    def do(self, code: str, *words: str, time_limit: float = PATIENCE) -> Completed:
        """Run code in the warm host."""
        return self.run("do", dedent(code), *words, time_limit=time_limit)

    def do_cold(self, code: str, *words: str) -> Completed:
        """Run code in a host that is started for this call."""
        return self.run("do", dedent(code), *words, by=self.cold)

    def ask(self, what: str, *words: str) -> Any:
        """Return the value of an expression in the host."""
        done = self.do(f"import os, sys; print(repr({what}))", *words)
        assert (done.exit_code, done.stderr) == (0, b""), done
        return eval(done.stdout)  # noqa: S307 - the host is ours

    def server(self) -> int:
        """Return the process id of the server, the parent of a call."""
        return int(self.ask("os.getppid()"))

    def run(self, *args: str, time_limit: float = PATIENCE, by: Any = None) -> Completed:
        """Call the host, blocking or on the caller's event loop."""
        import anyio

        transport = by or self.warm
        if self.backend == "sync":
            done: Completed = transport.run(args, time_limit=time_limit)
            return done

        async def run() -> Completed:
            ended: Completed = await transport.run(args, time_limit=time_limit)
            return ended

        return anyio.run(run, backend=self.backend)


def install(
    folder: Path, form: str = "script", *, at_import: str = "", at_start: str = ""
) -> MadeUp:
    """Install a made-up host.

    Args:
        folder: The folder to install into.
        form: How it is called, one of `FORMS`.
        at_import: Code that it runs when it is imported.
        at_start: Code that it runs before it makes its parser.
    """
    start = indent(dedent(at_start).strip() or "pass", "    ")
    for name, text in {
        "typer/__init__.py": "",
        "typer/main.py": _TYPER.format(trees=str(folder / "trees")),
        "madeup/__init__.py": "",
        "madeup/__main__.py": "from madeup.cli import main\nmain()\n",
        "madeup/commands.py": _COMMANDS.replace("start():\n", f"start():\n{start}\n"),
        "madeup/cli.py": dedent(at_import) + "\n" + _CLI,
        "madeup-1.0.dist-info/METADATA": _METADATA,
        "madeup-1.0.dist-info/entry_points.txt": _ENTRY_POINTS,
    }.items():
        file = folder / "site" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return MadeUp(folder, _program(folder, form))


def _program(folder: Path, form: str) -> str | tuple[str, ...]:
    """Write the program of a form, and return its command."""
    python, other = sys.executable, folder / "other" / "spec-kitty"
    plain = script(folder / "bin" / "spec-kitty", _CONSOLE_SCRIPT, python)
    match form:
        case "script":
            return str(plain)
        case "module":
            return (python, "-m", "madeup")
        case "wrapper":
            script(other, f'# Not on PATH.\nset -e\nexec "{plain}" "$@"')
        case "wrapped module":
            script(other, f'exec {python} -m madeup "$@"')
        case "link":
            other.parent.mkdir()
            other.symlink_to(plain)
        case "long path":
            script(other, f"'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n{_CONSOLE_SCRIPT}")
        case "env":
            script(other, _CONSOLE_SCRIPT, "/usr/bin/env python3")
            (other.parent / "python3").symlink_to(python)
    return str(other)
