"""Transports that answer calls from a tape, and compare the calls with the recorded ones."""

import difflib
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self

import anyio.lowlevel
from attrs import evolve

from spec_kitty_client.errors import HostNotFound
from spec_kitty_client.testing.calls import READS, verb_in
from spec_kitty_client.testing.placeholders import Ids, Placeholders
from spec_kitty_client.testing.taped import GIT, HOST, Taped, read
from spec_kitty_client.transports import Completed

__all__ = ["AsyncReplay", "Replay", "TapeMismatch"]

_MOST_SHOWN = 10  # calls in a message


class TapeMismatch(AssertionError):
    """The calls differ from the tape; the message shows the difference.

    It is not a `SpecKittyError`, so that code under test does not handle it as an error of a host.
    """


class _Player:
    """Finds the recorded call for each call. Safe to use from several threads."""

    def __init__(self, path: Path, placeholders: Placeholders, *, strict: bool) -> None:
        self._path = path
        self._placeholders = placeholders
        self._strict = strict
        self._has_git, self._calls = read(path, placeholders.names)
        self._ids, self._lock = Ids(), Lock()
        self._left = list(range(len(self._calls)))
        self._used: list[int] = []
        self._mismatch: TapeMismatch | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self.close()

    def close(self) -> None:
        """End the replay. Leaving its ``with`` block without an error calls this.

        Raises:
            TapeMismatch: If a call differed from the tape, even if the error was caught; or, in a
                strict replay, if some recorded calls were not made.
        """
        if self._mismatch is not None:
            raise self._mismatch
        if self._strict and self._left:
            raise TapeMismatch(self._not_made())

    def _play(
        self, program: str, args: Sequence[str], folder: str | None, time_limit: float
    ) -> Completed:
        """Answer a call.

        Raises:
            TapeMismatch: If the call is not on the tape, or not at this place.
            HostNotFound: If the tape has this error.
        """
        call = Taped(program=program, args=tuple(args), folder=folder)
        with self._lock:
            found = self._find(call)
            if found is None:
                self._mismatch = self._mismatch or TapeMismatch(self._difference(call))
                raise self._mismatch
            return self._answer(self._calls[found], call, time_limit)

    def _find(self, call: Taped) -> int | None:
        for number in self._left[:1] if self._strict else self._left:
            if self._same(number, call):
                self._left.remove(number)
                self._used.append(number)
                return number
        if self._strict or verb_in(call.args) not in READS:  # git commands are never in READS
            return None
        return next((n for n in reversed(self._used) if self._same(n, call)), None)

    def _same(self, number: int, call: Taped) -> bool:
        return self._placeholders.match(self._calls[number].words, call.words, self._ids)

    def _answer(self, taped: Taped, call: Taped, time_limit: float) -> Completed:
        def show(text: str) -> str:
            return self._placeholders.show(text, self._ids)

        if taped.not_found is not None:
            raise HostNotFound(show(taped.not_found))
        return Completed(
            argv=(call.program, *call.args),
            exit_code=taped.exit_code,
            stdout=show(taped.stdout).encode("utf-8", "surrogateescape"),
            stderr=show(taped.stderr).encode("utf-8", "surrogateescape"),
            time_limit=time_limit,
        )

    def _difference(self, call: Taped) -> str:
        """Return the difference between a call and the expected or most similar one."""
        made = _laid_out(self._hidden(call))
        number = self._left[0] if self._left else None
        if not self._strict:
            number = max(self._left, key=lambda n: _likeness(self._calls[n], made), default=None)
        if number is None:
            return f"{self._path}: no call is left on the tape for\n  " + "\n  ".join(made)
        what = "differs from the call made" if self._strict else "is the most similar to the call"
        where = f"{self._path}: call {number + 1} of {len(self._calls)} {what}"
        expected = _laid_out(self._calls[number])
        return "\n".join([where, *_diff(expected, made)])

    def _hidden(self, call: Taped) -> Taped:
        """Return a call with placeholders as on the tape; new ids keep their values."""

        def hide(text: str) -> str:
            return self._placeholders.hide(text, self._ids, number=False)

        return evolve(
            call, args=tuple(map(hide, call.args)), folder=call.folder and hide(call.folder)
        )

    def _not_made(self) -> str:
        shown = [
            f"  {n + 1}: {self._calls[n].title} {' '.join(self._calls[n].args)}"
            for n in self._left[:_MOST_SHOWN]
        ]
        more = len(self._left) - len(shown)
        rest = [f"  and {more} more"] if more else []
        what = f"{len(self._left)} of {len(self._calls)} calls were not made"
        return "\n".join([f"{self._path}: {what}", *shown, *rest])


def _laid_out(call: Taped) -> list[str]:
    """Return a call as lines for a diff: one line per word, JSON spread over several."""
    lines = [call.title]
    for word in call.args:
        name, _, value = word.partition("=")
        try:
            laid_out = json.dumps(json.loads(value), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            laid_out = ""
        lines += f"{name}={laid_out}".splitlines() if laid_out.startswith("{") else [word]
    return lines


def _likeness(taped: Taped, made: list[str]) -> float:
    return difflib.SequenceMatcher(a=_laid_out(taped), b=made, autojunk=False).ratio()


def _diff(expected: list[str], made: list[str]) -> list[str]:
    most = max(len(expected), len(made))
    return list(difflib.unified_diff(expected, made, "recorded", "made", lineterm="", n=most))


class Replay(_Player):
    """A transport that answers calls from a tape; see `Tape.replay`.

    It is a `GitTransport` if the recorded transport was.
    """

    def __init__(self, path: Path, placeholders: Placeholders, *, strict: bool) -> None:
        super().__init__(path, placeholders, strict=strict)
        if self._has_git:
            self.git: Callable[..., Completed] = self._git

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`; raises `TapeMismatch` as well."""
        return self._play(HOST, args, None, time_limit)

    def _git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        return self._play(GIT, args, folder, time_limit)


class AsyncReplay(_Player):
    """An `AsyncTransport` that answers calls from a tape. Use it in an ordinary ``with``."""

    def __init__(self, path: Path, placeholders: Placeholders, *, strict: bool) -> None:
        super().__init__(path, placeholders, strict=strict)
        if self._has_git:
            self.git: Callable[..., Coroutine[Any, Any, Completed]] = self._git

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `AsyncTransport.run`; raises `TapeMismatch` as well."""
        await anyio.lowlevel.checkpoint()
        return self._play(HOST, args, None, time_limit)

    async def _git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        await anyio.lowlevel.checkpoint()
        return self._play(GIT, args, folder, time_limit)
