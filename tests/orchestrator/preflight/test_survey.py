"""Tests of `spec_kitty_orchestrator.preflight.survey`."""

from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from spec_kitty_client import Contract, Lane, Mission, MissionLayout, PackageLayout, WorkPackage
from spec_kitty_client.contract.dialects import contract_of
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.preflight.plan import PROTECTION_OFF
from spec_kitty_orchestrator.preflight.survey import Survey, survey, unreadable


def look(
    repo: Path,
    *packages: PackageLayout,
    release: str = "3.2.7",
    lanes: dict[str, Lane] | None = None,
    target: str | None = None,
    accept: bool = True,
    merge: bool = False,
    obstacles: tuple[str, ...] = (),
    **layout: Any,
) -> Survey:
    """Survey a mission that records its state on the branch that is checked out."""
    made = MissionLayout(
        **{
            "mission_slug": "m",
            "topology": "lanes",
            "coordination_branch": None,
            "planning_branch": "work",
            "target": "work",
            "target_source": "target_branch",
            "packages": {p.wp_id: p for p in packages},
            **layout,
        }
    )
    where = {p.wp_id: Lane.PLANNED for p in packages} | (lanes or {})
    wps = tuple(WorkPackage(wp_id=wp, lane=lane) for wp, lane in where.items())
    mission = Mission(mission_slug="m", summary={}, work_packages=wps)
    contract = Contract(contract_of(Version(release)), Version(release))
    return survey(
        made,
        mission,
        contract,
        repo,
        target=target,
        accept=accept,
        merge=merge,
        obstacles=obstacles,
    )


def package(wp: str = "WP01", **more: Any) -> PackageLayout:
    """Return the layout of a work package."""
    return PackageLayout(wp_id=wp, **{"lane": f"lane-{wp[-1]}", **more})


def test_a_plain_mission_has_no_problem(repo: Path) -> None:
    """A plain mission has a topology, a target, and no problems."""
    found = look(repo, package())
    assert (found.problems, found.notes) == ((), ())
    assert found.lines() == ["topology:  lanes", "target:    work (target_branch)"]


@pytest.mark.parametrize("merge", [False, True])
def test_what_would_stop_a_merge_is_told(repo: Path, *, merge: bool) -> None:
    """An obstacle to a merge is a problem if the run is to merge, else a note."""
    found = look(repo, package(), merge=merge, obstacles=("there is a tag work", "it is dirty"))
    told, other = (found.problems, found.notes) if merge else (found.notes, found.problems)
    assert [line.partition("refused: ")[2] for line in told] == [
        "there is a tag work",
        "it is dirty",
    ]
    assert other == ()


def test_a_target_that_is_named_counts(repo: Path) -> None:
    """A target given by the user wins over the mission's."""
    found = look(repo, package(), target="release")
    assert (found.target, found.target_source) == ("release", "--target")


def test_subtasks_of_what_is_still_to_be_handed_in_are_told(repo: Path) -> None:
    """Only subtasks of work packages that are not submitted yet are reported."""
    one, two = package("WP01", subtasks=("T001",)), package("WP02", subtasks=("T002",))
    found = look(repo, one, two, lanes={"WP02": Lane.FOR_REVIEW})
    assert found.subtasks == {"WP01": ("T001",)}
    assert found.lines()[-1] == "subtasks:  marked done on submission (WP01: T001)"


def test_boxes_without_an_id_stop_a_run_where_nothing_else_helps(repo: Path) -> None:
    """Boxes without an id stop a run on hosts before 3.1.0, which have no option to skip them."""
    boxes = package(open_boxes=2)
    assert "2 of its boxes" in look(repo, boxes, release="2.1.3").problems[0]
    assert look(repo, boxes, release="3.1.10").problems == ()
    assert look(repo, boxes, release="2.1.3", lanes={"WP01": Lane.DONE}).problems == ()


def test_a_list_of_subtasks_that_the_host_cannot_read_stops_a_run(repo: Path) -> None:
    """An unreadable list of subtasks stops a run, and the message names the edit."""
    problem = look(repo, package(roster_problem="it has no list")).problems[0]
    assert "WP01 cannot be submitted: it has no list" in problem
    assert "kitty-specs/m/tasks" in problem


def test_work_packages_of_one_lane_take_turns(repo: Path) -> None:
    """Work packages that share a lane are reported, for the user and for the board."""
    found = look(
        repo, package("WP01", lane="lane-a"), package("WP02", lane="lane-a"), package("WP03")
    )
    assert found.worktrees == {"WP01": "lane-a", "WP02": "lane-a"}
    assert found.lines()[-1] == "lane-a: WP01, WP02 share a worktree and take turns"


