"""The kinds of facts in the journal: one frozen class per kind.

An event is written as one flat JSON object: ``kind``, ``at``, ``mission``, ``run``, and the
fields of its class. `journal.event_from_dict` reads it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from attrs import asdict, field, frozen

from spec_kitty_orchestrator.roles import Role

__all__ = [
    "KINDS",
    "AcceptanceSkipped",
    "Accepted",
    "AttemptFailed",
    "AttemptStarted",
    "AttemptStopped",
    "BaseMoved",
    "Blocked",
    "ChangesKept",
    "Claimed",
    "Event",
    "Finding",
    "FinishFailed",
    "HostRetried",
    "Implemented",
    "JournalRepaired",
    "LaneReported",
    "MergeStarted",
    "MissionMerged",
    "NoteGiven",
    "RunAborted",
    "RunEnded",
    "RunStarted",
    "Submitted",
    "UnknownEvent",
    "VerdictGiven",
    "WarningGiven",
    "WorkPackageEvent",
    "WorkPackageStuck",
]


KINDS: dict[str, type["Event"]] = {}
"""The class of each kind of event. A class registers itself when it is defined."""


@frozen(kw_only=True)
class Event:
    """A fact in the journal. The journal fills in the time, the mission and the run."""

    kind: ClassVar[str] = "unknown"
    """The ``kind`` of the JSON object."""
    at: float = 0.0
    """Seconds since the epoch."""
    mission: str = ""
    """The mission's slug."""
    run: str = ""
    """The id of the run, or ``abort``."""

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        if "kind" in vars(cls):
            KINDS[cls.kind] = cls

    def to_dict(self) -> dict[str, Any]:
        """Return the event as the JSON object that is in the journal."""
        return {"kind": self.kind, **asdict(self, value_serializer=_as_json)}


# Of a run


@frozen(kw_only=True)
class RunStarted(Event):
    """A run started."""

    kind = "run-started"
    settings: Mapping[str, Any]
    """As `settings.save` returns them."""
    version: str = ""
    """The version of this package."""
    format: int = 1
    """The format of the journal, see `journal.FORMAT`."""


@frozen(kw_only=True)
class RunEnded(Event):
    """A run ended by itself, or was interrupted."""

    kind = "run-ended"
    outcome: str
    """The name of the exit code in lower case."""
    exit_code: int = 0
    unfinished: Mapping[str, str] = field(factory=dict)
    """The work packages that are not done, each with the reason."""
    problem: str | None = None
    """The error message that ended the run."""
    next: tuple[str, ...] = ()
    """The commands that a user may want to run next."""


@frozen(kw_only=True)
class RunAborted(Event):
    """The user ran ``abort``."""

    kind = "aborted"
    removed: tuple[str, ...]
    """The worktrees that were removed."""
    left: Mapping[str, str]
    """The worktrees that were kept, each with the reason."""


@frozen(kw_only=True)
class WarningGiven(Event):
    """The user was warned, for example that an agent cannot be held to the policy."""

    kind = "warning"
    message: str


@frozen(kw_only=True)
class NoteGiven(Event):
    """The run gave the user a note about the mission."""

    kind = "note"
    message: str


@frozen(kw_only=True)
class JournalRepaired(Event):
    """The journal was damaged or removed, and has been repaired as far as possible."""

    kind = "journal-repaired"
    damaged: int = 0
    """The lines that cannot be read."""
    recovered: int = 0
    """The events that were taken from the second copy."""
    aside: str | None = None
    """The file with the damaged lines."""


@frozen(kw_only=True)
class HostRetried(Event):
    """A call of the host failed and is sent again."""

    kind = "host-retry"
    attempt: int
    """The number of the retry, from 1."""
    because: str


# Of the mission's end


@frozen(kw_only=True)
class Accepted(Event):
    """The host accepted the mission."""

    kind = "accepted"
    at_host: str | None = None
    """The host's timestamp."""


@frozen(kw_only=True)
class AcceptanceSkipped(Event):
    """The host's API cannot accept this mission."""

    kind = "acceptance-unavailable"
    reason: str
    command: str | None
    """The host's own command that accepts it."""


@frozen(kw_only=True)
class MergeStarted(Event):
    """The merge of the mission began."""

    kind = "merging"
    target: str | None
    """The branch that the user named; None: the mission's own target."""
    strategy: str


