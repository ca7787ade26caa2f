"""Check a policy by the rules of one host or of all, without building or sending it.

Limits of command lines, such as 128 KiB per argument and no null character, are not part of these
rules: the call checks them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.version import Version

from spec_kitty_client.policy.errors import PolicyError, PolicyProblem, PolicyRule

__all__ = [
    "BANNED_FLAGS",
    "DEEPEST",
    "REQUIRED_FIELDS",
    "SECRET_WORDS",
    "TEXT_FIELDS",
    "WHOLE",
    "object_problems",
    "parse_policy",
    "policy_problems",
]

SECRET_WORDS = ("token", "secret", "key", "password", "credential")
"""Words that no value of a policy may contain, in any case, also inside a longer word."""

BANNED_FLAGS = frozenset(
    {
        "--full-auto",
        "--yolo",
        "--dangerously-bypass-approvals-and-sandbox",
        "--dangerously-skip-permissions",
    }
)
"""Flags that hosts refuse in ``dangerous_flags`` (3.2.3 and later)."""

TEXT_FIELDS = (
    "orchestrator_id",
    "orchestrator_version",
    "agent_family",
    "approval_mode",
    "sandbox_mode",
    "network_mode",
)
"""The required fields with text values."""

REQUIRED_FIELDS = (*TEXT_FIELDS, "dangerous_flags")
"""The fields that every host requires."""

DEEPEST = 100
"""Maximum nesting of objects and lists; the policy itself is level one.

Every host, on every Python that it supports, reads this depth.
"""

WHOLE = "(policy)"
"""The path of a problem with the policy as a whole."""

_SECRET = re.compile("|".join(SECRET_WORDS), re.IGNORECASE)  # matches U+017F as s, like hosts
_TOO_LONG = 10**4300  # the smallest integer that Python's default limit refuses to parse
_NAME = re.compile(r"[\w-]{1,40}", re.ASCII)
_LONGEST = 40  # characters of a name in a path
_KINDS: dict[type, str] = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "a string",
    tuple: "a list",
    type(None): "null",
}


def policy_problems(policy: object, release: Version | None = None) -> tuple[PolicyProblem, ...]:
    """Return every reason why a host would refuse a policy.

    Args:
        policy: JSON text (a string, or UTF-8 bytes), or a mapping with the policy's fields.
        release: The host's release, as in `Contract.release`; None: all hosts.

    Returns:
        The problems; empty if the policy is accepted.
    """
    if isinstance(policy, str | bytes):
        try:
            policy = parse_policy(policy)
        except PolicyError as e:
            return e.problems
    return object_problems(policy, release)


def object_problems(raw: object, release: Version | None) -> tuple[PolicyProblem, ...]:
    """Return every problem with a parsed value, which may be of any type."""
    found = _problems(dict(raw)) if isinstance(raw, Mapping) else _no_object(raw)
    return tuple(problem for problem in found if problem.rule.applies_to(release))


def parse_policy(text: str | bytes) -> object:
    """Return the value of JSON text, without checking that it is a policy.

    Args:
        text: JSON text, or its UTF-8 bytes.

    Raises:
        PolicyError: If it is not UTF-8, not JSON, or nested too deeply.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.decode())
    except RecursionError:
        problem = _too_deep(WHOLE)
    except json.JSONDecodeError as e:
        problem = PolicyProblem(WHOLE, PolicyRule.JSON, f"is not JSON: {e}")
    except UnicodeDecodeError as e:
        reason = f"is not UTF-8: the byte at position {e.start} is invalid"
        problem = PolicyProblem(WHOLE, PolicyRule.JSON, reason)
    except ValueError:  # Python's limit on the digits of an integer
        problem = PolicyProblem(WHOLE, PolicyRule.JSON, f"is not JSON: it has {_LONG_NUMBER}")
    raise PolicyError((problem,))  # outside `except`: the cause would contain the whole text


def _no_object(raw: object) -> Iterator[PolicyProblem]:
    reason = f"must be an object, not {_kind(raw)}"
    yield PolicyProblem(WHOLE, PolicyRule.OBJECT, reason)


