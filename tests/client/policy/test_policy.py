"""Tests of `spec_kitty_client.policy`."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest
from packaging.version import Version

from spec_kitty_client import ApprovalMode, Contract, NetworkMode, Policy, SandboxMode
from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.policy.errors import PolicyError, PolicyRule

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
OLD = Contract(Version("1.0.0"), Version("3.1.10"))
NEW = Contract(Version("1.5.0"), Version("3.2.7"))
LOOSE = {**GOOD, "agent_family": ["key"], "dangerous_flags": ["--yolo", 3], "tool_restrictions": {}}
"""A policy that hosts before 3.2.0 accept and later ones refuse."""


def test_a_good_policy_is_sent_as_it_is() -> None:
    """A policy that hosts accept is sent unchanged."""
    assert Policy.from_dict(GOOD).to_dict() == GOOD
    assert Policy(**GOOD) == Policy(**GOOD)


def test_the_fields_a_host_asks_for() -> None:
    """`Policy.REQUIRED` has exactly the seven fields that every host needs."""
    assert set(Policy.REQUIRED) == set(GOOD)


def test_flags_may_be_left_out_in_python() -> None:
    """A policy built without flags is sent with an empty list."""
    policy = Policy(**{name: GOOD[name] for name in TEXTS})

    assert policy.to_dict() == GOOD


def test_known_words_are_members() -> None:
    """A known mode becomes an enum member, however it was given."""
    policy = Policy.from_dict({**GOOD, "approval_mode": "full_auto"})

    assert policy.approval_mode is ApprovalMode.FULL_AUTO
    assert policy.sandbox_mode is SandboxMode.WORKSPACE_WRITE
    assert policy.network_mode is NetworkMode.NONE
    assert policy == Policy(**{**GOOD, "approval_mode": ApprovalMode.FULL_AUTO})


def test_the_known_words() -> None:
    """The known modes are those that agents are configured by."""
    assert {*ApprovalMode} == {"full_auto", "supervised", "interactive"}
    assert {*SandboxMode} == {"read_only", "workspace_write", "none"}
    assert {*NetworkMode} == {"none", "allowlist", "open"}


def test_other_words_stay() -> None:
    """An unknown mode stays a string, because hosts accept any word."""
    policy = Policy.from_dict({**GOOD, "sandbox_mode": "Workspace_Write"})

    assert (policy.approval_mode, policy.sandbox_mode) == ("manual", "Workspace_Write")
    assert not isinstance(policy.sandbox_mode, SandboxMode)
    assert policy.to_dict()["sandbox_mode"] == "Workspace_Write"


def test_what_is_sent_is_plain() -> None:
    """`to_dict` gives plain strings and lists, and no enum members."""
    kinds = {type(value) for value in Policy.from_dict(GOOD).to_dict().values()}

    assert kinds == {str, list}


def test_the_text_is_canonical() -> None:
    """Equal policies have the same JSON text: sorted, without spaces, ASCII."""
    policy = Policy.from_dict({"ünder": "ö", **GOOD})
    text = policy.to_json()

    assert text.isascii()
    assert ": " not in text
    assert list(json.loads(text)) == sorted([*GOOD, "ünder"])


@pytest.mark.parametrize("restrictions", ["read-only", "", None])
def test_tool_restrictions_are_text_or_nothing(restrictions: str | None) -> None:
    """`tool_restrictions` may be text or null, and null is not sent."""
    sent = Policy.from_dict({**GOOD, "tool_restrictions": restrictions}).to_dict()

    assert sent.get("tool_restrictions") == restrictions
    assert ("tool_restrictions" in sent) is (restrictions is not None)


def test_further_fields_are_kept() -> None:
    """The SDK keeps and sends fields that it does not know."""
    policy = Policy.from_dict({**GOOD, "team": {"name": "payments", "size": 3}, "release": "7"})

    assert policy.extra == {"team": {"name": "payments", "size": 3}, "release": "7"}
    assert policy.to_dict()["team"]["size"] == 3
    assert policy.release is None


def test_flags_may_be_any_list_in_python() -> None:
    """A list and a tuple of flags are the same policy."""
    assert Policy(**{**GOOD, "dangerous_flags": ["--safe"]}) == Policy(
        **{**GOOD, "dangerous_flags": ("--safe",)}
    )


@pytest.mark.parametrize("flags", ["--safe", {"--safe": 1}, None, 3])
def test_flags_have_to_be_a_list_in_python_too(flags: Any) -> None:
    """Building a policy with flags that are no list reports that and all other problems."""
    with pytest.raises(PolicyError) as e:
        Policy(**{**GOOD, "dangerous_flags": flags, "agent_family": "monkey"})

    assert {p.path for p in e.value.problems} == {"dangerous_flags", "agent_family"}


@pytest.mark.parametrize("mode", ["approval_mode", "sandbox_mode", "network_mode"])
@pytest.mark.parametrize("value", [None, 3, []])
def test_a_mode_has_to_be_text(mode: str, value: Any) -> None:
    """A mode that is not a string is a problem of the policy, and raises nothing else."""
    with pytest.raises(PolicyError) as e:
        Policy(**{**GOOD, mode: value})

    assert [(p.path, p.rule) for p in e.value.problems] == [(mode, PolicyRule.TEXT)]


def test_a_bad_policy_is_an_invalid_call() -> None:
    """A policy with a secret word raises PolicyError, which is an InvalidCall."""
    with pytest.raises(InvalidCall, match="agent_family contains 'key'") as e:
        Policy(**{**GOOD, "agent_family": "monkey"})

    assert isinstance(e.value, PolicyError)
    assert e.value.problems[0].word == "key"


@pytest.mark.parametrize("raw", [None, [], "{}", json.dumps(GOOD), 3])
def test_a_policy_is_an_object(raw: object) -> None:
    """`from_dict` refuses anything but an object, also the JSON text of one."""
    with pytest.raises(PolicyError, match=r"\(policy\) must be an object"):
        Policy.from_dict(raw)


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}"])
def test_what_is_no_json_is_refused(text: str) -> None:
    """Text that Python's parser refuses is refused for every host."""
    with pytest.raises(PolicyError, match="is not JSON"):
        Policy.from_json(text)


