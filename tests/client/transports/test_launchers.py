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


def found(*words: str) -> Launch:
    """Return what is behind a program on this machine."""
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
    """The same interpreter with the same options as for a call of its own is started."""
    program = write(f"{first}\nimport cli\n")

    assert found(program) == Launch(interpreter=interpreter, script=program)


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
    """What is not Python by the name of its interpreter is never started with Python code."""
    with pytest.raises(NotPython, match=f"is run by .*{runs}"):
        found(write(f"{first}\n"))


@pytest.mark.parametrize("text", ["#!/usr/bin/env -S\n", "#!/usr/bin/env -S 'python3\n"])
def test_a_first_line_that_is_broken_is_not_guessed_at(write: Write, text: str) -> None:
    """What env would refuse is not started in another way."""
    with pytest.raises(NotPython, match="is not understood"):
        found(write(text))


@pytest.mark.parametrize("first", ["#!", "#! \t"])
def test_a_first_line_without_an_interpreter_is_none(write: Write, first: str) -> None:
    """The shell of a caller might run it, and Python does not."""
    with pytest.raises(NotPython):
        found(write(f"{first}\n"))


def test_a_first_line_with_the_line_end_of_windows_is_what_it_is_to_linux(write: Write) -> None:
    """What cannot be started cold does not run warm."""
    with pytest.raises(NotPython):
        found(write(f"#!{PYTHON}\r\nimport cli\r\n"))


@pytest.mark.parametrize(
    "text", ["", "\n", "echo hello\n", "\x7fELF\x02\x01\x01\0\0", "MZ", "\n#!/usr/bin/python3\n"]
)
def test_what_has_no_first_line_is_no_script(write: Write, text: str) -> None:
    """A binary, or nothing at all, is not Python."""
    with pytest.raises(NotPython, match="no first line"):
        found(write(text))


def test_bytes_that_are_no_text_are_no_script(tmp_path: Path) -> None:
    """The first line of a program may be anything."""
    (tmp_path / "spec-kitty").write_bytes(b"\xff\xfe\x00\x80" * 2000)

    with pytest.raises(NotPython, match="no first line"):
        found(str(tmp_path / "spec-kitty"))


def test_a_path_that_is_no_text_is_kept(tmp_path: Path) -> None:
    """A folder whose name cannot be decoded is found again by the operating system."""
    program = tmp_path / "spec-kitty"
    program.write_bytes(b"#!/ren\xe9/bin/python\n")

    assert found(str(program)).interpreter == ("/ren\udce9/bin/python",)


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_cannot_be_read_says_so(tmp_path: Path, kind: str) -> None:
    """The reason of the operating system is told with the path."""
    (tmp_path / "folder").mkdir()

    with pytest.raises(NotPython, match=rf"{kind} cannot be read: (No such file|Is a directory)"):
        found(str(tmp_path / kind))


def test_what_must_not_be_read_says_so() -> None:
    """A program may be executable and not readable."""

    def forbidden(path: str) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    with pytest.raises(NotPython, match="/x/spec-kitty cannot be read: Permission denied"):
        find(("/x/spec-kitty",), forbidden)


# What installers write.


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
    """Below a folder with spaces, or a very long one, the host is still kept warm."""
    program = write(f"#!/bin/sh\n'''exec' {quoted} \"$0\" \"$@\"\n' '''\nimport cli\n")

    assert found(program) == Launch(interpreter=(python,), script=program)


def test_a_script_that_looks_for_its_interpreter_is_not_guessed_at(write: Write) -> None:
    """What uv writes into an environment that can be moved needs a shell to be understood."""
    python = """"$(dirname -- "$(realpath -- "$0")")"/'python'"""

    with pytest.raises(NotPython):
        found(write(f"#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\nimport cli\n"))


def test_a_link_stays_what_it_is(host: str, tmp_path: Path) -> None:
    """The links that pipx and uv make are the path that a program is told as its name."""
    link = tmp_path / "spec-kitty"
    link.symlink_to(host)

    assert found(str(link)) == Launch(interpreter=(PYTHON,), script=str(link))


