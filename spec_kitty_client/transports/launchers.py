"""Find the Python interpreter behind a program, and the script or module that it runs."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from attrs import frozen

__all__ = ["HEAD", "Launch", "NotPython", "find"]

HEAD = 4096  # bytes at the beginning of a program that show what it is
_SHELLS = {"sh", "bash", "dash"}
_OPTIONS = re.compile(r"-[bBEIOPqsSu]+")  # options of Python that a fork inherits
# Words in which a shell expands nothing.
_WORDS = r"""((?:[\w@%+=:,./ -]|'[^'\n]*'|"[^"$`\\\n]*"|\\[^\n])+)"""
# Written by pip and uv if the path of the interpreter is too long for a first line or has spaces: a
# command for the shell, and a string for Python.
_FOR_BOTH = re.compile(rf"""'''exec' {_WORDS} "\$0" "\$@"\n' '''\n""")
_WRAPPER = re.compile(rf'exec {_WORDS} "\$@"')
_NOTHING = re.compile(r"#.*|set -[eu]+|")
_NOTHING_TO_BASH = re.compile(rf"{_NOTHING.pattern}|set -[eu]*o pipefail")
_DEEPEST = 5  # wrappers around wrappers


class NotPython(Exception):
    """The program does not run in Python, or this cannot be recognised; the message says why."""


@frozen(kw_only=True)
class Launch:
    """The command that starts an interpreter, and the program that it runs."""

    interpreter: tuple[str, ...]
    """Its path, or ``/usr/bin/env`` and its name, and its options."""
    script: str | None = None
    module: str | None = None
    """The argument of ``-m``, if there is no script."""


def find(words: Sequence[str], head: Callable[[str], bytes]) -> Launch:
    """Return the interpreter of a program, found through first lines and simple wrappers.

    Args:
        words: The absolute path of a program, and its first arguments.
        head: Reads the beginning of a file.

    Raises:
        NotPython: If it is another program, or a wrapper that is not understood.
    """
    program = words[0]
    for _ in range(_DEEPEST):
        program, *rest = words
        if _is_python(program):
            return _launch(words)
        if rest:
            raise NotPython(f"{program} is called with further arguments")
        text = _text(program, head)
        first, _, body = text.partition("\n")
        interpreter = _interpreter(program, first)
        if _is_python(_program(interpreter)):
            return _scripts(interpreter, program)
        shell, *options = interpreter
        if PurePosixPath(shell).name not in _SHELLS or options not in ([], ["-e"], ["-u"]):
            raise NotPython(f"{program} is run by {' '.join(interpreter)}")
        if both := _FOR_BOTH.match(body):
            return _scripts(_split(program, both[1]), program)
        words = _wrapped(program, body, bash=PurePosixPath(shell).name == "bash")
    raise NotPython(f"{program} is a wrapper around too many others")


def _scripts(interpreter: Sequence[str], script: str) -> Launch:
    """Return the launch of a script, if its first line has no other option."""
    env = PurePosixPath(interpreter[0]).name == "env"
    if not interpreter[0].startswith("/") or not all(
        _OPTIONS.fullmatch(word) for word in interpreter[1 + env :]
    ):
        raise NotPython(f"{script} is run by {' '.join(interpreter)}")
    return Launch(interpreter=tuple(interpreter), script=script)


def _text(program: str, head: Callable[[str], bytes]) -> str:
    try:
        return head(program).decode("utf-8", "surrogateescape")
    except OSError as e:
        raise NotPython(f"{program} cannot be read: {e.strerror}") from e


def _is_python(program: str) -> bool:
    return bool(re.fullmatch(r"python[\d.]*", PurePosixPath(program).name))


def _launch(words: Sequence[str]) -> Launch:
    """Return the launch that an interpreter is asked for: its options, then a module or script."""
    options = 1
    while options < len(words) and _OPTIONS.fullmatch(words[options]):
        options += 1
    interpreter = tuple(words[:options])
    match list(words[options:]):
        case ["-m", module]:
            return Launch(interpreter=interpreter, module=module)
        case [script] if script.startswith("/"):  # a relative one depends on the folder
            return Launch(interpreter=interpreter, script=script)
        case _:
            raise NotPython(f"{' '.join(words)}: this command line is not understood")


def _interpreter(program: str, first: str) -> list[str]:
    """Read a first line as the kernel does: the interpreter, and one argument at most."""
    if not first.startswith("#!"):
        raise NotPython(f"{program} has no first line that names an interpreter")
    name, *argument = re.split(r"[ \t]+", first[2:].strip(" \t"), maxsplit=1)
    if PurePosixPath(name).name == "env" and argument and argument[0].startswith("-S"):
        return [name, *_split(program, argument[0][2:])]
    return [name, *argument]


def _program(interpreter: Sequence[str]) -> str:
    """Return the program that is started, also by ``env``."""
    if PurePosixPath(interpreter[0]).name == "env" and len(interpreter) > 1:
        return interpreter[1]
    return interpreter[0]


def _wrapped(program: str, body: str, *, bash: bool) -> list[str]:
    """Return the command that a wrapper runs, if it does nothing else."""
    lines = [line.strip(" \t") for line in body.split("\n")]
    nothing = _NOTHING_TO_BASH if bash else _NOTHING
    left = [line for line in lines if not nothing.fullmatch(line)]
    called = _WRAPPER.fullmatch(left[0]) if len(left) == 1 else None
    words = _split(program, called[1]) if called else []
    if called is None or not words[0].startswith("/"):
        raise NotPython(f"{program} is a shell script that does more than start the program")
    return words


def _split(program: str, text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if not words:
        raise NotPython(f"{program} is not understood")
    return words
