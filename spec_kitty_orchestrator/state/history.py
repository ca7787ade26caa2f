"""What the journal tells about each work package, folded event by event."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal

from attrs import define, field, fields, frozen

from spec_kitty_orchestrator.state.journal import Event

__all__ = ["Attempt", "History", "Record", "Role", "recall"]

Role = Literal["implement", "review"]


@frozen(kw_only=True)
class Attempt:
    """One run of an agent that was started."""

    role: Role
    number: int
    """Counted per work package, from 1, over both roles."""
    agent: str
    directory: str
    """Where prompt, output and exit record are."""
    at: float
    """Seconds since the epoch."""

    @classmethod
    def of(cls, event: Event) -> "Attempt":
        """Return what an ``attempt-started`` event tells."""
        return cls(**{a.name: event[a.name] for a in fields(cls)})


@define(kw_only=True)
class Record:
    """What is known of one work package beside the lane, which is the host's to tell."""

    workspace: str | None = None
    """The lane worktree."""
    prompt: str | None = None
    """The work package's file."""
    base: str | None = None
    """The lane branch's commit before the work package."""
    target: str | None = None
    """The branch that the mission goes into."""
    submitted: str | None = None
    """The commit that was last handed in for review."""
    spans: list[tuple[str, str]] = field(factory=list)
    """The commits between which each round was implemented, where others share the worktree."""
    by_hand: bool = False
    """Whether a human has had it since it was last handed in."""
    attempts: list[Attempt] = field(factory=list)
    open: Attempt | None = None
    """Started, and nothing was recorded about its end."""
    closed_by: Event | None = None
    """The event that ended the last attempt: implemented, verdict, failed or stopped."""
    findings: Event | None = None
    """The last verdict, if it asked for changes."""
    reworks: int = 0
    """How often a reviewer asked for changes."""
    rounds: int = 0
    """The same since the work package was last given to a human."""
    failures: list[str] = field(factory=list)
    """Why the last attempts at this step failed; empty after one that did not."""
    last_error: str | None = None
    ended_at: float | None = None

    def moved_to(self, lane: str) -> None:
        """Begin to count anew: for the reviewer, or for whoever reopens what is blocked."""
        if lane in ("for_review", "blocked"):
            self.failures.clear()
        if lane == "blocked":
            self.rounds, self.by_hand, self.closed_by = 0, True, None

    @property
    def started_at(self) -> float | None:
        """When the first attempt was started."""
        return self.attempts[0].at if self.attempts else None


@define(kw_only=True)
class History:
    """Everything a journal tells about one mission."""

    mission: str
    settings: dict[str, Any] = field(factory=dict)
    """Those of the last run, as `config.save` wrote them."""
    records: dict[str, Record] = field(factory=dict)
    lanes: dict[str, str] = field(factory=dict)
    """The lanes as the host last reported them to a run."""
    accepted: bool = False
    accept_command: str | None = None
    """The host's own command that accepts the mission, if its API cannot."""
    merged: bool = False
    ended: Event | None = None
    """The end of the last run; None while it runs, or when it was killed."""
    _by_workspace: defaultdict[str | None, set[str]] = field(
        factory=lambda: defaultdict(set), init=False
    )

    def shares(self, wp: str) -> bool:
        """Return whether others are worked on in the same worktree."""
        workspace = self.record(wp).workspace
        return workspace is not None and len(self._by_workspace[workspace]) > 1

    def record(self, wp: str) -> Record:
        """Return what is known of a work package."""
        return self.records.setdefault(wp, Record())

    def apply(self, event: Event) -> None:
        """Take in one more event of this mission."""
        match event["kind"]:
            case "run-started":
                self.settings, self.ended = event["settings"], None
            case "run-ended":
                self.ended = event
            case "lane":
                self.lanes[event["wp"]] = event["lane"]
                # What is accepted or merged is the mission as it was before this.
                self.accepted, self.merged = False, False
                if record := self.records.get(event["wp"]):
                    record.moved_to(event["lane"])
            case "accepted":
                self.accepted, self.accept_command = True, None
            case "acceptance-unavailable":
                self.accept_command = event["command"]
            case "merged":
                self.merged = True
            case "claimed":
                record = self.record(event["wp"])
                before = record.workspace
                _apply(record, event)
                self._by_workspace[before].discard(event["wp"])
                self._by_workspace[record.workspace].add(event["wp"])
            case _:
                if "wp" in event:
                    _apply(self.record(event["wp"]), event)


def recall(events: Iterable[Event]) -> dict[str, History]:
    """Fold a journal into one history per mission; the mission last run comes last.

    What another version of this program wrote, and this one cannot read, is passed over: the
    host and the operating system are asked anyway.
    """
    histories: dict[str, History] = {}
    for event in events:
        with suppress(KeyError, TypeError):
            name, kind = event["mission"], event["kind"]
            if kind == "run-started" and name in histories:
                histories[name] = histories.pop(name)
            histories.setdefault(name, History(mission=name)).apply(event)
    return histories


def _apply(record: Record, event: Event) -> None:
    match event["kind"]:
        case "claimed":
            record.workspace, record.prompt = event["workspace"], event["prompt"]
            record.base = record.base or event["base"]
            record.target = event.get("target")
        case "base":
            record.base = event["base"]
        case "submitted":
            record.submitted, record.by_hand = event["head"], False
        case "blocked":
            record.last_error = event["reason"]
        case "attempt-started":
            record.open = Attempt.of(event)
            record.attempts.append(record.open)
            record.ended_at = None
        case "implemented" | "verdict" | "attempt-failed" | "attempt-stopped":
            record.open, record.closed_by, record.ended_at = None, event, event["at"]
            _close(record, event)
        case "trouble":
            record.last_error = event["reason"]
        case _:
            pass  # shown, but of no consequence


def _close(record: Record, event: Event) -> None:
    if event["kind"] == "implemented" and event.get("begun"):
        record.spans.append((event["begun"], event["head"]))
    if event["kind"] == "attempt-failed":
        record.failures.append(event["reason"])
        record.last_error = event["reason"]
    if event["kind"] == "verdict":
        record.failures.clear()
        asked = event["verdict"] == "changes_requested"
        record.findings = event if asked else None
        record.rounds += asked
        record.reworks += asked
