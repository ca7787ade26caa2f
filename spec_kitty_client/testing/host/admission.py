"""The checks of a host before it runs a verb."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.testing.host import guards
from spec_kitty_client.testing.host.answers import Crashed, Refused
from spec_kitty_client.testing.host.board import Mission
from spec_kitty_client.testing.host.releases import Release

__all__ = ["check_json", "check_lane", "check_policy", "find"]


def find(missions: Mapping[str, Mission], name: str, release: Release) -> Mission:
    """Return the mission for a slug; on later hosts also for an id or the start of either.

    Raises:
        Refused: If there is no such mission.
        Crashed: If the name is a path (3.2.0 and later; 4.0.0 refuses it).
    """
    if release.since("3.2.0") and not _is_safe(name):
        if release.since("4.0.0rc4"):
            code, msg = ErrorCode.INVALID_MISSION, "not a safe path segment"
            raise Refused(code, msg, {"reason": "unsafe", "mission_slug": name})
        raise Crashed(f"Not a safe path segment: {name!r}")
    every = missions.values()
    found = next((m for m in every if name in _names(m, release)), None)
    if found is None:
        feature = release.says_feature
        code = ErrorCode.FEATURE_NOT_FOUND if feature else ErrorCode.MISSION_NOT_FOUND
        raise Refused(code, f"there is no mission {name!r} in kitty-specs")
    return found


def _names(mission: Mission, release: Release) -> Sequence[str]:
    if not release.since("3.2.0"):
        return (mission.slug,)
    # From 3.2.2 on also the slug without the id at its end.
    short = mission.slug.removesuffix(f"-{mission.ulid[:8]}") if release.since("3.2.2") else ""
    return (*mission.names, short) if short else mission.names


def _is_safe(name: str) -> bool:
    return bool(name.strip()) and ".." not in name and "/" not in name and "\\" not in name


def check_policy(
    verb: str, options: Mapping[str, str], release: Release, problems: Callable[[str], str | None]
) -> None:
    """Check that a call has a policy if it needs one, and that the policy is valid.

    Raises:
        Refused: If the policy is missing or invalid.
    """
    text = options.get("policy")
    if not text:
        if verb in ("start-implementation", "start-review") or _takes_policy(options, release):
            code = ErrorCode.POLICY_METADATA_REQUIRED
            raise Refused(code, f"{verb} needs a policy")
        return
    sends_back = verb == "start-review" and not release.has(Feature.IN_REVIEW_LANE)
    if sends_back and not options.get("review-ref"):
        raise Refused(ErrorCode.TRANSITION_REJECTED, f"{verb} needs a review-ref")
    if problem := problems(text):
        raise Refused(ErrorCode.POLICY_VALIDATION_FAILED, problem)


def _takes_policy(options: Mapping[str, str], release: Release) -> bool:
    to = options.get("to")
    if to is None:
        return False
    lanes = [Lane.CLAIMED, Lane.IN_PROGRESS, Lane.FOR_REVIEW]
    if release.since("3.1.1"):
        lanes += [Lane.IN_REVIEW, Lane.APPROVED]
    try:
        return guards.lane_named(to, release) in lanes
    except Refused:
        return False  # refused later, by the verb


def check_lane(options: Mapping[str, str], release: Release) -> None:
    """Check that the target lane exists, if the host checks this first.

    Raises:
        Crashed: If it does not exist (3.1.1 and later).
    """
    if "to" in options:
        with suppress(Refused):  # refused later, by the verb
            guards.lane_named(options["to"], release)


def check_json(options: Mapping[str, str]) -> None:
    """Check the options whose values must be JSON.

    Raises:
        Refused: If a value is not valid.
    """
    guards.parse_evidence(options.get("evidence-json"))
    guards.parse_review_result(options.get("review-result-json"))
