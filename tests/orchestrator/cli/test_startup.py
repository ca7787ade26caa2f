"""A command loads no module that it does not need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import spec_kitty_orchestrator
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.settings.sources import save
from spec_kitty_orchestrator.state.events import RunStarted
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.journal import Journal
from tests.orchestrator.hosts import SLUG
from tests.orchestrator.programs import Program

_SCRIPT = """\
import json, sys
from spec_kitty_orchestrator.cli import _main
try:
    code = _main(sys.argv[1:])
except SystemExit as e:
    code = e.code or 0
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""
LOOPS = {"anyio", "asyncio", "trio", "hypothesis", "stamina", "tenacity", "psutil"}
TRANSPORTS = {f"spec_kitty_client.transports.{name}" for name in ("process", "ssh", "warm")}


def loaded(folder: Path, *words: str) -> set[str]:
    """Return the modules that a command has loaded at its end."""
    source = str(Path(spec_kitty_orchestrator.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(done.stderr)
    assert code == 0
    return set(modules)


@pytest.mark.parametrize("words", [("--help",), ("orchestrate", "--help"), ("status", "--help")])
def test_help_needs_no_client(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Help loads neither an event loop nor the SDK."""
    found = loaded(tmp_path, *words)
    assert not found & (LOOPS | {"spec_kitty_client", "plumbum", "importlib.metadata"})


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_status_needs_no_event_loop(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    """Status calls the host in a process, and loads no event loop and no other transport."""
    program = Program(tmp_path / "bin")
    program.folder.mkdir()
    program.install()
    monkeypatch.setenv("PATH", f"{program.folder}{os.pathsep}{os.environ['PATH']}")
    settings = Settings(mission=SLUG, repo_root=repo, impl_agent="a", review_agent="b")
    StateFiles(repo).make()
    StateFiles(repo).lock.touch()
    journal = Journal(StateFiles(repo).journal, mission=SLUG, run="r")
    journal.write(RunStarted(settings=save(settings), version="0"))
    journal.close()
    found = loaded(repo, "status", *form)
    assert program.calls == ["mission-state"]
    assert not found & LOOPS
    assert found & TRANSPORTS == {"spec_kitty_client.transports.process"}
