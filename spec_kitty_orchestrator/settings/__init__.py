"""The settings of a run, declared once.

Each field of `Settings` is a flag, an environment variable and a key of
``.kittify/orchestrator.toml``. cyclopts parses the flags, prints their help and converts every
value. The other sources fill in what no flag has set, so that an error names the flag, variable
or key that the user wrote.
"""

import math
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
from attrs import field, frozen
from cyclopts import Group, Parameter, Token

__all__ = [
    "ENV_PREFIX",
    "FILE",
    "MESSAGE_FIELDS",
    "Flags",
    "Order",
    "Settings",
    "Strategy",
]

ENV_PREFIX = "SPEC_KITTY_ORCHESTRATOR_"
FILE = Path(".kittify", "orchestrator.toml")
MESSAGE_FIELDS = ("wp", "mission", "agent", "attempt")
"""The placeholders of a commit message."""

Strategy = Literal["merge", "squash", "rebase"]
"""The names of `spec_kitty_client.MergeStrategy`, repeated here because its import takes time."""


class Order(StrEnum):
    """The order in which ready work packages start."""

    LONGEST_PATH = "longest-path"
    """First the work package with the longest chain of remaining work, its dependents included."""
    PLAN = "plan"
    """In the order in which the host lists the work packages."""


_MISSION, _AGENTS, _LIMITS, _FINISH = (
    Group.create_ordered(name) for name in ("Mission", "Agents", "Limits", "Finish")
)


def _whole(_kind: object, tokens: Sequence[Token]) -> int:
    """Convert text to an integer; cyclopts alone would round 1.5 to 2."""
    try:
        return int(tokens[0].value)
    except ValueError:
        msg = f"expected an integer, not {tokens[0].value!r}"
        raise ValueError(msg) from None


def _numbers(_kind: object, tokens: Sequence[Token]) -> dict[str, int]:
    """Convert words such as ``codex=2`` to numbers by agent."""
    words = " ".join(token.value for token in tokens).replace(",", " ").split()
    try:
        pairs = [word.split("=") for word in words]
        return {agent: int(number) for agent, number in pairs}
    except ValueError:
        msg = f"expected AGENT=NUMBER, for example codex=2, not {' '.join(words)!r}"
        raise ValueError(msg) from None


def _at_least(least: int) -> Callable[[object, int | None], None]:
    def check(_kind: object, value: int | None) -> None:
        if value is not None and value < least:
            msg = f"must be at least {least}, not {value}"
            raise ValueError(msg)

    return check


