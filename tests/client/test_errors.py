"""Tests of `spec_kitty_client.errors`."""

import pickle
import re
from itertools import product

import pytest

from spec_kitty_client import errors
from spec_kitty_client.codes import ErrorCode, Family, UnknownErrorCode
from spec_kitty_client.errors import (
    Conflict,
    EnvironmentProblem,
    GitFailed,
    HostCannotStart,
    HostCrashed,
    HostError,
    HostNotFound,
    HostRejected,
    HostTimeout,
    IntegrationFailed,
    InvalidCall,
    MergeDamaged,
    NotFound,
    NotReady,
    PolicyRejected,
    ProtocolError,
    SpecKittyError,
    TransitionRejected,
    UnsupportedByHost,
    UnsupportedHost,
    UsageRejected,
    WouldLoseWork,
    rejection,
)
from spec_kitty_client.policy.errors import PolicyError, PolicyProblem, PolicyRule
from spec_kitty_client.testing.taped import TapeDamaged
from tests.client.answers import failure

CLASSES = {
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
HALFWAY = "reconciliation_required"
CODES = [*ErrorCode, UnknownErrorCode("WP_ON_FIRE")]
ANSWERED = [rejection(failure(c, mutates=m)) for c, m in product(CODES, (False, True))]
UNANSWERED = [
    kind(failure(mutates=m, exit_code=exit_code))
    for kind, m, exit_code in product(
        (HostTimeout, ProtocolError, HostCrashed, HostCannotStart), (False, True), (None, 1, 2, -9)
    )
]
EVERY: list[SpecKittyError] = [
    SpecKittyError("text"),
    InvalidCall("text"),
    PolicyError((PolicyProblem("agent_family", PolicyRule.REQUIRED, "is missing"),)),
    HostNotFound("text"),
    UnsupportedHost("text"),
    UnsupportedByHost("resolve-workspace", since="3.2.4", release="3.1.10"),
    GitFailed("text"),
    WouldLoseWork("text", ("a.txt",)),
    MergeDamaged("main", "abc123", "changed files", ("a.txt",)),
    *ANSWERED,
    *UNANSWERED,
]


def test_every_family_has_its_class() -> None:
    """Every family of codes has an exception class."""
    assert set(CLASSES) == set(Family)


@pytest.mark.parametrize("code", CODES)
def test_a_code_raises_the_class_of_its_family(code: ErrorCode | UnknownErrorCode) -> None:
    """The SDK raises the class of a code's family, and the error keeps the code."""
    error = rejection(failure(code))

    assert type(error) is CLASSES[code.family]
    assert error.code == code
    assert type(error.code) is type(code)


@pytest.mark.parametrize("code", CODES)
def test_an_answer_is_retryable_when_its_code_is(code: ErrorCode | UnknownErrorCode) -> None:
    """A refusal is retryable exactly when its code is, for reads and for mutations."""
    retryable = {rejection(failure(code, mutates=m)).retryable for m in (False, True)}

    assert retryable == {code.retryable}


@pytest.mark.parametrize(
    ("version", "retryable"),
    [
        ("1.0.0", True),
        ("1.5.0", True),
        ("1.6.0", True),
        ("1.8.0", False),
        ("1.16.0", False),
        ("2.0.0", False),
        (None, True),
        ("", True),
        ("newest", True),
        ("9" * 5000, True),
    ],
    ids=range(10),
)
def test_a_mission_that_is_not_ready_on_a_new_host_stays_so(
    version: str | None, retryable: bool
) -> None:
    """MISSION_NOT_READY is not retryable from contract 1.8.0 (4.0.0rc5) on."""
    for mutates in (False, True):
        known = failure(ErrorCode.MISSION_NOT_READY, contract_version=version, mutates=mutates)
        assert rejection(known).retryable is retryable
    open_work = failure(ErrorCode.DEPENDENCIES_NOT_SATISFIED, contract_version=version)
    assert rejection(open_work).retryable is True


def test_an_occupied_checkout_is_a_conflict() -> None:
    """4.0.0 refuses a second work package under ``single_branch`` before it claims it."""
    error = rejection(failure("WRITE_CHECKOUT_OCCUPIED", mutates=True))

    assert type(error) is Conflict
    assert error.code is ErrorCode.WRITE_CHECKOUT_OCCUPIED
    assert error.outcome == "not_applied"
    assert error.retryable is False


def test_a_refusal_without_a_code_is_still_a_refusal() -> None:
    """A refusal without a code is a HostRejected, and not retryable."""
    error = rejection(failure(None))

    assert type(error) is HostRejected
    assert error.code is None
    assert error.retryable is False


@pytest.mark.parametrize("code", ErrorCode)
def test_only_some_refusals_may_have_had_an_effect(code: ErrorCode) -> None:
    """A refused mutation is `not_applied`, except for codes that may follow an effect."""
    outcome = rejection(failure(code, mutates=True)).outcome

    assert outcome == ("unknown" if code.effect_possible else "not_applied")


@pytest.mark.parametrize("code", ErrorCode)
def test_a_host_that_says_it_stopped_half_way_is_believed(code: ErrorCode) -> None:
    """`reconciliation_required` makes any refused mutation `unknown`, except with exit code 2."""
    halfway = {"effect_state": HALFWAY}

    assert rejection(failure(code, mutates=False, data=halfway)).outcome == "not_applied"
    late = rejection(failure(code, mutates=True, data=halfway))
    assert late.outcome == "unknown"
    early = rejection(failure(code, mutates=True, exit_code=2, data=halfway))
    assert early.outcome == "not_applied"


@pytest.mark.parametrize("code", ["WP_ON_FIRE", None])
def test_nothing_is_known_about_the_effect_of_an_unknown_code(code: str | None) -> None:
    """A mutation that is refused with an unknown code, or with none, is `unknown`."""
    assert rejection(failure(code, mutates=True)).outcome == "unknown"


@pytest.mark.parametrize(
    "error", [e for e in ANSWERED if not e.failure.mutates], ids=lambda e: e.code
)
def test_a_refused_read_has_no_effect(error: HostRejected) -> None:
    """A refused read is always `not_applied`."""
    assert error.outcome == "not_applied"


@pytest.mark.parametrize("kind", [HostTimeout, ProtocolError])
@pytest.mark.parametrize("exit_code", [None, 1, -9])
def test_a_mutation_without_an_answer_is_in_doubt(
    kind: type[HostError], exit_code: int | None
) -> None:
    """A mutation without an answer may have happened: it is `unknown` and not retryable."""
    error = kind(failure(mutates=True, exit_code=exit_code))

    assert error.outcome == "unknown"
    assert error.retryable is False


@pytest.mark.parametrize("kind", [HostTimeout, ProtocolError])
def test_a_read_without_an_answer_can_be_repeated(kind: type[HostError]) -> None:
    """A read without an answer is `not_applied` and retryable."""
    error = kind(failure(mutates=False))

    assert error.outcome == "not_applied"
    assert error.retryable is True


@pytest.mark.parametrize("exit_code", [2, 4, 5, 6])
def test_what_ends_before_the_call_is_looked_at_has_no_effect(exit_code: int) -> None:
    """The host's option parser and project gate (exit codes 2 and 4 to 6) mean `not_applied`."""
    for code in (None, "USAGE_ERROR", "WP_ON_FIRE"):
        error = rejection(failure(code, mutates=True, exit_code=exit_code))
        assert error.outcome == "not_applied"


def test_a_crash_of_a_mutation_is_in_doubt() -> None:
    """A mutation that crashed, perhaps after its effect, is `unknown` and not retryable."""
    error = HostCrashed(failure(mutates=True))

    assert error.outcome == "unknown"
    assert error.retryable is False


@pytest.mark.parametrize("mutates", [False, True])
def test_a_host_that_does_not_start_is_not_asked_again(mutates: bool) -> None:
    """A host that cannot start had no effect and is not retryable."""
    error = HostCannotStart(failure(mutates=mutates))

    assert error.outcome == "not_applied"
    assert error.retryable is False


def test_what_a_host_cannot_do_is_told_with_both_releases() -> None:
    """UnsupportedByHost names the verb, the asked host and the first release that has it."""
    error = UnsupportedByHost("resolve-workspace", since="3.2.4", release="3.1.10")

    assert str(error).startswith("Host 3.1.10 has no resolve-workspace; 3.2.4 is the first")
    assert "Nothing was sent" in str(error)
    assert "spec-kitty-cli>=3.2.4" in str(error)
    assert (error.what, error.since, error.release) == ("resolve-workspace", "3.2.4", "3.1.10")


def test_a_damaged_merge_says_where_the_target_was() -> None:
    """MergeDamaged names the target's old commit, and the first ten of the changed files."""
    lost = MergeDamaged("main", "abc123", "took commits away from it")
    strange = MergeDamaged("main", "abc123", "changed", tuple(f"f{i}" for i in range(12)))

    assert "took commits away" in str(lost)
    assert "abc123" in str(lost)
    assert "f0, f1" in str(strange)
    assert "f9" in str(strange)
    assert "f10" not in str(strange)
    assert len(strange.paths) == 12


def test_what_would_be_lost_is_named() -> None:
    """WouldLoseWork has the files that would be lost in `paths`."""
    error = WouldLoseWork("a merge would throw away: a.txt", ("a.txt",))

    assert str(error) == "a merge would throw away: a.txt"
    assert error.paths == ("a.txt",)


@pytest.mark.parametrize("error", EVERY, ids=lambda e: type(e).__name__)
def test_every_error_survives_pickling(error: SpecKittyError) -> None:
    """A pickled error keeps its class, its text and its attributes."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


HALF = "half \ud800 a \udcff character"
UNPRINTABLE: list[SpecKittyError] = [
    SpecKittyError(HALF),
    InvalidCall(HALF),
    PolicyProblem(HALF, PolicyRule.SECRET, HALF),
    PolicyError((PolicyProblem(HALF, PolicyRule.SECRET, HALF),)),
    HostNotFound(HALF),
    UnsupportedHost(HALF),
    UnsupportedByHost(HALF, since=HALF, release=HALF),
    GitFailed(HALF),
    WouldLoseWork(HALF, (HALF,)),
    MergeDamaged(HALF, "abc123", HALF, (HALF,)),
    HostTimeout(failure(message=HALF, verb=HALF)),
    HostCrashed(failure(message=HALF)),
    rejection(failure(ErrorCode.PUSH_FAILED, message=HALF)),
    rejection(failure(HALF, message=HALF)),
    TapeDamaged(HALF, 1, HALF),
]


@pytest.mark.parametrize("error", UNPRINTABLE, ids=lambda e: type(e).__name__)
def test_the_text_of_an_error_can_be_printed(error: SpecKittyError) -> None:
    """The text of an error with a lone surrogate can be encoded as UTF-8."""
    text = str(error).encode("utf-8").decode("utf-8")

    assert r"half \ud800 a \udcff character" in text
    assert str(pickle.loads(pickle.dumps(error))) == text  # noqa: S301


@pytest.mark.parametrize("error", [*ANSWERED, *UNANSWERED], ids=lambda e: type(e).__name__)
def test_the_text_says_what_happened_and_what_to_do(error: HostError) -> None:
    """The text of a HostError has verb, message, code and next step."""
    text = str(error)

    assert text.startswith("mission-state: it did not work")
    assert text.endswith(error.next_step)
    assert re.fullmatch(r"[A-Z].+ .+\.", error.next_step)
    assert error.code is None or f"[{error.code}]" in text


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (ErrorCode.MISSION_NOT_FOUND, "branch"),
        (ErrorCode.WP_NOT_FOUND, "mission-state"),
        (ErrorCode.WP_ALREADY_CLAIMED, "the actor that the message names"),
        (ErrorCode.DEPENDENCIES_NOT_SATISFIED, "depends on first"),
        (ErrorCode.LANE_ALLOCATION_FAILED, "worktree"),
        (ErrorCode.MISSION_NOT_READY, "that the message names"),
        (ErrorCode.PREFLIGHT_FAILED, "were removed by an earlier merge"),
        (ErrorCode.CONTRACT_VERSION_MISMATCH, "spec-kitty-client"),
        (ErrorCode.POLICY_VALIDATION_FAILED, "Correct the policy"),
        (ErrorCode.USAGE_ERROR, "contract version"),
        (ErrorCode.DIRTY_WORKTREE, "call again"),
        (ErrorCode.PUSH_FAILED, "git status"),
        (ErrorCode.TRANSITION_REJECTED, "mission-state"),
        (UnknownErrorCode("WP_ON_FIRE"), "mission-state"),
    ],
)
def test_the_next_step_fits_the_code(code: ErrorCode | UnknownErrorCode, word: str) -> None:
    """The next step is that of the code if it has one, else that of its family."""
    assert word in rejection(failure(code)).next_step


def test_a_slow_mutation_says_how_to_go_on() -> None:
    """HostTimeout of a mutation mentions the time limit."""
    assert "time limit" in str(HostTimeout(failure(mutates=True, exit_code=None)))


@pytest.mark.parametrize("kind", [HostTimeout, ProtocolError])
def test_a_mutation_in_doubt_says_to_read_the_state(kind: type[HostError]) -> None:
    """The next step after a mutation without an answer is to read mission-state."""
    assert "mission-state" in kind(failure(mutates=True)).next_step


def test_a_call_and_its_output_are_not_in_the_text() -> None:
    """The text of an error has neither the command line nor the output of the call."""
    error = ProtocolError(failure(argv=("spec-kitty", "--note=SENTINEL"), stdout="SENTINEL"))

    assert "SENTINEL" not in str(error)
    assert error.failure.argv[1] == "--note=SENTINEL"


def test_everything_is_one_tree() -> None:
    """All 25 exceptions of `errors` are SpecKittyErrors, below the classes listed here."""
    classes = [getattr(errors, name) for name in errors.__all__]
    exceptions = [c for c in classes if isinstance(c, type) and issubclass(c, Exception)]

    assert len(exceptions) == 26
    assert all(issubclass(c, SpecKittyError) for c in exceptions)
    assert issubclass(PolicyError, InvalidCall)
    assert issubclass(InvalidCall, ValueError)
    assert issubclass(HostCannotStart, HostCrashed)
    assert issubclass(HostCrashed, ProtocolError)
    for before in (HostNotFound, UnsupportedHost, UnsupportedByHost, GitFailed, MergeDamaged):
        assert not issubclass(before, HostError)
