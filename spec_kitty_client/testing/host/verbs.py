"""The effect of each verb on a mission, and its reply."""

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
from spec_kitty_client.testing.host.releases import Release
from spec_kitty_client.testing.host.workspace import WorkspaceBackend, branch_of, is_in_checkout

__all__ = ["VERBS", "Request"]

Data = dict[str, Any]


@frozen(kw_only=True)
class Request:
    """One host call to a mission: its arguments, and the simulated host's state."""

    release: Release
    mission: Mission
    workspace: WorkspaceBackend
    options: Mapping[str, str]
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    @property
    def wp(self) -> str:
        """The id of the work package in the call."""
        return self.options["wp"]

    @property
    def package(self) -> Package:
        """The work package in the call."""
        return self.mission.packages[self.wp]

    @property
    def actor(self) -> str:
        """The actor in the call."""
        return self.options["actor"]

    @property
    def told_policy(self) -> bool:
        """Whether the call has a policy."""
        return "policy" in self.options


def mission_state(request: Request) -> Data:
    """Report the lane of every work package."""
    packages = request.mission.packages
    f1 = request.release.dialect is Dialect.F1
    told = [
        {
            "wp_id": wp,
            "lane": package.lane,
            "dependencies": package.dependencies,
            # Only hosts 1.0.x report the actor.
            "last_actor": package.actor if f1 else None,
        }
        for wp, package in packages.items()
    ]
    return {"summary": _summary(request), "work_packages": told}


def _summary(request: Request) -> Data:
    packages = request.mission.packages.values()
    shown = [lane for lane in Lane if lane in lanes_of(request.release.dialect)]
    if request.release.dialect is Dialect.F1:
        always = (Lane.PLANNED, Lane.IN_PROGRESS, Lane.FOR_REVIEW, Lane.DONE)
        there = {p.lane for p in packages}
        shown = [*always, *(lane for lane in (Lane.BLOCKED, Lane.CANCELED) if lane in there)]
    # Hosts 2.1.0 to 3.0.3 count work packages with an event; a plan has no events.
    unseen = request.release.dialect is Dialect.F2
    lanes = [p.lane for p in packages if p.events or not unseen]
    counts = {lane.value: lanes.count(lane) for lane in shown}
    total = {"total_work_packages": len(packages)}
    return {**total, **counts} if request.release.dialect is Dialect.F1 else counts


def list_ready(request: Request) -> Data:
    """Report the work packages that can be started now."""
    mission, is_enough = request.mission, partial(_lets_begin, request.release)
    ready = [
        wp
        for wp, package in mission.packages.items()
        if package.lane == Lane.PLANNED and not mission.open_dependencies(wp, is_enough)
    ]
    return {"ready_work_packages": [_ready(request, wp) for wp in ready]}


def _ready(request: Request, wp: str) -> Data:
    told = {"wp_id": wp, "lane": "planned", "dependencies_satisfied": True}
    if not request.release.says_feature:
        return told
    needs = request.mission.packages[wp].dependencies
    return {**told, "recommended_base": needs[-1] if needs else None}


def _enough(release: Release) -> frozenset[str]:
    """Return the lanes in which a work package is finished."""
    return frozenset(
        {Lane.DONE, Lane.APPROVED} if release.has(Feature.APPROVED_IS_ENOUGH) else {Lane.DONE}
    )


def _lets_begin(release: Release, package: Package) -> bool:
    """Return whether the dependents of a work package may start."""
    return package.lane in _enough(release) or _is_dropped(release, package)


def _is_dropped(release: Release, package: Package) -> bool:
    """Return whether the work package was canceled with a reason (3.2.6 and later)."""
    canceled = package.lane == Lane.CANCELED and release.has(Feature.CANCELED_IS_ENOUGH)
    # Texts that the host itself writes there do not count as a reason.
    written = ("Force move to ", "move-task: ")
    return canceled and bool(package.reason.strip()) and not package.reason.startswith(written)


def resolve_workspace(request: Request) -> Data:
    """Report the worktree of a work package, named after the mission as in the call."""
    mission, wp, root = request.mission, request.wp, request.workspace.root
    named = request.options["mission"]
    lane = mission.lanes[wp]
    worktrees = request.release.has(Feature.WORKTREES)
    path = f"{root}/.worktrees/{named}-{lane if worktrees else wp}"
    here = worktrees and is_in_checkout(request.release, mission, wp)
    told = {
        "wp_id": wp,
        "workspace_path": root if here else path,
        "prompt_path": _prompt(request),
    }
    if not worktrees:
        return told
    own = f"kitty/mission-{named}-{lane}"
    branch = branch_of(request.release, mission, wp) if lane == PLANNING else own
    return {**told, "lane_id": lane, "lane_branch": branch, "lane_base_ref": mission.base}


