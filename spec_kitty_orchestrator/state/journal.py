"""What a run did, as an append-only file that survives any kind of death.

One event per line: ``{"sum": "<length>-<crc32>", "event": {...}}``, synced to disk before
the next step is taken. A torn or damaged line ends what is believed; the next writer cuts
it off. The journal says where to look; the host and the operating system say what is.
"""

import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Event", "Journal", "read"]

Event = dict[str, Any]

_HEAD, _MIDDLE, _TAIL = b'{"sum": "', b'", "event": ', b"}\n"


def read(path: Path) -> Iterator[Event]:
    """Yield the events of a journal, up to the first damaged line."""
    for event, _ in _sound(path):
        yield event


def _sound(path: Path) -> Iterator[tuple[Event, int]]:
    """Yield each sound event with the position of its end."""
    end = 0
    try:
        with path.open("rb") as file:
            for line in file:
                event = _decode(line)
                if event is None:
                    return
                end += len(line)
                yield event, end
    except FileNotFoundError:
        return


def _encode(event: Event) -> bytes:
    body = json.dumps(event, sort_keys=True).encode()
    return b"".join((_HEAD, _sum(body), _MIDDLE, body, _TAIL))


def _decode(line: bytes) -> Event | None:
    seal, middle, rest = line.removeprefix(_HEAD).partition(_MIDDLE)
    body = rest.removesuffix(_TAIL)
    if not (line.startswith(_HEAD) and middle and line.endswith(_TAIL) and seal == _sum(body)):
        return None
    event = json.loads(body)
    return event if isinstance(event, dict) else None


def _sum(body: bytes) -> bytes:
    return b"%d-%08x" % (len(body), zlib.crc32(body))


class Journal:
    """The one writer of a journal.

    Args:
        path: The file; what is damaged at its end is moved to ``<path>.damaged``.
        common: Fields of every event.
        listeners: Called with each event once it is on the disk.
        now: Tells the time of an event, in seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        common: Event,
        listeners: Sequence[Callable[[Event], None]] = (),
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._common = common
        self._listeners = listeners
        self._now = now
        self._file = path.open("ab")
        self._cut(path)

    def _cut(self, path: Path) -> None:
        sound = max((end for _, end in _sound(path)), default=0)
        with path.open("rb") as file:
            file.seek(sound)
            damaged = file.read()
        if damaged:
            with path.with_name(path.name + ".damaged").open("ab") as aside:
                aside.write(damaged)
            self._file.truncate(sound)

    def write(self, kind: str, **fields: object) -> Event:
        """Append an event, wait until it is on the disk, and return it."""
        (event,) = self.write_all(kind, [fields])
        return event

    def write_all(self, kind: str, entries: Iterable[Event]) -> list[Event]:
        """Append an event for each entry and wait for the disk once; see `write`."""
        at = round(self._now(), 3)
        events = [{"at": at, "kind": kind, **self._common, **fields} for fields in entries]
        self._file.write(b"".join(map(_encode, events)))
        self._file.flush()
        os.fsync(self._file.fileno())
        for event in events:
            for listener in self._listeners:
                listener(event)
        return events

    def close(self) -> None:
        """Close the file."""
        self._file.close()
