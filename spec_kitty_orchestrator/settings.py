"""The settings of a run: flags, environment, .kittify/orchestrator.toml, then defaults."""

import math
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen, validators

from spec_kitty_client import MergeStrategy
from spec_kitty_orchestrator.errors import UsageProblem

__all__ = ["ENV_PREFIX", "Order", "Settings", "load", "make", "restore", "save"]

ENV_PREFIX = "SPEC_KITTY_ORCHESTRATOR_"
_FILE = Path(".kittify", "orchestrator.toml")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


class Order(StrEnum):
    """What comes first of the work packages that may be started."""

    LONGEST_PATH = "longest-path"
    """That with the most work left, counted along the longest chain that waits for it."""
    PLAN = "plan"
    """That which the host lists first."""


def _is_time(_settings: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 < value < math.inf:
        msg = f"'{attribute.name}' must be a finite number of seconds > 0: {value}"
        raise ValueError(msg)


@frozen(kw_only=True)
class Settings:
    """Everything that a run can be told. Each name is a flag, a variable and a TOML key."""

    mission: str
    """Slug, mid8 or id."""
    repo_root: Path
    impl_agent: str
    review_agent: str
    max_concurrent: int = field(default=4, validator=validators.ge(1))
    """Work packages that agents are at, at the same time."""
    max_implementing: int | None = field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    """Those of them that are being implemented; None: all."""
    max_reviewing: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    """Those of them that are being reviewed; None: all."""
    max_per_agent: Mapping[str, int] = field(
        factory=dict, validator=validators.deep_mapping(validators.min_len(1), validators.ge(1))
    )
    """Those of them that an agent works on, by its name, in whatever role."""
    order: Order = Order.LONGEST_PATH
    """Which of them are started first."""
    actor: str = "spec-kitty-orchestrator"
    """Who the host records as the owner of what this run does."""
    policy: Path | None = None
    """JSON file with the policy; None: a default one that says what the agents are given."""
    accept: bool = True
    merge: bool = False
    target: str | None = None
    """Branch to merge into; None: the mission's own."""
    strategy: MergeStrategy = MergeStrategy.MERGE
    push: bool = False
    max_rounds: int = field(default=3, validator=validators.ge(0))
    """How often a reviewer may ask for changes before the work package is blocked."""
    max_attempts: int = field(default=2, validator=validators.ge(1))
    """How often an agent may fail at one step before the work package is blocked."""
    agent_timeout: float = field(default=7200.0, validator=_is_time)
    """Seconds for one run of an agent."""
    host_timeout: float | None = field(default=None, validator=validators.optional(_is_time))
    """Seconds for one host call; None: 120, and 900 for a merge."""
    heartbeat: float = field(default=30.0, validator=_is_time)
    """Seconds between looks at what other people changed on the board."""
    warm: bool = True
    """Whether the host is loaded once and kept, where that can be done."""


_TYPES = typing.get_type_hints(Settings)


def load(
    flags: Mapping[str, object],
    repo_root: Path,
    environ: Mapping[str, str],
    *,
    use_file: bool = True,
) -> dict[str, Any]:
    """Return the settings that were given anywhere; the strongest source wins.

    Raises:
        UsageProblem: If a source holds a name or a value that is no setting.
    """
    given = {
        name: _typed(name, value, "--" + name.replace("_", "-"))
        for name, value in flags.items()
        if value is not None
    }
    file = _from_file(repo_root / _FILE) if use_file else {}
    return {**file, **_from_environment(environ), **given}


def make(given: Mapping[str, Any]) -> Settings:
    """Return the settings with defaults filled in.

    Raises:
        UsageProblem: If one is missing or out of its range.
    """
    if not given.get("mission"):
        msg = "Which mission? Name it with --mission; `ls kitty-specs` lists them."
        raise UsageProblem(msg)
    try:
        return Settings(**given)
    except ValueError as e:
        raise UsageProblem(_range_message(e)) from e


def save(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain JSON values."""
    plain = attrs.asdict(settings)
    return {k: str(v) if isinstance(v, Path) else v for k, v in plain.items()}


def restore(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `save` was given; settings that are no more are left out."""
    known = {k: v for k, v in saved.items() if k in _TYPES}
    return {k: _typed(k, v, f"the journal: {k}") for k, v in known.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = {ENV_PREFIX + name.upper(): name for name in _TYPES}
    return {
        name: _typed(name, environ[variable], variable)
        for variable, name in names.items()
        if variable in environ
    }


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as e:
        msg = f"{path} cannot be read: {e}"
        raise UsageProblem(msg) from e
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        msg = f"{path} is not TOML: {e}. Correct it or move it away."
        raise UsageProblem(msg) from e
    return dict(_checked(path, raw))


def _checked(path: Path, raw: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in raw.items():
        name = key.replace("-", "_")
        if name not in _TYPES or name == "repo_root":
            known = ", ".join(sorted(_TYPES.keys() - {"repo_root"}))
            msg = f"{path}: there is no setting {key!r}. There are: {known}"
            raise UsageProblem(msg)
        yield name, _typed(name, value, f"{path}: {key}")


def _typed(name: str, value: Any, source: str) -> Any:
    """Turn a value into the type of the setting; text may stand for any of them."""
    wanted = _TYPES[name]
    optional = isinstance(wanted, types.UnionType)
    if optional and value is None:
        return None
    kind = next(t for t in typing.get_args(wanted) if t is not type(None)) if optional else wanted
    try:
        return _convert(kind, value)
    except (ValueError, TypeError, KeyError, OverflowError):
        msg = f"{source}: {value!r} is not of the kind {_shown(kind)}"
        raise UsageProblem(msg) from None


def _shown(kind: Any) -> str:
    if typing.get_origin(kind) is Mapping:
        return "AGENT=NUMBER"
    if kind is float:
        return "finite number of seconds"
    return "|".join(kind) if issubclass(kind, StrEnum) else str(kind.__name__)


def _convert(kind: Any, value: Any) -> Any:
    if typing.get_origin(kind) is Mapping:
        return _numbers(value)
    if kind is bool and isinstance(value, str):
        return {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}[value.lower()]
    if kind is float:
        return _seconds(value)
    if isinstance(value, str) or type(value) is kind or isinstance(value, Path):
        return kind(value)
    if kind is int and type(value) is float and int(value) == value:
        return int(value)
    raise TypeError


def _seconds(value: Any) -> float:
    if type(value) not in (str, int, float):
        raise TypeError
    if not math.isfinite(seconds := float(value)):
        raise ValueError
    return seconds


def _numbers(value: Any) -> dict[str, int]:
    """Return numbers by name, out of a table or of words such as ``codex=2``."""
    if isinstance(value, Mapping):
        return {name: _convert(int, number) for name, number in value.items()}
    text = value if isinstance(value, str) else " ".join(value)
    pairs = (word.split("=") for word in text.replace(",", " ").split())
    return {name: int(number) for name, number in pairs}


def _range_message(error: ValueError) -> str:
    """Take the sentence of an attrs validator: ``'max_rounds' must be >= 0: -1``."""
    sentence = str(error.args[0] if error.args else error)
    return f"Setting {sentence}"
