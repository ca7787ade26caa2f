"""Tests of `Worktree.links`, the new links to other repositories, with real git."""

from pathlib import Path

import pytest

from spec_kitty_client.workflow.nested import NewLinks
from spec_kitty_orchestrator.git.calls import GitError, git
from spec_kitty_orchestrator.git.worktree import Worktree
from tests.orchestrator.git.repositories import do, head_of, linked, save, write

LOCAL = ("-c", "protocol.file.allow=always")


@pytest.fixture
def lane(repo: Path) -> Path:
    """Return a worktree of a lane."""
    return linked(repo)


def links(lane: Path, before: str) -> NewLinks:
    return do(Worktree(lane, lane.parent).links(before))


def nested(folder: Path) -> Path:
    """Make a repository with a commit."""
    git(folder.parent, "init", "--quiet", str(folder))
    save(folder, "precious.txt")
    return folder


def with_submodule(lane: Path, tmp_path: Path) -> str:
    """Commit a submodule, and return the commit."""
    other = nested(tmp_path / "other")
    git(lane, *LOCAL, "submodule", "add", "--quiet", str(other), "vendor")
    return save(lane, "a.txt")


def test_work_without_links_has_none(lane: Path) -> None:
    """Ordinary work has no links to other repositories."""
    before = head_of(lane)
    save(lane, "a.txt")
    assert links(lane, before) == NewLinks()


def test_a_repository_inside_is_found_in_a_commit(lane: Path) -> None:
    """An agent that commits a nested repository by itself has committed an empty link."""
    before = head_of(lane)
    nested(lane / "app")
    save(lane, "a.txt")
    assert links(lane, before) == NewLinks(foreign=("app",))


def test_a_link_that_was_there_before_the_work_is_left_alone(lane: Path) -> None:
    """A link that the repository had before the work does not count."""
    nested(lane / "app")
    before = save(lane, "a.txt")
    save(lane, "b.txt")
    assert links(lane, before) == NewLinks()


def test_a_published_submodule_is_allowed(lane: Path, tmp_path: Path) -> None:
    """A submodule that .gitmodules names may be added, once its commit is on a remote."""
    before = head_of(lane)
    with_submodule(lane, tmp_path)
    assert links(lane, before) == NewLinks()


def test_a_commit_that_only_the_submodule_here_has_is_found(lane: Path, tmp_path: Path) -> None:
    """An unpushed commit of a submodule is found, because it would be lost with the worktree."""
    before = with_submodule(lane, tmp_path)
    save(lane / "vendor", "fix.txt")
    save(lane, "b.txt")
    assert links(lane, before) == NewLinks(unpublished=("vendor",))


def test_a_submodule_that_is_not_checked_out_is_allowed(lane: Path, tmp_path: Path) -> None:
    """An empty submodule folder is not mistaken for the checkout around it, which has new files."""
    before = head_of(lane)
    with_submodule(lane, tmp_path)
    git(lane, "submodule", "--quiet", "deinit", "--force", "vendor")
    write(lane / "late.txt")
    assert links(lane, before) == NewLinks()


def test_a_folder_that_is_no_repository_is_an_error_of_git(tmp_path: Path) -> None:
    """A failure of git is a `GitError` with git's command."""
    with pytest.raises(GitError, match="git diff-index in"):
        links(tmp_path, "HEAD")
