"""Transports that keep a host warm: it is imported once, and forked for every call.

A host takes seconds to import and hundredths of a second to answer. A fork server, a process of the
host's own interpreter, imports it; its children are the calls (see `server`). If that is not
possible, a transport starts a process for every call.

Known differences from a process of its own:

- values that a module computes at import from the time, `random` or the current folder are those of
  the server (a call in another folder is made by it only for the API, which asks for its folder);
- resource limits, priority and ignored signals are those at the start of the server;
- a call may find modules in memory that it does not import itself;
- the server notices an edited file of the host only if the host is not installed;
- the variables that a shell sets by itself (``_``, ``SHLVL``, ``PWD``) are not set where the host
  is behind a wrapper.
"""

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, evolve, field

from spec_kitty_client.errors import CannotBeWarm, HostNotFound
from spec_kitty_client.transports import (
    AsyncGitTransport,
    AsyncTransport,
    Completed,
    GitTransport,
    HasIdentity,
    InRepository,
    Transport,
)
from spec_kitty_client.transports.launchers import NotPython, find
from spec_kitty_client.transports.program import GRACE, LONGEST_WAIT
from spec_kitty_client.transports.warm.connection import (
    LONGEST_END,
    PendingCall,
    ServerConnection,
    ServerLocation,
    connections,
)

__all__ = ["AsyncWarmTransport", "ServerLocation", "WarmTransport", "Warmable"]

_LONGEST = 100_000  # bytes of arguments; the operating system may refuse to start more
_STRIKES = 3  # servers in a row that died


class Warmable(HasIdentity, InRepository, Protocol):
    """A transport whose host can be kept warm."""

    def location(self) -> ServerLocation | None:
        """Return the place for a server; None: there is none. May take as long as a call."""
        ...


class _ColdTransport(Warmable, Transport, GitTransport, Protocol):
    """A transport that `WarmTransport` can wrap."""


class _AsyncColdTransport(Warmable, AsyncTransport, AsyncGitTransport, Protocol):
    """A transport that `AsyncWarmTransport` can wrap."""


class _Server:
    """A handle on a server, which ends with its last handle or with this process."""

    def __init__(self, location: ServerLocation, connection: ServerConnection) -> None:
        self.key = location.key
        self.connection = connection
        self.close = weakref.finalize(self, connection.close)


_servers: weakref.WeakValueDictionary[Hashable, _Server] = weakref.WeakValueDictionary()
_starting = [threading.Lock()]
"""Held while a server is looked up or started, so that two callers do not start two."""


def _forget() -> None:
    """Forget all servers in a fork of this process, and replace the lock, which may be held."""
    _starting[:] = [threading.Lock()]
    for connection in tuple(connections):
        connection.disown()


os.register_at_fork(after_in_child=_forget)

R = TypeVar("R")
T = TypeVar("T", bound=Warmable)
S = TypeVar("S", bound=_ColdTransport)
A = TypeVar("A", bound=_AsyncColdTransport)


