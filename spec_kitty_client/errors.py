"""The errors of the SDK, as one tree of exceptions.

    SpecKittyError
      InvalidCall                 an invalid call, found before anything was sent
        PolicyError               a group of PolicyProblem; both are in `policy_errors`
      HostNotFound                there is no host to call
      UnsupportedHost             not a host, or one with an unknown contract
      UnsupportedByHost           this host cannot do that; nothing was sent
        AcceptanceUnavailable     its API cannot accept a mission of this topology
      GitFailed                   git failed during a workflow verb
        GitUnavailable            the transport cannot run git where the host runs
      WouldLoseWork               a workflow verb stopped before it lost anything
      MergeDamaged                a merge lost something; says where the target was
      HostError                   a call of the host failed
        HostTimeout
        ProtocolError             no valid answer
          HostCrashed             a traceback instead of an answer
            HostCannotStart       it cannot start
        HostRejected              an answer with an error code, or the equivalent
          UsageRejected, PolicyRejected, NotFound, Conflict, TransitionRejected,
          NotReady, IntegrationFailed, EnvironmentProblem
            MergeConflict           below IntegrationFailed; has the commands that resolve it

Take decisions on `HostError.code`, `HostError.retryable` and `HostError.outcome`, never on
the text. The text of every exception says what to do next; every exception can be pickled, and its
text can be encoded as UTF-8, even if a host or a file name put invalid characters into it.
"""

from typing import Any, Literal

from packaging.version import Version

from spec_kitty_client.codes import ADVICE, AnyErrorCode, ErrorCode, Family
from spec_kitty_client.failure import Failure
from spec_kitty_client.values import encodable, plain

__all__ = [
    "AcceptanceUnavailable",
    "Conflict",
    "EnvironmentProblem",
    "Failure",
    "GitFailed",
    "GitUnavailable",
    "HostCannotStart",
    "HostCrashed",
    "HostError",
    "HostNotFound",
    "HostRejected",
    "HostTimeout",
    "IntegrationFailed",
    "InvalidCall",
    "MergeConflict",
    "MergeDamaged",
    "NotFound",
    "NotReady",
    "PolicyRejected",
    "ProtocolError",
    "SpecKittyError",
    "TransitionRejected",
    "UnsupportedByHost",
    "UnsupportedHost",
    "UsageRejected",
    "WouldLoseWork",
    "rejection",
]

_BEFORE = {2, 4, 5, 6}  # exit codes: option parser; project too old, too new, damaged
_READINESS_APPLIED = Version("1.7.0")  # contract; accept-mission refuses what accept refuses
_HALFWAY = "reconciliation_required"  # as 4.0.0 says it
_MOST_NAMED = 10  # files in a message

Outcome = Literal["not_applied", "unknown"]


class SpecKittyError(Exception):
    """Base class of all errors of this SDK."""

    def __str__(self) -> str:
        return encodable(super().__str__())

    def to_dict(self) -> dict[str, Any]:
        """Return the class, the text and all facts by name, as values that `json.dumps` takes."""
        facts = {k: plain(v) for k, v in vars(self).items() if not k.startswith("_")}
        return {"error": type(self).__name__, "message": str(self), **facts}


class InvalidCall(SpecKittyError, ValueError):
    """The call is invalid; nothing was sent to the host."""


class HostNotFound(SpecKittyError):
    """The program of the host does not exist or cannot be run."""


class CannotBeWarm(SpecKittyError):
    """The host cannot be kept warm, and the caller wants nothing else."""


class UnsupportedHost(SpecKittyError):
    """The program is not a host, or one with an unknown contract."""


class UnsupportedByHost(SpecKittyError):
    """The host has no such verb, option or lane. Nothing was sent.

    Attributes:
        what: The verb, option or lane that it lacks.
        since: The first release of the host that has it.
        release: The release of the host.
    """

    def __init__(self, what: str, since: str, release: str) -> None:
        super().__init__(what, since, release)
        self.what = what
        self.since = since
        self.release = release

    def __str__(self) -> str:
        return encodable(
            f"Host {self.release} has no {self.what}; {self.since} is the first that has. Nothing "
            f"was sent. Upgrade it: pip install 'spec-kitty-cli>={self.since}'"
        )


