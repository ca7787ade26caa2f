"""Tests of `spec_kitty_client.workflow.nested`, in real repositories."""

from pathlib import Path

import pytest

from spec_kitty_client.workflow.nested import nested_repositories
from tests.client.simulated import git
from tests.client.workflow.test_proof import drive


@pytest.fixture
def lane(repo: Path, tmp_path: Path) -> Path:
    """Return a worktree of the repository, with an ignored folder."""
    (repo / ".git" / "info" / "exclude").write_text("node_modules/\n.claude/\n")
    git(repo, "worktree", "add", "--quiet", "-b", "lane", str(tmp_path / "lane"))
    return tmp_path / "lane"


def commit(folder: Path, name: str = "file.txt") -> None:
    """Commit a file."""
    (folder / name).write_text(f"{name}\n")
    git(folder, "add", name)
    git(folder, "commit", "--quiet", f"--message={name}")


def made(path: Path, *, commits: bool = True) -> Path:
    """Make a repository."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet")
    if commits:
        commit(path)
    return path


def upstream(tmp_path: Path) -> Path:
    """Make a repository that can be cloned."""
    return made(tmp_path / "upstream")


def found(lane: Path) -> tuple[str, ...]:
    """Return the nested repositories since the branch left `work`."""
    names: tuple[str, ...] = drive(nested_repositories(str(lane), "refs/heads/work"))
    return names


def test_a_worktree_without_any_has_none(lane: Path) -> None:
    """A worktree with only files has no nested repository."""
    commit(lane)
    (lane / "node_modules" / "x").mkdir(parents=True)
    (lane / "node_modules" / "x" / "index.js").write_text("")

    assert found(lane) == ()


@pytest.mark.parametrize("folder", ["app", "src/deep/app", "node_modules/app", "\u00e4 b\nc"])
@pytest.mark.parametrize("commits", [False, True])
def test_a_repository_inside_is_found_wherever_it_is(
    lane: Path, folder: str, *, commits: bool
) -> None:
    """The SDK finds a nested repository that is untracked or ignored, with or without commits."""
    (made(lane / folder, commits=commits) / "more.txt").write_text("more\n")

    assert found(lane) == (folder,)


@pytest.mark.parametrize("staged", [False, True])
def test_a_gitlink_that_the_base_does_not_know_is_found(lane: Path, *, staged: bool) -> None:
    """The SDK finds a gitlink that the base does not have, also without its folder."""
    made(lane / "app")
    git(lane, "-c", "advice.addEmbeddedRepo=false", "add", "app")
    if not staged:
        git(lane, "commit", "--quiet", "--message=app")
        (lane / "app").rename(lane.parent / "elsewhere")

    assert found(lane) == ("app",)


def test_a_clone_of_something_that_is_kept_elsewhere_is_left_alone(
    lane: Path, tmp_path: Path
) -> None:
    """The SDK ignores a clone until it has a commit that its remote does not have."""
    clone = lane / "node_modules" / "lib"
    git(lane, "clone", "--quiet", str(upstream(tmp_path)), str(clone))
    assert found(lane) == ()

    commit(clone, "own.txt")
    assert found(lane) == ("node_modules/lib",)


def test_a_submodule_counts_if_its_commit_is_nowhere_else(
    repo: Path, lane: Path, tmp_path: Path
) -> None:
    """The SDK ignores a submodule until an agent commits in it without a push."""
    local = ("-c", "protocol.file.allow=always")
    git(lane, *local, "submodule", "--quiet", "add", str(upstream(tmp_path)), "vendor/lib")
    git(lane, "commit", "--quiet", "--message=submodule")
    assert found(lane) == ()
    git(repo, "merge", "--quiet", "--ff-only", "lane")
    assert found(lane) == ()

    commit(lane / "vendor" / "lib", "fix.txt")
    git(lane, "add", "--all")
    assert found(lane) == ("vendor/lib",)
    git(lane / "vendor" / "lib", "push", "--quiet", "origin", "HEAD:refs/heads/fix")
    assert found(lane) == ()


def test_a_submodule_that_was_not_initialised_is_left_alone(lane: Path, tmp_path: Path) -> None:
    """The SDK ignores a submodule without a checkout, and does not look at the lane instead."""
    local = ("-c", "protocol.file.allow=always")
    git(lane, *local, "submodule", "--quiet", "add", str(upstream(tmp_path)), "vendor/lib")
    git(lane, "commit", "--quiet", "--message=submodule")
    git(lane, "submodule", "--quiet", "deinit", "--force", "vendor/lib")
    (lane / "untracked.txt").write_text("the lane's own\n")

    assert found(lane) == ()


def test_a_worktree_inside_counts_if_it_has_something_of_its_own(lane: Path) -> None:
    """A worktree inside counts if it has uncommitted files, or commits on no branch."""
    inside = lane / ".claude" / "worktrees" / "agent-1"
    git(lane, "worktree", "add", "--quiet", "-b", "helper", str(inside))
    commit(inside, "kept.txt")
    assert found(lane) == ()

    (inside / "new.txt").write_text("new\n")
    assert found(lane) == (".claude/worktrees/agent-1",)
    (inside / "new.txt").unlink()
    git(inside, "switch", "--quiet", "--detach")
    commit(inside, "lost.txt")
    assert found(lane) == (".claude/worktrees/agent-1",)