def _prompt(request: Request) -> str:
    return f"{request.workspace.root}/kitty-specs/{request.mission.slug}/tasks/{request.wp}-part.md"


def start_implementation(request: Request) -> Data:
    """Claim a work package."""
    release, mission, wp, package = request.release, request.mission, request.wp, request.package
    before = package.lane
    _check_dependencies(request)
    if release.has(Feature.WORKTREES):
        request.workspace.allocate(mission, wp)
    _check_claim(request)
    request.workspace.start(mission, wp)
    if before == Lane.PLANNED and release.has(Feature.CLAIMED_LANE):
        mission.move(wp, Lane.CLAIMED, request.actor)
    if before != Lane.IN_PROGRESS:
        mission.move(wp, Lane.IN_PROGRESS, request.actor)
    return {
        **resolve_workspace(request),
        "from_lane": before,
        "to_lane": Lane.IN_PROGRESS,
        "policy_metadata_recorded": True,
        "no_op": before == Lane.IN_PROGRESS,
    }


def _check_dependencies(request: Request) -> None:
    """Check that a work package may start (3.2.0 and later)."""
    mission, release = request.mission, request.release
    begun = request.package.lane not in (Lane.PLANNED, Lane.CLAIMED)
    waits = mission.open_dependencies(request.wp, partial(_lets_begin, release))
    if waits and not begun and release.has(Feature.DEPENDENCY_CHECK):
        raise Refused(
            ErrorCode.DEPENDENCIES_NOT_SATISFIED,
            f"{request.wp} waits for {', '.join(waits)}",
            {"wp_id": request.wp, "unsatisfied_dependencies": waits},
            mission=mission,
        )


def _check_claim(request: Request) -> None:
    package, release = request.package, request.release
    if package.lane not in (Lane.PLANNED, Lane.CLAIMED, Lane.IN_PROGRESS):
        msg = f"{request.wp} is {package.lane}: there is nothing to start"
        raise Refused(ErrorCode.TRANSITION_REJECTED, msg)
    named = request.actor or not release.since("3.2.0")  # from 3.2.0 on an empty actor passes
    if package.lane != Lane.PLANNED and named and package.actor not in ("", request.actor):
        raise _claimed(request, package.actor or "")
    if release.since("2.1.0") and package.lane != Lane.IN_PROGRESS and not request.actor.strip():
        raise Refused(ErrorCode.TRANSITION_REJECTED, "an actor is needed")


def _claimed(request: Request, owner: str) -> Refused:
    return Refused(
        ErrorCode.WP_ALREADY_CLAIMED,
        f"{owner} has {request.wp}",
        {"claimed_by": owner, "requesting_actor": request.actor},
        mission=request.mission,
    )


def start_review(request: Request) -> Data:
    """Begin a review; up to 3.1.0, request changes."""
    begins = request.release.has(Feature.IN_REVIEW_LANE)
    again = _is_in_review(request)
    before = request.package.lane
    if not again:
        if request.release.dialect is Dialect.F1 and before != Lane.FOR_REVIEW:
            msg = f"{request.wp} is {before}: there is nothing to review"
            raise Refused(ErrorCode.TRANSITION_REJECTED, msg)
        to = Lane.IN_REVIEW if begins else Lane.IN_PROGRESS
        guards.check(_attempt(request, to))
        request.mission.move(request.wp, to, request.actor)
    told = {"no_op": again} if request.release.has(Feature.REPEATABLE_REVIEW) else {}
    return {
        "wp_id": request.wp,
        "from_lane": before,
        "to_lane": request.package.lane,
        "prompt_path": _prompt(request),
        "policy_metadata_recorded": True,
        **told,
    }


def _is_in_review(request: Request) -> bool:
    """Return whether the review is running already (3.2.0 and later)."""
    if request.package.lane != Lane.IN_REVIEW or not request.release.has(Feature.REPEATABLE_REVIEW):
        return False
    holder = request.package.actor or ""
    if holder != request.actor and not request.release.since("3.2.6"):
        raise _claimed(request, holder)
    return True


