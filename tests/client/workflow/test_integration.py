"""Tests of `spec_kitty_client.workflow.integration`, by merges in real repositories."""

import json
import subprocess
from pathlib import Path

import pytest

from spec_kitty_client import Client
from spec_kitty_client.errors import GitFailed, MergeDamaged, WouldLoseWork
from spec_kitty_client.testing.host import PackagePlan
from spec_kitty_client.testing.host.board import Plan
from tests.client.answers import POLICY
from tests.client.simulated import FOLDER, SLUG, WithGit, git

MIXED: Plan = {"WP01": PackagePlan(), "WP02": PackagePlan(planning=True)}
PLANNING = f"kitty/mission-{SLUG}-lane-planning"

lane_hosts = pytest.mark.parametrize("release", ["3.1.10", "3.2.1", "3.2.5", "3.2.7"])


def client(host: WithGit) -> Client:
    """Return a client with an actor and a policy."""
    return Client(actor="ada", policy=POLICY, transport=host)


def commit(folder: Path, name: str, text: str) -> str:
    """Commit a file and return the commit."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    git(folder, "add", "--", name)
    git(folder, "commit", "--quiet", f"--message={name}", "--", name)
    return git(folder, "rev-parse", "HEAD")


def finished(release: str, repo: Path, plan: Plan = MIXED, **mission: str) -> WithGit:
    """Return a host whose mission is done, each work package in a worktree."""
    host = WithGit(release, plan, repo, **mission)
    for wp in plan:
        path = Path(client(host).mission(SLUG).work_package(wp).claim().workspace_path)
        assert path != repo
        commit(path, f"{wp}.txt", f"{wp}\n")
        host.put(wp, "done")
    return host


def merged_files(repo: Path, branch: str = "work") -> set[str]:
    """Return the files of work packages that a branch has."""
    listed = git(repo, "ls-tree", "-r", "--name-only", branch).splitlines()
    return {name for name in listed if name.startswith("WP")}


@lane_hosts
def test_planning_work_is_merged_with_the_rest(release: str, repo: Path) -> None:
    """The SDK merges planning work, and then removes its branch and its worktree."""
    host = finished(release, repo)

    merged = client(host).mission(SLUG).merge()

    assert merged.changed
    assert merged_files(repo) == {"WP01.txt", "WP02.txt"}
    assert git(repo, "branch", "--list", PLANNING) == ""
    assert not (repo / ".worktrees" / f"{SLUG}-lane-planning").exists()
    assert not client(host).mission(SLUG).merge().changed


def test_work_in_the_folder_of_the_mission_is_proven_as_well(repo: Path) -> None:
    """A merge brings the files that agents committed in the mission's folder."""
    host = WithGit("3.2.7", {"WP01": PackagePlan(planning=True), "WP02": PackagePlan()}, repo)
    for wp in ("WP01", "WP02"):
        path = Path(client(host).mission(SLUG).work_package(wp).claim().workspace_path)
        commit(path, f"{FOLDER}/research/{wp}.md", f"{wp}\n")
        host.put(wp, "done")

    client(host).mission(SLUG).merge()

    listed = git(repo, "ls-tree", "-r", "--name-only", "work", f"{FOLDER}/research").splitlines()
    assert [name.rpartition("/")[2] for name in listed] == ["WP01.md", "WP02.md"]


def test_planning_work_that_does_not_merge_is_told_before_the_host_is_asked(repo: Path) -> None:
    """A conflict of planning work is raised before the host is called, and aborted."""
    host = finished("3.2.7", repo, {"WP01": PackagePlan(planning=True), "WP02": PackagePlan()})
    lane = repo / ".worktrees" / f"{SLUG}-lane-planning"
    commit(lane, "WP02.txt", "another\n")
    git(repo, "update-ref", f"refs/heads/kitty/mission-{SLUG}", f"kitty/mission-{SLUG}-lane-a")
    before = git(repo, "rev-parse", "work")

    with pytest.raises(GitFailed, match="does not merge") as e:
        client(host).mission(SLUG).merge()

    assert "merge-mission" not in host.mutations
    assert merged_files(repo) == set()
    assert git(repo, "worktree", "list").count("-merge") == 0
    assert git(repo, "log", "--format=%s", f"{before}..work") in (
        "",
        f"chore({SLUG}): record status",
    )
    merge, add, done = str(e.value).split("`")[1::2]
    subprocess.run(merge, shell=True, check=False)  # noqa: S602
    (lane / "WP02.txt").write_text("both\n")
    for command in (add, done):
        subprocess.run(command, shell=True, check=True)  # noqa: S602
    assert client(host).mission(SLUG).merge().changed
    assert git(repo, "show", "work:WP02.txt") == "both"