class AcceptanceUnavailable(UnsupportedByHost):
    """The host's API cannot accept a mission of this topology (3.2.0 to 3.2.7). Nothing was sent.

    Attributes:
        mission: The mission's slug.
        topology: Its topology, ``coord`` or ``lanes_with_coord``.
    """

    def __init__(self, mission: str, topology: str, release: str) -> None:
        what = f"accept-mission for the topology {topology}"
        super().__init__(what, since="4.0.0rc5", release=release)
        self.args: tuple[str, ...] = (mission, topology, release)
        self.mission = mission
        self.topology = topology

    @property
    def command(self) -> str:
        """The host's own command that accepts the mission."""
        return f"spec-kitty accept --mission {self.mission} --lenient"

    def __str__(self) -> str:
        return (
            f"This host ({self.release} or newer) cannot accept {self.mission} through its API: "
            f"under the topology {self.topology} accept-mission ends in a traceback. Nothing was "
            f"sent. Accept it with the host's own command: {self.command}"
        )


class GitFailed(SpecKittyError):
    """Git, where the host runs, failed during a workflow verb."""


class GitUnavailable(GitFailed):
    """The transport cannot run git where the host runs, and the verb needs it."""


class WouldLoseWork(SpecKittyError):
    """A workflow verb would lose work, and stopped before.

    Attributes:
        paths: The files or branches in question, as git names them.
    """

    def __init__(self, message: str, paths: tuple[str, ...] = ()) -> None:
        super().__init__(message, paths)
        self.message = message
        self.paths = paths

    def __str__(self) -> str:
        return encodable(self.message)


class MergeDamaged(SpecKittyError):
    """A merge removed something from its target, or left out commits.

    Attributes:
        target: The branch.
        before: The commit of the branch before the merge; ``git log`` shows it.
        what: The damage, as the rest of a sentence that begins with the merge.
        paths: The files; empty where commits are missing.
    """

    def __init__(self, target: str, before: str, what: str, paths: tuple[str, ...] = ()) -> None:
        super().__init__(target, before, what, paths)
        self.target = target
        self.before = before
        self.what = what
        self.paths = paths

    def __str__(self) -> str:
        named = f": {', '.join(self.paths[:_MOST_NAMED])}" if self.paths else ""
        return encodable(
            f"the merge into {self.target} {self.what}{named}. It was at {self.before}; "
            f"`git log {self.before}` shows what was there."
        )


class HostError(SpecKittyError):
    """A call of the host failed.

    Attributes:
        failure: Everything about the call.
    """

    advice = "Run the call by hand to see what the host says."

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    @property
    def code(self) -> AnyErrorCode | None:
        """The code of the host's answer; None when there was no answer."""
        return self.failure.code

    @property
    def retryable(self) -> bool:
        """Whether the same call can succeed later, unchanged."""
        return self.code is not None and self.code.retryable

    @property
    def outcome(self) -> Outcome:
        """Whether the call may have taken effect although it failed.

        ``unknown``: read the state before doing anything else; never repeat blindly.
        """
        possible = self.failure.mutates and not self.failure.unchanged
        return "unknown" if possible else "not_applied"

    def to_dict(self) -> dict[str, Any]:
        """Return class, text, code, whether a retry can help, outcome and the failed call."""
        facts = {"code": plain(self.code), "retryable": self.retryable, "outcome": self.outcome}
        return {**super().to_dict(), **facts}

    def __str__(self) -> str:
        name = f" [{self.code}]" if self.code else ""
        return encodable(f"{self.failure.verb}: {self.failure.message}{name}. {self.next_step}")

    @property
    def next_step(self) -> str:
        """The next step, as a sentence or two."""
        advice = ADVICE.get(self.code or "", self.advice)
        if self.outcome == "unknown":
            return f"The call may have taken effect: read mission-state first. {advice}"
        return f"Nothing was changed. {advice}" if self.failure.unchanged else advice


class HostTimeout(HostError):
    """The host exceeded the time limit, and was stopped with all its children."""

    advice = "If the machine is only slow, raise the time limit."

    @property
    def retryable(self) -> bool:
        """True for a read; after a mutating call the state has to be read first."""
        return not self.failure.mutates


class ProtocolError(HostError):
    """The host ended without a valid answer.

    It crashed, printed usage text, or is not a spec-kitty host at all.
    """

    advice = (
        "Check with `spec-kitty --version` that this program is the host; "
        "`spec-kitty orchestrator-api contract-version` shows what it prints."
    )

    @property
    def retryable(self) -> bool:
        """True for a read; after a mutating call the state has to be read first."""
        return not self.failure.mutates


class HostCrashed(ProtocolError):
    """The host ended with a traceback instead of an answer."""

    advice = (
        "Known causes: an unknown lane, a damaged event log or meta.json, and a leftover "
        ".git/index.lock."
    )


