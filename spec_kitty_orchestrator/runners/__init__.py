"""Where agent processes run: the interface that a run uses. `runners.local` is this machine."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from attrs import field, frozen

__all__ = ["AgentProcessSpec", "ExitReason", "ExitRecord", "LeftProcess", "Runner"]

ExitReason = Literal["exited", "deadline", "stopped", "not_started", "lost"]


@frozen(kw_only=True)
class AgentProcessSpec:
    """The process of one agent run."""

    directory: Path
    """The folder for the run's files. `Runner.launch` creates it; it must not exist."""
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    """Added to the environment of this process, and never written to a file."""
    prompt: str
    """Given on stdin."""
    time_limit: float
    """Seconds."""
    repository: Path | None = None
    """The primary checkout. The processes can be found by it if `directory` is removed."""
    max_log: int = 256 * 1024 * 1024
    """Bytes that are kept of stdout, and of stderr: the head and the tail."""


@frozen(kw_only=True)
class LeftProcess:
    """A process of an agent run that could not be ended."""

    pid: int
    command: str
    """The name of the program, without its arguments."""
    why: str

    @property
    def remedy(self) -> str:
        """The command that ends it."""
        return f"sudo kill -9 {self.pid}"

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command}): {self.why}"


def _left(found: Iterable[LeftProcess | Mapping[str, Any]]) -> tuple[LeftProcess, ...]:
    return tuple(p if isinstance(p, LeftProcess) else LeftProcess(**p) for p in found)


@frozen(kw_only=True)
class ExitRecord:
    """The record of how an agent process ended."""

    reason: ExitReason
    """``lost``: the keeper died without writing a record, for example with the machine. The reader
    of this record has ended its processes.
    """
    exit_code: int | None = None
    """The negative signal number if a signal killed it; None if it was not started, could not be
    ended, or its keeper died.
    """
    error: str | None = None
    """Why it could not be started."""
    started_at: float = 0.0
    """Seconds since the epoch."""
    ended_at: float = 0.0
    """Seconds since the epoch."""
    left: tuple[LeftProcess, ...] = field(default=(), converter=_left)
    """The processes of the agent that could not be ended."""


class Runner(Protocol):
    """Runs agent processes. The directory identifies a process, also to a later orchestrator."""

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
        """End a process if it is alive, and return how it ended. Takes ten seconds at most."""
        ...

    def tail(self, directory: Path, name: str = ...) -> str:
        """Return the end of an output file of a process.

        Args:
            directory: The directory of the process.
            name: `keeper.OUTPUT`, the default, or `keeper.ERRORS`.
        """
        ...
