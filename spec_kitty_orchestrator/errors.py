"""What stops a run, and the exit code each kind ends with."""

from __future__ import annotations  # the command line loads the client when it needs it

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spec_kitty_client import SpecKittyError

__all__ = [
    "AnotherRun",
    "ExitCode",
    "HostProblem",
    "OrchestratorError",
    "UsageProblem",
    "is_of_the_host",
]


class ExitCode(IntEnum):
    """How ``spec-kitty-orchestrator`` ends."""

    DONE = 0
    """Everything that was asked for is done."""
    INCOMPLETE = 1
    """Some work package is blocked, failed or waits for one that is."""
    USAGE = 2
    """A flag, a setting, a file or the state of the repository has to be corrected first."""
    HOST = 3
    """The host is missing, too old, or did not answer as the contract promises."""
    ANOTHER_RUN = 4
    """Another run is alive in this repository."""
    INTERRUPTED = 130
    """Ctrl-C, SIGTERM or ``abort``; ``resume`` goes on."""


class OrchestratorError(Exception):
    """Stops a run with one message and an exit code."""

    exit_code = ExitCode.INCOMPLETE


class UsageProblem(OrchestratorError):
    """Something that the user has to correct before a run can start or end."""

    exit_code = ExitCode.USAGE


class HostProblem(OrchestratorError):
    """The host cannot be worked with."""

    exit_code = ExitCode.HOST


class AnotherRun(OrchestratorError):
    """Another run is alive in this repository."""

    exit_code = ExitCode.ANOTHER_RUN


def is_of_the_host(error: SpecKittyError) -> bool:
    """Return whether the host cannot be worked with, and not only this once."""
    from spec_kitty_client import HostError, HostNotFound, UnsupportedHost

    if isinstance(error, HostError):
        return error.code is None
    return isinstance(error, HostNotFound | UnsupportedHost)