def _problems(raw: dict[Any, Any]) -> Iterator[PolicyProblem]:
    for name in REQUIRED_FIELDS:
        if name not in raw:
            yield PolicyProblem(name, PolicyRule.REQUIRED, "is missing")
    for name in TEXT_FIELDS:
        if name in raw and not isinstance(raw[name], str):
            yield _not_a("string", name, PolicyRule.TEXT, raw[name])
    if "dangerous_flags" in raw:
        yield from _flag_problems(raw["dangerous_flags"])
    restrictions = raw.get("tool_restrictions")
    if restrictions is not None and not isinstance(restrictions, str):
        yield _not_a("string or null", "tool_restrictions", PolicyRule.RESTRICTIONS, restrictions)
    yield from _value_problems(raw)


def _flag_problems(flags: object) -> Iterator[PolicyProblem]:
    if not isinstance(flags, list | tuple):
        yield _not_a("list of strings", "dangerous_flags", PolicyRule.FLAG_LIST, flags)
        return
    for i, flag in enumerate(flags):
        path = f"dangerous_flags[{i}]"
        if not isinstance(flag, str):
            yield _not_a("string", path, PolicyRule.FLAG_TEXT, flag)
        elif flag in BANNED_FLAGS:
            reason = f"is {flag}, a flag that hosts refuse"
            yield PolicyProblem(path, PolicyRule.FLAG_BANNED, reason, str(flag))


def _value_problems(raw: dict[Any, Any]) -> Iterator[PolicyProblem]:
    """Search every value, at every depth, for secrets and for types that JSON lacks.

    Hosts do not search the names of fields.
    """
    todo: list[tuple[str, object, int]] = [("", raw, 0)]  # no recursion: nesting may be deep
    while todo:
        path, value, depth = todo.pop()
        if isinstance(value, str):
            yield from _secrets(path, value, depth)
        elif not isinstance(value, dict | list | tuple):
            yield from _unsendable(path, value)
        elif depth >= DEEPEST:
            yield _too_deep(path)
            return  # the object may contain itself
        else:
            todo += [(p, v, depth + 1) for p, v in reversed([*_inside(path, value)])]
            if isinstance(value, dict) and not all(isinstance(k, str) for k in value):
                reason = "has a field name that is not a string, which JSON cannot represent"
                yield PolicyProblem(path or WHOLE, PolicyRule.JSON, reason)


def _inside(path: str, value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from ((f"{path}.{_name(k)}" if path else _name(k), v) for k, v in value.items())
    else:
        yield from ((f"{path}[{i}]", v) for i, v in enumerate(value))


def _secrets(path: str, text: str, depth: int) -> Iterator[PolicyProblem]:
    rule = PolicyRule.SECRET if depth == 1 else PolicyRule.NESTED_SECRET
    found: dict[str, str] = {}
    for word in _SECRET.findall(text):
        found.setdefault(word.lower(), word)
    for word in found.values():
        reason = f"contains {word!r}, which hosts treat as a secret, also inside a word"
        yield PolicyProblem(path, rule, reason, word)


def _unsendable(path: str, value: object) -> Iterator[PolicyProblem]:
    if not isinstance(value, int | float | None):
        reason = f"is {_kind(value)}, which JSON cannot represent"
        yield PolicyProblem(path, PolicyRule.JSON, reason)
    elif isinstance(value, int) and abs(value) >= _TOO_LONG:
        yield PolicyProblem(path, PolicyRule.JSON, f"is {_LONG_NUMBER}")


_LONG_NUMBER = "a number of more than 4,300 digits, which hosts cannot read"


def _too_deep(path: str) -> PolicyProblem:
    reason = f"is nested more than {DEEPEST} levels deep, and hosts may crash on it"
    return PolicyProblem(path, PolicyRule.NESTING, reason)


def _not_a(wanted: str, path: str, rule: PolicyRule, value: object) -> PolicyProblem:
    return PolicyProblem(path, rule, f"must be a {wanted}, not {_kind(value)}")


def _name(name: object) -> str:
    """Return a field name for a path: short, and on one line."""
    if not isinstance(name, str):
        return f"<{_kind(name)}>"
    if _NAME.fullmatch(name):
        return name
    short = name if len(name) <= _LONGEST else name[:_LONGEST] + "..."
    return json.dumps(short)


def _kind(value: object) -> str:
    return _KINDS.get(type(value)) or type(value).__name__
