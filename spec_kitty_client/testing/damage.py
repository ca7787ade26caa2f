"""What is left of an answer when something goes wrong on its way, or before there is one.

Where the host was not asked there is no answer to damage. Then one is made up: a refusal in
which nothing was done (``STATUS_LOCK_HELD``, host 4.0.0rc4 and later), or the success that a
host may print before its last step fails. Both name the contract of the last true answer.
"""

import json
import signal
from enum import StrEnum

from attrs import evolve, frozen

from spec_kitty_client.api.envelope import find
from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.transports import Completed

__all__ = ["FaultyCall", "Kind", "contract_in", "damaged"]

_BANNER = b"spec-kitty, a tool for missions\n" * 28  # as many lines as hosts up to 3.1 print
_NOT_UTF8 = b"caf\xe9 \xff\xfe \xed\xa0\x80\n"  # Latin 1, a mark of UTF-16, half of a pair
_LOGGED = b'{"level": "debug", "event": "git status --porcelain", "seconds": 0.0123, "exit": 0}\n'
_TRACEBACK = b"""\
Traceback (most recent call last):
  File "/host/specify_cli/orchestrator_api/commands.py", line 7, in invoke
    emit(answer)
OSError: [Errno 28] No space left on device
"""


class Kind(StrEnum):
    """What goes wrong."""

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
    """A call, and what an answer to it has to look like."""

    args: tuple[str, ...]
    time_limit: float
    """Seconds."""
    contract: str
    """The contract version that an answer names."""

    def ended(self, exit_code: int | None, stdout: bytes = b"", stderr: bytes = b"") -> Completed:
        """Return how it may have ended."""
        return Completed(
            argv=("spec-kitty", *self.args),
            exit_code=exit_code,
            stdout=stdout,
            stderr=stderr,
            time_limit=self.time_limit,
        )

    def refused(self) -> Completed:
        """Return an answer which says that nothing was done."""
        data = {"message": "another call holds the lock"}
        return self.ended(1, self._answer(ErrorCode.STATUS_LOCK_HELD, data))

    def succeeded(self) -> Completed:
        """Return a success that says nothing more."""
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
    """Return the contract version that an answer names; None if it is no answer."""
    envelope, _ = find(answer.stdout.decode("utf-8", "backslashreplace"))
    return envelope.contract_version if envelope else None


def damaged(kind: Kind, call: FaultyCall, real: Completed | None, noise: int) -> Completed:
    """Return what a client sees.

    Args:
        kind: What goes wrong; neither `Kind.STALE` nor `Kind.NO_HOST`, which damage nothing.
        call: The call.
        real: What the host answered; None: it was not asked.
        noise: Bytes of noise.
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
    """Cut the last line in the middle: the envelope is in one line."""
    text = answer.stdout.rstrip()
    start = text.rfind(b"\n") + 1
    return evolve(answer, stdout=text[: start + (len(text) - start) // 2])


def _surrounded(kind: Kind, call: FaultyCall, answer: Completed, noise: int) -> Completed:
    """Leave the answer as it is, among things that are none."""
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
