"""The lock that allows one run per repository, and the way to end that run from elsewhere."""

import contextlib
import json
import time
from collections.abc import Generator

from filelock import FileLock, Timeout

from spec_kitty_orchestrator.errors import AnotherRun
from spec_kitty_orchestrator.state.files import StateFiles

__all__ = ["end_live_run", "is_alive", "only_run"]

_TIMEOUT = 0.5  # seconds; `is_alive` of another process holds the lock for a moment
_STARTUP = 2.0  # seconds in which a run that has the lock records its process id


@contextlib.contextmanager
def only_run(files: StateFiles) -> Generator[None]:
    """Hold the lock of a repository, so that this is its only run.

    Raises:
        AnotherRun: If another run holds it.
    """
    import psutil  # not needed to ask whether a run is alive

    files.make()
    lock = FileLock(files.lock)
    try:
        lock.acquire(timeout=_TIMEOUT)
    except Timeout:
        msg = (
            "Another run is alive in this repository. See `spec-kitty-orchestrator status`, or "
            "end it with `spec-kitty-orchestrator abort`."
        )
        raise AnotherRun(msg) from None
    try:
        me = psutil.Process()
        files.live.write_text(json.dumps({"pid": me.pid, "born": me.create_time()}))
        yield
    finally:
        lock.release()


def is_alive(files: StateFiles) -> bool:
    """Return whether a run is alive in a repository."""
    if not files.lock.exists():
        return False
    try:
        with FileLock(files.lock).acquire(timeout=0):
            return False
    except Timeout:
        return True


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
    try:
        with FileLock(files.lock).acquire(timeout=seconds):
            return True
    except Timeout:
        msg = (
            f"The live run did not end within {seconds:.0f} s. Its process id is in {files.live}; "
            "end it with kill."
        )
        raise AnotherRun(msg) from None


def _terminate(files: StateFiles) -> None:
    """Send SIGTERM to the process that recorded its id, if it is still the same process."""
    import psutil

    until = time.monotonic() + _STARTUP
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
            live = json.loads(files.live.read_text())
            process = psutil.Process(live["pid"])
            if process.create_time() == live["born"]:
                process.terminate()
                return
        time.sleep(0.05)
