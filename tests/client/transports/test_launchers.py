"""Tests of `spec_kitty_client.transports.launchers`, with real files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spec_kitty_client.transports.launchers import HEAD, Launch, NotPython, find
from tests.client.transports.scripts import script

PYTHON = "/usr/bin/python3"
Write = Callable[[str], str]


def head(path: str) -> bytes:
    """Read the beginning of a file."""
    with Path(path).open("rb") as file:
        return file.read(HEAD)


def launch_of(*words: str) -> Launch:
    """Return how a program on this machine starts Python."""
    return find(words, head)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a program that is the host, and return its path."""

    def program(text: str) -> str:
        path = tmp_path / "a folder" / "spec-kitty"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return program


@pytest.fixture
def host(tmp_path: Path) -> str:
    """Write a console script, and return its path."""
    return str(script(tmp_path / "venv" / "bin" / "spec-kitty", "import cli", PYTHON))


# First lines.


@pytest.mark.parametrize(
    ("first", "interpreter"),
    [
        ("#!/venv/bin/python", ("/venv/bin/python",)),
        ("#! /venv/bin/python3.11", ("/venv/bin/python3.11",)),
        ("#!/usr/bin/python3 -I", ("/usr/bin/python3", "-I")),
        ("#!/usr/bin/python3\t-sEu ", ("/usr/bin/python3", "-sEu")),
        ("#!/usr/bin/env python3", ("/usr/bin/env", "python3")),
        ("#!/usr/bin/env -S python3 -I -B", ("/usr/bin/env", "python3", "-I", "-B")),
        ("#!/usr/bin/env -Spython3", ("/usr/bin/env", "python3")),
    ],
)
def test_a_first_line_names_the_interpreter(
    write: Write, first: str, interpreter: tuple[str, ...]
) -> None:
    """The SDK takes the interpreter and its options from a program's first line."""
    program = write(f"{first}\nimport cli\n")

    assert launch_of(program) == Launch(interpreter=interpreter, script=program)


@pytest.mark.parametrize(
    ("first", "runs"),
    [
        ("#!/usr/bin/perl", "/usr/bin/perl"),
        ("#!/usr/bin/env ruby", "/usr/bin/env"),
        ("#!/usr/bin/env", "/usr/bin/env"),
        ("#!/usr/bin/env -S WITH=this python3", "/usr/bin/env"),
        ("#!/usr/bin/python3-config", "python3-config"),
        ("#!/usr/bin/ipython", "ipython"),
        ("#!/opt/pypy/bin/pypy3.10", "pypy3.10"),
        ("#!python3", "python3"),  # wherever that is
        ("#!/usr/bin/python3 -I -B", "-I -B"),  # one argument, to Linux
        ("#!/usr/bin/python3 -i", "-i"),
        ("#!/usr/bin/env -S python3 -x", "-x"),
        ("#!/venv/python/bin/node", "node"),
    ],
)
def test_other_interpreters_are_left_alone(write: Write, first: str, runs: str) -> None:
    """The SDK refuses a program whose interpreter or options it does not know as Python's."""
    with pytest.raises(NotPython, match=f"is run by .*{runs}"):
        launch_of(write(f"{first}\n"))


@pytest.mark.parametrize("text", ["#!/usr/bin/env -S\n", "#!/usr/bin/env -S 'python3\n"])
def test_a_first_line_that_is_broken_is_not_guessed_at(write: Write, text: str) -> None:
    """The SDK refuses a first line that env would refuse."""
    with pytest.raises(NotPython, match="is not understood"):
        launch_of(write(text))


@pytest.mark.parametrize("first", ["#!", "#! \t"])
def test_a_first_line_without_an_interpreter_is_none(write: Write, first: str) -> None:
    """The SDK refuses a first line without an interpreter."""
    with pytest.raises(NotPython):
        launch_of(write(f"{first}\n"))


def test_a_first_line_with_the_line_end_of_windows_is_what_it_is_to_linux(write: Write) -> None:
    """The SDK refuses a first line with a Windows line end, with which Linux starts nothing."""
    with pytest.raises(NotPython):
        launch_of(write(f"#!{PYTHON}\r\nimport cli\r\n"))


@pytest.mark.parametrize(
    "text", ["", "\n", "echo hello\n", "\x7fELF\x02\x01\x01\0\0", "MZ", "\n#!/usr/bin/python3\n"]
)
def test_what_has_no_first_line_is_no_script(write: Write, text: str) -> None:
    """The SDK refuses a binary, an empty file and a script without a first line."""
    with pytest.raises(NotPython, match="no first line"):
        launch_of(write(text))


