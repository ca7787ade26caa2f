"""The errors that stop a run, each with its exit code, and those that stop one work package."""

from __future__ import annotations  # the command line loads the client when it needs it

import difflib
import errno
import re
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spec_kitty_client import SpecKittyError

__all__ = [
    "AnotherRun",
    "AttemptRejected",
    "DependenciesNotReady",
    "ExitCode",
    "HostProblem",
    "OrchestratorError",
    "RepositoryProblem",
    "StorageProblem",
    "UsageProblem",
    "WorkPackageFailed",
    "as_problem",
    "explain_os_error",
    "is_host_failure",
    "suggest",
]


class ExitCode(IntEnum):
    """The exit codes of ``spec-kitty-orchestrator``."""

    DONE = 0
    """The run is complete."""
    INCOMPLETE = 1
    """A work package is blocked, has failed, or waits for one that did."""
    USAGE = 2
    """Usage error: a flag, setting, file or the repository has to be corrected first."""
    HOST = 3
    """Host error: it is missing, too old, or its answer breaks the contract."""
    ANOTHER_RUN = 4
    """Another run is alive in this repository."""
    INTERRUPTED = 130
    """Ctrl-C, SIGTERM or ``abort``; continue with ``resume``."""


class OrchestratorError(Exception):
    """An error that stops a run with one message and an exit code."""

    exit_code = ExitCode.INCOMPLETE
    next_steps: tuple[str, ...] | None = None
    """The commands that help; None: the usual ones after a run."""


class UsageProblem(OrchestratorError):
    """A mistake that the user has to correct before a run can start or end."""

    exit_code = ExitCode.USAGE


class HostProblem(OrchestratorError):
    """The host cannot be used."""

    exit_code = ExitCode.HOST


class RepositoryProblem(OrchestratorError):
    """Git cannot commit, whichever agent works; the run starts no other work package."""


class AnotherRun(OrchestratorError):
    """Another run is alive in this repository."""

    exit_code = ExitCode.ANOTHER_RUN


class StorageProblem(OrchestratorError):
    """The journal cannot be written; the orchestrator ends the run and its agents."""


class WorkPackageFailed(Exception):
    """A work package has to stop in this run. Others continue.

    Args:
        reason: Why, and what the user can do about it.
        stops_run: The error that ends the run when the other work packages have gone as far as
            they can.
    """

    def __init__(self, reason: str, *, stops_run: type[OrchestratorError] | None = None) -> None:
        super().__init__(reason, stops_run)
        self.reason = reason
        self.stops_run = stops_run


class AttemptRejected(Exception):
    """An agent run gave no usable result. The prompt of the next attempt states the reason."""


class DependenciesNotReady(Exception):
    """The host rejected a claim: a dependency is not done, or the work package was moved."""


_REMEDIES = {
    errno.ENOSPC: "Make room on the disk",
    errno.EDQUOT: "Make room in your quota",
    errno.EROFS: "Make the file system writable",
    errno.EACCES: "Give yourself the permission",
    errno.EPERM: "Give yourself the permission",
    errno.ENOTDIR: "A file is in the place of a folder: move it away",
    errno.EEXIST: "A file is in the place of a folder: move it away",
    errno.EISDIR: "A folder is in the place of a file: move it away",
    errno.ELOOP: "A symbolic link is in the place of a file: remove it",
    errno.EMFILE: "Raise the limit of open files: ulimit -n 4096",
}


def explain_os_error(error: OSError) -> str:
    """Return what failed and what helps, as sentences."""
    what = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{what}. {_REMEDIES.get(error.errno or 0, 'Correct that')}, then try again."


def as_problem(error: BaseException) -> OrchestratorError:
    """Return the first error of a group as an error that ends a run."""
    if isinstance(error, BaseExceptionGroup):
        return as_problem(error.exceptions[0])
    if isinstance(error, OrchestratorError):
        return error
    why = explain_os_error(error) if isinstance(error, OSError) else str(error)
    return StorageProblem(f"The run cannot go on. {why}")


def is_host_failure(error: SpecKittyError) -> bool:
    """Return whether an error means that the host does not work, not only this one call."""
    from spec_kitty_client import HostError, HostNotFound, UnsupportedHost

    if isinstance(error, HostError):
        return error.code is None
    return isinstance(error, HostNotFound | UnsupportedHost)


_STEM = 4  # letters; `implementer` means `impl_agent`, and `maximum` does not mean `max_rounds`


def suggest(word: str, known: Sequence[str]) -> str:
    """Return a "Did you mean" hint, if a name is close, and the list of names, as sentences."""
    stems = {re.split("[-_]", name)[0]: name for name in reversed(known)}
    longer = [name for name in known if name.startswith(word)] if word else []
    shorter = [name for stem, name in stems.items() if len(stem) >= _STEM and word.startswith(stem)]
    near = [*difflib.get_close_matches(word, known, n=1, cutoff=0.75), *longer, *shorter]
    hint = f"Did you mean {near[0]}? " if near else ""
    return f"{hint}Available: {', '.join(known)}"