@pytest.mark.parametrize("release", ["3.2.5", "3.2.7"])
@pytest.mark.parametrize("by_hand", [False, True])
def test_status_files_on_the_target_stop_no_merge(release: str, repo: Path, by_hand: bool) -> None:
    """A merge under coord ignores the status files on the target, committed or not."""
    host = finished(release, repo, {"WP01": PackagePlan()}, topology="coord")
    (repo / FOLDER / "status.events.jsonl").write_text("stale\n")
    (repo / FOLDER / "status.json").write_text("{}\n")
    if by_hand:
        git(repo, "add", "--all")
        git(repo, "commit", "--quiet", "--message=everything")

    assert client(host).mission(SLUG).merge().changed

    assert merged_files(repo) == {"WP01.txt"}
    assert "stale" not in git(repo, "show", f"work:{FOLDER}/status.events.jsonl")
    assert not client(host).mission(SLUG).merge().changed


@pytest.mark.parametrize("release", ["3.2.5", "3.2.7"])
def test_planning_work_is_merged_under_a_coordination_branch(release: str, repo: Path) -> None:
    """The SDK merges planning work under coord, also on 3.2.5."""
    host = finished(release, repo, MIXED, topology="coord")

    assert client(host).mission(SLUG).merge().changed

    assert merged_files(repo) == {"WP01.txt", "WP02.txt"}
    assert git(repo, "branch", "--list", PLANNING) == ""


def test_commits_that_no_branch_has_are_told_before_the_merge(repo: Path) -> None:
    """The SDK refuses to merge while a submitted commit is on no branch of the mission."""
    host = finished("3.2.7", repo)
    git(repo, "checkout", "--quiet", "-b", "own")
    stray = commit(repo, "stray.txt", "stray\n")
    git(repo, "checkout", "--quiet", "work")

    with pytest.raises(WouldLoseWork, match=f"{stray[:12]} was submitted"):
        client(host).mission(SLUG).merge(commits=[stray])

    assert "merge-mission" not in host.mutations


@pytest.mark.parametrize("release", ["1.0.3", "2.1.3"])
def test_a_merge_that_passes_over_a_branch_in_silence_is_told(release: str, repo: Path) -> None:
    """Up to 2.1.3 hosts leave out done work without a branch; the SDK raises MergeDamaged."""
    host = finished(release, repo, {"WP01": [], "WP02": []})
    git(repo, "worktree", "remove", "--force", str(host.worktree("WP02")))
    git(repo, "branch", "-D", host.branch("WP02"))

    with pytest.raises(MergeDamaged, match="left out work without a branch: WP02"):
        client(host).mission(SLUG).merge()


@pytest.mark.parametrize(("key", "target"), [("merge_target_branch", "release"), (None, "work")])
def test_the_target_is_named_to_the_host(repo: Path, key: str | None, target: str) -> None:
    """The SDK names the target in the call, so that host and client use the same branch."""
    host = finished("3.2.7", repo)
    if key:
        git(repo, "branch", "release")
        meta = repo / FOLDER / "meta.json"
        meta.write_text(json.dumps(json.loads(meta.read_text()) | {key: "release"}))
        git(repo, "commit", "--quiet", "--all", "--message=target")

    merged = client(host).mission(SLUG).merge()

    assert merged.target == target == host.sent("merge-mission")[0]["target"]
    assert merged_files(repo, target) == {"WP01.txt", "WP02.txt"}


def test_a_squash_over_something_newer_is_refused(repo: Path) -> None:
    """The SDK refuses a squash over newer lines of the target, and merges beside others."""
    lines = [f"{i}\n" for i in range(20)]
    commit(repo, "WP01.txt", "".join(lines))
    host = WithGit("3.2.7", {"WP01": PackagePlan()}, repo)
    path = Path(client(host).mission(SLUG).work_package("WP01").claim().workspace_path)
    commit(path, "WP01.txt", "".join([*lines[:-1], "mine\n"]))
    host.put("WP01", "done")
    newer = commit(repo, "WP01.txt", "".join([*lines[:-1], "hotfix\n"]))

    with pytest.raises(WouldLoseWork, match=r"newer than .*WP01\.txt"):
        client(host).mission(SLUG).merge(strategy="squash")

    assert "merge-mission" not in host.mutations
    git(repo, "reset", "--quiet", "--hard", f"{newer}~1")
    commit(repo, "WP01.txt", "".join(["first\n", *lines[1:]]))
    assert client(host).mission(SLUG).merge(strategy="squash").changed
    text = git(repo, "show", "work:WP01.txt")
    assert text.startswith("first") and text.endswith("mine")  # noqa: PT018 - one text
