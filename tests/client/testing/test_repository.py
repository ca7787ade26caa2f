"""Tests of `spec_kitty_client.testing.host.repository`: real git behind a simulated host."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from spec_kitty_client import GitFailed
from spec_kitty_client.testing.host import (
    AsyncSimulatedRepository,
    PackagePlan,
    Release,
    SimulatedRepository,
)
from spec_kitty_client.testing.host.board import Plan
from spec_kitty_client.testing.host.marking import COMMAND
from spec_kitty_client.testing.host.workspace import branch_of
from tests import missions
from tests.client.releases import SAMPLE

PLAN: Plan = {"WP01": [], "WP02": ["WP01"]}
OLD = ("1.0.3", "2.1.3", "3.0.3")
NEW = ("3.1.0", "3.1.10", "3.2.1", "3.2.5", "3.2.7", "4.0.0rc7")
FORCED = ("--force", "--note=n", "--actor=rev", f"--policy={missions.POLICY}")


def git(folder: Path, *args: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@b.invalid")
    argv = ["git", *identity, *args]
    done = subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def made(
    release: str, tmp_path: Path, plan: Plan = PLAN, target: str = "main", **about: Any
) -> SimulatedRepository:
    folder = tmp_path / "repo"
    return SimulatedRepository(plan, release=release, folder=folder, target=target, **about)


def ask(host: SimulatedRepository, verb: str, *options: str) -> dict[str, Any]:
    """Call a verb by its name on this release, and return the envelope."""
    word = "feature" if host.release.says_feature else "mission"
    verb = verb.replace("mission", word)
    if verb == "merge-mission" and host.release.since("4.0.0rc5"):
        verb = "consolidate-mission"
    args = ("orchestrator-api", verb, f"--{word}={host.mission.slug}", *options)
    done = host.run(args, time_limit=60)
    assert done.stdout, done.stderr.decode()
    envelope: dict[str, Any] = json.loads(done.stdout)
    return envelope


def start(host: SimulatedRepository, wp: str) -> None:
    options = (f"--wp={wp}", "--actor=a1", f"--policy={missions.POLICY}")
    assert ask(host, "start-implementation", *options)["success"]


def worktree(host: SimulatedRepository, wp: str) -> Path:
    """Return the worktree of a work package; make it where the host does not."""
    branch = branch_of(host.release, host.mission, wp)
    path = host.folder / ".worktrees" / branch.removeprefix("kitty/mission-")
    if not path.exists():
        target = host.mission.target
        git(host.folder, "worktree", "add", "--quiet", "-b", branch, str(path), target)
    return path


def work(host: SimulatedRepository, files: Mapping[str, str] | None = None) -> None:
    """Commit a file for every planned work package, and move it to approved or done."""
    for wp, package in host.mission.packages.items():
        if package.lane == "planned":
            path = worktree(host, wp)
            (path / (files or {}).get(wp, f"{wp}.txt")).write_text(f"{wp}\n")
            git(path, "add", "--all")
            git(path, "commit", "--quiet", f"--message={wp}")
            to = "approved" if host.release.since("3.2.0") else "done"
            assert ask(host, "transition", f"--wp={wp}", f"--to={to}", *FORCED)["success"]


def finished(release: str, tmp_path: Path, plan: Plan = PLAN, **about: Any) -> SimulatedRepository:
    """Return a host whose mission is finished."""
    host = made(release, tmp_path, plan, **about)
    for wp in plan if host.release.since("3.2.2") else ():
        start_anyway(host, wp)
    work(host)
    return host


def start_anyway(host: SimulatedRepository, wp: str) -> None:
    """Make the worktree without a claim, which would ask for dependencies."""
    host.workspace.allocate(host.mission, wp)


def commit(folder: Path, name: str) -> None:
    (folder / name).write_text(f"{name}\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", f"--message={name}")


def mark(host: SimulatedRepository, *subtasks: str) -> None:
    selector = "--feature" if host.release.says_feature else "--mission"
    named = ("--status=done", f"{selector}={host.mission.slug}", "--json")
    assert host.run([*COMMAND, *subtasks, *named], time_limit=60).exit_code == 0


def in_target(host: SimulatedRepository) -> list[str]:
    names = git(host.folder, "ls-tree", "--name-only", "main").splitlines()
    return [name for name in names if name.startswith("WP")]


@pytest.mark.parametrize("release", SAMPLE)
def test_a_mission_is_committed(release: str, tmp_path: Path) -> None:
    """The files of a planned mission are committed on the target, and nothing else changes."""
    host = made(release, tmp_path)
    assert git(host.folder, "status", "--porcelain") == ""
    assert git(host.folder, "branch", "--show-current") == "main"
    there = git(host.folder, "ls-files", "kitty-specs").splitlines()
    assert f"kitty-specs/{host.mission.slug}/tasks/WP01-part.md" in there
    has_lanes = f"kitty-specs/{host.mission.slug}/lanes.json" in there
    assert has_lanes == host.release.since("3.1.0")


def test_lanes_json_is_what_the_host_writes(tmp_path: Path) -> None:
    """lanes.json has the lanes with their work packages and the lanes that they need."""
    plan = {"WP01": [], "WP02": ["WP01"], "WP03": ["WP01", "WP02"]}
    host = made("3.2.7", tmp_path, plan)
    path = host.folder / "kitty-specs" / host.mission.slug / "lanes.json"
    facts = json.loads(path.read_text())
    assert facts["mission_branch"] == f"kitty/mission-{host.mission.slug}"
    assert facts["target_branch"] == "main"
    assert facts["lanes"][2] == {
        "lane_id": "lane-c",
        "wp_ids": ["WP03"],
        "write_scope": ["WP03.txt"],
        "depends_on_lanes": ["lane-a", "lane-b"],
    }


@pytest.mark.parametrize("ignores", [True, False])
def test_what_is_in_the_folder_stays(tmp_path: Path, *, ignores: bool) -> None:
    """The host works in an existing repository, and keeps its files and uncommitted changes."""
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "--quiet", "--initial-branch=main")
    if ignores:
        (repo / ".gitignore").write_text("mine\n")
    (repo / "code.py").write_text("pass\n")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=mine")
    (repo / "code.py").write_text("not committed\n")
    start(made("3.2.7", tmp_path), "WP01")
    assert (repo / "code.py").read_text() == "not committed\n"
    assert not ignores or (repo / ".gitignore").read_text() == "mine\n"
    assert git(repo, "status", "--porcelain") == "M code.py"
    assert git(repo, "log", "--format=%s").splitlines()[-1] == "mine"


def test_a_mission_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    """A second mission of the same name is refused, and the first is not changed."""
    host = made("3.2.7", tmp_path)
    before = git(host.folder, "rev-parse", "HEAD")
    with pytest.raises(GitFailed, match=r"exists already\. Use another"):
        made("3.2.7", tmp_path)
    assert git(host.folder, "rev-parse", "HEAD") == before
    other = SimulatedRepository(PLAN, folder=host.folder, slug="other", target="main")
    assert other.mission.slug == "other"


@pytest.mark.parametrize("release", SAMPLE)
def test_a_start_makes_the_worktree(release: str, tmp_path: Path) -> None:
    """From 3.2.2 on a start makes the worktree on its own branch; before, it makes nothing."""
    host = made(release, tmp_path)
    start(host, "WP01")
    path = host.folder / ".worktrees" / f"{host.mission.slug}-lane-a"
    assert path.exists() == host.release.since("3.2.2")
    if path.exists():
        here = git(path, "branch", "--show-current")
        assert here == f"kitty/mission-{host.mission.slug}-lane-a"
        start(host, "WP01")  # once more: it stays


def test_a_worktree_has_the_work_that_it_depends_on(tmp_path: Path) -> None:
    """A worktree has the work of its dependencies, and no other work."""
    host = made("3.2.7", tmp_path, {"WP01": [], "WP02": ["WP01"], "WP03": []})
    for wp in ("WP01", "WP03"):
        start(host, wp)
    path = worktree(host, "WP01")
    (path / "WP01.txt").write_text("1\n")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--message=WP01")
    assert ask(host, "transition", "--wp=WP01", "--to=approved", *FORCED)["success"]
    start(host, "WP02")
    assert (worktree(host, "WP02") / "WP01.txt").exists()
    assert not (worktree(host, "WP03") / "WP01.txt").exists()


def test_a_worktree_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """A removed worktree is made again from its branch."""
    host = made("3.2.7", tmp_path)
    start(host, "WP01")
    path = worktree(host, "WP01")
    (path / "WP01.txt").write_text("1\n")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--message=WP01")
    git(host.folder, "worktree", "remove", str(path))
    start(host, "WP01")
    assert (path / "WP01.txt").exists()


def test_work_is_a_commit(tmp_path: Path) -> None:
    """Uncommitted files and commits of dependencies do not count as work."""
    host = made("3.2.7", tmp_path)
    hand_in = ("transition", "--wp=WP01", "--to=for_review", "--actor=a1")
    policy = f"--policy={missions.POLICY}"
    start(host, "WP01")
    path = worktree(host, "WP01")
    (path / "WP01.txt").write_text("1\n")
    refused = ask(host, *hand_in, policy)
    assert (refused["error_code"], refused["data"]["lane_id"]) == ("TRANSITION_REJECTED", "lane-a")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--message=WP01")
    assert ask(host, *hand_in, policy)["success"]


@pytest.mark.parametrize("release", SAMPLE)
def test_moves_are_written_and_some_hosts_commit_them(release: str, tmp_path: Path) -> None:
    """1.0.x and hosts from 3.2.0 on commit the events; the others leave them to their caller."""
    host = made(release, tmp_path)
    start(host, "WP01")
    events = f"kitty-specs/{host.mission.slug}/status.events.jsonl"
    lines = (host.folder / events).read_text().splitlines()
    assert [json.loads(line)["after"] for line in lines][-1] == "in_progress"
    status = git(host.folder, "status", "--porcelain", "--", events)
    commits = host.release.since("3.2.0") or not host.release.since("2.1.0")
    assert (status == "") == commits


@pytest.mark.parametrize("release", SAMPLE)
def test_what_somebody_has_staged_is_not_committed(release: str, tmp_path: Path) -> None:
    """A commit of the host has only its own files."""
    host = made(release, tmp_path)
    (host.folder / "mine.txt").write_text("mine\n")
    git(host.folder, "add", "mine.txt")
    start(host, "WP01")
    assert git(host.folder, "diff", "--cached", "--name-only") == "mine.txt"


@pytest.mark.parametrize("release", ["1.0.3", "2.1.3", "3.0.3", *NEW])
def test_a_merge_brings_all_of_it(release: str, tmp_path: Path) -> None:
    """After a merge the target has the work of every work package."""
    host = finished(release, tmp_path)
    done = ask(host, "merge-mission")
    assert done["success"], done
    assert in_target(host) == ["WP01.txt", "WP02.txt"]
    if host.release.says_feature:
        assert done["data"]["merged_wps"] == ["WP01", "WP02"]
        assert worktree(host, "WP01").exists()
    else:
        assert "lane-" not in git(host.folder, "branch", "--format=%(refname)")
        assert set(host.lanes().values()) == {"done"}


@pytest.mark.parametrize("strategy", ["merge", "squash", "rebase"])
def test_a_merge_has_its_strategy(strategy: str, tmp_path: Path) -> None:
    """Only the strategy merge makes merge commits, and rebase brings each commit once."""
    host = finished("3.2.7", tmp_path, {"WP01": [], "WP02": ["WP01"], "WP03": []})
    assert ask(host, "merge-mission", f"--strategy={strategy}")["success"]
    assert in_target(host) == ["WP01.txt", "WP02.txt", "WP03.txt"]
    merges = git(host.folder, "log", "--merges", "--format=%s", "main").splitlines()
    assert bool(merges) == (strategy == "merge")
    subjects = git(host.folder, "log", "--format=%s", "main").splitlines()
    for wp in ("WP01", "WP02", "WP03") if strategy == "rebase" else ():
        assert subjects.count(wp) == 1


@pytest.mark.parametrize("release", ["3.1.0", "3.1.10"])
def test_the_checkout_stays_behind_up_to_3_1_10(release: str, tmp_path: Path) -> None:
    """Up to 3.1.10 a merge moves the target, but not the files of its checkout."""
    host = finished(release, tmp_path)
    assert ask(host, "merge-mission")["success"]
    assert not (host.folder / "WP01.txt").exists()
    assert "D  WP01.txt" in git(host.folder, "status", "--porcelain").splitlines()


@pytest.mark.parametrize("release", OLD)
def test_a_conflict_leaves_old_hosts_half_merged(release: str, tmp_path: Path) -> None:
    """Up to 3.0.3 a conflict leaves the checkout half-merged; the answer lists merged work."""
    host = made(release, tmp_path, {"WP01": [], "WP02": []})
    work(host, {"WP01": "WP.txt", "WP02": "WP.txt"})
    done = ask(host, "merge-mission")
    assert done["error_code"] == "MERGE_FAILED"
    assert done["data"] == {"merged_so_far": ["WP01"], "failed_wp": "WP02"}
    assert in_target(host) == ["WP.txt"]
    assert git(host.folder, "status", "--porcelain").startswith("AA WP.txt")


@pytest.mark.parametrize("release", NEW)
def test_a_conflict_leaves_the_target_alone(release: str, tmp_path: Path) -> None:
    """From 3.1.0 on a conflict changes neither the target nor the lanes."""
    host = made(release, tmp_path, {"WP01": [], "WP02": []})
    for wp in ("WP01", "WP02"):
        start_anyway(host, wp)
    work(host, {"WP01": "WP.txt", "WP02": "WP.txt"})
    before = git(host.folder, "rev-parse", "main")
    lanes = host.lanes()
    assert ask(host, "merge-mission")["error_code"] == "PREFLIGHT_FAILED"
    assert git(host.folder, "rev-parse", "main") == before
    assert git(host.folder, "worktree", "list").count("lane-") == 2 * 2
    assert host.lanes() == lanes


@pytest.mark.parametrize(("release", "again"), [("1.0.3", True), ("3.0.3", True), ("3.2.7", False)])
def test_a_second_merge(release: str, again: bool, tmp_path: Path) -> None:
    """A second merge succeeds on old hosts, and fails on later ones, which removed the branches."""
    host = finished(release, tmp_path)
    assert ask(host, "merge-mission")["success"]
    before = git(host.folder, "rev-parse", "main")
    done = ask(host, "merge-mission")
    assert done["success"] is again
    assert done["error_code"] == (None if again else "PREFLIGHT_FAILED")
    assert git(host.folder, "rev-parse", "main") == before


@pytest.mark.parametrize("release", [*OLD, "4.0.0rc7"])
def test_a_dirty_worktree_is_refused(release: str, tmp_path: Path) -> None:
    """Up to 3.0.3 and from 4.0 on uncommitted changes prevent a merge."""
    host = finished(release, tmp_path)
    left = worktree(host, "WP02") / "left.txt"
    left.write_text("not committed\n")
    assert ask(host, "merge-mission")["error_code"] == "PREFLIGHT_FAILED"
    assert left.exists()
    assert in_target(host) == []


@pytest.mark.parametrize("release", ["3.1.0", "3.1.10", "3.2.1", "3.2.5", "3.2.7"])
def test_a_dirty_worktree_is_thrown_away(release: str, tmp_path: Path) -> None:
    """3.1.0 to 3.2.7 remove a worktree with uncommitted files, and report success."""
    host = finished(release, tmp_path)
    left = worktree(host, "WP02") / "left.txt"
    left.write_text("not committed\n")
    assert ask(host, "merge-mission")["success"]
    assert not left.exists()


@pytest.mark.parametrize(
    ("release", "outcome"), [("3.1.10", "kept"), ("3.2.5", "refused"), ("3.2.7", "reset")]
)
def test_an_acceptance_that_is_not_committed(release: str, outcome: str, tmp_path: Path) -> None:
    """A merge keeps an uncommitted acceptance on 3.1.10, and undoes it on 3.2.7; 3.2.5 refuses."""
    host = finished(release, tmp_path)
    git(host.folder, "add", "--all")
    git(host.folder, "commit", "--quiet", "--allow-empty", "--message=mine")
    assert ask(host, "accept-mission", "--actor=rev")["success"]
    meta = host.folder / "kitty-specs" / host.mission.slug / "meta.json"
    assert "accepted_at" in meta.read_text()
    assert ask(host, "merge-mission")["success"] == (outcome != "refused")
    assert ("accepted_at" in meta.read_text()) == (outcome != "reset")


def test_other_changes_of_a_mission_are_not_reset(tmp_path: Path) -> None:
    """3.2.7 refuses a merge over another change in the mission's folder, and keeps that."""
    host = finished("3.2.7", tmp_path)
    path = host.folder / "kitty-specs" / host.mission.slug / "tasks" / "WP01-part.md"
    path.write_text("mine\n")
    assert ask(host, "merge-mission")["error_code"] == "PREFLIGHT_FAILED"
    assert path.read_text() == "mine\n"


