"""The error codes of the host contract: their family, and whether a retry can help.

Source: every code of host 1.0.0 to 3.2.7 and of 4.0.0rc7. Hosts add codes and pass through those of
inner commands, so the type is open: an unknown code is kept as the host spelled it.
"""

from collections.abc import Mapping
from enum import StrEnum

__all__ = ["ADVICE", "AnyErrorCode", "ErrorCode", "Family", "UnknownErrorCode", "parse_code"]


class Family(StrEnum):
    """A group of error codes with the same meaning; each has an exception class."""

    USAGE = "usage"
    POLICY = "policy"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    NOT_READY = "not_ready"
    INTEGRATION = "integration"
    ENVIRONMENT = "environment"
    UNKNOWN = "unknown"


class ErrorCode(StrEnum):
    """A code of the contract."""

    USAGE_ERROR = "USAGE_ERROR"
    CONTRACT_VERSION_MISMATCH = "CONTRACT_VERSION_MISMATCH"
    POLICY_METADATA_REQUIRED = "POLICY_METADATA_REQUIRED"
    POLICY_VALIDATION_FAILED = "POLICY_VALIDATION_FAILED"
    FEATURE_NOT_FOUND = "FEATURE_NOT_FOUND"
    MISSION_NOT_FOUND = "MISSION_NOT_FOUND"
    STATUS_READ_PATH_NOT_FOUND = "STATUS_READ_PATH_NOT_FOUND"
    WP_NOT_FOUND = "WP_NOT_FOUND"
    TRANSITION_REJECTED = "TRANSITION_REJECTED"
    WP_ALREADY_CLAIMED = "WP_ALREADY_CLAIMED"
    DEPENDENCIES_NOT_SATISFIED = "DEPENDENCIES_NOT_SATISFIED"
    LANE_ALLOCATION_FAILED = "LANE_ALLOCATION_FAILED"
    ANCESTRY_NOT_ESTABLISHED = "ANCESTRY_NOT_ESTABLISHED"
    FEATURE_NOT_READY = "FEATURE_NOT_READY"
    MISSION_NOT_READY = "MISSION_NOT_READY"
    WORKFLOW_EVIDENCE_REQUIRED = "WORKFLOW_EVIDENCE_REQUIRED"
    UNSUPPORTED_STRATEGY = "UNSUPPORTED_STRATEGY"
    PREFLIGHT_FAILED = "PREFLIGHT_FAILED"
    MERGE_FAILED = "MERGE_FAILED"
    PUSH_FAILED = "PUSH_FAILED"
    HISTORY_COMMIT_FAILED = "HISTORY_COMMIT_FAILED"
    SAFE_COMMIT_BACKSTOP = "SAFE_COMMIT_BACKSTOP"
    SAFE_COMMIT_DESTINATION_NOT_FOUND = "SAFE_COMMIT_DESTINATION_NOT_FOUND"
    SAFE_COMMIT_DESTINATION_REF_SHAPE = "SAFE_COMMIT_DESTINATION_REF_SHAPE"
    SAFE_COMMIT_EMPTY_CHANGESET = "SAFE_COMMIT_EMPTY_CHANGESET"
    SAFE_COMMIT_GENERIC = "SAFE_COMMIT_GENERIC"
    SAFE_COMMIT_HEAD_MISMATCH = "SAFE_COMMIT_HEAD_MISMATCH"
    SAFE_COMMIT_NOT_A_WORKTREE = "SAFE_COMMIT_NOT_A_WORKTREE"
    SAFE_COMMIT_PROTECTED_BRANCH = "SAFE_COMMIT_PROTECTED_BRANCH"
    SAFE_COMMIT_PATH_POLICY = "SAFE_COMMIT_PATH_POLICY"
    SAFE_COMMIT_RECOVERY_FAILED = "SAFE_COMMIT_RECOVERY_FAILED"
    PLACEMENT_RESOLUTION_REQUIRED = "PLACEMENT_RESOLUTION_REQUIRED"
    MISSION_CREATE_FAILED = "MISSION_CREATE_FAILED"
    MISSION_ALREADY_EXISTS = "MISSION_ALREADY_EXISTS"
    PLAN_SETUP_FAILED = "PLAN_SETUP_FAILED"
    TASKS_FINALIZE_FAILED = "TASKS_FINALIZE_FAILED"
    CHECK_PREREQUISITES_FAILED = "CHECK_PREREQUISITES_FAILED"
    DIRTY_WORKTREE = "DIRTY_WORKTREE"
    RECORD_ANALYSIS_EMPTY_BODY = "RECORD_ANALYSIS_EMPTY_BODY"
    RECORD_ANALYSIS_INPUT_FILE_NOT_FOUND = "RECORD_ANALYSIS_INPUT_FILE_NOT_FOUND"
    RECORD_ANALYSIS_MALFORMED_CARRIER = "RECORD_ANALYSIS_MALFORMED_CARRIER"
    RECORD_ANALYSIS_WRITE_NOT_CONFIRMED = "RECORD_ANALYSIS_WRITE_NOT_CONFIRMED"
    RECORD_ANALYSIS_VERDICT_UNRELIABLE = "RECORD_ANALYSIS_VERDICT_UNRELIABLE"
    INVALID_ORIGIN_FLOW = "INVALID_ORIGIN_FLOW"
    DECISION_MISSING_STEP_OR_SLOT = "DECISION_MISSING_STEP_OR_SLOT"
    DECISION_ALREADY_CLOSED = "DECISION_ALREADY_CLOSED"
    DECISION_NOT_FOUND = "DECISION_NOT_FOUND"
    DECISION_TERMINAL_CONFLICT = "DECISION_TERMINAL_CONFLICT"
    DECISION_EVENT_REPAIR_FAILED = "DECISION_EVENT_REPAIR_FAILED"
    DECISION_OPERATION_FAILED = "DECISION_OPERATION_FAILED"
    RESULT_REQUIRED = "RESULT_REQUIRED"
    INVALID_RESULT = "INVALID_RESULT"
    NO_PENDING_DECISION = "NO_PENDING_DECISION"
    AMBIGUOUS_PENDING_DECISION = "AMBIGUOUS_PENDING_DECISION"
    DECISION_NOT_PENDING = "DECISION_NOT_PENDING"
    DESIGN_STATUS_EVENT_LOG_UNREADABLE = "DESIGN_STATUS_EVENT_LOG_UNREADABLE"
    # 4.0.0
    INVALID_MISSION = "INVALID_MISSION"
    UNSUPPORTED_CAPABILITY = "UNSUPPORTED_CAPABILITY"
    STATUS_LOCK_HELD = "STATUS_LOCK_HELD"
    SAFE_COMMIT_STAGED_TREE_UNCHANGED = "SAFE_COMMIT_STAGED_TREE_UNCHANGED"
    SAFE_COMMIT_PATH_LOOP = "SAFE_COMMIT_PATH_LOOP"
    SAFE_COMMIT_INDEX_DELETION_CONFLICT = "SAFE_COMMIT_INDEX_DELETION_CONFLICT"
    SAFE_COMMIT_INDEX_RESIDUE = "SAFE_COMMIT_INDEX_RESIDUE"
    SAFE_COMMIT_UNREQUESTED_PATHS = "SAFE_COMMIT_UNREQUESTED_PATHS"
    DESIGN_ARTIFACT_UNSUPPORTED = "DESIGN_ARTIFACT_UNSUPPORTED"
    DESIGN_BOUNDS_EXCEEDED = "DESIGN_BOUNDS_EXCEEDED"
    DESIGN_REQUEST_INVALID = "DESIGN_REQUEST_INVALID"
    DESIGN_PATH_REFUSED = "DESIGN_PATH_REFUSED"
    DESIGN_REVISION_CONFLICT = "DESIGN_REVISION_CONFLICT"
    DESIGN_PARENT_STALE = "DESIGN_PARENT_STALE"
    DESIGN_CONTEXT_STALE = "DESIGN_CONTEXT_STALE"
    DESIGN_CONTEXT_FAILED = "DESIGN_CONTEXT_FAILED"
    DESIGN_INTERVIEW_INCOMPLETE = "DESIGN_INTERVIEW_INCOMPLETE"
    DESIGN_INTERVIEW_INVALID = "DESIGN_INTERVIEW_INVALID"
    DESIGN_INTERVIEW_FAILED = "DESIGN_INTERVIEW_FAILED"
    DESIGN_PREREQUISITES_FAILED = "DESIGN_PREREQUISITES_FAILED"
    DESIGN_FINALIZED = "DESIGN_FINALIZED"
    DESIGN_COMMIT_FAILED = "DESIGN_COMMIT_FAILED"
    DESIGN_IO_FAILED = "DESIGN_IO_FAILED"
    DESIGN_RECEIPT_UNREADABLE = "DESIGN_RECEIPT_UNREADABLE"
    DESIGN_LOCK_TIMEOUT = "DESIGN_LOCK_TIMEOUT"
    RUNTIME_BLOCKED = "RUNTIME_BLOCKED"
    RUNTIME_NEXT_FAILED = "RUNTIME_NEXT_FAILED"
    WRITE_CHECKOUT_DIRTY = "WRITE_CHECKOUT_DIRTY"
    WRITE_CHECKOUT_OCCUPIED = "WRITE_CHECKOUT_OCCUPIED"
    WRITE_CHECKOUT_WRONG_BRANCH = "WRITE_CHECKOUT_WRONG_BRANCH"

    @property
    def family(self) -> Family:
        """The family of the code, which chooses the exception class."""
        return _FAMILY.get(self, Family.INTEGRATION)

    @property
    def retryable(self) -> bool:
        """Whether the same call can succeed later, unchanged.

        ``MISSION_NOT_READY`` is retryable up to host 4.0.0rc4 only; `HostError.retryable` takes the
        host into account.
        """
        return self in _RETRYABLE

    @property
    def effect_possible(self) -> bool:
        """Whether a mutating call that failed with this code may have changed something."""
        return self.family is Family.INTEGRATION or self in _LATE


