"""Tests of `spec_kitty_orchestrator.cli.abort`."""

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from spec_kitty_orchestrator.cli.abort import Aborted, abort, abort_command, print_aborted
from spec_kitty_orchestrator.errors import AnotherRun, UsageProblem
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.runners import local
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.journal import Journal, event_from_dict, read
from spec_kitty_orchestrator.state.lock import only_run
from tests.orchestrator.processes import gone, number_in


def linked(repo: Path, name: str) -> Path:
    """Add a lane worktree."""
    path = repo / ".worktrees" / name
    git(repo, "worktree", "add", "--quiet", "-b", name, str(path))
    return path


def record(repo: Path, *events: tuple[str, dict[str, Any]], mission: str = "m") -> None:
    """Record the events of an earlier run."""
    files = StateFiles(repo)
    files.make()
    journal = Journal(files.journal, mission=mission, run="r")
    for kind, fields in events:
        journal.write(event_from_dict({"kind": kind, **fields}))
    journal.close()


def claimed(wp: str, workspace: Path) -> tuple[str, dict[str, Any]]:
    """Return the claim of a work package."""
    told = {"workspace": str(workspace), "prompt": "/p", "base": "b", "target": "work"}
    return "claimed", {"wp": wp, **told}


def kinds(repo: Path) -> list[str]:
    """Return the kinds of all events."""
    return [event.kind for event in read(StateFiles(repo).journal)]


def test_where_nothing_runs_nothing_is_ended(repo: Path) -> None:
    """An abort in a repository without a run says so and does nothing."""
    assert abort(repo, cleanup_worktrees=True) == Aborted()


def test_worktrees_stay_unless_asked_for(repo: Path) -> None:
    """An abort alone removes nothing, and is recorded."""
    path = linked(repo, "a")
    record(repo, claimed("WP01", path))
    assert abort(repo, cleanup_worktrees=False) == Aborted()
    assert path.is_dir()
    assert kinds(repo) == ["claimed", "aborted"]


def test_clean_worktrees_are_removed(repo: Path) -> None:
    """A clean-up removes the worktrees of recorded runs only; branches and commits stay."""
    mine, other = linked(repo, "mine"), linked(repo, "other")
    git(mine, "commit", "--quiet", "--allow-empty", "--message=work")
    head = git(mine, "rev-parse", "HEAD")
    record(repo, claimed("WP01", mine), claimed("WP02", mine))
    done = abort(repo, cleanup_worktrees=True)
    assert done == Aborted(removed=[str(mine)])
    assert not mine.exists()
    assert other.is_dir()
    assert git(repo, "rev-parse", "mine") == head


def test_uncommitted_work_is_left_and_named(repo: Path) -> None:
    """A worktree with changes or new files is left as it is, and the files are named."""
    dirty, clean = linked(repo, "dirty"), linked(repo, "clean")
    (dirty / "README.md").write_text("mine\n")
    (dirty / "a b.txt").write_text("new\n")
    record(repo, claimed("WP01", dirty), claimed("WP02", clean))
    done = abort(repo, cleanup_worktrees=True)
    assert done.removed == [str(clean)]
    assert done.left == {str(dirty): "holds uncommitted work: README.md, a b.txt"}
    assert (dirty / "a b.txt").read_text() == "new\n"


def test_the_primary_checkout_is_never_removed(repo: Path) -> None:
    """The user's own checkout stays, even if the journal names it."""
    record(repo, claimed("WP01", repo))
    assert abort(repo, cleanup_worktrees=True) == Aborted()
    assert (repo / "README.md").is_file()


def test_what_cannot_be_removed_is_left(repo: Path) -> None:
    """A folder that is not a worktree, or a locked worktree, is kept with git's reason."""
    strange, locked = repo.parent / "strange", linked(repo, "locked")
    strange.mkdir()
    git(repo, "worktree", "lock", str(locked))
    record(repo, claimed("WP01", strange), claimed("WP02", locked), claimed("WP03", repo / "no"))
    done = abort(repo, cleanup_worktrees=True)
    assert done.removed == []
    assert set(done.left) == {str(strange), str(locked)}
    assert strange.is_dir()
    assert locked.is_dir()


def test_several_missions_are_cleaned_up(repo: Path) -> None:
    """A clean-up reaches the worktrees of every mission in the journal."""
    one, two = linked(repo, "one"), linked(repo, "two")
    record(repo, claimed("WP01", one), mission="a")
    record(repo, claimed("WP01", two), mission="b")
    done = abort(repo, cleanup_worktrees=True)
    assert done.removed == [str(one), str(two)]


def sleeper(repo: Path) -> tuple[Path, int]:
    """Start an agent that sleeps; return its folder and its process id."""
    directory = StateFiles(repo).logs / "m" / "WP01" / "01-implement"
    code = "import os, time; f = open('own.pid', 'w'); f.write(f'{os.getpid()}\\n'); f.close()\n"
    process = local.AgentProcessSpec(
        directory=directory,
        argv=(sys.executable, "-I", "-S", "-c", code + "time.sleep(60)"),
        cwd=repo.parent,
        env={},
        prompt="",
        time_limit=60.0,
        repository=repo,
    )
    local.launch(process)
    return directory, number_in(repo.parent / "own.pid")


