"""The text of a mission's files, as planning writes and hosts read them."""

import json
import re
from collections.abc import Iterator
from typing import Any

from attrs import asdict

from spec_kitty_client.testing.host.board import PLANNING, Mark, Mission, Move
from spec_kitty_client.testing.host.releases import Release

__all__ = [
    "COUNTED",
    "events",
    "has_open_box",
    "lanes_json",
    "meta_json",
    "prompt",
    "tasks_md",
    "ticked",
]

COUNTED = "3.2.6"
"""The first release that counts subtasks in the event log instead of boxes in ``tasks.md``."""

_BOX = re.compile(r"^\s*-\s*\[\s*\]\s+")


def meta_json(release: Release, mission: Mission) -> dict[str, Any]:
    """Return the content of ``meta.json``."""
    meta = {"slug": mission.slug, "target_branch": mission.target}
    if release.since("3.1.1"):
        meta |= {"mission_id": mission.ulid}
    if mission.merge_target is not None:
        meta |= {"merge_target_branch": mission.merge_target}
    if release.since("3.2.5"):
        meta |= {"topology": mission.topology}
    if mission.coordinated:
        meta |= {"coordination_branch": mission.branch}
    return meta


def lanes_json(mission: Mission, commit: str) -> dict[str, Any]:
    """Return the content of ``lanes.json`` (3.1.0 and later).

    Args:
        mission: The mission.
        commit: The last commit of the planning; later hosts merge it into every lane.
    """
    lanes: dict[str, dict[str, list[str]]] = {}
    for wp, package in mission.packages.items():
        own = mission.lanes[wp]
        lane = lanes.setdefault(own, {"wp_ids": [], "write_scope": [], "depends_on_lanes": []})
        lane["wp_ids"].append(wp)
        lane["write_scope"] += owned(mission, wp)
        others = dict.fromkeys(mission.lanes[name] for name in package.dependencies)
        known = (own, *lane["depends_on_lanes"])
        lane["depends_on_lanes"] += [other for other in others if other not in known]
    return {
        "mission_slug": mission.slug,
        "mission_branch": mission.branch,
        "target_branch": mission.target,
        "lanes": [{"lane_id": name, **lane} for name, lane in lanes.items()],
        "planning_artifact_wps": lanes.get(PLANNING, {}).get("wp_ids", []),
        "planning_commit_sha": commit,
    }


def owned(mission: Mission, wp: str) -> list[str]:
    """Return the globs of the files that a work package owns."""
    return mission.packages[wp].owns or [f"{wp}.txt"]


def prompt(mission: Mission, wp: str) -> str:
    """Return the text of a work package's file."""
    package = mission.packages[wp]
    front = {
        "work_package_id": wp,
        "title": wp,
        "dependencies": package.dependencies,
        "subtasks": list(package.subtasks),
        "execution_mode": "planning_artifact" if package.planning else "code_change",
        "owned_files": owned(mission, wp),
    }
    yaml = "".join(f"{name}: {json.dumps(value)}\n" for name, value in front.items())
    needs = ", ".join(package.dependencies) or "nothing"
    return f"---\n{yaml}---\n\n# {wp}\n\nDepends on: {needs}.\n"


def tasks_md(release: Release, mission: Mission) -> str:
    """Return the text of ``tasks.md``, with boxes if the release counts boxes."""
    box = "- " if release.since(COUNTED) else "- [ ] "
    heading = "### Included Subtasks\n\n" if mission.headed else ""
    parts = ["# Work Packages\n"]
    for wp, package in mission.packages.items():
        rows = "".join(f"{box}{subtask} Part of {wp}\n" for subtask in package.subtasks)
        parts.append(f"\n## {wp}\n\n{heading if rows else ''}{rows}")
    return "".join(parts)


def has_open_box(release: Release, text: str, wp: str) -> bool:
    """Return whether a host sees an unticked box in the section of a work package.

    For hosts 3.1.1 to 3.2.5 a section ends at any heading of level two to four. The host's own
    template has such a heading above the boxes, so these hosts miss them.
    """
    marks = "#{2,4}(?!#)" if release.since("3.1.1") else "##"
    begins = re.compile(rf"^{marks}.*\b{re.escape(wp)}\b")
    ends = re.compile(rf"^{marks}\s")
    inside = False
    for line in text.splitlines():
        if begins.search(line):
            inside = True
        elif inside and ends.search(line):
            return False
        elif inside and _BOX.match(line):
            return True
    return False


def ticked(text: str, subtask: str, *, done: bool) -> str:
    """Return the text of ``tasks.md`` with the box of a subtask ticked or unticked."""
    box = re.compile(rf"-\s*\[[ x]\](?=\s*{re.escape(subtask)}\b)")
    return box.sub("- [x]" if done else "- [ ]", text)


def events(release: Release, mission: Mission) -> str:
    """Return the text of a mission's event log."""
    return "".join(json.dumps(asdict(event)) + "\n" for event in _in_order(release, mission))


def _in_order(release: Release, mission: Mission) -> Iterator[Move | Mark]:
    marks = list(mission.marks) if release.since(COUNTED) else []
    for count, move in enumerate(mission.moves):
        while marks and marks[0].moves <= count:
            yield marks.pop(0)
        yield move
    yield from marks
