"""Tests of `spec_kitty_client.testing.strategies.policies`."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from packaging.version import Version

from spec_kitty_client import Policy, PolicyError, PolicyRule, policy_problems
from spec_kitty_client.policy.rules import BANNED_FLAGS, REQUIRED_FIELDS, SECRET_WORDS, TEXT_FIELDS
from spec_kitty_client.testing.strategies.policies import invalid_policies, policies, policy_json

MANY = settings(
    max_examples=150,
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
FINDING = settings(MANY, max_examples=2000, phases=[Phase.generate, Phase.shrink])
RARE = settings(FINDING, max_examples=20_000)
SMALLEST = {
    "orchestrator_id": "",
    "orchestrator_version": "",
    "agent_family": "",
    "approval_mode": "full_auto",
    "sandbox_mode": "read_only",
    "network_mode": "none",
    "dangerous_flags": [],
}
BREAKABLE = [rule for rule in PolicyRule if rule is not PolicyRule.JSON]
RELEASES = [Version(release) for release in ("1.0.3", "3.1.10", "3.2.2", "3.2.7")]


def drawn(strategy: Any, many: int = 150) -> list[Any]:
    """Return many of what a strategy draws, always the same."""
    every: list[Any] = []

    @settings(MANY, max_examples=many)
    @given(strategy)
    def note(value: Any) -> None:
        every.append(value)

    note()
    return every


def test_policies_are_taken_by_every_host() -> None:
    """Every drawn policy is accepted by all hosts, also after a round trip through JSON."""
    for policy in drawn(policies()):
        assert not policy_problems(policy.to_json())
        assert Policy.from_json(policy.to_json()) == policy


def test_policies_are_of_many_kinds() -> None:
    """Known modes and other words, with flags and without, with further fields and without."""
    every = drawn(policies())
    assert {type(p.approval_mode).__name__ for p in every} == {"ApprovalMode", "str"}
    for has in (bool(p.dangerous_flags) for p in every), (bool(p.extra) for p in every):
        assert {*has} == {True, False}
    assert any(not p.to_json().isascii() or "\\u" in p.to_json() for p in every)


def test_policies_shrink_to_an_empty_one() -> None:
    """The simplest drawn policy has only the required fields."""
    assert find(policies(), lambda _: True, settings=FINDING).to_dict() == SMALLEST


@pytest.mark.parametrize("rule", BREAKABLE)
def test_an_invalid_policy_breaks_the_rule_that_it_says(rule: PolicyRule) -> None:
    """It breaks that one and no other, and the rule is the one that was asked for."""
    for raw, broken in drawn(invalid_policies(rule)):
        assert broken is rule
        assert {problem.rule for problem in policy_problems(raw)} == {rule}
        json.dumps(raw)


def test_an_invalid_policy_breaks_any_rule() -> None:
    """Every rule that an object can break is broken, if none is named."""
    assert {rule for _, rule in drawn(invalid_policies(), many=600)} == {*BREAKABLE}


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        (PolicyRule.REQUIRED, {*REQUIRED_FIELDS}),
        (PolicyRule.TEXT, {*TEXT_FIELDS}),
        (PolicyRule.SECRET, {*TEXT_FIELDS, "tool_restrictions", "more"}),
    ],
)
def test_a_rule_is_broken_in_every_place(rule: PolicyRule, places: set[str]) -> None:
    """A rule is broken in every field that it applies to."""
    every = drawn(invalid_policies(rule))
    assert {p.path for raw, _ in every for p in policy_problems(raw)} == places


def test_words_and_flags_are_all_there() -> None:
    """Each word that hosts look for and each flag that they ban is drawn, words in any case."""
    secrets = [*drawn(invalid_policies(PolicyRule.SECRET))]
    secrets += drawn(invalid_policies(PolicyRule.NESTED_SECRET))
    words = {str(p.word) for raw, _ in secrets for p in policy_problems(raw)}
    assert {word.lower() for word in words if word.isascii()} == {*SECRET_WORDS}
    assert any(word.isupper() for word in words)
    assert any(not word.isascii() for word in words)
    banned = drawn(invalid_policies(PolicyRule.FLAG_BANNED))
    assert {p.word for raw, _ in banned for p in policy_problems(raw)} == BANNED_FLAGS


def test_secrets_are_nested_in_flags_lists_and_objects() -> None:
    """Secrets are drawn in flags, lists and objects as well."""
    every = drawn(invalid_policies(PolicyRule.NESTED_SECRET))
    paths = [p.path for raw, _ in every for p in policy_problems(raw)]
    assert any(path.startswith("dangerous_flags[") for path in paths)
    assert any(path.endswith("]") and not path.startswith("dangerous_flags") for path in paths)
    assert any("." in path for path in paths)


@pytest.mark.parametrize("rule", [rule for rule in BREAKABLE if rule is not PolicyRule.OBJECT])
def test_an_invalid_policy_shrinks_to_one_thing_wrong(rule: PolicyRule) -> None:
    """All but what breaks the rule is as small as it can be."""
    raw, _ = find(invalid_policies(rule), lambda _: True, settings=FINDING)
    changed = {k for k in {*raw, *SMALLEST} if raw.get(k) != SMALLEST.get(k) or k not in raw}
    assert len(changed) == 1
    assert len(json.dumps(raw)) < len(json.dumps(SMALLEST)) + 250


def test_what_is_no_json_is_no_object() -> None:
    """The one rule that only a text breaks is refused with the way to go."""
    with pytest.raises(ValueError, match="policy_json"):
        invalid_policies(PolicyRule.JSON)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return what `policy_json` draws, always the same."""
    return drawn(policy_json(), many=1000)


