"""The host, called quickly: one import, and a fork for each call."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests import missions

__all__ = ["Completed", "Host"]


@dataclass(frozen=True)
class Completed:
    """What a call left behind."""

    exit_code: int
    stdout: str
    stderr: str


class Host:
    """A running interpreter of the host.

    Args:
        spec_kitty: The host's program.
        folder: Where it may put files; its HOME is in there.
    """

    def __init__(self, spec_kitty: Path, folder: Path) -> None:
        self.spec_kitty = spec_kitty
        self._folder = folder / "calls"
        self._folder.mkdir()
        home, temporary = folder / "home", folder / "tmp"
        home.mkdir()
        temporary.mkdir()
        who = {"NAME": "Recorder", "EMAIL": "recorder@example.invalid"}
        names = {f"GIT_{r}_{k}": v for r in ("AUTHOR", "COMMITTER") for k, v in who.items()}
        # Nothing of the caller's: what is recorded must not depend on whose machine it is.
        base = {"HOME": str(home), "TMPDIR": str(temporary), "LANG": "C.UTF-8"}
        base |= {"PATH": os.environ["PATH"], **names}
        self.env = missions.environment(spec_kitty, base)
        python = next(p for p in spec_kitty.parent.glob("python*") if not p.name.endswith("w"))
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("runner.py"), spec_kitty, self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.env,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

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
            RuntimeError: If its interpreter has died.
        """
        for name, text in {"stdin": stdin, "stdout": "", "stderr": ""}.items():
            (self._folder / name).write_text(text, encoding="utf-8")
        request = {"argv": argv, "cwd": str(cwd), "env": {**self.env, **(env or {})}}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.spec_kitty} does not start")
        said = [
            (self._folder / name).read_text(encoding="utf-8", errors="backslashreplace")
            for name in ("stdout", "stderr")
        ]
        return Completed(int(answer), *said)

    def for_missions(self, cwd: Path, argv: tuple[str, ...]) -> str:
        """Call the host in the way that `tests.missions` wants it.

        Raises:
            RuntimeError: If it failed.
        """
        done = self.call(cwd, argv)
        if done.exit_code != 0:
            raise RuntimeError(f"{argv[:4]}: {done}")
        return done.stdout
