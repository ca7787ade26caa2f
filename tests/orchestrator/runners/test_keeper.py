"""Tests of `spec_kitty_orchestrator.runners.keeper`: its files, and the end of processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from spec_kitty_orchestrator.runners import keeper
from tests.orchestrator.processes import eventually, gone

LIMIT = 4000
SYSTEM_PYTHON = Path("/usr/bin/python3")
"""An interpreter that every user may run."""


def written(path: Path, *parts: bytes) -> bytes:
    """Return the log file of an output written in parts."""
    log = keeper.CappedLog(path, LIMIT)
    for part in parts:
        log.write(part)
    log.close()
    return path.read_bytes()


@pytest.mark.parametrize("size", [0, 1, 1999, 2000, 2001, 2999, 3000, 3001, 3999, 4000])
@pytest.mark.parametrize("part", [1, 7, 4096])
def test_an_output_within_its_limit_is_whole(tmp_path: Path, size: int, part: int) -> None:
    """An output up to the limit is kept whole, in parts of any size."""
    text = bytes(i % 251 for i in range(size))
    parts = [text[i : i + part] for i in range(0, size, part)]
    assert written(tmp_path / "output.log", *parts) == text
    assert [path.name for path in tmp_path.iterdir()] == ["output.log"]


@pytest.mark.parametrize("size", [5001, 7300, 100_000])
@pytest.mark.parametrize("part", [7, 999, 1_000_000])
def test_an_output_over_its_limit_has_a_head_and_a_tail(
    tmp_path: Path, size: int, part: int
) -> None:
    """Of a longer output the head and the tail are kept, and a line counts the dropped bytes."""
    text = bytes(i % 251 for i in range(size))
    parts = [text[i : i + part] for i in range(0, size, part)]
    found = written(tmp_path / "output.log", *parts)
    head, rest = found[: LIMIT // 2], found[LIMIT // 2 :]
    line, _, tail = rest[1:].partition(b" bytes of output were dropped here]\n")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert LIMIT // 4 <= len(tail) <= LIMIT // 2
    assert int(line.strip(b"[")) == size - len(head) - len(tail)


def test_no_more_than_the_limit_is_on_the_disk(tmp_path: Path) -> None:
    """While an endless output goes on, its files never take more than the limit."""
    log = keeper.CappedLog(tmp_path / "output.log", LIMIT)
    for i in range(2000):
        log.write(b"%d " % i)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= LIMIT
    log.close()


def test_what_a_full_disk_does_not_take_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk output is lost, the file says how much, and the agent goes on."""
    write, full = os.write, [False]

    def write_if_possible(file: int, data: bytes) -> int:
        if full[0]:
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(keeper.os, "write", write_if_possible)
    log = keeper.CappedLog(tmp_path / "output.log", LIMIT)
    for full[0], text in ((False, b"one "), (True, b"two "), (False, b"three")):
        log.write(text)
    log.close()
    expected = "one three\n[4 bytes could not be written]\n"
    assert (tmp_path / "output.log").read_text() == expected


