"""The context of a merge: the host, the mission and the branches before it starts."""

from attrs import frozen

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.api import replies
from spec_kitty_client.codes import AnyErrorCode
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.values import Value
from spec_kitty_client.workflow.git import branches, changed, commit_of, fork_point, ref_of
from spec_kitty_client.workflow.integration import Integration
from spec_kitty_client.workflow.layout import MissionLayout
from spec_kitty_client.workflow.worktrees import branches_of, folder_of

__all__ = ["HOST_STATE", "KEEP_BRANCHES", "MergeContext", "Merged", "Work"]

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
    teardown_error_code: AnyErrorCode | None = None
    """The reason why the host did not clean up after the merge (4.0.0rc6 and later)."""


@frozen(kw_only=True)
class Work:
    """The head of a branch, and the files it has changed since it left the target."""

    head: str
    base: str
    """The commit at which it left the target."""
    files: set[str]


@frozen(kw_only=True)
class MergeContext:
    """The host, the mission and the branches of a merge that is about to start."""

    contract: Contract
    top: str
    """The primary checkout."""
    mission: replies.Mission
    layout: MissionLayout
    target: str
    before: str
    """The commit of the target."""

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

    def branch_of(self, wp: str) -> str | None:
        """Return the branch in which a merge looks for a work package; None if there is none."""
        if self.contract.dialect in KEEP_BRANCHES:
            return f"{self.slug}-{wp}"
        package = self.layout.packages.get(wp)
        lane = package.lane if package and not package.planning else None
        return f"{self.integration.mission}-{lane}" if lane else None

    def checkout(self) -> Steps[str | None]:
        """Return the worktree whose files a merge changes; None if no files change.

        Up to 3.0.3 hosts check the target out in the primary checkout.
        """
        if self.contract.dialect in KEEP_BRANCHES:
            return self.top
        return (yield from branches(self.top, self.target)).get(self.target)

    def work(self) -> Steps[dict[str, Work]]:
        """Return the head and the changed files of each branch with the mission's work."""
        found: dict[str, Work] = {}
        for branch in (yield from self.branches()):
            ref = ref_of(branch)
            base = yield from fork_point(self.before, ref, self.top)
            head = yield from commit_of(ref, self.top)
            files = yield from changed(base, ref, self.top)
            found[branch] = Work(head=str(head), base=base, files=files)
        return found

    def merged(self, after: str, *, changed: bool) -> Merged:
        """Return the result of the merge."""
        return Merged(target=self.target, before=self.before, after=after, changed=changed)
