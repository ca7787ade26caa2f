"""Tests of `spec_kitty_client.policy`."""

import json
from pathlib import Path
from typing import Any

import pytest

from spec_kitty_client.errors import InvalidCall, PolicyError
from spec_kitty_client.policy import BANNED_FLAGS, SECRET_WORDS, Policy

GOOD: dict[str, Any] = {
    "orchestrator_id": "tests",
    "orchestrator_version": "0.1.0",
    "agent_family": "none",
    "approval_mode": "manual",
    "sandbox_mode": "workspace_write",
    "network_mode": "none",
    "dangerous_flags": [],
}
TEXTS = [name for name in GOOD if name != "dangerous_flags"]


def problems(raw: object) -> dict[str, str]:
    """Return what is wrong with a policy, as text by path."""
    with pytest.raises(PolicyError) as e:
        Policy.from_dict(raw)
    return {p.path: str(p) for p in e.value.problems}


def test_a_good_policy_is_sent_as_it_is() -> None:
    """Nothing is added to, or taken from, what hosts accept."""
    assert Policy.from_dict(GOOD).to_dict() == GOOD
    assert Policy(**GOOD) == Policy(**GOOD)


def test_the_fields_a_host_asks_for() -> None:
    """All seven required fields are there, and only they."""
    assert set(Policy.REQUIRED) == set(GOOD)


def test_flags_may_be_left_out_in_python() -> None:
    """Who builds a policy in code need not spell the empty list; the host still gets it."""
    policy = Policy(**{name: GOOD[name] for name in TEXTS})

    assert policy.to_dict() == GOOD


def test_the_text_is_canonical() -> None:
    """The same policy is always the same bytes: sorted, without spaces, ASCII."""
    policy = Policy.from_dict({"ünder": "ö", **GOOD})
    text = policy.to_json()

    assert text.isascii()
    assert ": " not in text
    assert list(json.loads(text)) == sorted([*GOOD, "ünder"])


@pytest.mark.parametrize("restrictions", ["read-only", "", None])
def test_tool_restrictions_are_text_or_nothing(restrictions: str | None) -> None:
    """Both ways to say it are accepted, and null is not sent."""
    sent = Policy.from_dict({**GOOD, "tool_restrictions": restrictions}).to_dict()

    assert sent.get("tool_restrictions") == restrictions
    assert ("tool_restrictions" in sent) is (restrictions is not None)


def test_further_fields_are_kept() -> None:
    """A host may know more fields than this SDK does."""
    policy = Policy.from_dict({**GOOD, "team": {"name": "payments", "size": 3}})

    assert policy.extra == {"team": {"name": "payments", "size": 3}}
    assert policy.to_dict()["team"]["size"] == 3


@pytest.mark.parametrize("field", GOOD)
def test_a_missing_field_is_named(field: str) -> None:
    """Hosts need all seven."""
    assert problems({k: v for k, v in GOOD.items() if k != field}) == {field: f"{field} is missing"}


@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize(("value", "kind"), [(3, "int"), (None, "null"), ([], "list")])
def test_a_text_field_has_to_be_text(field: str, value: object, kind: str) -> None:
    """Hosts from 3.2.0 on check the type."""
    assert problems({**GOOD, field: value}) == {field: f"{field} must be a string, not {kind}"}


@pytest.mark.parametrize("flags", ["--safe", {"--safe": 1}, None, 3])
def test_flags_have_to_be_a_list(flags: object) -> None:
    """A single word is not taken apart into letters."""
    assert (
        "must be a list of strings"
        in problems({**GOOD, "dangerous_flags": flags})["dangerous_flags"]
    )


def test_flags_may_be_any_list_in_python() -> None:
    """A list and a tuple of flags are the same policy."""
    assert Policy(**{**GOOD, "dangerous_flags": ["--safe"]}) == Policy(
        **{**GOOD, "dangerous_flags": ("--safe",)}
    )


@pytest.mark.parametrize("flags", ["--safe", {"--safe": 1}, None, 3])
def test_flags_have_to_be_a_list_in_python_too(flags: Any) -> None:
    """A policy that is built in code is judged like one that is read, all problems at once."""
    with pytest.raises(PolicyError) as e:
        Policy(**{**GOOD, "dangerous_flags": flags, "agent_family": "monkey"})

    assert {p.path for p in e.value.problems} == {"dangerous_flags", "agent_family"}


def test_each_flag_has_to_be_text() -> None:
    """The path says which entry it is."""
    assert problems({**GOOD, "dangerous_flags": ["--safe", 3]}) == {
        "dangerous_flags[1]": "dangerous_flags[1] must be a string, not int"
    }


@pytest.mark.parametrize("flag", sorted(BANNED_FLAGS))
def test_a_banned_flag_is_refused(flag: str) -> None:
    """Hosts from 3.2.3 on refuse it, so it is refused for all."""
    assert flag in problems({**GOOD, "dangerous_flags": [flag]})["dangerous_flags[0]"]


def test_the_flags_that_hosts_ban() -> None:
    """The list is the contract's."""
    assert set(BANNED_FLAGS) == {
        "--full-auto",
        "--yolo",
        "--dangerously-bypass-approvals-and-sandbox",
        "--dangerously-skip-permissions",
    }


@pytest.mark.parametrize("value", [3, [], {"only": "shell"}])
def test_tool_restrictions_have_to_be_text(value: object) -> None:
    """Hosts from 3.2.0 on refuse anything else."""
    assert (
        "must be a string or null"
        in problems({**GOOD, "tool_restrictions": value})["tool_restrictions"]
    )


