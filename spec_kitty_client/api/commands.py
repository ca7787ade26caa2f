"""The commands about a mission's work, one frozen class per verb of the contract.

A command is a value: ``client.call(StartImplementation(mission="034-pay", wp="WP01"))``. If
``actor`` or ``policy`` is None, the client fills in its own. Names are those of the newest
contract: `MissionState` also stands for ``feature-state`` of hosts up to 3.0.3.

Source of every option: every host from 1.0.0 to 3.2.7. The verbs that make a mission are in
`spec_kitty_client.api.design`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from attrs import Attribute, field, fields, frozen

from spec_kitty_client.api import replies
from spec_kitty_client.api.options import (
    ACTOR,
    MISSION,
    POLICY,
    REVIEW_REF,
    WP,
    name_only,
    one_of,
    spell_option,
)
from spec_kitty_client.api.reviews import Evidence, ReviewResult
from spec_kitty_client.contract import Requiring
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.contract.lanes import POLICY_LANES, AnyLane, Lane, lanes_of, parse_lane
from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.policy import Policy

__all__ = [
    "AcceptMission",
    "AppendHistory",
    "Command",
    "ContractVersion",
    "ListReady",
    "MergeMission",
    "MergeStrategy",
    "MissionState",
    "OriginCheck",
    "ResolveWorkspace",
    "StartImplementation",
    "StartReview",
    "Transition",
]

R_co = TypeVar("R_co", bound=replies.Reply, covariant=True)

_ORIGIN_CHECK = {"option": "--origin-check", "since": "4.0.0rc6"}
_READ_LIMIT, _MERGE_LIMIT = 120.0, 900.0  # seconds; slow hosts need up to 60 and 300


class MergeStrategy(StrEnum):
    """How the host merges the work packages into the target branch."""

    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"


class OriginCheck(StrEnum):
    """Whether the host compares the mission's branches with origin (4.0.0rc6 and later)."""

    ENFORCE = "enforce"
    """Refuse if a branch at origin is newer."""
    WARN = "warn"
    """Go on, with a warning in the reply."""
    OFF = "off"
    """Do not compare."""


def _lane(_: object, attribute: "Attribute[AnyLane]", value: AnyLane) -> None:
    if not isinstance(value, Lane):
        lanes = ", ".join(Lane)
        msg = f"{attribute.name}={value!r} is not a lane. Use one of: {lanes}"
        raise InvalidCall(msg)


def _origin_check(value: OriginCheck | str | None) -> OriginCheck | None:
    return None if value is None else one_of(OriginCheck, value)


def _strategy(value: MergeStrategy | str) -> MergeStrategy:
    return one_of(MergeStrategy, value)


@frozen(kw_only=True)
class Command(Requiring, Generic[R_co]):
    """A call of a host, independent of the host's release.

    Class attributes:
        verb: Its name on the command line of most hosts.
        reply_type: The class of the reply.
        mutates: Whether it may change anything.
        since: The first host release that has it.
        time_limit: Seconds after which the host is stopped, if the client has no limit.
    """

    verb: ClassVar[str]
    reply_type: ClassVar[type[replies.Reply]]
    mutates: ClassVar[bool] = False
    since: ClassVar[str] = "1.0.0"
    time_limit: ClassVar[float] = _READ_LIMIT

    @property
    def needs_policy(self) -> bool:
        """Whether the host refuses this call without a policy."""
        return False

    def spelled(self) -> tuple[str, ...]:
        """Return the options, each as one ``--name=value``, so that no value is read as a flag.

        Raises:
            InvalidCall: If a value cannot be passed on a command line.
        """
        return tuple(o for a, value in self._given() for o in spell_option(a, value))

    def requirements(self) -> Iterator[tuple[str, str]]:
        """Yield the verb and each newer option in use, with the first host release that has it."""
        yield self.verb, self.since
        for a, _ in self._given():
            if "since" in a.metadata:
                yield f"{a.metadata['option']} of {self.verb}", a.metadata["since"]

    def _given(self) -> tuple[tuple["Attribute[Any]", object], ...]:
        named = [(a, getattr(self, a.name)) for a in fields(type(self)) if "option" in a.metadata]
        return tuple((a, value) for a, value in named if value is not None and value is not False)


