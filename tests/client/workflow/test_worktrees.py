"""Tests of `workflow.worktrees`, as `claim` and `locate` use it, in real repositories."""

import json
import shutil
from pathlib import Path

import pytest
from packaging.version import Version

from spec_kitty_client import AsyncClient, Client, ErrorCode, Feature
from spec_kitty_client.errors import (
    GitFailed,
    IntegrationFailed,
    NotFound,
    NotReady,
    UnsupportedByHost,
    WouldLoseWork,
)
from tests.client.answers import POLICY
from tests.client.releases import SAMPLE
from tests.client.simulated import FOLDER, SLUG, AsyncWithGit, Fault, Simulated, WithGit, git

PAIR: dict[str, list[str]] = {"WP01": [], "WP02": ["WP01"]}

every_host = pytest.mark.parametrize("release", SAMPLE)

bare_host = pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.1"])
every_kind = pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.3", "3.2.7"])
"""One release per kind: branches by work package, the SDK's lanes, the host's lanes, a verb."""


def made(release: str, repo: Path, *, shared: bool = False) -> WithGit:
    """Return a host with two work packages, one of which needs the other."""
    return WithGit(release, dict(PAIR), repo, shared=shared)


def client(host: WithGit, actor: str = "ada") -> Client:
    """Return a client with an actor and a policy."""
    return Client(actor=actor, policy=POLICY, transport=host)


