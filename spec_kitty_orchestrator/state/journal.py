"""The journal: an append-only file of the events of all runs, which survives a crash.

Each line is ``{"sum": "<length>-<crc32>", "event": {...}}`` and is synced to disk before the
next step is taken. Readers skip damaged lines; `recollection` restores them from copies. The
journal only says where to look: the host reports the state of a work package, and the operating
system that of a process.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar, get_args, get_origin

from attrs import evolve, frozen

from spec_kitty_orchestrator.errors import StorageProblem, UsageProblem, explain_os_error
from spec_kitty_orchestrator.state.events import KINDS, Event, JournalRepaired, UnknownEvent
from spec_kitty_orchestrator.state.files import make_folder, open_private, refuse_link

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = [
    "FORMAT",
    "Damage",
    "Journal",
    "Line",
    "Listener",
    "event_from_dict",
    "free_name",
    "read",
    "scan",
]

FORMAT = 1
"""The version of the events, which each `RunStarted` repeats. The form of a line never changes."""

E = TypeVar("E", bound=Event)
Listener = Callable[[Event], None]

_HEAD = re.compile(rb'\{"sum": "(\d{1,10})-([0-9a-f]{8})", "event": ')
_LONGEST = 16 * 2**20  # bytes of a line that are read at once; no event is as long


@frozen
class Line:
    """An event, and its bytes."""

    event: Event
    raw: bytes


@frozen
class Damage:
    """Bytes of a journal that are not an event."""

    number: int
    """The number of the line, from 1."""
    raw: bytes


def read(path: Path) -> Iterator[Event]:
    """Yield the events of a journal. Damaged lines are skipped."""
    return (part.event for part in scan(path) if isinstance(part, Line))


def scan(path: Path) -> Iterator[Line | Damage]:
    """Yield the events and the damaged parts of a journal, in order; none if there is no file.

    Raises:
        UsageProblem: If a newer version of this package has written it.
        OSError: If it cannot be read.
    """
    with contextlib.suppress(FileNotFoundError), _reader(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
            for raw, event in _records(line):
                if event is None:
                    yield Damage(number, raw)
                else:
                    _check_format(path, event)
                    yield Line(event_from_dict(event), raw)


def _reader(path: Path) -> BinaryIO:
    return open(path, "rb", opener=open_private)


def _check_format(path: Path, event: Mapping[str, Any]) -> None:
    version = event.get("format")
    if isinstance(version, int) and version > FORMAT:
        msg = (
            f"{path} was written by a newer version of this package (journal format {version}; "
            f"this version reads {FORMAT}). Nothing was changed. Run: pip install --upgrade "
            "spec-kitty-client"
        )
        raise UsageProblem(msg)


def _encode(event: Event) -> bytes:
    body = json.dumps(event.to_dict(), sort_keys=True).encode()
    return b'{"sum": "%s", "event": %s}\n' % (_checksum(body), body)


def _checksum(body: bytes) -> bytes:
    return b"%d-%08x" % (len(body), zlib.crc32(body))


def _records(line: bytes) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Yield each record of a line with its event, and the bytes between them with None.

    A line has one record, unless a line break was lost or a write ended halfway.
    """
    done = 0
    for head in _HEAD.finditer(line):
        end = head.end() + int(head[1])
        body = line[head.end() : end]
        if line[end : end + 1] == b"}" and _checksum(body) == b"%s-%s" % (head[1], head[2]):
            if between := line[done : head.start()]:
                yield between, None
            yield line[head.start() : end + 1] + b"\n", json.loads(body)
            done = end + 1
    if (rest := line[done:]) not in (b"", b"\n") or line == b"\n":
        yield rest, None


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
        path: The file.
        mission: The mission of all events.
        run: The run of all events.
        copy: A second file for the events of this mission, written without a sync.
        listeners: Called with each event once it is on the disk.
        now: Returns the time of an event, in seconds since the epoch.

    Raises:
        StorageProblem: If it cannot be written.
        UsageProblem: If one of the folders is a symbolic link.
    """

    def __init__(
        self,
        path: Path,
        *,
        mission: str,
        run: str,
        copy: Path | None = None,
        listeners: Sequence[Listener] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._copy = path, copy
        self._mission, self._run = mission, run
        self._listeners = listeners
        self._now = now
        if copy:
            refuse_link(copy.parent)
        with _storage(path):
            self._file = _open(path)

    def write(self, event: E) -> E:
        """Append an event and wait until it is on the disk.

        Returns:
            The event with its time, mission and run.

        Raises:
            StorageProblem: If it cannot be written. The journal is as before.
        """
        (written,) = self.write_all([event])
        return written

    def write_all(self, events: Iterable[E]) -> list[E]:
        """Append several events and wait for the disk once; see `write`."""
        if not self._is_in_place():
            with _storage(self._path):
                self._restore()
            self._append([JournalRepaired()])
        return self._append(events)

    def _append(self, events: Iterable[E]) -> list[E]:
        at = round(self._now(), 3)
        written = [evolve(e, at=at, mission=self._mission, run=self._run) for e in events]
        data = b"".join(map(_encode, written))
        with _storage(self._path):
            _write_whole(self._file, data)
        if self._copy:
            _write_copy(self._copy, data)
        for event in written:
            for listener in self._listeners:
                listener(event)
        return written

    def _is_in_place(self) -> bool:
        """Return whether the path still leads to the open file: ``git clean -fdx`` removes it."""
        try:
            return os.path.samestat(os.fstat(self._file), os.lstat(self._path))
        except OSError:
            return False

    def _restore(self) -> None:
        """Write a removed journal anew from the open file, which still has everything."""
        if os.path.lexists(self._path):
            self._path.rename(free_name(self._path, "replaced"))
        file = _open(self._path)
        with os.fdopen(os.dup(self._file), "rb") as old, os.fdopen(os.dup(file), "ab") as new:
            old.seek(0)
            shutil.copyfileobj(old, new)
        os.close(self._file)
        self._file = file

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


@contextlib.contextmanager
def _storage(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as e:
        error = OSError(e.errno, e.strerror, str(e.filename or path))
        msg = f"The journal cannot be written. {explain_os_error(error)}"
        raise StorageProblem(msg) from e


def free_name(journal: Path, why: str) -> Path:
    """Return a name beside a journal that no file has yet, such as ``journal.damaged-1.jsonl``."""
    names = (journal.with_name(f"{journal.stem}.{why}-{n}.jsonl") for n in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))


def _open(path: Path) -> int:
    make_folder(path.parent)
    return open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)


def _write_whole(file: int, data: bytes) -> None:
    """Append all bytes and sync, or none: on a full disk, a part that was written is removed."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":  # a write that ended halfway
        data = b"\n" + data
    try:
        while data:
            data = data[os.write(file, data) :]
        os.fsync(file)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, size)
        raise


def _write_copy(path: Path, data: bytes) -> None:
    """Append to the second copy; errors are ignored, because a run can go on without it."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open_private(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with os.fdopen(file, "ab") as copy:
            copy.write(data)