def test_a_piece_that_cannot_be_begun_costs_output_alone(tmp_path: Path) -> None:
    """A removed folder, or a piece that cannot be made, does not end a keeper."""
    (tmp_path / "output.log.1").mkdir()
    log = keeper.CappedLog(tmp_path / "output.log", LIMIT)
    log.write(b"x" * 3000)
    log.close()
    assert (tmp_path / "output.log").read_bytes().startswith(b"x" * 2000)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that ignores SIGTERM."""
    code = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print(flush=True)"
    argv = [sys.executable, "-I", "-S", "-c", f"{code}; time.sleep(100)"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def end(process: subprocess.Popen[bytes], grace: float = 0.0) -> list[dict[str, object]]:
    """End a process as a keeper does."""
    until = time.monotonic() + grace

    def find() -> dict[int, str]:
        return {process.pid: "sleeper"} if process.poll() is None else {}

    return keeper.end_all(find, time.sleep, lambda: until - time.monotonic())


def test_a_process_that_may_not_be_signalled_is_named(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keeper does not wait for a process of another user, and names it with the reason."""

    def refuse(_pid: int, _number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(keeper, "os", SimpleNamespace(kill=refuse))
    begin = time.monotonic()
    left = end(sleeper, grace=20.0)
    assert time.monotonic() - begin < 5
    why = "it belongs to another user"
    assert left == [{"pid": sleeper.pid, "command": "sleeper", "why": why}]


def test_a_process_that_does_not_die_is_named(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that outlives SIGKILL is waited for a bounded time, and named."""
    monkeypatch.setattr(keeper, "os", SimpleNamespace(kill=lambda _pid, _number: None))
    monkeypatch.setattr(keeper, "KILL_LIMIT", 0.2)
    (left,) = end(sleeper)
    assert left["why"] == "it did not end after SIGKILL"


def test_a_process_that_ends_late_is_not_named(sleeper: subprocess.Popen[bytes]) -> None:
    """A process that ignores SIGTERM is killed after the grace period, and is not left."""
    assert end(sleeper, grace=0.2) == []
    assert gone(sleeper.pid)


SETUID_AGENT = """\
import os, subprocess, sys
code = "import os; os.setresuid(0, 0, 0); os.write(1, b'.'); "
code += "os.execv('/bin/sleep', ['sleep', '60'])"
subprocess.Popen([sys.argv[1], "-I", "-S", "-c", code], stdout=subprocess.PIPE).stdout.read(1)
print("done", flush=True)
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not SYSTEM_PYTHON.exists(),
    reason="makes a program that runs as another user",
)
@pytest.mark.parametrize("how", ["exits", "is stopped", "takes too long"])
def test_a_process_of_another_user_is_left_and_named(how: str) -> None:
    """A process of root is left and named, and does not block the keeper of another user."""
    python = SYSTEM_PYTHON.resolve()
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True).stdout.strip())  # noqa: PLW1510
    try:
        folder.chmod(0o777)
        shutil.copy(python, folder / "root")
        (folder / "root").chmod(0o4755)
        record = _kept(folder, python, how)
    finally:
        shutil.rmtree(folder)
    (left,) = record["left"]
    os.kill(left["pid"], signal.SIGKILL)
    reasons = {"exits": "exited", "is stopped": "stopped", "takes too long": "deadline"}
    assert record["reason"] == reasons[how]
    assert left == {**left, "command": "sleep", "why": "it belongs to another user"}


def _kept(folder: Path, python: Path, how: str) -> dict[str, list[dict[str, int]]]:
    """Run an agent that leaves a process of root, under a keeper of another user."""
    code = SETUID_AGENT + ("" if how == "exits" else "import time; time.sleep(60)")
    shutil.copy(keeper.__file__, folder / "keeper.py")
    argv = [str(python), "-I", "-S", "-c", code, str(folder / "root")]
    limit = 1.0 if how == "takes too long" else 60.0
    spec = {"argv": argv, "cwd": str(folder), "time_limit": limit}
    (folder / keeper.SPEC).write_text(json.dumps(spec))
    (folder / keeper.PROMPT).touch()
    for path in folder.glob("*.*"):
        path.chmod(0o666)
    lock = os.open(folder, os.O_RDONLY)
    with subprocess.Popen(
        [str(python), "-I", "-S", str(folder / "keeper.py"), str(folder), str(lock)],
        pass_fds=(lock,),
        user=65534,
    ) as process:
        os.close(lock)
        if how == "is stopped":
            assert eventually(lambda: "done" in _text(folder / keeper.OUTPUT))
            process.terminate()
        process.wait(timeout=20)
    record: dict[str, list[dict[str, int]]] = json.loads((folder / keeper.EXIT).read_text())
    return record


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
