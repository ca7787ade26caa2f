"""Tests of `spec_kitty_orchestrator.cli.view`."""

import io
import json
from contextlib import suppress
from typing import Any

import pytest
from rich.console import Console

from spec_kitty_orchestrator.cli.view import Watcher, line, rows, table, watch
from spec_kitty_orchestrator.state.events import Event
from spec_kitty_orchestrator.state.history import History, recall
from spec_kitty_orchestrator.state.journal import event_from_dict


def event(kind: str, **fields: Any) -> Event:
    """Return an event as the journal has it."""
    about = {"kind": kind, "at": 1000.0, "mission": "m", "run": "r"}
    return event_from_dict({**about, **fields})


ATTEMPT = event(
    "attempt-started",
    wp="WP01",
    role="implement",
    number=1,
    agent="codex",
    directory="/r/.kittify/logs/m/WP01/01-implement",
)
FAILED = event("attempt-failed", wp="WP01", role="implement", reason="[red]no[/] luck", number=1)
STORY = [
    event("run-started", settings={}),
    event("lane", wp="WP01", lane="in_progress"),
    event("lane", wp="WP02", lane="planned"),
    ATTEMPT,
]


def history(*more: Event) -> History:
    """Return the history of some events."""
    return recall([*STORY, *more])["m"]


def shown(*more: Event, width: int = 200) -> str:
    """Return the table as text."""
    console = Console(file=io.StringIO(), width=width)
    console.print(table(rows(history(*more))))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_row_says_what_is_known() -> None:
    """Scripts find lane, agent, attempts, rounds, error and log of each work package."""
    first, second = rows(history(FAILED))
    assert (first["wp"], first["lane"], first["agent"]) == ("WP01", "in_progress", "codex")
    assert (first["running"], first["attempts"], first["rework_rounds"]) == (False, 1, 0)
    assert (first["last_error"], first["elapsed_s"]) == ("[red]no[/] luck", 0.0)
    assert first["log"] == "/r/.kittify/logs/m/WP01/01-implement"
    assert (second["agent"], second["elapsed_s"], second["log"]) == (None, None, None)
    json.dumps([first, second])


def test_lanes_of_the_host_win() -> None:
    """The present lanes of the host replace those that it reported to a run."""
    found = rows(history(), {"WP01": "done", "WP03": "planned"})
    assert [(row["wp"], row["lane"]) for row in found] == [("WP01", "done"), ("WP03", "planned")]


def test_the_table_shows_what_runs() -> None:
    """A running agent is shown with its role; text of agents is not read as markup."""
    assert "codex (implement)" in shown()
    text = shown(FAILED)
    assert "(implement)" not in text
    assert "[red]no[/] luck" in text
    assert "WP01/01-implement" in text


def test_the_table_fits_a_narrow_terminal() -> None:
    """No line is wider than the terminal."""
    assert max(map(len, shown(FAILED, width=60).splitlines())) <= 60


REVIEW = {"number": 2, "head": "h", "reviewer": "codex", "reference": "logs"}
EVENTS = [
    *STORY,
    FAILED,
    event("warning", message="x"),
    event("host-retry", attempt=1, because="x"),
    event("attempt-stopped", wp="WP01", role="review", number=1, reason="lost"),
    event("implemented", wp="WP01", number=1, head="0123456789abcdef"),
    event("verdict", wp="WP01", verdict="changes_requested", summary="no", **REVIEW),
    event("kept", wp="WP01", files=["a", "b"], where="refs/x/1", reason="it was left"),
    event("blocked", wp="WP01", reason="x"),
    event("trouble", wp="WP01", reason="x"),
    event("accepted", at_host="x"),
    event("merged", target="work", strategy="merge"),
    event("finish-failed", reason="x"),
    event(
        "run-ended",
        outcome="another_run",
        exit_code=4,
        unfinished={"WP01": "is blocked"},
        problem="the host",
        next=["resume"],
    ),
]


@pytest.mark.parametrize("told", EVENTS, ids=lambda e: str(e.kind))
def test_every_event_has_its_line(told: Event) -> None:
    """Each event that a user should see is a sentence that begins with the time."""
    text = line(told)
    assert text
    assert text[8] == " "


@pytest.mark.parametrize("kind", ["submitted", "dreamt"])
def test_other_events_are_for_the_journal_alone(kind: str) -> None:
    """Events that only the journal needs, and unknown events, are not shown."""
    assert line(event(kind, wp="WP01", head="h")) is None


