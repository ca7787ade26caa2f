"""What each verb does to a mission, and what it answers."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from attrs import frozen

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.dialects import Dialect, Feature
from spec_kitty_client.lanes import Lane, lanes_of
from spec_kitty_client.testing.host import guards
from spec_kitty_client.testing.host.answers import Crashed, Refused
from spec_kitty_client.testing.host.board import Mission, Package
from spec_kitty_client.testing.host.land import Land
from spec_kitty_client.testing.host.releases import Release

__all__ = ["VERBS", "Scene", "check_json", "check_lane", "check_policy", "find"]

Data = dict[str, Any]


@frozen(kw_only=True)
class Scene:
    """A call to a mission."""

    release: Release
    mission: Mission
    land: Land
    options: Mapping[str, str]
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    @property
    def wp(self) -> str:
        """The work package that is named."""
        return self.options["wp"]

    @property
    def package(self) -> Package:
        """The work package that is named."""
        return self.mission.packages[self.wp]

    @property
    def actor(self) -> str:
        """Who calls."""
        return self.options["actor"]

    @property
    def told_policy(self) -> bool:
        """Whether a policy came along."""
        return "policy" in self.options


def find(missions: Mapping[str, Mission], name: str, release: Release) -> Mission:
    """Return the mission of a name: a slug; later also an id, or the beginning of either.

    Raises:
        Refused: If there is none.
        Crashed: If it is no name (3.2.0 and later; 4.0.0 refuses it).
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
    # From 3.2.2 on also what a slug is without the id at its end.
    short = mission.slug.removesuffix(f"-{mission.ulid[:8]}") if release.since("3.2.2") else ""
    return (*mission.names, short) if short else mission.names


def _is_safe(name: str) -> bool:
    return bool(name.strip()) and ".." not in name and "/" not in name and "\\" not in name