def _is_time(_kind: object, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        msg = f"expected a finite number of seconds above 0, not {value}"
        raise ValueError(msg)


def _are_limits(_kind: object, value: Mapping[str, int]) -> None:
    for agent, number in value.items():
        if not agent or type(number) is not int or number < 1:
            msg = f"expected AGENT=NUMBER with a number of at least 1, not {agent}={number}"
            raise ValueError(msg)


def _is_message(_kind: object, value: str) -> None:
    try:
        made = value.format(**dict.fromkeys(MESSAGE_FIELDS, "x"))
    except (LookupError, ValueError, AttributeError) as e:
        fields = ", ".join(f"{{{name}}}" for name in MESSAGE_FIELDS)
        msg = f"expected a text in which only {fields} are filled in, not {value!r}"
        raise ValueError(msg) from e
    if not made.strip():
        msg = "expected a text"
        raise ValueError(msg)


def _flag(text: str, group: Group, *names: str, **more: Any) -> Parameter:
    return Parameter(help=text, group=group, name=names or None, **more)


def _count(text: str, *, least: int = 1) -> Parameter:
    return _flag(text, _LIMITS, converter=_whole, validator=_at_least(least))


def _short(value: float | None) -> str:
    return "120, merge 900" if value is None else f"{value:g}"


def _seconds(text: str) -> Parameter:
    return _flag(text, _LIMITS, validator=_is_time, show_default=_short)


def _choice(text: str, group: Group) -> Parameter:
    """Name the choices in the text; cyclopts would need more than a line of 80 columns."""
    return _flag(text, group, show_default=False, show_choices=False)


def _validate_by_parameter(_: type, fields: "list[attrs.Attribute[Any]]") -> list[Any]:
    """Let attrs check the ranges too, for settings that are made in Python."""
    return [field.evolve(validator=_validator(field)) for field in fields]


def _validator(attribute: "attrs.Attribute[Any]") -> Callable[..., None]:
    _, parameter = typing.get_args(attribute.type)

    def check(_settings: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        for validate in parameter.validator:
            try:
                validate(None, value)
            except ValueError as e:
                msg = f"{attribute.name}: {e}"
                raise ValueError(msg) from None

    return check


@frozen(kw_only=True, field_transformer=_validate_by_parameter)
class Settings:
    """The settings of a run. Times are in seconds."""

    mission: Annotated[
        str,
        _flag("Same as MISSION.", _MISSION, "--mission", "--feature", show_default=False),
    ] = ""
    repo_root: Annotated[
        Path,
        _flag("Repository. [default: the one around this folder]", _MISSION, show_default=False),
    ] = Path()
    impl_agent: Annotated[
        str,
        _flag("Implementer (see agents). [default: installed]", _AGENTS, show_default=False),
    ] = ""
    review_agent: Annotated[
        str, _flag("Reviewer. [default: another installed one]", _AGENTS, show_default=False)
    ] = ""
    actor: Annotated[str, _flag("Actor recorded by the host.", _AGENTS)] = "spec-kitty-orchestrator"
    policy: Annotated[
        Path | None, _flag("JSON file, see `policy`. [default: by agent]", _AGENTS)
    ] = None
    max_concurrent: Annotated[int, _count("Maximum work packages at once.")] = 4
    max_implementing: Annotated[int | None, _count("Maximum being implemented at once.")] = None
    max_reviewing: Annotated[int | None, _count("Maximum being reviewed at once.")] = None
    max_per_agent: Annotated[
        Mapping[str, int],
        _flag(
            "Maximum per agent, such as codex=2. Repeatable.",
            _LIMITS,
            converter=_numbers,
            validator=_are_limits,
            accepts_keys=False,
            n_tokens=-1,
            negative="",
            show_default=False,
        ),
    ] = field(factory=dict[str, int])
    order: Annotated[
        Order, _choice("Order of starts: longest-path [default] or plan.", _LIMITS)
    ] = Order.LONGEST_PATH
    max_rounds: Annotated[int, _count("Rework rounds before the package is blocked.", least=0)] = 3
    max_attempts: Annotated[int, _count("Failed attempts per step before that.")] = 2
    agent_timeout: Annotated[float, _seconds("Seconds for one attempt of an agent.")] = 7200.0
    host_timeout: Annotated[float | None, _seconds("Seconds for a host call.")] = None
    heartbeat: Annotated[float, _seconds("Seconds between reads of the board.")] = 30.0
    commit_message: Annotated[
        str,
        _flag(
            "Commit message, with {wp}, {mission}, {agent}, {attempt}.",
            _AGENTS,
            validator=_is_message,
            show_default=False,
        ),
    ] = "feat({wp}): implement with {agent}, attempt {attempt}"  # a conventional commit
    warm: Annotated[bool, _flag("Load the host once, not for every call.", _LIMITS)] = True
    accept: Annotated[bool, _flag("Accept the mission.", _FINISH)] = True
    merge: Annotated[bool, _flag("Merge the mission.", _FINISH)] = False
    target: Annotated[
        str | None, _flag("Branch to merge into. [default: the mission's]", _FINISH)
    ] = None
    strategy: Annotated[
        Strategy, _choice("How to merge: merge [default], squash or rebase.", _FINISH)
    ] = "merge"
    push: Annotated[bool, _flag("Push after the merge.", _FINISH)] = False


Flags = Annotated[Settings, Parameter(name="*")]
"""The settings as parameters of a command."""
