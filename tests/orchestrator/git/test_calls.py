"""Tests of `spec_kitty_orchestrator.git.calls`, with real git."""

import time
from pathlib import Path

import anyio
import pytest

from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.git.calls import (
    GitError,
    commit_problem,
    git,
    root_of,
    run_git,
)
from tests.orchestrator.git.repositories import do, hook, linked, write
from tests.orchestrator.processes import gone, number_in

# git


def test_a_failure_has_gits_own_words(repo: Path) -> None:
    """The error has git's message, the command and the folder."""
    with pytest.raises(GitError, match=r"git checkout in .*repo: .*nowhere") as caught:
        git(repo, "checkout", "nowhere")
    assert str(repo) in str(caught.value)


def test_a_folder_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    """A missing worktree raises GitError, and no other exception."""
    with pytest.raises(GitError, match="vanished"):
        git(tmp_path / "vanished", "status")


def test_git_is_not_redirected(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was started by a git hook still works on its own repository."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/elsewhere")
    assert git(repo, "status", "--porcelain") == ""


# root_of


def test_the_root_of_a_subfolder(repo: Path) -> None:
    """The root of any folder of a repository is its primary checkout."""
    assert root_of(repo / "kitty-specs") == repo
    assert root_of(repo) == repo


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", "a\x0bb", "a b"], ids=ascii)
def test_the_root_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Line ends of Unicode in a folder's name do not end the line that git prints."""
    folder = tmp_path / name
    folder.mkdir()
    git(folder, "init", "--quiet")
    assert root_of(folder) == folder


def test_the_root_of_a_linked_worktree_is_the_primary_checkout(repo: Path) -> None:
    """From a lane worktree, the journal and the lock of the repository are found."""
    path = linked(repo)
    assert root_of(path) == repo
    assert root_of(path / "kitty-specs") == repo


def test_no_repository_is_a_usage_problem(tmp_path: Path) -> None:
    """Outside a repository the message names the remedy."""
    with pytest.raises(UsageProblem, match="is not in a git repository"):
        root_of(tmp_path)


def test_a_missing_folder_is_told_as_such(tmp_path: Path) -> None:
    """A missing folder is reported as such, and not as a missing repository."""
    with pytest.raises(UsageProblem, match=r"There is no folder .*vanished"):
        root_of(tmp_path / "vanished")


def test_the_root_of_a_submodule_is_its_own_checkout(repo: Path, tmp_path: Path) -> None:
    """A project in a submodule keeps its state in the submodule, not beside git's own folder."""
    above = tmp_path / "above"
    git(tmp_path, "init", "--quiet", str(above))
    add = ("submodule", "add", "--quiet", str(repo), "project")
    git(above, "-c", "protocol.file.allow=always", *add)
    assert root_of(above / "project") == above / "project"


def test_the_root_with_a_separate_git_folder(repo: Path, tmp_path: Path) -> None:
    """`git init --separate-git-dir` leaves the checkout where it is."""
    git(repo, "init", "--quiet", "--separate-git-dir", str(tmp_path / "elsewhere"))
    assert root_of(repo / "kitty-specs") == repo


def test_the_root_beside_a_bare_repository_is_the_worktree(repo: Path, tmp_path: Path) -> None:
    """A bare repository has no primary checkout; the worktree at hand is taken."""
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "hub.git")
    git(tmp_path / "hub.git", "worktree", "add", "--quiet", str(tmp_path / "here"), "work")
    assert root_of(tmp_path / "here") == tmp_path / "here"


def test_a_repository_of_another_owner_is_told_as_such(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a repository of another owner, the message is git's, with the setting that allows it."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageProblem, match=r"safe\.directory"):
        root_of(repo)


def test_a_damaged_configuration_is_told_as_such(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged git configuration is reported in git's words."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(write(tmp_path / "broken", "[core\n")))
    with pytest.raises(UsageProblem, match="bad config"):
        root_of(repo)


# run_git


def test_git_does_not_climb_to_the_checkout_above(repo: Path) -> None:
    """In a worktree without its link, git fails instead of using the user's checkout."""
    path = linked(repo)
    (path / ".git").unlink()
    write(repo / "README.md", "the user's own\n")
    with pytest.raises(GitError, match="not a git repository"):
        do(run_git(path, "add", "--all"))
    assert git(repo, "diff", "--cached", "--name-only") == ""


def test_a_cancelled_call_ends_the_hook_as_well(repo: Path) -> None:
    """A hook that hangs ends with git when the run is interrupted."""
    alive = repo / "alive"
    hook(repo / ".git" / "hooks", f"echo $$ > {alive}; exec sleep 60")
    save_later = write(repo / "new.txt")

    async def main() -> None:
        with anyio.move_on_after(1.0):
            await run_git(repo, "commit", "--quiet", "--all", "--message=x", "--allow-empty")

    before = time.monotonic()
    anyio.run(main)
    assert time.monotonic() - before < 8
    assert save_later.exists()
    assert gone(number_in(alive))


# commit_problem


def test_a_repository_in_which_git_can_commit_has_no_problem(repo: Path) -> None:
    """A repository with an identity and no signing has no problem."""
    assert commit_problem(repo) is None


def test_a_missing_identity_is_a_problem(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an identity, the message has the commands that set it."""
    monkeypatch.setenv("GIT_COMMITTER_NAME", "")
    assert "git config --global user.name" in str(commit_problem(repo))


@pytest.mark.parametrize(
    "settings",
    [
        {"gpg.program": "false"},
        {"gpg.format": "ssh", "user.signingKey": "/nowhere/key.pub"},
        {"gpg.program": "/nowhere/gpg"},
    ],
    ids=["refused", "no key", "no program"],
)
def test_a_signature_that_fails_is_a_problem(repo: Path, settings: dict[str, str]) -> None:
    """A failing signature is reported with git's words and the remedies."""
    for name, value in {**settings, "commit.gpgSign": "true"}.items():
        git(repo, "config", name, value)
    problem = str(commit_problem(repo))
    assert "cannot sign" in problem
    assert "commit.gpgSign false" in problem
