"""Damage a host's answer as a fault would, or make one up if the host was not called.

A made-up answer is a refusal without effect (``STATUS_LOCK_HELD``, host 4.0.0rc4 and later), or the
success that a host may print before its last step fails. Both have the contract version of the
last real answer.
"""

import json
import signal
from enum import StrEnum

from attrs import evolve, frozen

from spec_kitty_client.api.envelope import find
from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.transports import Completed

__all__ = ["FaultyCall", "Kind", "contract_in", "damaged"]

_BANNER = b"spec-kitty, a tool for missions\n" * 28  # as long as the banner of hosts up to 3.1
_NOT_UTF8 = b"caf\xe9 \xff\xfe \xed\xa0\x80\n"  # Latin-1, a UTF-16 byte order mark, a surrogate
_LOGGED = b'{"level": "debug", "event": "git status --porcelain", "seconds": 0.0123, "exit": 0}\n'
_TRACEBACK = b"""\
Traceback (most recent call last):
  File "/host/specify_cli/orchestrator_api/commands.py", line 7, in invoke
    emit(answer)
OSError: [Errno 28] No space left on device
"""


class Kind(StrEnum):
    """A kind of fault; see `faults.Fault`."""

    LOST = "lost"
    CRASH = "crash"
    TIMEOUT = "time-out"
    HANG = "hang"
    SLOW = "slow"
    TRUNCATED = "truncated"
    BANNER = "banner"
    EXIT_1 = "exit 1"
    TWO_ANSWERS = "two answers"
    NOT_UTF8 = "not UTF-8"
    NOISE = "noise"
    STALE = "stale"
    NO_HOST = "no host"


@frozen(kw_only=True)
class FaultyCall:
    """A call with a fault, and the contract version for made-up answers."""

    args: tuple[str, ...]
    time_limit: float
    """In seconds."""
    contract: str
    """The contract version in a made-up answer."""

    def ended(self, exit_code: int | None, stdout: bytes = b"", stderr: bytes = b"") -> Completed:
        """Return a result with this exit code and output."""
        return Completed(
            argv=("spec-kitty", *self.args),
            exit_code=exit_code,
            stdout=stdout,
            stderr=stderr,
            time_limit=self.time_limit,
        )

    def refused(self) -> Completed:
        """Return a refusal: the host has done nothing."""
        data = {"message": "another call holds the lock"}
        return self.ended(1, self._answer(ErrorCode.STATUS_LOCK_HELD, data))

    def succeeded(self) -> Completed:
        """Return a success without any data."""
        return self.ended(0, self._answer(None, {}))

    def _answer(self, code: str | None, data: dict[str, str]) -> bytes:
        named = self.args[1] if self.args[:1] == ("orchestrator-api",) else "unknown"
        answer = {
            "contract_version": self.contract,
            "command": f"orchestrator-api.{named}",
            "timestamp": "2026-01-01T00:00:00.000000+00:00",
            "correlation_id": "corr-00000000000000000000000000000000",
            "success": code is None,
            "error_code": code,
            "data": data,
        }
        return json.dumps(answer).encode() + b"\n"


def contract_in(answer: Completed) -> str | None:
    """Return the contract version in an answer, or None if there is no envelope."""
    envelope, _ = find(answer.stdout.decode("utf-8", "backslashreplace"))
    return envelope.contract_version if envelope else None


def damaged(kind: Kind, call: FaultyCall, real: Completed | None, noise: int) -> Completed:
    """Return the damaged result of a call, as a client sees it.

    Args:
        kind: The fault; not `Kind.STALE` or `Kind.NO_HOST`, which damage no answer.
        call: The call.
        real: The host's answer; None: the host was not called.
        noise: Number of bytes of noise.
    """
    match kind:
        case Kind.LOST:
            return call.ended(-signal.SIGKILL)
        case Kind.CRASH:
            return call.ended(1, stderr=_TRACEBACK)
        case Kind.TIMEOUT | Kind.HANG:
            return call.ended(None)
        case Kind.EXIT_1:
            return evolve(real or call.succeeded(), exit_code=1)
        case Kind.TRUNCATED:
            return _truncated(real or call.succeeded())
        case _:
            return _surrounded(kind, call, real or call.refused(), noise)


def _truncated(answer: Completed) -> Completed:
    """Cut the last line, which is the envelope, in half."""
    text = answer.stdout.rstrip()
    start = text.rfind(b"\n") + 1
    return evolve(answer, stdout=text[: start + (len(text) - start) // 2])


def _surrounded(kind: Kind, call: FaultyCall, answer: Completed, noise: int) -> Completed:
    """Keep the answer, and add other output around it."""
    before = after = b""
    if kind is Kind.BANNER:
        before = after = _BANNER
    elif kind is Kind.NOT_UTF8:
        before = after = _NOT_UTF8
    elif kind is Kind.NOISE:
        before = after = _LOGGED * (noise // 2 // len(_LOGGED))
    elif kind is Kind.TWO_ANSWERS:
        before = _contrary(call, answer).stdout
    return evolve(answer, stdout=before + answer.stdout + after)


def _contrary(call: FaultyCall, answer: Completed) -> Completed:
    return call.refused() if answer.exit_code == 0 else call.succeeded()
