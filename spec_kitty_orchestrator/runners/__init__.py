"""Where an agent's process runs: what a run asks of such a place.

`runners.local` is this machine.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from attrs import frozen

__all__ = ["Ended", "Job", "Reason", "Runner"]

Reason = Literal["exited", "deadline", "stopped", "not_started", "lost"]


@frozen(kw_only=True)
class Job:
    """A run of an agent."""

    directory: Path
    """Where everything about it is kept; made by `Runner.launch`, must not exist."""
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    """Set on top of this process's environment."""
    prompt: str
    time_limit: float
    """Seconds."""


@frozen(kw_only=True)
class Ended:
    """How a run ended."""

    reason: Reason
    """``lost``: the keeper died without a record, for example with the machine."""
    exit_code: int | None = None
    """Negative: killed by that signal. None: it was ended, or never started."""
    error: str | None = None
    started_at: float = 0.0
    ended_at: float = 0.0


class Runner(Protocol):
    """Runs agents, each known by the directory of its job, whichever process started it."""

    def launch(self, job: Job) -> None:
        """Start a run; it goes on when this process ends.

        Raises:
            OSError: If it cannot be started.
        """
        ...

    async def wait(self, directory: Path) -> Ended:
        """Wait until a run has ended; a cancellation ends the waiting alone."""
        ...

    async def stop(self, directory: Path) -> Ended:
        """End a run, if it is alive, and return how it ended."""
        ...

    def tail(self, directory: Path, name: str = ...) -> str:
        """Return the end of what an agent printed.

        Args:
            directory: That of its job.
            name: `keeper.OUTPUT`, the default, or `keeper.ERRORS`.
        """
        ...
