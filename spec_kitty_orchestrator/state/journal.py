"""The journal: an append-only file of the events of all runs, which survives a crash.

Each line is ``{"sum": "<length>-<crc32>", "event": {...}}`` and is synced to disk before the
next step is taken. Readers stop at the first damaged line; the next writer moves it, and
everything after it, to another file. The journal tells where to look. The state of a work
package is the host's to tell, and that of a process the operating system's.
"""

import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from attrs import evolve

from spec_kitty_orchestrator.state.events import KINDS, Event, UnknownEvent

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["Journal", "Listener", "event_from_dict", "read"]

E = TypeVar("E", bound=Event)
Listener = Callable[[Event], None]

_HEAD, _MIDDLE, _TAIL = b'{"sum": "', b'", "event": ', b"}\n"


def read(path: Path) -> Iterator[Event]:
    """Yield the events of a journal, up to the first damaged line."""
    for raw, _ in _intact(path):
        yield event_from_dict(raw)


def _intact(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the JSON object of each intact line, and the position of the line's end."""
    end = 0
    try:
        with path.open("rb") as file:
            for line in file:
                raw = _decode(line)
                if raw is None:
                    return
                end += len(line)
                yield raw, end
    except FileNotFoundError:
        return


def _encode(event: Event) -> bytes:
    body = json.dumps(event.to_dict(), sort_keys=True).encode()
    return b"".join((_HEAD, _checksum(body), _MIDDLE, body, _TAIL))


def _decode(line: bytes) -> dict[str, Any] | None:
    checksum, middle, rest = line.removeprefix(_HEAD).partition(_MIDDLE)
    body = rest.removesuffix(_TAIL)
    is_whole = line.startswith(_HEAD) and middle and line.endswith(_TAIL)
    if not is_whole or checksum != _checksum(body):
        return None
    raw = json.loads(body)
    return raw if isinstance(raw, dict) else None


def _checksum(body: bytes) -> bytes:
    return b"%d-%08x" % (len(body), zlib.crc32(body))


def event_from_dict(raw: Mapping[str, Any]) -> Event:
    """Return the event in a JSON object of the journal.

    Fields that the class does not have are ignored, so that journals of newer versions stay
    readable.

    Args:
        raw: The JSON object.

    Returns:
        The event; an `UnknownEvent` if this version does not know the kind or if a field does
        not fit.
    """
    kind = KINDS.get(str(raw.get("kind")))
    if kind is not None:
        try:
            return _converter().structure(raw, kind)
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
    mission = raw.get("mission")
    return UnknownEvent(raw=raw, mission=mission if isinstance(mission, str) else "")


@cache
def _converter() -> "Converter":
    """Return a converter that rejects values of a wrong type, where cattrs would convert them."""
    from cattrs import Converter

    converter = Converter(detailed_validation=False)
    for primitive in (str, int, bool, float):
        converter.register_structure_hook(primitive, _exactly)
    converter.register_structure_hook_func(_is_literal, _one_of)
    return converter


def _exactly(value: Any, expected: type) -> Any:
    accepted = (int, float) if expected is float else expected
    if isinstance(value, accepted):
        return value
    msg = f"expected {expected.__name__}, not {type(value).__name__}"
    raise TypeError(msg)


def _is_literal(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin is Literal


def _one_of(value: Any, expected: Any) -> Any:
    if value in get_args(expected):
        return value
    msg = f"expected one of {get_args(expected)}, not {value!r}"
    raise ValueError(msg)


class Journal:
    """The only writer of a journal.

    Args:
        path: The file. Damaged lines at its end are moved to ``<path>.damaged``.
        mission: The mission of all events.
        run: The run of all events.
        listeners: Called with each event once it is on the disk.
        now: Returns the time of an event, in seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        *,
        mission: str,
        run: str,
        listeners: Sequence[Listener] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._mission, self._run = mission, run
        self._listeners = listeners
        self._now = now
        self._file = path.open("ab")
        self._move_damage(path)

    def _move_damage(self, path: Path) -> None:
        intact = max((end for _, end in _intact(path)), default=0)
        with path.open("rb") as file:
            file.seek(intact)
            damaged = file.read()
        if damaged:
            with path.with_name(path.name + ".damaged").open("ab") as aside:
                aside.write(damaged)
            self._file.truncate(intact)

    def write(self, event: E) -> E:
        """Append an event and wait until it is on the disk.

        Returns:
            The event with its time, mission and run.
        """
        (written,) = self.write_all([event])
        return written

    def write_all(self, events: Iterable[E]) -> list[E]:
        """Append several events and wait for the disk once; see `write`."""
        at = round(self._now(), 3)
        written = [evolve(e, at=at, mission=self._mission, run=self._run) for e in events]
        self._file.write(b"".join(map(_encode, written)))
        self._file.flush()
        os.fsync(self._file.fileno())
        for event in written:
            for listener in self._listeners:
                listener(event)
        return written

    def close(self) -> None:
        """Close the file."""
        self._file.close()
