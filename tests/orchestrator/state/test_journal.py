"""Tests of `spec_kitty_orchestrator.state.journal`."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spec_kitty_orchestrator.errors import StorageProblem, UsageProblem
from spec_kitty_orchestrator.state import journal as journals
from spec_kitty_orchestrator.state.events import Event, LaneReported, NoteGiven, RunStarted
from spec_kitty_orchestrator.state.journal import FORMAT, Damage, Journal, Listener, read, scan


def journal(path: Path, *listeners: Listener) -> Journal:
    """Open a journal as a run does."""
    return Journal(path, mission="m", run="r", listeners=listeners)


def write(path: Path, *messages: str) -> None:
    """Append events to a journal, as one run does."""
    with contextlib.closing(journal(path)) as made:
        for message in messages:
            made.write(NoteGiven(message=message))


def messages(path: Path) -> list[str]:
    """Return the messages of the events in a journal."""
    return [event.message for event in read(path) if isinstance(event, NoteGiven)]


def damage(path: Path) -> bytes:
    """Return the damaged parts of a journal."""
    return b"".join(part.raw for part in scan(path) if isinstance(part, Damage))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a journal, in a folder that does not exist yet."""
    return tmp_path / "deep" / "journal.jsonl"


def test_what_is_written_is_read(path: Path) -> None:
    """Every event has a time, the mission, the run and its own fields, on one line."""
    with contextlib.closing(journal(path)) as made:
        event = made.write(NoteGiven(message="ü \n \ud800 \x00"))
    assert list(read(path)) == [event]
    assert (event.mission, event.run, event.message) == ("m", "r", "ü \n \ud800 \x00")
    assert event.at > 0
    assert path.read_bytes().count(b"\n") == 1


def test_many_are_written_like_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several events are synced together, and listeners are called when all are on the disk."""
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    told: list[int] = []
    with contextlib.closing(journal(path, lambda _: told.append(len(list(read(path)))))) as made:
        events = made.write_all(LaneReported(wp=wp, lane="done") for wp in ("WP01", "WP02"))
    assert list(read(path)) == events
    assert [event.wp for event in events] == ["WP01", "WP02"]
    assert (len(synced), told) == (1, [2, 2])


def test_there_need_be_no_journal(path: Path) -> None:
    """A repository without a run has no events, and reading creates no file."""
    assert list(read(path)) == []
    assert not path.exists()


def test_a_later_run_appends(path: Path) -> None:
    """Opening a journal again loses nothing."""
    write(path, "a", "b")
    write(path, "c")
    assert messages(path) == ["a", "b", "c"]


@pytest.mark.parametrize("cut", [2, 3, 20, 60])
def test_a_torn_tail_spoils_no_later_line(path: Path, cut: int) -> None:
    """A half-written last line is skipped, and the next event is on a line of its own."""
    write(path, "a", "b")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert messages(path) == ["a"]
    write(path, "c")
    assert messages(path) == ["a", "c"]
    assert damage(path) == whole[:-cut].splitlines(keepends=True)[1] + b"\n"


def test_an_event_needs_no_line_break(path: Path) -> None:
    """A lost last line break loses no event."""
    write(path, "a")
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    write(path, "b")
    assert messages(path) == ["a", "b"]
    assert damage(path) == b""


@pytest.mark.parametrize("between", [b"", b"x", b"\0" * 5000, b"\xff\xfe"])
def test_two_events_on_one_line_are_read(path: Path, between: bytes) -> None:
    """Two events without a line break between them are read, with any bytes between them."""
    write(path, "a", "b")
    path.write_bytes(path.read_bytes().replace(b"\n", between, 1))
    assert messages(path) == ["a", "b"]
    assert damage(path) == between


def test_events_after_a_damaged_line_are_read(path: Path) -> None:
    """One damaged line costs one event."""
    write(path, "a", "b", "c")
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[1].replace(b'"message": "b"', b'"message": "x"')
    path.write_bytes(lines[0] + damaged + lines[2])
    assert messages(path) == ["a", "c"]
    assert [part for part in scan(path) if isinstance(part, Damage)] == [Damage(2, damaged)]


def test_a_huge_line_is_read_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A huge line of zeros between two events is not held in memory."""
    monkeypatch.setattr(journals, "_LONGEST", 1000)
    write(path, "a", "b")
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\0" * 100_000 + b"\n" + second)
    assert messages(path) == ["a", "b"]
    assert len(damage(path)) == 100_001


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"\xff\xfe\n",
        b'{"sum": "2-00000000", "event": {}}\n',
        b'{"sum": "9999999999-00000000", "event": {}}\n',
        b"[]",
        b"\0",
    ],
)
def test_no_other_line_is_an_event(path: Path, line: bytes) -> None:
    """A line with a wrong length or checksum is not an event."""
    write(path, "a")
    with path.open("ab") as file:
        file.write(line)
    assert messages(path) == ["a"]
    assert damage(path) == line