def test_agents_of_a_dead_run_are_ended(repo: Path) -> None:
    """An agent that outlived its orchestrator is ended, and that is recorded."""
    directory, pid = sleeper(repo)
    start = {"role": "implement", "number": 1, "agent": "x", "directory": str(directory)}
    record(repo, ("attempt-started", {"wp": "WP01", **start}))
    done = abort(repo, cleanup_worktrees=False)
    assert done.agents_ended == [str(directory)]
    assert gone(pid)
    assert kinds(repo) == ["attempt-started", "attempt-stopped", "aborted"]


@pytest.mark.parametrize("journal", [None, b"", b"\0" * 500, b'{"sum": "1-0'])
def test_agents_that_the_journal_has_lost_are_ended(repo: Path, journal: bytes | None) -> None:
    """Agents that a damaged journal has lost are ended, and the journal's content is kept."""
    directory, pid = sleeper(repo)
    files = StateFiles(repo)
    files.make()
    if journal is not None:
        files.journal.write_bytes(journal)
    assert abort(repo, cleanup_worktrees=False).agents_ended == [str(directory)]
    assert gone(pid)
    assert kinds(repo) == ["attempt-stopped", "aborted"]
    if journal:
        assert files.journal.with_name("journal.damaged-1.jsonl").read_bytes() == journal


@contextlib.contextmanager
def read_only(repo: Path, number: int, *parts: str) -> Iterator[None]:
    """Have nothing written below these folders of .kittify, also where the user may do anything."""
    places = [str(repo.joinpath(".kittify", part)) for part in parts]
    opened, made = os.open, os.mkdir

    def check(path: Any, *, writes: bool) -> None:
        if writes and isinstance(path, str | Path) and str(path).startswith(tuple(places)):
            raise OSError(number, os.strerror(number), str(path))

    def open_file(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        check(path, writes=bool(flags & (os.O_WRONLY | os.O_RDWR)))
        return opened(path, flags, *args, **kwargs)

    def make(path: Any, *args: Any, **kwargs: Any) -> None:
        check(path, writes=not Path(path).exists())
        made(path, *args, **kwargs)

    with mock.patch("os.open", open_file), mock.patch("os.mkdir", make):
        yield


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (errno.EROFS, ("",)),
        (errno.EACCES, ("orchestrator",)),
        (errno.ENOSPC, ("orchestrator/journal", "logs")),
    ],
)
def test_agents_are_ended_where_nothing_can_be_written(
    repo: Path, number: int, parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A read-only folder, a forbidden one, a full disk: the agents end, and that is told."""
    directory, pid = sleeper(repo)
    start = {"role": "implement", "number": 1, "agent": "x", "directory": str(directory)}
    record(repo, ("attempt-started", {"wp": "WP01", **start}))
    with read_only(repo, number, *parts), pytest.raises(UsageProblem) as caught:
        abort_command(repo_root=repo)
    assert gone(pid)
    assert capsys.readouterr().out.splitlines()[1] == f"Stopped the agent of {directory}"
    told = "The abort could not be recorded. "
    assert str(caught.value).startswith(told)
    assert os.strerror(number) in str(caught.value)
    assert kinds(repo) == ["attempt-started"]
    assert abort(repo, cleanup_worktrees=False) == Aborted()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("removed", [".kittify", ".kittify/logs", ".kittify/logs/m/WP01"])
def test_agents_whose_folders_are_gone_are_ended(repo: Path, removed: str) -> None:
    """After `git clean -fdx`, an agent and its keeper are found by the repository's mark."""
    _, pid = sleeper(repo)
    shutil.rmtree(repo / removed)
    done = abort(repo, cleanup_worktrees=False)
    assert done.agents_ended == []
    assert [each for each in done.processes_ended if each.startswith(f"{pid} (")]
    assert gone(pid)


def test_an_abort_is_a_run_of_its_own(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a new run has begun in the meantime, abort removes nothing."""
    path = linked(repo, "a")
    record(repo, claimed("WP01", path))
    monkeypatch.setattr("spec_kitty_orchestrator.cli.abort.end_live_run", lambda *_: True)
    with only_run(StateFiles(repo)), pytest.raises(AnotherRun):
        abort(repo, cleanup_worktrees=True)
    assert path.is_dir()


def test_what_was_done_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that was ended, removed or kept has its line, with any characters in its name."""
    print_aborted(
        Aborted(
            run_ended=True,
            agents_ended=["/logs/[red]"],
            processes_ended=["12 (sleep)"],
            removed=["/w/a"],
            left={"/w/b": "holds uncommitted work: x"},
        ),
        resumable=True,
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "The run was stopped.",
        "Stopped the agent of /logs/[red]",
        "Ended process 12 (sleep), of an agent whose folder was removed",
        "Removed /w/a; its branch and commits are still there.",
        "Kept /w/b: holds uncommitted work: x",
        "Continue it with `spec-kitty-orchestrator resume`.",
    ]
