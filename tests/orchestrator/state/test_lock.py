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
from spec_kitty_orchestrator.state.files import Places

HOLD = """\
import sys, time
from pathlib import Path
from spec_kitty_orchestrator.state.lock import only_run
from spec_kitty_orchestrator.state.files import Places
with only_run(Places(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Return the places of a repository."""
    return Places(tmp_path)


@pytest.fixture
def holder(places: Places) -> Iterator["subprocess.Popen[bytes]"]:
    """Return another process that has the lock."""
    source = str(Path(spec_kitty_orchestrator.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(places.root)],
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


def test_one_run_at_a_time(places: Places) -> None:
    """While a run is alive, a second one is refused with what to do; afterwards it is not."""
    with lock.only_run(places):
        assert lock.is_alive(places)
        with pytest.raises(AnotherRun, match="abort"), lock.only_run(places):
            pass
    assert not lock.is_alive(places)
    with lock.only_run(places):
        assert json.loads(places.live.read_text())["pid"] == os.getpid()


def test_the_lock_is_free_after_an_accident(places: Places) -> None:
    """A run that fails leaves no lock behind."""
    with pytest.raises(ZeroDivisionError), lock.only_run(places):
        raise ZeroDivisionError
    assert not lock.is_alive(places)


def test_a_repository_without_a_run_has_none(places: Places) -> None:
    """Asking makes no files."""
    assert not lock.is_alive(places)
    assert not lock.end_live_run(places, 1)
    assert list(places.root.iterdir()) == []


def test_files_of_ours_are_unseen_by_git(places: Places) -> None:
    """Journal, lock and logs never end up in somebody's commit."""
    places.make()
    for folder in (places.journal.parent, places.logs):
        assert (folder / ".gitignore").read_text() == "*\n"


def test_another_process_has_the_lock(places: Places, holder: "subprocess.Popen[bytes]") -> None:
    """The lock holds across processes, and is free when the other one is killed."""
    with pytest.raises(AnotherRun), lock.only_run(places):
        pass
    holder.kill()
    holder.wait()
    assert not lock.is_alive(places)


def test_a_live_run_is_ended(places: Places, holder: "subprocess.Popen[bytes]") -> None:
    """The process that has the lock gets SIGTERM, and is waited for."""
    assert lock.end_live_run(places, 30)
    assert holder.wait() == -signal.SIGTERM
    assert not lock.is_alive(places)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 0}', '{"pid": "x", "born": 1}'])
def test_nobody_is_signalled_on_a_guess(
    places: Places,
    holder: "subprocess.Popen[bytes]",
    monkeypatch: pytest.MonkeyPatch,
    text: str,
) -> None:
    """Without a record that can be believed, the run is left alone, and that is said."""
    monkeypatch.setattr(lock, "_BIRTH", 0.1)
    places.live.write_text(text)
    with pytest.raises(AnotherRun, match="did not end"):
        lock.end_live_run(places, 0.1)
    assert holder.poll() is None


def test_the_process_of_an_older_run_is_not_signalled(
    places: Places,
    holder: "subprocess.Popen[bytes]",
    bystander: "subprocess.Popen[bytes]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A number that now belongs to somebody else is told apart by the time of its birth."""
    monkeypatch.setattr(lock, "_BIRTH", 0.1)
    born = psutil.Process(bystander.pid).create_time() - 100
    places.live.write_text(json.dumps({"pid": bystander.pid, "born": born}))
    with pytest.raises(AnotherRun, match="did not end"):
        lock.end_live_run(places, 0.1)
    assert bystander.poll() is None
    assert holder.poll() is None
