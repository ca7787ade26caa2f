"""The settings of a run, declared once.

Each field of `Settings` is a flag, an environment variable and a key of
``.kittify/orchestrator.toml``. cyclopts parses the flags, prints their help and converts every
value. The other sources fill in what no flag has set, so that an error names the flag, variable
or key that the user wrote.
"""

import math
import re
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import cyclopts
from attrs import field, frozen
from cyclopts import App, Argument, ArgumentCollection, CycloptsError, Group, Parameter, Token

from spec_kitty_orchestrator.errors import UsageProblem, explain_os_error, suggest
from spec_kitty_orchestrator.paths import start_from

__all__ = [
    "ENV_PREFIX",
    "FILE",
    "MESSAGE_FIELDS",
    "Flags",
    "Order",
    "Settings",
    "Source",
    "Strategy",
    "environment",
    "explain",
    "journal",
    "read",
    "save",
    "settings_file",
]

ENV_PREFIX = "SPEC_KITTY_ORCHESTRATOR_"
FILE = Path(".kittify", "orchestrator.toml")
MESSAGE_FIELDS = ("wp", "mission", "agent", "attempt")
"""The names that are filled in in a commit message."""

Source = Callable[[ArgumentCollection], None]
"""Fills in arguments of the command line that have no value yet."""

Strategy = Literal["merge", "squash", "rebase"]
"""The names of `spec_kitty_client.MergeStrategy`, without the time it takes to import that."""


