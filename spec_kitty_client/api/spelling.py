"""Translate between commands and one host's command line, and between old and new names.

No other module knows how dialects differ on the command line.
"""

import re
from collections.abc import Mapping
from typing import Any

from packaging.version import Version

from spec_kitty_client.api.commands import Command
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.errors import InvalidCall, UnsupportedByHost

__all__ = ["names_in", "names_of", "spell", "to_newest_names"]

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SAFE_NAMES = Version("3.2.0")

_FEATURE_NAMES = {
    "mission-state": "feature-state",
    "accept-mission": "accept-feature",
    "merge-mission": "merge-feature",
}
_LATER_NAMES = {"merge-mission": "consolidate-mission"}
_SAYS_FEATURE = (Dialect.F1, Dialect.F2)


def spell(command: Command[Any], contract: Contract | None = None) -> tuple[str, ...]:
    """Return the arguments for ``spec-kitty``, each option as one ``--name=value``.

    Args:
        command: The command.
        contract: The host's contract; None: the names that most hosts understand.

    Raises:
        InvalidCall: If a value cannot be passed on a command line.
        UnsupportedByHost: If this host has no such verb, option or lane.
    """
    if contract is None:
        return ("orchestrator-api", command.verb, *command.spelled())
    if missing := contract.missing(command):
        what, since = missing
        raise UnsupportedByHost(what, since=since, release=str(contract.release))
    _check_selector(command, contract)
    words = command.spelled()
    if contract.dialect in _SAYS_FEATURE:
        words = tuple(_swap(word, "--mission=", "--feature=") for word in words)
    verb = names_in(contract.dialect).get(command.verb, command.verb)
    return ("orchestrator-api", verb, *words)


def _check_selector(command: Command[Any], contract: Contract) -> None:
    """Refuse a mission name on which hosts crash (3.2.0 to 3.2.7)."""
    name = getattr(command, "mission", None)
    if contract.release < _SAFE_NAMES or name is None or _SAFE_NAME.fullmatch(name):
        return
    msg = (
        f"mission={name!r} is not a slug or id. Use letters, digits, '.', '_' and '-', and start "
        "with a letter or digit."
    )
    raise InvalidCall(msg)


def _swap(word: str, old: str, new: str) -> str:
    return new + word.removeprefix(old) if word.startswith(old) else word


def names_in(dialect: Dialect) -> Mapping[str, str]:
    """Return the verbs that have another name in a dialect, by their usual name."""
    if dialect in _SAYS_FEATURE:
        return _FEATURE_NAMES
    return _LATER_NAMES if dialect is Dialect.M5 else {}


def names_of(verb: str) -> set[str]:
    """Return all names of a verb, over all dialects."""
    return {verb} | {names[verb] for names in (_FEATURE_NAMES, _LATER_NAMES) if verb in names}


def to_newest_names(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a payload with the field names of the newest contract.

    Hosts up to 3.0.3 have ``feature_slug``; hosts 1.0.x have the total among the lanes.
    """
    renamed = {"mission_slug" if k == "feature_slug" else k: v for k, v in data.items()}
    summary = renamed.get("summary")
    if isinstance(summary, dict) and "total_work_packages" in summary:
        total = summary["total_work_packages"]
        lanes = {k: v for k, v in summary.items() if k != "total_work_packages"}
        renamed |= {"summary": lanes, "total_work_packages": total}
    return renamed
