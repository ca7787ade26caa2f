"""Tests of the error of a failed merge: the conflict, the changes, and commands that help."""

import json
import pickle
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import evolve

from spec_kitty_client import Completed
from spec_kitty_client.errors import IntegrationFailed, MergeConflict
from tests.client.simulated import SLUG, WithGit, git
from tests.client.workflow.test_merge import client, commit, finished, head

every_kind = pytest.mark.parametrize("release", ["1.0.3", "3.0.3", "3.1.10", "3.2.7"])
APART = {"WP01": [], "WP02": []}


class Half(WithGit):
    """A host that first merges one lane into the mission's branch, as real hosts do."""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`."""
        if "merge-mission" in args:
            git(self.top, "branch", "--force", f"kitty/mission-{SLUG}", self.branch("WP01"))
        return super().run(args, time_limit=time_limit)


class LeavesBranches(WithGit):
    """A host that merges, and then refuses to remove the branches, as 4.0.0rc7 may."""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`."""
        done = super().run(args, time_limit=time_limit)
        if "consolidate-mission" not in args:
            return done
        answer = json.loads(done.stdout)
        data = {"errors": ["it moved"], "teardown_error_code": "COORD_MOVED_AFTER_LANDING"}
        answer |= {"success": False, "error_code": "PREFLIGHT_FAILED", "data": data}
        return evolve(done, exit_code=1, stdout=json.dumps(answer).encode())


def conflict(host: WithGit) -> MergeConflict:
    """Return the error of a merge with a conflict, as another process would get it."""
    with pytest.raises(MergeConflict) as e:
        client(host).mission(SLUG).merge()
    again = pickle.loads(pickle.dumps(e.value))  # noqa: S301
    assert (str(again), again.commands) == (str(e.value), e.value.commands)
    return e.value


def resolve(error: MergeConflict, repo: Path, text: str) -> None:
    """Follow the commands, and write each file with a conflict before ``add``."""
    *first, add, done = error.commands
    for command in first:
        subprocess.run(command, shell=True, check=False, cwd=repo)  # noqa: S602
    where = Path(add.split()[2])
    for name in error.files:
        (where / name).write_text(text)
    for command in (add, done):
        subprocess.run(command, shell=True, check=True, cwd=repo)  # noqa: S602


@every_kind
def test_a_conflict_with_the_target_is_resolved_by_the_commands(release: str, repo: Path) -> None:
    """The error names file and branches; after its commands the merge works."""
    host = finished(release, repo)
    commit(repo, "WP01.txt", "hotfix\n")
    before = head(repo)

    error = conflict(host)

    assert error.files == ("WP01.txt",)
    assert error.branches == (host.branch("WP01"), "work")
    assert f"{host.branch('WP01')} and work have merge conflicts in WP01.txt" in str(error)
    assert head(repo) == before
    if host.since("3.1.0"):
        assert error.outcome == "not_applied"
        assert f"Nothing was merged: work is still at commit {before}" in str(error)
        assert "may have taken effect" not in str(error)
    else:
        assert "is in the middle of the merge" in str(error)
    resolve(error, repo, "hotfix and work\n")
    assert client(host).mission(SLUG).merge().changed
    assert git(repo, "show", "work:WP01.txt") == "hotfix and work"


@pytest.mark.parametrize("release", ["1.0.3", "3.2.7"])
def test_a_conflict_between_two_lanes_is_resolved_by_the_commands(release: str, repo: Path) -> None:
    """The error names the two branches of a conflict; after its commands the merge works."""
    host = WithGit(release, dict(APART), repo)
    for wp in APART:
        path = Path(client(host).mission(SLUG).work_package(wp).claim().workspace_path)
        commit(path, "shared.txt", f"{wp}\n")
        host.put(wp, "done")

    error = conflict(host)

    assert error.files == ("shared.txt",)
    first = "work" if release == "1.0.3" else host.branch("WP01")
    assert error.branches == (host.branch("WP02"), first)
    resolve(error, repo, "both\n")
    assert client(host).mission(SLUG).merge().changed
    assert git(repo, "show", "work:shared.txt") == "both"


def test_the_commands_make_the_worktree_where_there_is_none(repo: Path) -> None:
    """The commands make the worktree of the branch again if the user has removed it."""
    host = finished("3.2.7", repo)
    git(repo, "worktree", "remove", str(host.worktree("WP01")))
    commit(repo, "WP01.txt", "hotfix\n")

    error = conflict(host)

    assert "worktree add" in error.commands[0]
    resolve(error, repo, "both\n")
    assert client(host).mission(SLUG).merge().changed


def test_a_conflict_in_the_files_of_the_mission_is_found(repo: Path) -> None:
    """The error names a file of the mission that both agent and user have changed."""
    host = finished("3.2.7", repo)
    name = f"kitty-specs/{SLUG}/plan.md"
    commit(host.worktree("WP01"), name, "by the agent\n")
    commit(repo, name, "by the user\n")

    error = conflict(host)

    assert error.files == (name,)
    resolve(error, repo, "both\n")
    assert client(host).mission(SLUG).merge().changed


def test_a_failure_that_is_no_conflict_says_that_nothing_has_changed(repo: Path) -> None:
    """The error says that nothing was merged, and how to fetch the missing branch."""
    host = finished("3.2.7", repo)
    git(repo, "worktree", "remove", "--force", str(host.worktree("WP01")))
    git(repo, "branch", "-D", host.branch("WP01"))
    before = head(repo)

    with pytest.raises(IntegrationFailed) as e:
        client(host).mission(SLUG).merge()

    assert e.value.outcome == "not_applied"
    assert "may have taken effect" not in str(e.value)
    state, missing = e.value.__notes__
    assert state == f"Nothing was merged: work is still at commit {before}."
    assert f"git fetch CLONE {host.branch('WP01')}:{host.branch('WP01')}" in missing


def test_a_merge_of_some_lanes_alone_is_told_as_that(repo: Path) -> None:
    """The error says that the host has merged some branches, and that the target is unchanged."""
    host = finished("3.2.7", repo, kind=Half)
    commit(repo, "WP01.txt", "hotfix\n")

    error = conflict(host)

    assert "the host has merged some branches, which does no harm" in str(error)
    assert f"work is still at commit {head(repo)}" in str(error)


def test_a_push_that_failed_after_the_merge_is_told_as_that(repo: Path) -> None:
    """The error of a push that failed after the merge has the command that pushes."""
    host = finished("3.2.7", repo)
    git(repo, "remote", "add", "origin", str(repo / "nowhere"))

    with pytest.raises(Exception, match="merge-mission") as e:
        client(host).mission(SLUG).merge(push=True)

    assert any("git push origin work" in note for note in e.value.__notes__)
    assert (repo / "WP01.txt").is_file() or "WP01.txt" in git(repo, "ls-tree", "work")


def test_a_merge_that_was_not_cleaned_up_is_a_merge(repo: Path) -> None:
    """A merge that git proves is a success with the host's code, although the host refused."""
    host = finished("4.0.0rc7", repo, kind=LeavesBranches)

    merged = client(host).mission(SLUG).merge()

    assert merged.changed
    assert merged.teardown_error_code == "COORD_MOVED_AFTER_LANDING"
    assert (repo / "WP02.txt").is_file()
