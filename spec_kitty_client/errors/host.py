"""The errors of a call that a host did not answer, or answered with an error code."""

from typing import Any, Literal

from packaging.version import Version

from spec_kitty_client.codes import ADVICE, AnyErrorCode, ErrorCode, Family
from spec_kitty_client.errors.sdk import MOST_NAMED, SpecKittyError
from spec_kitty_client.failure import Failure
from spec_kitty_client.values import encodable, plain

__all__ = [
    "Conflict",
    "EnvironmentProblem",
    "HostCannotStart",
    "HostCrashed",
    "HostError",
    "HostRejected",
    "HostTimeout",
    "IntegrationFailed",
    "MergeConflict",
    "NotFound",
    "NotReady",
    "PolicyRejected",
    "ProtocolError",
    "TransitionRejected",
    "UsageRejected",
    "rejection",
]

_BEFORE = {2, 4, 5, 6}  # exit codes: option parser; project too old, too new, damaged
_READINESS_APPLIED = Version("1.7.0")  # contract; accept-mission refuses what accept refuses
_HALFWAY = "reconciliation_required"  # as 4.0.0 says it

Outcome = Literal["not_applied", "unknown"]


class HostError(SpecKittyError):
    """A call of the host failed.

    Attributes:
        failure: The call with its arguments, exit code, answer and output.
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

        Never for ``MISSION_NOT_READY`` of hosts 4.0.0rc5 and later: their ``accept-mission``
        requires records that no verb of the contract can make.
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
            f"in {', '.join(self.files[:MOST_NAMED])}{code}. {self.state} {self.next_step}"
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
