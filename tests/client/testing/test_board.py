"""Tests of `spec_kitty_client.testing.host.board` and of `releases`."""

import pytest

from spec_kitty_client import InvalidCall, UnsupportedHost
from spec_kitty_client.testing.host import Mission, Move, PackagePlan, Release
from spec_kitty_client.testing.host.board import Mark, Plan, lane_ids
from tests.client.releases import RELEASES

DIAMOND = {"WP01": [], "WP02": ["WP01"], "WP03": ["WP01"], "WP04": ["WP02", "WP03"], "WP05": []}


def mission(dag: Plan, release: str = "3.2.7") -> Mission:
    return Mission.of(Release(release), dag, slug="demo-01K00001", ulid="01K00001ABC", target="t")


def test_everything_is_planned() -> None:
    """A new mission has its work packages in the order of the plan, and no history."""
    made = mission(DIAMOND)
    assert list(made.packages) == list(DIAMOND)
    assert {package.lane for package in made.packages.values()} == {"planned"}
    assert made.packages["WP04"].dependencies == ["WP02", "WP03"]
    assert made.moves == []


@pytest.mark.parametrize(
    "dag",
    [{"WP01": ["WP01"]}, {"WP01": ["WP02"], "WP02": ["WP01"]}, {"A": [], "B": ["C"], "C": ["B"]}],
)
def test_a_circle_is_no_plan(dag: Plan) -> None:
    """A plan with a dependency cycle is refused."""
    with pytest.raises(InvalidCall, match="cycle"):
        mission(dag)


def test_a_dependency_is_there() -> None:
    """The error names the dependencies that do not exist."""
    with pytest.raises(InvalidCall, match="WP09"):
        mission({"WP01": ["WP09"]})


def test_the_order_of_the_plan_does_not_matter() -> None:
    """A work package may come before what it depends on."""
    assert list(mission({"WP02": ["WP01"], "WP01": []}).packages) == ["WP02", "WP01"]


def test_a_move_is_remembered() -> None:
    """A move records the lane, the actor and the event."""
    made = mission(DIAMOND)
    made.move("WP01", "claimed", "a1")
    made.move("WP01", "done", "rev", forced=True, reason="by hand")
    package = made.packages["WP01"]
    assert (package.lane, package.actor, package.events) == ("done", "rev", 2)
    assert package.reason == "by hand"
    assert made.moves == [
        Move("WP01", "planned", "claimed", "a1", forced=False),
        Move("WP01", "claimed", "done", "rev", forced=True),
    ]


def test_open_dependencies_are_those_that_are_not_far_enough() -> None:
    """`open_dependencies` returns the dependencies that are not met, in the plan's order."""
    made = mission(DIAMOND)
    assert made.open_dependencies("WP04", lambda p: p.lane == "approved") == ["WP02", "WP03"]
    made.move("WP02", "approved", "rev")
    assert made.open_dependencies("WP04", lambda p: p.lane == "approved") == ["WP03"]
    assert made.open_dependencies("WP04", lambda p: p.lane == "done") == ["WP02", "WP03"]


@pytest.mark.parametrize("release", ["3.1.0", "3.1.10"])
def test_dependent_work_packages_share_a_lane(release: str) -> None:
    """Up to 3.1.10 directly and indirectly dependent work packages share a lane."""
    lanes = lane_ids(Release(release), DIAMOND)
    assert lanes == dict.fromkeys(("WP01", "WP02", "WP03", "WP04"), "lane-a") | {"WP05": "lane-b"}
    joined = {"WP01": [], "WP02": [], "WP03": ["WP01", "WP02"], "WP04": []}
    assert list(lane_ids(Release(release), joined).values()) == [*["lane-a"] * 3, "lane-b"]


def test_each_work_package_has_a_lane_of_its_own_from_3_2_0_on() -> None:
    """From 3.2.0 on each work package has a lane of its own, lettered in the plan's order."""
    assert list(lane_ids(Release("3.2.0"), DIAMOND).values()) == [f"lane-{x}" for x in "abcde"]


def test_there_are_more_lanes_than_letters() -> None:
    """After z comes aa, and no name comes twice."""
    many = {f"WP{i:03}": [] for i in range(26 + 26 * 26 + 1)}
    names = list(lane_ids(Release("3.2.7"), many).values())
    assert names[25:28] == ["lane-z", "lane-aa", "lane-ab"]
    assert names[-2:] == ["lane-zz", "lane-aaa"]
    assert len(set(names)) == len(many)


