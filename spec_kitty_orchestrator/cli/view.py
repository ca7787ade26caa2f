"""Show a run while it works: a live table, plain lines, or JSON."""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from spec_kitty_orchestrator.cli.streams import unblocked
from spec_kitty_orchestrator.state import events
from spec_kitty_orchestrator.state.events import Event
from spec_kitty_orchestrator.state.history import History, WorkPackageHistory

__all__ = ["Watcher", "line", "rows", "table", "watch"]

_COLUMNS = ("WP", "lane", "agent", "tries", "rounds", "elapsed", "last error", "log")
_STYLES = {"done": "green", "approved": "green", "blocked": "red", "canceled": "dim"}


_FRAME = 3  # lines of a terminal that are not for work packages: head, rest, prompt


class Watcher:
    """Shows each event, and a table with as many of the latest work packages as fit."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self.console = console
        self.as_json = as_json
        self.live: Live | None = None
        self.history: History | None = None
        self._lately: dict[str, None] = {}  # work packages; the one with the newest event is last
        self._lanes = Counter[str]()
        self._broken = False

    def __call__(self, event: Event) -> None:
        """Show one event. An error of the display ends the display, and not the run."""
        if self._broken:
            return
        try:
            self._show(event)
        except Exception as e:  # noqa: BLE001 - no error of the display may end a run
            self._broken = True
            told = "The run goes on; the journal has all of it"
            print(f"The display failed: {e!r}. {told}", file=sys.stderr)

    def _show(self, event: Event) -> None:
        if self.as_json:
            print(json.dumps(event.to_dict(), sort_keys=True), flush=True)
            return
        if self.live and not self.live.is_started:
            self.live.start()  # a run that cannot start shows no table
        if self.history is None:
            self.history = History(mission=event.mission)
        if isinstance(event, events.WorkPackageEvent):
            self._lately.pop(event.wp, None)
            self._lately[event.wp] = None
        if isinstance(event, events.LaneReported):
            self._lanes[self.history.lanes.get(event.wp, "")] -= 1
            self._lanes[event.lane] += 1
        self.history.apply(event)
        if text := line(event):
            self.console.print(Text(text), soft_wrap=True)

    def __rich__(self) -> Table:
        """Return the table as it is now; the live display asks for it twice a second."""
        if self.history is None:
            return table([])
        room = max(1, self.console.height - _FRAME)
        every = len(self._lately) <= room or not self.console.is_terminal
        names = self._lately if every else islice(reversed(self._lately), room)
        made = table(rows(self.history, names=sorted(names)))
        if not every:
            counts = ", ".join(f"{count} {lane}" for lane, count in (+self._lanes).items())
            made.caption = f"the latest of {len(self._lately)}: {counts}"
        return made


@contextmanager
def watch(console: Console, *, as_json: bool) -> Generator[Watcher]:
    """Show a run: a live table on a terminal, lines when piped, or JSON."""
    watcher = Watcher(console, as_json=as_json)
    with unblocked():
        if as_json or not console.is_terminal:
            yield watcher
            return
        watcher.live = Live(watcher, console=console, refresh_per_second=2)
        try:
            yield watcher
        finally:
            watcher.live.stop()


def rows(
    history: History, lanes: dict[str, str] | None = None, names: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Return the facts of work packages, one plain object each.

    Args:
        history: The facts of the journal.
        lanes: The lanes as the host reports them now; None: as it last reported them to a run.
        names: The work packages; None: all.
    """
    lanes = history.lanes if lanes is None else lanes
    names = sorted({*lanes, *history.work_packages}) if names is None else names
    packages, unknown = history.work_packages, WorkPackageHistory()
    return [_row(name, lanes.get(name), packages.get(name, unknown)) for name in names]


def _row(wp: str, lane: str | None, record: WorkPackageHistory) -> dict[str, Any]:
    last = record.attempts[-1] if record.attempts else None
    started, ended = record.started_at, record.ended_at
    return {
        "wp": wp,
        "lane": lane,
        "agent": last.agent if last else None,
        "role": last.role if last else None,
        "running": record.running is not None,
        "attempts": len(record.attempts),
        "rework_rounds": record.rework_rounds,
        "elapsed_s": round((ended or time.time()) - started, 1) if started else None,
        "last_error": record.last_error,
        "log": last.directory if last else None,
    }