@pytest.mark.parametrize("damage", ["missing", "{"])
@pytest.mark.parametrize("release", ["3.1.0", "3.2.7"])
def test_lanes_json_is_needed_for_a_merge(release: str, damage: str, tmp_path: Path) -> None:
    """A merge is refused while lanes.json is missing or damaged."""
    host = finished(release, tmp_path)
    path = host.folder / "kitty-specs" / host.mission.slug / "lanes.json"
    path.unlink() if damage == "missing" else path.write_text(damage)
    git(host.folder, "add", "--all")
    git(host.folder, "commit", "--quiet", "--message=mine")
    assert ask(host, "merge-mission")["error_code"] == "PREFLIGHT_FAILED"
    assert in_target(host) == []


@pytest.mark.parametrize("release", ["3.1.10", "3.2.7"])
def test_branches_are_needed_for_a_merge(release: str, tmp_path: Path) -> None:
    """A merge is refused if the target or the branch of a lane does not exist."""
    host = finished(release, tmp_path, {"WP01": [], "WP02": []})
    refused = ask(host, "merge-mission", "--target=nosuch")
    assert (refused["error_code"], refused["data"]["target_branch"]) == (
        "PREFLIGHT_FAILED",
        "nosuch",
    )
    git(host.folder, "worktree", "remove", "--force", str(worktree(host, "WP02")))
    git(host.folder, "branch", "-D", branch_of(host.release, host.mission, "WP02"))
    assert ask(host, "merge-mission")["error_code"] == "PREFLIGHT_FAILED"
    assert in_target(host) == []