@pytest.mark.parametrize("word", SECRET_WORDS)
@pytest.mark.parametrize("form", ["{}", "my {} here", "pre{}post"])
def test_a_secret_word_is_refused_anywhere_in_a_value(word: str, form: str) -> None:
    """Hosts search inside words and in any case, so monkey is refused as well."""
    for spelled in (word, word.upper(), word.title()):
        (problem,) = problems({**GOOD, "agent_family": form.format(spelled)}).values()
        assert spelled in problem


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ({"note": "a password"}, "note"),
        ({"a": {"b": [{"c": "my secret"}]}}, "a.b[0].c"),
        ({"list": ["fine", ["token"]]}, "list[1][0]"),
        ({"tool_restrictions": "no keys"}, "tool_restrictions"),
        ({"dangerous_flags": ["--api-key"]}, "dangerous_flags[0]"),
    ],
)
def test_a_secret_is_found_at_every_depth(extra: dict[str, Any], path: str) -> None:
    """Hosts from 3.2.0 on search all of it; the path says where it is."""
    assert list(problems({**GOOD, **extra})) == [path]


def test_the_names_of_fields_are_not_searched() -> None:
    """Hosts look at values only: a field called password passes."""
    assert Policy.from_dict({**GOOD, "password": "x"}).extra == {"password": "x"}


def test_an_error_does_not_repeat_the_secret() -> None:
    """The text names the word that gave it away, never what stands around it."""
    text = problems({**GOOD, "agent_family": "token=hunter2"})["agent_family"]

    assert "hunter2" not in text
    assert "'token'" in text


def test_all_problems_are_told_at_once() -> None:
    """Nobody has to correct a policy one refusal at a time."""
    raw = {
        "orchestrator_id": 1,
        "orchestrator_version": "0.1.0",
        "agent_family": "monkey",
        "approval_mode": "manual",
        "network_mode": "none",
        "dangerous_flags": ["--yolo", 2],
        "tool_restrictions": [],
    }
    found = problems(raw)

    assert set(found) == {
        "orchestrator_id",
        "agent_family",
        "sandbox_mode",
        "dangerous_flags[0]",
        "dangerous_flags[1]",
        "tool_restrictions",
    }
    with pytest.raises(PolicyError) as e:
        Policy.from_dict(raw)
    assert all(text in str(e.value) for text in found.values())


def test_a_bad_policy_is_an_invalid_call() -> None:
    """It is found before anything is sent, and by the same rules when built in code."""
    with pytest.raises(InvalidCall, match="agent_family holds 'key'") as e:
        Policy(**{**GOOD, "agent_family": "monkey"})

    assert isinstance(e.value, PolicyError)
    assert e.value.problems[0].word == "key"


@pytest.mark.parametrize(("raw", "kind"), [(None, "null"), ([], "list"), ("{}", "str"), (3, "int")])
def test_a_policy_is_an_object(raw: object, kind: str) -> None:
    """Anything else is refused with one clear problem."""
    assert list(problems(raw).values()) == [f"(policy) must be a JSON object, not {kind}"]


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "[" * 100_000, '{"a": ' * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    """Broken and hostile texts end in the same error."""
    with pytest.raises(PolicyError, match="is not JSON"):
        Policy.from_json(text)


def test_a_policy_is_read_from_a_file(tmp_path: Path) -> None:
    """A file holds what `to_json` wrote."""
    path = tmp_path / "policy.json"
    policy = Policy.from_dict({**GOOD, "owner": "Zoë"})
    path.write_text(json.dumps(policy.to_dict(), ensure_ascii=False), encoding="utf-8")

    assert Policy.from_file(path) == policy
    assert Policy.from_file(str(path)) == policy


def test_a_file_that_is_no_policy_is_refused(tmp_path: Path) -> None:
    """Bytes that are no text are a problem of the policy, not of the decoder."""
    path = tmp_path / "policy.json"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(PolicyError):
        Policy.from_file(path)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    """A missing file is told apart from a bad policy."""
    with pytest.raises(FileNotFoundError):
        Policy.from_file(tmp_path / "none.json")


def test_a_field_cannot_be_said_twice() -> None:
    """A further field never replaces one that was checked."""
    policy = Policy(**GOOD, extra={"agent_family": "other", "dangerous_flags": ["--yolo"]})

    assert policy.to_dict() == GOOD


@pytest.mark.parametrize("value", [{1, 2}, b"token", object(), {1: "a", "b": 2}])
def test_what_cannot_be_sent_is_refused(value: object) -> None:
    """A policy that can be built can be sent, so what is no JSON is a problem of the policy."""
    with pytest.raises(PolicyError, match=r"extra|team"):
        Policy(**GOOD, extra={"team": value})


def test_what_is_nested_too_deep_to_be_sent_is_refused() -> None:
    """A policy that can be built can be sent, however deep an interpreter goes."""
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]

    with pytest.raises(PolicyError):
        Policy(**GOOD, extra={"deep": deep}).to_json()


def test_a_circle_is_refused() -> None:
    """A policy that contains itself ends in an error, not in a search without end."""
    circle: dict[str, Any] = {}
    circle["again"] = circle

    with pytest.raises(PolicyError, match="extra cannot be sent"):
        Policy(**GOOD, extra=circle)
