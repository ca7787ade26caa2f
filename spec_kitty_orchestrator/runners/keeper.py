"""The keeper: a small process per agent run, which outlives the orchestrator.

It starts the agent in a session of its own, gives it the prompt from a file, writes its output
directly to files, enforces the time limit, and writes an exit record. When the agent ends, the
keeper ends every process that the agent started. It runs as a script and imports the standard
library only:

    keeper.py DIRECTORY LOCK_FD

``DIRECTORY/spec.json`` is the agent process to run. The keeper inherits the locked file
descriptor LOCK_FD and holds the lock until it dies, which proves to others that it is alive.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

SPEC, STARTED, EXIT = "spec.json", "keeper.json", "exit.json"
PROMPT, OUTPUT, ERRORS = "prompt.md", "output.log", "errors.log"
LOCK, KEEPER_ERRORS = "lock", "keeper.log"

_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_LONGEST_WAIT = 3600.0  # seconds; select() rejects very large timeouts
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def write_record(path: Path, record: Mapping[str, object]) -> None:
    """Write a JSON file atomically: a reader sees all of it or none."""
    draft = path.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


class Keeper:
    """Runs one agent, and ends all its processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spec = json.loads((directory / SPEC).read_text(encoding="utf-8"))
        self._deadline = time.monotonic() + float(self._spec["time_limit"])
        self._pid = 0
        self._code: int | None = None
        self._stop_requested = False
        self._wakeup, alarm = os.pipe()
        os.set_blocking(alarm, False)
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _stop(self, *_: object) -> None:
        self._stop_requested = True

    def run(self) -> dict[str, object]:
        """Run the agent to its end and return the exit record."""
        started = time.time()
        _adopt_orphans()
        try:
            self._start()
        except OSError as e:
            return _record("not_started", None, started, f"{e.strerror}: {e.filename}")
        while self._code is None and not self._stop_requested and self._seconds_left() > 0:
            self._wait(self._seconds_left())
        reason = "exited" if self._code is not None else "stopped"
        if self._code is None and not self._stop_requested:
            reason = "deadline"
        self._end_all()
        return _record(reason, self._code, started)

    def _start(self) -> None:
        folder = self._directory
        with (
            (folder / PROMPT).open("rb") as prompt,
            (folder / OUTPUT).open("ab") as output,
            (folder / ERRORS).open("ab") as errors,
        ):
            # Popen.__del__ would reap an agent that has ended, and lose its exit code.
            self._process = subprocess.Popen(
                self._spec["argv"],
                cwd=self._spec["cwd"],
                env=self._environment(),
                stdin=prompt,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
            self._pid = self._process.pid

    def _environment(self) -> dict[str, str]:
        """Return this environment without the variables to unset, and with those to set."""
        kept = {k: v for k, v in os.environ.items() if k not in self._spec.get("unset", ())}
        return {**kept, **self._spec["env"]}

    def _seconds_left(self) -> float:
        return self._deadline - time.monotonic()

    def _wait(self, seconds: float) -> None:
        """Sleep until a signal arrives or the time is over, then reap the children that ended."""
        select.select([self._wakeup], [], [], min(max(0.0, seconds), _LONGEST_WAIT))
        with suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if ended[0] == self._pid:
                    self._code = os.waitstatus_to_exitcode(ended[1])

    def _end_all(self) -> None:
        """Send SIGTERM to all descendants, and SIGKILL to those left after the grace period."""
        until = time.monotonic() + _GRACE
        self._signal(signal.SIGTERM)
        while _descendants() and (left := until - time.monotonic()) > 0:
            self._wait(left)
        while _descendants():
            self._signal(signal.SIGKILL)
            self._wait(0.05)
        self._wait(0.0)  # reap the last ones, so that no zombie is left to init

    def _signal(self, number: signal.Signals) -> None:
        for pid in _descendants():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if self._code is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)


def _record(
    reason: str, code: int | None, started: float, error: str | None = None
) -> dict[str, object]:
    ended = time.time()
    return {
        "reason": reason,
        "exit_code": code,
        "error": error,
        "started_at": started,
        "ended_at": ended,
    }


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _adopt_orphans() -> None:
    """Become the parent of processes that the agent orphans (Linux)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _die_with_parent() -> None:
    """Have the kernel kill the agent when the keeper dies (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _descendants() -> list[int]:
    """Return the ids of all descendants, in whatever session or process group they are."""
    children: dict[int, list[int]] = {}
    for pid, parent in _processes():
        children.setdefault(parent, []).append(pid)
    found, todo = [], [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _processes() -> list[tuple[int, int]]:
    """Return ``(pid, parent)`` of every process that is not a zombie."""
    if sys.platform != "linux":
        ps = subprocess.Popen(["ps", "-axo", "pid=,ppid=,stat="], stdout=subprocess.PIPE, text=True)
        rows = [row.split() for row in ps.communicate()[0].splitlines()]
        living = [(int(pid), int(parent)) for pid, parent, state in rows if state[0] != "Z"]
        return [(pid, parent) for pid, parent in living if pid != ps.pid]
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                stat = Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace")
                state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
                if state != "Z":
                    found.append((int(name), int(parent)))
    return found


def main() -> None:
    """Run the agent of a directory and write its exit record."""
    directory, lock = Path(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(lock, False)
    keeper = Keeper(directory)
    write_record(
        directory / STARTED, {"pid": os.getpid()}
    )  # the signal handlers are set: others may stop it from now on
    write_record(directory / EXIT, keeper.run())


if __name__ == "__main__":
    main()
