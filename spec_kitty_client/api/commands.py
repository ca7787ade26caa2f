"""What can be asked of a host about a mission's work, one frozen class per verb.

A command is a value: ``client.call(StartImplementation(mission="034-pay", wp="WP01"))``.
Where ``actor`` or ``policy`` is left out, the client fills in its own. Names are those of the
newest contract: ``feature-state`` of hosts up to 3.0.3 is `MissionState` as well.

Source of every option: every host from 1.0.0 to 3.2.7. The verbs that make a mission are
in `spec_kitty_client.api.design`.
"""

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from attrs import Attribute, asdict, field, fields, frozen

from spec_kitty_client.api import replies
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
    "Evidence",
    "ListReady",
    "MergeMission",
    "MergeStrategy",
    "MissionState",
    "OriginCheck",
    "ResolveWorkspace",
    "ReviewResult",
    "ReviewVerdict",
    "StartImplementation",
    "StartReview",
    "Transition",
]

R_co = TypeVar("R_co", bound=replies.Reply, covariant=True)
E = TypeVar("E", bound=StrEnum)

_LONGEST_ARGUMENT = 128 * 1024 - 1  # bytes of one argument, Linux MAX_ARG_STRLEN
_READ_LIMIT, _MERGE_LIMIT = 120.0, 900.0  # seconds; below 60 and 300 slow hosts time out


class ReviewVerdict(StrEnum):
    """How a review ended."""

    APPROVED = "approved"
    CHANGES_REQUESTED = "changes_requested"


class MergeStrategy(StrEnum):
    """How the work packages come into the target branch."""

    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"


class OriginCheck(StrEnum):
    """What to do where the mission's branches at origin may be newer (4.0.0rc6 and later)."""

    ENFORCE = "enforce"
    WARN = "warn"
    OFF = "off"


@frozen(kw_only=True)
class ReviewResult:
    """How a review ended, as every way out of ``in_review`` needs it (host 3.2.6+)."""

    reviewer: str
    verdict: ReviewVerdict
    reference: str
    """Where the review can be read; the same text as ``review_ref``."""
    feedback_path: str | None = None

    def to_json(self) -> str:
        """Return the object for ``--review-result-json``."""
        return _dumps({k: v for k, v in asdict(self).items() if v is not None})


@frozen(kw_only=True)
class Evidence:
    """The proof that goes with ``approved`` and ``done``.

    Given beside a `ReviewResult`, reviewer, verdict and reference must be equal (M4).
    """

    reviewer: str
    verdict: ReviewVerdict
    reference: str
    repos: tuple[Mapping[str, Any], ...] = ()
    verification: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, review: ReviewResult) -> "Evidence":
        """Return the evidence that agrees with a review result."""
        return cls(reviewer=review.reviewer, verdict=review.verdict, reference=review.reference)

    def to_json(self) -> str:
        """Return the object for ``--evidence-json``."""
        review = {
            "reviewer": self.reviewer,
            "verdict": self.verdict,
            "reference": self.reference,
        }
        lists = {"repos": list(self.repos), "verification": list(self.verification)}
        return _dumps({"review": review, **lists})