@pytest.mark.parametrize(("release", "dialect"), RELEASES.items())
def test_a_release_speaks_its_dialect(release: str, dialect: str) -> None:
    """Every release has its dialect, and says feature in F1 and F2."""
    made = Release(release)
    assert made.dialect == dialect
    assert made.says_feature == (dialect in ("F1", "F2"))
    assert made.since(release)
    assert made == Release(release)


@pytest.mark.parametrize("name", ["0.9.9", "1.0.0rc1", "banana", ""])
def test_what_has_no_orchestrator_api_is_no_release(name: str) -> None:
    """A host before 1.0.0, and a name that is not a version, are refused."""
    with pytest.raises(UnsupportedHost):
        Release(name)


def test_a_plan_may_say_more() -> None:
    """A plan may mix lists and PackagePlans."""
    whole = PackagePlan(needs=["WP01"], subtasks=["T001"], owns=["src/**"], planning=True)
    made = mission({"WP01": [], "WP02": whole})
    assert made.packages["WP01"].subtasks == {}
    package = made.packages["WP02"]
    assert (package.dependencies, package.subtasks) == (["WP01"], {"T001": False})
    assert (package.owns, package.planning) == (["src/**"], True)


def test_a_subtask_has_one_work_package() -> None:
    """A plan with the same subtask id twice is refused."""
    twice = {"WP01": PackagePlan(subtasks=["T001"]), "WP02": PackagePlan(subtasks=["T001"])}
    with pytest.raises(InvalidCall, match="T001"):
        mission(twice)
    made = mission({"WP01": [], "WP02": PackagePlan(subtasks=["T001", "T002"])})
    assert (made.owner("T002"), made.owner("T003")) == ("WP02", None)


def test_a_mark_is_remembered() -> None:
    """A mark records its subtasks, its status and the number of moves before it."""
    made = mission({"WP01": PackagePlan(subtasks=["T001", "T002"])})
    made.move("WP01", "claimed", "a1")
    made.mark("WP01", ["T001", "T002"], done=True)
    made.mark("WP01", ["T001"], done=False)
    assert made.packages["WP01"].subtasks == {"T001": False, "T002": True}
    both = Mark("WP01", ["T001", "T002"], done=True, moves=1)
    assert made.marks == [both, Mark("WP01", ["T001"], done=False, moves=1)]


@pytest.mark.parametrize("release", ["3.1.0", "3.1.10", "3.2.1", "3.2.5", "3.2.7", "4.0.0rc7"])
def test_owners_of_the_same_files_share_a_lane(release: str) -> None:
    """Work packages with a common glob share a lane, also through a third one."""
    owned = {"A": ["a/**", "x/**"], "B": ["b/**"], "C": ["x/**", "y/**"], "D": ["y/**"]}
    plan = {wp: PackagePlan(owns=owns) for wp, owns in owned.items()}
    lanes = lane_ids(Release(release), plan)
    assert lanes == {"A": "lane-a", "B": "lane-b", "C": "lane-a", "D": "lane-a"}


@pytest.mark.parametrize("release", ["3.1.10", "3.2.7"])
def test_planning_has_one_lane_of_its_own(release: str) -> None:
    """Planning work has one lane without a letter, and joins no other lanes."""
    plan: Plan = {
        "WP01": [],
        "WP02": PackagePlan(needs=["WP01"], planning=True),
        "WP03": ["WP02"],
        "WP04": PackagePlan(planning=True),
    }
    lanes = lane_ids(Release(release), plan)
    planning = {"WP02": "lane-planning", "WP04": "lane-planning"}
    assert lanes == {"WP01": "lane-a", "WP03": "lane-b"} | planning


@pytest.mark.parametrize(
    ("topology", "base"),
    [("lanes", "t"), ("coord", "kitty/mission-m"), ("lanes_with_coord", "kitty/mission-m")],
)
def test_lanes_begin_at_the_target_or_the_coordination_branch(topology: str, base: str) -> None:
    """Lanes start at the target, or at the coordination branch if there is one."""
    about = {"slug": "m", "ulid": "01K00001ABC", "target": "t", "topology": topology}
    made = Mission.of(Release("3.2.7"), {"WP01": []}, **about)
    assert made.base == base
    assert made.coordinated == (base != "t")
