"""The time of a call in a process that has made it before: the host's own time alone.

There is no start of an interpreter, no fork, no copied page and no pipe. No warm host can be
faster, so this is the lower bound for a call. Calls in one process share their state, so this is a
way to measure a host, not to call it.
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

from spec_kitty_client import Completed
from spec_kitty_client.transports.launchers import find
from spec_kitty_client.transports.process import ProcessTransport

__all__ = ["Alone", "Process"]

_HOST = Path(__file__).with_name("alone_host.py")


class Process:
    """One process of a host that makes every call itself.

    Args:
        cold: The cold transport of the host.
    """

    def __init__(self, cold: ProcessTransport) -> None:
        location = cold.location()
        if location is None:
            raise RuntimeError("there is no host")
        launch = find(location.words, location.head)
        argv = [*launch.interpreter, str(_HOST), location.words[0]]
        self.proc = subprocess.Popen(argv, env=location.env, stdin=PIPE, stdout=PIPE, text=True)

    def call(self, args: Sequence[str], folder: Path) -> dict[str, Any]:
        """Make a call, and return its code and outputs."""
        if self.proc.stdin is None or self.proc.stdout is None:
            raise RuntimeError("it has no pipes")
        self.proc.stdin.write(json.dumps([list(args), str(folder)]) + "\n")
        self.proc.stdin.flush()
        answer: dict[str, Any] = json.loads(self.proc.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self.proc.communicate()


class Alone:
    """A transport to a process that makes every call itself.

    Args:
        process: The process.
        cold: The cold transport of the same host, with the folder of the calls.
    """

    def __init__(self, process: Process, cold: ProcessTransport) -> None:
        self._process, self._folder = process, Path(cold.repo)
        self.git = cold.git
        self.identity = cold.identity

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`; the time limit is ignored."""
        told = self._process.call(args, self._folder)
        return Completed(
            argv=tuple(args),
            exit_code=told["exit_code"],
            stdout=told["stdout"].encode(),
            stderr=told["stderr"].encode(),
            time_limit=time_limit,
        )
