"""Run the steps of a verb: call the host or git, wait, retry, take turns.

`Driver` blocks its thread; `AsyncDriver` works in an anyio event loop. All logic without I/O is in
`core` and in `spec_kitty_client.workflow`.
"""

import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from spec_kitty_client._engine.core import Core, Git, HostCall, Negotiate, Retry, Steps
from spec_kitty_client._engine.turns import turn_of
from spec_kitty_client.api import replies
from spec_kitty_client.api.commands import Command
from spec_kitty_client.contract import Contract
from spec_kitty_client.errors import GitUnavailable, SpecKittyError
from spec_kitty_client.transports import (
    AsyncGitTransport,
    AsyncTransport,
    Closeable,
    Completed,
    GitTransport,
    Transport,
    call_environment,
)

if TYPE_CHECKING:
    import anyio

__all__ = ["AsyncDriver", "Driver"]

R = TypeVar("R", bound=replies.Reply)
T = TypeVar("T")


class Driver:
    """Runs steps one after another and blocks its thread until each is done.

    Args:
        core: The client's state.
        transport: How calls reach the host.
        retry: When to retry a call; None: never.
    """

    def __init__(self, core: Core, transport: Transport, retry: Retry | None) -> None:
        self.core: Core = core
        self.transport: Transport = transport
        self.retry: Retry | None = retry
        self._negotiation = threading.Lock()

    def prepare(self) -> None:
        """Start the transport's background processes."""
        if isinstance(self.transport, Closeable):
            self.transport.prepare()

    def close(self) -> None:
        """End the transport's background processes."""
        if isinstance(self.transport, Closeable):
            self.transport.close()

    def negotiate(self) -> Contract:
        """Return the host's contract, asking the host the first time."""
        with self._negotiation:
            return self.core.contract or self._run(self.core.negotiation())

    def call(self, command: Command[R]) -> R:
        """Send one command; a mutation waits for its turn."""
        return self._repeat(self._send_in_turn if command.mutates else self._send, command)

    def read(self, steps: Steps[T]) -> T:
        """Run the steps of a read-only verb."""
        return self._run(steps)

    def change(self, steps: Steps[T]) -> T:
        """Run the steps of a verb that changes the repository; waits for its turn."""
        with turn_of(self.transport).hold():
            return self._run(steps)

    def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""
        time.sleep(seconds)

    def _repeat(self, send: Callable[[Command[R]], R], command: Command[R]) -> R:
        if self.retry is None:
            return send(command)
        return self.retry.caller()(Retry.may_repeat, send, command)

    def _send_in_turn(self, command: Command[R]) -> R:
        return self.change(self.core.call(command))

    def _send(self, command: Command[R]) -> R:
        return self._run(self.core.call(command))

    def _run(self, steps: Steps[T]) -> T:
        with closing(steps):  # also at Ctrl-C, so that an observer sees the end of the call
            try:
                step = next(steps)
                while True:
                    try:
                        answer = self._do(step)
                    except SpecKittyError as e:
                        step = steps.throw(e)
                    else:
                        step = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    def _do(self, step: Any) -> Any:
        if isinstance(step, Command):
            return self._repeat(self._send, step)
        if isinstance(step, HostCall):
            with call_environment(step.env):
                return self.transport.run(step.args, time_limit=step.time_limit)
        if isinstance(step, Negotiate):
            return self.negotiate()
        return self._git(step)

    def _git(self, step: Git) -> Completed:
        if not isinstance(self.transport, GitTransport):
            raise GitUnavailable(_no_git(self.transport))
        return self.transport.git(step.args, folder=step.folder, time_limit=step.time_limit)


class AsyncDriver:
    """Runs steps one after another without blocking an anyio event loop.

    Args:
        core: The client's state.
        transport: How calls reach the host.
        retry: When to retry a call; None: never.
    """

    def __init__(self, core: Core, transport: AsyncTransport, retry: Retry | None) -> None:
        self.core: Core = core
        self.transport: AsyncTransport = transport
        self.retry: Retry | None = retry
        self._negotiation: anyio.Lock | None = None  # anyio is loaded when it is needed

    def prepare(self) -> None:
        """Start the transport's background processes, without waiting for them."""
        if isinstance(self.transport, Closeable):
            self.transport.prepare()

    async def aclose(self) -> None:
        """End the transport's background processes, without blocking the event loop."""
        from anyio import to_thread

        if isinstance(self.transport, Closeable):
            await to_thread.run_sync(self.transport.close)

    async def negotiate(self) -> Contract:
        """Return the host's contract, asking the host the first time."""
        import anyio

        self._negotiation = self._negotiation or anyio.Lock()
        async with self._negotiation:
            if known := self.core.contract:
                return known
            return await self._run(self.core.negotiation())

    async def call(self, command: Command[R]) -> R:
        """Send one command; a mutation waits for its turn."""
        return await self._repeat(self._send_in_turn if command.mutates else self._send, command)

    async def read(self, steps: Steps[T]) -> T:
        """Run the steps of a read-only verb."""
        return await self._run(steps)

    async def change(self, steps: Steps[T]) -> T:
        """Run the steps of a verb that changes the repository; waits for its turn."""
        async with turn_of(self.transport).hold_async():
            return await self._run(steps)

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""
        import anyio

        await anyio.sleep(seconds)

    async def _repeat(self, send: Callable[[Command[R]], Awaitable[R]], command: Command[R]) -> R:
        if self.retry is None:
            return await send(command)
        return await self.retry.async_caller()(Retry.may_repeat, send, command)

    async def _send_in_turn(self, command: Command[R]) -> R:
        return await self.change(self.core.call(command))

    async def _send(self, command: Command[R]) -> R:
        return await self._run(self.core.call(command))

    async def _run(self, steps: Steps[T]) -> T:
        with closing(steps):  # also when cancelled, so that an observer sees the end of the call
            try:
                step = next(steps)
                while True:
                    try:
                        answer = await self._do(step)
                    except SpecKittyError as e:
                        step = steps.throw(e)
                    else:
                        step = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    async def _do(self, step: Any) -> Any:
        if isinstance(step, Command):
            return await self._repeat(self._send, step)
        if isinstance(step, HostCall):
            with call_environment(step.env):
                return await self.transport.run(step.args, time_limit=step.time_limit)
        if isinstance(step, Negotiate):
            return await self.negotiate()
        return await self._git(step)

    async def _git(self, step: Git) -> Completed:
        if not isinstance(self.transport, AsyncGitTransport):
            raise GitUnavailable(_no_git(self.transport))
        return await self.transport.git(step.args, folder=step.folder, time_limit=step.time_limit)


def _no_git(transport: object) -> str:
    return (
        f"This verb runs git, and {type(transport).__name__} has no method `git`. Give the client "
        "a transport that has one; for tests: SimulatedRepository instead of SimulatedHost."
    )