@pytest.mark.parametrize(
    ("release", "passed"), [("1.0.3", True), ("2.1.3", True), ("3.0.3", False)]
)
def test_what_is_done_may_lack_its_worktree(release: str, passed: bool, tmp_path: Path) -> None:
    """Before 3.0 a merge skips done work without a worktree; 3.0.3 refuses."""
    host = finished(release, tmp_path)
    git(host.folder, "worktree", "remove", str(worktree(host, "WP02")))
    done = ask(host, "merge-mission")
    assert done["success"] is passed
    if passed:
        assert done["data"]["merged_wps"] == ["WP01"]
    host.mission.packages["WP02"].lane = "in_progress"
    assert ask(host, "merge-mission")["error_code"] == "PREFLIGHT_FAILED"


def test_a_merge_into_another_branch_leaves_the_checkout(tmp_path: Path) -> None:
    """A merge into another branch does not change the checkout."""
    host = finished("3.2.7", tmp_path)
    git(host.folder, "branch", "release")
    before = git(host.folder, "rev-parse", "main")
    assert ask(host, "merge-mission", "--target=release")["success"]
    # The host commits to main that everything is done, but none of the work.
    assert git(host.folder, "merge-base", before, "main") == before
    assert in_target(host) == []
    assert "WP01.txt" in git(host.folder, "ls-tree", "--name-only", "release")


