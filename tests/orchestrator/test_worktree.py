"""Tests of `spec_kitty_orchestrator.worktree`, with real repositories."""

from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.worktree import GitError, Worktree, git, root_of

T = TypeVar("T")


def do(awaitable: Awaitable[T]) -> T:
    """Wait for what a worktree does."""

    async def main() -> T:
        return await awaitable

    return anyio.run(main)


def write(path: Path, text: str = "new\n") -> Path:
    """Write a file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def save(repo: Path, name: str, text: str = "new\n") -> str:
    """Commit a file and return the commit."""
    write(repo / name, text)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", f"--message={name}")
    return git(repo, "rev-parse", "HEAD").strip()


def linked(repo: Path, branch: str = "lane") -> Path:
    """Add a linked worktree with a branch."""
    path = repo / ".worktrees" / branch
    git(repo, "worktree", "add", "--quiet", "-b", branch, str(path))
    return path


def hook(repo: Path, text: str) -> None:
    """Add a pre-commit hook."""
    path = write(repo / ".git" / "hooks" / "pre-commit", f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# git


def test_a_failure_has_gits_own_words(repo: Path) -> None:
    """The error has git's message, the command and the folder."""
    with pytest.raises(GitError, match=r"git checkout in .*repo: .*nowhere") as caught:
        git(repo, "checkout", "nowhere")
    assert str(repo) in str(caught.value)


def test_a_folder_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    """A worktree that vanished is an error of git, and no other kind of exception."""
    with pytest.raises(GitError, match="vanished"):
        git(tmp_path / "vanished", "status")


def test_git_is_not_redirected(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was started by a git hook works on its own repository all the same."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/elsewhere")
    assert git(repo, "status", "--porcelain") == ""


# root_of


def test_the_root_of_a_subfolder(repo: Path) -> None:
    """Any folder of a repository leads to its primary checkout."""
    assert root_of(repo / "kitty-specs") == repo
    assert root_of(repo) == repo


def test_the_root_of_a_linked_worktree_is_the_primary_checkout(repo: Path) -> None:
    """From a lane worktree, the journal and the lock of the repository are found."""
    path = linked(repo)
    assert root_of(path) == repo
    assert root_of(path / "kitty-specs") == repo


@pytest.mark.parametrize("name", ["plain", "vanished"])
def test_no_repository_is_a_usage_problem(tmp_path: Path, name: str) -> None:
    """Outside of any repository the message says what to do."""
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageProblem, match="is not in a git repository"):
        root_of(tmp_path / name)


# dirty


@pytest.mark.parametrize(
    "name",
    ["a b.txt", "line\nbreak", "ümläut-日本", '"quoted"', " lead", "-dash", "x -> y", "a\\b"],
)
def test_any_file_name_is_told_as_it_is(repo: Path, name: str) -> None:
    """New and changed files have their own names, however strange these are."""
    write(repo / "folder" / name)
    assert do(Worktree(repo).dirty()) == [f"folder/{name}"]
    save(repo, f"folder/{name}")
    write(repo / "folder" / name, "changed\n")
    assert do(Worktree(repo).dirty()) == [f"folder/{name}"]


def test_every_kind_of_change_is_told(repo: Path) -> None:
    """Changed, deleted, staged and new files are all uncommitted; ignored ones are not."""
    save(repo, "gone.txt")
    write(repo / "README.md", "changed\n")
    (repo / "gone.txt").unlink()
    write(repo / "staged.txt")
    git(repo, "add", "staged.txt")
    write(repo / "new.txt")
    write(repo / ".worktrees" / "ignored.txt")
    assert set(do(Worktree(repo).dirty())) == {"README.md", "gone.txt", "staged.txt", "new.txt"}


@pytest.mark.parametrize("old", ["before.txt", "my file"])
def test_a_rename_is_told_by_its_new_name(repo: Path, old: str) -> None:
    """The old name of a staged rename is no file that is there; no name is made up."""
    save(repo, old, "the same\n" * 20)
    git(repo, "mv", old, "after.txt")
    found = do(Worktree(repo).dirty())
    assert "after.txt" in found
    assert set(found) <= {"after.txt", old}


def test_a_clean_worktree_is_clean(repo: Path) -> None:
    """Nothing uncommitted is an empty list."""
    assert do(Worktree(repo).dirty()) == []


# commit


def test_everything_is_committed(repo: Path) -> None:
    """New, changed and deleted files are in the commit, and nothing is left."""
    before = save(repo, "gone.txt")
    (repo / "gone.txt").unlink()
    write(repo / "new" / "file.txt")
    head = do(Worktree(repo).commit("WP01: done"))
    assert head != before
    assert git(repo, "log", "-1", "--format=%s") == "WP01: done\n"
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "diff", "--name-only", "--no-renames", before, head).split() == [
        "gone.txt",
        "new/file.txt",
    ]


