"""An isolated environment for every test: home, git identity, no settings, no pauses."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
import stamina.instrumentation

from tests.orchestrator.commands import run

__all__ = ["run"]

IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.invalid"))
}


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give git an identity, and a HOME without other settings."""
    for name in os.environ:
        if name.startswith(("SPEC_KITTY_", "SPECIFY_", "XDG_", "OPENCODE_", "GIT_CONFIG")):
            monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("home")
    for name, value in {**IDENTITY, "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    """Retry without waiting; forget the hooks that a run has set."""
    with stamina.set_testing(testing=True, attempts=3, cap=True):
        yield
    stamina.instrumentation.set_on_retry_hooks(None)


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one repository for all tests to copy."""
    root = tmp_path_factory.mktemp("template")
    (root / "kitty-specs").mkdir()
    (root / "README.md").write_text("first\n")
    (root / "kitty-specs" / "spec.md").write_text("spec\n")
    (root / ".gitignore").write_text(".worktrees/\n")
    for args in (
        ("init", "--quiet", "--initial-branch=work"),
        ("config", "maintenance.auto", "false"),  # saves a process for every commit
        ("config", "core.fsync", "none"),
        ("add", "--all"),
        ("commit", "--quiet", "--message=first"),
    ):
        subprocess.run(("git", *args), cwd=root, env={**os.environ, **IDENTITY}, check=True)
    return root


@pytest.fixture
def repo(_template: Path, tmp_path: Path) -> Path:
    """Return a repository with one commit, on the branch ``work``."""
    return Path(shutil.copytree(_template, tmp_path / "repo", symlinks=True))
