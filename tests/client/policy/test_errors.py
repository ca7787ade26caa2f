"""Tests of `spec_kitty_client.policy.errors`."""

import copy
import pickle
import traceback
from collections.abc import Callable

import pytest
from packaging.version import Version

from spec_kitty_client.errors import InvalidCall, SpecKittyError
from spec_kitty_client.policy.errors import PolicyError, PolicyProblem, PolicyRule

MISSING = PolicyProblem("sandbox_mode", PolicyRule.REQUIRED, "is missing")
BANNED = PolicyProblem("dangerous_flags[0]", PolicyRule.FLAG_BANNED, "is --yolo", "--yolo")


def parts(problem: PolicyProblem) -> tuple[object, ...]:
    """Return everything about a problem, its notes too."""
    return (problem.path, problem.rule, problem.reason, problem.word, problem.__notes__)


@pytest.mark.parametrize(
    ("rule", "since"),
    [
        (PolicyRule.JSON, None),
        (PolicyRule.NESTING, None),
        (PolicyRule.OBJECT, None),
        (PolicyRule.REQUIRED, None),
        (PolicyRule.FLAG_LIST, None),
        (PolicyRule.SECRET, None),
        (PolicyRule.TEXT, "3.2.0"),
        (PolicyRule.FLAG_TEXT, "3.2.0"),
        (PolicyRule.RESTRICTIONS, "3.2.0"),
        (PolicyRule.NESTED_SECRET, "3.2.0"),
        (PolicyRule.FLAG_BANNED, "3.2.3"),
    ],
)
def test_which_hosts_have_a_rule(rule: PolicyRule, since: str | None) -> None:
    """A rule applies from its first release on, and if no release is given."""
    assert rule.since == (Version(since) if since else None)
    assert rule.releases == (f"host {since} and later" if since else "every host")
    assert rule.applies_to(None)
    assert rule.applies_to(Version("4.0.0rc7"))
    assert rule.applies_to(Version(since or "1.0.0"))
    assert rule.applies_to(Version("3.1.10")) is (since is None)
    assert rule.applies_to(Version("3.2.2")) is (since != "3.2.3")


def test_every_rule_says_what_it_is() -> None:
    """There are eleven rules, with different names."""
    assert len({rule.value for rule in PolicyRule}) == 11


def test_a_problem_is_a_sentence_and_a_note() -> None:
    """An ordinary traceback shows the field, the rule, the word and the hosts."""
    assert str(BANNED) == "dangerous_flags[0] is --yolo"
    named = "field: dangerous_flags[0], rule: flag_banned, word: '--yolo'"
    assert BANNED.__notes__ == [f"{named}, applied by: host 3.2.3 and later"]
    assert MISSING.__notes__ == ["field: sandbox_mode, rule: required, applied by: every host"]


def test_a_policy_error_is_a_line_with_all_the_problems() -> None:
    """The text of a policy error is one line with all its problems."""
    error = PolicyError((MISSING, BANNED))

    assert str(error) == "policy: sandbox_mode is missing; dangerous_flags[0] is --yolo"
    assert error.problems == (MISSING, BANNED)
    assert PolicyError([MISSING]).problems == (MISSING,)


def test_a_traceback_shows_each_problem_with_its_note() -> None:
    """The traceback shows the place of each problem and the hosts that refuse it."""
    shown = "".join(traceback.format_exception(PolicyError((MISSING, BANNED))))

    for problem in (MISSING, BANNED):
        assert f"PolicyProblem: {problem}\n" in shown
        assert problem.__notes__[0] in shown


def test_both_are_invalid_calls() -> None:
    """An `except InvalidCall` also catches policy errors and problems."""
    for kind in (PolicyError, PolicyProblem):
        assert issubclass(kind, InvalidCall)
        assert issubclass(kind, SpecKittyError)
    assert issubclass(PolicyError, ExceptionGroup)


def pickled(error: PolicyError) -> PolicyError:
    """Return the error after pickling and unpickling it."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert isinstance(again, PolicyError)
    return again


@pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy])
def test_errors_can_be_copied(again: Callable[[PolicyError], PolicyError]) -> None:
    """Errors keep all their fields and notes when pickled or copied."""
    error = PolicyError((MISSING, BANNED))
    error.add_note("of plan.json")
    other = again(error)

    assert type(other) is PolicyError
    assert str(other) == str(error)
    assert other.__notes__ == ["of plan.json"]
    assert [*map(parts, other.problems)] == [*map(parts, error.problems)]


def test_a_group_can_be_taken_apart() -> None:
    """The parts of a split policy error are policy errors."""
    error = PolicyError((MISSING, BANNED))
    match, rest = error.split(lambda e: e is BANNED)

    assert isinstance(match, PolicyError)
    assert isinstance(rest, PolicyError)
    assert (match.problems, rest.problems) == ((BANNED,), (MISSING,))
    assert error.subgroup(lambda e: e is MISSING).problems == (MISSING,)
    assert error.derive([BANNED]).problems == (BANNED,)
    assert error.subgroup(OSError) is None


def test_problems_can_be_caught_as_a_group() -> None:
    """`except*` catches the problems of a policy error as PolicyProblem and as InvalidCall."""
    caught = []
    try:
        raise PolicyError((MISSING, BANNED))
    except* PolicyProblem as group:
        caught += group.exceptions
    try:
        raise PolicyError((MISSING,))
    except* InvalidCall as group:
        caught += group.exceptions

    assert caught == [MISSING, BANNED, MISSING]


def test_an_error_without_a_problem_cannot_be_made() -> None:
    """A policy error without a problem cannot be made."""
    with pytest.raises(ValueError, match="empty"):
        PolicyError(())
