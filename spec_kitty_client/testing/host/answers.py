"""What a host prints: envelopes, usage errors and tracebacks, in the words of its release.

Source: ``tests/corpus``, every release from 1.0.3 to 4.0.0rc7. The texts of messages are our
own: no client may decide on them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.testing.host.board import Mission
from spec_kitty_client.testing.host.releases import Release
from spec_kitty_client.transports import Completed

__all__ = ["Answers", "Crashed", "Misused", "Refused"]


class Refused(Exception):
    """An answer with an error code.

    Args:
        code: Its code.
        message: Why, in words.
        details: What its data holds; with them, older hosts leave the message out.
        mission: What its data begins with, from 3.1.1 on.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        details: Mapping[str, object] | None = None,
        *,
        mission: Mission | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.mission = mission
        self.details: Mapping[str, object] = details or {}


class Misused(Exception):
    """The arguments are not those of a call."""


class Crashed(Exception):
    """A traceback instead of an answer."""


@frozen
class Answers:
    """Puts answers into bytes.

    Args:
        release: Who answers.
        now: The time that envelopes carry.
        new_id: Makes 32 hexadecimal digits for each of them.
    """

    release: Release
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def success(self, name: str, data: Mapping[str, Any], mission: Mission | None) -> bytes:
        """Return the envelope of a call that succeeded."""
        is_known = name == "append-history"  # which looks for meta.json where it is
        return self._envelope(name, {**self._identity(mission, is_known), **data}, None)

    def refusal(self, name: str, refused: Refused) -> bytes:
        """Return the envelope of a call that was refused."""
        release = self.release
        data = dict(refused.details)
        if refused.mission is not None and release.since("3.1.1"):
            data = {**self._identity(refused.mission), **data}
        # Before 3.2.6 a message is dropped where there are details.
        if not refused.details or release.since("3.2.6"):
            data["message"] = refused.message
        return self._envelope(name, data, refused.code)

    def misuse(self, message: str) -> tuple[bytes, bytes]:
        """Return stdout and stderr of what the option parser refuses."""
        if not self.release.since("2.1.0"):
            text = f"Usage: spec-kitty [OPTIONS]\n\nError: {message}\n"
            return b"", text.encode("utf-8", "backslashreplace")
        data = {"message": message}
        return self._envelope("unknown", data, ErrorCode.USAGE_ERROR), b""

    def _identity(self, mission: Mission | None, is_known: bool = False) -> dict[str, Any]:
        if mission is None:
            return {}
        slug = {"feature_slug" if self.release.says_feature else "mission_slug": mission.slug}
        if not self.release.since("3.1.1"):
            return slug
        # The type is in meta.json, which a merge brings to the coordination worktree.
        hidden = mission.coordinated and not mission.has_lanes and self.release.since("3.2.6")
        kind = "" if hidden and not is_known else "software-dev"
        return {**slug, "mission_number": None, "mission_type": kind}

    def _envelope(self, name: str, data: Mapping[str, Any], code: ErrorCode | None) -> bytes:
        envelope = {
            "contract_version": str(self.release.contract.version),
            "command": f"orchestrator-api.{name}",
            "timestamp": self.now().isoformat(),
            "correlation_id": f"corr-{self.new_id()}",
            "success": code is None,
            "error_code": code,
            "data": data,
        }
        return json.dumps(envelope).encode() + b"\n"


def traceback(crashed: Crashed) -> bytes:
    """Return what is on stderr where the host itself failed."""
    where = '  File "spec_kitty_client/testing/host", in simulated'
    text = f"Traceback (most recent call last):\n{where}\nValueError: {crashed}\n"
    return text.encode("utf-8", "backslashreplace")


def completed(
    args: Sequence[str], exit_code: int, stdout: bytes, stderr: bytes, time_limit: float
) -> Completed:
    """Return what a call left behind."""
    argv = ("spec-kitty", *args)
    return Completed(
        argv=argv, exit_code=exit_code, stdout=stdout, stderr=stderr, time_limit=time_limit
    )
