"""Run agents on this machine, each under a keeper that outlives the orchestrator.

A lock proves whether a keeper is alive. The keeper inherits the locked file, and the operating
system releases the lock at its death, whatever the cause. The lock is taken before the keeper
starts, so that there is no moment in which a run exists and its state is unknown.
"""

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import anyio
import anyio.to_thread
from plumbum import LocalPath

from spec_kitty_client.transports.git import GIT_REDIRECTS
from spec_kitty_client.transports.program import Program
from spec_kitty_orchestrator.runners import AgentProcessSpec, ExitRecord, LeftProcess, keeper
from spec_kitty_orchestrator.runners.orphans import MARK, Orphans, Strays, add_mark, new_mark

__all__ = [
    "end_at_once",
    "end_strays",
    "has_processes",
    "is_alive",
    "launch",
    "result",
    "stop",
    "tail",
    "wait",
]

_TAIL = 512 * 1024  # bytes at the end of an output file that are read
_STOP_LIMIT = keeper.GRACE + keeper.KILL_LIMIT + 1.5  # seconds for a keeper to end its agent
_PRIVATE_FOLDER = 0o700

_keepers: dict[Path, Any] = {}
"""The keepers that this process started and has not reaped yet, by directory."""
_watched: set[Path] = set()
"""The directories whose keepers this process waits for."""


def launch(process: AgentProcessSpec) -> None:
    """Start an agent process under a keeper; see `Runner.launch`."""
    directory = process.directory
    _make_private(directory)
    prompt = process.prompt.encode("utf-8", "backslashreplace")
    keeper.write_private(directory / keeper.PROMPT, prompt)
    mark = new_mark(process.repository)
    spec = {
        "argv": process.argv,
        "cwd": str(process.cwd),
        "time_limit": process.time_limit,
        "max_log": process.max_log,
        "mark": mark,
    }
    keeper.write_record(directory / keeper.SPEC, spec)
    with _locked(directory) as lock, _private_file(directory / keeper.KEEPER_ERRORS) as errors:
        script = str(Path(keeper.__file__).absolute())
        _keepers[directory] = Program(LocalPath(sys.executable)).popen(
            ["-I", "-S", script, str(directory), str(lock)],
            cwd="/",
            env=_environment(process, mark),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=errors,
            new_session=True,
            pass_fds=(lock,),
        )


def _environment(process: AgentProcessSpec, mark: str) -> dict[str, str]:
    """Return the environment of the keeper, which the agent inherits."""
    inherited = {k: v for k, v in os.environ.items() if k not in GIT_REDIRECTS}
    return {**inherited, **process.env, MARK: add_mark(os.environ, mark)}


def _make_private(directory: Path) -> None:
    """Create a folder that only its owner can read, and the folders above it."""
    if not directory.parent.is_dir():
        with contextlib.suppress(FileExistsError):
            _make_private(directory.parent)
    directory.mkdir(mode=_PRIVATE_FOLDER)


def _private_file(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, keeper.PRIVATE), "wb")


