"""Tests of `spec_kitty_client.workflow.proof`, in real repositories."""

import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

from spec_kitty_client._engine.core import Git
from spec_kitty_client.transports import Completed
from spec_kitty_client.workflow.proof import (
    MergeRecord,
    holds,
    left_out,
    record_lanes,
    record_result,
    recorded,
)
from tests.client.simulated import git


def drive(steps: Generator[Any, Any, Any]) -> Any:
    """Run the git steps of a generator, and return its result."""
    answer: object = None
    try:
        step = next(steps)
        while True:
            assert isinstance(step, Git)
            done = subprocess.run(
                ["git", *step.args], cwd=step.folder, capture_output=True, check=False
            )
            answer = Completed(
                argv=("git", *step.args),
                exit_code=done.returncode,
                stdout=done.stdout,
                stderr=done.stderr,
                time_limit=step.time_limit,
            )
            step = steps.send(answer)
    except StopIteration as end:
        return end.value


def commit(repo: Path, branch: str, name: str, text: str) -> str:
    """Commit a file on a branch of its own, and return the commit."""
    git(repo, "checkout", "--quiet", "-B", branch, "work")
    (repo / name).write_text(text)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", f"--message={name}")
    made = git(repo, "rev-parse", "HEAD")
    git(repo, "checkout", "--quiet", "work")
    return made


def test_a_commit_that_was_merged_is_held(repo: Path) -> None:
    """A merged commit counts as merged, even if its file was changed later."""
    one = commit(repo, "lane", "a.txt", "a\n")
    assert not drive(holds("work", [one], str(repo)))
    git(repo, "merge", "--quiet", "--no-ff", "--no-edit", "lane")
    (repo / "a.txt").write_text("later\n")
    git(repo, "commit", "--quiet", "--all", "--message=later")

    assert drive(holds("work", [one], str(repo)))


def test_the_files_of_a_commit_that_was_squashed_are_held(repo: Path) -> None:
    """A squashed commit counts as merged while the target has its files unchanged."""
    one = commit(repo, "lane", "a.txt", "a\n")
    git(repo, "merge", "--quiet", "--squash", "lane")
    git(repo, "commit", "--quiet", "--message=squashed")
    assert drive(holds("work", [one], str(repo)))

    (repo / "a.txt").write_text("later\n")
    git(repo, "commit", "--quiet", "--all", "--message=later")
    assert not drive(holds("work", [one], str(repo)))


def test_nothing_proves_nothing(repo: Path) -> None:
    """No commit, a missing commit and one of another history prove nothing."""
    assert not drive(holds("work", [], str(repo)))
    assert not drive(holds("work", ["0" * 40], str(repo)))
    git(repo, "checkout", "--quiet", "--orphan", "alien")
    git(repo, "commit", "--quiet", "--message=alien")
    alien = git(repo, "rev-parse", "HEAD")
    git(repo, "checkout", "--quiet", "work")
    assert not drive(holds("work", [alien], str(repo)))


def test_one_commit_that_is_missing_is_enough(repo: Path) -> None:
    """A mission with one unmerged commit is not merged."""
    one, two = commit(repo, "lane-a", "a.txt", "a\n"), commit(repo, "lane-b", "b.txt", "b\n")
    git(repo, "merge", "--quiet", "--no-edit", "lane-a")

    assert not drive(holds("work", [one, two], str(repo)))


def test_what_is_recorded_survives_the_branches(repo: Path) -> None:
    """The SDK's record of a mission keeps the heads of its lanes after their branches are gone."""
    one = commit(repo, "kitty/mission-m-lane-a", "a.txt", "a\n")
    top = str(repo)
    drive(record_lanes("m", {"kitty/mission-m-lane-a": one}, top))
    git(repo, "branch", "-D", "kitty/mission-m-lane-a")
    git(repo, "gc", "--quiet", "--prune=now")

    assert drive(recorded("m", top)) == MergeRecord(heads=(one,))
    assert drive(recorded("other", top)) == MergeRecord()
    result = git(repo, "rev-parse", "work")
    drive(record_result("m", one, result, top))
    assert drive(recorded("m", top)) == MergeRecord(before=one, result=result, heads=(one,))


def test_a_commit_that_is_on_no_branch_is_named(repo: Path) -> None:
    """A commit on no branch of the mission is named."""
    one, two = commit(repo, "lane-a", "a.txt", "a\n"), commit(repo, "lane-b", "b.txt", "b\n")

    assert drive(left_out([one, two], ["lane-a", "lane-b"], str(repo))) == ()
    assert drive(left_out([one, two], ["lane-a", "work"], str(repo))) == (two,)
    assert drive(left_out([], [], str(repo))) == ()
    assert drive(left_out(["0" * 40], ["work"], str(repo))) == ("0" * 40,)
