"""How a call gets to a host, and how bytes come back.

A transport is anything with the one method of `Transport` or `AsyncTransport`.
"""

from collections.abc import Sequence
from typing import Protocol

from attrs import field, frozen

__all__ = ["AsyncTransport", "Completed", "Transport"]


@frozen(kw_only=True)
class Completed:
    """A host call that has ended."""

    argv: tuple[str, ...]
    """The whole command line."""
    exit_code: int | None
    """None when the time limit passed and the host was ended; negative: killed by a signal."""
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    time_limit: float
    """Seconds that it was given."""


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
