"""Tests of `spec_kitty_orchestrator.state.recollection`: a damaged journal loses no run."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.state.events import (
    AttemptStarted,
    Event,
    LaneReported,
    NoteGiven,
    RunStarted,
)
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.journal import FORMAT, Journal, read
from spec_kitty_orchestrator.state.recollection import attempt_folders, recollect, repair

Damage = Callable[[list[bytes]], list[bytes]]
DAMAGE: dict[str, Damage] = {
    "first line": lambda lines: [b"#" + lines[0][1:], *lines[1:]],
    "first lines of all": lambda lines: [line[:30] + b"#" + line[31:] for line in lines],
    "line in the middle": lambda lines: [*lines[:2], lines[2][:-9] + b"\n", *lines[3:]],
    "last line cut": lambda lines: [*lines[:-1], lines[-1][:20]],
    "lines missing": lambda lines: [lines[0], *lines[3:]],
    "end missing": lambda lines: lines[:2],
    "not UTF-8": lambda lines: [lines[0], b"\xff\xfe\x00\n", *lines[2:]],
    "zeros": lambda lines: [b"\0" * sum(map(len, lines))],
    "empty": lambda lines: [],
    "two lines in one": lambda lines: [lines[0][:-1], *lines[1:]],
    "a huge line": lambda lines: [lines[0], b"x" * 3_000_000 + b"\n", *lines[1:]],
}


@pytest.fixture
def files(tmp_path: Path) -> StateFiles:
    """Return the files of a repository."""
    made = StateFiles(tmp_path)
    made.make()
    return made


def play(files: StateFiles, mission: str, at: float = 1.0) -> list[Event]:
    """Write the events of a run, and return them."""
    times = iter(float(at + n) for n in range(100))
    copy = files.copy(mission)
    journal = Journal(files.journal, mission=mission, run="r", copy=copy, now=lambda: next(times))
    directory = str(files.logs / mission / "WP01" / "01-implement")
    with contextlib.closing(journal):
        return [
            journal.write(event)
            for event in (
                RunStarted(settings={"merge": True}),
                LaneReported(wp="WP01", lane="planned"),
                AttemptStarted(
                    wp="WP01", role="implement", number=1, agent="codex", directory=directory
                ),
                NoteGiven(message="x"),
            )
        ]


def damage(files: StateFiles, how: Damage) -> bytes:
    """Damage the journal, and return its bytes."""
    lines = how(files.journal.read_bytes().splitlines(keepends=True))
    files.journal.write_bytes(b"".join(lines))
    return files.journal.read_bytes()


def test_a_whole_journal_is_left_alone(files: StateFiles) -> None:
    """Without damage nothing is said and nothing is written."""
    events = play(files, "m")
    before = files.journal.read_bytes()
    found = recollect(files)
    assert found.events == events
    assert found.problem() is None
    assert repair(found) is None
    assert files.journal.read_bytes() == before


@pytest.mark.parametrize("how", DAMAGE.values(), ids=DAMAGE.keys())
def test_lost_events_come_from_the_copy(files: StateFiles, how: Damage) -> None:
    """After any damage, journal and copy have all events in their order; reading writes nothing."""
    events = [*play(files, "one", at=1), *play(files, "two", at=11)]
    before = damage(files, how)
    found = recollect(files)
    assert found.events == events
    assert list(found.histories()) == ["one", "two"]
    assert files.journal.read_bytes() == before


@pytest.mark.parametrize("how", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_repaired_journal_is_whole(files: StateFiles, how: Damage) -> None:
    """A repair makes the journal whole and keeps the unreadable lines in another file."""
    events = [*play(files, "one", at=1), *play(files, "two", at=11)]
    before = damage(files, how)
    event = repair(recollect(files))
    assert list(read(files.journal)) == events
    assert recollect(files).problem() is None
    if event and event.aside:
        assert Path(event.aside).read_bytes() in before
        assert Path(event.aside).name == "journal.damaged-1.jsonl"
        assert event.damaged > 0


def test_each_damage_is_kept(files: StateFiles) -> None:
    """A second damage is kept beside the first."""
    for text in (b"one\n", b"two\n"):
        play(files, "m")
        with files.journal.open("ab") as journal:
            journal.write(text)
        repair(recollect(files))
    kept = [files.journal.with_name(f"journal.damaged-{n}.jsonl").read_bytes() for n in (1, 2)]
    assert kept == [b"one\n", b"two\n"]


def test_without_a_copy_the_sound_lines_are_used(files: StateFiles) -> None:
    """Without a copy, the sound lines are used, and the user gets a message."""
    events = play(files, "m")
    files.copy("m").unlink()
    damage(files, DAMAGE["line in the middle"])
    found = recollect(files)
    assert found.events == [events[0], events[1], events[3]]
    problem = found.problem() or ""
    assert f"The journal {files.journal} is damaged: line 3 cannot be read." in problem
    assert "`spec-kitty-orchestrator resume` goes on" in problem


def test_a_mission_of_which_only_logs_are_left_is_known(files: StateFiles) -> None:
    """Without journal and copy, the folders of attempts show that there was a run."""
    play(files, "m")
    (files.logs / "m" / "WP01" / "01-implement").mkdir(parents=True)
    for path in (files.journal, files.copy("m")):
        path.write_bytes(b"\0\n")
    assert list(recollect(files).histories()) == ["m"]
    assert [path.name for path in attempt_folders(files.logs / "m")] == ["01-implement"]


def test_a_damaged_copy_does_no_harm(files: StateFiles) -> None:
    """A damaged copy does not make a whole journal incomplete."""
    events = play(files, "m")
    files.copy("m").write_bytes(b"\xff\n" + files.copy("m").read_bytes()[9:])
    found = recollect(files)
    assert (found.events, found.problem()) == (events, None)


def test_a_clock_that_was_set_back_changes_no_order(files: StateFiles) -> None:
    """A lost line is placed after its predecessor in the copy, with any timestamp."""
    events = [*play(files, "m", at=100), *play(files, "m", at=1)]
    damage(files, lambda lines: [lines[0], *lines[2:5], *lines[6:]])
    assert recollect(files).events == events


@pytest.mark.parametrize("where", ["journal", "copy"])
def test_a_newer_format_changes_nothing(files: StateFiles, where: str) -> None:
    """A newer version's journal, or copy of it, is refused."""
    play(files, "m")
    path = files.journal if where == "journal" else files.copy("m")
    newer = Journal(path, mission="m", run="r")
    newer.write(RunStarted(settings={}, format=FORMAT + 1))
    newer.close()
    with pytest.raises(UsageProblem, match="newer version"):
        recollect(files)


@pytest.mark.parametrize("name", [".kittify", ".kittify/orchestrator", ".kittify/logs"])
def test_no_link_is_read(tmp_path: Path, name: str) -> None:
    """A committed symbolic link makes no command read other files."""
    files = StateFiles(tmp_path / "repo")
    (files.root / name).parent.mkdir(parents=True)
    (files.root / name).symlink_to(tmp_path)
    with pytest.raises(UsageProblem, match="symbolic link"):
        recollect(files)


def test_a_folder_in_the_place_of_the_journal_is_told(files: StateFiles) -> None:
    """A journal that cannot be opened is an error with its path, not an empty journal."""
    files.journal.mkdir()
    with pytest.raises(IsADirectoryError):
        recollect(files)