def test_the_interpreter_may_be_a_link(write: Write, tmp_path: Path) -> None:
    """Python finds its virtual environment by the path that it is started with."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(PYTHON)

    assert found(write(f"#!{tmp_path}/bin/python\n")).interpreter == (f"{tmp_path}/bin/python",)


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
    """A shim does not cost a second for every call."""
    wrapper = write(f"#!{shell}\n{text.format(host)}")

    assert found(wrapper) == Launch(interpreter=(PYTHON,), script=host)


def test_a_wrapper_of_bash_may_care_for_pipes(write: Write, host: str) -> None:
    """What many scripts of bash begin with says nothing about a program that is only called."""
    wrapper = write(f'#!/bin/bash\nset -euo pipefail\nexec {host} "$@"\n')

    assert found(wrapper) == Launch(interpreter=(PYTHON,), script=host)


def test_a_wrapper_may_call_by_a_path_with_spaces(tmp_path: Path) -> None:
    """Quotes and backslashes are read as the shell does."""
    target = script(tmp_path / "one two" / "it's", "import cli", PYTHON)
    wrapper = script(tmp_path / "spec-kitty", rf'exec "{tmp_path}/one two"/it\'s "$@"')

    assert found(str(wrapper)).script == str(target)


@pytest.mark.parametrize("options", [(), ("-I",), ("-B", "-s")])
def test_a_wrapper_may_call_a_module(write: Write, options: tuple[str, ...]) -> None:
    """Who calls it by an interpreter means the same as one who gives these words."""
    wrapper = write(f'#!/bin/sh\nexec {" ".join([PYTHON, *options])} -m specify_cli "$@"\n')

    assert found(wrapper) == Launch(interpreter=(PYTHON, *options), module="specify_cli")


def test_wrappers_around_wrappers(tmp_path: Path, host: str) -> None:
    """One shim may call another."""
    inner = script(tmp_path / "inner" / "spec-kitty", f'exec {host} "$@"')
    outer = script(tmp_path / "outer" / "spec-kitty", f'exec {inner} "$@"', "/bin/bash")

    assert found(str(outer)) == Launch(interpreter=(PYTHON,), script=host)


def test_wrappers_around_one_another_come_to_an_end(tmp_path: Path) -> None:
    """A loop that would never end when it is called does not hang the client either."""
    one, other = tmp_path / "one", tmp_path / "other"
    script(one, f'exec {other} "$@"')
    script(other, f'exec {one} "$@"')

    with pytest.raises(NotPython, match="too many"):
        found(str(one))


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
    """What it sets up for the host is not lost: the host is called by it, as ever."""
    with pytest.raises(NotPython, match="does more"):
        found(write(f"#!/bin/sh\n{text.replace('{}', host)}\n"))


@pytest.mark.parametrize("line", ["set -- given", "set -a; . /etc/profile", "set -e; umask 077"])
def test_a_wrapper_that_does_more_in_a_line_with_set_is_left_alone(
    write: Write, host: str, line: str
) -> None:
    """Words that are added and files that are read are not lost, whatever the line begins with."""
    with pytest.raises(NotPython, match="does more"):
        found(write(f'#!/bin/sh\n{line}\nexec {host} "$@"\n'))


@pytest.mark.parametrize("told", ["#!/bin/sh\nset -x", "#!/bin/sh -x", "#!/bin/bash -l"])
def test_a_wrapper_whose_shell_does_more_is_left_alone(write: Write, host: str, told: str) -> None:
    """A trace on stderr, and what the profile of a login shell sets up, are not lost."""
    with pytest.raises(NotPython):
        found(write(f'{told}\nexec {host} "$@"\n'))


@pytest.mark.parametrize(
    "target", ["$HOME/bin/spec-kitty", '"$(dirname "$0")/spec-kitty"', "`pwd`/x", "/a/${B}/c"]
)
def test_a_wrapper_that_uses_variables_is_left_alone(write: Write, target: str) -> None:
    """What only a shell knows is not guessed at."""
    with pytest.raises(NotPython, match="does more"):
        found(write(f'#!/bin/sh\nexec {target} "$@"\n'))


@pytest.mark.parametrize("target", ["spec-kitty", "./bin/spec-kitty", "~/bin/spec-kitty", "env -i"])
def test_a_wrapper_around_what_is_looked_for_is_left_alone(write: Write, target: str) -> None:
    """What depends on PATH, or on the folder of the call, may be another program each time."""
    with pytest.raises(NotPython, match="does more"):
        found(write(f'#!/bin/sh\nexec {target} "$@"\n'))


@pytest.mark.parametrize("target", ["'/none", "/none/spec-kitty", "/dev/null", "/*/spec-kitty"])
def test_a_wrapper_around_nothing_is_left_alone(write: Write, target: str) -> None:
    """The shell is to say what is wrong with it."""
    with pytest.raises(NotPython):
        found(write(f'#!/bin/sh\nexec {target} "$@"\n'))


def test_words_that_a_wrapper_adds_are_not_lost(write: Write, host: str) -> None:
    """A wrapper that gives options of its own is called, and its options with it."""
    with pytest.raises(NotPython, match=f"{host} is called with further arguments"):
        found(write(f'#!/bin/sh\nexec {host} --quiet "$@"\n'))


def test_a_long_wrapper_is_not_understood_by_its_beginning(write: Write, host: str) -> None:
    """What is cut off may be anything."""
    text = f'#!/bin/sh\n{"# comment" * 1000}\nexec {host} "$@"\n'

    with pytest.raises(NotPython):
        found(write(text))


# Words.


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
    """A module or a script is what is kept warm, in an interpreter with the same options."""
    assert found(PYTHON, *words) == launch


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
    """What is not surely one module or one script is called as it is."""
    with pytest.raises(NotPython, match="this command line is not understood"):
        found(PYTHON, *words)


@pytest.mark.parametrize("option", ["-i", "-x"])
def test_options_that_a_fork_does_not_have(option: str) -> None:
    """A prompt after the end, or a script without its first line, is left to the interpreter."""
    with pytest.raises(NotPython):
        found(PYTHON, option, "/bin/cli")


def test_words_for_a_script_are_not_lost(host: str) -> None:
    """A host that is given words of its own is not one that can be called without them."""
    with pytest.raises(NotPython, match="is called with further arguments"):
        found(host, "--quiet")


# Anything.

PIECES = [
    *("#!", "/bin/sh", "/usr/bin/env", "-S", "python3", "/usr/bin/python3", " ", "\n", "\r", "\t"),
    *("'''exec'", "' '''", '"$0"', '"$@"', "exec ", "set -e", "'", '"', "\\", "$", "`", "#", "/"),
    *("\0", "\xff", "\udcff", "-m", "cli", "\u2028", "\x1c", "\N{NO-BREAK SPACE}"),
]
TEXTS = st.lists(st.sampled_from(PIECES)).map("".join)


@example(data=b"#!")
@given(data=st.binary() | TEXTS.map(lambda text: text.encode("utf-8", "surrogateescape")))
def test_whatever_a_program_is_it_is_python_or_not(data: bytes) -> None:
    """No file on PATH can break a client with another error than the one that is understood."""
    try:
        launch = find(("/x/spec-kitty",), lambda _: data)
    except NotPython as e:
        assert str(e)  # noqa: PT017 - either is right
    else:
        assert launch.interpreter
        assert (launch.script is None) is not (launch.module is None)
