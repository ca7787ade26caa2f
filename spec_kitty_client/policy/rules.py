"""The rules for policies: every problem that a text or an object has, for one host or for all.

Nothing is built here and nothing is sent. What cannot be an argument of a program at all, a
null character or more than 128 KiB, is no matter of these rules: a call refuses it.
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
"""Words that no value of a policy may contain, in any case and inside any other word."""

BANNED_FLAGS = frozenset(
    {
        "--full-auto",
        "--yolo",
        "--dangerously-bypass-approvals-and-sandbox",
        "--dangerously-skip-permissions",
    }
)
"""Entries of ``dangerous_flags`` that hosts from 3.2.3 on refuse."""

TEXT_FIELDS = (
    "orchestrator_id",
    "orchestrator_version",
    "agent_family",
    "approval_mode",
    "sandbox_mode",
    "network_mode",
)
"""The required fields that hold text."""

REQUIRED_FIELDS = (*TEXT_FIELDS, "dangerous_flags")
"""The fields without which every host refuses a policy."""

DEEPEST = 100
"""Levels of objects and lists, the policy itself being the first.

A text of this depth goes through every host, whatever Python that runs on.
"""

WHOLE = "(policy)"
"""The path of a problem with all of it."""

_SECRET = re.compile("|".join(SECRET_WORDS), re.IGNORECASE)  # U+017F is an s to it, as to hosts
_TOO_LONG = 10**4300  # the first whole number that a Python which is left as it is does not read
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
    """Return every problem that a host would have with a policy; empty: it would accept it.

    Args:
        policy: The policy as it is sent: a string, or bytes of UTF-8, is JSON text; anything else
            is the object.
        release: The release of the host, which is that of its `Contract`; None: all hosts.
    """
    if isinstance(policy, str | bytes):
        try:
            policy = parse_policy(policy)
        except PolicyError as e:
            return e.problems
    return object_problems(policy, release)


def object_problems(raw: object, release: Version | None) -> tuple[PolicyProblem, ...]:
    """Return every problem with an object, where that may be a string, which is none."""
    found = _problems(dict(raw)) if isinstance(raw, Mapping) else _no_object(raw)
    return tuple(problem for problem in found if problem.rule.applies_to(release))


def parse_policy(text: str | bytes) -> object:
    """Return what a JSON text says, whether it is a policy or not.

    Raises:
        PolicyError: If it is no UTF-8 or no JSON, or nested beyond what can be read.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.decode())
    except RecursionError:
        problem = _too_deep(WHOLE)
    except json.JSONDecodeError as e:
        problem = PolicyProblem(WHOLE, PolicyRule.JSON, f"is not JSON: {e}")
    except UnicodeDecodeError as e:
        reason = f"is not UTF-8: the byte at {e.start} is no text"
        problem = PolicyProblem(WHOLE, PolicyRule.JSON, reason)
    except ValueError:  # raised by Python for a whole number with too many digits
        problem = PolicyProblem(WHOLE, PolicyRule.JSON, f"is not JSON: it holds {_LONG_NUMBER}")
    raise PolicyError((problem,))  # outside, because what was caught holds the whole text


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
    """Search every value, at every depth, for secrets and for what is no JSON.

    Hosts do not look at the names of fields.
    """
    todo: list[tuple[str, object, int]] = [("", raw, 0)]  # a stack: nesting may be hostile
    while todo:
        path, value, depth = todo.pop()
        if isinstance(value, str):
            yield from _secrets(path, value, depth)
        elif not isinstance(value, dict | list | tuple):
            yield from _unsendable(path, value)
        elif depth >= DEEPEST:
            yield _too_deep(path)
            return  # it may be a circle, which has no end
        else:
            todo += [(p, v, depth + 1) for p, v in reversed([*_inside(path, value)])]
            if isinstance(value, dict) and not all(isinstance(k, str) for k in value):
                reason = "has a name that is no string, which JSON cannot hold"
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
        yield PolicyProblem(path, PolicyRule.JSON, f"is {_kind(value)}, which JSON cannot hold")
    elif isinstance(value, int) and abs(value) >= _TOO_LONG:
        yield PolicyProblem(path, PolicyRule.JSON, f"is {_LONG_NUMBER}")


_LONG_NUMBER = "a number of more than 4,300 digits, which hosts cannot read"


def _too_deep(path: str) -> PolicyProblem:
    reason = f"is nested more than {DEEPEST} levels deep, at which hosts may crash"
    return PolicyProblem(path, PolicyRule.NESTING, reason)


def _not_a(wanted: str, path: str, rule: PolicyRule, value: object) -> PolicyProblem:
    return PolicyProblem(path, rule, f"must be a {wanted}, not {_kind(value)}")


def _name(name: object) -> str:
    """Return a name as it stands in a path, on one line whatever is in it."""
    if not isinstance(name, str):
        return f"<{_kind(name)}>"
    if _NAME.fullmatch(name):
        return name
    short = name if len(name) <= _LONGEST else name[:_LONGEST] + "..."
    return json.dumps(short)


def _kind(value: object) -> str:
    return _KINDS.get(type(value)) or type(value).__name__