@pytest.mark.parametrize("release", ["3.2.1", "3.2.7"])
def test_a_file_in_the_way_of_a_merge(release: str, tmp_path: Path) -> None:
    """A merge that would overwrite a file is refused, and the file is kept."""
    host = finished(release, tmp_path)
    (host.folder / "WP01.txt").write_text("mine\n")
    before = git(host.folder, "rev-parse", "main")
    assert ask(host, "merge-mission")["error_code"] == "PREFLIGHT_FAILED"
    assert git(host.folder, "rev-parse", "main") == before
    assert (host.folder / "WP01.txt").read_text() == "mine\n"


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3", "3.1.10", "3.2.7"])
def test_a_push(release: str, tmp_path: Path) -> None:
    """A merge with --push reaches the remote."""
    host = finished(release, tmp_path)
    bare = tmp_path / "remote"
    subprocess.run(["git", "init", "--quiet", "--bare", str(bare)], check=True)
    git(host.folder, "remote", "add", "origin", str(bare))
    assert ask(host, "merge-mission", "--push")["success"]
    assert "WP01.txt" in git(bare, "ls-tree", "--name-only", "main")


@pytest.mark.parametrize(("release", "code"), [("1.0.3", "PUSH_FAILED"), ("3.2.7", None)])
def test_a_push_without_a_remote(release: str, code: str | None, tmp_path: Path) -> None:
    """A merge with --push and without a remote is made, and is an error on 1.0.3 only."""
    host = finished(release, tmp_path)
    assert ask(host, "merge-mission", "--push")["error_code"] == code
    assert in_target(host) == ["WP01.txt", "WP02.txt"]


