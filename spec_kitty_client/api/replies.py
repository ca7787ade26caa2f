"""What the host answers, one frozen class per success payload.

Source of every field: every host from 1.0.0 to 3.2.7. Names are those of the newest contract;
what only some hosts tell has a default. Fields that this SDK does not know are kept in
`Reply.extra`.
"""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from spec_kitty_client.contract.lanes import AnyLane, Lane
from spec_kitty_client.values import Value

__all__ = [
    "HistoryAppended",
    "HostContract",
    "ImplementationStarted",
    "Mission",
    "MissionAccepted",
    "MissionMerged",
    "ReadyList",
    "ReadyWorkPackage",
    "Reply",
    "ReviewStarted",
    "Transitioned",
    "WorkPackage",
    "Workspace",
]

MissionNumber = int | str | None


def _counted(values: tuple[object, ...]) -> str:
    """Return a short repr: a mission may have hundreds of work packages."""
    return f"<{len(values)}>"


@frozen(kw_only=True)
class Reply(Value):
    """What all payloads have in common."""

    extra: Mapping[str, Any] = field(factory=dict, repr=False)
    """Fields of the payload that this SDK does not know."""


@frozen(kw_only=True)
class HostContract(Reply):
    """Answer to ``contract-version``."""

    api_version: str
    min_supported_provider_version: str


@frozen(kw_only=True)
class MissionReply(Reply):
    """What all payloads about a mission have in common."""

    mission_slug: str
    mission_number: MissionNumber = None
    """Told from 3.1.1 on."""
    mission_type: str = ""
    """Told from 3.1.1 on; empty under the ``coord`` topology."""


@frozen(kw_only=True)
class WorkPackage(Reply):
    """One work package as ``mission-state`` reports it."""

    wp_id: str
    lane: AnyLane
    dependencies: tuple[str, ...] = ()
    last_actor: str | None = None
    """Told up to 1.0.3."""


@frozen(kw_only=True)
class Mission(MissionReply):
    """Answer to ``mission-state``: where every work package stands."""

    summary: Mapping[str, int]
    """Number of work packages by lane."""
    work_packages: tuple[WorkPackage, ...] = field(repr=_counted)

    @property
    def doubt(self) -> str | None:
        """Why this success cannot be believed, as the rest of a sentence; None: it can.

        From 3.1.0 on a mission of which only the folder is checked out has no work packages,
        and from 3.1.1 on one whose event log is missing has them all planned: counted none.
        """
        if not self.work_packages:
            return (
                "has no work packages here: its branch is not checked out, or its tasks are not "
                "finalised"
            )
        if Lane.IN_REVIEW in self.summary and not any(self.summary.values()):
            return (
                "has work packages and no events about them: status.events.jsonl, or the "
                "coordination worktree, is missing. Restore it from git, or run `spec-kitty agent "
                f"mission finalize-tasks --mission {self.mission_slug}` if that was never done"
            )
        return None

    def lanes(self) -> dict[str, AnyLane]:
        """Return the lane of each work package by its id."""
        return {wp.wp_id: wp.lane for wp in self.work_packages}


@frozen(kw_only=True)
class ReadyWorkPackage(Reply):
    """One work package that may be started now."""

    wp_id: str
    lane: AnyLane
    dependencies_satisfied: bool
    recommended_base: str | None = None
    """The work package to branch from; told up to 3.0.3."""


@frozen(kw_only=True)
class ReadyList(MissionReply):
    """Answer to ``list-ready``: planned, and every dependency done (from 3.2.0: or approved)."""

    ready_work_packages: tuple[ReadyWorkPackage, ...] = field(repr=_counted)


@frozen(kw_only=True)
class Workspace(MissionReply):
    """Answer to ``resolve-workspace``: where a work package is worked on."""

    wp_id: str
    workspace_path: str
    """Absolute path of the worktree, which need not exist yet. Up to 3.2.1 a proposal that
    merge does not look at from 3.1.0 on; the workflow verb ``claim`` tells the right one."""
    prompt_path: str
    """Absolute path of the work package's file."""
    lane_id: str | None = None
    """Told from 3.2.2 on."""
    lane_branch: str | None = None
    lane_base_ref: str | None = None


@frozen(kw_only=True)
class ImplementationStarted(Workspace):
    """Answer to ``start-implementation``: claimed. Its worktree is there from 3.2.2 on."""

    from_lane: AnyLane
    to_lane: AnyLane
    policy_metadata_recorded: bool
    no_op: bool
    """True when this actor had it already."""


@frozen(kw_only=True)
class ReviewStarted(MissionReply):
    """Answer to ``start-review``."""

    wp_id: str
    from_lane: AnyLane
    to_lane: AnyLane
    prompt_path: str
    policy_metadata_recorded: bool
    no_op: bool = False
    """True when it was in review already (told from 3.2.0 on); from 3.2.6 on also by
    somebody else."""


@frozen(kw_only=True)
class Transitioned(MissionReply):
    """Answer to ``transition``."""

    wp_id: str
    from_lane: AnyLane
    to_lane: AnyLane
    policy_metadata_recorded: bool


@frozen(kw_only=True)
class HistoryAppended(MissionReply):
    """Answer to ``append-history``."""

    wp_id: str
    history_entry_id: str


@frozen(kw_only=True)
class MissionAccepted(MissionReply):
    """Answer to ``accept-mission``. The host writes ``meta.json`` and does not commit it."""

    accepted: bool
    mode: str
    accepted_at: str
    """ISO 8601."""
    accepted_wps: tuple[str, ...] = ()
    """This and the next three are told from 3.2.0 on."""
    approved_wps: tuple[str, ...] = ()
    done_wps: tuple[str, ...] = ()
    merge_pending_wps: tuple[str, ...] = ()
    origin_warnings: tuple[str, ...] = ()
    """What the host could not compare with the remote, in words. Told from 4.0.0rc6 on, with
    ``origin_check="warn"`` or ``"off"``; a refusal has `Failure.origin_freshness` instead."""


@frozen(kw_only=True)
class MissionMerged(MissionReply):
    """Answer to ``merge-mission``."""

    merged: bool
    target_branch: str
    strategy: str
    merged_wps: tuple[str, ...] = ()
    """Told up to 3.0.3."""
    worktree_removed: bool = False
    """Always false, also when the host did remove worktrees."""
    origin_warnings: tuple[str, ...] = ()
    """What the host could not compare with the remote, in words. Told from 4.0.0rc6 on, with
    ``origin_check="warn"`` or ``"off"``; a refusal has `Failure.origin_freshness` instead."""
