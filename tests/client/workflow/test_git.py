"""Tests of `spec_kitty_client.workflow.git`, in real repositories."""

from pathlib import Path

import pytest

from spec_kitty_client.errors import GitFailed
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.workflow.git import root
from tests.client.simulated import git


def root_from(folder: Path) -> str:
    """Return the root that the SDK finds from a folder."""
    transport, steps = ProcessTransport(repo=folder), root()
    step = next(steps)
    while True:
        done = transport.git(step.args, folder=step.folder, time_limit=60)
        try:
            step = steps.send(done)
        except StopIteration as end:
            return str(end.value)


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", "a\x0bb", "a b"], ids=ascii)
def test_the_root_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Line ends of Unicode in a folder's name do not end the line that git prints."""
    folder = tmp_path / name
    folder.mkdir()
    git(folder, "init", "--quiet")
    assert root_from(folder) == str(folder)


def test_the_root_of_a_worktree_is_the_primary_checkout(repo: Path, tmp_path: Path) -> None:
    """From a worktree the SDK finds the primary checkout."""
    git(repo, "worktree", "add", "--quiet", "-b", "lane", str(tmp_path / "lane"))
    assert root_from(tmp_path / "lane") == str(repo)
    assert root_from(repo) == str(repo)


def test_beside_a_bare_repository_the_root_is_the_worktree_at_hand(
    repo: Path, tmp_path: Path
) -> None:
    """The root is the current worktree if the repository is bare."""
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "hub.git")
    git(tmp_path / "hub.git", "worktree", "add", "--quiet", str(tmp_path / "here"), "work")
    assert root_from(tmp_path / "here") == str(tmp_path / "here")


def test_a_worktree_whose_primary_checkout_cannot_be_known_is_an_error(
    repo: Path, tmp_path: Path
) -> None:
    """The SDK refuses a worktree whose git folder is apart from the primary checkout."""
    git(repo, "init", "--quiet", "--separate-git-dir", str(tmp_path / "elsewhere"))
    git(repo, "worktree", "add", "--quiet", "-b", "lane", str(tmp_path / "lane"))
    with pytest.raises(GitFailed, match="Run this in the primary checkout"):
        root_from(tmp_path / "lane")
