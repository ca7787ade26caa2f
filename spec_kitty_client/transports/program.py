"""A program that is owned: its session, its time and its bytes.

plumbum starts it; the rest is here, because of what plumbum 2.0.2 does not do: a time limit
that reaches grandchildren, a cancellation that ends the child, bytes instead of text, and
an environment with less in it. The child writes to unnamed files, so no pipe can fill up
or be held open, and the wait is for the end of the process itself. It has a session of its
own, which is ended as a whole.
"""

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import IO, Any

from plumbum import local

from spec_kitty_client.transports import Completed

__all__ = ["run", "run_async", "start"]

_GRACE = 5.0  # seconds between asking a program to end and ending it
_LARGEST = 64 * 1024 * 1024  # bytes of output read back; what matters is at the end


def start(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], out: IO[bytes], err: IO[bytes]
) -> Any:
    """Start a program in a session of its own, with no input and exactly this environment.

    Raises:
        OSError: If it cannot be started.
    """
    # plumbum can only add to the environment it saw when it was imported
    surplus = [f"--unset={name}" for name in local.env.keys() if name not in env]  # noqa: SIM118
    program, *rest = ["env", *surplus, *argv] if surplus else argv
    return local[program].popen(
        rest, cwd=str(cwd), env=dict(env), stdin=DEVNULL, stdout=out, stderr=err, new_session=True
    )


def run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], time_limit: float) -> Completed:
    """Run a program and wait for its end; Ctrl-C ends it with all its children.

    Raises:
        OSError: If it cannot be started.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        proc = start(argv, cwd=cwd, env=env, out=out, err=err)
        late = threading.Event()

        def stop() -> None:
            late.set()
            _end(proc.pid, signal.SIGTERM)
            kill.start()

        kill = threading.Timer(_GRACE, _end, (proc.pid, signal.SIGKILL))
        alarm = threading.Timer(time_limit, stop)
        alarm.daemon = kill.daemon = True
        alarm.start()
        try:
            code = proc.wait()
        except BaseException:
            stop()
            proc.wait()
            raise
        finally:
            alarm.cancel()
            kill.cancel()
            if late.is_set():
                _end(proc.pid, signal.SIGKILL)  # what it left behind
        return _completed(argv, None if late.is_set() else code, out, err, time_limit)


async def run_async(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], time_limit: float
) -> Completed:
    """Do the same under any anyio event loop; cancellation ends it with all its children.

    Raises:
        OSError: If it cannot be started.
    """
    import anyio

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        proc = start(argv, cwd=cwd, env=env, out=out, err=err)
        code: int | None = None
        try:
            with anyio.move_on_after(time_limit):
                code = await _wait(proc)
        finally:
            if code is None:
                await _stop(proc)
        return _completed(argv, code, out, err, time_limit)


async def _wait(proc: Any) -> int:
    import anyio.to_thread

    # A limiter of its own: calls must never queue for one of a limited number of threads.
    code: int = await anyio.to_thread.run_sync(
        proc.wait, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
    )
    return code


async def _stop(proc: Any) -> None:
    import anyio

    with anyio.CancelScope(shield=True):
        _end(proc.pid, signal.SIGTERM)
        with anyio.move_on_after(_GRACE):
            await _wait(proc)
        _end(proc.pid, signal.SIGKILL)
        await _wait(proc)


def _end(pid: int, how: signal.Signals) -> None:
    """Signal every process of a session that was started with new_session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, how)


def _completed(
    argv: Sequence[str], code: int | None, out: IO[bytes], err: IO[bytes], limit: float
) -> Completed:
    return Completed(
        argv=tuple(argv), exit_code=code, stdout=_tail(out), stderr=_tail(err), time_limit=limit
    )


def _tail(file: IO[bytes]) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LARGEST))
    return file.read()