class UnknownErrorCode(str):
    """A code that this SDK does not know, spelled as by the host."""

    __slots__ = ()

    @property
    def family(self) -> Family:
        """Always `Family.UNKNOWN`."""
        return Family.UNKNOWN

    @property
    def retryable(self) -> bool:
        """Always False, because the code is unknown."""
        return False

    @property
    def effect_possible(self) -> bool:
        """Always True, because the code is unknown."""
        return True


AnyErrorCode = ErrorCode | UnknownErrorCode


def parse_code(value: str) -> AnyErrorCode:
    """Return the error code for a host's word."""
    try:
        return ErrorCode(value)
    except ValueError:
        return UnknownErrorCode(value)


# Every code that is not listed here belongs to Family.INTEGRATION.
_MEMBERS = {
    Family.USAGE: {
        ErrorCode.INVALID_MISSION,
        ErrorCode.UNSUPPORTED_CAPABILITY,
        ErrorCode.DESIGN_ARTIFACT_UNSUPPORTED,
        ErrorCode.DESIGN_BOUNDS_EXCEEDED,
        ErrorCode.DESIGN_REQUEST_INVALID,
        ErrorCode.DESIGN_PATH_REFUSED,
        ErrorCode.DESIGN_INTERVIEW_INVALID,
        ErrorCode.USAGE_ERROR,
        ErrorCode.UNSUPPORTED_STRATEGY,
        ErrorCode.RECORD_ANALYSIS_EMPTY_BODY,
        ErrorCode.RECORD_ANALYSIS_INPUT_FILE_NOT_FOUND,
        ErrorCode.RECORD_ANALYSIS_MALFORMED_CARRIER,
        ErrorCode.INVALID_ORIGIN_FLOW,
        ErrorCode.DECISION_MISSING_STEP_OR_SLOT,
        ErrorCode.RESULT_REQUIRED,
        ErrorCode.INVALID_RESULT,
    },
    Family.ENVIRONMENT: {
        ErrorCode.WRITE_CHECKOUT_WRONG_BRANCH,
        ErrorCode.SAFE_COMMIT_PATH_LOOP,
        ErrorCode.DESIGN_STATUS_EVENT_LOG_UNREADABLE,
        ErrorCode.CONTRACT_VERSION_MISMATCH,
        ErrorCode.STATUS_READ_PATH_NOT_FOUND,
        ErrorCode.PLACEMENT_RESOLUTION_REQUIRED,
    },
    Family.POLICY: {
        ErrorCode.POLICY_METADATA_REQUIRED,
        ErrorCode.POLICY_VALIDATION_FAILED,
    },
    Family.NOT_FOUND: {
        ErrorCode.FEATURE_NOT_FOUND,
        ErrorCode.MISSION_NOT_FOUND,
        ErrorCode.WP_NOT_FOUND,
        ErrorCode.DECISION_NOT_FOUND,
    },
    Family.REJECTED: {
        ErrorCode.DESIGN_CONTEXT_FAILED,
        ErrorCode.DESIGN_FINALIZED,
        ErrorCode.RUNTIME_NEXT_FAILED,
        ErrorCode.TRANSITION_REJECTED,
        ErrorCode.MISSION_CREATE_FAILED,
        ErrorCode.PLAN_SETUP_FAILED,
        ErrorCode.TASKS_FINALIZE_FAILED,
        ErrorCode.CHECK_PREREQUISITES_FAILED,
        ErrorCode.RECORD_ANALYSIS_VERDICT_UNRELIABLE,
    },
    Family.CONFLICT: {
        ErrorCode.WRITE_CHECKOUT_OCCUPIED,
        ErrorCode.STATUS_LOCK_HELD,
        ErrorCode.DESIGN_REVISION_CONFLICT,
        ErrorCode.DESIGN_PARENT_STALE,
        ErrorCode.DESIGN_CONTEXT_STALE,
        ErrorCode.DESIGN_LOCK_TIMEOUT,
        ErrorCode.WP_ALREADY_CLAIMED,
        ErrorCode.MISSION_ALREADY_EXISTS,
        ErrorCode.DECISION_ALREADY_CLOSED,
        ErrorCode.DECISION_TERMINAL_CONFLICT,
        ErrorCode.NO_PENDING_DECISION,
        ErrorCode.AMBIGUOUS_PENDING_DECISION,
        ErrorCode.DECISION_NOT_PENDING,
    },
    Family.NOT_READY: {
        ErrorCode.WRITE_CHECKOUT_DIRTY,
        ErrorCode.DESIGN_INTERVIEW_INCOMPLETE,
        ErrorCode.DESIGN_PREREQUISITES_FAILED,
        ErrorCode.RUNTIME_BLOCKED,
        ErrorCode.DEPENDENCIES_NOT_SATISFIED,
        ErrorCode.FEATURE_NOT_READY,
        ErrorCode.MISSION_NOT_READY,
        ErrorCode.WORKFLOW_EVIDENCE_REQUIRED,
        ErrorCode.DIRTY_WORKTREE,
    },
}
_FAMILY = {code: family for family, codes in _MEMBERS.items() for code in codes}
_RETRYABLE = frozenset(
    {
        ErrorCode.DEPENDENCIES_NOT_SATISFIED,
        ErrorCode.ANCESTRY_NOT_ESTABLISHED,
        ErrorCode.FEATURE_NOT_READY,
        ErrorCode.MISSION_NOT_READY,
        ErrorCode.PUSH_FAILED,
        ErrorCode.HISTORY_COMMIT_FAILED,
        ErrorCode.SAFE_COMMIT_GENERIC,
        ErrorCode.SAFE_COMMIT_RECOVERY_FAILED,
        ErrorCode.DIRTY_WORKTREE,
        ErrorCode.RECORD_ANALYSIS_WRITE_NOT_CONFIRMED,
        ErrorCode.DECISION_EVENT_REPAIR_FAILED,
        ErrorCode.STATUS_LOCK_HELD,
        ErrorCode.DESIGN_LOCK_TIMEOUT,
    }
)
# In addition to all codes of Family.INTEGRATION.
_LATE = frozenset(
    {
        ErrorCode.RECORD_ANALYSIS_VERDICT_UNRELIABLE,  # the report is written and committed
        ErrorCode.RUNTIME_BLOCKED,  # the result of the last step is recorded
        ErrorCode.RUNTIME_NEXT_FAILED,
    }
)