class Order(StrEnum):
    """The order in which ready work packages start."""

    LONGEST_PATH = "longest-path"
    """The one with the most remaining work on its longest chain of dependent work packages."""
    PLAN = "plan"
    """The one that the host lists first."""


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
        Order, _choice("What starts first: longest-path [default] or plan.", _LIMITS)
    ] = Order.LONGEST_PATH
    max_rounds: Annotated[int, _count("Rework rounds before the package is blocked.", least=0)] = 3
    max_attempts: Annotated[int, _count("Failed attempts per step before that.")] = 2
    agent_timeout: Annotated[float, _seconds("Seconds for one attempt of an agent.")] = 7200.0
    host_timeout: Annotated[float | None, _seconds("Seconds for a host call.")] = None
    heartbeat: Annotated[float, _seconds("Seconds between reads of the board.")] = 30.0
    commit_message: Annotated[
        str,
        _flag(
            "Of what an agent leaves: {wp}, {mission}, {agent}, {attempt}.",
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

_NAMES = tuple(a.name for a in attrs.fields(Settings))
_KEYS = sorted(set(_NAMES) - {"repo_root"})
_DEFAULTS = Settings()


def read(*sources: Source, words: Sequence[str] = ()) -> Settings:
    """Return the settings from flags, then the sources, then the defaults.

    Args:
        sources: Where to look for what no flag has set, the strongest first.
        words: Flags, as on the command line.

    Raises:
        UsageProblem: If a source holds an unknown name or an invalid value.
    """

    def gather(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        for source in sources:
            source(arguments)

    def take(*, settings: Flags = _DEFAULTS) -> Settings:
        return settings

    app = App(config=gather, result_action="return_value", default_command=take)
    try:
        return typing.cast(Settings, app(words, exit_on_error=False, print_error=False))
    except CycloptsError as e:
        raise UsageProblem(explain(e)) from e


def save(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain JSON values."""
    plain = attrs.asdict(settings)
    return {k: str(v) if isinstance(v, Path) else v for k, v in plain.items()}


def journal(saved: Mapping[str, Any]) -> Source:
    """Return the source with what `save` has returned; settings that no longer exist are skipped.

    Args:
        saved: The settings of an earlier run. The mission and the repository are not taken.
    """
    kept = {k: v for k, v in saved.items() if k not in ("mission", "repo_root") and v is not None}
    return lambda arguments: _fill(arguments, kept, lambda name: f"the journal: {name}")


def environment(environ: Mapping[str, str]) -> Source:
    """Return the source of the variables ``SPEC_KITTY_ORCHESTRATOR_<NAME>``."""

    def label(name: str) -> str:
        return ENV_PREFIX + name.upper()

    given = {name: environ[label(name)] for name in _NAMES if label(name) in environ}
    return lambda arguments: _fill(arguments, given, label)


def settings_file(root: Path) -> Source:
    """Return the source of ``.kittify/orchestrator.toml``.

    Args:
        root: The primary checkout.

    Raises:
        UsageProblem: If the file cannot be read, or has an unknown key; raised by the source.
    """
    path = root / FILE

    def fill(arguments: ArgumentCollection) -> None:
        raw = _load(path)
        keys = {key.replace("-", "_"): key for key in raw}
        _fill(
            arguments,
            {name: start_from(root, name, raw[key]) for name, key in keys.items()},
            lambda name: f"{path}: {keys[name]}",
        )

    return fill


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows write a byte order mark
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as e:
        msg = f"{path} cannot be read: it is not UTF-8 at byte {e.start}. Save it as UTF-8."
        raise UsageProblem(msg) from e
    except OSError as e:
        msg = f"{path} cannot be read: {explain_os_error(e)}"
        raise UsageProblem(msg) from e
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise UsageProblem(_invalid_toml(path, text, str(e))) from e
    for key in raw:
        if key.replace("-", "_") not in _KEYS:
            msg = f"{path}: unknown setting {key!r}. {suggest(key.replace('-', '_'), _KEYS)}"
            raise UsageProblem(msg)
    return raw


def _invalid_toml(path: Path, text: str, why: str) -> str:
    """Name the line, and the likely mistake where tomllib names only the character."""
    reason, _, _ = why.partition(" (at ")
    if reason in (r"Illegal character '\n'", "Unterminated string"):
        reason = "a quote is not closed"
    lines = text.rstrip().splitlines()
    place = re.search(r"line (\d+)", why)
    number = int(place[1]) if place else len(lines)
    line = lines[number - 1].strip() if number <= len(lines) else ""
    return f"{path}, line {number} is not valid TOML: {reason}. Correct this line: {line}"


_MORE_BOOLEANS = {"": False, "on": True, "off": False}
"""Text that cyclopts does not take for a boolean; an empty variable switches a setting off."""


def _fill(
    arguments: Iterable[Argument], given: Mapping[str, Any], label: Callable[[str], str]
) -> None:
    """Give values to the settings that have none yet."""
    for argument in arguments:
        name = argument.keys[0] if argument.keys else ""
        if name in given and not argument.tokens:
            argument.append(_token(argument.resolved_hint, given[name], label(name)))


def _token(hint: Any, value: Any, label: str) -> Token:
    """Return a value as cyclopts takes it: text is converted, all else has to be of the type."""
    kind = typing.get_origin(hint) or hint
    if kind is bool and isinstance(value, str):
        value = _MORE_BOOLEANS.get(value.lower(), value)
    if kind is float and type(value) is int and value < math.inf:
        value = float(value) if abs(value) < 1e300 else math.inf  # noqa: PLR2004
    if type(value) is kind or (kind is Mapping and isinstance(value, dict)):
        return Token(keyword=label, implicit_value=value)
    if isinstance(value, str):
        return Token(keyword=label, value=value)
    msg = f"{label}: expected {_expected(kind)}, not {value!r}"
    raise UsageProblem(msg)


def _expected(kind: Any) -> str:
    names = {
        int: "an integer",
        float: "a finite number of seconds",
        bool: "true or false",
        Mapping: "AGENT=NUMBER, for example codex=2",
    }
    return names.get(kind, "text")


def explain(error: CycloptsError) -> str:
    """Return a sentence about a flag, variable or key that is wrong."""
    match error:
        case cyclopts.CoercionError(token=Token() as token):
            return f"{token.keyword or error.argument}: {_why(error, token)}"
        case cyclopts.ValidationError(argument=Argument() as argument):
            name = argument.tokens[0].keyword if argument.tokens else None
            return f"{name or argument.name}: {error.exception_message}"
        case cyclopts.UnusedCliTokensError():
            words = " ".join(error.unused_tokens or ())
            return f"Unexpected argument: {words}. See {_help_of(error)}"
        case cyclopts.RepeatArgumentError():
            return f"{error.token.keyword} is given twice. Leave one of them out."
        case cyclopts.MissingArgumentError(argument=Argument() as argument):
            return f"{error.keyword or argument.name} needs a value. See {_help_of(error)}"
        case _:
            error.verbose = False
            return str(error)


def _why(error: cyclopts.CoercionError, token: Token) -> str:
    if error.msg is not None:
        return str(error.msg)
    kind = error.target_type
    if typing.get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, StrEnum)):
        choices = list(typing.get_args(kind) or typing.cast(Iterable[str], kind))
        return f"invalid value {token.value!r}. {suggest(token.value, choices)}"
    expected = "yes or no" if kind is bool else _expected(kind)
    return f"expected {expected}, not {token.value!r}"


def _help_of(error: CycloptsError) -> str:
    return " ".join(["`spec-kitty-orchestrator", *(error.command_chain or ()), "--help`"])
