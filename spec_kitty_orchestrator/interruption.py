"""End a run at SIGINT, SIGTERM or SIGHUP: in order at the first signal, at once at the second."""

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, NoReturn, Self, TypeVar

import anyio

from spec_kitty_client.transports import program
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.runners import local

__all__ = ["Interruption"]

T = TypeVar("T")
_LIMIT = 8.5  # seconds from the first signal to the end of this process, in whatever state it is
_LAST = 0.6  # seconds for keepers to kill their agents
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """The handling of signals during a block, in which one run may take place.

    The first signal cancels the run. The second one, or the time limit after the first, ends this
    process at once, with its host and git calls and its agents. Outside the event loop the first
    signal raises KeyboardInterrupt. A signal that is ignored stays ignored, as with nohup. Outside
    the main thread, no signal is handled.
    """

    def __init__(self) -> None:
        self.received: bool = False
        """Whether a signal has arrived."""
        self._in_loop = False
        self._before: dict[int, Any] = {}
        self._reader, self._writer = os.pipe()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = [n for n in _SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
            for number in (*numbers, signal.SIGALRM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received or number == signal.SIGALRM:
            _end_now()
        self.received = True
        signal.setitimer(signal.ITIMER_REAL, _LIMIT)
        if not self._in_loop:
            raise KeyboardInterrupt
        os.write(self._writer, b"!")

    def run(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Run an async function in an event loop, in which `until_signal` sees the signals."""
        self._in_loop = True
        try:
            return anyio.run(function, *args)
        finally:
            self._in_loop = False

    async def until_signal(
        self, call: Callable[[], Awaitable[T]], on_signal: Callable[[], None] = lambda: None
    ) -> T | None:
        """Return the result of a call, or None if a signal has cancelled it.

        Args:
            call: The call to wait for.
            on_signal: Called when the call is cancelled.
        """
        results: list[T] = []
        problem: Exception | None = None
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._cancel_at_signal, scope, on_signal)
                try:
                    results.append(await call())
                except Exception as e:  # noqa: BLE001
                    problem = e  # raised below, outside the task group, which would wrap it
                tasks.cancel_scope.cancel()
        if problem:
            raise problem
        return results[0] if results else None

    async def _cancel_at_signal(
        self, scope: anyio.CancelScope, on_signal: Callable[[], None]
    ) -> None:
        await anyio.wait_readable(self._reader)
        scope.cancel()
        on_signal()
        sys.stderr.write("Ending the agents...\n")  # last, because a terminal may be stopped
        sys.stderr.flush()


def _end_now() -> NoReturn:
    program.kill_all()
    local.end_at_once(_LAST)
    os._exit(ExitCode.INTERRUPTED)
