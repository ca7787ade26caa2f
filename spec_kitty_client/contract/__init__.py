"""Find out which host a client talks to, and what that host supports."""

import os
import re
import warnings
from collections.abc import Iterable
from typing import ClassVar

from attrs import frozen
from packaging.version import Version

from spec_kitty_client.contract.dialects import Dialect, Feature, dialect_of, oldest_release
from spec_kitty_client.errors import UnsupportedHost
from spec_kitty_client.values import Value

__all__ = [
    "NEWEST_TESTED",
    "OLDEST",
    "Contract",
    "UntestedHostWarning",
    "recognise",
    "release_in",
]

OLDEST = Version("1.0.0")
"""The oldest contract version there is: host 1.0.0."""
NEWEST_TESTED = Version("1.16.0")
"""The newest contract version this SDK has been tested with: host 4.0.0rc7."""

_LONGEST = 40  # characters of a version that is none, in a message
_QUIET = "SPEC_KITTY_CLIENT_NO_VERSION_WARNING"
_RELEASE = re.compile(r"\bversion (\d+\.\S+)")


class UntestedHostWarning(UserWarning):
    """The host is newer than any this SDK has been tested with."""


class Requiring:
    """Something that needs several things of a host: the base of every command."""

    __slots__ = ()

    since: ClassVar[str]
    """The first release of the host that has it at all."""

    def requirements(self) -> Iterable[tuple[str, str]]:
        """Return each thing that is needed, with the first release of the host that has it."""
        return ((type(self).__name__, self.since),)


@frozen
class Contract(Value):
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

    def supports(self, what: Feature | Requiring | type[Requiring]) -> bool:
        """Return whether the host has a feature, a verb, or everything that one call uses.

        Args:
            what: A `Feature`; a command class (is the verb there?); or a command (are its
                options and its lane there as well?).
        """
        if isinstance(what, Feature):
            return what.since <= self.release
        if isinstance(what, type):
            return Version(what.since) <= self.release
        return self.missing(what) is None

    def missing(self, call: Requiring) -> tuple[str, str] | None:
        """Return the first thing a call needs and the host lacks, and the release that has it."""
        return next((r for r in call.requirements() if Version(r[1]) > self.release), None)


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