def test_a_newer_format_is_refused(path: Path) -> None:
    """A journal of a newer version is not read, and not changed."""
    with contextlib.closing(journal(path)) as made:
        made.write(RunStarted(settings={}, format=FORMAT + 1))
    before = path.read_bytes()
    with pytest.raises(UsageProblem, match=r"newer version .* Nothing was changed\. Run: pip"):
        list(read(path))
    assert path.read_bytes() == before


def test_only_the_user_can_read_it(path: Path) -> None:
    """Only the owner can read the journal, because it has text of agents."""
    write(path, "a")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """A journal that is a symbolic link is neither read nor written."""
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageProblem, match="symbolic link"):
        journal(path)
    assert not (tmp_path / "elsewhere").exists()


# Removed files and full disks


def removed(path: Path) -> None:
    """Remove the journal with its folder, as ``git clean -fdx`` does."""
    shutil.rmtree(path.parent)


def unlinked(path: Path) -> None:
    """Remove the journal alone."""
    path.unlink()


def replaced(path: Path) -> None:
    """Put another file in the place of the journal, as an editor does."""
    path.unlink()
    path.write_text("another\n")


def moved(path: Path) -> None:
    """Move the folder of the journal away."""
    path.parent.rename(path.parent.with_name("moved"))


@pytest.mark.parametrize("accident", [removed, unlinked, replaced, moved])
def test_a_journal_that_is_gone_is_written_anew(
    path: Path, accident: Callable[[Path], None]
) -> None:
    """A removed journal is written again from the open file, and the run reports that."""
    heard: list[Event] = []
    with contextlib.closing(journal(path, heard.append)) as made:
        made.write(NoteGiven(message="a"))
        accident(path)
        made.write(NoteGiven(message="b"))
        made.write(NoteGiven(message="c"))
    assert list(read(path)) == heard
    assert [event.kind for event in heard] == ["note", "journal-repaired", "note", "note"]
    assert (path.parent / ".gitignore").read_text() == "*\n"


def test_the_file_in_its_place_is_kept(path: Path) -> None:
    """A file that has replaced the journal is moved aside."""
    with contextlib.closing(journal(path)) as made:
        replaced(path)
        made.write(NoteGiven(message="a"))
    assert path.with_name("journal.replaced-1.jsonl").read_text() == "another\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_write_that_fails_leaves_no_half_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """After an error the journal is as before, and the next event is written when there is room."""
    really, room = os.write, [0, 10]

    def write_some(file: int, data: bytes) -> int:
        if not room[-1]:
            raise OSError(number, os.strerror(number))
        return really(file, data[: room.pop()])

    with contextlib.closing(journal(path)) as made:
        made.write(NoteGiven(message="a"))
        before = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr("os.write", write_some)
            with pytest.raises(StorageProblem, match="The journal cannot be written"):
                made.write(NoteGiven(message="b"))
        assert path.read_bytes() == before
        made.write(NoteGiven(message="c"))
    assert messages(path) == ["a", "c"]


def test_the_folder_of_the_copy_is_no_link(path: Path, tmp_path: Path) -> None:
    """The copy is not written through a folder of logs that is a link."""
    (tmp_path / "m").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageProblem, match="symbolic link"):
        Journal(path, mission="m", run="r", copy=tmp_path / "m" / "events.jsonl")


def test_a_run_goes_on_without_its_copy(path: Path, tmp_path: Path) -> None:
    """A second copy that cannot be written ends no run."""
    (tmp_path / "logs").write_text("in the way")
    copy = tmp_path / "logs" / "m" / "events.jsonl"
    with contextlib.closing(Journal(path, mission="m", run="r", copy=copy)) as made:
        made.write(NoteGiven(message="a"))
    assert messages(path) == ["a"]


def test_listeners_hear_of_what_is_on_the_disk(path: Path) -> None:
    """A listener that reads the file finds the event that it is called with."""
    heard: list[tuple[Event, list[Event]]] = []
    with contextlib.closing(journal(path, lambda e: heard.append((e, list(read(path)))))) as made:
        event = made.write(NoteGiven(message="a"))
    assert heard == [(event, [event])]