class HostCannotStart(HostCrashed):
    """The host cannot start, because its environment is broken."""

    advice = (
        "Hosts 3.2.0 to 3.2.5 need an older typer: in the host's environment, "
        "pip install 'typer<0.26'. Otherwise reinstall the host."
    )

    @property
    def retryable(self) -> bool:
        """False: it will not start the next time either."""
        return False

    @property
    def outcome(self) -> Outcome:
        """``not_applied``: it ended before it read the call."""
        return "not_applied"


class HostRejected(HostError):
    """The host answered with an error code."""

    advice = "Read mission-state and continue from the lane that it reports."

    @property
    def outcome(self) -> Outcome:
        """``not_applied`` for most codes; see `ErrorCode.effect_possible`."""
        halfway = self.failure.data.get("effect_state") == _HALFWAY
        early = self.failure.exit_code in _BEFORE
        if not early and (halfway or self.code is None or self.code.effect_possible):
            return super().outcome
        return "not_applied"


class UsageRejected(HostRejected):
    """The host did not understand the call."""

    advice = "Check the options against the contract version of this host."


class PolicyRejected(HostRejected):
    """The policy is missing, or breaks a rule of this host."""

    advice = "Correct the policy: the message names the field."


class NotFound(HostRejected):
    """There is no such mission, work package or decision."""

    advice = "Check the name, the repository and the branch that is checked out."


class Conflict(HostRejected):
    """Another actor owns it, or it is closed already."""

    advice = "Leave it to its owner, or use the owner's --actor."


class TransitionRejected(HostRejected):
    """The lane rules do not allow this move now."""


class NotReady(HostRejected):
    """Other work has to be finished first."""

    advice = "Finish what the message names, then call again."

    @property
    def retryable(self) -> bool:
        """Whether the same call can succeed later, once other work is done.

        Never for ``MISSION_NOT_READY`` of hosts 4.0.0rc5 and later: their ``accept-mission`` wants
        facts recorded that no verb of the contract records.
        """
        if self.code == ErrorCode.MISSION_NOT_READY and self._wants_more_than_work:
            return False
        return super().retryable

    @property
    def _wants_more_than_work(self) -> bool:
        try:
            return Version(self.failure.contract_version or "") >= _READINESS_APPLIED
        except ValueError:  # it names no version
            return False


class IntegrationFailed(HostRejected):
    """Git, or the host's own records, failed half-way."""

    advice = "Look at `git status` in the repository and its worktrees, then call again."


class MergeConflict(IntegrationFailed):
    """Two branches of a mission cannot be merged without a decision of the user.

    Attributes:
        branches: The two branches; the commands merge the second one into the first.
        files: The files with conflicts.
        commands: The shell commands that resolve it, in order. Between the first ``merge`` and
            ``add`` the user edits the files.
        state: What the failed merge has changed, as a sentence.
    """

    def __init__(
        self,
        failure: Failure,
        branches: tuple[str, str],
        files: tuple[str, ...],
        commands: tuple[str, ...],
        state: str,
    ) -> None:
        super().__init__(failure)
        self.args: tuple[Any, ...] = (failure, branches, files, commands, state)
        self.branches = branches
        self.files = files
        self.commands = commands
        self.state = state

    def __str__(self) -> str:
        code = f" [{self.code}]" if self.code else ""
        return encodable(
            f"{self.failure.verb}: {self.branches[0]} and {self.branches[1]} have merge conflicts "
            f"in {', '.join(self.files[:_MOST_NAMED])}{code}. {self.state} {self.next_step}"
        )

    @property
    def next_step(self) -> str:
        """The commands that resolve it."""
        *first, add, commit = self.commands
        before = ", then ".join(f"`{command}`" for command in first)
        return f"Run {before}, edit the files, run `{add}` and `{commit}`, and merge again."


class EnvironmentProblem(HostRejected):
    """Host, repository and SDK are incompatible."""

    advice = "Check the version of the host and the branch that is checked out."


_BY_FAMILY: dict[Family, type[HostRejected]] = {
    Family.USAGE: UsageRejected,
    Family.POLICY: PolicyRejected,
    Family.NOT_FOUND: NotFound,
    Family.CONFLICT: Conflict,
    Family.REJECTED: TransitionRejected,
    Family.NOT_READY: NotReady,
    Family.INTEGRATION: IntegrationFailed,
    Family.ENVIRONMENT: EnvironmentProblem,
    Family.UNKNOWN: HostRejected,
}


def rejection(failure: Failure) -> HostRejected:
    """Return the exception for an answer with an error code."""
    family = failure.code.family if failure.code else Family.UNKNOWN
    return _BY_FAMILY[family](failure)