def test_a_push_that_fails_is_a_traceback(tmp_path: Path) -> None:
    """From 3.1.0 on a failed push crashes the host after the merge."""
    host = finished("3.2.7", tmp_path)
    git(host.folder, "remote", "add", "origin", str(tmp_path / "nowhere"))
    args = ("orchestrator-api", "merge-mission", f"--mission={host.mission.slug}", "--push")
    done = host.run(args, time_limit=60)
    assert (done.exit_code, done.stdout) == (1, b"")
    assert b"Traceback" in done.stderr
    assert in_target(host) == ["WP01.txt", "WP02.txt"]


def test_git_is_at_hand(tmp_path: Path) -> None:
    """The host runs git in its repository, and in a folder that is given."""
    host = made("3.2.7", tmp_path)
    start(host, "WP01")
    answer = host.git(("branch", "--show-current"), time_limit=60)
    assert answer.stdout == b"main\n"
    there = str(worktree(host, "WP01"))
    assert b"lane-a" in host.git(("branch", "--show-current"), folder=there, time_limit=60).stdout


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_twin_works_in_a_thread(backend: str, tmp_path: Path) -> None:
    """The async host has the same calls and git as the blocking one."""
    host = made("3.2.7", tmp_path)
    twin = AsyncSimulatedRepository(host)

    async def main() -> tuple[bytes, bytes]:
        version = await twin.run(("--version",), time_limit=60)
        branch = await twin.git(("branch", "--show-current"), time_limit=60)
        return version.stdout, branch.stdout

    assert anyio.run(main, backend=backend) == (b"spec-kitty-cli version 3.2.7\n", b"main\n")