def test_the_end_says_what_is_left() -> None:
    """The last line has the outcome, the unfinished work packages with reasons, and next steps."""
    text = line(EVENTS[-1]) or ""
    for words in ("the run ended: another run. the host", "WP01 is blocked", "next: resume"):
        assert words in text


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("nice \ud83d", "nice \\ud83d"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\0b\x9bc", "a\\x00b\\x9bc"),
        ("schön ✓ 😀\n\tok", "schön ✓ 😀\n\tok"),
    ],
)
def test_the_words_of_an_agent_are_text(words: str, seen: str) -> None:
    """Lone surrogates and escape sequences are shown as escapes, and do not steer the terminal."""
    told = event("attempt-failed", wp="WP01", role="review", reason=words)
    assert (line(told) or "").endswith(f"WP01 review failed: {seen}")
    table = shown(told)
    assert "\x1b" not in table
    assert "\ud83d" not in table


@pytest.mark.parametrize("as_json", [True, False])
def test_a_display_that_fails_ends_no_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    """An error of the display is reported once, and ends no run."""
    monkeypatch.setattr(Watcher, "_show", lambda *_: 1 / 0)
    with watch(Console(file=io.StringIO()), as_json=as_json) as watcher:
        for told in STORY:
            watcher(told)
    assert capsys.readouterr().err == (
        "The display failed: ZeroDivisionError('division by zero'). The run goes on; the journal "
        "has all of it\n"
    )


def test_a_repaired_journal_is_told_in_full() -> None:
    """The line about a repaired journal has the damage, the file that keeps it, and the effect."""
    text = line(event("journal-repaired", damaged=2, recovered=3, aside="/j/j-1"))
    for words in (
        "was damaged: 2 lines",
        "3 events were recovered",
        "kept in /j/j-1",
    ):
        assert words in (text or "")
    assert "written anew; nothing is lost" in (line(event("journal-repaired")) or "")


def test_a_pipe_gets_lines() -> None:
    """In a pipe, a run prints unwrapped lines of text."""
    console = Console(file=io.StringIO(), width=20)
    with watch(console, as_json=False) as watcher:
        for told in STORY:
            watcher(told)
    assert isinstance(console.file, io.StringIO)
    assert len(console.file.getvalue().splitlines()) == len(STORY)


def test_a_script_gets_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--json`` each event is one line, and there is no other output."""
    with watch(Console(), as_json=True) as watcher:
        for told in STORY:
            watcher(told)
    assert [json.loads(text) for text in capsys.readouterr().out.splitlines()] == [
        event.to_dict() for event in STORY
    ]


def test_a_terminal_gets_a_table() -> None:
    """On a terminal the table is shown at the end, below the lines of events."""
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with watch(console, as_json=False) as watcher:
        for told in STORY:
            watcher(told)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "rounds" in text
    assert "WP01 is in_progress" in text


def test_a_run_that_cannot_start_shows_no_table() -> None:
    """A run that cannot start shows its error and no table."""
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with suppress(ValueError), watch(console, as_json=False):
        raise ValueError
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


def terminal(height: int) -> Console:
    """Return a console that is a terminal of some height."""
    return Console(file=io.StringIO(), width=120, height=height, force_terminal=True)


def test_a_large_mission_shows_what_was_last() -> None:
    """On a small terminal the latest work packages are shown, and the rest is counted."""
    watcher = Watcher(terminal(8), as_json=False)
    for i in range(100):
        watcher(event("lane", wp=f"WP{i:02}", lane="planned"))
    watcher(event("lane", wp="WP07", lane="in_progress"))
    made = watcher.__rich__()
    assert list(made.columns[0].cells) == ["WP07", "WP96", "WP97", "WP98", "WP99"]
    assert made.caption == "the latest of 100: 99 planned, 1 in_progress"


def test_a_mission_that_fits_is_shown_whole() -> None:
    """All work packages are shown if they fit, or if the output is no terminal."""
    for console in (terminal(24), Console(file=io.StringIO(), width=120, height=8)):
        watcher = Watcher(console, as_json=False)
        for i in range(20):
            watcher(event("lane", wp=f"WP{i:02}", lane="planned"))
        made = watcher.__rich__()
        assert made.row_count == 20
        assert made.caption is None
