"""How a call gets to a host, and how bytes come back.

A transport is anything with the one method of `Transport` or `AsyncTransport`. With the
methods of `GitTransport` or `AsyncGitTransport` the workflow verbs can look after branches
and worktrees; with that of `Identified` what is known about a host is known to all clients.
"""

from collections.abc import Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from attrs import field, frozen

__all__ = [
    "AsyncGitTransport",
    "AsyncTransport",
    "Completed",
    "GitTransport",
    "Identified",
    "InRepository",
    "Kept",
    "Transport",
    "call_environment",
    "call_variables",
]


@frozen(kw_only=True)
class Completed:
    """A program that has ended: the host, or git."""

    argv: tuple[str, ...]
    """The whole command line."""
    exit_code: int | None
    """None when the time limit passed and it was ended; negative: killed by a signal."""
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    time_limit: float
    """Seconds that it was given."""
    warm: bool = field(default=False, eq=False)
    """Whether a host that was loaded already has answered."""


_call_env: ContextVar[Mapping[str, str]] = ContextVar("spec_kitty_client_call_env")


@contextmanager
def call_environment(env: Mapping[str, str] | None) -> Generator[None]:
    """Give host calls of this thread or task variables of their own, within the block."""
    if not env:
        yield
        return
    token = _call_env.set(env)
    try:
        yield
    finally:
        _call_env.reset(token)


def call_variables() -> Mapping[str, str]:
    """Return the variables that the host of the current call gets besides all others."""
    return _call_env.get({})


class Transport(Protocol):
    """Runs one host call at a time per thread."""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Run ``spec-kitty`` with these arguments and wait for its end.

        Args:
            args: What comes after the name of the program.
            time_limit: Seconds after which the host is ended with all its children.

        Raises:
            HostNotFound: If there is no such program.
        """
        ...


class AsyncTransport(Protocol):
    """The same, without blocking an anyio event loop."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`. Cancellation ends the host with all its children."""
        ...


@runtime_checkable
class GitTransport(Protocol):
    """Can run git where the host runs."""

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git with these arguments and wait for its end.

        Args:
            args: What comes after ``git``.
            folder: Where to run it; None: where the host runs.
            time_limit: Seconds after which it is ended with all its children.

        Raises:
            HostNotFound: If there is no git.
        """
        ...


@runtime_checkable
class AsyncGitTransport(Protocol):
    """The same, without blocking an anyio event loop."""

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        ...


@runtime_checkable
class Identified(Protocol):
    """Can tell one host program from another."""

    def identity(self) -> Hashable:
        """Return what stays the same as long as the program does; None: not known."""
        ...


@runtime_checkable
class InRepository(Protocol):
    """Can tell one repository from another."""

    def repository(self) -> Hashable:
        """Return what is the same for all folders and worktrees of one repository."""
        ...


@runtime_checkable
class Kept(Protocol):
    """Keeps something running between two calls."""

    def prepare(self) -> None:
        """Start it now, without waiting for it."""
        ...

    def close(self) -> None:
        """End it; the next call starts it again."""
        ...