def test_bytes_that_are_no_text_are_no_script(tmp_path: Path) -> None:
    """The SDK refuses a program of bytes that cannot be decoded."""
    (tmp_path / "spec-kitty").write_bytes(b"\xff\xfe\x00\x80" * 2000)

    with pytest.raises(NotPython, match="no first line"):
        launch_of(str(tmp_path / "spec-kitty"))


def test_a_path_that_is_no_text_is_kept(tmp_path: Path) -> None:
    """The SDK keeps the bytes of an interpreter's path that cannot be decoded."""
    program = tmp_path / "spec-kitty"
    program.write_bytes(b"#!/ren\xe9/bin/python\n")

    assert launch_of(str(program)).interpreter == ("/ren\udce9/bin/python",)


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_cannot_be_read_says_so(tmp_path: Path, kind: str) -> None:
    """NotPython for a program that cannot be read has its path and the system's reason."""
    (tmp_path / "folder").mkdir()

    with pytest.raises(NotPython, match=rf"{kind} cannot be read: (No such file|Is a directory)"):
        launch_of(str(tmp_path / kind))


def test_what_must_not_be_read_says_so() -> None:
    """NotPython for a program without read permission has its path and the reason."""

    def forbidden(path: str) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    with pytest.raises(NotPython, match="/x/spec-kitty cannot be read: Permission denied"):
        find(("/x/spec-kitty",), forbidden)


# Scripts of installers.


@pytest.mark.parametrize(
    ("quoted", "python"),
    [
        ('"/home/ada lovelace/venv/bin/python"', "/home/ada lovelace/venv/bin/python"),  # pip
        ("'/home/ada lovelace/venv/bin/python3'", "/home/ada lovelace/venv/bin/python3"),  # uv
        (f"{'/very' * 40}/long/bin/python", f"{'/very' * 40}/long/bin/python"),
    ],
)
def test_a_script_for_shell_and_python_is_understood(
    write: Write, quoted: str, python: str
) -> None:
    """The SDK reads the scripts that pip and uv write for a path with spaces or a long path."""
    program = write(f"#!/bin/sh\n'''exec' {quoted} \"$0\" \"$@\"\n' '''\nimport cli\n")

    assert launch_of(program) == Launch(interpreter=(python,), script=program)


def test_a_script_that_looks_for_its_interpreter_is_not_guessed_at(write: Write) -> None:
    """The SDK refuses uv's relocatable script, whose interpreter only a shell can find."""
    python = """"$(dirname -- "$(realpath -- "$0")")"/'python'"""

    with pytest.raises(NotPython):
        launch_of(write(f"#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\nimport cli\n"))


def test_a_link_stays_what_it_is(host: str, tmp_path: Path) -> None:
    """The SDK keeps a link as the script's path, because the program sees that as its name."""
    link = tmp_path / "spec-kitty"
    link.symlink_to(host)

    assert launch_of(str(link)) == Launch(interpreter=(PYTHON,), script=str(link))


