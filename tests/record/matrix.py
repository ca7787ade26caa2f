"""Every attempt to move a work package from any lane to any lane."""

from tests.record.world import World

__all__ = ["POLICY_LANES", "REVIEW", "play"]

POLICY_LANES = ("claimed", "in_progress", "for_review", "in_review", "approved")
REVIEW = {"reviewer": "rev", "verdict": "approved", "reference": "r1"}


def play(w: World) -> None:
    """Try all moves, each in a copy of a repository that was made for its first lane."""
    for before in w.release.lanes:
        w.load()
        _bring(w, before)
        w.save("lane")
        for after in w.release.lanes:
            for how in ("bare", "full"):
                w.load("lane")
                extra = _everything(w) if how == "full" else {}
                policy = True if after in POLICY_LANES else None
                scenario = f"matrix {before} -> {after} {how}"
                wp = {"wp": "WP01", "to": after, "actor": "rev"}
                w.do(scenario, "transition", **wp, policy=policy, **extra)


def _bring(w: World, lane: str) -> None:
    if lane not in ("planned", "claimed"):
        w.must("start-implementation", wp="WP01", actor="a1", policy=True)
        w.work("WP01")
    if w.lane() != lane:
        forced = {"force": True, "note": "there"}
        w.must("transition", wp="WP01", to=lane, actor="a1", policy=True, **forced)
    if w.lane() != lane:
        raise RuntimeError(f"{w.release.name}: {w.lane()} instead of {lane}")


def _everything(w: World) -> dict[str, object]:
    extra: dict[str, object] = {"review_ref": "r1", "note": "n"}
    if w.release.since(3, 1):
        extra["evidence_json"] = {"review": REVIEW}
    if w.release.since(3, 2, 6):
        extra["review_result_json"] = REVIEW
    return extra
