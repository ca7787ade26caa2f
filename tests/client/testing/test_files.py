"""Tests of `spec_kitty_client.testing.host.files`."""

import json
from typing import Any

import pytest

from spec_kitty_client.testing.host import Mission, PackagePlan, Release, files
from spec_kitty_client.testing.host.board import Plan

PLAN: Plan = {
    "WP01": PackagePlan(subtasks=["T001", "T002"]),
    "WP02": PackagePlan(needs=["WP01"], planning=True),
}


def mission(release: str, **about: Any) -> Mission:
    named = {"slug": "m", "ulid": "01K00001ABC", "target": "work"}
    return Mission.of(Release(release), PLAN, **(named | about))


def boxes(release: str, text: str) -> bool:
    return files.has_open_box(Release(release), text, "WP01")


@pytest.mark.parametrize(
    ("release", "headed", "seen"),
    [
        ("2.1.3", False, True),
        ("3.1.0", True, True),
        ("3.1.1", False, True),
        ("3.1.1", True, False),
        ("3.2.5", True, False),
    ],
)
def test_a_heading_hides_boxes_from_some_hosts(release: str, headed: bool, seen: bool) -> None:
    """3.1.1 to 3.2.5 do not see boxes below another heading, as the host's template has one."""
    made = mission(release, headed=headed)
    assert boxes(release, files.tasks_md(Release(release), made)) is seen


def test_a_box_belongs_to_its_section() -> None:
    """Boxes of other work packages do not matter, and a ticked one is not open."""
    text = "# All\n\n## WP01\n\n- [x] T001\n\n## WP02\n\n- [ ] T002\n"
    assert not boxes("3.1.10", text)
    assert boxes("3.1.10", text.replace("[x]", "[ ]"))
    assert boxes("3.1.10", text.replace("T001", "T001\n  - [ ] a part of it"))
    assert not boxes("3.1.10", "")


def test_a_box_is_ticked() -> None:
    """Only the box of that id is ticked, idempotently, and it can be unticked."""
    text = "- [ ] T001 a\n- [ ] T0011 b\n"
    done = files.ticked(text, "T001", done=True)
    assert done == "- [x] T001 a\n- [ ] T0011 b\n"
    assert files.ticked(done, "T001", done=True) == done
    assert files.ticked(done, "T001", done=False) == text


@pytest.mark.parametrize(("release", "has_boxes"), [("3.2.5", True), ("3.2.6", False)])
def test_later_hosts_have_rows_without_boxes(release: str, has_boxes: bool) -> None:
    """From 3.2.6 on tasks.md lists subtasks without boxes."""
    text = files.tasks_md(Release(release), mission(release))
    assert ("[ ]" in text) is has_boxes
    assert "T002" in text


def test_a_prompt_has_front_matter() -> None:
    """A prompt has its subtasks and its execution mode in the front matter."""
    made = mission("3.2.7")
    written = files.prompt(made, "WP01").splitlines()
    assert written[0] == written[7] == "---"
    assert 'subtasks: ["T001", "T002"]' in written
    assert 'execution_mode: "code_change"' in written
    assert 'execution_mode: "planning_artifact"' in files.prompt(made, "WP02")


def test_lanes_json_has_every_lane() -> None:
    """lanes.json has the planning lane, and lists the planning work packages once more."""
    written = files.lanes_json(mission("3.2.7"), "abc")
    assert written["planning_artifact_wps"] == ["WP02"]
    assert written["planning_commit_sha"] == "abc"
    assert written["lanes"] == [
        {
            "lane_id": "lane-a",
            "wp_ids": ["WP01"],
            "write_scope": ["WP01.txt"],
            "depends_on_lanes": [],
        },
        {
            "lane_id": "lane-planning",
            "wp_ids": ["WP02"],
            "write_scope": ["WP02.txt"],
            "depends_on_lanes": ["lane-a"],
        },
    ]


@pytest.mark.parametrize(
    ("release", "about", "more"),
    [
        ("3.1.0", {}, {}),
        ("3.1.10", {}, {"mission_id": "01K00001ABC"}),
        ("3.2.5", {}, {"mission_id": "01K00001ABC", "topology": "lanes"}),
        ("3.1.0", {"merge_target": "main"}, {"merge_target_branch": "main"}),
        (
            "3.2.7",
            {"topology": "coord"},
            {
                "mission_id": "01K00001ABC",
                "topology": "coord",
                "coordination_branch": "kitty/mission-m",
            },
        ),
    ],
)
def test_meta_json_has_what_the_release_writes(
    release: str, about: dict[str, Any], more: dict[str, str]
) -> None:
    """meta.json has the id, topology and branches that the release writes."""
    written = files.meta_json(Release(release), mission(release, **about))
    assert written == {"slug": "m", "target_branch": "work"} | more


@pytest.mark.parametrize(("release", "marks"), [("3.2.5", 0), ("3.2.6", 2)])
def test_events_are_in_their_order(release: str, marks: int) -> None:
    """From 3.2.6 on the log has marks and moves in their order."""
    made = mission(release)
    made.mark("WP01", ["T001"], done=True)
    made.move("WP01", "claimed", "a1")
    made.mark("WP01", ["T002"], done=True)
    lines = [json.loads(x) for x in files.events(Release(release), made).splitlines()]
    assert [line.get("subtasks", line.get("after")) for line in lines] == (
        [["T001"], "claimed", ["T002"]] if marks else ["claimed"]
    )
