"""Which contract a host speaks, and how a command is spelled for it.

This is the one module that knows about dialects: nobody above it does. So far there is
one, M4 (host 3.2.6 and 3.2.7).
"""

import os
import warnings
from enum import StrEnum
from typing import Any

from attrs import frozen
from packaging.version import Version

from spec_kitty_client.commands import Command
from spec_kitty_client.errors import UnsupportedHost

__all__ = ["NEWEST_TESTED", "OLDEST", "Contract", "Dialect", "UntestedHostWarning", "recognise"]

OLDEST = Version("1.4.0")
"""The oldest contract version this SDK speaks: host 3.2.6."""
NEWEST_TESTED = Version("1.5.0")
"""The newest contract version this SDK has been tested with: host 3.2.7."""

_LONGEST = 40  # characters of a version that is none, in a message
_QUIET = "SPEC_KITTY_CLIENT_NO_VERSION_WARNING"


class UntestedHostWarning(UserWarning):
    """The host is newer than any this SDK has been tested with."""


class Dialect(StrEnum):
    """A way to spell the calls. Several contract versions share one, and the other way."""

    M4 = "M4"

    def spell(self, command: Command[Any]) -> tuple[str, ...]:
        """Return the arguments for ``spec-kitty``.

        Raises:
            InvalidCall: If an option cannot be passed on a command line.
        """
        return ("orchestrator-api", command.verb, *command.options())


@frozen
class Contract:
    """What is known about the host that a client talks to."""

    version: Version
    dialect: Dialect


def recognise(api_version: str) -> Contract:
    """Tell from the host's contract version how to talk to it.

    A newer contract than the newest tested one works with a warning, which the
    environment variable ``SPEC_KITTY_CLIENT_NO_VERSION_WARNING`` silences.

    Raises:
        UnsupportedHost: If the contract is older than `OLDEST`, or not a version.
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
            "host: pip install 'spec-kitty-cli>=3.2.6'"
        )
        raise UnsupportedHost(msg)
    if version > NEWEST_TESTED and not os.environ.get(_QUIET):
        msg = (
            f"The host speaks contract {version}, newer than {NEWEST_TESTED}, the newest tested. "
            f"Set {_QUIET}=1 to silence this."
        )
        warnings.warn(msg, UntestedHostWarning, stacklevel=2)
    return Contract(version, Dialect.M4)
