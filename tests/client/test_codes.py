"""Tests of `spec_kitty_client.codes`."""

import pickle

import pytest

from spec_kitty_client.codes import ErrorCode, Family, UnknownErrorCode, parse_code

FAMILIES = {
    Family.USAGE: """
        USAGE_ERROR UNSUPPORTED_STRATEGY RECORD_ANALYSIS_EMPTY_BODY
        RECORD_ANALYSIS_INPUT_FILE_NOT_FOUND RECORD_ANALYSIS_MALFORMED_CARRIER
        INVALID_ORIGIN_FLOW DECISION_MISSING_STEP_OR_SLOT RESULT_REQUIRED INVALID_RESULT
        INVALID_MISSION UNSUPPORTED_CAPABILITY DESIGN_ARTIFACT_UNSUPPORTED
        DESIGN_BOUNDS_EXCEEDED DESIGN_REQUEST_INVALID DESIGN_PATH_REFUSED
        DESIGN_INTERVIEW_INVALID
    """,
    Family.POLICY: """
        POLICY_METADATA_REQUIRED POLICY_VALIDATION_FAILED
    """,
    Family.NOT_FOUND: """
        FEATURE_NOT_FOUND MISSION_NOT_FOUND WP_NOT_FOUND DECISION_NOT_FOUND
    """,
    Family.CONFLICT: """
        WP_ALREADY_CLAIMED MISSION_ALREADY_EXISTS DECISION_ALREADY_CLOSED
        DECISION_TERMINAL_CONFLICT NO_PENDING_DECISION AMBIGUOUS_PENDING_DECISION
        DECISION_NOT_PENDING WRITE_CHECKOUT_OCCUPIED STATUS_LOCK_HELD
        DESIGN_REVISION_CONFLICT DESIGN_PARENT_STALE
        DESIGN_CONTEXT_STALE DESIGN_LOCK_TIMEOUT
    """,
    Family.REJECTED: """
        TRANSITION_REJECTED MISSION_CREATE_FAILED PLAN_SETUP_FAILED TASKS_FINALIZE_FAILED
        CHECK_PREREQUISITES_FAILED RECORD_ANALYSIS_VERDICT_UNRELIABLE DESIGN_CONTEXT_FAILED
        DESIGN_FINALIZED RUNTIME_NEXT_FAILED
    """,
    Family.NOT_READY: """
        DEPENDENCIES_NOT_SATISFIED FEATURE_NOT_READY MISSION_NOT_READY
        WORKFLOW_EVIDENCE_REQUIRED WRITE_CHECKOUT_DIRTY DIRTY_WORKTREE DESIGN_INTERVIEW_INCOMPLETE
        DESIGN_PREREQUISITES_FAILED RUNTIME_BLOCKED
    """,
    Family.INTEGRATION: """
        LANE_ALLOCATION_FAILED ANCESTRY_NOT_ESTABLISHED PREFLIGHT_FAILED MERGE_FAILED
        PUSH_FAILED HISTORY_COMMIT_FAILED SAFE_COMMIT_BACKSTOP SAFE_COMMIT_DESTINATION_NOT_FOUND
        SAFE_COMMIT_DESTINATION_REF_SHAPE SAFE_COMMIT_EMPTY_CHANGESET SAFE_COMMIT_GENERIC
        SAFE_COMMIT_HEAD_MISMATCH SAFE_COMMIT_NOT_A_WORKTREE SAFE_COMMIT_PROTECTED_BRANCH
        SAFE_COMMIT_PATH_POLICY SAFE_COMMIT_RECOVERY_FAILED RECORD_ANALYSIS_WRITE_NOT_CONFIRMED
        DECISION_EVENT_REPAIR_FAILED DECISION_OPERATION_FAILED SAFE_COMMIT_STAGED_TREE_UNCHANGED
        SAFE_COMMIT_INDEX_DELETION_CONFLICT SAFE_COMMIT_INDEX_RESIDUE
        SAFE_COMMIT_UNREQUESTED_PATHS DESIGN_INTERVIEW_FAILED DESIGN_COMMIT_FAILED
        DESIGN_IO_FAILED DESIGN_RECEIPT_UNREADABLE
    """,
    Family.ENVIRONMENT: """
        CONTRACT_VERSION_MISMATCH STATUS_READ_PATH_NOT_FOUND PLACEMENT_RESOLUTION_REQUIRED
        DESIGN_STATUS_EVENT_LOG_UNREADABLE SAFE_COMMIT_PATH_LOOP WRITE_CHECKOUT_WRONG_BRANCH
    """,
}
RETRYABLE = """
    DEPENDENCIES_NOT_SATISFIED ANCESTRY_NOT_ESTABLISHED FEATURE_NOT_READY MISSION_NOT_READY
    PUSH_FAILED HISTORY_COMMIT_FAILED SAFE_COMMIT_GENERIC SAFE_COMMIT_RECOVERY_FAILED
    DIRTY_WORKTREE RECORD_ANALYSIS_WRITE_NOT_CONFIRMED DECISION_EVENT_REPAIR_FAILED
    STATUS_LOCK_HELD DESIGN_LOCK_TIMEOUT
"""
LATE = "RECORD_ANALYSIS_VERDICT_UNRELIABLE RUNTIME_BLOCKED RUNTIME_NEXT_FAILED"


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_the_codes_of_the_contract(family: Family) -> None:
    """Each family has exactly the codes that the hand-copied table lists."""
    assert {c for c in ErrorCode if c.family is family} == set(FAMILIES[family].split())


def test_every_known_code_is_in_a_family() -> None:
    """No known code is in the family of unknown codes, and the table lists all 86."""
    assert not [c for c in ErrorCode if c.family is Family.UNKNOWN]
    assert sum(len(words.split()) for words in FAMILIES.values()) == len(ErrorCode) == 86


def test_the_codes_that_a_retry_can_help() -> None:
    """Exactly the listed codes are retryable; a program would repeat any other refusal forever."""
    assert {c for c in ErrorCode if c.retryable} == set(RETRYABLE.split())


def test_the_codes_of_calls_that_may_be_half_done() -> None:
    """Integration codes, three others and unknown codes may be refusals after an effect."""
    late = {c for c in ErrorCode if c.effect_possible}

    assert late == {c for c in ErrorCode if c.family is Family.INTEGRATION} | set(LATE.split())
    assert UnknownErrorCode("WP_ON_FIRE").effect_possible is True


@pytest.mark.parametrize("code", ErrorCode)
def test_a_known_code_is_parsed_to_its_member(code: ErrorCode) -> None:
    """`parse_code` returns the member of a known code."""
    assert parse_code(code.value) is code


@pytest.mark.parametrize("word", ["WP_ON_FIRE", "", "usage_error", "Fehler"])
def test_an_unknown_code_is_kept_and_promises_nothing(word: str) -> None:
    """The SDK keeps the text of an unknown code and does not call it retryable."""
    code = parse_code(word)

    assert type(code) is UnknownErrorCode
    assert code == word
    assert code.family is Family.UNKNOWN
    assert code.retryable is False


@pytest.mark.parametrize("code", [ErrorCode.PUSH_FAILED, UnknownErrorCode("WP_ON_FIRE")])
def test_a_code_keeps_its_type_when_pickled(code: ErrorCode | UnknownErrorCode) -> None:
    """A pickled code keeps its text and its family."""
    copy = pickle.loads(pickle.dumps(code))  # noqa: S301

    assert copy == code
    assert copy.family is code.family