_MISSING = (
    "List the missions with `ls kitty-specs`, and check that the branch which holds this one is "
    "checked out."
)
_UNFINISHED = "Finish the work packages or steps that the message names, then call again."
ADVICE: Mapping[str, str] = {
    ErrorCode.MISSION_NOT_FOUND: _MISSING,
    ErrorCode.WP_NOT_FOUND: "Look at mission-state for the work packages of this mission.",
    ErrorCode.WP_ALREADY_CLAIMED: (
        "Leave it to the actor that the message names, or use the same --actor."
    ),
    ErrorCode.DEPENDENCIES_NOT_SATISFIED: (
        "Finish the work packages that it depends on first; mission-state shows their lanes."
    ),
    ErrorCode.LANE_ALLOCATION_FAILED: (
        "Commit or remove the uncommitted files in the lane's worktree; if the message names a "
        "conflict, merge the dependency there by hand."
    ),
    ErrorCode.MISSION_NOT_READY: _UNFINISHED,
    ErrorCode.FEATURE_NOT_READY: _UNFINISHED,
    ErrorCode.FEATURE_NOT_FOUND: _MISSING,
    ErrorCode.PLAN_SETUP_FAILED: "Edit the specification as the message says and commit it.",
    ErrorCode.DESIGN_FINALIZED: "Its tasks are finalised; nothing of its design can change.",
    ErrorCode.DESIGN_REVISION_CONFLICT: "Read the document again, and apply the change to it.",
    ErrorCode.DESIGN_PARENT_STALE: "Read its parent document again.",
    ErrorCode.DESIGN_CONTEXT_STALE: "Ask for design-context again.",
    ErrorCode.STATUS_LOCK_HELD: "Another call is under way; call again.",
    ErrorCode.DESIGN_LOCK_TIMEOUT: "Another call is under way; call again.",
    ErrorCode.NO_PENDING_DECISION: "No decision waits for an answer; see design-status.",
    ErrorCode.AMBIGUOUS_PENDING_DECISION: "Name the decision with decision_id=.",
    ErrorCode.DECISION_NOT_PENDING: "That decision is answered or unknown; see design-status.",
    ErrorCode.PREFLIGHT_FAILED: (
        "Correct what the message names; resolve a merge conflict by merging the target branch "
        "into the lane branch by hand. Lane branches that are gone were removed by an earlier "
        "merge, or are in another clone: `git log` of the target shows which."
    ),
    ErrorCode.CONTRACT_VERSION_MISMATCH: "Upgrade the SDK: pip install -U spec-kitty-client.",
}
"""The next step for each code that needs more specific advice than its family."""
