"""Which host a client talks to, and how a command is spelled for it.

This is the one module that knows how dialects differ on the command line: nobody above it
spells anything.
"""

import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from packaging.version import Version

from spec_kitty_client.commands import Command, Transition
from spec_kitty_client.dialects import Dialect, Feature, dialect_of, oldest_release
from spec_kitty_client.errors import InvalidCall, UnsupportedByHost, UnsupportedHost
from spec_kitty_client.lanes import lanes_of

__all__ = [
    "NEWEST_TESTED",
    "OLDEST",
    "Contract",
    "UntestedHostWarning",
    "in_our_words",
    "names_in",
    "names_of",
    "recognise",
    "release_in",
    "spell",
]

OLDEST = Version("1.0.0")
"""The oldest contract version there is: host 1.0.0."""
NEWEST_TESTED = Version("1.16.0")
"""The newest contract version this SDK has been tested with: host 4.0.0rc7."""

_LONGEST = 40  # characters of a version that is none, in a message
_QUIET = "SPEC_KITTY_CLIENT_NO_VERSION_WARNING"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SAFE_NAMES = Version("3.2.0")
_RELEASE = re.compile(r"\bversion (\d+\.\S+)")

_FEATURE_NAMES = {
    "mission-state": "feature-state",
    "accept-mission": "accept-feature",
    "merge-mission": "merge-feature",
}
_LATER_NAMES = {"merge-mission": "consolidate-mission"}
_SAYS_FEATURE = (Dialect.F1, Dialect.F2)


class UntestedHostWarning(UserWarning):
    """The host is newer than any this SDK has been tested with."""


@frozen
class Contract:
    """What is known about the host that a client talks to.

    Attributes:
        version: The version of the contract, as every envelope names it.
        release: The oldest release of the host that it can be, and the very one where
            the host was asked: up to 3.2.1 the version of the contract does not tell.
    """

    version: Version
    release: Version

    @property
    def dialect(self) -> Dialect:
        """How this host understands the calls."""
        return dialect_of(self.release)

    def supports(self, what: "str | type[Command[Any]] | Command[Any] | Feature") -> bool:
        """Return whether the host has a verb, a feature, or all that a call makes use of.

        Args:
            what: A verb by its newest name, such as ``resolve-workspace``; a command or its
                class; or a `Feature`.

        Raises:
            ValueError: If there is no such verb.
        """
        if isinstance(what, Feature):
            return what.since <= self.release
        if isinstance(what, Command):
            return _missing(what, self) is None
        return Version(_class_of(what).since) <= self.release


def recognise(api_version: str, release: Version | None = None) -> Contract | None:
    """Tell from the host's contract version, and its release if it takes that, what it is.

    A newer contract than the newest tested one works with a warning, which the
    environment variable ``SPEC_KITTY_CLIENT_NO_VERSION_WARNING`` silences.

    Returns:
        None where the release has to be asked for, that is for contract 1.0.0.

    Raises:
        UnsupportedHost: If there is no such contract.
    """
    try:
        version = Version(api_version)
    except ValueError:  # InvalidVersion is one, and so is a number of 5,000 digits
        shown = api_version if len(api_version) <= _LONGEST else api_version[:_LONGEST] + "..."
        msg = (
            f"The host names {shown!r} as its contract version, which is not a version. Is it "
            "the spec-kitty of spec-kitty-cli?"
        )
        raise UnsupportedHost(msg) from None
    if version < OLDEST:
        msg = (
            f"The host speaks contract {version}; this SDK needs {OLDEST} or newer. Upgrade the "
            "host: pip install --upgrade spec-kitty-cli"
        )
        raise UnsupportedHost(msg)
    if version > NEWEST_TESTED and not os.environ.get(_QUIET):
        msg = (
            f"The host speaks contract {version}, newer than {NEWEST_TESTED}, the newest tested. "
            f"Set {_QUIET}=1 to silence this."
        )
        warnings.warn(msg, UntestedHostWarning, stacklevel=2)
    known = oldest_release(version) or release
    return Contract(version, known) if known else None


