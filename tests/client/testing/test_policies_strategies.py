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
    """Return many examples of a strategy, the same in every run."""
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
    """`policies` draws known and other modes, flags and none, further fields and none."""
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
    """`invalid_policies` of a rule draws policies that break this rule alone."""
    for raw, broken in drawn(invalid_policies(rule)):
        assert broken is rule
        assert {problem.rule for problem in policy_problems(raw)} == {rule}
        json.dumps(raw)


def test_an_invalid_policy_breaks_any_rule() -> None:
    """`invalid_policies` without a rule breaks every rule that an object can break."""
    assert {rule for _, rule in drawn(invalid_policies(), many=600)} == {*BREAKABLE}


@pytest.mark.parametrize(
    ("rule", "paths"),
    [
        (PolicyRule.REQUIRED, {*REQUIRED_FIELDS}),
        (PolicyRule.TEXT, {*TEXT_FIELDS}),
        (PolicyRule.SECRET, {*TEXT_FIELDS, "tool_restrictions", "more"}),
    ],
)
def test_a_rule_is_broken_in_every_place(rule: PolicyRule, paths: set[str]) -> None:
    """A rule is broken in every field that it applies to."""
    every = drawn(invalid_policies(rule))
    assert {p.path for raw, _ in every for p in policy_problems(raw)} == paths


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
    """The simplest invalid policy differs from the smallest one in one field."""
    raw, _ = find(invalid_policies(rule), lambda _: True, settings=FINDING)
    changed = {k for k in {*raw, *SMALLEST} if raw.get(k) != SMALLEST.get(k) or k not in raw}
    assert len(changed) == 1
    assert len(json.dumps(raw)) < len(json.dumps(SMALLEST)) + 250


def test_what_is_no_json_is_no_object() -> None:
    """`invalid_policies` refuses the rule that only a text breaks, and names `policy_json`."""
    with pytest.raises(ValueError, match="policy_json"):
        invalid_policies(PolicyRule.JSON)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return a thousand examples of `policy_json`, the same in every run."""
    return drawn(policy_json(), many=1000)


def exists(texts: list[str], condition: Callable[[str], bool]) -> bool:
    """Return whether `policy_json` draws a text for which a condition holds.

    Hypothesis also draws constants of the loaded modules, so that rare examples depend on the
    tests that ran before.
    """
    return any(map(condition, texts)) or condition(find(policy_json(), condition, settings=RARE))


def test_a_third_of_the_texts_divides_the_hosts(texts: list[str]) -> None:
    """Many texts are valid for all releases, many for none, and many for some of them."""
    verdicts = Counter(
        frozenset(not policy_problems(t, release) for release in RELEASES) for t in texts
    )
    assert verdicts[frozenset({True, False})] > len(texts) / 4
    assert verdicts[frozenset({True})] > len(texts) / 8
    assert verdicts[frozenset({False})] > len(texts) / 8


def test_texts_break_every_rule(texts: list[str]) -> None:
    """`policy_json` draws texts that break every rule."""
    assert {rule for text in texts for rule in _rules(text)} == {*PolicyRule}


def _rules(text: str) -> set[PolicyRule]:
    return {problem.rule for problem in policy_problems(text)}


def test_texts_can_be_sent(texts: list[str]) -> None:
    """Every text can be an argument of a program: short enough and without NUL."""
    for text in texts:
        assert "\0" not in text
        assert len(text.encode()) < 120_000


def test_texts_are_no_deeper_than_all_hosts_agree(texts: list[str]) -> None:
    """A text that is nested too deep is so for the Python of every host."""
    for text in texts:
        if PolicyRule.NESTING in _rules(text):
            assert text.count("[") >= 59_000


def test_texts_have_what_parsers_stumble_over(texts: list[str]) -> None:
    """`policy_json` draws odd spellings, long numbers, and huge or nested texts."""
    marks = ["NaN", "\\u00", '""', "9" * 4300, "\n", "'", "\U0001f408", "[[[["]
    for mark in marks:
        assert exists(texts, lambda text, mark=mark: mark in text), mark
    assert find(policy_json(), lambda text: text.startswith("\ufeff"), settings=FINDING)
    assert find(policy_json(), lambda text: "xxxx" in text, settings=FINDING)
    assert max(map(len, texts)) > 50_000


def test_texts_say_names_twice(texts: list[str]) -> None:
    """`policy_json` draws texts that have a name twice, which parsers read differently."""

    def twice(text: str) -> bool:
        found = any(text.count(f'"{name}"') == 2 for name in REQUIRED_FIELDS)
        return found and PolicyRule.JSON not in _rules(text)

    assert exists(texts, twice)


def test_texts_hide_words() -> None:
    """`policy_json` draws a secret word that is written with an escape."""

    def hidden(text: str) -> bool:
        return PolicyRule.SECRET in _rules(text) and "key" not in text.lower() and "\\u006b" in text

    assert hidden(find(policy_json(), hidden, settings=FINDING))


def test_a_text_shrinks_to_the_smallest_policy() -> None:
    """The simplest text is the smallest policy, and the simplest bad one has one thing wrong."""
    good = find(policy_json(), lambda text: not policy_problems(text), settings=FINDING)
    assert json.loads(good) == SMALLEST
    bad = find(policy_json(), lambda t: _rules(t) == {PolicyRule.NESTED_SECRET}, settings=FINDING)
    assert json.loads(bad) == {**SMALLEST, "dangerous_flags": ["token"]}
    with pytest.raises(PolicyError):
        Policy.from_json(bad)