def test_the_interpreter_may_be_a_link(write: Write, tmp_path: Path) -> None:
    """The SDK keeps a link to the interpreter, because Python finds its environment by it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(PYTHON)

    assert launch_of(write(f"#!{tmp_path}/bin/python\n")).interpreter == (f"{tmp_path}/bin/python",)


# Wrappers.


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash", "/usr/bin/dash", "/bin/sh -e"])
@pytest.mark.parametrize(
    "text",
    [
        'exec {} "$@"',
        "exec '{}' \"$@\"",
        'exec "{}" "$@"\n\n',
        '# What is on PATH.\n\nset -e\nset -u\n  exec {} "$@"',
        'exec {} "$@"\n# The end.\n',
    ],
)
def test_a_wrapper_that_only_calls_is_looked_through(
    write: Write, host: str, shell: str, text: str
) -> None:
    """The SDK looks through a wrapper that only calls the host."""
    wrapper = write(f"#!{shell}\n{text.format(host)}")

    assert launch_of(wrapper) == Launch(interpreter=(PYTHON,), script=host)


def test_a_wrapper_of_bash_may_care_for_pipes(write: Write, host: str) -> None:
    """The SDK looks through a bash wrapper that begins with `set -euo pipefail`."""
    wrapper = write(f'#!/bin/bash\nset -euo pipefail\nexec {host} "$@"\n')

    assert launch_of(wrapper) == Launch(interpreter=(PYTHON,), script=host)


def test_a_wrapper_may_call_by_a_path_with_spaces(tmp_path: Path) -> None:
    """The SDK reads quotes and backslashes in a wrapper as the shell does."""
    target = script(tmp_path / "one two" / "it's", "import cli", PYTHON)
    wrapper = script(tmp_path / "spec-kitty", rf'exec "{tmp_path}/one two"/it\'s "$@"')

    assert launch_of(str(wrapper)).script == str(target)


@pytest.mark.parametrize("options", [(), ("-I",), ("-B", "-s")])
def test_a_wrapper_may_call_a_module(write: Write, options: tuple[str, ...]) -> None:
    """The SDK looks through a wrapper that calls a module of an interpreter."""
    wrapper = write(f'#!/bin/sh\nexec {" ".join([PYTHON, *options])} -m specify_cli "$@"\n')

    assert launch_of(wrapper) == Launch(interpreter=(PYTHON, *options), module="specify_cli")


def test_wrappers_around_wrappers(tmp_path: Path, host: str) -> None:
    """The SDK looks through a wrapper around a wrapper."""
    inner = script(tmp_path / "inner" / "spec-kitty", f'exec {host} "$@"')
    outer = script(tmp_path / "outer" / "spec-kitty", f'exec {inner} "$@"', "/bin/bash")

    assert launch_of(str(outer)) == Launch(interpreter=(PYTHON,), script=host)


def test_wrappers_around_one_another_come_to_an_end(tmp_path: Path) -> None:
    """The SDK refuses wrappers that call each other, and does not hang."""
    one, other = tmp_path / "one", tmp_path / "other"
    script(one, f'exec {other} "$@"')
    script(other, f'exec {one} "$@"')

    with pytest.raises(NotPython, match="too many"):
        launch_of(str(one))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "exec {}",
        '{} "$@"',
        "exec {} $@",
        'exec {} "$*"',
        'exec {} "$@" extra',
        'exec {} "$@" &',
        'exec {} "$@" > /dev/null',
        'umask 077\nexec {} "$@"',
        'export A=b\nexec {} "$@"',
        'A=b exec {} "$@"',
        'cd / && exec {} "$@"',
        '. /etc/profile\nexec {} "$@"',
        'exec {} "$@"\nexec {} "$@"',
        'set +e\nexec {} "$@"',
        'set -o pipefail\nexec {} "$@"',  # which dash has not
        'exec {}; exec {} "$@"',
        'exec {} <&- "$@"',
    ],
)
def test_a_wrapper_that_does_more_is_left_alone(write: Write, host: str, text: str) -> None:
    """The SDK refuses a wrapper that does more than call the host, so as to skip none of it."""
    with pytest.raises(NotPython, match="does more"):
        launch_of(write(f"#!/bin/sh\n{text.replace('{}', host)}\n"))


@pytest.mark.parametrize("line", ["set -- given", "set -a; . /etc/profile", "set -e; umask 077"])
def test_a_wrapper_that_does_more_in_a_line_with_set_is_left_alone(
    write: Write, host: str, line: str
) -> None:
    """The SDK refuses a `set` line that also sets arguments or runs another command."""
    with pytest.raises(NotPython, match="does more"):
        launch_of(write(f'#!/bin/sh\n{line}\nexec {host} "$@"\n'))


@pytest.mark.parametrize("first", ["#!/bin/sh\nset -x", "#!/bin/sh -x", "#!/bin/bash -l"])
def test_a_wrapper_whose_shell_does_more_is_left_alone(write: Write, host: str, first: str) -> None:
    """The SDK refuses a wrapper whose shell traces, or reads the profile of a login."""
    with pytest.raises(NotPython):
        launch_of(write(f'{first}\nexec {host} "$@"\n'))


@pytest.mark.parametrize(
    "target", ["$HOME/bin/spec-kitty", '"$(dirname "$0")/spec-kitty"', "`pwd`/x", "/a/${B}/c"]
)
def test_a_wrapper_that_uses_variables_is_left_alone(write: Write, target: str) -> None:
    """The SDK refuses a wrapper whose target a shell has to expand."""
    with pytest.raises(NotPython, match="does more"):
        launch_of(write(f'#!/bin/sh\nexec {target} "$@"\n'))


@pytest.mark.parametrize("target", ["spec-kitty", "./bin/spec-kitty", "~/bin/spec-kitty", "env -i"])
def test_a_wrapper_around_what_is_looked_for_is_left_alone(write: Write, target: str) -> None:
    """The SDK refuses a wrapper whose target depends on PATH or on the folder of the call."""
    with pytest.raises(NotPython, match="does more"):
        launch_of(write(f'#!/bin/sh\nexec {target} "$@"\n'))


@pytest.mark.parametrize("target", ["'/none", "/none/spec-kitty", "/dev/null", "/*/spec-kitty"])
def test_a_wrapper_around_nothing_is_left_alone(write: Write, target: str) -> None:
    """The SDK refuses a wrapper around a program that does not exist."""
    with pytest.raises(NotPython):
        launch_of(write(f'#!/bin/sh\nexec {target} "$@"\n'))


def test_words_that_a_wrapper_adds_are_not_lost(write: Write, host: str) -> None:
    """The SDK refuses a wrapper that gives options of its own, and says so."""
    with pytest.raises(NotPython, match=f"{host} is called with further arguments"):
        launch_of(write(f'#!/bin/sh\nexec {host} --quiet "$@"\n'))


def test_a_long_wrapper_is_not_understood_by_its_beginning(write: Write, host: str) -> None:
    """The SDK refuses a wrapper that is longer than the part it reads."""
    text = f'#!/bin/sh\n{"# comment" * 1000}\nexec {host} "$@"\n'

    with pytest.raises(NotPython):
        launch_of(write(text))


# Arguments of an interpreter.


@pytest.mark.parametrize(
    ("words", "launch"),
    [
        (("-m", "cli"), Launch(interpreter=(PYTHON,), module="cli")),
        (("-m", "cli.main"), Launch(interpreter=(PYTHON,), module="cli.main")),
        (("-I", "-m", "cli"), Launch(interpreter=(PYTHON, "-I"), module="cli")),
        (("-bB", "-OO", "-m", "cli"), Launch(interpreter=(PYTHON, "-bB", "-OO"), module="cli")),
        (("/bin/cli",), Launch(interpreter=(PYTHON,), script="/bin/cli")),
        (("-E", "/bin/cli"), Launch(interpreter=(PYTHON, "-E"), script="/bin/cli")),
    ],
)
def test_words_for_an_interpreter(words: tuple[str, ...], launch: Launch) -> None:
    """The SDK takes a module or a script, and the interpreter's options, from its arguments."""
    assert launch_of(PYTHON, *words) == launch


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-",),
        ("-c", "import cli"),
        ("-m",),
        ("-mcli",),
        ("-m", "cli", "--quiet"),
        ("/bin/cli", "--quiet"),
        ("bin/cli",),
        ("-W", "error", "-m", "cli"),
        ("-X", "dev", "-m", "cli"),
        ("-Xdev", "-m", "cli"),
        ("-h",),
        ("-V",),
        ("--version",),
    ],
)
def test_other_words_for_an_interpreter_are_not_guessed_at(words: tuple[str, ...]) -> None:
    """The SDK refuses arguments of an interpreter that are not plainly one module or script."""
    with pytest.raises(NotPython, match="this command line is not understood"):
        launch_of(PYTHON, *words)


