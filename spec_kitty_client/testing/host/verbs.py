"""What each verb does to a mission, and what it answers."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from attrs import frozen

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import Lane, lanes_of
from spec_kitty_client.testing.host import guards
from spec_kitty_client.testing.host.answers import Crashed, Refused
from spec_kitty_client.testing.host.board import PLANNING, Mission, Package
from spec_kitty_client.testing.host.land import Land, branch_of, is_in_checkout
from spec_kitty_client.testing.host.releases import Release

__all__ = ["VERBS", "Scene"]

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
    path = f"{root}/.worktrees/{named}-{lane if worktrees else wp}"
    here = worktrees and is_in_checkout(scene.release, mission, wp)
    told = {
        "wp_id": wp,
        "workspace_path": root if here else path,
        "prompt_path": _prompt(scene),
    }
    if not worktrees:
        return told
    own = f"kitty/mission-{named}-{lane}"
    branch = branch_of(scene.release, mission, wp) if lane == PLANNING else own
    return {**told, "lane_id": lane, "lane_branch": branch, "lane_base_ref": mission.base}


def _prompt(scene: Scene) -> str:
    return f"{scene.land.root}/kitty-specs/{scene.mission.slug}/tasks/{scene.wp}-part.md"


def start_implementation(scene: Scene) -> Data:
    """Claim a work package."""
    release, mission, wp, package = scene.release, scene.mission, scene.wp, scene.package
    before = package.lane
    _check_dependencies(scene)
    if release.has(Feature.WORKTREES):
        scene.land.allocate(mission, wp)
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


def _check_dependencies(scene: Scene) -> None:
    """See that a work package may begin (3.2.0 and later)."""
    mission, release = scene.mission, scene.release
    begun = scene.package.lane not in (Lane.PLANNED, Lane.CLAIMED)
    waits = mission.open_dependencies(scene.wp, partial(_lets_begin, release))
    if waits and not begun and release.has(Feature.DEPENDENCY_CHECK):
        raise Refused(
            ErrorCode.DEPENDENCIES_NOT_SATISFIED,
            f"{scene.wp} waits for {', '.join(waits)}",
            {"wp_id": scene.wp, "unsatisfied_dependencies": waits},
            mission=mission,
        )


def _check_claim(scene: Scene) -> None:
    package, release = scene.package, scene.release
    if package.lane not in (Lane.PLANNED, Lane.CLAIMED, Lane.IN_PROGRESS):
        msg = f"{scene.wp} is {package.lane}: there is nothing to start"
        raise Refused(ErrorCode.TRANSITION_REJECTED, msg)
    named = scene.actor or not release.since("3.2.0")  # later hosts let nobody pass
    if package.lane != Lane.PLANNED and named and package.actor not in ("", scene.actor):
        raise _claimed(scene, package.actor or "")
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
        if to == Lane.CLAIMED and scene.release.since("3.2.6"):
            scene.land.allocate(scene.mission, scene.wp)
        guards.check(attempt)
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
        has_open_subtasks=lambda: scene.land.has_open_subtasks(scene.mission, scene.wp),
        subtasks_complete="subtasks-complete" in options,
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
    if scene.mission.coordinated and not scene.mission.has_lanes and not release.since("4.0.0rc1"):
        msg = "there is no meta.json in the coordination worktree"
        raise Crashed(msg)
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
    target = options.get("target", _target(scene))
    merged = scene.land.merge(mission, target, strategy, push="push" in options)
    mission.has_lanes = True
    if release.has(Feature.LANES):
        # What was done once, and came back, stays where it is.
        done = {move.wp for move in mission.moves if move.after == Lane.DONE}
        for wp, package in mission.packages.items():
            if package.lane == Lane.APPROVED and wp not in done:
                mission.move(wp, Lane.DONE, "merge")
    told = {"merged": True, "target_branch": target, "strategy": strategy}
    wps = {"merged_wps": merged} if release.says_feature else {}
    return {**told, **wps, "worktree_removed": False}


def _target(scene: Scene) -> str:
    """Return the branch to merge into; 3.2.2 and later know of another one than the target."""
    other = scene.mission.merge_target if scene.release.since("3.2.2") else None
    return other or scene.mission.target


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
