"""Claim a work package, and find out where it is worked on.

Up to 3.2.1 the worktree is made here; from 3.2.2 on the host makes it, but not as planning work
needs it.
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
from spec_kitty_client.workflow.git import branches, git, is_ancestor, merge_into, root
from spec_kitty_client.workflow.layout import PLANNING_LANE, read_files
from spec_kitty_client.workflow.steps import Package, insist, refusal, slug_of, state
from spec_kitty_client.workflow.worktrees import (
    ensure,
    folder_of,
    forget,
    place,
    planning_branch,
    workspace,
)

__all__ = ["claim", "locate"]

NUL = "\0"


def claim(at: Package) -> Steps[replies.ImplementationStarted]:
    """Claim a work package and make sure that it has a worktree with what it needs."""
    contract: Contract = yield Negotiate()
    mission = yield from slug_of(contract, at.mission)
    call = StartImplementation(mission=mission, wp=at.wp, actor=at.actor)
    if contract.supports(Feature.WORKTREES):
        return (yield from _claim_with_worktree(contract, call))
    dependencies: tuple[str, ...] = ()
    if not contract.supports(Feature.DEPENDENCY_CHECK):
        dependencies = yield from _finished_dependencies(call)
    started = yield from insist(call)
    top = yield from root()
    there = yield from place(contract, started.mission_slug, at.wp, top, dependencies)
    yield from ensure(there)
    return workspace(started, there)


def _claim_with_worktree(
    contract: Contract, call: StartImplementation
) -> Steps[replies.ImplementationStarted]:
    """Claim where the host makes the worktree, and do for planning work what it does not."""
    try:
        top = yield from root()
    except GitUnavailable:  # the host does all that takes git, but for planning work
        return (yield from insist(call))
    package = (yield from read_files(call.mission, top)).package(call.wp, contract)
    if package.planning:
        return (yield from _claim_planning(contract, call, top))
    started = yield from insist(call)
    if PLANNING_LANE in package.lane_needs:
        branch, path = planning_branch(call.mission), started.workspace_path
        there = yield from branches(top, branch)
        if there and not (yield from is_ancestor(branch, "HEAD", path)):
            yield from merge_into(path, branch)
    return started


def _claim_planning(
    contract: Contract, call: StartImplementation, top: str
) -> Steps[replies.ImplementationStarted]:
    """Claim planning work; the host then uses the worktree that it finds in its place."""
    there = evolve((yield from place(contract, call.mission, call.wp, top)), needs=())
    is_new = yield from ensure(there)
    try:
        started = yield from insist(call)
    except HostError as e:
        if is_new and e.outcome == "not_applied":
            yield from forget(there)
        raise
    return workspace(started, there)


def locate(mission: str, wp: str) -> Steps[replies.Workspace]:
    """Tell where a work package is worked on, claimed or not."""
    contract: Contract = yield Negotiate()
    if contract.supports(ResolveWorkspace):
        slug = yield from slug_of(contract, mission)
        told: replies.Workspace = yield ResolveWorkspace(mission=slug, wp=wp)
        if told.lane_id != PLANNING_LANE or contract.supports(Feature.PLANNING_IN_CHECKOUT):
            return told
        top = yield from root()
        return workspace(told, (yield from place(contract, slug, wp, top)))
    found = yield from state(mission)
    slug, top = found.mission_slug, (yield from root())
    tasks = f"{folder_of(slug)}/tasks/{wp}*.md"
    named = yield from git("ls-files", "-z", "--", tasks, folder=top)
    if wp not in found.lanes() or not named:
        msg = f"there is no work package {wp} in {slug}"
        raise refusal(MissionState(mission=mission), ErrorCode.WP_NOT_FOUND, msg)
    at = yield from place(contract, slug, wp, top)
    blank = replies.Workspace(
        mission_slug=slug,
        mission_number=found.mission_number,
        mission_type=found.mission_type,
        wp_id=wp,
        workspace_path=at.path,
        prompt_path=f"{top}/{named.partition(NUL)[0]}",
    )
    return workspace(blank, at)


def _finished_dependencies(call: StartImplementation) -> Steps[tuple[str, ...]]:
    """Return what a work package depends on; older hosts start it whatever state that is in."""
    found = yield from state(call.mission)
    lanes = found.lanes()
    wanted = next((p.dependencies for p in found.work_packages if p.wp_id == call.wp), ())
    waiting = [name for name in wanted if lanes.get(name) not in (Lane.DONE, None)]
    if waiting and lanes[call.wp] == Lane.PLANNED:
        msg = f"{call.wp} depends on {', '.join(waiting)}, not done yet"
        code = ErrorCode.DEPENDENCIES_NOT_SATISFIED
        raise refusal(call, code, msg, unsatisfied_dependencies=waiting)
    return wanted
