"""The checks before a merge: refuse what a host would lose or do half-way."""

from attrs import frozen

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.api import replies
from spec_kitty_client.api.commands import MergeMission, MergeStrategy
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.errors import UnsupportedByHost, WouldLoseWork
from spec_kitty_client.values import Value
from spec_kitty_client.workflow.git import branches, dirty, git, removed
from spec_kitty_client.workflow.integration import Integration, conflicts
from spec_kitty_client.workflow.layout import MissionLayout
from spec_kitty_client.workflow.proof import left_out
from spec_kitty_client.workflow.worktrees import branches_of, folder_of

__all__ = ["HOST_STATE", "KEEP_BRANCHES", "MergeContext", "Merged", "check"]

KEEP_BRANCHES = (Dialect.F1, Dialect.F2)
"""The dialects whose merge keeps the branches of work packages."""
HOST_STATE = (".kittify/sync-state.json",)
"""Files that only the host writes, during any call (3.2.7), tracked or not."""


@frozen(kw_only=True)
class Merged(Value):
    """The result of a merge."""

    target: str
    """The branch merged into."""
    before: str
    """Its commit before the merge."""
    after: str
    """Its commit after the merge."""
    changed: bool
    """False if the mission was merged already."""


@frozen(kw_only=True)
class MergeContext:
    """Everything a merge knows before it starts: the host, the mission, the branches."""

    contract: Contract
    top: str
    mission: replies.Mission
    layout: MissionLayout
    target: str
    before: str

    @property
    def slug(self) -> str:
        """The mission's slug."""
        return self.mission.mission_slug

    @property
    def folder(self) -> str:
        """The mission's folder, relative to the root of the repository."""
        return folder_of(self.slug)

    @property
    def integration(self) -> Integration:
        """The branches that take part in the merge."""
        return Integration(
            top=self.top,
            slug=self.slug,
            target=self.target,
            coordination=self.layout.coordination_branch,
        )

    def branches(self) -> Steps[dict[str, str | None]]:
        """Return the branches with the mission's work, each with its worktree or None."""
        wps = tuple(wp.wp_id for wp in self.mission.work_packages)
        return (yield from branches_of(self.contract, self.slug, wps, self.top))

    def lanes(self) -> Steps[dict[str, str | None]]:
        """Return the branches that a merge removes: all but the mission's own."""
        found = yield from self.branches()
        return {name: path for name, path in found.items() if name != self.integration.mission}

    def merged(self, after: str, *, changed: bool) -> Merged:
        """Return the result of the merge."""
        return Merged(target=self.target, before=self.before, after=after, changed=changed)


def check(context: MergeContext, call: MergeMission, commits: tuple[str, ...]) -> Steps[None]:
    """Refuse a merge that would lose work or fail half-way.

    Args:
        context: The mission before its merge.
        call: The host call.
        commits: The commits handed in for review.

    Raises:
        UnsupportedByHost: If this host cannot merge with that strategy.
        WouldLoseWork: If the merge would lose something.
    """
    _refuse_strategy(call, context.contract)
    yield from _forget_removed(context)
    yield from _refuse_dirty((yield from context.branches()))
    yield from _refuse_dirty_target(context)
    yield from _refuse_left_out(context, commits)
    yield from _refuse_taking_back(context, call)


def _refuse_strategy(call: MergeMission, contract: Contract) -> None:
    """Refuse a strategy that would fail half-way on this host."""
    if contract.dialect is Dialect.F1 and call.strategy == MergeStrategy.SQUASH:
        what = "squash that commits what it has merged; use merge, or a host that has"
        raise UnsupportedByHost(what, since="2.1.0", release=str(contract.release))
    if contract.dialect in KEEP_BRANCHES and call.strategy == MergeStrategy.REBASE:
        what = "rebase of branches that are checked out in worktrees; use merge, or a host that has"
        raise UnsupportedByHost(what, since="3.2.0", release=str(contract.release))


def _forget_removed(context: MergeContext) -> Steps[None]:
    """Deregister worktrees whose folders were deleted, so that git can delete their branches."""
    own = f"{context.top}/.worktrees/{context.slug}-"
    for path in (yield from removed(context.top)):
        if path.startswith(own):
            yield from git("worktree", "remove", path, folder=context.top)


def _refuse_dirty(lanes: dict[str, str | None]) -> Steps[None]:
    found: list[str] = []
    for path in lanes.values():
        if path is not None:
            found += [f"{path}/{name}" for name in (yield from dirty(path))]
    if found:
        msg = (
            f"a merge would delete uncommitted changes: {', '.join(found[:10])}. Commit or remove "
            "them."
        )
        raise WouldLoseWork(msg, tuple(found))


def _refuse_dirty_target(context: MergeContext) -> Steps[None]:
    """Refuse a target with uncommitted changes, before the host has merged half of it."""
    if not context.contract.supports(Feature.CLEAN_TARGET):
        return
    path = (yield from branches(context.top, context.target)).get(context.target)
    found = (yield from dirty(path, untracked=False)) if path else ()
    own = (f"{context.folder}/", *HOST_STATE)
    if others := [name for name in found if not name.startswith(own)]:
        msg = (
            f"{path}, where {context.target} is checked out, has uncommitted changes: "
            f"{', '.join(others[:10])}. This host does not merge then. Commit or stash them."
        )
        raise WouldLoseWork(msg, tuple(f"{path}/{name}" for name in others))


def _refuse_left_out(context: MergeContext, commits: tuple[str, ...]) -> Steps[None]:
    if not (yield from context.lanes()):
        return  # the host names the branches that it misses
    heads = (*(yield from context.branches()), context.before)
    missing = yield from left_out(commits, heads, context.top)
    if missing:
        msg = (
            f"the commit {missing[:12]} was handed in, but is on no branch that would be merged "
            f"into {context.target}. Run `git branch --all --contains {missing[:12]}` to find its "
            "branch, and merge that into the lane's branch."
        )
        raise WouldLoseWork(msg, (missing,))


def _refuse_taking_back(context: MergeContext, call: MergeMission) -> Steps[None]:
    """Refuse a squash that would revert newer changes on the target (3.2.0 and later)."""
    if call.strategy != MergeStrategy.SQUASH or not context.contract.supports(Feature.CLEAN_TARGET):
        return
    for lane in (yield from context.lanes()):
        files = yield from conflicts(context.before, lane, context.top, apart=f"{context.folder}/")
        if files:
            msg = (
                f"{context.target} has changes newer than {lane} in "
                f"{', '.join(sorted(files)[:10])}, and a squash by this host would revert them. "
                "Merge the target into the lane's worktree first, or use the strategy merge."
            )
            raise WouldLoseWork(msg, tuple(sorted(files)))