def test_a_release_may_be_given_as_one(tmp_path: Path) -> None:
    """The release may be given as a `Release`."""
    host = SimulatedRepository(PLAN, release=Release("3.1.0"), folder=tmp_path / "repo")
    assert host.release.name == "3.1.0"


@pytest.mark.parametrize("release", SAMPLE)
@pytest.mark.parametrize("half", [chr(0xD800), chr(0xDCFF)], ids=ascii)
def test_half_a_character_is_no_branch(release: str, half: str, tmp_path: Path) -> None:
    """A target with a lone surrogate is refused like one that does not exist."""
    answer = ask(made(release, tmp_path), "merge-mission", f"--target={half}")

    assert answer["success"] is False
    assert answer["error_code"] in ("PREFLIGHT_FAILED", "MERGE_FAILED", "FEATURE_NOT_READY")


TWO_SUBTASKS: Plan = {"WP01": PackagePlan(subtasks=["T001", "T002"])}


@pytest.mark.parametrize("release", ["2.1.3", "3.1.10", "3.2.5"])
def test_boxes_are_ticked_and_committed(release: str, tmp_path: Path) -> None:
    """Up to 3.2.5 marking commits tasks.md once; a repetition makes no commit."""
    host = made(release, tmp_path, TWO_SUBTASKS)
    path = host.folder / "kitty-specs" / host.mission.slug / "tasks.md"
    assert host.workspace.has_open_subtasks(host.mission, "WP01")
    for _ in range(2):
        mark(host, "T001", "T002")
        assert path.read_text().count("- [x] T00") == 2
        assert git(host.folder, "rev-list", "--count", "HEAD") == (
            "3" if host.release.since("3.1.0") else "2"
        )
    assert git(host.folder, "status", "--porcelain") == ""
    assert not host.workspace.has_open_subtasks(host.mission, "WP01")


def test_a_box_may_be_ticked_by_hand(tmp_path: Path) -> None:
    """Hosts that read boxes accept boxes ticked by hand."""
    host = made("3.2.5", tmp_path, TWO_SUBTASKS)
    path = host.folder / "kitty-specs" / host.mission.slug / "tasks.md"
    path.write_text(path.read_text().replace("[ ]", "[x]"))
    assert not host.workspace.has_open_subtasks(host.mission, "WP01")
    path.unlink()
    assert not host.workspace.has_open_subtasks(host.mission, "WP01")


def test_a_mark_is_an_event_that_nobody_commits(tmp_path: Path) -> None:
    """From 3.2.6 on marking writes only the event log, and the next move commits it."""
    host = made("3.2.7", tmp_path, TWO_SUBTASKS)
    start(host, "WP01")
    events = f"kitty-specs/{host.mission.slug}/status.events.jsonl"
    mark(host, "T001", "T002")
    assert git(host.folder, "status", "--porcelain") == f"M {events}"
    assert not host.workspace.has_open_subtasks(host.mission, "WP01")
    commit(worktree(host, "WP01"), "WP01.txt")
    options = (f"--policy={missions.POLICY}", "--actor=a1")
    assert ask(host, "transition", "--wp=WP01", "--to=for_review", *options)["success"]
    assert git(host.folder, "status", "--porcelain") == ""
    assert '"subtasks": ["T001", "T002"]' in git(host.folder, "show", f"HEAD:{events}")


PLANNED: Plan = {"WP01": [], "WP02": PackagePlan(planning=True)}
ACTOR_AND_POLICY = ("--actor=a1", f"--policy={missions.POLICY}")


@pytest.mark.parametrize(
    ("release", "has_main", "code"),
    [
        ("3.2.5", True, "LANE_ALLOCATION_FAILED"),
        ("3.2.5", False, None),
        ("3.2.7", True, None),
        ("3.2.7", False, None),
    ],
)
def test_planning_is_done_on_main(
    release: str, has_main: bool, code: str | None, tmp_path: Path
) -> None:
    """Planning work has a worktree of main; 3.2.5 makes that branch, and fails if it exists."""
    host = made(release, tmp_path, PLANNED, target="work")
    if has_main:
        git(host.folder, "branch", "main", "HEAD~1")
    answer = ask(host, "start-implementation", "--wp=WP02", *ACTOR_AND_POLICY)
    assert answer["error_code"] == code
    if code is None:
        path = Path(answer["data"]["workspace_path"])
        assert path.name == f"{host.mission.slug}-lane-planning"
        assert git(path, "branch", "--show-current") == answer["data"]["lane_branch"] == "main"
        assert answer["data"]["lane_base_ref"] == "work"
    else:
        assert "reason" not in answer["data"]


