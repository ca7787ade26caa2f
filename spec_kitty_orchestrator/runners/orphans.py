"""End the processes of an agent run whose keeper was killed.

Each process of a run inherits a random mark in its environment, and the pipes to the keeper as
stdout and stderr. A process with one of these belongs to the run, and so does one that the keeper
has seen among its descendants. So do their descendants and the processes in their sessions. A
process id from a file counts only together with the start of the process.
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from spec_kitty_orchestrator.runners import keeper

__all__ = ["MARK", "Orphans", "Strays", "add_mark", "new_mark"]

MARK = "SPEC_KITTY_ORCHESTRATOR_RUN"
"""The variable with the mark of a run, after the marks of the runs that it is part of."""

_POLL = 0.05  # seconds


def new_mark(repository: Path | None) -> str:
    """Return a new mark, which begins with that of the repository."""
    return (_prefix(repository) if repository else "") + secrets.token_hex(16)


def _prefix(repository: Path) -> str:
    return hashlib.sha256(os.fsencode(repository.resolve())).hexdigest()[:16] + "-"


def add_mark(environment: Mapping[str, str], mark: str) -> str:
    """Return the value of `MARK` for a run that is started from an environment."""
    return ":".join(filter(None, (environment.get(MARK), mark)))


class _Search:
    """A search for processes that belong together."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._pipes: set[tuple[int, int]] = set()
        self._seen: set[tuple[int, int]] = set()
        self._known: set[Any] = set()
        """Processes found so far: without those that have ended, others cannot be recognised."""
        self._sessions: set[int] = set()

    def end(self, *, grace: float) -> list[dict[str, Any]]:
        """End all of these processes, and return those that are left, each with the reason.

        Args:
            grace: Seconds between SIGTERM and SIGKILL.
        """
        until = time.monotonic() + grace
        return keeper.end_all(
            self.find,
            lambda seconds: time.sleep(min(seconds, _POLL)),
            lambda: until - time.monotonic(),
        )

    def find(self) -> dict[int, str]:
        """Return those that are alive, each with the name of its program."""
        if not self._mark:
            return {}
        import psutil  # only needed if something is amiss

        found = psutil.process_iter(["ppid", "name", "status"])
        table = {p.pid: p for p in found if p.info["status"] != psutil.STATUS_ZOMBIE}
        known = {process.pid for process in self._known if table.get(process.pid) == process}
        known |= {
            pid for pid, start in self._seen if pid in table and start == keeper.start_of(pid)
        }
        known |= {pid for pid, process in table.items() if self._has_mark(_marks(process))}
        self._sessions |= _own_sessions(known, table)
        known |= {pid for pid in table if _session(pid) in self._sessions}
        known |= {pid for pid in table if self._pipes & _outputs(pid)}
        known = _with_descendants(known, table)
        known -= {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        self._known |= {table[pid] for pid in known}
        return {pid: table[pid].info["name"] or "?" for pid in known}

    def _has_mark(self, marks: list[str]) -> bool:
        return self._mark in marks


class Orphans(_Search):
    """The processes of a run without a keeper.

    Args:
        directory: The directory of the run.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(_mark_of(directory))
        self._pipes = _pipes(_read(directory / keeper.STARTED))
        self._seen = _seen(_read(directory / keeper.SEEN))


class Strays(_Search):
    """The processes of a repository's agent runs whose directories were removed.

    Args:
        repository: The primary checkout.
        directories: The directories of runs that exist.
    """

    def __init__(self, repository: Path, directories: Iterable[Path]) -> None:
        super().__init__(_prefix(repository))
        self._others = set(map(_mark_of, directories))

    def _has_mark(self, marks: list[str]) -> bool:
        own = (mark for mark in marks if mark.startswith(self._mark))
        return not self._others.issuperset(own)


def _mark_of(directory: Path) -> str:
    """Return the mark of a run; empty if it is not known."""
    return str(_read(directory / keeper.SPEC).get("mark") or "")


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        content = json.loads(path.read_bytes())
        return content if isinstance(content, dict) else {}
    return {}


def _pipes(started: Mapping[str, Any]) -> set[tuple[int, int]]:
    """Return the device and inode of the pipes to a keeper, if it was started after the boot."""
    if started.get("boot") != keeper.boot_id():
        return set()
    return {(device, inode) for device, inode in started.get("outputs", ())}


def _seen(record: Mapping[str, Any]) -> set[tuple[int, int]]:
    """Return the id and the start of the processes that a keeper saw, since the boot."""
    found = record.get("processes")
    if record.get("boot") != keeper.boot_id() or not isinstance(found, dict):
        return set()
    return {(int(pid), start) for pid, start in found.items() if pid.isdecimal()}


def _outputs(pid: int) -> set[tuple[int, int]]:
    """Return the device and inode of the stdout and stderr of a process (Linux)."""
    found = set()
    for name in ("1", "2"):
        with suppress(OSError):
            about = Path("/proc", str(pid), "fd", name).stat()
            found.add((about.st_dev, about.st_ino))
    return found


def _marks(process: Any) -> list[str]:
    import psutil

    with suppress(psutil.Error, OSError):
        marks: str = process.environ().get(MARK, "")
        return marks.split(":")
    return []


def _own_sessions(known: set[int], table: Mapping[int, Any]) -> set[int]:
    """Return the sessions of known processes whose leader is known too, or has ended."""
    sessions = {_session(pid) for pid in known} - {0}  # 0: of another container
    return {leader for leader in sessions if leader and (leader in known or leader not in table)}


def _with_descendants(known: set[int], table: Mapping[int, Any]) -> set[int]:
    size, found = 0, set(known)
    while size < len(found):
        size = len(found)
        found |= {pid for pid, process in table.items() if process.info["ppid"] in found}
    return found


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return os.getsid(pid)
    return None
