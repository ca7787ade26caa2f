"""Tests of `spec_kitty_client.transports.git`, with real git and hostile settings of a user."""

import os
import subprocess
from pathlib import Path

import pytest

from spec_kitty_client.transports.git import git_environment, git_words
from spec_kitty_client.transports.process import ProcessTransport

HOSTILE = {
    "color.ui": "always",
    "color.diff": "always",
    "core.pager": "false",
    "diff.external": "false",
    "diff.mnemonicPrefix": "true",
    "diff.noprefix": "true",
    "diff.relative": "true",
    "diff.submodule": "log",
    "grep.column": "true",
    "grep.fullName": "true",
    "grep.lineNumber": "true",
    "merge.ff": "only",
    "status.branch": "true",
    "status.short": "true",
    "status.showUntrackedFiles": "no",
    "submodule.recurse": "true",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with a change, and with settings that alter the output of git."""
    folder = tmp_path / "repository"
    run(tmp_path, "init", "--quiet", "--initial-branch=main", str(folder))
    (folder / "ä.txt").write_text("one\n")
    run(folder, "add", ".")
    run(folder, "commit", "--quiet", "--message=one")
    (folder / "ä.txt").write_text("two\n")
    for name, value in HOSTILE.items():
        run(folder, "config", name, value)
    return folder


def run(folder: Path, *args: str) -> str:
    """Run git as a user does."""
    return subprocess.check_output(["git", *args], cwd=folder, text=True)


def git_of_transport(folder: Path, *args: str) -> str:
    """Run git as the transports do."""
    done = ProcessTransport(repo=folder).git(args, time_limit=30)
    assert done.exit_code == 0, done.stderr
    return done.stdout.decode()


def test_a_diff_does_not_depend_on_the_users_settings(repository: Path) -> None:
    """The transport's diff has the usual prefixes and no color, whatever the user has set."""
    text = git_of_transport(repository, "diff")
    assert "--- a/ä.txt\n+++ b/ä.txt\n" in text
    assert "\n-one\n+two\n" in text
    assert "\x1b" not in text


def test_a_diff_program_in_the_environment_is_not_run(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIT_EXTERNAL_DIFF of the user's shell does not replace the transport's diff."""
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    assert "+two" in git_of_transport(repository, "diff")


def test_a_conversion_to_text_is_not_run(repository: Path) -> None:
    """A textconv program of the user does not change the transport's diff."""
    (repository / ".gitattributes").write_text("*.txt diff=shout\n")
    run(repository, "config", "diff.shout.textconv", "tr a-z A-Z <")
    run(repository, "config", "diff.shout.command", "false")
    assert "+two" in git_of_transport(repository, "diff", "--", "ä.txt")


def test_a_search_prints_whole_lines_only(repository: Path) -> None:
    """The transport's search prints no line numbers and no columns before the text."""
    assert git_of_transport(repository, "grep", "--null", "-e", "", "--", "ä.txt") == "ä.txt\0two\n"


def test_a_merge_that_needs_a_commit_is_made(repository: Path) -> None:
    """The transport makes a merge commit although the user has set merge.ff=only."""
    run(repository, "checkout", "--quiet", "--", ".")
    run(repository, "checkout", "--quiet", "-b", "side")
    run(repository, "commit", "--quiet", "--allow-empty", "--message=side")
    run(repository, "checkout", "--quiet", "main")
    run(repository, "commit", "--quiet", "--allow-empty", "--message=main")
    git_of_transport(repository, "merge", "--quiet", "--no-edit", "side")
    assert len(git_of_transport(repository, "rev-list", "--merges", "HEAD").split()) == 1


def test_pathspecs_keep_their_meaning(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIT_LITERAL_PATHSPECS of the user's shell does not turn patterns into names."""
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    assert git_of_transport(repository, "ls-files", "-z", "--", "*.txt") == "ä.txt\0"


def test_the_users_own_settings_stay_in_force(repository: Path) -> None:
    """The transport's git runs the user's hooks: a failing pre-commit hook stops a commit."""
    hook = repository / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    args = ("commit", "--quiet", "--all", "--message=two")
    assert ProcessTransport(repo=repository).git(args, time_limit=30).exit_code == 1


def test_the_arguments_come_last() -> None:
    """The SDK puts its settings before git's command, and gives options to a diff only."""
    assert git_words(["status", "-z"])[-2:] == ("status", "-z")
    assert git_words(["diff", "a..b"])[-4:] == (
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "a..b",
    )


def test_an_environment_keeps_what_git_needs() -> None:
    """The SDK keeps the user's git configuration and identity, and removes GIT_DIR."""
    mine = {"GIT_CONFIG_GLOBAL": "/g", "GIT_AUTHOR_NAME": "ada", "PATH": os.defpath}
    assert git_environment(mine | {"GIT_DIR": "/x"}).items() >= mine.items()
    assert "GIT_DIR" not in git_environment({"GIT_DIR": "/x"})
