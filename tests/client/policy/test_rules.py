"""Tests of `spec_kitty_client.policy.rules`."""

import json
from typing import Any

import pytest
from packaging.version import Version

from spec_kitty_client.policy.errors import PolicyError, PolicyRule
from spec_kitty_client.policy.rules import (
    BANNED_FLAGS,
    DEEPEST,
    REQUIRED_FIELDS,
    SECRET_WORDS,
    TEXT_FIELDS,
    parse_policy,
    policy_problems,
)

GOOD: dict[str, Any] = {
    "orchestrator_id": "tests",
    "orchestrator_version": "0.1.0",
    "agent_family": "none",
    "approval_mode": "manual",
    "sandbox_mode": "workspace_write",
    "network_mode": "none",
    "dangerous_flags": [],
}
FIRST = ("1.0.3", "3.1.10")  # hosts without the rules of 3.2.0
BEFORE_BANS = ("3.2.0", "3.2.2")
LAST = ("3.2.3", "3.2.7", "4.0.0rc7")


def broken_rules(policy: object, release: str | None = None) -> dict[str, PolicyRule]:
    """Return the rules that a policy breaks, by path."""
    found = policy_problems(policy, Version(release) if release else None)
    assert len({p.path for p in found}) == len(found)
    return {p.path: p.rule for p in found}


def reasons(policy: object) -> dict[str, str]:
    """Return what is wrong with a policy, as text by path."""
    return {p.path: str(p) for p in policy_problems(policy)}


def nested(depth: int) -> Any:
    """Return lists in lists, so many levels."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_the_rules_are_those_of_the_contract() -> None:
    """The SDK's fields, secret words and banned flags are those of the contract."""
    assert set(REQUIRED_FIELDS) == set(GOOD)
    assert set(TEXT_FIELDS) == set(GOOD) - {"dangerous_flags"}
    assert set(SECRET_WORDS) == {"token", "secret", "key", "password", "credential"}
    assert set(BANNED_FLAGS) == {
        "--full-auto",
        "--yolo",
        "--dangerously-bypass-approvals-and-sandbox",
        "--dangerously-skip-permissions",
    }


@pytest.mark.parametrize("form", [GOOD, json.dumps(GOOD), json.dumps(GOOD).encode()])
def test_a_good_policy_has_no_problem(form: object) -> None:
    """A good policy has no problem, given as an object, as text or as bytes."""
    assert policy_problems(form) == ()


@pytest.mark.parametrize("field", GOOD)
def test_a_missing_field_is_named(field: str) -> None:
    """The problem of a missing field names it; every host needs all seven."""
    bad = {k: v for k, v in GOOD.items() if k != field}
    assert reasons(bad) == {field: f"{field} is missing"}
    assert broken_rules(bad, "1.0.3") == {field: PolicyRule.REQUIRED}


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize(
    ("value", "kind"),
    [(3, "a number"), (1.5, "a number"), (None, "null"), ([], "a list"), (True, "a boolean")],
)
def test_a_text_field_has_to_be_text(field: str, value: object, kind: str) -> None:
    """Hosts from 3.2.0 on refuse a text field of another type; older hosts accept any."""
    bad = {**GOOD, field: value}
    assert reasons(bad) == {field: f"{field} must be a string, not {kind}"}
    for release in (*BEFORE_BANS, *LAST):
        assert broken_rules(bad, release) == {field: PolicyRule.TEXT}
    for release in FIRST:
        assert not broken_rules(bad, release)


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_a_text_field_may_be_empty(field: str) -> None:
    """Every host accepts an empty text field."""
    assert not broken_rules({**GOOD, field: ""})


@pytest.mark.parametrize("flags", ["--safe", {"--safe": 1}, None, 3])
def test_flags_have_to_be_a_list(flags: object) -> None:
    """Every host refuses flags that are not a list."""
    bad = {**GOOD, "dangerous_flags": flags}
    assert "must be a list of strings" in reasons(bad)["dangerous_flags"]
    assert broken_rules(bad, "1.0.3") == {"dangerous_flags": PolicyRule.FLAG_LIST}


def test_each_flag_has_to_be_text() -> None:
    """Hosts from 3.2.0 on refuse a flag that is not text; its path has the index."""
    bad = {**GOOD, "dangerous_flags": ["--safe", 3]}
    assert broken_rules(bad, "3.2.0") == {"dangerous_flags[1]": PolicyRule.FLAG_TEXT}
    assert not broken_rules(bad, "3.1.10")


@pytest.mark.parametrize("flag", sorted(BANNED_FLAGS))
def test_a_banned_flag_is_refused(flag: str) -> None:
    """Hosts from 3.2.3 on refuse a banned flag among the flags, and only there."""
    bad = {**GOOD, "dangerous_flags": [flag]}
    (problem,) = policy_problems(bad)
    assert (problem.word, problem.rule) == (flag, PolicyRule.FLAG_BANNED)
    for release in LAST:
        assert broken_rules(bad, release) == {"dangerous_flags[0]": PolicyRule.FLAG_BANNED}
    for release in (*FIRST, *BEFORE_BANS):
        assert not broken_rules(bad, release)
    assert not broken_rules({**GOOD, "agent_family": flag, "dangerous_flags": [f"{flag}=1"]})