def test_planning_that_is_checked_out_already_cannot_begin(tmp_path: Path) -> None:
    """Planning work cannot start while main is checked out, and the answer says so."""
    host = made("3.2.7", tmp_path, PLANNED)
    answer = ask(host, "start-implementation", "--wp=WP02", *ACTOR_AND_POLICY)
    assert answer["error_code"] == "LANE_ALLOCATION_FAILED"
    assert "main" in answer["data"]["reason"]
    assert host.lanes()["WP02"] == "planned"


def test_planning_is_handed_in_with_a_commit_in_its_worktree(tmp_path: Path) -> None:
    """Planning work needs a commit in its worktree, and a merge leaves it on main."""
    host = made("3.2.7", tmp_path, PLANNED, target="work")
    git(host.folder, "branch", "main", "HEAD~1")
    for wp in host.mission.packages:
        start(host, wp)
    hand_in = ("transition", "--wp=WP02", "--to=for_review", *ACTOR_AND_POLICY)
    assert ask(host, *hand_in)["error_code"] == "TRANSITION_REJECTED"
    path = host.folder / ".worktrees" / f"{host.mission.slug}-lane-planning"
    commit(path, "WP02.txt")
    assert ask(host, *hand_in)["success"]
    commit(worktree(host, "WP01"), "WP01.txt")
    for wp in host.mission.packages:
        assert ask(host, "transition", f"--wp={wp}", "--to=approved", *FORCED)["success"]
    assert ask(host, "merge-mission")["success"]
    assert git(host.folder, "ls-tree", "--name-only", "work", "WP01.txt") == "WP01.txt"
    assert git(host.folder, "ls-tree", "--name-only", "work", "WP02.txt") == ""
    assert git(host.folder, "ls-tree", "--name-only", "main", "WP02.txt") == "WP02.txt"
    assert not path.exists()


@pytest.mark.parametrize("release", ["3.1.10", "3.2.1"])
def test_older_hosts_make_nothing_for_planning(release: str, tmp_path: Path) -> None:
    """Up to 3.2.1 planning work gets no worktree, and a merge skips its lane."""
    host = made(release, tmp_path, PLANNED)
    for wp in host.mission.packages:
        start(host, wp)
    assert not (host.folder / ".worktrees").exists()
    commit(worktree(host, "WP01"), "WP01.txt")
    for wp in host.mission.packages:
        assert ask(host, "transition", f"--wp={wp}", "--to=done", *FORCED)["success"]
    assert ask(host, "merge-mission")["success"]


def test_4_0_plans_in_the_primary_checkout(tmp_path: Path) -> None:
    """On 4.0.0rc7 a commit on the target is planning work, unless it is the host's own."""
    host = made("4.0.0rc7", tmp_path, PLANNED)
    answer = ask(host, "start-implementation", "--wp=WP02", *ACTOR_AND_POLICY)
    assert answer["data"]["workspace_path"] == str(host.folder)
    assert answer["data"]["lane_branch"] == "main"
    hand_in = ("transition", "--wp=WP02", "--to=for_review", *ACTOR_AND_POLICY)
    assert ask(host, *hand_in)["error_code"] == "TRANSITION_REJECTED"
    commit(host.folder, "WP02.txt")
    assert ask(host, *hand_in)["success"]


SHARED: Plan = {"WP01": PackagePlan(owns=["x/**"]), "WP02": PackagePlan(owns=["x/**"])}


@pytest.mark.parametrize("release", ["3.2.2", "3.2.5", "3.2.7"])
def test_a_dirty_lane_is_not_shared(release: str, tmp_path: Path) -> None:
    """A claim is refused while the worktree of the shared lane has uncommitted files."""
    host = made(release, tmp_path, SHARED)
    start(host, "WP01")
    path = worktree(host, "WP01")
    (path / "x.txt").write_text("x\n")
    for wp in ("WP02", "WP01"):
        answer = ask(host, "start-implementation", f"--wp={wp}", *ACTOR_AND_POLICY)
        assert answer["error_code"] == "LANE_ALLOCATION_FAILED"
    assert host.lanes() == {"WP01": "in_progress", "WP02": "planned"}
    commit(path, "x.txt")
    start(host, "WP02")
    assert worktree(host, "WP02") == path


@pytest.mark.parametrize(("release", "taken_up"), [("3.2.5", False), ("3.2.7", True)])
def test_a_branch_without_its_worktree(release: str, taken_up: bool, tmp_path: Path) -> None:
    """From 3.2.6 on an existing branch gets a worktree; before, the claim fails."""
    host = made(release, tmp_path)
    start(host, "WP01")
    git(host.folder, "worktree", "remove", str(worktree(host, "WP01")))
    answer = ask(host, "start-implementation", "--wp=WP01", *ACTOR_AND_POLICY)
    assert answer["success"] is taken_up