def commit(folder: Path, name: str, text: str) -> None:
    """Commit a file."""
    (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", f"--message={name}")


def done(host: WithGit, wp: str = "WP01") -> None:
    """Claim a work package, commit a file for it, and put it into done."""
    path = Path(client(host).mission(SLUG).work_package(wp).claim().workspace_path)
    commit(path, f"{wp}.txt", wp)
    host.put(wp, "done")


@every_host
def test_a_claim_makes_the_worktree_that_merge_takes(release: str, repo: Path) -> None:
    """A claim makes the worktree on the branch that merge takes, and the reply names it."""
    host = made(release, repo)
    started = client(host).mission(SLUG).work_package("WP01").claim()
    path = Path(started.workspace_path)

    assert path == host.worktree("WP01")
    assert git(path, "branch", "--show-current") == host.branch("WP01") == started.lane_branch
    assert git(path, "rev-parse", "--show-toplevel") == str(path)
    assert host.lanes["WP01"] == "in_progress"
    assert started.lane_base_ref == "work"
    assert started.no_op is False


@every_kind
def test_a_claim_can_be_repeated(release: str, repo: Path) -> None:
    """A repeated claim keeps the worktree's files; from 3.2.2 on they have to be committed."""
    host = made(release, repo)
    mine = client(host)
    path = Path(mine.mission(SLUG).work_package("WP01").claim().workspace_path)
    commit(path, "a.txt", "done\n")
    (path / "b.txt").write_text("under way\n")
    if Feature.WORKTREES.since <= Version(release):
        with pytest.raises(IntegrationFailed) as refused:
            mine.mission(SLUG).work_package("WP01").claim()
        assert refused.value.code == ErrorCode.LANE_ALLOCATION_FAILED
        commit(path, "b.txt", "under way\n")
    again = mine.mission(SLUG).work_package("WP01").claim()

    assert again.no_op is True
    assert Path(again.workspace_path) == path
    assert (path / "a.txt").read_text() == "done\n"
    assert (path / "b.txt").read_text() == "under way\n"
    assert host.lanes["WP01"] == "in_progress"


@every_kind
def test_a_claim_whose_answer_was_lost_ends_the_same(release: str, repo: Path) -> None:
    """The SDK repeats a claim whose answer was lost, and the host starts the work once."""
    host = made(release, repo)
    host.faults["start-implementation"] = [Fault.TIMEOUT_AFTER]
    path = Path(client(host).mission(SLUG).work_package("WP01").claim().workspace_path)

    assert git(path, "branch", "--show-current") == host.branch("WP01")
    assert [after for _, _, after, _ in host.moves].count("in_progress") == 1
    assert len(host.sent("start-implementation")) == 2


@every_host
@pytest.mark.parametrize("shared", [False, True])
def test_the_work_of_a_dependency_is_in_the_worktree(
    release: str, repo: Path, shared: bool
) -> None:
    """A worktree has its dependencies' work, from the same lane or merged."""
    host = made(release, repo, shared=shared and Simulated(release).since("3.1.0"))
    done(host)
    path = Path(client(host).mission(SLUG).work_package("WP02").claim().workspace_path)

    assert (path / "WP01.txt").read_text() == "WP01"
    assert git(path, "status", "--porcelain") == ""


@bare_host
def test_a_dependency_that_went_on_is_merged_again(release: str, repo: Path) -> None:
    """A repeated claim merges new commits of a dependency, and makes none without them."""
    host = made(release, repo)
    done(host)
    mine = client(host)
    path = Path(mine.mission(SLUG).work_package("WP02").claim().workspace_path)
    first = git(path, "rev-parse", "HEAD")
    mine.mission(SLUG).work_package("WP02").claim()
    same = git(path, "rev-parse", "HEAD")
    commit(host.worktree("WP01"), "more.txt", "more")
    mine.mission(SLUG).work_package("WP02").claim()

    assert same == first
    assert (path / "more.txt").read_text() == "more"


@bare_host
def test_a_branch_without_its_worktree_gets_one(release: str, repo: Path) -> None:
    """A worktree whose folder was deleted by hand is made again with all that was committed."""
    host = made(release, repo)
    mine = client(host)
    path = Path(mine.mission(SLUG).work_package("WP01").claim().workspace_path)
    commit(path, "a.txt", "done\n")
    git(repo, "worktree", "remove", "--force", str(path))
    mine.mission(SLUG).work_package("WP01").claim()

    assert (path / "a.txt").read_text() == "done\n"


@bare_host
def test_a_worktree_whose_folder_was_removed_is_made_again(release: str, repo: Path) -> None:
    """A claim makes a worktree again whose folder the user has removed without git."""
    host = made(release, repo)
    mine = client(host)
    path = Path(mine.mission(SLUG).work_package("WP01").claim().workspace_path)
    commit(path, "a.txt", "done\n")
    shutil.rmtree(path)
    mine.mission(SLUG).work_package("WP01").claim()

    assert (path / "a.txt").read_text() == "done\n"


@pytest.mark.parametrize("release", ["1.0.3", "3.2.1"])
def test_a_conflict_leaves_nothing_half_merged(release: str, repo: Path) -> None:
    """A conflict with a dependency names branch and worktree, and leaves the worktree clean."""
    host = made(release, repo)
    done(host)
    mine = client(host)
    path = Path(mine.mission(SLUG).work_package("WP02").claim().workspace_path)
    commit(path, "both.txt", "of WP02\n")
    commit(host.worktree("WP01"), "both.txt", "of WP01\n")

    with pytest.raises(GitFailed, match="Merge it there by hand") as e:
        mine.mission(SLUG).work_package("WP02").claim()
    assert host.branch("WP01") in str(e.value)
    assert str(path) in str(e.value)
    assert git(path, "status", "--porcelain") == ""
    assert not Path(git(path, "rev-parse", "--absolute-git-dir"), "MERGE_HEAD").exists()
    assert (path / "both.txt").read_text() == "of WP02\n"


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3"])
def test_the_branch_starts_at_the_target_of_its_mission(release: str, repo: Path) -> None:
    """The branch starts at the mission's target, not at the branch checked out."""
    host = made(release, repo)
    git(repo, "checkout", "--quiet", "-b", "elsewhere")
    commit(repo, "unrelated.txt", "x")
    path = Path(client(host).mission(SLUG).work_package("WP01").claim().workspace_path)

    assert not (path / "unrelated.txt").exists()
    assert git(path, "rev-parse", "HEAD") == git(repo, "rev-parse", "work")


@bare_host
def test_a_claim_from_within_a_worktree_uses_the_primary_checkout(release: str, repo: Path) -> None:
    """A claim from within a worktree makes the new worktree beside it, not in it."""
    host = made(release, repo)
    done(host)
    host.inside = host.worktree("WP01")
    path = Path(client(host).mission(SLUG).work_package("WP02").claim().workspace_path)

    assert path == repo / ".worktrees" / path.name


@pytest.mark.parametrize("release", ["3.1.10", "3.2.1"])
def test_a_mission_without_lanes_says_what_to_do(release: str, repo: Path) -> None:
    """The error of a claim without lanes.json has the finalize-tasks command."""
    host = made(release, repo)
    git(repo, "rm", "--quiet", f"{FOLDER}/lanes.json")
    git(repo, "commit", "--quiet", "--message=no lanes")

    with pytest.raises(GitFailed, match="finalize-tasks --mission"):
        client(host).mission(SLUG).work_package("WP01").claim()


@pytest.mark.parametrize("release", ["3.1.10", "3.2.1"])
def test_damaged_lanes_are_named(release: str, repo: Path) -> None:
    """The error for damaged lanes names the file and how to restore it."""
    host = made(release, repo)
    (repo / FOLDER / "lanes.json").write_text("{cut")
    git(repo, "commit", "--quiet", "--all", "--message=cut")

    with pytest.raises(GitFailed, match=r"lanes\.json is damaged.*Restore it from git"):
        client(host).mission(SLUG).work_package("WP01").claim()


def planned(host: WithGit, repo: Path, wp: str) -> None:
    """Make a work package planning work, in the lane of planning work."""
    lanes = host.lanes_json()
    for lane in lanes["lanes"]:
        if wp in lane["wp_ids"]:
            old, lane["lane_id"] = lane["lane_id"], "lane-planning"
    for lane in lanes["lanes"]:
        needs = lane["depends_on_lanes"]
        lane["depends_on_lanes"] = ["lane-planning" if n == old else n for n in needs]
    (repo / FOLDER / "lanes.json").write_text(json.dumps(lanes))
    git(repo, "commit", "--quiet", "--all", "--message=planning")


@pytest.mark.parametrize("release", ["3.2.1", "3.2.3", "3.2.7"])
def test_planning_work_gets_a_branch_of_its_own(release: str, repo: Path) -> None:
    """A claim of planning work makes a worktree on its own branch, not on the user's."""
    host = made(release, repo)
    planned(host, repo, "WP01")

    started = client(host).mission(SLUG).work_package("WP01").claim()

    assert started.workspace_path == f"{repo}/.worktrees/{SLUG}-lane-planning"
    assert started.lane_branch == f"kitty/mission-{SLUG}-lane-planning"
    assert git(Path(started.workspace_path), "branch", "--show-current") == started.lane_branch
    assert git(repo, "branch", "--show-current") == "work"


@pytest.mark.parametrize("release", ["3.2.1", "3.2.3"])
def test_planning_work_is_located_where_it_is_claimed(release: str, repo: Path) -> None:
    """Planning work has the same path before and after the claim; locate makes nothing."""
    host = made(release, repo)
    planned(host, repo, "WP01")

    found = client(host).mission(SLUG).work_package("WP01").locate()

    assert not (repo / ".worktrees").exists()
    assert (
        found.workspace_path
        == client(host).mission(SLUG).work_package("WP01").claim().workspace_path
    )


@pytest.mark.parametrize("release", ["3.2.1", "3.2.3", "3.2.7"])
def test_planning_work_is_in_the_worktree_of_what_depends_on_it(release: str, repo: Path) -> None:
    """The SDK merges planning work into the worktree of a work package that needs it."""
    host = made(release, repo)
    planned(host, repo, "WP01")
    done(host)

    there = Path(client(host).mission(SLUG).work_package("WP02").claim().workspace_path)

    assert (there / "WP01.txt").read_text() == "WP01"


def test_a_claim_that_is_refused_leaves_no_worktree_of_planning_work(repo: Path) -> None:
    """A refused claim removes its new worktree, which would lack later dependencies."""
    host = made("3.2.7", repo)
    planned(host, repo, "WP02")

    with pytest.raises(NotReady):
        client(host).mission(SLUG).work_package("WP02").claim()

    assert not (repo / ".worktrees" / f"{SLUG}-lane-planning").exists()
    assert git(repo, "branch", "--list", "*planning") == ""


def test_planning_work_is_left_to_people_where_a_host_takes_no_other(repo: Path) -> None:
    """The SDK refuses planning work on 4.0.0rc7, which needs it in the primary checkout."""
    host = made("4.0.0rc7", repo)
    planned(host, repo, "WP01")

    with pytest.raises(WouldLoseWork, match="primary checkout"):
        client(host).mission(SLUG).work_package("WP01").claim()

    assert host.mutations == []


def test_a_transport_without_git_is_told_as_such() -> None:
    """The error for a transport without git names the missing method."""
    host = Simulated("3.1.10")

    with pytest.raises(GitFailed, match="Simulated has no method `git`"):
        Client(actor="ada", policy=POLICY, transport=host).mission(SLUG).work_package(
            "WP01"
        ).claim()


@pytest.mark.parametrize("release", ["3.2.3", "3.2.7"])
def test_a_host_that_makes_worktrees_needs_no_git_of_ours(release: str) -> None:
    """From 3.2.2 on a claim is one call, also through a transport without git."""
    host = Simulated(release)
    started = (
        Client(actor="ada", policy=POLICY, transport=host)
        .mission(SLUG)
        .work_package("WP01")
        .claim()
    )

    assert started.to_lane == "in_progress"
    assert host.mutations == ["start-implementation"]


@pytest.mark.parametrize("release", ["3.2.3", "3.2.7"])
def test_a_claim_on_such_a_host_reads_the_missions_files_once(release: str, repo: Path) -> None:
    """A claim on a host that makes worktrees takes three calls of git and one mutation."""
    host = made(release, repo)
    client(host).mission(SLUG).work_package("WP01").claim()

    assert host.git_calls == 3
    assert host.mutations == ["start-implementation"]


@every_kind
def test_locating_is_reading(release: str, repo: Path) -> None:
    """Locating an unclaimed work package returns its path and makes nothing."""
    host = made(release, repo)
    found = client(host).mission(SLUG).work_package("WP02").locate()

    assert host.mutations == []
    assert host.moves == []
    assert not (repo / ".worktrees").exists()
    assert Path(found.workspace_path) == host.worktree("WP02")
    assert found.lane_branch == host.branch("WP02")
    assert Path(found.prompt_path) == repo / FOLDER / "tasks" / "WP02-part.md"
    assert Path(found.prompt_path).is_file()
    assert (found.mission_slug, found.wp_id) == (SLUG, "WP02")


@every_host
def test_locating_and_claiming_name_the_same_place(release: str, repo: Path) -> None:
    """Locate and claim return the same path."""
    host = made(release, repo)
    mine = client(host)
    found, started = (
        mine.mission(SLUG).work_package("WP01").locate(),
        mine.mission(SLUG).work_package("WP01").claim(),
    )

    assert found.workspace_path == started.workspace_path
    assert found.lane_branch == started.lane_branch
    assert found.lane_base_ref == started.lane_base_ref
    assert found.prompt_path == started.prompt_path


@every_kind
def test_a_work_package_that_is_none_has_no_place(release: str, repo: Path) -> None:
    """Locating an unknown work package raises the same error on every host."""
    with pytest.raises(NotFound):
        client(made(release, repo)).mission(SLUG).work_package("WP07").locate()


@pytest.mark.parametrize("release", ["1.0.3", "3.2.1", "3.2.3"])
def test_the_verb_itself_is_younger(release: str, repo: Path) -> None:
    """`locate` works on hosts without resolve-workspace, and does not send it there."""
    host = made(release, repo)
    mine = client(host)

    with pytest.raises(UnsupportedByHost):
        mine.resolve_workspace(SLUG, "WP01")
    mine.mission(SLUG).work_package("WP01").locate()
    assert "resolve-workspace" not in host.verbs


@pytest.mark.anyio
@every_kind
async def test_a_claim_async(release: str, repo: Path) -> None:
    """The async client makes the same worktree."""
    host = made(release, repo)
    mine = AsyncClient(actor="ada", policy=POLICY, transport=AsyncWithGit(host))
    started = await mine.mission(SLUG).work_package("WP01").claim()
    found = await mine.mission(SLUG).work_package("WP01").locate()

    assert Path(started.workspace_path) == host.worktree("WP01")
    assert host.worktree("WP01").is_dir()
    assert found.workspace_path == started.workspace_path


@pytest.mark.parametrize("release", ["1.0.3", "3.1.10"])
def test_a_branch_that_is_checked_out_elsewhere_is_told(release: str, repo: Path) -> None:
    """The error of a claim names the other worktree that has the branch checked out."""
    host = made(release, repo)
    mine = client(host)
    path = Path(mine.mission(SLUG).work_package("WP01").claim().workspace_path)
    moved = path.with_name("moved")
    git(repo, "worktree", "move", str(path), str(moved))

    with pytest.raises(GitFailed, match=str(moved)):
        mine.mission(SLUG).work_package("WP01").claim()


@pytest.mark.parametrize("release", ["1.0.3", "3.1.10"])
def test_a_repository_with_a_strange_name(release: str, repo: Path) -> None:
    """A claim works in a repository whose path has spaces and non-ASCII letters."""
    strange = repo.rename(repo.with_name("mein Projekt \u00fc"))
    host = made(release, strange)
    done(host)
    path = Path(client(host).mission(SLUG).work_package("WP02").claim().workspace_path)

    assert path == host.worktree("WP02")
    assert (path / "WP01.txt").is_file()


def test_a_task_file_with_a_strange_name_is_located(repo: Path) -> None:
    """`locate` returns the prompt's path with its non-ASCII letters."""
    host = made("3.1.10", repo)
    tasks = repo / FOLDER / "tasks"
    git(repo, "mv", str(tasks / "WP01-part.md"), str(tasks / "WP01-\u00fcber.md"))

    assert Path(client(host).mission(SLUG).work_package("WP01").locate().prompt_path).is_file()
