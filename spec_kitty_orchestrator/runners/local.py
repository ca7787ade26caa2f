"""Agents on this machine, each under a keeper that outlives the orchestrator.

Whether a keeper lives is proven, never guessed: it inherits a lock which the operating
system releases at its death, however it dies. The lock is taken before the keeper is
started, so there is no moment in which a run exists and nobody can tell.
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

from spec_kitty_client.transports.process import GIT_REDIRECTS
from spec_kitty_orchestrator.runners import Ended, Job, keeper

__all__ = ["is_alive", "launch", "result", "stop", "tail", "wait"]

_TAIL = 512 * 1024  # bytes of output that are looked at; the rest stays in the file

_keepers: dict[Path, Any] = {}
"""Those that were started here, until they have ended."""


def launch(job: Job) -> None:
    """Start a run; it goes on when this process ends."""
    job.directory.mkdir(parents=True)
    (job.directory / keeper.PROMPT).write_bytes(job.prompt.encode("utf-8", "backslashreplace"))
    spec = {
        "argv": job.argv,
        "cwd": str(job.cwd),
        "env": dict(job.env),
        "unset": GIT_REDIRECTS,
        "time_limit": job.time_limit,
    }
    keeper.write_record(job.directory / keeper.SPEC, spec)
    trouble = job.directory / keeper.TROUBLE
    with _locked(job.directory) as lock, trouble.open("wb") as errors:
        script = str(Path(keeper.__file__).absolute())
        _keepers[job.directory] = local[sys.executable].popen(
            ["-I", "-S", script, str(job.directory), str(lock)],
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
        os.close(lock)  # not unlocked: the keeper shares it


def is_alive(directory: Path) -> bool:
    """Return whether the run in a directory has a living keeper."""
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


def result(directory: Path) -> Ended:
    """Return how a run that is not alive ended."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return Ended(**json.loads((directory / keeper.EXIT).read_bytes()))
    return Ended(reason="lost")


async def wait(directory: Path) -> Ended:
    """Wait until a run has ended, whoever started it."""
    await anyio.to_thread.run_sync(
        _until_free, directory, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
    )
    return result(directory)


def _until_free(directory: Path) -> None:
    """Block until the keeper's lock is free, which is when it is dead."""
    with contextlib.suppress(FileNotFoundError):
        lock = os.open(directory / keeper.LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)
    _reap(directory)


def _reap(directory: Path) -> None:
    """Take the exit code of a keeper that was started here, so that no zombie stays."""
    if started := _keepers.pop(directory, None):
        started.wait()


def _pid(directory: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
        return int(json.loads((directory / keeper.BORN).read_bytes())["pid"])
    return None


async def stop(directory: Path) -> Ended:
    """End a run, if it is alive, and return how it ended.

    The lock is proof that the process with the recorded number is the keeper.
    """
    pid = _pid(directory)
    while pid is None and is_alive(directory):
        await anyio.sleep(0.01)  # the keeper writes its number first thing
        pid = _pid(directory)
    if pid is not None and is_alive(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    return await wait(directory)


def tail(directory: Path, name: str = keeper.OUTPUT) -> str:
    """Return the end of what an agent printed; the start of a cut line is left out."""
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