def table(shown: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    made = Table(*_COLUMNS, box=None, pad_edge=False, header_style="bold")
    made.columns[6].overflow = "ellipsis"
    made.columns[7].overflow = "fold"
    for row in shown:
        lane = row["lane"] or "?"
        doing = f" ({row['role']})" if row["running"] else ""
        made.add_row(
            row["wp"],
            Text(lane, style=_STYLES.get(lane, "")),
            f"{row['agent'] or '-'}{doing}",
            str(row["attempts"]),
            str(row["rework_rounds"]),
            _clock(row["elapsed_s"]),
            Text(_printable(row["last_error"] or "")),
            Text(_short(row["log"] or "")),
        )
    return made


def _short(path: str) -> str:
    """Return the last two folders of a log: work package and attempt."""
    return "/".join(path.split("/")[-2:])


def _clock(seconds: float | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=int(seconds)))


def line(event: Event) -> str | None:
    """Return an event as one line; None if only the journal needs the event."""
    at = time.strftime("%H:%M:%S", time.localtime(event.at))
    text = _SENTENCES.get(type(event))
    return f"{at} {_printable(text(event))}" if text else None


def _printable(text: str) -> str:
    """Escape control characters, so that an agent's output cannot steer the terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


_CONTROL = re.compile(r"[^\n\t\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")


def _ended(event: events.RunEnded) -> str:
    said = _OUTCOMES.get(event.outcome, f"the run ended: {event.outcome.replace('_', ' ')}")
    if event.problem:
        said += f". {event.problem}"
    for wp, why in event.unfinished.items():
        said += f"\n         {wp} {why}"
    for command in event.next:
        said += f"\n  next: {command}"
    return said


def _repaired(event: events.JournalRepaired) -> str:
    if not event.damaged and not event.recovered:
        return (
            "the journal was removed while this run was alive, as `git clean -fdx` does. It is "
            "written anew; nothing is lost"
        )
    kept = f"; the unreadable lines are kept in {event.aside}" if event.aside else ""
    return (
        f"the journal was damaged: {event.damaged} lines cannot be read, {event.recovered} events "
        f"were recovered from the copies in the logs{kept}. The run goes on with the lanes of the "
        "host and the exit records of the agents"
    )


_OUTCOMES = {
    "done": "run complete",
    "incomplete": "run incomplete",
    "interrupted": "run interrupted",
    "host": "run stopped at a host error",
}
_SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    events.RunStarted: lambda e: f"mission {e.mission}: run {e.run}",
    events.WarningGiven: lambda e: f"warning: {e.message}",
    events.NoteGiven: lambda e: f"note: {e.message}",
    events.JournalRepaired: _repaired,
    events.HostRetried: lambda e: f"host call retried ({e.attempt}): {e.because}",
    events.LaneReported: lambda e: f"{e.wp} is {e.lane}",
    events.AttemptStarted: lambda e: f"{e.wp} {e.role}: {e.agent} started, {e.directory}",
    events.AttemptFailed: lambda e: f"{e.wp} {e.role} failed: {e.reason}",
    events.AttemptStopped: lambda e: f"{e.wp} {e.role} was interrupted",
    events.Implemented: lambda e: f"{e.wp} implemented: {e.head[:12]}",
    events.VerdictGiven: lambda e: f"{e.wp} {e.verdict.replace('_', ' ')}: {e.summary}",
    events.ChangesKept: lambda e: (
        f"{e.wp}: changes are taken out of the worktree, because {e.reason}, and kept as {e.where}"
        + (f": {', '.join(e.files)}" if e.files else "")
    ),
    events.Blocked: lambda e: f"{e.wp} is blocked and needs your decision: {e.reason}",
    events.WorkPackageStuck: lambda e: f"{e.wp} stopped: {e.reason}",
    events.Accepted: lambda e: f"mission {e.mission} is accepted",
    events.AcceptanceSkipped: lambda e: f"not accepted: {e.reason}",
    events.MissionMerged: lambda e: (
        f"merged into {e.target} ({e.strategy})"
        if e.changed
        else f"{e.target} has the mission already"
    ),
    events.FinishFailed: lambda e: f"not finished: {e.reason}",
    events.RunEnded: _ended,
}
