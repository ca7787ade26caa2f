"""The host under record, called as the SDK calls it."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from spec_kitty_client.transports import Transport
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.transports.warm import WarmTransport
from tests import missions

__all__ = ["Completed", "Host"]

_LIMIT = 300  # seconds for one call


@dataclass(frozen=True)
class Completed:
    """The result of a call."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass
class Host:
    """A host with a HOME of its own, and no settings of the caller.

    Inside its ``with`` block, its environment is that of this process, from which transports start,
    so that a record does not depend on the machine.
    """

    spec_kitty: Path
    folder: Path
    """The folder for its files, with its HOME."""
    warm: bool = True
    """Whether it is warm; otherwise each call is a process of its own."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Variables for its environment."""
    env: dict[str, str] = field(init=False)
    calls: int = field(default=0, init=False)
    _callers: dict[str, str] = field(default_factory=dict, init=False)
    _transports: dict[Path, Transport] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for path in (self.home, self.temporary):
            path.mkdir()
        who = {"NAME": "Recorder", "EMAIL": "recorder@example.invalid"}
        names = {f"GIT_{r}_{k}": v for r in ("AUTHOR", "COMMITTER") for k, v in who.items()}
        base = {"HOME": str(self.home), "TMPDIR": str(self.temporary), "LANG": "C.UTF-8"}
        base |= {"PATH": os.environ["PATH"], **names, **self.more}
        self.env = missions.environment(self.spec_kitty, base)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def __enter__(self) -> Self:
        self._callers = dict(os.environ)
        _become(self.env)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transports.clear()  # ends the server as well
        _become(self._callers)

    def call(
        self,
        cwd: Path,
        argv: tuple[str, ...],
        *,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Call the host.

        Raises:
            RuntimeError: If the host does not end in time.
        """
        self.calls += 1
        if stdin or env:
            return self._by_hand(cwd, argv, stdin, {**self.env, **(env or {})})
        done = self.transport(cwd).run(argv, time_limit=_LIMIT)
        if done.exit_code is None:
            raise RuntimeError(f"{argv} has not ended after {_LIMIT} s")
        return Completed(done.exit_code, _text(done.stdout), _text(done.stderr))

    def transport(self, cwd: Path) -> Transport:
        """Return the transport for a folder; all share a server."""
        if cwd not in self._transports:
            cold = ProcessTransport(repo=cwd, executable=str(self.spec_kitty))
            self._transports[cwd] = WarmTransport(cold, only=True) if self.warm else cold
        return self._transports[cwd]

    def _by_hand(
        self, cwd: Path, argv: tuple[str, ...], stdin: str, env: Mapping[str, str]
    ) -> Completed:
        """Call the host without a transport, with an input or with a PATH that lacks the host."""
        run = subprocess.run(
            [self.spec_kitty, *argv],
            cwd=cwd,
            env=env,
            input=stdin.encode(),
            capture_output=True,
            check=False,
            timeout=_LIMIT,
        )
        return Completed(run.returncode, _text(run.stdout), _text(run.stderr))

    def for_missions(self, cwd: Path, argv: tuple[str, ...]) -> str:
        """Call the host for `tests.missions` and return its stdout.

        Raises:
            RuntimeError: If the call failed.
        """
        done = self.call(cwd, argv)
        if "No such command 'agent'" in done.stderr + done.stdout:  # 4.0.0rc7, if it is warm
            done = self._by_hand(cwd, argv, "", self.env)
        if done.exit_code != 0:
            raise RuntimeError(f"{argv[:4]}: {done}")
        return done.stdout


def _become(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)


def _text(said: bytes) -> str:
    return said.decode("utf-8", "backslashreplace")
