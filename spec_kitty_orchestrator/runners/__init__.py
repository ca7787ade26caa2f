"""Where agent processes run: the interface that a run uses. `runners.local` is this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from attrs import frozen

__all__ = ["AgentProcessSpec", "ExitReason", "ExitRecord", "Runner"]

ExitReason = Literal["exited", "deadline", "stopped", "not_started", "lost"]


@frozen(kw_only=True)
class AgentProcessSpec:
    """The process of one agent run."""

    directory: Path
    """The folder for the run's files. `Runner.launch` creates it; it must not exist."""
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    """Added to the environment of this process."""
    prompt: str
    """Given on stdin."""
    time_limit: float
    """Seconds."""


@frozen(kw_only=True)
class ExitRecord:
    """How an agent process ended."""

    reason: ExitReason
    """``lost``: the keeper died without writing a record, for example with the machine."""
    exit_code: int | None = None
    """The negative signal number if a signal killed it; None if the keeper ended or never
    started it."""
    error: str | None = None
    """Why it could not be started."""
    started_at: float = 0.0
    """Seconds since the epoch."""
    ended_at: float = 0.0
    """Seconds since the epoch."""


class Runner(Protocol):
    """Runs agent processes. The directory identifies a process, whoever launched it."""

    def launch(self, process: AgentProcessSpec) -> None:
        """Start a process. It continues when the orchestrator ends.

        Raises:
            OSError: If it cannot be started.
        """
        ...

    async def wait(self, directory: Path) -> ExitRecord:
        """Wait for the end of a process. Cancelling the wait does not end the process."""
        ...

    async def stop(self, directory: Path) -> ExitRecord:
        """End a process if it is alive, and return how it ended."""
        ...

    def tail(self, directory: Path, name: str = ...) -> str:
        """Return the end of an output file of a process.

        Args:
            directory: The directory of the process.
            name: `keeper.OUTPUT`, the default, or `keeper.ERRORS`.
        """
        ...