def release_in(text: str) -> Version:
    """Return the release in what ``spec-kitty --version`` prints, which ends with it.

    Raises:
        UnsupportedHost: If there is none, or one from before the API.
    """
    found = _RELEASE.findall(text)
    try:
        release = Version(found[-1])
    except (IndexError, ValueError):
        msg = (
            "The host speaks contract 1.0.0, which five kinds of releases do, and `spec-kitty "
            f"--version` names no release: {text.strip()[-200:]!r}. If it is behind a wrapper "
            "script, let that pass --version on."
        )
        raise UnsupportedHost(msg) from None
    if release < Dialect.F1.first_release:
        msg = f"Host {release} has no orchestrator-api: pip install --upgrade spec-kitty-cli"
        raise UnsupportedHost(msg)
    return release


def spell(command: Command[Any], contract: Contract | None = None) -> tuple[str, ...]:
    """Return the arguments for ``spec-kitty``, each option as one ``--name=value``.

    Args:
        command: What to spell.
        contract: Whom it is for; None: as most hosts understand it.

    Raises:
        InvalidCall: If an option cannot be passed on a command line.
        UnsupportedByHost: If this host has no such verb, option or lane.
    """
    if contract is None:
        return ("orchestrator-api", command.verb, *command.spelled())
    if missing := _missing(command, contract):
        what, since = missing
        raise UnsupportedByHost(what, since=since, release=str(contract.release))
    _check_selector(command, contract)
    words = command.spelled()
    if contract.dialect in _SAYS_FEATURE:
        words = tuple(_swap(word, "--mission=", "--feature=") for word in words)
    verb = names_in(contract.dialect).get(command.verb, command.verb)
    return ("orchestrator-api", verb, *words)


def _check_selector(command: Command[Any], contract: Contract) -> None:
    """Refuse a name of a mission that hosts answer with a traceback (3.2.0 to 3.2.7)."""
    name = getattr(command, "mission", None)
    if contract.release < _SAFE_NAMES or name is None or _SAFE_NAME.fullmatch(name):
        return
    msg = f"mission={name!r} is no slug or id: letters, digits, '.', '_' and '-', no '-' first"
    raise InvalidCall(msg)


def _swap(word: str, old: str, new: str) -> str:
    return new + word.removeprefix(old) if word.startswith(old) else word


def names_in(dialect: Dialect) -> Mapping[str, str]:
    """Return what a dialect calls the verbs that it calls by another name."""
    if dialect in _SAYS_FEATURE:
        return _FEATURE_NAMES
    return _LATER_NAMES if dialect is Dialect.M5 else {}


def names_of(verb: str) -> set[str]:
    """Return what hosts call a verb."""
    return {verb} | {names[verb] for names in (_FEATURE_NAMES, _LATER_NAMES) if verb in names}


def _class_of(what: str | type[Command[Any]]) -> type[Command[Any]]:
    if isinstance(what, type):
        return what
    from spec_kitty_client.verbs import VERBS

    found = next((c for verb, c in VERBS.items() if what in names_of(verb)), None)
    if found is None:
        msg = f"there is no verb {what!r}; there are {', '.join(VERBS)}"
        raise ValueError(msg)
    return found


def _missing(command: Command[Any], contract: Contract) -> tuple[str, str] | None:
    """Return what of a call the host does not have, and the release that does."""
    if Version(command.since) > contract.release:
        return command.verb, command.since
    for name, since in command.dated_options():
        if Version(since) > contract.release:
            return f"{name} of {command.verb}", since
    if isinstance(command, Transition) and command.to not in lanes_of(contract.dialect):
        first = next(d for d in Dialect if command.to in lanes_of(d))
        return f"lane {command.to}", str(first.first_release)
    return None


def in_our_words(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a payload with the names of the newest contract.

    Hosts up to 3.0.3 say ``feature_slug``; 1.0.x counts the total among the lanes.
    """
    renamed = {"mission_slug" if k == "feature_slug" else k: v for k, v in data.items()}
    summary = renamed.get("summary")
    if isinstance(summary, dict) and "total_work_packages" in summary:
        total = summary["total_work_packages"]
        lanes = {k: v for k, v in summary.items() if k != "total_work_packages"}
        renamed |= {"summary": lanes, "total_work_packages": total}
    return renamed
