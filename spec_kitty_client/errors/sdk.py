"""The base of all errors, and those that the SDK raises itself."""

from typing import Any

from spec_kitty_client.values import encodable, plain

__all__ = [
    "AcceptanceUnavailable",
    "CannotBeWarm",
    "GitFailed",
    "GitUnavailable",
    "HostNotFound",
    "InvalidCall",
    "MergeDamaged",
    "SpecKittyError",
    "UnsupportedByHost",
    "UnsupportedHost",
    "WouldLoseWork",
]

MOST_NAMED = 10  # files in a message


class SpecKittyError(Exception):
    """Base class of all errors of this SDK."""

    def __str__(self) -> str:
        return encodable(super().__str__())

    def to_dict(self) -> dict[str, Any]:
        """Return the class, the text and all facts by name, as values that `json.dumps` takes."""
        facts = {k: plain(v) for k, v in vars(self).items() if not k.startswith("_")}
        return {"error": type(self).__name__, "message": str(self), **facts}


class InvalidCall(SpecKittyError, ValueError):
    """The call is invalid; nothing was sent to the host."""


class HostNotFound(SpecKittyError):
    """The program of the host does not exist or cannot be run."""


class CannotBeWarm(SpecKittyError):
    """The host cannot be kept warm, and the caller requires a warm host."""


class UnsupportedHost(SpecKittyError):
    """The program is not a host, or one with an unknown contract."""


class UnsupportedByHost(SpecKittyError):
    """The host has no such verb, option or lane. Nothing was sent.

    Attributes:
        what: The verb, option or lane that it lacks.
        since: The first release of the host that has it.
        release: The release of the host.
    """

    def __init__(self, what: str, since: str, release: str) -> None:
        super().__init__(what, since, release)
        self.what = what
        self.since = since
        self.release = release

    def __str__(self) -> str:
        return encodable(
            f"Host {self.release} has no {self.what}; {self.since} is the first that has. Nothing "
            f"was sent. Upgrade it: pip install 'spec-kitty-cli>={self.since}'"
        )


class AcceptanceUnavailable(UnsupportedByHost):
    """The host's API cannot accept a mission of this topology (3.2.0 to 3.2.7). Nothing was sent.

    Attributes:
        mission: The mission's slug.
        topology: Its topology, ``coord`` or ``lanes_with_coord``.
    """

    def __init__(self, mission: str, topology: str, release: str) -> None:
        what = f"accept-mission for the topology {topology}"
        super().__init__(what, since="4.0.0rc5", release=release)
        self.args: tuple[str, ...] = (mission, topology, release)
        self.mission = mission
        self.topology = topology

    @property
    def command(self) -> str:
        """The host's own command that accepts the mission."""
        return f"spec-kitty accept --mission {self.mission} --lenient"

    def __str__(self) -> str:
        return (
            f"This host ({self.release} or newer) cannot accept {self.mission} through its API: "
            f"under the topology {self.topology} accept-mission ends in a traceback. Nothing was "
            f"sent. Accept it with the host's own command: {self.command}"
        )


class GitFailed(SpecKittyError):
    """Git, where the host runs, failed during a workflow verb."""


class GitUnavailable(GitFailed):
    """The transport cannot run git where the host runs, and the verb needs it."""


class WouldLoseWork(SpecKittyError):
    """A workflow verb stopped, because it would lose work.

    Attributes:
        paths: The files or branches in question, as git names them.
    """

    def __init__(self, message: str, paths: tuple[str, ...] = ()) -> None:
        super().__init__(message, paths)
        self.message = message
        self.paths = paths

    def __str__(self) -> str:
        return encodable(self.message)


class MergeDamaged(SpecKittyError):
    """A merge removed something from its target, or left out commits.

    Attributes:
        target: The branch.
        before: The commit of the branch before the merge; ``git log`` shows it.
        what: The damage, as the rest of a sentence that begins with the merge.
        paths: The files; empty where commits are missing.
    """

    def __init__(self, target: str, before: str, what: str, paths: tuple[str, ...] = ()) -> None:
        super().__init__(target, before, what, paths)
        self.target = target
        self.before = before
        self.what = what
        self.paths = paths

    def __str__(self) -> str:
        named = f": {', '.join(self.paths[:MOST_NAMED])}" if self.paths else ""
        return encodable(
            f"the merge into {self.target} {self.what}{named}. It was at {self.before}; "
            f"`git log {self.before}` shows what was there."
        )