@frozen(kw_only=True)
class ContractVersion(Command[replies.HostContract]):
    """Read the host's contract version."""

    verb: ClassVar[str] = "contract-version"
    reply_type: ClassVar[type[replies.Reply]] = replies.HostContract

    provider_version: str | None = field(default=None, metadata={"option": "--provider-version"})
    """Version of the calling program; the host refuses one that it no longer supports."""
    require_capability: str | None = field(
        default=None, metadata={"option": "--require-capability", "since": "4.0.0rc6"}
    )
    """Name of a verb; the host refuses the call if it has no such verb."""


@frozen(kw_only=True)
class MissionState(Command[replies.Mission]):
    """Read the lane of every work package of a mission."""

    verb: ClassVar[str] = "mission-state"
    reply_type: ClassVar[type[replies.Reply]] = replies.Mission

    mission: str = field(metadata=MISSION, validator=name_only)


@frozen(kw_only=True)
class ListReady(Command[replies.ReadyList]):
    """Read the work packages that can be started now."""

    verb: ClassVar[str] = "list-ready"
    reply_type: ClassVar[type[replies.Reply]] = replies.ReadyList

    mission: str = field(metadata=MISSION, validator=name_only)


@frozen(kw_only=True)
class ResolveWorkspace(Command[replies.Workspace]):
    """Read the worktree path and branch of a work package, without starting it."""

    verb: ClassVar[str] = "resolve-workspace"
    reply_type: ClassVar[type[replies.Reply]] = replies.Workspace
    since: ClassVar[str] = "3.2.4"

    mission: str = field(metadata=MISSION, validator=name_only)
    wp: str = field(metadata=WP, validator=name_only)


@frozen(kw_only=True)
class StartImplementation(Command[replies.ImplementationStarted]):
    """Claim a work package. Idempotent for the same actor. Makes the worktree from 3.2.2 on."""

    verb: ClassVar[str] = "start-implementation"
    reply_type: ClassVar[type[replies.Reply]] = replies.ImplementationStarted
    mutates: ClassVar[bool] = True

    mission: str = field(metadata=MISSION, validator=name_only)
    wp: str = field(metadata=WP, validator=name_only)
    actor: str | None = field(default=None, metadata=ACTOR)
    policy: Policy | None = field(default=None, metadata=POLICY)

    @property
    def needs_policy(self) -> bool:
        """Always."""
        return True


@frozen(kw_only=True)
class StartReview(Command[replies.ReviewStarted]):
    """Begin a review (3.1.1 and later), or request changes (up to 3.1.0).

    From 3.1.1 on it moves a work package from ``for_review`` to ``in_review``; from 3.2.0 on it
    is idempotent. Up to 3.1.0 it moves a work package from ``for_review`` back to
    ``in_progress``, and needs a ``review_ref``. The workflow verbs send the right call for each
    host.
    """

    verb: ClassVar[str] = "start-review"
    reply_type: ClassVar[type[replies.Reply]] = replies.ReviewStarted
    mutates: ClassVar[bool] = True

    mission: str = field(metadata=MISSION, validator=name_only)
    wp: str = field(metadata=WP, validator=name_only)
    actor: str | None = field(default=None, metadata=ACTOR)
    policy: Policy | None = field(default=None, metadata=POLICY)
    review_ref: str | None = field(default=None, metadata=REVIEW_REF)

    @property
    def needs_policy(self) -> bool:
        """Always."""
        return True