def test_a_lane_that_cannot_be_caught_up_is_left_alone(tmp_path: Path) -> None:
    """A claim with conflicting dependencies is refused, and the lane stays as it was."""
    host = made("3.2.7", tmp_path, {"WP01": [], "WP02": ["WP01"]})
    start(host, "WP01")
    commit(worktree(host, "WP01"), "same.txt")
    assert ask(host, "transition", "--wp=WP01", "--to=approved", *FORCED)["success"]
    start(host, "WP02")
    path = worktree(host, "WP02")
    for folder, text in ((worktree(host, "WP01"), "one\n"), (path, "other\n")):
        (folder / "same.txt").write_text(text)
        git(folder, "commit", "--quiet", "--all", "--message=change")
    before = git(path, "rev-parse", "HEAD")
    answer = ask(host, "start-implementation", "--wp=WP02", *ACTOR_AND_POLICY)
    assert answer["error_code"] == "LANE_ALLOCATION_FAILED"
    assert git(path, "rev-parse", "HEAD") == before
    assert git(path, "status", "--porcelain") == ""


@pytest.mark.parametrize("topology", ["coord", "lanes_with_coord"])
def test_a_coordination_branch_has_the_state(topology: str, tmp_path: Path) -> None:
    """Moves are committed on the coordination branch, and a lane has the planning files."""
    host = made("3.2.7", tmp_path, topology=topology)
    slug = host.mission.slug
    coord = host.folder / ".worktrees" / f"{slug}-coord"
    assert git(coord, "branch", "--show-current") == f"kitty/mission-{slug}"
    start(host, "WP01")
    events = f"kitty-specs/{slug}/status.events.jsonl"
    assert '"after": "in_progress"' in git(coord, "show", f"HEAD:{events}")
    assert not (host.folder / events).exists()
    assert git(host.folder, "status", "--porcelain") == ""
    assert (worktree(host, "WP01") / "kitty-specs" / slug / "tasks.md").exists()
    meta = json.loads((host.folder / "kitty-specs" / slug / "meta.json").read_text())
    assert (meta["topology"], meta["coordination_branch"]) == (topology, f"kitty/mission-{slug}")


def test_a_merge_keeps_the_coordination_branch(tmp_path: Path) -> None:
    """A merge keeps the coordination branch and brings meta.json, without which accept crashes."""
    host = finished("3.2.7", tmp_path, topology="coord")
    accept = ("orchestrator-api", "accept-mission", f"--mission={host.mission.slug}", "--actor=a")
    done = host.run(accept, time_limit=60)
    assert (done.exit_code, done.stdout) == (1, b"")
    assert b"Traceback" in done.stderr
    assert ask(host, "merge-mission")["data"]["target_branch"] == "main"
    assert in_target(host) == ["WP01.txt", "WP02.txt"]
    coord = host.folder / ".worktrees" / f"{host.mission.slug}-coord"
    assert (coord / "kitty-specs" / host.mission.slug / "meta.json").exists()
    assert ask(host, "accept-mission", "--actor=a")["data"]["mission_type"] == "software-dev"
    here = git(host.folder, "branch", "--format=%(refname:short)").splitlines()
    assert sorted(here) == [f"kitty/mission-{host.mission.slug}", "main"]


def test_3_2_5_cannot_merge_planning_with_coordination(tmp_path: Path) -> None:
    """3.2.5 refuses to merge planning work under coord, because it takes the lane for stale."""
    host = made("3.2.5", tmp_path, PLANNED, target="work", topology="coord")
    start(host, "WP01")
    commit(worktree(host, "WP01"), "WP01.txt")
    answer = ask(host, "merge-mission")
    assert answer["error_code"] == "PREFLIGHT_FAILED"
    assert "stale" in answer["data"]["errors"][0]


@pytest.mark.parametrize(
    ("release", "into"),
    [("3.1.10", "work"), ("3.2.1", "work"), ("3.2.2", "main"), ("3.2.7", "main")],
)
def test_meta_json_may_name_another_target(release: str, into: str, tmp_path: Path) -> None:
    """A merge goes into merge_target_branch from 3.2.2 on, unless --target is given."""
    host = finished(release, tmp_path, {"WP01": []}, target="work", merge_target="main")
    assert ask(host, "merge-mission")["data"]["target_branch"] == into
    assert git(host.folder, "ls-tree", "--name-only", into, "WP01.txt") == "WP01.txt"
    again = ask(host, "merge-mission", "--target=elsewhere")
    assert again["data"]["target_branch"] == "elsewhere"