def test_nothing_to_commit_is_the_head(repo: Path) -> None:
    """A clean worktree gets no empty commit."""
    head = do(Worktree(repo).head())
    assert do(Worktree(repo).commit("nothing")) == head


def test_a_hook_that_refuses_is_heard(repo: Path) -> None:
    """A failing pre-commit hook is an error in the hook's words, and nothing is committed."""
    hook(repo, "echo 'tabs are forbidden' >&2; exit 1")
    head = do(Worktree(repo).head())
    write(repo / "new.txt")
    with pytest.raises(GitError, match="tabs are forbidden"):
        do(Worktree(repo).commit("no"))
    assert do(Worktree(repo).head()) == head
    assert do(Worktree(repo).dirty()) == ["new.txt"]


def test_a_hook_that_speaks_on_stdout_is_heard(repo: Path) -> None:
    """Hooks print where they like; git's own silence does not hide it."""
    hook(repo, "echo 'tabs are forbidden'; exit 1")
    write(repo / "new.txt")
    with pytest.raises(GitError, match="tabs are forbidden"):
        do(Worktree(repo).commit("no"))


# base


def test_the_base_of_a_new_lane_is_its_head(repo: Path) -> None:
    """Without any work yet, the base is HEAD."""
    path = linked(repo)
    assert do(Worktree(path).base("work", "lane")) == do(Worktree(path).head())


def test_the_base_of_work_is_where_it_left(repo: Path) -> None:
    """Commits that only the lane has are its work, also when the base went on."""
    left = git(repo, "rev-parse", "HEAD").strip()
    path = linked(repo)
    save(path, "a.txt")
    save(repo, "b.txt")
    assert do(Worktree(path).base("work", "lane")) == left


def test_a_lane_made_of_other_lanes_has_no_work_of_its_own(repo: Path) -> None:
    """Commits that came from a dependency's branch are not this work package's."""
    save(linked(repo, "one"), "a.txt")
    path = repo / ".worktrees" / "two"
    git(repo, "worktree", "add", "--quiet", "-b", "two", str(path), "one")
    assert do(Worktree(path).base("work", "two")) == do(Worktree(path).head())


@pytest.mark.parametrize(("ref", "branch"), [(None, "lane"), ("work", None), (None, None)])
def test_without_names_the_base_is_the_head(
    repo: Path, ref: str | None, branch: str | None
) -> None:
    """Hosts that name no branch or no base are no reason to fail."""
    assert do(Worktree(repo).base(ref, branch)) == do(Worktree(repo).head())


# changes


def test_changes_are_statistics_and_text(repo: Path) -> None:
    """A reviewer sees which files changed by how much, and the diff."""
    before = do(Worktree(repo).head())
    head = save(repo, "a.txt", "hello\n")
    stat, text = do(Worktree(repo).changes([(before, head)], 10_000))
    assert "a.txt | 1 +" in stat
    assert "+hello" in text


def test_long_changes_are_cut(repo: Path) -> None:
    """A diff of any length fits into a prompt; the statistics stay whole."""
    before = do(Worktree(repo).head())
    head = save(repo, "a.txt", "hello\n" * 10_000)
    stat, text = do(Worktree(repo).changes([(before, head)], 500))
    assert len(text) == 500
    assert "10000" in stat


def test_bytes_that_are_no_text_do_not_stop_a_review(repo: Path) -> None:
    """A file in another encoding is shown, escaped."""
    before = do(Worktree(repo).head())
    (repo / "latin.txt").write_bytes(b"caf\xe9\n")
    head = do(Worktree(repo).commit("latin"))
    assert "caf\\xe9" in do(Worktree(repo).changes([(before, head)], 10_000))[1]


def test_changes_end_at_a_commit(repo: Path) -> None:
    """Commits after the reviewed one are in neither statistics nor text."""
    before = do(Worktree(repo).head())
    head = save(repo, "a.txt")
    save(repo, "b.txt")
    assert "b.txt" not in "".join(do(Worktree(repo).changes([(before, head)], 10_000)))


# stash


def test_what_is_stashed_is_not_lost(repo: Path) -> None:
    """Changed, staged and new files are in the stash with their content, and gone from here."""
    write(repo / "README.md", "mine\n")
    write(repo / "staged.txt", "staged\n")
    git(repo, "add", "staged.txt")
    write(repo / "a b" / "new.txt", "new\n")
    files = do(Worktree(repo).stash("left by somebody"))
    assert set(files) == {"README.md", "staged.txt", "a b/new.txt"}
    assert git(repo, "status", "--porcelain") == ""
    assert "left by somebody" in git(repo, "stash", "list")
    git(repo, "stash", "pop", "--index")
    assert (repo / "README.md").read_text() == "mine\n"
    assert (repo / "a b" / "new.txt").read_text() == "new\n"


def test_a_clean_worktree_has_nothing_to_stash(repo: Path) -> None:
    """Without changes, no stash is made."""
    assert do(Worktree(repo).stash("nothing")) == []
    assert git(repo, "stash", "list") == ""
