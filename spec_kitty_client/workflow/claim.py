"""Claim a work package, and locate its worktree.

Up to 3.2.1 the SDK makes the worktree. From 3.2.2 on the host makes it, except for planning work.
"""

from attrs import evolve

from spec_kitty_client._engine.core import Negotiate, Steps
from spec_kitty_client.api import replies
from spec_kitty_client.api.commands import MissionState, ResolveWorkspace, StartImplementation
from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import GitUnavailable, HostError
from spec_kitty_client.workflow.common import (
    WorkPackageFacts,
    refusal,
    retry_idempotent,
    slug_of,
    state,
)
from spec_kitty_client.workflow.git import branches, git, is_ancestor, merge_into, ref_of, root
from spec_kitty_client.workflow.layout import PLANNING_LANE, read_files
from spec_kitty_client.workflow.proof import note_work
from spec_kitty_client.workflow.worktrees import (
    ensure_worktree,
    folder_of,
    locate_worktree,
    planning_branch,
    remove_new_worktree,
    with_worktree,
)

__all__ = ["claim", "locate"]

NUL = "\0"


def claim(at: WorkPackageFacts) -> Steps[replies.ImplementationStarted]:
    """Claim a work package, and make its worktree with the work of its dependencies in it.

    Args:
        at: The work package.

    Returns:
        The host's reply, with the path and branch of the worktree.

    Raises:
        NotReady: If a dependency is not done.
        Conflict: If another actor has claimed it.
        GitFailed: If the worktree cannot be made, or a dependency has merge conflicts.
    """
    contract: Contract = yield Negotiate()
    mission = yield from slug_of(contract, at.mission)
    call = StartImplementation(mission=mission, wp=at.wp, actor=at.actor)
    if contract.supports(Feature.WORKTREES):
        return (yield from _claim_with_worktree(contract, call))
    dependencies: tuple[str, ...] = ()
    if not contract.supports(Feature.DEPENDENCY_CHECK):
        dependencies = yield from _finished_dependencies(call)
    top = yield from root()
    yield from read_files(mission, top)  # damaged ones are an error before the claim
    started = yield from retry_idempotent(call)
    yield from note_work(mission, top)
    there = yield from locate_worktree(contract, started.mission_slug, at.wp, top, dependencies)
    yield from ensure_worktree(there)
    return with_worktree(started, there)


def _claim_with_worktree(
    contract: Contract, call: StartImplementation
) -> Steps[replies.ImplementationStarted]:
    """Claim on a host that makes the worktree (3.2.2 and later), except for planning work."""
    try:
        top = yield from root()
    except GitUnavailable:  # only planning work needs git on this side
        return (yield from retry_idempotent(call))
    package = (yield from read_files(call.mission, top)).package(call.wp, contract)
    if package.planning:
        return (yield from _claim_planning(contract, call, top))
    started = yield from retry_idempotent(call)
    yield from note_work(call.mission, top)
    if PLANNING_LANE in package.lane_needs:
        branch, path = planning_branch(call.mission), started.workspace_path
        there = yield from branches(top, branch)
        if there and not (yield from is_ancestor(ref_of(branch), "HEAD", path)):
            yield from merge_into(path, branch)
    return started


def _claim_planning(
    contract: Contract, call: StartImplementation, top: str
) -> Steps[replies.ImplementationStarted]:
    """Claim planning work; the host uses the worktree that the SDK has made beforehand."""
    there = evolve((yield from locate_worktree(contract, call.mission, call.wp, top)), needs=())
    is_new = yield from ensure_worktree(there)
    try:
        started = yield from retry_idempotent(call)
    except HostError as e:
        if is_new and e.outcome == "not_applied":
            yield from remove_new_worktree(there)
        raise
    yield from note_work(call.mission, top)
    return with_worktree(started, there)


def locate(mission: str, wp: str) -> Steps[replies.Workspace]:
    """Return the worktree and branch of a work package, claimed or not.

    Args:
        mission: Slug or id of the mission.
        wp: Id of the work package.

    Raises:
        NotFound: If there is no such mission or work package.
        GitFailed: If git or the mission's files cannot tell.
    """
    contract: Contract = yield Negotiate()
    if contract.supports(ResolveWorkspace):
        slug = yield from slug_of(contract, mission)
        told: replies.Workspace = yield ResolveWorkspace(mission=slug, wp=wp)
        if told.lane_id != PLANNING_LANE or contract.supports(Feature.PLANNING_IN_CHECKOUT):
            return told
        top = yield from root()
        return with_worktree(told, (yield from locate_worktree(contract, slug, wp, top)))
    found = yield from state(mission)
    slug, top = found.mission_slug, (yield from root())
    tasks = f"{folder_of(slug)}/tasks/{wp}*.md"
    named = yield from git("ls-files", "-z", "--", tasks, folder=top)
    if wp not in found.lanes() or not named:
        msg = f"there is no work package {wp} in {slug}"
        raise refusal(MissionState(mission=mission), ErrorCode.WP_NOT_FOUND, msg)
    at = yield from locate_worktree(contract, slug, wp, top)
    blank = replies.Workspace(
        mission_slug=slug,
        mission_number=found.mission_number,
        mission_type=found.mission_type,
        wp_id=wp,
        workspace_path=at.path,
        prompt_path=f"{top}/{named.partition(NUL)[0]}",
    )
    return with_worktree(blank, at)


def _finished_dependencies(call: StartImplementation) -> Steps[tuple[str, ...]]:
    """Return the dependencies of a work package; hosts up to 3.1.10 do not check them.

    Raises:
        NotReady: If one of them is not done.
    """
    found = yield from state(call.mission)
    lanes = found.lanes()
    wanted = next((p.dependencies for p in found.work_packages if p.wp_id == call.wp), ())
    waiting = [name for name in wanted if lanes.get(name) not in (Lane.DONE, None)]
    if waiting and lanes[call.wp] == Lane.PLANNED:
        msg = f"{call.wp} depends on {', '.join(waiting)}, not done yet"
        code = ErrorCode.DEPENDENCIES_NOT_SATISFIED
        raise refusal(call, code, msg, unsatisfied_dependencies=waiting)
    return wanted
