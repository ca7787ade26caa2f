"""Steps that the scenarios of `user_scenarios` have in common."""

from collections.abc import Iterable
from typing import Any

from tests.record.matrix import REVIEW
from tests.record.world import World

__all__ = ["FORCED", "end", "finish", "merge", "resolve", "start", "submit"]

FORCED = {"force": True, "note": "by hand"}


def start(wp: str, actor: str = "a1") -> dict[str, Any]:
    """Return the options of a claim."""
    return {"wp": wp, "actor": actor, "policy": True}


def submit(wp: str, **more: object) -> dict[str, Any]:
    """Return the options of a transition to for_review."""
    return start(wp) | {"to": "for_review", **more}


def resolve(w: World, scenario: str, wp: str) -> None:
    """Call resolve-workspace, on releases whose answer depends on earlier claims."""
    if w.release.since(3, 2, 4):
        w.do(scenario, "resolve-workspace", wp=wp)


def finish(w: World, *packages: str) -> None:
    """Move work packages to approved, or to done if the host requires that for a merge.

    4.0 does not merge work that was approved by force.
    """
    for wp in packages:
        if w.release.since(3, 2, 6):
            _review(w, wp)
        else:
            to = "approved" if w.release.since(3, 2) else "done"
            w.must("transition", **start(wp, "rev"), to=to, **FORCED)


def _review(w: World, wp: str) -> None:
    if w.lane(wp) == "in_progress":
        w.must("transition", **submit(wp))
    reviewed = start(wp, "rev") | {"review_ref": "r1"}
    w.must("start-review", **reviewed)
    evidence = {"evidence_json": {"review": REVIEW}, "review_result_json": REVIEW}
    w.must("transition", **reviewed, to="approved", **evidence)


def end(w: World, scene: str, packages: Iterable[str]) -> None:
    """Finish work packages one after the other, and accept the mission."""
    for wp in packages:
        if w.lane(wp) == "planned":
            w.do(f"{scene}: start {wp} in its turn", "start-implementation", **start(wp))
            resolve(w, f"{scene}: resolve-workspace of {wp} in its turn", wp)
        w.work(wp)
        finish(w, wp)
    w.do(f"{scene}: accept", "accept", actor="rev")


def merge(w: World, scene: str) -> None:
    """Merge the mission."""
    w.do(f"{scene}: merge", "merge")
    w.do(f"{scene}: state after merge", "state")