@pytest.mark.parametrize("option", ["-i", "-x"])
def test_options_that_a_fork_does_not_have(option: str) -> None:
    """The SDK refuses the interpreter's options -i and -x, which a fork does not have."""
    with pytest.raises(NotPython):
        launch_of(PYTHON, option, "/bin/cli")


def test_words_for_a_script_are_not_lost(host: str) -> None:
    """The SDK refuses a script with arguments of its own, and says so."""
    with pytest.raises(NotPython, match="is called with further arguments"):
        launch_of(host, "--quiet")


# Any file.

PIECES = [
    *("#!", "/bin/sh", "/usr/bin/env", "-S", "python3", "/usr/bin/python3", " ", "\n", "\r", "\t"),
    *("'''exec'", "' '''", '"$0"', '"$@"', "exec ", "set -e", "'", '"', "\\", "$", "`", "#", "/"),
    *("\0", "\xff", "\udcff", "-m", "cli", "\u2028", "\x1c", "\N{NO-BREAK SPACE}"),
]
TEXTS = st.lists(st.sampled_from(PIECES)).map("".join)


@example(data=b"#!")
@given(data=st.binary() | TEXTS.map(lambda text: text.encode("utf-8", "surrogateescape")))
def test_whatever_a_program_is_it_is_python_or_not(data: bytes) -> None:
    """Any file is a launch of Python or raises NotPython, and no other error."""
    try:
        launch = find(("/x/spec-kitty",), lambda _: data)
    except NotPython as e:
        assert str(e)  # noqa: PT017 - either is right
    else:
        assert launch.interpreter
        assert (launch.script is None) is not (launch.module is None)