def test_a_policy_is_read_from_a_file(tmp_path: Path) -> None:
    """`from_file` reads UTF-8 JSON, with or without a byte order mark."""
    path = tmp_path / "policy.json"
    policy = Policy.from_dict({**GOOD, "owner": "Zoë"})
    path.write_text(json.dumps(policy.to_dict(), ensure_ascii=False), encoding="utf-8")

    assert Policy.from_file(path) == policy
    assert Policy.from_file(str(path)) == policy
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # with a byte order mark
    assert Policy.from_file(path) == policy


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"\xff\xfe\x00", "is not UTF-8"), (b"", "is not JSON")],
)
def test_a_file_that_is_no_policy_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    """`from_file` raises PolicyError for a file that is not UTF-8 or not JSON."""
    path = tmp_path / "policy.json"
    path.write_bytes(data)

    with pytest.raises(PolicyError, match=message):
        Policy.from_file(path)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    """`from_file` raises FileNotFoundError for a missing file, not PolicyError."""
    with pytest.raises(FileNotFoundError):
        Policy.from_file(tmp_path / "none.json")


def test_a_field_cannot_be_said_twice() -> None:
    """`extra` never replaces a known field, whether that was given or left out."""
    extra = {"agent_family": "other", "dangerous_flags": ["--yolo"], "tool_restrictions": "none"}

    assert Policy(**GOOD, extra=extra).to_dict() == GOOD


@pytest.mark.parametrize("value", [{1, 2}, b"token", object(), {1: "a", "b": 2}])
def test_what_cannot_be_sent_is_refused(value: object) -> None:
    """The SDK refuses an extra value that JSON cannot represent, when the policy is built."""
    with pytest.raises(PolicyError, match="team"):
        Policy(**GOOD, extra={"team": value})


def test_what_is_nested_too_deep_to_be_sent_is_refused() -> None:
    """The SDK refuses an extra value that is nested too deep to be sent."""
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]

    with pytest.raises(PolicyError, match="nested"):
        Policy(**GOOD, extra={"deep": deep})


@pytest.mark.parametrize("raw", [LOOSE, json.dumps(LOOSE), json.dumps(LOOSE).encode()])
def test_a_policy_can_be_built_for_one_host(raw: object) -> None:
    """A policy checked for an older host may break the rules of newer ones."""
    policy = Policy.for_contract(raw, OLD)

    assert policy.to_dict() == LOOSE
    assert policy.release == OLD.release
    with pytest.raises(PolicyError) as e:
        Policy.for_contract(raw, NEW)
    assert {p.rule for p in e.value.problems} == {
        PolicyRule.TEXT,
        PolicyRule.FLAG_BANNED,
        PolicyRule.FLAG_TEXT,
        PolicyRule.RESTRICTIONS,
        PolicyRule.NESTED_SECRET,
    }


def test_an_old_host_has_rules_too() -> None:
    """A policy for one host is checked by all rules of that host."""
    with pytest.raises(PolicyError, match="agent_family contains 'key'"):
        Policy.for_contract({**GOOD, "agent_family": "monkey"}, OLD)
    with pytest.raises(PolicyError, match="must be an object"):
        Policy.for_contract("[]", OLD)


def test_for_whom_it_was_built_is_no_part_of_a_policy() -> None:
    """The release of a policy is neither compared nor sent."""
    assert Policy.for_contract(GOOD, OLD) == Policy.from_dict(GOOD)
    assert Policy.for_contract(GOOD, OLD).to_json() == Policy.from_dict(GOOD).to_json()


def test_a_policy_can_be_changed_into_another() -> None:
    """`evolve` returns another policy with converted fields, and leaves the old one as it is."""
    policy = Policy.from_dict(GOOD)
    other = policy.evolve(sandbox_mode="read_only", dangerous_flags=["--safe"])

    assert policy.to_dict() == GOOD
    assert other.sandbox_mode is SandboxMode.READ_ONLY
    assert other.to_dict() == {**GOOD, "sandbox_mode": "read_only", "dangerous_flags": ["--safe"]}


def test_what_is_changed_is_checked_again() -> None:
    """A changed policy is checked again."""
    with pytest.raises(PolicyError, match="agent_family contains 'key'"):
        Policy.from_dict(GOOD).evolve(agent_family="monkey")
    with pytest.raises(TypeError, match="colour"):
        Policy.from_dict(GOOD).evolve(colour="red")


def test_a_change_is_checked_by_the_rules_it_was_built_by() -> None:
    """A changed policy is checked by the rules of the same release."""
    policy = Policy.for_contract(LOOSE, OLD).evolve(agent_family="x")

    assert policy.release == OLD.release
    with pytest.raises(PolicyError, match="tool_restrictions must be a string"):
        policy.evolve(release=None)


def test_a_policy_cannot_be_changed_in_place() -> None:
    """A checked policy is immutable."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Policy.from_dict(GOOD).agent_family = "monkey"  # type: ignore[misc]


def test_a_policy_can_be_copied() -> None:
    """A policy can be pickled and copied."""
    for policy in (Policy.from_dict(GOOD), Policy.for_contract(LOOSE, OLD)):
        again = pickle.loads(pickle.dumps(policy))  # noqa: S301 - our own
        for other in (again, copy.deepcopy(policy)):
            assert other == policy
            assert other.release == policy.release
