"""The policy that goes with every call which makes an agent run.

The rules of all hosts together are checked before a call is sent, so a policy that can be
built here is accepted everywhere. `Policy.for_contract` builds by the rules of one host.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import attrs
from attrs import field, frozen
from packaging.version import Version

from spec_kitty_client.contract import Contract
from spec_kitty_client.policy.errors import PolicyError, PolicyProblem
from spec_kitty_client.policy.rules import (
    REQUIRED_FIELDS,
    object_problems,
    parse_policy,
)

__all__ = ["ApprovalMode", "NetworkMode", "Policy", "SandboxMode"]

_M = TypeVar("_M", bound=StrEnum)
_KNOWN = (*REQUIRED_FIELDS, "tool_restrictions")


class ApprovalMode(StrEnum):
    """Who agrees to what an agent does. Hosts take any other word as well."""

    FULL_AUTO = "full_auto"
    """Nobody is asked."""
    SUPERVISED = "supervised"
    """Somebody watches."""
    INTERACTIVE = "interactive"
    """Somebody is asked."""


class SandboxMode(StrEnum):
    """What an agent may change. Hosts take any other word as well."""

    READ_ONLY = "read_only"
    """Nothing."""
    WORKSPACE_WRITE = "workspace_write"
    """Files of its worktree."""
    NONE = "none"
    """Whatever its user may."""


class NetworkMode(StrEnum):
    """Where an agent may connect to. Hosts take any other word as well."""

    NONE = "none"
    """Nowhere."""
    ALLOWLIST = "allowlist"
    """Where a list says so."""
    OPEN = "open"
    """Anywhere."""


def _member(kind: type[_M], value: str) -> _M | str:
    """Return the member that a word stands for; any other value as it is."""
    try:
        return kind(value)
    except ValueError:
        return value


def _approval(value: str) -> ApprovalMode | str:
    return _member(ApprovalMode, value)


def _sandbox(value: str) -> SandboxMode | str:
    return _member(SandboxMode, value)


def _network(value: str) -> NetworkMode | str:
    return _member(NetworkMode, value)


def _as_tuple(flags: Any) -> Any:
    """Freeze a list; whatever else it is, the rules will say so."""
    return tuple(flags) if isinstance(flags, list) else flags


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, StrEnum) else value


@frozen(kw_only=True)
class Policy:
    """What an agent may do, told to the host with every call that starts one.

    Raises:
        PolicyError: If a host would refuse this policy, with all the reasons.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = REQUIRED_FIELDS

    orchestrator_id: str
    orchestrator_version: str
    agent_family: str
    approval_mode: ApprovalMode | str = field(converter=_approval)
    sandbox_mode: SandboxMode | str = field(converter=_sandbox)
    network_mode: NetworkMode | str = field(converter=_network)
    dangerous_flags: tuple[str, ...] = field(default=(), converter=_as_tuple)
    tool_restrictions: str | None = None
    extra: Mapping[str, Any] = field(factory=dict)
    """Further fields, sent as they are. Hosts search them for secrets as well."""
    release: Version | None = field(default=None, eq=False)
    """The release of the host by whose rules it is built; None: those of all hosts. By the
    rules of a host before 3.2.0, fields that hold text may hold anything."""

    def __attrs_post_init__(self) -> None:
        _refuse(object_problems(self.to_dict(), self.release))

    @classmethod
    def from_dict(cls, raw: object) -> "Policy":
        """Build a policy from the object a host would be sent.

        Raises:
            PolicyError: If ``raw`` is not an object, or a host would refuse it.
        """
        return cls._build(raw, None)

    @classmethod
    def from_json(cls, text: str) -> "Policy":
        """Build a policy from JSON text.

        Raises:
            PolicyError: If the text is not JSON, or a host would refuse the policy.
        """
        return cls._build(parse_policy(text), None)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> "Policy":
        """Build a policy from a UTF-8 JSON file.

        Raises:
            PolicyError: If the file holds no policy that a host would accept.
            OSError: If the file cannot be read.
        """
        return cls._build(parse_policy(Path(path).read_bytes()), None)

    @classmethod
    def for_contract(cls, raw: object, contract: Contract) -> "Policy":
        """Build a policy by the rules of one host, which may be fewer than those of all.

        Args:
            raw: The policy as it is sent: a string, or bytes of UTF-8, is JSON text; anything
                else is the object.
            contract: What is known about the host.

        Raises:
            PolicyError: If this host would refuse it.
        """
        return cls._build(
            parse_policy(raw) if isinstance(raw, str | bytes) else raw, contract.release
        )

    @classmethod
    def _build(cls, raw: object, release: Version | None) -> "Policy":
        _refuse(object_problems(raw, release))
        fields = cast("Mapping[str, Any]", raw)
        known = {name: fields[name] for name in _KNOWN if name in fields}
        extra = {k: v for k, v in fields.items() if k not in known}
        return cls(**known, extra=extra, release=release)

    def evolve(self, **changes: Any) -> "Policy":
        """Return a policy with some fields changed, checked by the same rules.

        Raises:
            PolicyError: If a host would refuse the new one.
            TypeError: If there is no such field; further fields are all of ``extra``.
        """
        return attrs.evolve(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that goes to the host."""
        known = {name: _plain(getattr(self, name)) for name in _KNOWN}
        if self.tool_restrictions is None:
            del known["tool_restrictions"]
        return {**{k: v for k, v in self.extra.items() if k not in _KNOWN}, **known}

    def to_json(self) -> str:
        """Return the canonical JSON text: sorted, no spaces, ASCII."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))


def _refuse(problems: tuple[PolicyProblem, ...]) -> None:
    if problems:
        raise PolicyError(problems)
