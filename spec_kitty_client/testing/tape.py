"""Record a host's answers, and replay them without the host.

    tape = Tape("tests/tapes/claim.jsonl", root=repo)
    client = Client(transport=tape.record(ProcessTransport(repo=repo)))
    client.mission_state("034-pay")

    with tape.replay() as transport:
        Client(transport=transport).mission_state("034-pay")

A tape is a file in JSON Lines: a header, then the calls of host and git in the order in which
they ended. Each call is written as soon as it ends.
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
    """A file with recorded calls; values that change from run to run are placeholders in it.

    The tape has placeholders such as ``{root}`` for paths and for all `known` values; a replay
    puts in the values of its own machine. Times, ULIDs, UUIDs, commits and hashes are numbered in
    order of appearance, ``{ulid:1}``; a replay uses the values in its calls, and makes up stable
    ones for the rest. If a test knows an id beforehand, put it into `known`.

    Put secrets into `known` as well, as in ``known={"token": token}``: such a value is never
    written to the file.
    """

    path: Path = field(converter=Path)
    """The file."""
    root: Path = field(default=Path(), converter=Path, kw_only=True)
    """The repository, ``{root}`` on the tape. ``{home}`` and ``{temp}`` are set from this user
    and machine."""
    known: Mapping[str, str] = field(factory=dict, kw_only=True)
    """Further values by placeholder name, such as the slug of a mission."""
    patterns: Mapping[str, str] = field(factory=dict, kw_only=True)
    """Regular expressions for further values that a host makes up, by placeholder name."""

    def record(self, transport: Transport, *, overwrite: bool = False) -> Recording:
        """Return a transport that passes calls on and records them.

        Args:
            transport: The transport that makes the calls.
            overwrite: Whether to replace an existing file.

        Raises:
            FileExistsError: If the file exists and `overwrite` is false.
        """
        return Recording(self.path, self._placeholders(), transport, overwrite=overwrite)

    def record_async(self, transport: AsyncTransport, *, overwrite: bool = False) -> AsyncRecording:
        """Return an asynchronous transport that records calls; see `record`."""
        return AsyncRecording(self.path, self._placeholders(), transport, overwrite=overwrite)

    def replay(self, *, strict: bool = True) -> Replay:
        """Return a transport that answers calls from the tape.

        Args:
            strict: Whether all calls must be made, in the recorded order. If false, a call gets
                the answer of the next equal call on the tape. When these are used up, a read
                gets the last answer again; a git call and a mutation do not.

        Raises:
            FileNotFoundError: If there is no tape.
            TapeDamaged: If the file is not a tape, or a damaged one.
            ValueError: If it was recorded with other names in `known` and `patterns`.
        """
        return Replay(self.path, self._placeholders(), strict=strict)

    def replay_async(self, *, strict: bool = True) -> AsyncReplay:
        """Return an asynchronous transport that answers calls from the tape; see `replay`."""
        return AsyncReplay(self.path, self._placeholders(), strict=strict)

    def _placeholders(self) -> Placeholders:
        places = {
            "root": str(self.root.resolve()),
            "home": os.path.expanduser("~"),  # noqa: PTH111 - Path.home() fails without one
            "temp": tempfile.gettempdir(),
        }
        return Placeholders({**places, **self.known}, self.patterns)