def test_planning_work_is_told(repo: Path) -> None:
    """Planning work is reported with its branch; on 4.0.0rc7 it is left to the user."""
    one, two = package("WP01"), package("WP02", lane="lane-planning")
    assert "kitty/mission-m-lane-planning" in look(repo, one, two).notes[0]
    newest = look(repo, one, two, release="4.0.0rc7")
    assert "has to be done by a person" in newest.notes[0]
    assert list(newest.left_to_people) == ["WP02"]
    assert newest.problems == ()


def test_a_mission_that_is_all_left_to_people_is_not_begun(repo: Path) -> None:
    """A mission with work for people only is not started."""
    every = [package(wp, lane="lane-planning") for wp in ("WP01", "WP02")]
    found = look(repo, *every, release="4.0.0rc7", topology="single_branch")
    assert "has to be done by a person" in found.problems[0]
    done = look(repo, *every, release="4.0.0rc7", lanes=dict.fromkeys(("WP01", "WP02"), Lane.DONE))
    assert done.problems == ()


@pytest.mark.parametrize(("release", "told"), [("3.2.7", True), ("4.0.0rc7", False)])
def test_an_acceptance_that_the_api_cannot_give_is_told(
    repo: Path, release: str, told: bool
) -> None:
    """An acceptance that the API cannot do is noted, only if the run is to accept."""
    coord = {"topology": "coord", "coordination_branch": "kitty/mission-m"}
    notes = look(repo, package(), release=release, **coord).notes
    assert ["cannot accept" in note for note in notes] == [True] * told
    assert look(repo, package(), release=release, accept=False, **coord).notes == ()


def test_another_branch_is_told(repo: Path) -> None:
    """From 3.2.0 on, a run needs the mission's branch checked out."""
    git(repo, "checkout", "--quiet", "-b", "elsewhere")
    assert "git checkout work" in look(repo, package()).problems[0]
    assert look(repo, package(), release="3.1.10").problems == ()
    coord = {"coordination_branch": "kitty/mission-m"}
    assert look(repo, package(), accept=False, **coord).problems == ()


def test_a_protected_branch_is_told(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mission on a protected branch is a problem; the message names the variable that helps."""
    problem = look(repo, package(), planning_branch="main").problems[0]
    assert f"set {PROTECTION_OFF}=1" in problem
    monkeypatch.setenv(PROTECTION_OFF, "1")
    assert "git checkout main" in look(repo, package(), planning_branch="main").problems[0]


def test_it_is_plain_values_for_scripts(repo: Path) -> None:
    """The survey converts to plain values for ``--dry-run --json``."""
    told = look(repo, package("WP01", subtasks=("T001",))).to_dict()
    assert told["subtasks"] == {"WP01": ["T001"]}
    assert told["target_source"] == "target_branch"
    assert told["problems"] == []


def test_files_without_front_matter_are_named(tmp_path: Path) -> None:
    """Files without front matter are named; a byte order mark or CRLF is accepted."""
    tasks = tmp_path / "kitty-specs" / "m" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "README.md").write_text("# Tasks\n")
    (tasks / "WP01-a.md").write_bytes(b"\xef\xbb\xbf---\r\ntitle: a\r\n---\r\n")
    assert unreadable(tmp_path, "m") is None

    (tasks / "WP02-b.md").write_text("# WP02: b\n")

    why = unreadable(tmp_path, "m") or ""
    assert why.startswith("kitty-specs/m/tasks/WP02-b.md without front matter")
    assert "spec-kitty agent mission finalize-tasks --mission m" in why


def test_a_mission_that_is_named_by_its_id_alone_has_no_files_to_look_at(tmp_path: Path) -> None:
    """For a mission named by its id, no folder is searched for files without front matter."""
    assert unreadable(tmp_path, "01M8HGN6") is None


@pytest.mark.parametrize("release", ["3.0.3", "3.1.0", "3.2.7"])
def test_lanes_of_an_older_host_are_told(repo: Path, release: str) -> None:
    """A lanes.json with the key of an older host is reported, because claims would crash."""
    path = repo / "kitty-specs" / "m" / "lanes.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"feature_slug": "m", "lanes": []}')
    told = "Rename the key to `mission_slug`" in " ".join(
        look(repo, package(), release=release).problems
    )
    assert told == (release != "3.0.3")

    path.write_text('{"mission_slug": "m", "lanes": []}')
    assert look(repo, package(), release=release).problems == ()


def test_a_merge_into_what_is_not_checked_out_is_told(repo: Path) -> None:
    """A merge into a branch that is not checked out is a problem on 4.0.0rc7, only if merging."""
    asked = look(repo, package(), release="4.0.0rc7", target="release", merge=True)
    assert "Leave --merge out" in asked.problems[0]
    assert look(repo, package(), release="4.0.0rc7", target="release").problems == ()
    assert look(repo, package(), release="4.0.0rc7", merge=True).problems == ()
    assert look(repo, package(), target="release", merge=True).problems == ()
