"""Records what a host answers, and answers it again without the host.

    tape = Tape("tests/tapes/claim.jsonl", root=repo)
    client = Client(transport=tape.record(ProcessTransport(repo=repo)))
    client.mission_state("034-pay")

    with tape.replay() as transport:
        Client(transport=transport).mission_state("034-pay")

A tape is a file of JSON lines: a header, then the calls of host and git in the order in which
they ended, each written as soon as it has.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from spec_kitty_client.testing.placeholders import Placeholders
from spec_kitty_client.testing.recording import AsyncRecording, Recording
from spec_kitty_client.testing.replay import AsyncReplay, Replay, TapeMismatch
from spec_kitty_client.testing.taped import TapeDamaged
from spec_kitty_client.transports import AsyncTransport, Transport

__all__ = [
    "AsyncRecording",
    "AsyncReplay",
    "Recording",
    "Replay",
    "Tape",
    "TapeDamaged",
    "TapeMismatch",
]


@frozen
class Tape:
    """A file with recorded calls, and what in them differs from run to run.

    Paths and all that is `known` are on the tape as ``{root}`` and so on, and in a replay they
    are those of its own side. Times, ULIDs, UUIDs, commits and hashes are numbered as they
    appear, ``{ulid:1}``; a replay makes up stable ones, and takes those that calls bring along.
    An id that a test knows beforehand belongs to `known`.

    Give secrets in `known`, as in ``known={"token": token}``: such a value does not get into
    the file, wherever it appears.
    """

    path: Path = field(converter=Path)
    root: Path = field(default=Path(), converter=Path, kw_only=True)
    """The repository: ``{root}``. ``{home}`` and ``{temp}`` are this user's and machine's."""
    known: Mapping[str, str] = field(factory=dict, kw_only=True)
    """More values, by the name of their placeholder, such as the slug of a mission."""
    patterns: Mapping[str, str] = field(factory=dict, kw_only=True)
    """More that a host makes up: regular expressions, by the name of their placeholder."""

    def record(self, transport: Transport, *, overwrite: bool = False) -> Recording:
        """Return a transport that passes calls on and writes them down.

        Raises:
            FileExistsError: If there is such a file already, and `overwrite` is false.
        """
        return Recording(self.path, self._placeholders(), transport, overwrite=overwrite)

    def record_async(self, transport: AsyncTransport, *, overwrite: bool = False) -> AsyncRecording:
        """Return the same for an `AsyncTransport`."""
        return AsyncRecording(self.path, self._placeholders(), transport, overwrite=overwrite)

    def replay(self, *, strict: bool = True) -> Replay:
        """Return a transport that answers what is on the tape.

        Args:
            strict: Whether calls have to come in the recorded order, and all of them. Else a
                call is answered by the next recorded one that is the same, and a read again by
                the last one when all are used; what git was asked is answered once.

        Raises:
            FileNotFoundError: If there is no tape.
            TapeDamaged: If the file is none, or not all of one.
            ValueError: If it was recorded with other names in `known` and `patterns`.
        """
        return Replay(self.path, self._placeholders(), strict=strict)

    def replay_async(self, *, strict: bool = True) -> AsyncReplay:
        """Return the same as an `AsyncTransport`."""
        return AsyncReplay(self.path, self._placeholders(), strict=strict)

    def _placeholders(self) -> Placeholders:
        places = {
            "root": str(self.root.resolve()),
            "home": os.path.expanduser("~"),  # noqa: PTH111 - Path.home() fails without one
            "temp": tempfile.gettempdir(),
        }
        return Placeholders({**places, **self.known}, self.patterns)
