"""A host, and a folder to measure it in."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import missions
from tests.bench.bounds import Dag
from tests.missions import Mission

__all__ = ["Lab", "environment", "say"]


@dataclass(frozen=True, kw_only=True)
class Lab:
    """The folder and environment in which one host is measured."""

    host: Path
    """Its program."""
    release: str
    base: Path
    """An existing folder, which the caller removes."""
    env: Mapping[str, str]

    @classmethod
    def of(cls, host: Path, base: Path, env: Mapping[str, str]) -> "Lab":
        """Ask a host for its release and make a folder for it."""
        done = subprocess.run(
            [str(host), "--version"], env=env, check=True, capture_output=True, text=True
        )
        release = done.stdout.split()[-1]
        folder = base / release
        folder.mkdir(parents=True)
        return cls(host=host.absolute(), release=release, base=folder, env=env)

    def mission(self, name: str, dag: Dag, *, lanes: int | None = None) -> Mission:
        """Make a mission, which serves as a template for copies."""
        say(f"{self.release}: a mission is made")
        root = self.base / name
        return missions.make(self.host, self.release, root, dag, env=self.env, lanes=lanes)


def environment(base: Path) -> dict[str, str]:
    """Return this environment with a HOME of its own: hosts write into it."""
    home = base / "home"
    home.mkdir()
    env = {**os.environ, "HOME": str(home)}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "Bench", f"GIT_{who}_EMAIL": "bench@example.invalid"}
    return env


def say(text: str) -> None:
    """Print the progress."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
