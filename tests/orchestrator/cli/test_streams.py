"""Tests of `spec_kitty_orchestrator.cli.streams`: output never stops a run."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import spec_kitty_orchestrator

_PRINTS = """\
import sys
from rich.console import Console
from spec_kitty_orchestrator.cli.streams import repair_streams
repair_streams()
for i in range(20_000):
    print("line", i)
Console().print("checked \\u2713 [green]ok[/]")
print("checked \\u2713", file=sys.stderr)
sys.stdout.flush()
with open("end", "w") as file:
    file.write("reached")
sys.exit(3)
"""
_UNBLOCKED = (
    _PRINTS.replace("import repair_streams", "import repair_streams, unblocked")
    .replace(
        "repair_streams()\nfor", "repair_streams()\nblock = unblocked()\nblock.__enter__()\nfor"
    )
    .replace("sys.exit(3)", "block.__exit__(None, None, None)\nsys.exit(3)")
)
SOURCE = Path(spec_kitty_orchestrator.__file__).parents[1]


def prints(
    folder: Path, shell: str, *, source: str = _PRINTS, **env: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a program with much output, in a shell command."""
    (folder / "prints.py").write_text(source)
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$PROGRAM" prints.py {shell}'],
        cwd=folder,
        env={**os.environ, "PROGRAM": sys.executable, "PYTHONPATH": str(SOURCE), **env},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "shell", ["| head -2", ">&-", ">&- 2>&-", "2>&1 | true", "<&- >&- 2>&-", ">/dev/full 2>&1"]
)
def test_a_reader_that_is_gone_stops_nothing(tmp_path: Path, shell: str) -> None:
    """The rest of the output is dropped; the program ends as it would with a reader."""
    done = prints(tmp_path, shell)
    assert done.returncode == 3
    assert (tmp_path / "end").read_text() == "reached"
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"Exception ignored" not in done.stderr


def test_a_character_that_cannot_be_encoded_is_escaped(tmp_path: Path) -> None:
    """Text of an agent is printed on any terminal, by rich and by print, escaped if necessary."""
    done = prints(tmp_path, "", PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert done.returncode == 3
    assert b"checked \\u2713 ok" in done.stdout
    assert b"checked \\u2713" in done.stderr


def test_a_run_does_not_wait_for_a_reader_that_does_not_read(tmp_path: Path) -> None:
    """A full pipe stops nothing; at the end the program waits a few seconds and drops the rest."""
    (tmp_path / "prints.py").write_text(_UNBLOCKED)
    read, write = os.pipe()
    with subprocess.Popen(
        [sys.executable, "prints.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=write,
        stderr=write,
    ) as program:
        assert program.wait(60) == 3
    assert (tmp_path / "end").read_text() == "reached"
    assert len(os.read(read, 2**20)) >= 4096
    os.close(read)
    os.close(write)


def test_a_slow_reader_gets_everything(tmp_path: Path) -> None:
    """As long as the reader reads, even slowly, no output is dropped."""
    done = prints(tmp_path, "| (sleep 1; cat)", source=_UNBLOCKED)
    assert done.returncode == 3
    assert done.stdout.startswith(b"line 0\nline 1\n")
    assert done.stdout.endswith("line 19999\nchecked \u2713 ok\n".encode())


def test_a_stdout_that_does_not_block_is_waited_for(tmp_path: Path) -> None:
    """No output is lost if another program has made the pipe non-blocking."""
    source = "import os\nos.set_blocking(1, False)\n" + _PRINTS
    done = prints(tmp_path, "| (sleep 1; cat)", source=source)
    assert done.returncode == 3
    assert done.stdout.count(b"\n") == 20_001


def test_a_terminal_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    """A terminal that is gone, so that every write fails, stops no program."""
    ours, theirs = pty.openpty()
    (tmp_path / "prints.py").write_text(_PRINTS.replace("\nfor", "\ninput()\nfor", 1))
    with subprocess.Popen(
        [sys.executable, "prints.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as program:
        os.close(theirs)
        os.close(ours)
        program.communicate(b"\n", timeout=60)
    assert program.returncode == 3
    assert (tmp_path / "end").read_text() == "reached"


def test_a_command_says_that_its_output_is_lost(tmp_path: Path) -> None:
    """A command whose output was lost, as with `> file` on a full disk, has an error exit code."""
    code = "from spec_kitty_orchestrator.cli import main; main()"
    done = subprocess.run(
        ["bash", "-c", f'"$PROGRAM" -c "{code}" agents > /dev/full'],
        cwd=tmp_path,
        env={**os.environ, "PROGRAM": sys.executable, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        b"spec-kitty-orchestrator: The output cannot be written. No space left on device. Make "
        b"room on the disk, then try again.\n"
    )