def exists(texts: list[str], what: Callable[[str], bool]) -> bool:
    """Tell whether such a text is drawn.

    Hypothesis also draws constants from the modules that are loaded, so that what is rare among
    a thousand texts depends on the tests before.
    """
    return any(map(what, texts)) or what(find(policy_json(), what, settings=RARE))


def test_a_third_of_the_texts_divides_the_hosts(texts: list[str]) -> None:
    """Enough are fine for all, for none, and for some release but not for another."""
    told = Counter(
        frozenset(not policy_problems(t, release) for release in RELEASES) for t in texts
    )
    assert told[frozenset({True, False})] > len(texts) / 4
    assert told[frozenset({True})] > len(texts) / 8
    assert told[frozenset({False})] > len(texts) / 8


def test_texts_break_every_rule(texts: list[str]) -> None:
    """Any rule can be found by way of a text."""
    assert {rule for text in texts for rule in _rules(text)} == {*PolicyRule}


def _rules(text: str) -> set[PolicyRule]:
    return {problem.rule for problem in policy_problems(text)}


def test_texts_can_be_sent(texts: list[str]) -> None:
    """Each can be an argument of a program on any machine."""
    for text in texts:
        assert "\0" not in text
        assert len(text.encode()) < 120_000


def test_texts_are_no_deeper_than_all_hosts_agree(texts: list[str]) -> None:
    """None is at a depth where the answer depends on the host's Python."""
    for text in texts:
        if PolicyRule.NESTING in _rules(text):
            assert text.count("[") >= 59_000


def test_texts_have_what_parsers_stumble_over(texts: list[str]) -> None:
    """Oddities of spelling, numbers that are long, text that is huge or nested."""
    marks = ["NaN", "\\u00", '""', "9" * 4300, "\n", "'", "\U0001f408", "[[[["]
    for mark in marks:
        assert exists(texts, lambda text, mark=mark: mark in text), mark
    assert find(policy_json(), lambda text: text.startswith("\ufeff"), settings=FINDING)
    assert find(policy_json(), lambda text: "xxxx" in text, settings=FINDING)
    assert max(map(len, texts)) > 50_000


def test_texts_say_names_twice(texts: list[str]) -> None:
    """Parsers differ in what they make of that."""

    def twice(text: str) -> bool:
        found = any(text.count(f'"{name}"') == 2 for name in REQUIRED_FIELDS)
        return found and PolicyRule.JSON not in _rules(text)

    assert exists(texts, twice)


def test_texts_hide_words() -> None:
    """A secret behind an escape is one."""

    def hidden(text: str) -> bool:
        return PolicyRule.SECRET in _rules(text) and "key" not in text.lower() and "\\u006b" in text

    assert hidden(find(policy_json(), hidden, settings=FINDING))


def test_a_text_shrinks_to_the_smallest_policy() -> None:
    """A failure shows no more than what it takes: a good policy, with one thing wrong."""
    good = find(policy_json(), lambda text: not policy_problems(text), settings=FINDING)
    assert json.loads(good) == SMALLEST
    bad = find(policy_json(), lambda t: _rules(t) == {PolicyRule.NESTED_SECRET}, settings=FINDING)
    assert json.loads(bad) == {**SMALLEST, "dangerous_flags": ["token"]}
    with pytest.raises(PolicyError):
        Policy.from_json(bad)
