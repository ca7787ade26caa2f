"""The interface of transports, which take a call to a host and return its output.

A transport is any object with the method of `Transport` or `AsyncTransport`. The workflow verbs
need the method of `GitTransport` or `AsyncGitTransport` as well. With the method of `HasIdentity`,
all clients of a process share the contract of a host.
"""

from collections.abc import Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from attrs import field, frozen

__all__ = [
    "AsyncGitTransport",
    "AsyncTransport",
    "Closeable",
    "Completed",
    "GitTransport",
    "HasIdentity",
    "InRepository",
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
    """None if the SDK ended it at the time limit; negative: killed by a signal."""
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    time_limit: float
    """The time limit, in seconds."""
    warm: bool = field(default=False, eq=False)
    """Whether a warm host answered."""


_call_env: ContextVar[Mapping[str, str]] = ContextVar("spec_kitty_client_call_env")


@contextmanager
def call_environment(env: Mapping[str, str] | None) -> Generator[None]:
    """Set variables for the host calls of this thread or task, within the block."""
    if not env:
        yield
        return
    token = _call_env.set(env)
    try:
        yield
    finally:
        _call_env.reset(token)


def call_variables() -> Mapping[str, str]:
    """Return the additional variables for the host of the current call."""
    return _call_env.get({})


class Transport(Protocol):
    """Runs one host call at a time per thread."""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Run ``spec-kitty`` with these arguments and wait for its end.

        Args:
            args: The arguments after the name of the program.
            time_limit: Seconds after which the host is ended with all its children.

        Raises:
            HostNotFound: If there is no such program.
        """
        ...


class AsyncTransport(Protocol):
    """Runs host calls without blocking an anyio event loop."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`. Cancellation ends the host with all its children."""
        ...


@runtime_checkable
class GitTransport(Protocol):
    """A transport that can run git where the host runs."""

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git with these arguments and wait for its end.

        Args:
            args: The arguments after ``git``.
            folder: The folder to run in; None: the folder in which the host runs.
            time_limit: Seconds after which it is ended with all its children.

        Raises:
            HostNotFound: If there is no git.
        """
        ...


@runtime_checkable
class AsyncGitTransport(Protocol):
    """A transport that runs git without blocking an anyio event loop."""

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        ...


@runtime_checkable
class HasIdentity(Protocol):
    """A transport that can distinguish host programs."""

    def identity(self) -> Hashable:
        """Return a value that changes when the program changes; None: unknown."""
        ...


@runtime_checkable
class InRepository(Protocol):
    """A transport that can distinguish repositories."""

    def repository(self) -> Hashable:
        """Return a value that is equal for all folders and worktrees of one repository."""
        ...


@runtime_checkable
class Closeable(Protocol):
    """A transport that keeps a process between two calls."""

    def prepare(self) -> None:
        """Start the process now, without waiting for it."""
        ...

    def close(self) -> None:
        """End the process; the next call starts it again."""
        ...
