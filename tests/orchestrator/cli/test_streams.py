"""Tests of `spec_kitty_orchestrator.cli.streams`: output never stops a run."""

import os
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


def prints(folder: Path, shell: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program that prints a lot, as a part of a shell command."""
    (folder / "prints.py").write_text(_PRINTS)
    source = str(Path(spec_kitty_orchestrator.__file__).parents[1])
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$PROGRAM" prints.py {shell}'],
        cwd=folder,
        env={**os.environ, "PROGRAM": sys.executable, "PYTHONPATH": source, **env},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("shell", ["| head -2", ">&-", ">&- 2>&-", "2>&1 | true"])
def test_a_reader_that_is_gone_stops_nothing(tmp_path: Path, shell: str) -> None:
    """The rest of the output is dropped; the program ends as it would with a reader."""
    done = prints(tmp_path, shell)
    assert done.returncode == 3
    assert (tmp_path / "end").read_text() == "reached"
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"Exception ignored" not in done.stderr


def test_a_character_that_cannot_be_encoded_is_escaped(tmp_path: Path) -> None:
    """The words of an agent are printed on any terminal, by rich and by print."""
    done = prints(tmp_path, "", PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert done.returncode == 3
    assert b"checked \\u2713 ok" in done.stdout
    assert b"checked \\u2713" in done.stderr