def check_policy(
    verb: str, options: Mapping[str, str], release: Release, problems: Callable[[str], str | None]
) -> None:
    """See that there is a policy where one is needed, and that it is a good one.

    Raises:
        Refused: If not.
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
        return False  # which is told later


def check_lane(options: Mapping[str, str], release: Release) -> None:
    """See that a lane that is named exists, as far as that is looked at first of all.

    Raises:
        Crashed: If it does not, from 3.1.1 on.
    """
    if "to" in options:
        with suppress(Refused):  # which is told later
            guards.lane_named(options["to"], release)


def check_json(options: Mapping[str, str]) -> None:
    """See that what has to be JSON is.

    Raises:
        Refused: If not.
    """
    guards.parse_evidence(options.get("evidence-json"))
    guards.parse_review_result(options.get("review-result-json"))


def mission_state(scene: Scene) -> Data:
    """Tell where every work package stands."""
    packages = scene.mission.packages
    f1 = scene.release.dialect is Dialect.F1
    told = [
        {
            "wp_id": wp,
            "lane": package.lane,
            "dependencies": package.dependencies,
            # Hosts from 2.1.0 on do not tell.
            "last_actor": package.actor if f1 else None,
        }
        for wp, package in packages.items()
    ]
    return {"summary": _summary(scene), "work_packages": told}


def _summary(scene: Scene) -> Data:
    packages = scene.mission.packages.values()
    shown = [lane for lane in Lane if lane in lanes_of(scene.release.dialect)]
    if scene.release.dialect is Dialect.F1:
        always = (Lane.PLANNED, Lane.IN_PROGRESS, Lane.FOR_REVIEW, Lane.DONE)
        there = {p.lane for p in packages}
        shown = [*always, *(lane for lane in (Lane.BLOCKED, Lane.CANCELED) if lane in there)]
    # 2.1.0 to 3.0.3 count what has an event, and a plan has none.
    unseen = scene.release.dialect is Dialect.F2
    lanes = [p.lane for p in packages if p.events or not unseen]
    counts = {lane.value: lanes.count(lane) for lane in shown}
    total = {"total_work_packages": len(packages)}
    return {**total, **counts} if scene.release.dialect is Dialect.F1 else counts


def list_ready(scene: Scene) -> Data:
    """Tell what may be started now."""
    mission, is_enough = scene.mission, partial(_lets_begin, scene.release)
    ready = [
        wp
        for wp, package in mission.packages.items()
        if package.lane == Lane.PLANNED and not mission.open_dependencies(wp, is_enough)
    ]
    return {"ready_work_packages": [_ready(scene, wp) for wp in ready]}


def _ready(scene: Scene, wp: str) -> Data:
    told = {"wp_id": wp, "lane": "planned", "dependencies_satisfied": True}
    if not scene.release.says_feature:
        return told
    needs = scene.mission.packages[wp].dependencies
    return {**told, "recommended_base": needs[-1] if needs else None}


def _enough(release: Release) -> frozenset[str]:
    """Return the lanes in which a work package is finished."""
    return frozenset(
        {Lane.DONE, Lane.APPROVED} if release.has(Feature.APPROVED_IS_ENOUGH) else {Lane.DONE}
    )


def _lets_begin(release: Release, package: Package) -> bool:
    """Return whether those that depend on a work package may begin."""
    return package.lane in _enough(release) or _is_dropped(release, package)


def _is_dropped(release: Release, package: Package) -> bool:
    """Return whether somebody has canceled it and said why (3.2.6 and later)."""
    canceled = package.lane == Lane.CANCELED and release.has(Feature.CANCELED_IS_ENOUGH)
    # Words that the host itself writes there are nobody's reason.
    written = ("Force move to ", "move-task: ")
    return canceled and bool(package.reason.strip()) and not package.reason.startswith(written)


def resolve_workspace(scene: Scene) -> Data:
    """Tell where a work package is worked on, for a mission by the name that was given."""
    mission, wp, root, named = scene.mission, scene.wp, scene.land.root, scene.options["mission"]
    lane = mission.lanes[wp]
    worktrees = scene.release.has(Feature.WORKTREES)
    told = {
        "wp_id": wp,
        "workspace_path": f"{root}/.worktrees/{named}-{lane if worktrees else wp}",
        "prompt_path": _prompt(scene),
    }
    if not worktrees:
        return told
    branch = f"kitty/mission-{named}-{lane}"
    return {**told, "lane_id": lane, "lane_branch": branch, "lane_base_ref": mission.target}


def _prompt(scene: Scene) -> str:
    return f"{scene.land.root}/kitty-specs/{scene.mission.slug}/tasks/{scene.wp}-part.md"


def start_implementation(scene: Scene) -> Data:
    """Claim a work package."""
    release, mission, wp, package = scene.release, scene.mission, scene.wp, scene.package
    before = package.lane
    _check_claim(scene)
    scene.land.start(mission, wp)
    if before == Lane.PLANNED and release.has(Feature.CLAIMED_LANE):
        mission.move(wp, Lane.CLAIMED, scene.actor)
    if before != Lane.IN_PROGRESS:
        mission.move(wp, Lane.IN_PROGRESS, scene.actor)
    return {
        **resolve_workspace(scene),
        "from_lane": before,
        "to_lane": Lane.IN_PROGRESS,
        "policy_metadata_recorded": True,
        "no_op": before == Lane.IN_PROGRESS,
    }


def _check_claim(scene: Scene) -> None:
    package, mission, release = scene.package, scene.mission, scene.release
    if package.lane not in (Lane.PLANNED, Lane.CLAIMED, Lane.IN_PROGRESS):
        msg = f"{scene.wp} is {package.lane}: there is nothing to start"
        raise Refused(ErrorCode.TRANSITION_REJECTED, msg)
    named = scene.actor or not release.since("3.2.0")  # later hosts let nobody pass
    if package.lane != Lane.PLANNED and named and package.actor not in ("", scene.actor):
        raise _claimed(scene, package.actor or "")
    waits = mission.open_dependencies(scene.wp, partial(_lets_begin, release))
    if waits and package.lane == Lane.PLANNED and release.has(Feature.DEPENDENCY_CHECK):
        raise Refused(
            ErrorCode.DEPENDENCIES_NOT_SATISFIED,
            f"{scene.wp} waits for {', '.join(waits)}",
            {"wp_id": scene.wp, "unsatisfied_dependencies": waits},
            mission=mission,
        )
    if release.since("2.1.0") and package.lane != Lane.IN_PROGRESS and not scene.actor.strip():
        raise Refused(ErrorCode.TRANSITION_REJECTED, "an actor is needed")


def _claimed(scene: Scene, owner: str) -> Refused:
    return Refused(
        ErrorCode.WP_ALREADY_CLAIMED,
        f"{owner} has {scene.wp}",
        {"claimed_by": owner, "requesting_actor": scene.actor},
        mission=scene.mission,
    )


def start_review(scene: Scene) -> Data:
    """Begin a review; up to 3.1.0: send the work back."""
    begins = scene.release.has(Feature.IN_REVIEW_LANE)
    again = _is_in_review(scene)
    before = scene.package.lane
    if not again:
        if scene.release.dialect is Dialect.F1 and before != Lane.FOR_REVIEW:
            msg = f"{scene.wp} is {before}: there is nothing to review"
            raise Refused(ErrorCode.TRANSITION_REJECTED, msg)
        to = Lane.IN_REVIEW if begins else Lane.IN_PROGRESS
        guards.check(_attempt(scene, to))
        scene.mission.move(scene.wp, to, scene.actor)
    told = {"no_op": again} if scene.release.has(Feature.REPEATABLE_REVIEW) else {}
    return {
        "wp_id": scene.wp,
        "from_lane": before,
        "to_lane": scene.package.lane,
        "prompt_path": _prompt(scene),
        "policy_metadata_recorded": True,
        **told,
    }


def _is_in_review(scene: Scene) -> bool:
    """Return whether there is nothing to do (3.2.0 and later)."""
    if scene.package.lane != Lane.IN_REVIEW or not scene.release.has(Feature.REPEATABLE_REVIEW):
        return False
    holder = scene.package.actor or ""
    if holder != scene.actor and not scene.release.since("3.2.6"):
        raise _claimed(scene, holder)
    return True


def transition(scene: Scene) -> Data:
    """Move a work package to another lane."""
    before = scene.package.lane
    to = guards.lane_named(scene.options["to"], scene.release)
    stays = scene.release.dialect is Dialect.F1 and to == before
    if not stays:
        attempt = _attempt(scene, to)
        guards.check(attempt)
        if to == Lane.CLAIMED and scene.release.since("3.2.6"):
            scene.land.allocate(scene.mission, scene.wp)
        scene.mission.move(scene.wp, to, scene.actor, forced=attempt.forced, reason=attempt.note)
    return {
        "wp_id": scene.wp,
        "from_lane": before,
        "to_lane": to,
        "policy_metadata_recorded": scene.told_policy,
    }


def _attempt(scene: Scene, to: str) -> guards.Attempt:
    options = scene.options
    return guards.Attempt(
        release=scene.release,
        mission=scene.mission,
        wp=scene.wp,
        to=to,
        actor=scene.actor,
        forced="force" in options,
        note=options.get("note", ""),
        review_ref=options.get("review-ref"),
        evidence=guards.parse_evidence(options.get("evidence-json")),
        review_result=guards.parse_review_result(options.get("review-result-json")),
        worked_on=lambda: scene.land.is_worked_on(scene.mission, scene.wp),
    )


def append_history(scene: Scene) -> Data:
    """Add a note."""
    scene.package.notes.append(scene.options["note"])
    return {"wp_id": scene.wp, "history_entry_id": f"hist-{scene.new_id()}"}


def accept_mission(scene: Scene) -> Data:
    """Accept a mission whose work packages are finished."""
    release, packages = scene.release, scene.mission.packages
    enough = _enough(release)
    if missing := [wp for wp, package in packages.items() if package.lane not in enough]:
        feature = release.says_feature
        code = ErrorCode.FEATURE_NOT_READY if feature else ErrorCode.MISSION_NOT_READY
        msg = f"not finished: {', '.join(missing)}"
        raise Refused(code, msg, {"incomplete_wps": missing}, mission=scene.mission)
    scene.mission.accepted_at = scene.now().isoformat()
    scene.land.accepted(scene.mission)
    told = {"accepted": True, "mode": "auto", "accepted_at": scene.mission.accepted_at}
    if not release.has(Feature.APPROVED_IS_ENOUGH):
        return told
    done = [wp for wp, package in packages.items() if package.lane == Lane.DONE]
    approved = [wp for wp, package in packages.items() if package.lane == Lane.APPROVED]
    lists = {"approved_wps": approved, "done_wps": done, "merge_pending_wps": approved}
    return {**told, "accepted_wps": [*approved, *done], **lists}


def merge_mission(scene: Scene) -> Data:
    """Merge the work into the target branch."""
    release, mission, options = scene.release, scene.mission, scene.options
    strategy = options.get("strategy", "merge")
    supported = ["merge", *(["rebase"] if release.since("2.1.0") else []), "squash"]
    if strategy not in supported:
        msg = f"there is no strategy {strategy!r}"
        code = ErrorCode.UNSUPPORTED_STRATEGY
        raise Refused(code, msg, {"strategy": strategy, "supported": supported})
    target = options.get("target", mission.target)
    merged = scene.land.merge(mission, target, strategy, push="push" in options)
    if release.has(Feature.LANES):
        # What was done once, and came back, stays where it is.
        done = {move.wp for move in mission.moves if move.after == Lane.DONE}
        for wp, package in mission.packages.items():
            if package.lane == Lane.APPROVED and wp not in done:
                mission.move(wp, Lane.DONE, "merge")
    told = {"merged": True, "target_branch": target, "strategy": strategy}
    wps = {"merged_wps": merged} if release.says_feature else {}
    return {**told, **wps, "worktree_removed": False}


VERBS: Mapping[str, Callable[[Scene], Data]] = {
    "mission-state": mission_state,
    "list-ready": list_ready,
    "resolve-workspace": resolve_workspace,
    "start-implementation": start_implementation,
    "start-review": start_review,
    "transition": transition,
    "append-history": append_history,
    "accept-mission": accept_mission,
    "merge-mission": merge_mission,
}
