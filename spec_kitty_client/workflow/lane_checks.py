"""The checks of lanes before a merge, against lost, missing and unapproved work."""

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.api.commands import MergeMission, MergeStrategy
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import WouldLoseWork
from spec_kitty_client.workflow.git import commit_of, dirty, git, is_ancestor, ref_of, removed
from spec_kitty_client.workflow.integration import conflicts
from spec_kitty_client.workflow.merge_context import MergeContext, Work
from spec_kitty_client.workflow.nested import how_to_keep, nested_repositories
from spec_kitty_client.workflow.proof import left_out, taken_back

__all__ = ["check_lanes"]

_MOST = 10  # names in a message


def check_lanes(context: MergeContext, call: MergeMission, commits: tuple[str, ...]) -> Steps[None]:
    """Refuse a merge that would lose, leave out or revert work.

    Args:
        context: The mission before its merge.
        call: The host call.
        commits: The commits submitted for review.

    Raises:
        WouldLoseWork: If it would.
    """
    yield from _forget_removed(context)
    work = yield from context.work()
    where = yield from context.branches()
    yield from _refuse_nested(work, where)
    yield from _refuse_dirty(where)
    yield from _refuse_left_out(context, commits)
    yield from _refuse_taken_back(context, work)
    yield from _refuse_canceled(context, work)
    yield from _refuse_taking_back(context, call)


def _forget_removed(context: MergeContext) -> Steps[None]:
    """Deregister worktrees whose folders were deleted, so that git can delete their branches."""
    own = f"{context.top}/.worktrees/{context.slug}-"
    for path in (yield from removed(context.top)):
        if path.startswith(own):
            yield from git("worktree", "remove", "--end-of-options", path, folder=context.top)


def _refuse_nested(work: dict[str, Work], where: dict[str, str | None]) -> Steps[None]:
    for branch, path in where.items():
        if path is None:
            continue
        found = yield from nested_repositories(path, work[branch].base)
        if found:
            msg = (
                f"the worktree {path} has another repository inside, whose files would be gone "
                f"after the merge: {', '.join(found[:_MOST])}. {how_to_keep(path, found[0])}"
            )
            raise WouldLoseWork(msg, tuple(f"{path}/{name}" for name in found))


def _refuse_dirty(where: dict[str, str | None]) -> Steps[None]:
    found: list[str] = []
    for path in where.values():
        if path is not None:
            found += [f"{path}/{name}" for name in (yield from dirty(path))]
    if found:
        msg = (
            f"a merge would delete uncommitted changes: {', '.join(found[:_MOST])}. Commit or "
            "remove them."
        )
        raise WouldLoseWork(msg, tuple(found))


def _refuse_left_out(context: MergeContext, commits: tuple[str, ...]) -> Steps[None]:
    heads = (*map(ref_of, (yield from context.branches())), context.before)
    missing = yield from left_out(commits, heads, context.top)
    if not missing or not (yield from context.lanes()):
        return  # without lanes the host names the branches that it misses
    first = missing[0][:12]
    msg = (
        f"the commit {first} was submitted, but is on no branch that would be merged into "
        f"{context.target}. Run `git branch --all --contains {first}` to find its branch, and "
        "merge that into the lane's branch."
    )
    if (yield from commit_of(missing[0], context.top)) is None:
        msg = (
            f"the commit {first} was submitted, but is not in this repository. Fetch it from the "
            "repository where the work was done."
        )
    raise WouldLoseWork(msg, missing)


def _refuse_taken_back(context: MergeContext, work: dict[str, Work]) -> Steps[None]:
    """Refuse branches that were merged and then reverted: git does not merge them again."""
    for branch, lane in work.items():
        if not (yield from is_ancestor(lane.head, context.before, context.top)):
            continue
        files = yield from taken_back(context.before, lane.head, context.top)
        if files:
            raise WouldLoseWork(_reverted(context, branch, files), files)


def _reverted(context: MergeContext, branch: str, files: tuple[str, ...]) -> str:
    return (
        f"{branch} was merged into {context.target} and reverted there since, so that git does not "
        f"merge it again: {', '.join(files[:_MOST])}. Run `git log {context.target} -- {files[0]}` "
        "to find the commit that reverted it, and `git revert` that commit."
    )


def _refuse_canceled(context: MergeContext, work: dict[str, Work]) -> Steps[None]:
    """Refuse unapproved work: hosts merge the lanes of canceled work packages as well.

    Hosts with `Feature.MERGE_NEEDS_CHECKOUT` leave them out themselves.
    """
    if context.contract.supports(Feature.MERGE_NEEDS_CHECKOUT):
        return
    canceled, others = set[str](), set[str]()
    for wp in context.mission.work_packages:
        branch = context.branch_of(wp.wp_id)
        if branch in work:
            (canceled if wp.lane == Lane.CANCELED else others).add(str(branch))
    heads = (*(work[branch].head for branch in others), context.before)
    for branch in sorted(canceled - others):
        if (yield from left_out((work[branch].head,), heads, context.top)):
            raise WouldLoseWork(_unapproved(context, branch), (branch,))


def _unapproved(context: MergeContext, branch: str) -> str:
    path = f"{context.top}/.worktrees/{branch.removeprefix('kitty/mission-')}"
    return (
        f"{branch} has commits of a canceled work package, and this host would merge them into "
        f"{context.target}. Keep them under another name and take them out of it: `git branch "
        f"canceled/{branch.rpartition('/')[2]} {branch}` and `git -C {path} reset --hard "
        f"{context.target}`."
    )


def _refuse_taking_back(context: MergeContext, call: MergeMission) -> Steps[None]:
    """Refuse a squash that would revert newer changes on the target (3.2.0 and later)."""
    if call.strategy != MergeStrategy.SQUASH or not context.contract.supports(Feature.CLEAN_TARGET):
        return
    for lane in (yield from context.lanes()):
        apart = f"{context.folder}/"
        files = yield from conflicts(context.before, ref_of(lane), context.top, apart=apart)
        if files:
            msg = (
                f"{context.target} has changes newer than {lane} in "
                f"{', '.join(sorted(files)[:_MOST])}, and a squash by this host would revert them. "
                "Merge the target into the lane's worktree first, or use the strategy merge."
            )
            raise WouldLoseWork(msg, tuple(sorted(files)))
