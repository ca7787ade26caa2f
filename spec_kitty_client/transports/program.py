"""Run a program: in a session of its own, with a time limit, and with its output as bytes.

plumbum starts it. This module adds what plumbum 2.0.2 lacks: a time limit that reaches
grandchildren, a cancellation that ends the child, bytes instead of text, and an environment with
fewer variables. The child writes to unnamed files, so no pipe can fill up or be held open, and the
wait is for the end of the process itself. It has a session of its own, whose process group is ended
as a whole.
"""

import contextlib
import os
import select
import signal
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, TimeoutExpired
from typing import IO, Any, ClassVar

from plumbum import LocalPath
from plumbum.machines.local import LocalCommand, LocalEnv, LocalMachine

from spec_kitty_client.transports import Completed

__all__ = [
    "GRACE",
    "LARGEST",
    "LONGEST_WAIT",
    "CannotStart",
    "Program",
    "kill_all",
    "run",
    "run_async",
    "start",
    "stop",
    "stop_now",
    "wait",
    "wait_at_most",
]

GRACE = 4.0  # seconds between SIGTERM and SIGKILL
LONGEST_WAIT = 7 * 24 * 3600.0  # seconds; the system call counts milliseconds in 32 bits
LARGEST = 64 * 1024 * 1024  # bytes of output read back; the envelope is at the end


_started: weakref.WeakSet[Any] = weakref.WeakSet()


class CannotStart(OSError):
    """The operating system refused to start a program; nothing has happened."""


class _Nothing(LocalEnv):
    """An empty environment, because plumbum adds a call's variables to those of its machine."""

    def __init__(self) -> None:
        super().__init__()
        for name in list(self.keys()):
            del self[name]


class _Bare(LocalMachine):
    """This machine, with an environment that has the variables of the call only."""

    __slots__ = ()
    env = _Nothing()


class Program(LocalCommand):
    """A program that is started on the bare machine."""

    __slots__ = ()
    _bare: ClassVar[_Bare] = _Bare()

    @property
    def machine(self) -> LocalMachine:
        """The machine on which it is started."""
        return self._bare


def start(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    out: IO[bytes] | int,
    err: IO[bytes] | int,
    given: IO[bytes] | int = DEVNULL,
) -> Any:
    """Start a program in a session of its own, with exactly this environment.

    Raises:
        CannotStart: If the operating system refuses.
    """
    try:
        proc = Program(LocalPath(argv[0])).popen(
            argv[1:],
            cwd=str(cwd),
            env=dict(env),
            stdin=given,
            stdout=out,
            stderr=err,
            new_session=True,
        )
    except OSError as e:
        if not cwd.is_dir():
            msg = f"there is no folder {cwd} to run in: {e.strerror}"
            raise CannotStart(msg) from e
        msg = f"{argv[0]} cannot be started: {e.strerror or e}"
        raise CannotStart(msg) from e
    _started.add(proc)
    return proc


def run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], time_limit: float) -> Completed:
    """Run a program and wait for its end; an exception such as Ctrl-C ends it with its children.

    Args:
        argv: The path of the program, and its arguments.
        cwd: The folder to run in.
        env: Its whole environment.
        time_limit: Seconds after which it is ended, with all its children.

    Raises:
        CannotStart: If the operating system refuses.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        proc = start(argv, cwd=cwd, env=env, out=out, err=err)
        code: int | None = None
        try:
            code = wait_at_most(proc, time_limit)
        finally:
            if code is None:
                stop_now(proc)
        return _completed(argv, code, out, err, time_limit)


def wait_at_most(proc: Any, seconds: float) -> int | None:
    """Wait for the end of a process without polling, where the system allows it (Linux)."""
    if hasattr(os, "pidfd_open"):
        try:
            watched = os.pidfd_open(proc.pid)
        except ProcessLookupError:  # another thread has signalled it, and so reaped it
            return int(proc.wait())
        try:
            ended = select.poll()
            ended.register(watched, select.POLLIN)
            if not ended.poll(min(seconds, LONGEST_WAIT) * 1000):
                return None
        finally:
            os.close(watched)
        return int(proc.wait())  # a debugger may delay this
    with contextlib.suppress(TimeoutExpired):
        return int(proc.wait(timeout=seconds))
    return None


def stop_now(proc: Any) -> None:
    """End a process and its descendants; a second interruption only shortens the grace period."""
    family = _family([proc.pid])
    try:
        _end(proc.pid, signal.SIGTERM)
        wait_at_most(proc, GRACE)
    finally:
        _kill(proc.pid, family)
        proc.wait()


async def run_async(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], time_limit: float
) -> Completed:
    """Run a program under any anyio event loop; cancellation ends it with all its children.

    Raises:
        CannotStart: If the operating system refuses.
    """
    import anyio

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        proc = start(argv, cwd=cwd, env=env, out=out, err=err)
        code: int | None = None
        try:
            with anyio.move_on_after(time_limit):
                code = await wait(proc)
        finally:
            if code is None:
                await stop(proc)
        return _completed(argv, code, out, err, time_limit)


async def wait(proc: Any) -> int:
    """Wait for the end of a process under any anyio event loop."""
    import anyio.to_thread

    # A limiter of its own: calls must never queue for one of a limited number of threads.
    code: int = await anyio.to_thread.run_sync(
        proc.wait, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
    )
    return code


async def stop(proc: Any) -> None:
    """End a process and its descendants; a cancellation does not interrupt this."""
    import anyio

    with anyio.CancelScope(shield=True):
        family = _family([proc.pid])
        _end(proc.pid, signal.SIGTERM)
        with anyio.move_on_after(GRACE):
            await wait(proc)
        _kill(proc.pid, family)
        await wait(proc)


def kill_all() -> None:
    """Kill all programs that this process has started; for an exit without cleanup."""
    pids = [proc.pid for proc in tuple(_started) if proc.returncode is None]
    family = _family(pids)
    for pid in pids:
        _kill(pid, family)


def _family(pids: Sequence[int]) -> list[Any]:
    """Return the processes in the sessions of these programs, and all their descendants.

    A hook of git may have started one in a session of its own.
    """
    import psutil

    table = {process.pid: process for process in psutil.process_iter(["ppid"])}
    found, size = {pid for pid in table if _session(pid) in pids}, 0
    while size < len(found):
        size = len(found)
        found |= {pid for pid, process in table.items() if process.info["ppid"] in found}
    return [table[pid] for pid in found]


def _session(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return None


def _kill(pid: int, family: Sequence[Any]) -> None:
    import psutil

    _end(pid, signal.SIGKILL)
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()


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
    file.seek(max(0, size - LARGEST))
    return file.read()
