"""The policy: the permissions of an agent, sent with every call that starts an agent.

`Policy` checks the rules of all host releases at once, so that every host accepts the result.
`Policy.for_contract` checks the rules of one host only.
"""

from codecs import BOM_UTF8
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
from spec_kitty_client.values import compact_json

__all__ = ["ApprovalMode", "NetworkMode", "Policy", "SandboxMode"]

_M = TypeVar("_M", bound=StrEnum)
_KNOWN = (*REQUIRED_FIELDS, "tool_restrictions")


class ApprovalMode(StrEnum):
    """Whether a person approves the agent's actions. Hosts accept any other word as well."""

    FULL_AUTO = "full_auto"
    """The agent acts without approval."""
    SUPERVISED = "supervised"
    """A person watches the agent."""
    INTERACTIVE = "interactive"
    """A person approves each action."""


class SandboxMode(StrEnum):
    """Files that an agent may change. Hosts accept any other word as well."""

    READ_ONLY = "read_only"
    """No file."""
    WORKSPACE_WRITE = "workspace_write"
    """Files in its worktree."""
    NONE = "none"
    """No sandbox: every file that its user may change."""


class NetworkMode(StrEnum):
    """Network access of an agent. Hosts accept any other word as well."""

    NONE = "none"
    """No network access."""
    ALLOWLIST = "allowlist"
    """Only the addresses on a list."""
    OPEN = "open"
    """Every address."""


def _member(kind: type[_M], value: str) -> _M | str:
    """Return the enum member for a word, or the value itself if there is none."""
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
    """Return a list as a tuple; leave any other value for the rules to report."""
    return tuple(flags) if isinstance(flags, list) else flags


def _plain(value: Any) -> Any:
    """Return a value as a JSON type."""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, StrEnum) else value


@frozen(kw_only=True)
class Policy:
    """The permissions of an agent. The client sends it with every call that starts an agent.

    Raises:
        PolicyError: If any host would refuse this policy; it has all the reasons.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = REQUIRED_FIELDS
    """The names of the fields that every host requires."""

    orchestrator_id: str
    """Name of the program that starts the agent."""
    orchestrator_version: str
    """Version of that program."""
    agent_family: str
    """Kind of agent, such as ``claude``."""
    approval_mode: ApprovalMode | str = field(converter=_approval)
    """Whether a person approves the agent's actions."""
    sandbox_mode: SandboxMode | str = field(converter=_sandbox)
    """Files that the agent may change."""
    network_mode: NetworkMode | str = field(converter=_network)
    """Network access of the agent."""
    dangerous_flags: tuple[str, ...] = field(default=(), converter=_as_tuple)
    """Flags of the agent's command that weaken its protection. Hosts from 3.2.3 on refuse four
    of them; see `rules.BANNED_FLAGS`."""
    tool_restrictions: str | None = None
    """Restrictions of the agent's tools, in any format; None: not sent."""
    extra: Mapping[str, Any] = field(factory=dict)
    """Further fields, sent unchanged. Hosts search them for secrets as well."""
    release: Version | None = field(default=None, eq=False)
    """The host release whose rules apply; None: the rules of all hosts. Before 3.2.0 hosts do
    not check that text fields are strings."""

    def __attrs_post_init__(self) -> None:
        _refuse(object_problems(self.to_dict(), self.release))

    @classmethod
    def from_dict(cls, raw: object) -> "Policy":
        """Return a policy from the object that is sent to hosts.

        Args:
            raw: A mapping with the policy's fields.

        Raises:
            PolicyError: If ``raw`` is not a mapping, or a host would refuse it.
        """
        return cls._build(raw, None)

    @classmethod
    def from_json(cls, text: str) -> "Policy":
        """Return a policy from JSON text.

        Args:
            text: A JSON object.

        Raises:
            PolicyError: If the text is not JSON, or a host would refuse the policy.
        """
        return cls._build(parse_policy(text), None)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> "Policy":
        """Return a policy from a JSON file in UTF-8, with or without a byte order mark.

        Args:
            path: The file.

        Raises:
            PolicyError: If the file is not JSON, or a host would refuse the policy.
            OSError: If the file cannot be read.
        """
        return cls._build(parse_policy(Path(path).read_bytes().removeprefix(BOM_UTF8)), None)

    @classmethod
    def for_contract(cls, raw: object, contract: Contract) -> "Policy":
        """Return a policy checked by the rules of one host only.

        Args:
            raw: JSON text (a string, or UTF-8 bytes), or a mapping with the policy's fields.
            contract: The host's contract.

        Raises:
            PolicyError: If this host would refuse the policy.
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
        """Return a copy with some fields changed, checked by the same rules.

        Args:
            changes: New values by field name. Further fields go into ``extra``.

        Raises:
            PolicyError: If a host would refuse the new policy.
            TypeError: If there is no such field.
        """
        return attrs.evolve(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that is sent to the host, with JSON types only."""
        known = {name: _plain(getattr(self, name)) for name in _KNOWN}
        if self.tool_restrictions is None:
            del known["tool_restrictions"]
        return {**{k: v for k, v in self.extra.items() if k not in _KNOWN}, **known}

    def to_json(self) -> str:
        """Return canonical JSON text: sorted keys, no spaces, ASCII."""
        return compact_json(self.to_dict())


def _refuse(problems: tuple[PolicyProblem, ...]) -> None:
    if problems:
        raise PolicyError(problems)
