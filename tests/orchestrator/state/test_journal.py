"""Tests of `spec_kitty_orchestrator.state.journal`."""

import contextlib
from pathlib import Path

import pytest

from spec_kitty_orchestrator.state.journal import Event, Journal, read


def write(path: Path, *kinds: str) -> None:
    """Append events to a journal, as one run does."""
    with contextlib.closing(Journal(path, {"mission": "m", "run": "r"})) as journal:
        for kind in kinds:
            journal.write(kind)


def kinds(path: Path) -> list[str]:
    """Return the kinds of the events that are believed."""
    return [event["kind"] for event in read(path)]


def aside(path: Path) -> bytes:
    """Return what was moved aside."""
    return path.with_name(path.name + ".damaged").read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a journal is to be; the folder is not there yet."""
    return tmp_path / "deep" / "journal.jsonl"


def test_what_is_written_is_read(path: Path) -> None:
    """Every event has its time, its kind, the common fields and its own."""
    with contextlib.closing(Journal(path, {"run": "r"})) as journal:
        event = journal.write("lane", wp="WP01", text="ü \n \ud800 \x00")
    assert list(read(path)) == [event]
    assert event.keys() == {"at", "kind", "run", "wp", "text"}
    assert path.read_bytes().count(b"\n") == 1


def test_many_are_written_like_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of one kind go to the disk together, and each is told when all are there."""
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    told: list[int] = []
    journal = Journal(path, {"run": "r"}, [lambda _: told.append(len(list(read(path))))])
    with contextlib.closing(journal):
        made = journal.write_all("lane", [{"wp": "WP01"}, {"wp": "WP02"}])
    assert list(read(path)) == made
    assert [event["wp"] for event in made] == ["WP01", "WP02"]
    assert (len(synced), told) == (1, [2, 2])


def test_there_need_be_no_journal(path: Path) -> None:
    """A repository without a run has no events, and reading makes no file."""
    assert list(read(path)) == []
    assert not path.exists()


def test_a_later_run_appends(path: Path) -> None:
    """Opening a journal again loses nothing."""
    write(path, "a", "b")
    write(path, "c")
    assert kinds(path) == ["a", "b", "c"]
    assert not path.with_name(path.name + ".damaged").exists()


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_torn_tail_is_dropped(path: Path, cut: int) -> None:
    """A line that was half written when the power went is not believed, and moved aside."""
    write(path, "a", "b")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert kinds(path) == ["a"]
    write(path, "c")
    assert kinds(path) == ["a", "c"]
    assert aside(path) == whole[:-cut].splitlines(keepends=True)[1]


def test_nothing_after_a_damaged_line_is_believed(path: Path) -> None:
    """Events after a damaged one are moved aside with it: what led to them is not known."""
    write(path, "a", "b", "c")
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[1].replace(b'"kind": "b"', b'"kind": "x"')
    path.write_bytes(lines[0] + damaged + lines[2])
    assert kinds(path) == ["a"]
    write(path, "d")
    assert kinds(path) == ["a", "d"]
    assert aside(path) == damaged + lines[2]


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"\xff\xfe\n", b'{"sum": "2-00000000", "event": {}}\n', b"[]", b"\0"]
)
def test_no_other_line_is_an_event(path: Path, line: bytes) -> None:
    """What has no right length and checksum is no event, whatever it looks like."""
    write(path, "a")
    with path.open("ab") as file:
        file.write(line)
    assert kinds(path) == ["a"]


def test_damage_is_never_thrown_away(path: Path) -> None:
    """Each damage is added to what was moved aside before."""
    write(path, "a")
    for word in (b"one", b"two"):
        with path.open("ab") as file:
            file.write(word)
        write(path)
    assert aside(path) == b"onetwo"


def test_a_journal_that_is_damaged_from_the_start_is_begun_anew(path: Path) -> None:
    """A file that was something else is moved aside, and the run can write."""
    path.parent.mkdir()
    path.write_text("something else\n")
    write(path, "a")
    assert kinds(path) == ["a"]
    assert aside(path) == b"something else\n"


def test_listeners_hear_of_what_is_on_the_disk(path: Path) -> None:
    """A listener that looks at the file finds the event that it is told of."""
    heard: list[tuple[Event, list[Event]]] = []
    journal = Journal(path, {}, [lambda event: heard.append((event, list(read(path))))])
    with contextlib.closing(journal):
        event = journal.write("a")
    assert heard == [(event, [event])]
