"""Tests of `spec_kitty_orchestrator.state.journal`."""

import contextlib
from pathlib import Path

import pytest

from spec_kitty_orchestrator.state.events import Event, LaneReported, NoteGiven
from spec_kitty_orchestrator.state.journal import Journal, Listener, read


def journal(path: Path, *listeners: Listener) -> Journal:
    """Open a journal as a run does."""
    return Journal(path, mission="m", run="r", listeners=listeners)


def write(path: Path, *messages: str) -> None:
    """Append events to a journal, as one run does."""
    with contextlib.closing(journal(path)) as made:
        for message in messages:
            made.write(NoteGiven(message=message))


def messages(path: Path) -> list[str]:
    """Return the messages of the events that a reader gets."""
    return [event.message for event in read(path) if isinstance(event, NoteGiven)]


def aside(path: Path) -> bytes:
    """Return the damaged lines that were moved to another file."""
    return path.with_name(path.name + ".damaged").read_bytes()


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
    assert not path.with_name(path.name + ".damaged").exists()


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_torn_tail_is_dropped(path: Path, cut: int) -> None:
    """A half-written last line is skipped by readers and moved aside by the next writer."""
    write(path, "a", "b")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert messages(path) == ["a"]
    write(path, "c")
    assert messages(path) == ["a", "c"]
    assert aside(path) == whole[:-cut].splitlines(keepends=True)[1]


def test_nothing_after_a_damaged_line_is_believed(path: Path) -> None:
    """Events after a damaged line are moved aside with it, because their cause is unknown."""
    write(path, "a", "b", "c")
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[1].replace(b'"message": "b"', b'"message": "x"')
    path.write_bytes(lines[0] + damaged + lines[2])
    assert messages(path) == ["a"]
    write(path, "d")
    assert messages(path) == ["a", "d"]
    assert aside(path) == damaged + lines[2]


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"\xff\xfe\n", b'{"sum": "2-00000000", "event": {}}\n', b"[]", b"\0"]
)
def test_no_other_line_is_an_event(path: Path, line: bytes) -> None:
    """A line with a wrong length or checksum is not an event, whatever it looks like."""
    write(path, "a")
    with path.open("ab") as file:
        file.write(line)
    assert messages(path) == ["a"]


def test_damage_is_never_thrown_away(path: Path) -> None:
    """Each damaged part is added to the file of those before."""
    write(path, "a")
    for word in (b"one", b"two"):
        with path.open("ab") as file:
            file.write(word)
        write(path)
    assert aside(path) == b"onetwo"


def test_a_journal_that_is_damaged_from_the_start_is_begun_anew(path: Path) -> None:
    """A file of something else is moved aside, and the run can write."""
    path.parent.mkdir()
    path.write_text("something else\n")
    write(path, "a")
    assert messages(path) == ["a"]
    assert aside(path) == b"something else\n"


def test_listeners_hear_of_what_is_on_the_disk(path: Path) -> None:
    """A listener that reads the file finds the event that it is called with."""
    heard: list[tuple[Event, list[Event]]] = []
    with contextlib.closing(journal(path, lambda e: heard.append((e, list(read(path)))))) as made:
        event = made.write(NoteGiven(message="a"))
    assert heard == [(event, [event])]
