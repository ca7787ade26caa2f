"""The output of a host: envelopes, usage errors and tracebacks, in the format of its release.

Source: ``tests/corpus``, every release from 1.0.3 to 4.0.0rc7. The message texts differ from the
real host's, so that no client depends on them.
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
        code: The error code.
        message: The reason, in words.
        details: The data of the answer; with details, hosts before 3.2.6 omit the message.
        mission: The mission named in the data (3.1.1 and later).
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
    """The option parser refuses the arguments."""


class Crashed(Exception):
    """A traceback instead of an answer."""


@frozen
class Answers:
    """Formats answers as bytes.

    Args:
        release: The simulated release.
        now: The clock for the timestamps of envelopes.
        new_id: Makes the 32 hexadecimal digits of correlation ids.
    """

    release: Release
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def success(self, name: str, data: Mapping[str, Any], mission: Mission | None) -> bytes:
        """Return the envelope of a success."""
        is_known = name == "append-history"  # reads meta.json from the primary checkout
        return self._envelope(name, {**self._identity(mission, is_known), **data}, None)

    def refusal(self, name: str, refused: Refused) -> bytes:
        """Return the envelope of a refusal."""
        release = self.release
        data = dict(refused.details)
        if refused.mission is not None and release.since("3.1.1"):
            data = {**self._identity(refused.mission), **data}
        # Hosts before 3.2.6 omit the message if there are details.
        if not refused.details or release.since("3.2.6"):
            data["message"] = refused.message
        return self._envelope(name, data, refused.code)

    def misuse(self, message: str) -> tuple[bytes, bytes]:
        """Return stdout and stderr of a refusal by the option parser."""
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
        # The type is in meta.json, which gets into the coordination worktree by a merge.
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
    """Return the stderr of a host that crashed."""
    where = '  File "spec_kitty_client/testing/host", in simulated'
    text = f"Traceback (most recent call last):\n{where}\nValueError: {crashed}\n"
    return text.encode("utf-8", "backslashreplace")


def completed(
    args: Sequence[str], exit_code: int, stdout: bytes, stderr: bytes, time_limit: float
) -> Completed:
    """Return the result of a call."""
    argv = ("spec-kitty", *args)
    return Completed(
        argv=argv, exit_code=exit_code, stdout=stdout, stderr=stderr, time_limit=time_limit
    )
