"""The lock that allows one run per repository, and a way to end that run from outside."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from spec_kitty_orchestrator.errors import AnotherRun
from spec_kitty_orchestrator.state.files import StateFiles, open_private

if TYPE_CHECKING:
    import psutil

__all__ = ["RunLock", "end_live_run", "is_alive", "only_run"]

_TIMEOUT = 0.5  # seconds; `is_alive` of another process holds the lock for a moment
_STARTUP = 2.0  # seconds in which a run that has the lock records its process id
_PAUSE = 0.05  # seconds


class RunLock:
    """The lock of a repository, held on an open file."""

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._file = -1

    def acquire(self, seconds: float) -> None:
        """Take the lock, and record which process has it.

        Raises:
            AnotherRun: If another process has it after that many seconds.
        """
        until = time.monotonic() + seconds
        while not self._take():
            if time.monotonic() > until:
                msg = (
                    "Another run is alive in this repository. See `spec-kitty-orchestrator "
                    "status`, or end it with `spec-kitty-orchestrator abort`."
                )
                raise AnotherRun(msg)
            time.sleep(_PAUSE)
        self._record()

    def _take(self) -> bool:
        if _live_process(self._files):
            return False  # a run is alive whose lock file was removed
        file = open_private(self._files.lock, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self.release()
        self._file = file
        return self._is_in_place()

    def _is_in_place(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._file), os.lstat(self._files.lock))
        return False

    def _record(self) -> None:
        import psutil  # not needed to ask whether a run is alive

        me = psutil.Process()
        record = json.dumps({"pid": me.pid, "born": me.create_time()}).encode()
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, record, 0)
        live = open_private(self._files.live, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(live, "wb") as file:
            file.write(record)

    def keep(self) -> None:
        """Take the lock again if its file was removed or replaced.

        Raises:
            AnotherRun: If another run has begun meanwhile.
        """
        if self._is_in_place():
            return
        self._files.make()
        try:
            self.acquire(0)
        except AnotherRun as e:
            msg = (
                f"The lock {self._files.lock} was removed, and another run has begun. This run "
                "ends, and so do its agents. See `spec-kitty-orchestrator status`."
            )
            raise AnotherRun(msg) from e

    def release(self) -> None:
        """Release the lock."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
            os.close(self._file)
        self._file = -1


@contextlib.contextmanager
def only_run(files: StateFiles) -> Generator[RunLock]:
    """Hold the lock of a repository, so that this is its only run.

    Raises:
        AnotherRun: If another run holds it.
        UsageProblem: If a folder for its files is a symbolic link.
    """
    files.make()
    lock = RunLock(files)
    try:
        lock.acquire(_TIMEOUT)
    except OSError:
        lock.release()
        raise
    try:
        yield lock
    finally:
        with contextlib.suppress(OSError):
            files.live.unlink(missing_ok=True)
        lock.release()


def is_alive(files: StateFiles) -> bool:
    """Return whether a run is alive in a repository."""
    return _is_held(files) or _live_process(files) is not None


def _is_held(files: StateFiles) -> bool:
    try:
        file = open_private(files.lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


def _live_process(files: StateFiles) -> "psutil.Process | None":
    """Return the process that recorded itself as the live run, if it is another one and lives."""
    for path in (files.live, files.lock):
        if process := _recorded(path):
            return process
    return None


def end_live_run(files: StateFiles, seconds: float) -> bool:
    """Send SIGTERM to the live run of a repository and wait for its end.

    Args:
        files: The files of the repository.
        seconds: How long to wait.

    Returns:
        Whether there was a live run.

    Raises:
        AnotherRun: If it does not end in time.
    """
    if not is_alive(files):
        return False
    _terminate(files)
    until = time.monotonic() + seconds
    while is_alive(files):
        if time.monotonic() > until:
            msg = (
                f"The live run did not end within {seconds:.0f} s. Its process id is in "
                f"{files.lock}; end it with kill."
            )
            raise AnotherRun(msg)
        time.sleep(_PAUSE)
    return True


def _terminate(files: StateFiles) -> None:
    """Send SIGTERM to the process that recorded its id, if it is still the same process."""
    until = time.monotonic() + _STARTUP
    while time.monotonic() < until:
        if process := _live_process(files):
            process.terminate()
            process.resume()  # a SIGSTOP may have suspended it
            return
        time.sleep(_PAUSE)


def _recorded(path: Path) -> "psutil.Process | None":
    """Return the process that a file names, if it is not this one and is alive."""
    try:
        record = json.loads(_read(path))
        pid, born = record["pid"], record["born"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    import psutil  # not needed in a repository without a run

    if pid == os.getpid():
        return None
    with contextlib.suppress(psutil.Error, ValueError, TypeError):
        process = psutil.Process(pid)
        if process.create_time() == born and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _read(path: Path) -> bytes:
    with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
        return file.read()
