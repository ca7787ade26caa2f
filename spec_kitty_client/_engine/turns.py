"""Run the mutations of one repository one after another, for all clients of this process.

Two mutations at the same time make hosts lose commits, and moves that they reported as a success
(seen on 1.0.3 and 3.1.10). Reads run at the same time as mutations.
"""

import threading
from collections.abc import AsyncGenerator, Generator, Hashable
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.transports import InRepository

if TYPE_CHECKING:
    import anyio
    from anyio.lowlevel import RunVar

__all__ = ["Turn", "turn_of"]


class Turn:
    """A lock shared by threads and by tasks of event loops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None  # the thread whose call, or whose event loop, has it

    @contextmanager
    def hold(self) -> Generator[None]:
        """Wait for the turn and hold it during the block.

        Raises:
            InvalidCall: If this thread holds it already, which would be a deadlock.
        """
        if not self._lock.acquire(blocking=False):
            if self._holder == threading.get_ident():
                msg = (
                    "Deadlock: another call of this thread is changing the same repository. In "
                    "an event loop use AsyncClient for every call, or run the blocking call in a "
                    "thread of its own. Make no calls from within on_call."
                )
                raise InvalidCall(msg)
            self._lock.acquire()
        with self._held():
            yield

    @asynccontextmanager
    async def hold_async(self) -> AsyncGenerator[None]:
        """Wait for the turn without blocking the event loop, and hold it during the block."""
        async with _of_this_loop(self):  # at most one thread per event loop waits for the lock
            if not self._lock.acquire(blocking=False):
                from anyio import CapacityLimiter, to_thread

                await to_thread.run_sync(self._lock.acquire, limiter=CapacityLimiter(1))
            with self._held():
                yield

    @contextmanager
    def _held(self) -> Generator[None]:
        self._holder = threading.get_ident()
        try:
            yield
        finally:
            self._holder = None
            self._lock.release()


_turns: WeakValueDictionary[Hashable, Turn] = WeakValueDictionary()
_guard = threading.Lock()
_queues: "RunVar[WeakKeyDictionary[Turn, anyio.Lock]] | None" = None  # one value per event loop


def turn_of(transport: object) -> Turn:
    """Return the turn of the repository that a transport works on.

    A transport that cannot name its repository gets a turn of its own.
    """
    key = transport.repository() if isinstance(transport, InRepository) else id(transport)
    with _guard:
        return _turns.setdefault(key, Turn())


def _of_this_loop(turn: Turn) -> "anyio.Lock":
    """Return the lock at which the tasks of this event loop queue for a turn."""
    import anyio
    from anyio.lowlevel import RunVar

    global _queues  # noqa: PLW0603 - made at the first use, because importing anyio is slow
    if _queues is None:
        _queues = RunVar("spec_kitty_client_turns")
    queues = _queues.get(None)
    if queues is None:
        queues = WeakKeyDictionary[Turn, anyio.Lock]()
        _queues.set(queues)
    return queues.setdefault(turn, anyio.Lock())
