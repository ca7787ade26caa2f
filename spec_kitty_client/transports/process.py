"""A new host process for every call, on this machine.

plumbum starts it; the rest is ours, because of what plumbum 2.0.2 does not do: a time
limit that reaches grandchildren, a cancellation that ends the child, and bytes instead of
text. The child writes to unnamed files, so no pipe can fill up or be held open, and the
wait is for the end of the process itself. It has a session of its own, which is ended as
a whole.
"""

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import IO, Any

import anyio
import anyio.to_thread
from attrs import field, frozen
from plumbum import local

from spec_kitty_client.errors import HostNotFound
from spec_kitty_client.transports import Completed

__all__ = ["AsyncProcessTransport", "ProcessTransport", "host_environment"]

_GRACE = 5.0  # seconds between asking a host to end and ending it
_LARGEST_ANSWER = 64 * 1024 * 1024  # bytes read back; the answer is at the end

_SET = {
    "SPEC_KITTY_ENABLE_SAAS_SYNC": "0",
    "SPEC_KITTY_SYNC_DISABLE": "1",
    "SPEC_KITTY_NO_UPGRADE_CHECK": "1",
    "SPEC_KITTY_NO_NAG": "1",
    "SPEC_KITTY_NO_BANNER": "1",
    "SPEC_KITTY_NON_INTERACTIVE": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "PYTHONUTF8": "1",
}
_UNSET = (
    "SPECIFY_REPO_ROOT",
    "SPEC_KITTY_TEST_MODE",
    "SPEC_KITTY_CLI_VERSION",
    "SPEC_KITTY_FORCE_INTERACTIVE",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
)


def host_environment(
    executable: Path, base: Mapping[str, str], home: Path | None = None
) -> dict[str, str]:
    """Return the environment of a host call: no network, no prompt, no daemon.

    Args:
        executable: The host. Its folder comes first on PATH, because git's merge drivers
            call ``spec-kitty`` by name.
        base: What to start from.
        home: A HOME for the host alone, because hosts from 3.1 on write agent files into
            it. The user's own git settings stay in force.
    """
    env = {k: v for k, v in base.items() if k not in _UNSET} | _SET
    env.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
    env["PATH"] = os.pathsep.join([str(executable.parent), env.get("PATH", os.defpath)])
    if home is not None:
        settings = Path(env.get("HOME", "/")) / ".gitconfig"
        env.setdefault("GIT_CONFIG_GLOBAL", str(settings))
        env |= {"HOME": str(home), "SPEC_KITTY_HOME": str(home / ".spec-kitty")}
    return env


@frozen(kw_only=True)
class _Launcher:
    """Finds and starts the host. What both transports are made of."""

    repo: Path = field(default=Path(), converter=Path)
    """The folder in which the host runs: a repository, or anything inside one."""
    executable: str = "spec-kitty"
    """A name to be found on PATH, or a path."""
    env: Mapping[str, str] = field(factory=dict)
    """Set on top of this process's environment."""
    home: Path | None = None
    """A HOME for the host alone; None: the user's."""

    def locate(self) -> Path:
        """Return the absolute path of the host.

        Raises:
            HostNotFound: If there is no such program.
        """
        path = self.env.get("PATH", os.environ.get("PATH"))
        found = shutil.which(self.executable, path=path)
        if found is None:
            msg = (
                f"There is no program {self.executable!r}"
                + ("." if os.sep in self.executable else " on PATH.")
                + " Install the host: pip install spec-kitty-cli"
            )
            raise HostNotFound(msg)
        return Path(os.path.abspath(found))  # not resolved: a link's folder is the host's bin

    def start(self, args: Sequence[str], out: IO[bytes], err: IO[bytes]) -> Any:
        host = self.locate()
        env = host_environment(host, {**os.environ, **self.env}, self.home)
        # plumbum can only add to the environment it saw when it was imported
        surplus = [f"--unset={name}" for name in local.env.keys() if name not in env]  # noqa: SIM118
        program, *rest = ["env", *surplus, str(host), *args] if surplus else [str(host), *args]
        try:
            return local[program].popen(
                rest,
                cwd=str(self.repo),
                env=env,
                stdin=DEVNULL,
                stdout=out,
                stderr=err,
                new_session=True,
            )
        except OSError as e:
            msg = f"The host {host} cannot be started in {self.repo}: {e.strerror or e}"
            raise HostNotFound(msg) from e

    def completed(
        self, args: Sequence[str], code: int | None, out: IO[bytes], err: IO[bytes], limit: float
    ) -> Completed:
        return Completed(
            argv=(self.executable, *args),
            exit_code=code,
            stdout=_tail(out),
            stderr=_tail(err),
            time_limit=limit,
        )


def _tail(file: IO[bytes]) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LARGEST_ANSWER))
    return file.read()


def _end(pid: int, how: signal.Signals) -> None:
    """Signal every process of a session that was started with new_session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, how)


@frozen(kw_only=True)
class ProcessTransport(_Launcher):
    """Starts a host process for every call and waits for it."""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`. Ctrl-C ends the host with all its children."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            proc = self.start(args, out, err)
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
                _end(proc.pid, signal.SIGKILL)
                raise
            finally:
                alarm.cancel()
                kill.cancel()
            if late.is_set():
                _end(proc.pid, signal.SIGKILL)  # what the host left behind
            return self.completed(args, None if late.is_set() else code, out, err, time_limit)


@frozen(kw_only=True)
class AsyncProcessTransport(_Launcher):
    """The same, under any anyio event loop."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `AsyncTransport.run`."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            proc = self.start(args, out, err)
            code: int | None = None
            try:
                with anyio.move_on_after(time_limit):
                    code = await _wait(proc)
            finally:
                if code is None:
                    await _stop(proc)
            return self.completed(args, code, out, err, time_limit)


async def _wait(proc: Any) -> int:
    # A thread of its own: calls must never queue for one of a limited number.
    code: int = await anyio.to_thread.run_sync(
        proc.wait, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
    )
    return code


async def _stop(proc: Any) -> None:
    with anyio.CancelScope(shield=True):
        _end(proc.pid, signal.SIGTERM)
        with anyio.move_on_after(_GRACE):
            await _wait(proc)
        _end(proc.pid, signal.SIGKILL)
        await _wait(proc)