@pytest.mark.parametrize("value", [3, [], {"only": "shell"}, False])
def test_tool_restrictions_have_to_be_text(value: object) -> None:
    """Hosts from 3.2.0 on refuse tool_restrictions other than a string or null."""
    bad = {**GOOD, "tool_restrictions": value}
    assert "must be a string or null" in reasons(bad)["tool_restrictions"]
    assert broken_rules(bad, "3.2.0") == {"tool_restrictions": PolicyRule.RESTRICTIONS}
    assert not broken_rules(bad, "3.1.10")
    assert not broken_rules({**GOOD, "tool_restrictions": None})


@pytest.mark.parametrize("word", SECRET_WORDS)
@pytest.mark.parametrize("form", ["{}", "my {} here", "pre{}post"])
def test_a_secret_word_is_refused_anywhere_in_a_value(word: str, form: str) -> None:
    """Hosts search inside words and in any case, so monkey is refused as well."""
    for spelled in (word, word.upper(), word.title()):
        (problem,) = policy_problems({**GOOD, "agent_family": form.format(spelled)})
        assert (problem.path, problem.word) == ("agent_family", spelled)
        assert problem.rule is PolicyRule.SECRET


@pytest.mark.parametrize("spelled", ["\u212aey", "\u017fecret", "to\u212aen"])
def test_letters_that_only_look_different_are_the_same(spelled: str) -> None:
    """Hosts ignore case as Unicode has it: a Kelvin sign is a k, a long s is an s."""
    assert broken_rules({**GOOD, "agent_family": spelled}) == {"agent_family": PolicyRule.SECRET}


@pytest.mark.parametrize("text", ["ke y", "ke\u200by", "passw\u00f6rd", "t0ken", "cr\u00e9dential"])
def test_what_hosts_do_not_find_is_no_secret(text: str) -> None:
    """Text that hosts accept is not reported as a secret."""
    assert not broken_rules({**GOOD, "agent_family": text})


@pytest.mark.parametrize("name", ["tool_restrictions", "more", "orchestrator_id"])
def test_a_secret_in_any_field_is_found_by_every_host(name: str) -> None:
    """Every host finds a secret word in any field, also in an unknown one."""
    assert broken_rules({**GOOD, name: "a password"}, "1.0.3") == {name: PolicyRule.SECRET}


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ({"a": {"b": [{"c": "my secret"}]}}, "a.b[0].c"),
        ({"list": ["fine", ["token"]]}, "list[1][0]"),
        ({"list": ("fine", ("token",))}, "list[1][0]"),
        ({"dangerous_flags": ["--api-key"]}, "dangerous_flags[0]"),
        ({"a b": ["key"]}, '"a b"[0]'),
        ({"\n\x1b": {"\ud800": "key"}}, '"\\n\\u001b"."\\ud800"'),
        ({"": ["key"]}, '""[0]'),
        ({"x" * 41: ["key"]}, f'"{"x" * 40}..."[0]'),
    ],
)
def test_a_secret_is_found_at_every_depth(extra: dict[str, Any], path: str) -> None:
    """Hosts from 3.2.0 on find a nested secret, and its path is one line."""
    assert broken_rules({**GOOD, **extra}, "3.2.0") == {path: PolicyRule.NESTED_SECRET}
    assert not broken_rules({**GOOD, **extra}, "3.1.10")


def test_each_word_of_a_value_is_told_once() -> None:
    """Every secret word in a value is one problem, so that one correction is enough."""
    found = policy_problems({**GOOD, "agent_family": "Token, key, TOKEN and password"})
    assert [p.word for p in found] == ["Token", "key", "password"]


def test_the_names_of_fields_are_not_searched() -> None:
    """Hosts look at values only: a field called password passes, at any depth."""
    assert not broken_rules({**GOOD, "password": "x", "more": {"token": [{"key": 1}]}})


def test_a_problem_does_not_repeat_the_secret() -> None:
    """A problem names the secret word, but not the text around it."""
    (problem,) = policy_problems({**GOOD, "agent_family": "token=hunter2"})
    shown = f"{problem} {problem.__notes__} {problem.args}"
    assert "hunter2" not in shown
    assert "'token'" in shown


