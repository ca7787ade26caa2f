"""One run per repository, and how another terminal can end it."""

import contextlib
import json
import time
from collections.abc import Generator

from filelock import FileLock, Timeout

from spec_kitty_orchestrator.errors import AnotherRun
from spec_kitty_orchestrator.state.files import Places

__all__ = ["end_live_run", "is_alive", "only_run"]

_LOOK = 0.5  # seconds; `is_alive` of another process holds the lock for a moment
_BIRTH = 2.0  # seconds in which a run that has the lock writes down who it is


@contextlib.contextmanager
def only_run(places: Places) -> Generator[None]:
    """Be the only run in a repository.

    Raises:
        AnotherRun: If there is one.
    """
    import psutil  # whoever only asks whether a run is alive does not need it

    places.make()
    lock = FileLock(places.lock)
    try:
        lock.acquire(timeout=_LOOK)
    except Timeout:
        msg = (
            "Another run is alive in this repository. See `spec-kitty-orchestrator status`, or "
            "end it with `spec-kitty-orchestrator abort`."
        )
        raise AnotherRun(msg) from None
    try:
        me = psutil.Process()
        places.live.write_text(json.dumps({"pid": me.pid, "born": me.create_time()}))
        yield
    finally:
        lock.release()


def is_alive(places: Places) -> bool:
    """Return whether a run is alive in a repository."""
    if not places.lock.exists():
        return False
    try:
        with FileLock(places.lock).acquire(timeout=0):
            return False
    except Timeout:
        return True


def end_live_run(places: Places, seconds: float) -> bool:
    """End the run that is alive in a repository; return whether there was one.

    Raises:
        AnotherRun: If it does not end in time.
    """
    if not is_alive(places):
        return False
    _signal_it(places)
    try:
        with FileLock(places.lock).acquire(timeout=seconds):
            return True
    except Timeout:
        msg = f"The run did not end within {seconds:.0f} s; {places.live} says which process it is."
        raise AnotherRun(msg) from None


def _signal_it(places: Places) -> None:
    """Signal the process that holds the lock, if it is the one that wrote its number."""
    import psutil

    until = time.monotonic() + _BIRTH
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
            live = json.loads(places.live.read_text())
            process = psutil.Process(live["pid"])
            if process.create_time() == live["born"]:
                process.terminate()
                return
        time.sleep(0.05)