@frozen(kw_only=True)
class Transition(Command[replies.Transitioned]):
    """Move a work package to another lane. Not idempotent: read the state before a repetition."""

    verb: ClassVar[str] = "transition"
    reply_type: ClassVar[type[replies.Reply]] = replies.Transitioned
    mutates: ClassVar[bool] = True

    mission: str = field(metadata=MISSION, validator=name_only)
    wp: str = field(metadata=WP, validator=name_only)
    to: AnyLane = field(metadata={"option": "--to"}, converter=parse_lane, validator=_lane)
    actor: str | None = field(default=None, metadata=ACTOR)
    policy: Policy | None = field(default=None, metadata=POLICY)
    note: str | None = field(default=None, metadata={"option": "--note"})
    review_ref: str | None = field(default=None, metadata=REVIEW_REF)
    review_result: ReviewResult | None = field(
        default=None, metadata={"option": "--review-result-json", "since": "3.2.6"}
    )
    """Required for every move out of ``in_review`` (host 3.2.6 and later)."""
    evidence: Evidence | None = field(
        default=None, metadata={"option": "--evidence-json", "since": "3.1.0"}
    )
    """Required for ``approved`` and ``done`` if there is no ``review_result``."""
    subtasks_complete: bool = field(
        default=False, metadata={"option": "--subtasks-complete", "since": "3.1.0"}
    )
    """For ``for_review``: skip the check of open subtasks in ``tasks.md`` (host 3.1.0 to 3.2.5).
    Later hosts ignore it and read the front matter and the event log."""
    implementation_evidence_present: bool = field(
        default=False, metadata={"option": "--implementation-evidence-present", "since": "3.1.0"}
    )
    """For ``for_review``: there is an implementation. Not needed if the work package has any
    earlier event."""
    force: bool = field(default=False, metadata={"option": "--force"})
    """Switch off the rules of the board. Needs a note from 2.1.0 on."""

    @property
    def needs_policy(self) -> bool:
        """Whether the target lane needs a policy."""
        return self.to in POLICY_LANES

    def requirements(self) -> Iterator[tuple[str, str]]:
        """Yield the requirements of every command, and the target lane."""
        yield from super().requirements()
        first = next(d for d in Dialect if self.to in lanes_of(d))
        yield f"lane {self.to}", str(first.first_release)


@frozen(kw_only=True)
class AppendHistory(Command[replies.HistoryAppended]):
    """Add a note to a work package's history. Not idempotent: a repetition adds a second note."""

    verb: ClassVar[str] = "append-history"
    reply_type: ClassVar[type[replies.Reply]] = replies.HistoryAppended
    mutates: ClassVar[bool] = True

    mission: str = field(metadata=MISSION, validator=name_only)
    wp: str = field(metadata=WP, validator=name_only)
    note: str = field(metadata={"option": "--note"})
    actor: str | None = field(default=None, metadata=ACTOR)


@frozen(kw_only=True)
class AcceptMission(Command[replies.MissionAccepted]):
    """Accept a mission, if all work packages are done, or from 3.2.0 on at least approved."""

    verb: ClassVar[str] = "accept-mission"
    reply_type: ClassVar[type[replies.Reply]] = replies.MissionAccepted
    mutates: ClassVar[bool] = True

    mission: str = field(metadata=MISSION, validator=name_only)
    actor: str | None = field(default=None, metadata=ACTOR)
    origin_check: OriginCheck | None = field(
        default=None, metadata=_ORIGIN_CHECK, converter=_origin_check
    )
    """None: enforce, which needs the network if there is a remote ``origin``."""


@frozen(kw_only=True)
class MergeMission(Command[replies.MissionMerged]):
    """Merge a mission into its target branch (4.0.0rc5 calls this verb consolidate-mission).

    Hosts from 3.1.0 on then remove the lanes, and delete uncommitted files in their worktrees
    and in the mission's folder of the target checkout (3.2.7). The workflow verb
    ``client.mission(...).merge()`` checks for these first.
    """

    verb: ClassVar[str] = "merge-mission"
    reply_type: ClassVar[type[replies.Reply]] = replies.MissionMerged
    mutates: ClassVar[bool] = True
    time_limit: ClassVar[float] = _MERGE_LIMIT

    mission: str = field(metadata=MISSION, validator=name_only)
    target: str | None = field(default=None, metadata={"option": "--target"})
    """Branch to merge into; None: the mission's own target."""
    strategy: MergeStrategy = field(
        default=MergeStrategy.MERGE,
        metadata={"option": "--strategy"},
        converter=_strategy,
    )
    push: bool = field(default=False, metadata={"option": "--push"})
    origin_check: OriginCheck | None = field(
        default=None, metadata=_ORIGIN_CHECK, converter=_origin_check
    )
    """None: enforce, which needs the network if there is a remote ``origin``."""
