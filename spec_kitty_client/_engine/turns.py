"""Take turns: mutations of one repository run one after another, whoever in this process calls.

Hosts lose commits, and moves that they told as a success, when two mutations run at once (seen
on 1.0.3 and 3.1.10). Reads run beside mutations.
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
    """A lock that threads and the tasks of event loops share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None  # the thread whose call, or whose event loop, has it

    @contextmanager
    def hold(self) -> Generator[None]:
        """Wait for the turn, and have it for the block.

        Raises:
            InvalidCall: If a call of this very thread has it, which would then never end.
        """
        if not self._lock.acquire(blocking=False):
            if self._holder == threading.get_ident():
                msg = (
                    "A call of this thread is changing the same repository, and would wait for "
                    "this one for ever. In an event loop use AsyncClient for every call, or run "
                    "the blocking one in a thread of its own; do not call from within on_call."
                )
                raise InvalidCall(msg)
            self._lock.acquire()
        with self._held():
            yield

    @asynccontextmanager
    async def hold_async(self) -> AsyncGenerator[None]:
        """Wait for the turn without blocking the event loop, and have it for the block."""
        async with _of_this_loop(self):  # so that at most one thread per loop waits for the lock
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
    """Return the turn of the repository that a transport leads to.

    A transport that cannot tell its repository has a turn of its own.
    """
    key = transport.repository() if isinstance(transport, InRepository) else id(transport)
    with _guard:
        return _turns.setdefault(key, Turn())


def _of_this_loop(turn: Turn) -> "anyio.Lock":
    """Return the queue of this event loop's tasks for a turn."""
    import anyio
    from anyio.lowlevel import RunVar

    global _queues  # noqa: PLW0603 - made at the first use, because importing anyio takes long
    if _queues is None:
        _queues = RunVar("spec_kitty_client_turns")
    queues = _queues.get(None)
    if queues is None:
        queues = WeakKeyDictionary[Turn, anyio.Lock]()
        _queues.set(queues)
    return queues.setdefault(turn, anyio.Lock())