@frozen(kw_only=True)
class MissionMerged(Event):
    """The mission is proven to be in its target branch."""

    kind = "merged"
    target: str
    strategy: str
    before: str | None = None
    """The commit of the target before the merge."""
    after: str | None = None
    """The commit of the target after the merge."""
    changed: bool = True
    """Whether this run merged it; False: the target had it already."""


@frozen(kw_only=True)
class FinishFailed(Event):
    """The mission could not be accepted or merged."""

    kind = "finish-failed"
    reason: str


# Of a work package


@frozen(kw_only=True)
class WorkPackageEvent(Event):
    """A fact about one work package."""

    wp: str
    """The id of the work package."""


@frozen(kw_only=True)
class LaneReported(WorkPackageEvent):
    """The host reported a lane."""

    kind = "lane"
    lane: str


@frozen(kw_only=True)
class Claimed(WorkPackageEvent):
    """The orchestrator claimed the work package, or asked the host for its worktree."""

    kind = "claimed"
    workspace: str
    """The worktree."""
    prompt: str
    """The file with the text of the work package."""
    base: str
    """The commit before the work package's own work."""
    target: str | None = None
    """The branch that the worktree was made from."""
    branch: str | None = None
    """The branch that belongs in the worktree, and that is merged."""


@frozen(kw_only=True)
class BaseMoved(WorkPackageEvent):
    """Other work packages committed to the shared worktree before this one started."""

    kind = "base"
    base: str


@frozen(kw_only=True)
class AttemptStarted(WorkPackageEvent):
    """An agent run is about to start. The event is written first, so that a later run finds it."""

    kind = "attempt-started"
    role: Role
    number: int
    """Counted per work package over both roles, from 1."""
    agent: str
    """The name of the agent."""
    setting: str = ""
    """The setting that the agent was found by, such as ``script:./agent.sh``."""
    directory: str
    """The folder with the prompt, the output and the exit record."""


@frozen(kw_only=True)
class Implemented(WorkPackageEvent):
    """An implementer's changes are committed."""

    kind = "implemented"
    number: int
    """The number of the attempt."""
    head: str
    """The commit to submit."""
    begun: str | None = None
    """HEAD of a shared worktree when the attempt started; None: the worktree is not shared."""


@frozen(kw_only=True)
class Submitted(WorkPackageEvent):
    """The host accepted the work for review."""

    kind = "submitted"
    head: str


@frozen(kw_only=True)
class Finding:
    """One point of a review."""

    id: str
    severity: Literal["blocking", "minor"]
    where: str
    """``path:line``, or as near as the reviewer could say."""
    what: str


@frozen(kw_only=True)
class VerdictGiven(WorkPackageEvent):
    """A reviewer approved the work, or asked for changes."""

    kind = "verdict"
    number: int
    """The number of the attempt."""
    head: str
    """The commit that was reviewed."""
    reviewer: str
    """The name of the agent."""
    reference: str
    """The folder of the attempt, relative to the primary checkout."""
    verdict: Literal["approved", "changes_requested"]
    summary: str
    findings: tuple[Finding, ...] = ()


@frozen(kw_only=True)
class ChangesKept(WorkPackageEvent):
    """Changes were taken out of the worktree, and are kept."""

    kind = "kept"
    files: tuple[str, ...]
    """The files that were uncommitted or put back; empty if only commits were taken out."""
    where: str
    """A ref of the repository, or a path."""
    reason: str
    """Why it could not stay."""


@frozen(kw_only=True)
class AttemptFailed(WorkPackageEvent):
    """An agent run gave no usable result, or the host rejected the result."""

    kind = "attempt-failed"
    role: Role
    reason: str


@frozen(kw_only=True)
class AttemptStopped(WorkPackageEvent):
    """An agent run was interrupted or lost. It does not count as a failure."""

    kind = "attempt-stopped"
    role: Role
    number: int
    reason: str


@frozen(kw_only=True)
class Blocked(WorkPackageEvent):
    """The orchestrator moved the work package to blocked, for the user to look at."""

    kind = "blocked"
    reason: str


@frozen(kw_only=True)
class WorkPackageStuck(WorkPackageEvent):
    """The work package cannot go on in this run."""

    kind = "trouble"
    reason: str


@frozen(kw_only=True)
class UnknownEvent(Event):
    """An event that this version cannot read."""

    raw: Mapping[str, Any]
    """The JSON object."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object as it was read."""
        return dict(self.raw)


def _as_json(_event: object, _field: object, value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
