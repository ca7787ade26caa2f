"""Fixtures of the workflow verbs' tests: a repository, and both event loops."""

from pathlib import Path

import pytest

from tests.client.simulated import git


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each async test on both event loops."""
    return str(request.param)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Make a repository with one commit, on a branch that no host protects."""
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=work")
    git(root, "config", "user.name", "Ada")
    git(root, "config", "user.email", "ada@example.com")
    git(root, "config", "commit.gpgsign", "false")
    git(root, "config", "gc.auto", "0")
    (root / "README").write_text("hello\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=root")
    return root
