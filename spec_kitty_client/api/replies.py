"""The replies of a host, one frozen class per verb.

Source of every field: every host from 1.0.0 to 3.2.7. Names are those of the newest contract. A
field that only some hosts send has a default. Fields that this SDK does not know are kept in
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
    """The base class of all replies."""

    extra: Mapping[str, Any] = field(factory=dict, repr=False)
    """Fields of the reply that this SDK does not know."""


@frozen(kw_only=True)
class HostContract(Reply):
    """Answer to ``contract-version``."""

    api_version: str
    min_supported_provider_version: str


@frozen(kw_only=True)
class MissionReply(Reply):
    """The base class of replies about a mission."""

    mission_slug: str
    mission_number: MissionNumber = None
    """Sent by hosts from 3.1.1 on."""
    mission_type: str = ""
    """Sent by hosts from 3.1.1 on; empty under the ``coord`` topology."""


@frozen(kw_only=True)
class WorkPackage(Reply):
    """One work package in the reply to ``mission-state``."""

    wp_id: str
    lane: AnyLane
    dependencies: tuple[str, ...] = ()
    """Ids of the work packages that must be done first."""
    last_actor: str | None = None
    """The actor of the last move; sent by hosts up to 1.0.3."""


@frozen(kw_only=True)
class Mission(MissionReply):
    """Reply to ``mission-state``: every work package and its lane."""

    summary: Mapping[str, int]
    """Number of work packages by lane."""
    work_packages: tuple[WorkPackage, ...] = field(repr=_counted)

    @property
    def problem(self) -> str | None:
        """The reason why this reply cannot be trusted, as the rest of a sentence, or None.

        If the mission's branch is not checked out, hosts from 3.1.0 on report no work packages.
        If the event log is missing, hosts from 3.1.1 on report all work packages as planned, but
        count none in the summary.
        """
        if not self.work_packages:
            return (
                "has no work packages here: its branch is not checked out, or its tasks are not "
                "finalised"
            )
        if Lane.IN_REVIEW in self.summary and not any(self.summary.values()):
            return (
                "has work packages but no events about them: status.events.jsonl or the "
                "coordination worktree is missing. Restore it from git. If its tasks were never "
                "finalised, run `spec-kitty agent mission finalize-tasks --mission "
                f"{self.mission_slug}`"
            )
        return None

    def lanes(self) -> dict[str, AnyLane]:
        """Return the lane of each work package by its id."""
        return {wp.wp_id: wp.lane for wp in self.work_packages}


@frozen(kw_only=True)
class ReadyWorkPackage(Reply):
    """One work package that can be started now."""

    wp_id: str
    lane: AnyLane
    dependencies_satisfied: bool
    recommended_base: str | None = None
    """Id of the work package to branch from; sent by hosts up to 3.0.3."""


@frozen(kw_only=True)
class ReadyList(MissionReply):
    """Reply to ``list-ready``: planned work packages without open dependencies.

    A dependency must be done; from 3.2.0 on approved is enough.
    """

    ready_work_packages: tuple[ReadyWorkPackage, ...] = field(repr=_counted)


@frozen(kw_only=True)
class Workspace(MissionReply):
    """Reply to ``resolve-workspace``: the worktree and branch of a work package."""

    wp_id: str
    workspace_path: str
    """Absolute path of the worktree, which may not exist yet. On hosts 3.1.0 to 3.2.1 the host's
    own merge does not use this path; the workflow verbs ``claim`` and ``locate`` return the
    right one."""
    prompt_path: str
    """Absolute path of the work package's file."""
    lane_id: str | None = None
    """The execution lane, such as ``lane-a``; sent by hosts from 3.2.2 on."""
    lane_branch: str | None = None
    """The branch of the execution lane."""
    lane_base_ref: str | None = None
    """The branch with which its changes are compared."""


@frozen(kw_only=True)
class ImplementationStarted(Workspace):
    """Reply to ``start-implementation``. From 3.2.2 on the worktree exists now."""

    from_lane: AnyLane
    to_lane: AnyLane
    policy_metadata_recorded: bool
    no_op: bool
    """True if this actor had claimed it already."""


@frozen(kw_only=True)
class ReviewStarted(MissionReply):
    """Reply to ``start-review``."""

    wp_id: str
    from_lane: AnyLane
    to_lane: AnyLane
    prompt_path: str
    policy_metadata_recorded: bool
    no_op: bool = False
    """True if it was in review already, from 3.2.6 on also by another actor. Sent by hosts from
    3.2.0 on."""


@frozen(kw_only=True)
class Transitioned(MissionReply):
    """Reply to ``transition``."""

    wp_id: str
    from_lane: AnyLane
    to_lane: AnyLane
    policy_metadata_recorded: bool


@frozen(kw_only=True)
class HistoryAppended(MissionReply):
    """Reply to ``append-history``."""

    wp_id: str
    history_entry_id: str


@frozen(kw_only=True)
class MissionAccepted(MissionReply):
    """Reply to ``accept-mission``. The host has changed ``meta.json``, but not committed it."""

    accepted: bool
    mode: str
    accepted_at: str
    """Date and time in ISO 8601."""
    accepted_wps: tuple[str, ...] = ()
    """Work package ids; this and the next three fields are sent by hosts from 3.2.0 on."""
    approved_wps: tuple[str, ...] = ()
    done_wps: tuple[str, ...] = ()
    merge_pending_wps: tuple[str, ...] = ()
    origin_warnings: tuple[str, ...] = ()
    """Branches that the host could not compare with the remote. Told from 4.0.0rc6 on, with
    ``origin_check="warn"`` or ``"off"``; a refusal has `Failure.origin_freshness` instead."""


@frozen(kw_only=True)
class MissionMerged(MissionReply):
    """Reply to ``merge-mission``."""

    merged: bool
    target_branch: str
    strategy: str
    merged_wps: tuple[str, ...] = ()
    """Work package ids; sent by hosts up to 3.0.3."""
    worktree_removed: bool = False
    """Always false, even if the host has removed worktrees."""
    origin_warnings: tuple[str, ...] = ()
    """Branches that the host could not compare with the remote. Told from 4.0.0rc6 on, with
    ``origin_check="warn"`` or ``"off"``; a refusal has `Failure.origin_freshness` instead."""