@contextlib.contextmanager
def _locked(directory: Path) -> Generator[int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    lock = os.open(directory / keeper.LOCK, flags, keeper.PRIVATE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)  # without unlocking, because the keeper shares the lock


def is_alive(directory: Path) -> bool:
    """Return whether the keeper of a directory is alive."""
    try:
        lock = os.open(
            directory / keeper.LOCK, os.O_RDONLY | os.O_CLOEXEC
        )  # also on a read-only disk
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def has_processes(directory: Path) -> bool:
    """Return whether the keeper of a directory is alive, or was killed and has left processes."""
    if is_alive(directory):
        return True
    return _record(directory) is None and bool(Orphans(directory).find())


def result(directory: Path) -> ExitRecord:
    """Return how a dead process ended; if its keeper was killed, end its remaining processes."""
    record = _record(directory)
    if record is not None and sys.platform == "linux":
        return record
    left = Orphans(directory).end(grace=keeper.GRACE)  # without a subreaper, orphans get away
    return record or ExitRecord(reason="lost", left=left)


def end_strays(
    repository: Path, directories: Iterable[Path] = ()
) -> tuple[dict[int, str], list[LeftProcess]]:
    """End the processes of agent runs whose directories were removed.

    Args:
        repository: The primary checkout.
        directories: The directories of runs that exist, which are left alone.

    Returns:
        The processes that were alive, each with the name of its program, and those that are left.
    """
    strays = Strays(repository, directories)
    found = strays.find()
    left = strays.end(grace=keeper.GRACE) if found else []
    return found, list(ExitRecord(reason="lost", left=left).left)


def _record(directory: Path) -> ExitRecord | None:
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return ExitRecord(**json.loads((directory / keeper.EXIT).read_bytes()))
    return None


async def wait(directory: Path) -> ExitRecord:
    """Wait for the end of a process, also of an earlier orchestrator; see `Runner.wait`."""
    _watched.add(directory)
    record = await anyio.to_thread.run_sync(
        _end_of, directory, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
    )
    _watched.discard(directory)
    return record


def _end_of(directory: Path) -> ExitRecord:
    """Block until the lock is free, which means that the keeper is dead."""
    with contextlib.suppress(FileNotFoundError):
        lock = os.open(directory / keeper.LOCK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)
    _reap(directory)
    return result(directory)


def _reap(directory: Path) -> None:
    """Reap a keeper that this process started, so that no zombie is left."""
    if started := _keepers.pop(directory, None):
        started.wait()


def _pid(directory: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
        return int(json.loads((directory / keeper.STARTED).read_bytes())["pid"])
    return None


async def stop(directory: Path) -> ExitRecord:
    """End a process if it is alive, and return how it ended; see `Runner.stop`.

    The lock proves that the process with the recorded id is the keeper. A keeper that does not
    end is killed, with all processes of the run.
    """
    with anyio.move_on_after(_STOP_LIMIT):
        while not _tell(directory, signal.SIGTERM):  # noqa: ASYNC110 - another process changes it
            await anyio.sleep(0.01)
        return await wait(directory)
    left = await anyio.to_thread.run_sync(lambda: Orphans(directory).end(grace=0.0))
    _watched.discard(directory)
    return _record(directory) or ExitRecord(reason="lost", left=left)


def _tell(directory: Path, number: signal.Signals) -> bool:
    """Signal a living keeper; return False if it is alive and its process id is not known yet."""
    if not is_alive(directory):
        return True
    pid = _pid(directory)
    if pid is None:
        return False
    for each in (number, signal.SIGCONT):  # a SIGSTOP may have suspended it
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, each)
    return True


def end_at_once(seconds: float) -> None:
    """Have the keepers that this process started or waits for kill their agents, without grace.

    Args:
        seconds: How long to wait for their end.
    """
    directories = {*_watched, *_keepers}
    for directory in directories:
        if not _tell(directory, signal.SIGQUIT) and directory in _keepers:
            _keepers[directory].kill()  # it has not started its agent yet
    until = time.monotonic() + seconds
    while any(map(is_alive, directories)) and time.monotonic() < until:
        time.sleep(0.01)


def tail(directory: Path, name: str = keeper.OUTPUT) -> str:
    """Return the last 512 KiB of an output file, without a partial first line."""
    log = directory / name
    files = [
        log,
        *keeper.pieces_of(log),
    ]  # pieces, while the agent runs or if its keeper was killed
    text, cut = b"", False
    while files and not cut:
        part, cut = _end_of_file(files.pop(), _TAIL - len(text))
        text = part + text
    if cut:
        text = text.partition(b"\n")[2]
    return text.decode("utf-8", "backslashreplace")


def _end_of_file(path: Path, most: int) -> tuple[bytes, bool]:
    """Return the last bytes of a file, and whether there are others before them."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            return file.read(most), size > most
    except FileNotFoundError:
        return b"", False
