"""Tests of `spec_kitty_orchestrator.state.lock`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import spec_kitty_orchestrator
from spec_kitty_orchestrator.errors import AnotherRun
from spec_kitty_orchestrator.state import lock
from spec_kitty_orchestrator.state.files import StateFiles

HOLD = """\
import sys, time
from pathlib import Path
from spec_kitty_orchestrator.state.lock import only_run
from spec_kitty_orchestrator.state.files import StateFiles
with only_run(StateFiles(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def files(tmp_path: Path) -> StateFiles:
    """Return the files of a repository."""
    return StateFiles(tmp_path)


@pytest.fixture
def holder(files: StateFiles) -> Iterator["subprocess.Popen[bytes]"]:
    """Return another process that has the lock."""
    source = str(Path(spec_kitty_orchestrator.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(files.root)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """Return a process that has nothing to do with all this."""
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


def test_one_run_at_a_time(files: StateFiles) -> None:
    """While a run is alive, a second one is refused with what to do; afterwards it is not."""
    with lock.only_run(files):
        assert lock.is_alive(files)
        with pytest.raises(AnotherRun, match="abort"), lock.only_run(files):
            pass
    assert not lock.is_alive(files)
    with lock.only_run(files):
        assert json.loads(files.live.read_text())["pid"] == os.getpid()


def test_the_lock_is_free_after_an_accident(files: StateFiles) -> None:
    """A run that fails leaves no lock behind."""
    with pytest.raises(ZeroDivisionError), lock.only_run(files):
        raise ZeroDivisionError
    assert not lock.is_alive(files)


def test_a_repository_without_a_run_has_none(files: StateFiles) -> None:
    """Asking for a live run creates no files."""
    assert not lock.is_alive(files)
    assert not lock.end_live_run(files, 1)
    assert list(files.root.iterdir()) == []


def test_files_of_ours_are_unseen_by_git(files: StateFiles) -> None:
    """Journal, lock and logs never end up in somebody's commit."""
    files.make()
    for folder in (files.journal.parent, files.logs):
        assert (folder / ".gitignore").read_text() == "*\n"


def test_another_process_has_the_lock(files: StateFiles, holder: "subprocess.Popen[bytes]") -> None:
    """The lock works across processes, and is free after a kill."""
    with pytest.raises(AnotherRun), lock.only_run(files):
        pass
    holder.kill()
    holder.wait()
    assert not lock.is_alive(files)


def test_a_live_run_is_ended(files: StateFiles, holder: "subprocess.Popen[bytes]") -> None:
    """The process that has the lock gets SIGTERM, and is waited for."""
    assert lock.end_live_run(files, 30)
    assert holder.wait() == -signal.SIGTERM
    assert not lock.is_alive(files)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 0}', '{"pid": "x", "born": 1}'])
def test_nobody_is_signalled_on_a_guess(
    files: StateFiles,
    holder: "subprocess.Popen[bytes]",
    monkeypatch: pytest.MonkeyPatch,
    text: str,
) -> None:
    """Without a valid record of its process, a live run is not signalled, and the error says so."""
    monkeypatch.setattr(lock, "_STARTUP", 0.1)
    files.live.write_text(text)
    with pytest.raises(AnotherRun, match="did not end"):
        lock.end_live_run(files, 0.1)
    assert holder.poll() is None


def test_the_process_of_an_older_run_is_not_signalled(
    files: StateFiles,
    holder: "subprocess.Popen[bytes]",
    bystander: "subprocess.Popen[bytes]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reused process id is recognised by the start time of the process."""
    monkeypatch.setattr(lock, "_STARTUP", 0.1)
    born = psutil.Process(bystander.pid).create_time() - 100
    files.live.write_text(json.dumps({"pid": bystander.pid, "born": born}))
    with pytest.raises(AnotherRun, match="did not end"):
        lock.end_live_run(files, 0.1)
    assert bystander.poll() is None
    assert holder.poll() is None
