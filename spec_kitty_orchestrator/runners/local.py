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
from collections.abc import Generator
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import anyio
import anyio.to_thread
from plumbum import local

from spec_kitty_client.transports.git import GIT_REDIRECTS
from spec_kitty_orchestrator.runners import AgentProcessSpec, ExitRecord, keeper

__all__ = ["is_alive", "launch", "result", "stop", "tail", "wait"]

_TAIL = 512 * 1024  # bytes at the end of an output file that are read

_keepers: dict[Path, Any] = {}
"""The keepers that this process started and has not reaped yet, by directory."""


def launch(process: AgentProcessSpec) -> None:
    """Start an agent process under a keeper; see `Runner.launch`."""
    process.directory.mkdir(parents=True)
    (process.directory / keeper.PROMPT).write_bytes(
        process.prompt.encode("utf-8", "backslashreplace")
    )
    spec = {
        "argv": process.argv,
        "cwd": str(process.cwd),
        "env": dict(process.env),
        "unset": GIT_REDIRECTS,
        "time_limit": process.time_limit,
    }
    keeper.write_record(process.directory / keeper.SPEC, spec)
    keeper_errors = process.directory / keeper.KEEPER_ERRORS
    with _locked(process.directory) as lock, keeper_errors.open("wb") as errors:
        script = str(Path(keeper.__file__).absolute())
        _keepers[process.directory] = local[sys.executable].popen(
            ["-I", "-S", script, str(process.directory), str(lock)],
            cwd="/",
            env=dict(os.environ),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=errors,
            new_session=True,
            pass_fds=(lock,),
        )


@contextlib.contextmanager
def _locked(directory: Path) -> Generator[int]:
    lock = os.open(directory / keeper.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)  # without unlocking, because the keeper shares the lock


def is_alive(directory: Path) -> bool:
    """Return whether the keeper of a directory is alive."""
    try:
        lock = os.open(directory / keeper.LOCK, os.O_RDWR | os.O_CLOEXEC)
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


def result(directory: Path) -> ExitRecord:
    """Return how a process that is not alive ended."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return ExitRecord(**json.loads((directory / keeper.EXIT).read_bytes()))
    return ExitRecord(reason="lost")


async def wait(directory: Path) -> ExitRecord:
    """Wait for the end of a process, whoever launched it; see `Runner.wait`."""
    await anyio.to_thread.run_sync(
        _until_free, directory, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
    )
    return result(directory)


def _until_free(directory: Path) -> None:
    """Block until the lock is free, which means that the keeper is dead."""
    with contextlib.suppress(FileNotFoundError):
        lock = os.open(directory / keeper.LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)
    _reap(directory)


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

    The lock proves that the process with the recorded id is the keeper.
    """
    pid = _pid(directory)
    while pid is None and is_alive(directory):
        await anyio.sleep(0.01)  # the keeper records its id at once
        pid = _pid(directory)
    if pid is not None and is_alive(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    return await wait(directory)


def tail(directory: Path, name: str = keeper.OUTPUT) -> str:
    """Return the last 512 KiB of an output file, without a partial first line."""
    try:
        with (directory / name).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            text = file.read()
    except FileNotFoundError:
        return ""
    if size > _TAIL:
        text = text.partition(b"\n")[2]
    return text.decode("utf-8", "backslashreplace")
