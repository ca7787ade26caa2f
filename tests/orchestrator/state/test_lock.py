"""Tests of `spec_kitty_orchestrator.state.lock`."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import spec_kitty_orchestrator
from spec_kitty_orchestrator.errors import AnotherRun, UsageProblem
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
    (tmp_path / ".git").mkdir()
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
    """Return an unrelated process."""
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


def test_one_run_at_a_time(files: StateFiles) -> None:
    """While a run is alive, a second one is refused with the remedy; later it is not."""
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
    assert [path.name for path in files.root.rglob("*")] == [".git"]


def test_files_of_ours_are_unseen_by_git(files: StateFiles) -> None:
    """Git ignores journal, lock and logs."""
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
    files.lock.write_text(text)
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
    files.lock.write_text(json.dumps({"pid": bystander.pid, "born": born}))
    with pytest.raises(AnotherRun, match="did not end"):
        lock.end_live_run(files, 0.1)
    assert bystander.poll() is None
    assert holder.poll() is None


@pytest.mark.parametrize("names", [[".kittify"], [".git/spec-kitty-orchestrator"]])
def test_no_second_run_is_let_in_when_files_are_removed(
    files: StateFiles, holder: "subprocess.Popen[bytes]", names: list[str]
) -> None:
    """If ``git clean -fdx`` or a user removes files, a second run is still refused."""
    for name in names:
        shutil.rmtree(files.root / name)
    assert lock.is_alive(files)
    with pytest.raises(AnotherRun), lock.only_run(files):
        pass
    assert lock.end_live_run(files, 30)
    assert holder.wait() == -signal.SIGTERM


def test_a_lock_that_is_removed_is_taken_again(files: StateFiles) -> None:
    """A live run whose lock file was removed takes the lock again."""
    with lock.only_run(files) as held:
        shutil.rmtree(files.lock.parent)
        held.keep()
        assert files.lock.exists()
        assert lock.is_alive(files)
    assert not lock.is_alive(files)


def test_a_run_ends_if_another_has_its_lock(files: StateFiles) -> None:
    """A run ends if another one has taken its lock."""
    with lock.only_run(files) as held:
        files.lock.unlink()
        files.live.unlink()
        with lock.only_run(files), pytest.raises(AnotherRun, match="another run has begun"):
            held.keep()


def test_the_lock_of_a_submodule_is_in_its_git_folder(tmp_path: Path) -> None:
    """The lock is in the git folder, also if ``.git`` is a file of a submodule or worktree."""
    (tmp_path / "modules" / "worktrees" / "one").mkdir(parents=True)
    (tmp_path / "modules" / "worktrees" / "one" / "commondir").write_text("../..\n")
    (tmp_path / "root").mkdir()
    for name in ("modules", "modules/worktrees/one"):
        (tmp_path / "root" / ".git").write_text(f"gitdir: ../{name}\n")
        found = StateFiles(tmp_path / "root").lock.resolve()
        assert found == tmp_path / "modules" / "spec-kitty-orchestrator" / "run.lock"


@pytest.mark.parametrize("name", [".kittify", ".kittify/logs", ".kittify/orchestrator"])
def test_no_link_is_followed(files: StateFiles, tmp_path: Path, name: str) -> None:
    """A committed symbolic link leads no file of the orchestrator out of the repository."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (files.root / name).parent.mkdir(exist_ok=True)
    (files.root / name).symlink_to(elsewhere)
    with pytest.raises(UsageProblem, match=r"is a symbolic link to .* Remove the link: rm "):
        files.make()
    assert list(elsewhere.iterdir()) == []


def test_only_the_user_can_read_the_files(files: StateFiles) -> None:
    """Other users of the machine cannot read prompts and answers."""
    with lock.only_run(files):
        for folder in (files.journal.parent, files.logs, files.lock.parent):
            assert folder.stat().st_mode & 0o777 == 0o700
        for file in (files.lock, files.live):
            assert file.stat().st_mode & 0o777 == 0o600
