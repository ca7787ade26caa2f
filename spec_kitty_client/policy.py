"""The policy that goes with every call which makes an agent run.

The strictest rules of any host (3.2.3 and later) are checked before a call is sent, so
a policy that can be built here is accepted everywhere.
"""

import json
import re
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from attrs import field, frozen

from spec_kitty_client.errors import PolicyError, PolicyProblem

__all__ = ["BANNED_FLAGS", "SECRET_WORDS", "Policy"]

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

_SECRET = re.compile("|".join(SECRET_WORDS), re.IGNORECASE)
_TEXT_FIELDS = (
    "orchestrator_id",
    "orchestrator_version",
    "agent_family",
    "approval_mode",
    "sandbox_mode",
    "network_mode",
)


def _as_tuple(flags: Any) -> Any:
    """Freeze a list; whatever else it is, the rules will say so."""
    return tuple(flags) if isinstance(flags, list) else flags


def _as_list(flags: Any) -> Any:
    return list(flags) if isinstance(flags, tuple) else flags


@frozen(kw_only=True)
class Policy:
    """What an agent may do, told to the host with every call that starts one.

    All problems are reported at once, each with the field, the rule and the word
    that broke it.

    Raises:
        PolicyError: If a host would refuse this policy.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = (*_TEXT_FIELDS, "dangerous_flags")

    orchestrator_id: str
    orchestrator_version: str
    agent_family: str
    approval_mode: str
    sandbox_mode: str
    network_mode: str
    dangerous_flags: tuple[str, ...] = field(default=(), converter=_as_tuple)
    tool_restrictions: str | None = None
    extra: Mapping[str, Any] = field(factory=dict)
    """Further fields, sent as they are. Hosts search them for secrets as well."""

    def __attrs_post_init__(self) -> None:
        try:
            json.dumps(self.extra)
        except (ValueError, RecursionError) as e:  # a circle, or nested beyond all measure
            raise PolicyError((PolicyProblem("extra", f"cannot be sent: {e}"),)) from e
        except TypeError:
            pass  # the rules below name the place
        problems = tuple(_problems(self.to_dict()))
        if problems:
            raise PolicyError(problems)

    @classmethod
    def from_dict(cls, raw: object) -> "Policy":
        """Build a policy from the object a host would be sent.

        Raises:
            PolicyError: If ``raw`` is not an object, or a host would refuse it.
        """
        if not isinstance(raw, Mapping):
            problem = PolicyProblem("(policy)", f"must be a JSON object, not {_kind(raw)}")
            raise PolicyError((problem,))
        problems = tuple(_problems(raw))
        if problems:
            raise PolicyError(problems)
        known = {name: raw[name] for name in (*_TEXT_FIELDS, "tool_restrictions") if name in raw}
        extra = {k: v for k, v in raw.items() if k not in known and k != "dangerous_flags"}
        return cls(**known, dangerous_flags=tuple(raw["dangerous_flags"]), extra=extra)

    @classmethod
    def from_json(cls, text: str) -> "Policy":
        """Build a policy from JSON text.

        Raises:
            PolicyError: If the text is not JSON, or a host would refuse the policy.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise PolicyError((PolicyProblem("(policy)", f"is not JSON: {e}"),)) from e
        return cls.from_dict(raw)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> "Policy":
        """Build a policy from a UTF-8 JSON file.

        Raises:
            PolicyError: If the file holds no policy that a host would accept.
            OSError: If the file cannot be read.
        """
        return cls.from_json(Path(path).read_bytes().decode("utf-8", "replace"))

    def to_dict(self) -> dict[str, Any]:
        """Return the object that goes to the host."""
        known: dict[str, Any] = {name: getattr(self, name) for name in _TEXT_FIELDS}
        known["dangerous_flags"] = _as_list(self.dangerous_flags)
        if self.tool_restrictions is not None:
            known["tool_restrictions"] = self.tool_restrictions
        return {**self.extra, **known}

    def to_json(self) -> str:
        """Return the canonical JSON text: sorted, no spaces, ASCII."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))


def _problems(raw: Mapping[str, Any]) -> Iterator[PolicyProblem]:
    yield from (PolicyProblem(n, "is missing") for n in Policy.REQUIRED if n not in raw)
    for name in _TEXT_FIELDS:
        if name in raw and not isinstance(raw[name], str):
            yield PolicyProblem(name, f"must be a string, not {_kind(raw[name])}")
    restrictions = raw.get("tool_restrictions")
    if restrictions is not None and not isinstance(restrictions, str):
        yield PolicyProblem(
            "tool_restrictions", f"must be a string or null, not {_kind(restrictions)}"
        )
    if "dangerous_flags" in raw:
        yield from _flag_problems(raw["dangerous_flags"])
    yield from _value_problems(raw)


def _flag_problems(flags: object) -> Iterator[PolicyProblem]:
    if not isinstance(flags, list | tuple):
        yield PolicyProblem("dangerous_flags", f"must be a list of strings, not {_kind(flags)}")
        return
    for i, flag in enumerate(flags):
        path = f"dangerous_flags[{i}]"
        if not isinstance(flag, str):
            yield PolicyProblem(path, f"must be a string, not {_kind(flag)}")
        elif flag in BANNED_FLAGS:
            yield PolicyProblem(path, f"is {flag}, a flag that hosts refuse", flag)


def _value_problems(raw: Mapping[str, Any]) -> Iterator[PolicyProblem]:
    """Search every value, at every depth, for secrets and for what cannot be sent.

    Hosts do not look at the names of fields.
    """
    todo: list[tuple[str, object]] = [("", raw)]  # a stack: nesting may be hostile
    while todo:
        path, value = todo.pop()
        if isinstance(value, str):
            if found := _SECRET.search(value):
                rule = f"holds {found[0]!r}, which hosts take for a secret even inside a word"
                yield PolicyProblem(path, rule, found[0])
        elif isinstance(value, Mapping):
            todo += [(f"{path}.{k}" if path else str(k), v) for k, v in value.items()]
            if not all(isinstance(k, str) for k in value):
                yield PolicyProblem(path, "has a name that is no string")
        elif isinstance(value, list | tuple):
            todo += [(f"{path}[{i}]", v) for i, v in enumerate(value)]
        elif not isinstance(value, int | float | None):
            yield PolicyProblem(path, f"is {_kind(value)}, which JSON cannot hold")


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