@define(eq=False)
class _Warm(Generic[T]):
    """The common part of both transports."""

    cold: T
    """The transport that runs git, and makes the calls that cannot be made warm."""
    only: bool = field(default=False, kw_only=True)
    """Raise `CannotBeWarm` instead of a call in a process of its own."""
    _server: _Server | None = field(default=None, init=False)
    _dead: set[ServerConnection] = field(factory=set, init=False)
    """Servers that have died since the last call that was answered."""
    _given_up: tuple[Hashable, str] | None = field(default=None, init=False)

    @property
    def why_cold(self) -> str | None:
        """The reason that calls run cold; None: no reason is known."""
        return self._given_up and self._given_up[1]

    def identity(self) -> Hashable:
        """See `HasIdentity.identity`."""
        return self.cold.identity()

    def repository(self) -> Hashable:
        """See `InRepository.repository`."""
        return self.cold.repository()

    def prepare(self) -> None:
        """Start the server now, without waiting for it."""
        with contextlib.suppress(HostNotFound, CannotBeWarm):
            if (location := self.cold.location()) is not None:
                self._find(location)

    def close(self) -> None:
        """End the server, unless other transports use it. The next call starts a new one."""
        self._server = None

    def _begin(self, args: Sequence[str]) -> tuple[_Server, PendingCall] | None:
        """Ask a server for a call, if it can be made warm. The caller keeps the server alive."""
        size = sum(len(os.fsencode(word)) for word in args)
        if size > _LONGEST or any("\0" in word for word in args):
            return None  # a cold call fails with the operating system's own error
        location = self.cold.location()
        if location is None or (server := self._find(location)) is None:
            return None
        return server, server.connection.send(args, location)

    def _find(self, location: ServerLocation) -> _Server | None:
        server = self._running(location)
        if server is None and (self._given_up is None or self._given_up[0] != location.key):
            try:
                server = self._start(location)
            except (NotPython, OSError) as e:
                self._given_up = (location.key, str(e))
        if server is None and self.only:
            msg = f"The host cannot be kept warm: {self.why_cold}"
            raise CannotBeWarm(msg)
        return server

    def _start(self, location: ServerLocation) -> _Server:
        launch = find(location.words, location.head)
        with _starting[0]:
            if (server := self._running(location)) is None:
                server = _Server(location, ServerConnection(location, launch))
                self._server = _servers[location.key] = server
        self._given_up = None
        return server

    def _running(self, location: ServerLocation) -> _Server | None:
        for server in (self._server, _servers.get(location.key)):
            if server is not None and server.key == location.key and server.connection.usable:
                self._server, self._given_up = server, None
                return server
        return None

    def _conclude(
        self, call: PendingCall, args: Sequence[str], time_limit: float, *, in_time: bool
    ) -> Completed | None:
        """Return the result of a call; None: the server did not make it, so it may run cold."""
        connection = call.connection
        if connection.usable:
            self._dead.clear()
        else:
            self._dead.add(connection)
            if not connection.again or len(self._dead) >= _STRIKES:
                self._given_up = (connection.location.key, connection.over or "")
        if in_time and call.not_made is not None:
            return None
        return Completed(
            argv=(*connection.location.words, *args),
            exit_code=call.code if in_time else None,
            stdout=call.out,
            stderr=call.err,
            time_limit=time_limit,
            warm=True,
        )


class WarmTransport(_Warm[S]):
    """Makes the calls of another transport with a warm host, if possible.

    The answers are the same. A call whose server was killed has the exit code -9, as if its own
    process had been killed.
    """

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`. Ctrl-C ends the call with all its children."""
        until = time.monotonic() + time_limit
        while begun := self._begin(args):
            (_server, call), in_time = begun, False
            try:
                in_time = call.done.wait(min(_left(until), LONGEST_WAIT))
            finally:
                if not in_time:
                    _end(call)
            if completed := self._conclude(call, args, time_limit, in_time=in_time):
                return completed
            if call.rejected:
                break
        return evolve(self.cold.run(args, time_limit=_left(until)), time_limit=time_limit)

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        return self.cold.git(args, folder=folder, time_limit=time_limit)


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())


def _end(call: PendingCall) -> None:
    """End a call; an interruption only shortens the grace."""
    try:
        call.end()
        call.done.wait(LONGEST_END)
    finally:
        if not call.done.is_set():
            call.end(at_once=True)
            if not call.done.wait(GRACE):
                call.connection.kill()
                call.done.wait(GRACE)


class AsyncWarmTransport(_Warm[A]):
    """The async form of `WarmTransport`, for any anyio event loop."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `AsyncTransport.run`."""
        import anyio

        until = time.monotonic() + time_limit
        # In a thread, because finding a host over ssh takes time.
        while begun := await _in_thread(self._begin, args):
            (_server, call), in_time = begun, False
            try:
                with anyio.move_on_after(_left(until)):
                    in_time = await _in_thread(call.done.wait, abandon=True)
            finally:
                if not in_time:
                    with anyio.CancelScope(shield=True):
                        await _in_thread(_end, call)
            if completed := self._conclude(call, args, time_limit, in_time=in_time):
                return completed
            if call.rejected:
                break
        completed = await self.cold.run(args, time_limit=_left(until))
        return evolve(completed, time_limit=time_limit)

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        return await self.cold.git(args, folder=folder, time_limit=time_limit)


async def _in_thread(function: Callable[..., R], *args: Any, abandon: bool = False) -> R:
    import anyio.to_thread

    # A limiter of its own: calls must never queue for one of a limited number of threads.
    return await anyio.to_thread.run_sync(
        function, *args, abandon_on_cancel=abandon, limiter=anyio.CapacityLimiter(1)
    )
