"""The errors that stop a run, each with its exit code, and those that stop one work package."""

from __future__ import annotations  # the command line loads the client when it needs it

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spec_kitty_client import SpecKittyError

__all__ = [
    "AnotherRun",
    "DependenciesNotReady",
    "ExitCode",
    "HostProblem",
    "OrchestratorError",
    "UsageProblem",
    "WorkPackageFailed",
    "is_host_failure",
]


class ExitCode(IntEnum):
    """The exit codes of ``spec-kitty-orchestrator``."""

    DONE = 0
    """All steps that the settings ask for are done."""
    INCOMPLETE = 1
    """A work package is blocked, failed, or waits for one that is."""
    USAGE = 2
    """The user has to correct a flag, a setting, a file or the repository first."""
    HOST = 3
    """The host is missing, too old, or its answer breaks the contract."""
    ANOTHER_RUN = 4
    """Another run is alive in this repository."""
    INTERRUPTED = 130
    """Ctrl-C, SIGTERM or ``abort``. ``resume`` continues the run."""


class OrchestratorError(Exception):
    """An error that stops a run, with one message and an exit code."""

    exit_code = ExitCode.INCOMPLETE


class UsageProblem(OrchestratorError):
    """The user has to correct something before a run can start or end."""

    exit_code = ExitCode.USAGE


class HostProblem(OrchestratorError):
    """The host does not work: it is missing, too old, or its answer breaks the contract."""

    exit_code = ExitCode.HOST


class AnotherRun(OrchestratorError):
    """Another run is alive in this repository."""

    exit_code = ExitCode.ANOTHER_RUN


class WorkPackageFailed(Exception):
    """A work package cannot go on in this run. Others can.

    Args:
        reason: Why, and what the user can do about it.
        host: Whether the host itself does not work.
    """

    def __init__(self, reason: str, *, host: bool = False) -> None:
        super().__init__(reason, host)
        self.reason = reason
        self.host = host


class DependenciesNotReady(Exception):
    """The host rejected a claim: a dependency is not done, or somebody moved the work package."""


def is_host_failure(error: SpecKittyError) -> bool:
    """Return whether an error means that the host does not work, not only this one call."""
    from spec_kitty_client import HostError, HostNotFound, UnsupportedHost

    if isinstance(error, HostError):
        return error.code is None
    return isinstance(error, HostNotFound | UnsupportedHost)
