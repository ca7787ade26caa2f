"""Unusable disks, folders and files: each ends with one sentence and no traceback."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from spec_kitty_orchestrator import run as session
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.preflight.plan import Plan
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.settings.sources import save
from spec_kitty_orchestrator.state.events import LaneReported, RunStarted
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.journal import FORMAT, Journal, read
from tests.orchestrator.commands import Command, Ended
from tests.orchestrator.hosts import SLUG
from tests.orchestrator.programs import Program

AGENTS = ("--impl-agent=script:true", "--review-agent=script:true")
RUN = ("orchestrate", SLUG, *AGENTS)
ALL = (RUN, ("status",), ("resume",), ("abort",))
Accident = Callable[[StateFiles], None]


def ran(root: Path, mission: str = SLUG, *, version: int = FORMAT) -> StateFiles:
    """Record a run, and return its files."""
    files = StateFiles(root)
    files.make()
    settings = Settings(impl_agent="script:true", review_agent="script:true")
    journal = Journal(files.journal, mission=mission, run="r", copy=files.copy(mission))
    journal.write_all(
        [
            RunStarted(settings=save(settings), format=version),
            LaneReported(wp="WP01", lane="planned"),
        ]
    )
    journal.close()
    return files


def complaint(ended: Ended) -> str:
    """Return the error line of a command."""
    assert "Traceback" not in ended.err
    assert ended.err.startswith("spec-kitty-orchestrator: ")
    assert ended.err.count("\n") == 1
    return ended.err


def in_place_of_kittify(files: StateFiles) -> None:
    """Put a file in the place of .kittify."""
    files.logs.parent.write_text("x")


def in_place_of_orchestrator(files: StateFiles) -> None:
    """Put a file in the place of the folder of the journal."""
    files.journal.parent.parent.mkdir()
    files.journal.parent.write_text("x")


def folder_in_place_of_journal(files: StateFiles) -> None:
    """Put a folder in the place of the journal."""
    files.journal.mkdir(parents=True)


def link_in_place_of_journal(files: StateFiles) -> None:
    """Put a link that leads out of the repository in the place of the journal."""
    files.journal.parent.mkdir(parents=True)
    files.journal.symlink_to("/etc/passwd")


def link_in_place_of_logs(files: StateFiles) -> None:
    """Put a link that leads out of the repository in the place of the logs."""
    files.logs.parent.mkdir()
    files.logs.symlink_to("/etc")


@pytest.mark.parametrize("words", ALL, ids=lambda words: str(words[0]))
@pytest.mark.parametrize(
    ("accident", "told"),
    [
        (in_place_of_kittify, "A file is in the place of a folder: move it away"),
        (in_place_of_orchestrator, "A file is in the place of a folder: move it away"),
        (folder_in_place_of_journal, "A folder is in the place of a file: move it away"),
        (link_in_place_of_journal, "A symbolic link is in the place of a file: remove it"),
        (link_in_place_of_logs, "Remove the link: rm "),
    ],
)
def test_a_file_in_the_way_is_one_sentence(
    host: Program, run: Command, words: tuple[str, ...], accident: Accident, told: str
) -> None:
    """Each command names the file that is in the way, and the remedy."""
    accident(StateFiles(Path.cwd()))
    ended = run(*words)
    assert ended.code == ExitCode.USAGE
    assert told in complaint(ended)
    assert str(Path.cwd() / ".kittify") in ended.err


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EROFS, "Read-only file system. Make the file system writable, then try again."),
        (errno.ENOSPC, "No space left on device. Make room on the disk, then try again."),
        (errno.EACCES, "Permission denied. Give yourself the permission, then try again."),
    ],
)
@pytest.mark.parametrize("words", [RUN, ("resume",), ("abort",)], ids=lambda words: str(words[0]))
def test_a_disk_that_takes_nothing_is_one_sentence(
    host: Program, run: Command, words: tuple[str, ...], number: int, told: str
) -> None:
    """On a full disk the journal stays as it is, and the error names the remedy."""
    files = ran(Path.cwd())
    before = files.journal.read_bytes()
    with mock.patch("os.write", side_effect=OSError(number, os.strerror(number))):
        ended = run(*words)
    assert ended.code in (ExitCode.INCOMPLETE, ExitCode.USAGE)
    assert told in complaint(ended)
    assert files.journal.read_bytes() == before


@pytest.mark.parametrize("words", ALL, ids=lambda words: str(words[0]))
def test_a_newer_journal_is_refused_and_left_alone(
    host: Program, run: Command, repo: Path, words: tuple[str, ...]
) -> None:
    """Each command says which package to upgrade, and changes nothing."""
    files = ran(repo, version=FORMAT + 1)
    before = {path: path.read_bytes() for path in (files.journal, files.copy(SLUG))}
    ended = run(*words)
    assert ended.code == ExitCode.USAGE
    assert "Nothing was changed. Run: pip install --upgrade" in complaint(ended)
    assert {path: path.read_bytes() for path in before} == before


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Collect the plans of runs instead of starting them."""
    plans: list[Plan] = []

    def begin(plan: Plan, *_: object) -> ExitCode:
        plans.append(plan)
        return ExitCode.DONE

    monkeypatch.setattr(session, "run_mission", begin)
    return plans


