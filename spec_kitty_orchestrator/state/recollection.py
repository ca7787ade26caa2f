"""The events of all runs of a repository, restored from copies if the journal is damaged.

Each mission has a second copy of its events in the folder of its logs. An event that the journal
has lost is taken from there. If both have lost it, the run relies on the host, git and the exit
records.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import define, field

from spec_kitty_orchestrator.state.events import AttemptStopped, Event, JournalRepaired
from spec_kitty_orchestrator.state.files import StateFiles, open_private, refuse_link
from spec_kitty_orchestrator.state.history import History, recall
from spec_kitty_orchestrator.state.journal import Damage, Line, free_name, scan

__all__ = [
    "Recollection",
    "all_attempt_folders",
    "attempt_folders",
    "recollect",
    "repair",
    "stopped",
]


@define(kw_only=True)
class Recollection:
    """The events of all runs, and the damage to the journal."""

    files: StateFiles
    lines: list[Line] = field(factory=list)
    """The sound lines of the journal, and the lines that only its copies have."""
    damage: list[Damage] = field(factory=list)
    recovered: int = 0
    """The lines that only the copies have."""

    @property
    def events(self) -> list[Event]:
        """The events, in order."""
        return [line.event for line in self.lines]

    def histories(self) -> dict[str, History]:
        """Return the state of each mission, by slug; the mission run last comes last.

        If only the logs of a mission are left, its history is empty.
        """
        known = recall(self.events)
        logs = sorted(_folders(self.files.logs), key=os.path.getmtime)
        lost = [path.name for path in logs if path.name not in known and any(_folders(path))]
        return {**{slug: History(mission=slug) for slug in lost}, **known}

    def problem(self) -> str | None:
        """Return a message about a journal with damaged or missing lines; None if it is whole."""
        where = self.files.journal
        if self.damage:
            numbers = sorted({part.number for part in self.damage})
            lines = f"line {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} lines"
            what = f"The journal {where} is damaged: {lines} cannot be read. "
        elif self.recovered:
            what = f"The journal {where} is not whole: {self.recovered} events are missing. "
        else:
            return None
        return what + (
            f"{self.recovered} events were read from the copies in {self.files.logs}, the lanes "
            "come from the host. `spec-kitty-orchestrator resume` goes on, and moves the damaged "
            "lines to a file of their own."
        )


def recollect(files: StateFiles) -> Recollection:
    """Return the events of the journal and its copies. Nothing is written.

    Raises:
        UsageProblem: If a newer version of this package has written the journal, or one of the
            folders is a symbolic link.
        OSError: If a file cannot be read.
    """
    refuse_link(files.logs.parent, files.journal.parent, files.logs)
    found = Recollection(files=files)
    for part in scan(files.journal):
        if isinstance(part, Line):
            found.lines.append(part)
        else:
            found.damage.append(part)
    sizes = _sizes(found.lines)
    for folder in _folders(files.logs):
        copy = files.copy(folder.name)
        if copy.is_file() and copy.stat().st_size != sizes.get(folder.name, 0):
            found.recovered += _merge(found.lines, [x for x in scan(copy) if isinstance(x, Line)])
    return found


def _sizes(lines: Iterable[Line]) -> Mapping[str, int]:
    """Return the size of the events of each mission, in bytes."""
    sizes: dict[str, int] = {}
    for line in lines:
        sizes[line.event.mission] = sizes.get(line.event.mission, 0) + len(line.raw)
    return sizes


def _merge(lines: list[Line], copy: list[Line]) -> int:
    """Put the lines that only a copy has where they belong; return their number.

    A lost line follows the line that it follows in the copy. The first one is placed by its time.
    """
    places = {line.raw: place for place, line in enumerate(lines)}
    lost: list[tuple[float, Line]] = []
    place: float | None = None
    for line in copy:
        if line.raw in places:
            place = places[line.raw]
            continue
        if place is None:
            later = (i for i, other in enumerate(lines) if other.event.at > line.event.at)
            place = next(later, len(lines)) - 1
        lost.append((place + 0.5, line))
    if lost:
        ordered = [*((float(i), line) for i, line in enumerate(lines)), *lost]
        lines[:] = [line for _, line in sorted(ordered, key=lambda pair: pair[0])]
    return len(lost)


def repair(found: Recollection) -> JournalRepaired | None:
    """Rewrite a journal that is not whole, and keep its damaged lines in another file.

    Args:
        found: The events of the journal and its copies. The caller holds the lock.

    Returns:
        The event to write; None if the journal is whole.

    Raises:
        OSError: If it cannot be written. The journal is as before.
    """
    if not found.damage and not found.recovered:
        return None
    journal = found.files.journal
    aside = free_name(journal, "damaged") if found.damage else None
    if aside:
        _write(aside, (part.raw for part in found.damage))
    new = journal.with_suffix(".new")
    new.unlink(missing_ok=True)
    _write(new, (line.raw for line in found.lines))
    new.replace(journal)
    return JournalRepaired(
        damaged=len({part.number for part in found.damage}),
        recovered=found.recovered,
        aside=str(aside) if aside else None,
    )


def _write(path: Path, parts: Iterable[bytes]) -> None:
    file = os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
    with file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


def attempt_folders(logs: Path) -> list[Path]:
    """Return the folders of all attempts below the logs of a mission."""
    return sorted(attempt for wp in _folders(logs) for attempt in _folders(wp))


def all_attempt_folders(files: StateFiles) -> list[Path]:
    """Return the folders of all attempts of all missions."""
    return [attempt for mission in _folders(files.logs) for attempt in attempt_folders(mission)]


def stopped(attempt: Path, reason: str) -> AttemptStopped:
    """Return the event for an agent run that was ended, made from the name of its folder."""
    number, _, role = attempt.name.partition("-")
    return AttemptStopped(
        wp=attempt.parent.name,
        role="review" if role == "review" else "implement",
        number=int(number) if number.isdecimal() else 0,
        reason=reason,
    )


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.is_symlink())
