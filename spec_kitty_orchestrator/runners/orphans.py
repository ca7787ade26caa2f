"""End the processes of an agent run whose keeper was killed.

Each process of a run inherits a random mark in its environment, and the pipes to the keeper as
stdout and stderr. A process with one of these belongs to the run, and so do its descendants and
the processes in its session, which may have neither. No process id from a file is trusted.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from spec_kitty_orchestrator.runners import keeper

__all__ = ["MARK", "Orphans", "add_mark"]

MARK = "SPEC_KITTY_ORCHESTRATOR_RUN"
"""The variable with the mark of a run, after the marks of the runs that it is part of."""

_POLL = 0.05  # seconds


def add_mark(environment: Mapping[str, str], mark: str) -> str:
    """Return the value of `MARK` for a run that is started from an environment."""
    return ":".join(filter(None, (environment.get(MARK), mark)))


class Orphans:
    """The processes of a run without a keeper.

    Args:
        directory: The directory of the run.
    """

    def __init__(self, directory: Path) -> None:
        self._mark: str | None = _read(directory / keeper.SPEC).get("mark")
        self._pipes = _pipes(_read(directory / keeper.STARTED))
        self._known: set[Any] = set()
        """Processes found so far: without those that have ended, others cannot be recognised."""
        self._sessions: set[int] = set()

    def end(self, *, grace: float) -> list[dict[str, Any]]:
        """End all processes of the run, and return those that are left, each with the reason.

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
        """Return the living processes of the run, each with the name of its program."""
        if not self._mark:
            return {}
        import psutil  # only needed if a keeper was killed

        found = psutil.process_iter(["ppid", "name", "status"])
        table = {p.pid: p for p in found if p.info["status"] != psutil.STATUS_ZOMBIE}
        known = {process.pid for process in self._known if table.get(process.pid) == process}
        known |= {pid for pid, process in table.items() if self._mark in _marks(process)}
        self._sessions |= _own_sessions(known, table)
        known |= {pid for pid in table if _session(pid) in self._sessions}
        known |= {pid for pid in table if self._pipes & _outputs(pid)}
        known = _with_descendants(known, table)
        known -= {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        self._known |= {table[pid] for pid in known}
        return {pid: table[pid].info["name"] or "?" for pid in known}


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
