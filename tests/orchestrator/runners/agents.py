"""Launch Python code as an agent, and end it after the test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from spec_kitty_orchestrator.runners import AgentProcessSpec, ExitRecord, keeper, local

Launch = Callable[..., Path]
Changed = Callable[[str, str], None]

OWN_PID = "import os, time\nwith open('own.pid', 'w') as file: file.write(f'{os.getpid()}\\n')\n"


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changed:
    """Use a keeper with one line of it replaced."""

    def change(old: str, new: str) -> None:
        source = Path(keeper.__file__).read_text()
        assert source.count(f"{old}\n") == 1
        copy = tmp_path / "keeper.py"
        copy.write_text(source.replace(f"{old}\n", f"{new}\n"))
        monkeypatch.setattr(keeper, "__file__", str(copy))

    return change


@pytest.fixture
def hasty(changed: Changed) -> None:
    """Use a keeper with a short grace period."""
    changed("GRACE = 4.0  # seconds between SIGTERM and SIGKILL", "GRACE = 0.3")


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Launch Python code as an agent, and end it after the test, passed or failed."""
    folder = tmp_path / "run"

    def start(code: str, *, argv: tuple[str, ...] | None = None, **changes: object) -> Path:
        usual: dict[str, object] = {
            "directory": folder,
            "argv": argv or (sys.executable, "-I", "-S", "-c", code),
            "cwd": tmp_path,
            "env": {},
            "prompt": "",
            "time_limit": 60.0,
        }
        local.launch(AgentProcessSpec(**{**usual, **changes}))  # type: ignore[arg-type]
        return folder

    yield start
    if local.is_alive(folder):
        anyio.run(local.stop, folder)


def wait(directory: Path) -> ExitRecord:
    """Wait for the end of a run."""
    return anyio.run(local.wait, directory)


def keeper_of(directory: Path) -> int:
    """Return the process id of a keeper."""
    pid = local._pid(directory)
    assert pid
    return pid
