"""The sources of settings: flags, the environment, the settings file and the journal."""

import math
import re
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import attrs
import cyclopts
from cyclopts import App, Argument, ArgumentCollection, CycloptsError, Token

from spec_kitty_orchestrator.errors import UsageProblem, explain_os_error, suggest
from spec_kitty_orchestrator.settings import ENV_PREFIX, FILE, Flags, Settings
from spec_kitty_orchestrator.settings.paths import start_from

__all__ = ["Source", "environment", "explain", "journal", "read", "save", "settings_file"]

Source = Callable[[ArgumentCollection], None]
"""Fills in arguments of the command line that have no value yet."""

_NAMES = tuple(a.name for a in attrs.fields(Settings))
_KEYS = sorted(set(_NAMES) - {"repo_root"})
_DEFAULTS = Settings()


def read(*sources: Source, words: Sequence[str] = ()) -> Settings:
    """Return the settings from flags, then the sources, then the defaults.

    Args:
        sources: The sources of settings that no flag has set, the strongest first.
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
    """Return the source of settings that `save` returned; obsolete settings are skipped.

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
    lines = text.rstrip().split("\n")
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
    """Return a value as a token: cyclopts converts text; any other value must be of the type."""
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
