"""Tests of `spec_kitty_client.workflow.layout`, on files such as the hosts' templates make."""

import json
from pathlib import Path

import pytest
from packaging.version import Version

from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import contract_of
from spec_kitty_client.workflow.layout import MissionFiles, MissionLayout, PackageLayout

FRONT = "---\nwork_package_id: WP01\n{}\n---\n\n# WP01\n"


def host(release: str) -> Contract:
    """Return the contract of a release."""
    return Contract(contract_of(Version(release)), Version(release))


def files(
    *, front: str | None = "subtasks: []", index: str = "", **more: dict[str, object]
) -> MissionFiles:
    """Return the files of a mission with one work package."""
    prompts = {} if front is None else {"WP01": FRONT.format(front)}
    return MissionFiles(
        slug="m",
        meta=more.get("meta", {}),
        lanes=more.get("lanes", {}),
        index=index,
        prompts=prompts,
    )


@pytest.mark.parametrize(
    ("front", "ids"),
    [
        ("subtasks: []", ()),
        ('subtasks: ["T001", "T002"]', ("T001", "T002")),
        ("subtasks:\n- T001\n- 'T002'\n", ("T001", "T002")),
        ("subtasks:\n  - T001  # the first\n  - T001\n  - 1.10\ntitle: x", ("T001", "1.10")),
        ("title: 'subtasks: [T009]'\nsubtasks: [T001]", ("T001",)),
    ],
)
def test_newer_hosts_count_the_subtasks_of_the_front_matter(
    front: str, ids: tuple[str, ...]
) -> None:
    """Subtask ids in the front matter stay strings, as written."""
    found = files(front=front, index="## WP01\n- [ ] T099 box\n").package("WP01", host("3.2.7"))

    assert (found.subtasks, found.open_boxes, found.roster_problem) == (ids, 0, None)


@pytest.mark.parametrize(
    ("front", "problem"),
    [
        ("title: x", "no list `subtasks`"),
        ("subtasks:", "no list `subtasks`"),
        ("subtasks: [T001", "damaged"),
        ("&a [*a, subtasks", "damaged"),
    ],
)
def test_a_list_that_newer_hosts_cannot_read_is_told(front: str, problem: str) -> None:
    """The SDK says why newer hosts cannot read the subtasks of a work package."""
    found = files(front=front).package("WP01", host("3.2.7"))

    assert found.subtasks == ()
    assert problem in str(found.roster_problem)


def test_a_file_without_front_matter_is_told_and_a_missing_one_is_not() -> None:
    """The SDK reports a prompt without front matter, but no problem of a missing prompt."""
    bare = MissionFiles(slug="m", meta={}, lanes={}, index="", prompts={"WP01": "# WP01\n"})

    assert "no front matter" in str(bare.package("WP01", host("3.2.7")).roster_problem)
    assert files(front=None).package("WP01", host("3.2.7")).roster_problem is None


INDEX = """\
# Work Packages

## Work Package WP01: First
- [ ] T001 open
- [x] T002 ticked
* [ ] T003 another bullet
  - [ ] T004 indented
- [ ] no id
### Notes
- [ ] T005 below a heading

## WP02 after WP01
- [ ] T006 of the second

## WP10
- [ ] T010 of the tenth
"""


@pytest.mark.parametrize(
    ("release", "wp", "ids", "boxes"),
    [
        ("1.0.3", "WP01", (), 0),
        ("2.1.3", "WP01", ("T001", "T004", "T005", "T006"), 1),
        ("3.1.0", "WP01", ("T001", "T004", "T005", "T006"), 1),
        ("3.1.10", "WP01", ("T001", "T004"), 1),
        ("3.2.5", "WP02", ("T006",), 0),
        ("3.2.5", "WP10", ("T010",), 0),
        ("3.2.5", "WP1", (), 0),
        ("3.2.5", "WP99", (), 0),
    ],
)
def test_older_hosts_count_the_boxes_of_the_index(
    release: str, wp: str, ids: tuple[str, ...], boxes: int
) -> None:
    """Older hosts count the boxes in tasks.md, in the sections that name the work package."""
    found = files(front="subtasks: [T050]", index=INDEX).package(wp, host(release))

    assert (found.subtasks, found.open_boxes) == (ids, boxes)


LANES = {
    "lanes": [
        {"lane_id": "lane-a", "wp_ids": ["WP01", "WP02"], "depends_on_lanes": []},
        {"lane_id": "lane-planning", "wp_ids": ["WP03"], "depends_on_lanes": ["lane-a"]},
        "no lane",
        {"lane_id": "lane-b", "wp_ids": "WP04"},
    ]
}


def test_a_lane_is_found_by_its_work_packages() -> None:
    """A work package has its lane, the lanes that needs, and whether it is planning work."""
    made = files(lanes=LANES)

    first = made.package("WP01", host("3.2.7"))
    assert (first.lane, first.lane_needs, first.planning) == ("lane-a", (), False)
    third = made.package("WP03", host("3.2.7"))
    assert (third.lane, third.lane_needs, third.planning) == ("lane-planning", ("lane-a",), True)
    assert made.package("WP04", host("3.2.7")).lane is None


def test_those_that_share_a_worktree_are_told() -> None:
    """`sharing` returns the other work packages of a lane, and none without a lane."""
    made = MissionLayout(
        mission_slug="m",
        topology=None,
        coordination_branch=None,
        planning_branch="work",
        target="work",
        target_source="target_branch",
        packages={
            wp: PackageLayout(wp_id=wp, lane=lane)
            for wp, lane in {"WP01": "lane-a", "WP02": "lane-a", "WP03": None, "WP04": None}.items()
        },
    )

    assert made.sharing("WP01") == ("WP02",)
    assert made.sharing("WP03") == ()
    assert made.sharing("WP99") == ()


@pytest.mark.parametrize(
    ("release", "meta", "target"),
    [
        ("3.2.1", {"merge_target_branch": "r", "target_branch": "t"}, ("t", "target_branch")),
        ("3.2.2", {"merge_target_branch": "r", "target_branch": "t"}, ("r", "merge_target_branch")),
        ("3.2.7", {"merge_target_branch": "", "target_branch": "t"}, ("t", "target_branch")),
        ("3.2.7", {"merge_target_branch": 3, "target_branch": None}, None),
        ("1.0.3", {}, None),
    ],
)
def test_the_target_is_found_in_the_hosts_order(
    release: str, meta: dict[str, object], target: tuple[str, str] | None
) -> None:
    """The SDK reads merge_target_branch from 3.2.2 on, then target_branch, if it is a name."""
    assert files(meta=meta).target(host(release)) == target


def test_lanes_that_are_no_lanes_do_no_harm(tmp_path: Path) -> None:
    """A work package has no lane where lanes.json is malformed."""
    for lanes in ("[]", '{"lanes": 3}', '{"lanes": [{"wp_ids": [1, "WP01"], "lane_id": null}]}'):
        facts = json.loads(lanes)
        made = files(lanes=facts if isinstance(facts, dict) else {})
        assert made.package("WP01", host("3.2.7")).lane is None