def transition(request: Request) -> Data:
    """Move a work package to another lane."""
    before = request.package.lane
    to = guards.lane_named(request.options["to"], request.release)
    stays = request.release.dialect is Dialect.F1 and to == before
    if not stays:
        attempt = _attempt(request, to)
        if to == Lane.CLAIMED and request.release.since("3.2.6"):
            request.workspace.allocate(request.mission, request.wp)
        guards.check(attempt)
        forced, reason = attempt.forced, attempt.note
        request.mission.move(request.wp, to, request.actor, forced=forced, reason=reason)
    return {
        "wp_id": request.wp,
        "from_lane": before,
        "to_lane": to,
        "policy_metadata_recorded": request.told_policy,
    }


def _attempt(request: Request, to: str) -> guards.Attempt:
    options = request.options
    return guards.Attempt(
        release=request.release,
        mission=request.mission,
        wp=request.wp,
        to=to,
        actor=request.actor,
        forced="force" in options,
        note=options.get("note", ""),
        review_ref=options.get("review-ref"),
        evidence=guards.parse_evidence(options.get("evidence-json")),
        review_result=guards.parse_review_result(options.get("review-result-json")),
        worked_on=lambda: request.workspace.is_worked_on(request.mission, request.wp),
        has_open_subtasks=lambda: request.workspace.has_open_subtasks(request.mission, request.wp),
        subtasks_complete="subtasks-complete" in options,
    )


def append_history(request: Request) -> Data:
    """Add a note."""
    request.package.notes.append(request.options["note"])
    return {"wp_id": request.wp, "history_entry_id": f"hist-{request.new_id()}"}


def accept_mission(request: Request) -> Data:
    """Accept a mission whose work packages are finished."""
    release, packages = request.release, request.mission.packages
    enough = _enough(release)
    if missing := [wp for wp, package in packages.items() if package.lane not in enough]:
        feature = release.says_feature
        code = ErrorCode.FEATURE_NOT_READY if feature else ErrorCode.MISSION_NOT_READY
        msg = f"not finished: {', '.join(missing)}"
        raise Refused(code, msg, {"incomplete_wps": missing}, mission=request.mission)
    mission = request.mission
    if mission.coordinated and not mission.has_lanes and not release.since("4.0.0rc1"):
        msg = "there is no meta.json in the coordination worktree"
        raise Crashed(msg)
    request.mission.accepted_at = request.now().isoformat()
    request.workspace.accepted(request.mission)
    told = {"accepted": True, "mode": "auto", "accepted_at": request.mission.accepted_at}
    if not release.has(Feature.APPROVED_IS_ENOUGH):
        return told
    done = [wp for wp, package in packages.items() if package.lane == Lane.DONE]
    approved = [wp for wp, package in packages.items() if package.lane == Lane.APPROVED]
    lists = {"approved_wps": approved, "done_wps": done, "merge_pending_wps": approved}
    return {**told, "accepted_wps": [*approved, *done], **lists}


def merge_mission(request: Request) -> Data:
    """Merge the work into the target branch."""
    release, mission, options = request.release, request.mission, request.options
    strategy = options.get("strategy", "merge")
    supported = ["merge", *(["rebase"] if release.since("2.1.0") else []), "squash"]
    if strategy not in supported:
        msg = f"there is no strategy {strategy!r}"
        code = ErrorCode.UNSUPPORTED_STRATEGY
        raise Refused(code, msg, {"strategy": strategy, "supported": supported})
    target = options.get("target", _target(request))
    merged = request.workspace.merge(mission, target, strategy, push="push" in options)
    mission.has_lanes = True
    if release.has(Feature.LANES):
        # Work that was done before, and moved back, keeps its lane.
        done = {move.wp for move in mission.moves if move.after == Lane.DONE}
        for wp, package in mission.packages.items():
            if package.lane == Lane.APPROVED and wp not in done:
                mission.move(wp, Lane.DONE, "merge")
    told = {"merged": True, "target_branch": target, "strategy": strategy}
    wps = {"merged_wps": merged} if release.says_feature else {}
    return {**told, **wps, "worktree_removed": False}


def _target(request: Request) -> str:
    """Return the branch to merge into; hosts from 3.2.2 on read ``merge_target_branch``."""
    other = request.mission.merge_target if request.release.since("3.2.2") else None
    return other or request.mission.target


VERBS: Mapping[str, Callable[[Request], Data]] = {
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
