"""A repository for the comparison with real git, and no log of retries."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina.instrumentation

from spec_kitty_orchestrator.git.calls import git


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    """Keep quiet about retries: faults are what a simulation is about."""
    stamina.instrumentation.set_on_retry_hooks([])
    yield
    stamina.instrumentation.set_on_retry_hooks(None)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with one commit, on the branch ``work``."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.invalid")
    monkeypatch.setenv("HOME", str(tmp_path))
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=work")
    (root / "README.md").write_text("first\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=first")
    return root