def _dumps(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def name_only(_: object, attribute: "Attribute[str]", value: str) -> None:
    """Refuse what hosts answer with a traceback: nothing, and paths (3.2.7)."""
    if not value.strip() or "/" in value or "\\" in value or ".." in value:
        msg = f"{attribute.name}={value!r} is not a name; give a slug or an id"
        raise InvalidCall(msg)


def _lane(_: object, attribute: "Attribute[AnyLane]", value: AnyLane) -> None:
    if not isinstance(value, Lane):
        lanes = ", ".join(Lane)
        msg = f"{attribute.name}={value!r} is no lane of the contract; choose from {lanes}"
        raise InvalidCall(msg)


def one_of(kind: type[E], value: E | str) -> E:
    """Take a word of the contract, or tell what there is to choose from."""
    try:
        return kind(value)
    except ValueError:
        msg = f"{value!r} is no {kind.__name__}; choose from {', '.join(kind)}"
        raise InvalidCall(msg) from None


def _origin_check(value: OriginCheck | str | None) -> OriginCheck | None:
    return None if value is None else one_of(OriginCheck, value)


def _strategy(value: MergeStrategy | str) -> MergeStrategy:
    return one_of(MergeStrategy, value)


@frozen(kw_only=True)
class Command(Requiring, Generic[R_co]):
    """A call, before it is spelled for a host.

    Class attributes:
        verb: Its name on the command line.
        reply_type: What a success is parsed into.
        mutates: Whether it may change anything.
        since: The first release of the host that has it.
        time_limit: Seconds after which the host is ended, unless the client says otherwise.
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
        """Spell the options, each as one ``--name=value`` so that a value stays a value.

        Raises:
            InvalidCall: If an option cannot be passed on a command line.
        """
        return tuple(o for a, value in self._given() for o in spell_option(a, value))

    def requirements(self) -> Iterator[tuple[str, str]]:
        """Yield the verb and each option that came later, with the first release that has it."""
        yield self.verb, self.since
        for a, _ in self._given():
            if "since" in a.metadata:
                yield f"{a.metadata['option']} of {self.verb}", a.metadata["since"]

    def _given(self) -> tuple[tuple["Attribute[Any]", object], ...]:
        named = [(a, getattr(self, a.name)) for a in fields(type(self)) if "option" in a.metadata]
        return tuple((a, value) for a, value in named if value is not None and value is not False)


def spell_option(attribute: "Attribute[Any]", value: object) -> tuple[str, ...]:
    """Spell one option; an empty tuple where there is nothing to say."""
    name: str = attribute.metadata["option"]
    if value is True:
        return (name,)
    if isinstance(value, Policy | Evidence | ReviewResult):
        text = value.to_json()
    else:
        text = _dumps(value) if "json" in attribute.metadata else str(value)
    try:
        size = len(text.encode()) + len(name) + 1
    except UnicodeEncodeError as e:
        msg = f"{name}: {e.reason} in its text, which no command line can carry"
        raise InvalidCall(msg) from None
    if size > _LONGEST_ARGUMENT or "\0" in text:
        what = "a NUL character" if "\0" in text else f"{size} bytes, {_LONGEST_ARGUMENT} at most"
        msg = f"{name}: {what}: no command line can carry it; shorten the text"
        raise InvalidCall(msg)
    return (f"{name}={text}",)


MISSION = {"option": "--mission"}
WP = {"option": "--wp"}
ACTOR = {"option": "--actor"}
POLICY = {"option": "--policy"}
REVIEW_REF = {"option": "--review-ref"}
ORIGIN_CHECK = {"option": "--origin-check", "since": "4.0.0rc6"}


@frozen(kw_only=True)
class ContractVersion(Command[replies.HostContract]):
    """Ask which contract the host speaks."""

    verb: ClassVar[str] = "contract-version"
    reply_type: ClassVar[type[replies.Reply]] = replies.HostContract

    provider_version: str | None = field(default=None, metadata={"option": "--provider-version"})
    """If given, the host refuses providers older than it supports."""
    require_capability: str | None = field(
        default=None, metadata={"option": "--require-capability", "since": "4.0.0rc6"}
    )
    """If given, the host refuses unless it has this verb."""


@frozen(kw_only=True)
class MissionState(Command[replies.Mission]):
    """Ask where every work package of a mission stands."""

    verb: ClassVar[str] = "mission-state"
    reply_type: ClassVar[type[replies.Reply]] = replies.Mission

    mission: str = field(metadata=MISSION, validator=name_only)


@frozen(kw_only=True)
class ListReady(Command[replies.ReadyList]):
    """Ask which work packages may be started now."""

    verb: ClassVar[str] = "list-ready"
    reply_type: ClassVar[type[replies.Reply]] = replies.ReadyList

    mission: str = field(metadata=MISSION, validator=name_only)


@frozen(kw_only=True)
class ResolveWorkspace(Command[replies.Workspace]):
    """Ask where a work package is worked on, without starting it."""

    verb: ClassVar[str] = "resolve-workspace"
    reply_type: ClassVar[type[replies.Reply]] = replies.Workspace
    since: ClassVar[str] = "3.2.4"

    mission: str = field(metadata=MISSION, validator=name_only)
    wp: str = field(metadata=WP, validator=name_only)


@frozen(kw_only=True)
class StartImplementation(Command[replies.ImplementationStarted]):
    """Claim a work package. Can be repeated by the same actor. Makes its worktree from 3.2.2 on."""

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
    """Begin a review, or end one: the word changed its meaning.

    From 3.1.1 on it moves a work package from ``for_review`` to ``in_review``, and can be
    repeated from 3.2.0 on. Up to 3.1.0 it is the answer of a reviewer who wants changes:
    back to ``in_progress``, with a ``review_ref``. The workflow verbs know.
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
    """Move a work package to another lane. Not to be repeated without a look at the state."""

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
    """Needed for every way out of ``in_review``."""
    evidence: Evidence | None = field(
        default=None, metadata={"option": "--evidence-json", "since": "3.1.0"}
    )
    """Needed for ``approved`` and ``done`` where no ``review_result`` is given."""
    subtasks_complete: bool = field(
        default=False, metadata={"option": "--subtasks-complete", "since": "3.1.0"}
    )
    """Said with ``for_review``. Hosts 3.1.0 to 3.2.5 believe it where a subtask is open in
    ``tasks.md``; from 3.2.6 on they go by the front matter and the event log alone."""
    implementation_evidence_present: bool = field(
        default=False, metadata={"option": "--implementation-evidence-present", "since": "3.1.0"}
    )
    """Said with ``for_review``; hosts take any earlier event for it."""
    force: bool = field(default=False, metadata={"option": "--force"})
    """Skip the rules of the board. Needs a note from 2.1.0 on."""

    @property
    def needs_policy(self) -> bool:
        """Depends on the target lane."""
        return self.to in POLICY_LANES

    def requirements(self) -> Iterator[tuple[str, str]]:
        """Yield what every command needs, and the lane, which has to be in the dialect."""
        yield from super().requirements()
        first = next(d for d in Dialect if self.to in lanes_of(d))
        yield f"lane {self.to}", str(first.first_release)


@frozen(kw_only=True)
class AppendHistory(Command[replies.HistoryAppended]):
    """Add a note to a work package. A repetition adds a second one."""

    verb: ClassVar[str] = "append-history"
    reply_type: ClassVar[type[replies.Reply]] = replies.HistoryAppended
    mutates: ClassVar[bool] = True

    mission: str = field(metadata=MISSION, validator=name_only)
    wp: str = field(metadata=WP, validator=name_only)
    note: str = field(metadata={"option": "--note"})
    actor: str | None = field(default=None, metadata=ACTOR)


@frozen(kw_only=True)
class AcceptMission(Command[replies.MissionAccepted]):
    """Accept a mission all of whose work packages are done; from 3.2.0 on approved is enough."""

    verb: ClassVar[str] = "accept-mission"
    reply_type: ClassVar[type[replies.Reply]] = replies.MissionAccepted
    mutates: ClassVar[bool] = True

    mission: str = field(metadata=MISSION, validator=name_only)
    actor: str | None = field(default=None, metadata=ACTOR)
    origin_check: OriginCheck | None = field(
        default=None, metadata=ORIGIN_CHECK, converter=_origin_check
    )
    """None: enforce, which takes the network where there is an origin."""


@frozen(kw_only=True)
class MergeMission(Command[replies.MissionMerged]):
    """Merge the work of a mission into its target branch; 4.0.0 calls it consolidate-mission.

    Hosts from 3.1.0 on then remove the lanes, and throw away what is uncommitted in their
    worktrees and in the mission's folder of the target checkout (3.2.7): look first, or let
    the workflow verb ``merge`` do so.
    """

    verb: ClassVar[str] = "merge-mission"
    reply_type: ClassVar[type[replies.Reply]] = replies.MissionMerged
    mutates: ClassVar[bool] = True
    time_limit: ClassVar[float] = _MERGE_LIMIT

    mission: str = field(metadata=MISSION, validator=name_only)
    target: str | None = field(default=None, metadata={"option": "--target"})
    """Branch; the host takes the mission's own when it is left out."""
    strategy: MergeStrategy = field(
        default=MergeStrategy.MERGE,
        metadata={"option": "--strategy"},
        converter=_strategy,
    )
    push: bool = field(default=False, metadata={"option": "--push"})
    origin_check: OriginCheck | None = field(
        default=None, metadata=ORIGIN_CHECK, converter=_origin_check
    )
    """See `AcceptMission`."""
