"""The start of the commands and packages, in milliseconds beyond a bare Python."""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spec_kitty_orchestrator.state.events import RunStarted
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.journal import Journal
from tests import missions
from tests.bench.bounds import wide
from tests.bench.figures import figure
from tests.bench.lab import Lab, say

__all__ = ["COMMAND", "measure"]

COMMAND = str(Path(sys.executable).with_name("spec-kitty-orchestrator"))
_PYTHON = "Python itself"


def measure(env: Mapping[str, str], runs: int, lab: Lab | None) -> dict[str, Any]:
    """Return the time of each start beyond a bare Python, by clock and by processor.

    Args:
        env: HOME, and the git identity.
        runs: The number of repetitions.
        lab: The host for `status`; None: `status` is not measured.
    """
    starts = {
        _PYTHON: [sys.executable, "-c", "pass"],
        "--help": [COMMAND, "--help"],
        "--version": [COMMAND, "--version"],
        "import spec_kitty_client": [sys.executable, "-c", "import spec_kitty_client"],
        "import spec_kitty_orchestrator.cli": [
            *(sys.executable, "-c"),
            "import spec_kitty_orchestrator.cli",
        ],
    }
    for argv in starts.values():  # fills the caches of files and bytecode
        _start(argv, env)
    taken: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    say(f"start-up: {runs} runs")
    for _ in range(runs):
        for name, argv in starts.items():
            taken[name].append(_start(argv, env))
    bare = taken.pop(_PYTHON)
    found = {name: _over(some, bare) for name, some in taken.items()}
    python = {"wall_ms": figure(w for w, _ in bare), "cpu_ms": figure(c for _, c in bare)}
    found = {_PYTHON: python, **found}
    if lab is not None:
        say("start-up: status")
        argv, around = _status(lab)
        some = [_start(argv, around) for _ in range(3)]  # each takes about as long as the host
        found["status"] = _over(some, bare[: len(some)])
    return found


def _over(some: list[tuple[float, float]], bare: list[tuple[float, float]]) -> dict[str, Any]:
    pairs = list(zip(some, bare, strict=True))
    return {
        "over_ms": figure(wall - less for (wall, _), (less, _) in pairs),
        "over_cpu_ms": figure(cpu - less for (_, cpu), (_, less) in pairs),
    }


def _start(argv: list[str], env: Mapping[str, str]) -> tuple[float, float]:
    """Return the milliseconds from fork to exit, by clock and by processor."""
    nothing = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=nothing)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        raise RuntimeError(f"{argv} ended with exit code {os.waitstatus_to_exitcode(status)}")
    return wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def _status(lab: Lab) -> tuple[list[str], dict[str, str]]:
    """Return a `status` call of a started mission, and its folder and environment."""
    mission = lab.mission("status", wide(4))
    journal = Journal(StateFiles(mission.root).journal, mission=mission.slug, run="1")
    journal.write(RunStarted(settings={}))
    journal.close()
    around = missions.environment(lab.host, lab.env)
    argv = [COMMAND, "status", "--repo-root", str(mission.root)]
    return argv, around