@pytest.mark.parametrize("damage", [b"#", b"\xff\xfe\n", b"\0" * 4096, b"\n\n{}\n", b""])
def test_resume_goes_on_with_a_damaged_journal(
    host: Program, run: Command, repo: Path, begun: list[Plan], damage: bytes
) -> None:
    """With a damaged first line, resume takes the settings from the copy."""
    files = ran(repo)
    lines = files.journal.read_bytes().splitlines(keepends=True)
    files.journal.write_bytes(damage + lines[0][1:] + lines[1])
    assert run("resume").code == ExitCode.DONE
    assert (begun[0].settings.mission, begun[0].settings.impl_agent) == (SLUG, "script:true")


def test_status_says_that_the_journal_is_damaged_and_writes_nothing(
    host: Program, run: Command, repo: Path
) -> None:
    """Status names the damage, the file, the consequence and the remedy."""
    files = ran(repo)
    files.journal.write_bytes(files.journal.read_bytes()[:60])
    before = sorted(repo.rglob("*"))
    ended = run("status")
    assert ended.code == ExitCode.DONE
    told = " ".join(ended.out.split())
    assert "is damaged: line 1 cannot be read. 2 events were read from the copies in" in told
    assert "`spec-kitty-orchestrator resume` goes on, and moves the damaged lines" in told
    found = json.loads(run("status", "--json").out)
    assert "is damaged" in found["journal_problem"]
    assert sorted(repo.rglob("*")) == before


def test_lost_settings_are_asked_for(host: Program, run: Command, repo: Path) -> None:
    """If journal and copy have lost the settings, resume asks the user to give them again."""
    files = ran(repo)
    for path in (files.journal, files.copy(SLUG)):
        path.write_bytes(b"#" + path.read_bytes()[1:])
    ended = run("resume")
    assert ended.code == ExitCode.USAGE
    assert "is damaged: line 1 cannot be read." in complaint(ended)
    assert "are lost, its policy among them. Give them again: " in ended.err
    assert f": spec-kitty-orchestrator orchestrate {SLUG} --impl-agent NAME" in ended.err


def test_a_run_says_what_it_repaired(host: Program, run: Command, repo: Path) -> None:
    """A run keeps the damaged lines in a file, and reports that once."""
    files = ran(repo)
    files.journal.write_bytes(b"#" + files.journal.read_bytes()[1:])
    host.says("start-implementation", {"message": "no"}, "TRANSITION_REJECTED")
    aside = files.journal.with_name("journal.damaged-1.jsonl")
    ended = run("resume")
    assert f"kept in {aside}" in ended.out.replace("\n", "")
    assert "damaged" not in run("resume").out
    assert aside.exists()
    assert [event.kind for event in read(files.journal)].count("journal-repaired") == 1


def test_paths_are_recorded_in_full(
    host: Program, run: Command, repo: Path, begun: list[Plan]
) -> None:
    """Paths are recorded in full, so that `resume` works from another folder."""
    assert run("policy", "init", "p.json").code == ExitCode.DONE
    agent = repo / "agent.sh"
    agent.write_text("#!/bin/sh\n")
    agent.chmod(0o755)
    words = ("--impl-agent=script:./agent.sh -x", "--review-agent=script:true", "--policy=p.json")
    assert run("orchestrate", SLUG, *words).code == ExitCode.DONE
    settings = begun[0].settings
    assert settings.impl_agent == f"script:{agent} -x"
    assert settings.policy == repo / "p.json"