@pytest.mark.parametrize(
    "text", ['{"a": hunter2}', '{"a": "hunter2', '{"a": "hunter2"} x', '{"a": "\\hunter2"}']
)
def test_a_text_that_is_no_json_is_not_repeated(text: str) -> None:
    """Neither the problem nor its cause contains the text of the policy."""
    with pytest.raises(PolicyError) as e:
        parse_policy(text)
    error = e.value
    assert "hunter2" not in f"{error} {error.problems[0].args} {error.problems[0].__notes__}"
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize(("raw", "kind"), [(None, "null"), ([], "a list"), (3, "a number")])
def test_a_policy_is_an_object(raw: object, kind: str) -> None:
    """Every host refuses a policy that is not an object, with one problem."""
    assert reasons(raw) == {"(policy)": f"(policy) must be an object, not {kind}"}
    assert broken_rules(json.dumps(raw), "1.0.3") == {"(policy)": PolicyRule.OBJECT}


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "{", "{'a': 1}", '{"a": 1,}', "\ufeff{}", "\u00a0{}", "{} {}", '"\n"'),
        *('{"a": 01}', '{"a": tru}', "// {}", "9" * 4301, '{"a": -' + "9" * 4301 + "}"),
    ],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    """Text that Python's parser refuses is refused for every host."""
    (problem,) = policy_problems(text, Version("1.0.3"))
    assert (problem.path, problem.rule) == ("(policy)", PolicyRule.JSON)
    assert str(problem).startswith("(policy) is not JSON: ")


@pytest.mark.parametrize(
    "value", ["NaN", "-Infinity", "1e999", '"\\ud800"', '"\\u0000"', "9" * 4300, '"\x7f"']
)
def test_what_pythons_parser_takes_is_json(value: str) -> None:
    """The SDK accepts JSON that only Python's parser reads, because hosts use that."""
    assert not broken_rules(f'{json.dumps(GOOD)[:-1]}, "more": {value}}}')


def test_bytes_that_are_no_text_are_refused() -> None:
    """Bytes that are not UTF-8 are one problem, which has the position of the first."""
    assert reasons(b'{"a": "\xff"}') == {
        "(policy)": "(policy) is not UTF-8: the byte at position 7 is invalid"
    }


def test_the_last_of_two_equal_names_counts() -> None:
    """Of two equal names the last counts, as for every host; the first is not checked."""
    text = json.dumps(GOOD)[1:]
    assert not broken_rules('{"agent_family": "key", ' + text)
    last = "{" + text[:-1] + ', "agent_family": "key"}'
    assert broken_rules(last) == {"agent_family": PolicyRule.SECRET}


def test_a_policy_may_be_a_hundred_levels_deep() -> None:
    """A policy may have a hundred levels, itself included; more can crash a host."""
    assert DEEPEST == 100
    for form in (dict, json.dumps):
        assert not broken_rules(form({**GOOD, "more": nested(99)}))
        for release in (None, "1.0.3"):
            (rule,) = broken_rules(form({**GOOD, "more": nested(100)}), release).values()
            assert rule is PolicyRule.NESTING


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, "[" * 100_000 + "]" * 100_000])
def test_a_text_that_cannot_be_read_is_too_deep(text: str) -> None:
    """A text that is nested too deep to be read is a problem, and raises nothing."""
    assert broken_rules(text, "1.0.3") == {"(policy)": PolicyRule.NESTING}


def test_a_circle_is_too_deep() -> None:
    """A policy that contains itself is a problem, not an endless loop."""
    circle: dict[str, Any] = {}
    circle["again"] = circle
    circle["and"] = circle
    assert list(broken_rules({**GOOD, "more": circle}).values()) == [PolicyRule.NESTING]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({1, 2}, "team"),
        (b"token", "team"),
        (object(), "team"),
        (10**4300, "team"),
        (-(10**4300), "team"),
        ([{"a": {1}}], "team[0].a"),
        ({1: "a", "b": 2}, "team"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_refused(value: object, path: str) -> None:
    """A value that JSON cannot represent is a problem of the policy."""
    assert broken_rules({**GOOD, "team": value}, "1.0.3") == {path: PolicyRule.JSON}


def test_a_number_of_4300_digits_can_be_sent() -> None:
    """The SDK accepts numbers of 4300 digits, the longest that a host reads."""
    assert not broken_rules({**GOOD, "more": [10**4300 - 1, -(10**4300) + 1, float("inf")]})


def test_all_problems_are_told_at_once() -> None:
    """One error reports all problems of a policy."""
    bad = {
        "orchestrator_id": 1,
        "orchestrator_version": "0.1.0",
        "agent_family": "monkey",
        "approval_mode": "manual",
        "network_mode": "none",
        "dangerous_flags": ["--yolo", 2, "--api-key"],
        "tool_restrictions": [],
    }
    assert broken_rules(bad) == {
        "orchestrator_id": PolicyRule.TEXT,
        "agent_family": PolicyRule.SECRET,
        "sandbox_mode": PolicyRule.REQUIRED,
        "dangerous_flags[0]": PolicyRule.FLAG_BANNED,
        "dangerous_flags[1]": PolicyRule.FLAG_TEXT,
        "dangerous_flags[2]": PolicyRule.NESTED_SECRET,
        "tool_restrictions": PolicyRule.RESTRICTIONS,
    }
