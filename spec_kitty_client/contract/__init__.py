"""Recognise the host that a client talks to, and what it supports."""

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
"""The oldest contract version (host 1.0.0)."""
NEWEST_TESTED = Version("1.16.0")
"""The newest contract version that this SDK is tested with (host 4.0.0rc7)."""

_LONGEST = 40  # characters of an invalid version in a message
_QUIET = "SPEC_KITTY_CLIENT_NO_VERSION_WARNING"
_RELEASE = re.compile(r"\bversion (\d+\.\S+)")


class UntestedHostWarning(UserWarning):
    """The host is newer than all hosts that this SDK is tested with."""


class Requiring:
    """A call with requirements on the host: the base class of every command."""

    __slots__ = ()

    since: ClassVar[str]
    """The first host release that has the verb."""

    def requirements(self) -> Iterable[tuple[str, str]]:
        """Return each requirement in words, with the first host release that meets it."""
        return ((type(self).__name__, self.since),)


@frozen
class Contract(Value):
    """The contract version of a host, and what that host supports.

    Attributes:
        version: The contract version, as every envelope of the host names it.
        release: The host's release. From 3.2.2 on the oldest release with this contract version;
            before, the exact release, because the version alone is ambiguous.
    """

    version: Version
    release: Version

    @property
    def dialect(self) -> Dialect:
        """The dialect of this host."""
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
        """Return the first requirement that the host does not meet, or None.

        Returns:
            The requirement in words, and the first host release that meets it.
        """
        return next((r for r in call.requirements() if Version(r[1]) > self.release), None)


def recognise(api_version: str, release: Version | None = None) -> Contract | None:
    """Return the contract of a host.

    A contract newer than the newest tested one works, with an `UntestedHostWarning`. The
    environment variable ``SPEC_KITTY_CLIENT_NO_VERSION_WARNING`` silences it.

    Args:
        api_version: The contract version, as the host's envelopes name it.
        release: The host's release; needed only for contract 1.0.0.

    Returns:
        The contract; None if the release is needed.

    Raises:
        UnsupportedHost: If the version is invalid or too old.
    """
    try:
        version = Version(api_version)
    except ValueError:  # InvalidVersion is one, and so is a number of 5,000 digits
        shown = api_version if len(api_version) <= _LONGEST else api_version[:_LONGEST] + "..."
        msg = (
            f"The host reports the contract version {shown!r}, which is not a version. Check that "
            "`spec-kitty` is the program of spec-kitty-cli."
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
    """Return the host's release from the output of ``spec-kitty --version``.

    Args:
        text: The output; wrapper scripts may print lines of their own before it.

    Raises:
        UnsupportedHost: If there is no release in it, or one older than the API.
    """
    found = _RELEASE.findall(text)
    try:
        release = Version(found[-1])
    except (IndexError, ValueError):
        msg = (
            "The host speaks contract 1.0.0, so its release is needed as well, but `spec-kitty "
            f"--version` printed none: {text.strip()[-200:]!r}. If the host is behind a wrapper "
            "script, make that pass --version on."
        )
        raise UnsupportedHost(msg) from None
    if release < Dialect.F1.first_release:
        msg = (
            f"Host {release} has no orchestrator-api. Upgrade the host: pip install --upgrade "
            "spec-kitty-cli"
        )
        raise UnsupportedHost(msg)
    return release
