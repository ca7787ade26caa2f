"""Runs that are large: agents that print or write very much, and many work packages.

The peak memory is that of the orchestrator, of its keepers and of git, each process by itself.
The host's is not ours. The cost of a work package is the time between two that are done in which
neither an agent runs nor the host is asked, with a single agent at a time. On a busy machine the
seconds of the processor say more: those of the orchestrator and of the processes that have ended
below it, which are git, keepers and agents.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.bench import machine
from tests.bench.bounds import AgentRun, wide
from tests.bench.figures import figure
from tests.bench.lab import Lab, say
from tests.bench.stage import Call, Stage, in_front
from tests.bench.startup import COMMAND
from tests.missions import Mission

__all__ = ["costs", "measure", "table"]

_MANY = 60  # work packages
_LANES = 15  # execution lanes that they share
_SOME = 6  # work packages at each end of a mission, of whose costs the median is taken
_PAUSE = 0.1  # seconds between two looks at the memory
_AGENT = """\
import json, os, sys
wp, role = os.environ["SPEC_KITTY_WP"].lower(), os.environ["SPEC_KITTY_ROLE"]
if role == "review":
    print(json.dumps({"verdict": "approved", "summary": "good", "findings": []}))
    sys.exit()
os.makedirs(f"demo/{wp}", exist_ok=True)
"""
_SMALL = 'open(f"demo/{wp}/{wp}.py", "w").write("x = 1\\n")\n'
_PRINTS = """\
piece = (b"x" * 127 + b"\\n") * 8192
for _ in range(2048):
    sys.stdout.buffer.write(piece)
"""
_WRITES = """\
with open(f"demo/{wp}/data.csv", "w") as file:
    for number in range(300):
        file.write(f"{number},abcdefgh\\n" * 85000)
"""
_WRITES_MANY = """\
for number in range(3000):
    with open(f"demo/{wp}/{number}.csv", "w") as file:
        file.write(f"{number},abcdefgh\\n" * 8000)
"""
_ACTS = {
    "2 GB of output": _SMALL + _PRINTS,
    "a file of 300 MB": _WRITES,
    "3000 files of 100 kB": _WRITES_MANY,
}


def measure(lab: Lab) -> dict[str, Any]:
    """Return the peak memory of each large run, and what the work packages of the last one cost."""
    return {**_large(lab), f"{_MANY} work packages": _many(lab)}


def _large(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = {}
    env = {**lab.env, "PATH": in_front(lab.host.parent, lab.env["PATH"])}
    for name, act in _ACTS.items():
        say(f"{lab.release}: {name}")
        mission = lab.mission(name.replace(" ", "-"), wide(1))
        found[name] = _peaks(*_run(mission, env, _scripted(lab.base, act)))
    return found


def _many(lab: Lab) -> dict[str, Any]:
    say(f"{lab.release}: {_MANY} work packages")
    names = list(wide(_MANY))
    # More execution lanes than letters have names that git refuses.
    dag = {wp: [names[i - _LANES]] if i >= _LANES else [] for i, wp in enumerate(names)}
    mission = lab.mission("many", dag, lanes=_LANES)
    stage = Stage(
        base=lab.base / "stage",
        host=lab.host,
        repository=mission.root,
        implement=0.1,
        review=0.1,
    )
    env = {**lab.env, "PATH": in_front(stage.set(), lab.env["PATH"])}
    agents = ("--impl-agent", "claude-code", "--review-agent", "codex", "--max-concurrent", "1")
    spent: list[tuple[float, float]] = []
    peaks = _peaks(*_run(mission, env, agents, spent))
    return {**peaks, **costs(stage.calls(), stage.agents()), **cpu_costs(stage.calls(), spent)}


def _scripted(base: Path, act: str) -> tuple[str, ...]:
    script = base / "agent.py"
    script.write_text(_AGENT + act, encoding="utf-8")
    agent = f"script:{shlex.join([sys.executable, '-I', '-S', str(script)])}"
    return ("--impl-agent", agent, "--review-agent", agent)


def _run(
    mission: Mission,
    env: Mapping[str, str],
    options: Sequence[str],
    spent: list[tuple[float, float]] | None = None,
) -> tuple[float, dict[str, int]]:
    """Run a mission to its end; return the seconds, and the peak memory of each program in kB.

    Args:
        mission: The mission.
        env: The environment.
        options: Of the command.
        spent: Takes the seconds of the processor until each look, after its time.
    """
    argv = [COMMAND, "orchestrate", mission.slug, "--repo-root", str(mission.root), *options]
    log = mission.root.parent / f"{mission.root.name}.log"
    begun, peaks = time.perf_counter(), dict.fromkeys(("orchestrator", "keeper", "git"), 0)
    with log.open("wb") as said:
        proc = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        while proc.poll() is None:
            for process in (psutil.Process(proc.pid), *_below(proc.pid)):
                program, peak = _look(process, proc.pid)
                peaks[program] = max(peaks.get(program, 0), peak)
            if spent is not None and proc.poll() is None:
                spent.append((time.time(), machine.spent(proc.pid)))
            time.sleep(_PAUSE)
    if proc.returncode != 0:
        raise RuntimeError(log.read_text(encoding="utf-8", errors="replace")[-2000:])
    return time.perf_counter() - begun, peaks


def _below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _look(process: psutil.Process, orchestrator: int) -> tuple[str, int]:
    """Return which program a process is, and its peak memory in kB, as Linux tells it."""
    try:
        argv = process.cmdline()
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    except (psutil.Error, OSError):
        return "ended", 0
    peak = next((int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM:")), 0)
    if process.pid == orchestrator:
        return "orchestrator", peak
    if any(word.endswith("runners/keeper.py") for word in argv[:5]):
        return "keeper", peak
    return ("git" if os.path.basename(argv[0] if argv else "") == "git" else "others"), peak  # noqa: PTH119


def _peaks(seconds: float, peaks: Mapping[str, int]) -> dict[str, Any]:
    ours = ("orchestrator", "keeper", "git")
    return {
        "wall_s": figure([seconds]),
        **{f"{name}_peak_mb": figure([peaks[name] / 1024]) for name in ours},
    }


def cpu_costs(calls: Sequence[Call], spent: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return the seconds of the processor for the first and the last work packages."""
    ends = sorted(call.end for call in calls if call.to == "done" and not call.code)
    until = [max((cpu for at, cpu in spent if at <= end), default=0.0) for end in ends]
    each = [after - before for before, after in pairwise(until)]
    first, last = (sum(some) / _SOME for some in (each[:_SOME], each[-_SOME:]))
    return {
        "first_cpu_s": figure([first]),
        "last_cpu_s": figure([last]),
        "ratio_cpu_last_first": figure([last / first if first else 0.0]),
    }


def costs(calls: Sequence[Call], agents: Sequence[AgentRun]) -> dict[str, Any]:
    """Return what the first and the last work packages cost beside agents and host."""
    ends = sorted(call.end for call in calls if call.to == "done" and not call.code)
    busy = sorted([(c.start, c.end) for c in calls] + [(run.start, run.end) for run in agents])
    ours = [_idle(busy, start, end) for start, end in pairwise(ends)]
    host = [_idle(_gaps(busy), start, end) for start, end in pairwise(ends)]
    first, last = median(ours[:_SOME]), median(ours[-_SOME:])
    return {
        "first_cost_s": figure([first]),
        "last_cost_s": figure([last]),
        "ratio_last_first": figure([last / first]),
        "first_host_and_agents_s": figure([median(host[:_SOME])]),
        "last_host_and_agents_s": figure([median(host[-_SOME:])]),
    }


def _idle(busy: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """Return the seconds between two moments that no interval covers."""
    free, until = 0.0, start
    for begin, finish in busy:
        if finish > until and begin < end:
            free += max(0.0, begin - until)
            until = finish
    return free + max(0.0, end - until)


def _gaps(busy: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the intervals between these."""
    gaps, until = [], 0.0
    for begin, finish in busy:
        if begin > until:
            gaps.append((until, begin))
        until = max(until, finish)
    return [*gaps, (until, float("inf"))]


def table(found: Any) -> str:
    """Return the figures as Markdown."""
    names = sorted({name for one in found.values() for name in one})
    rows = [
        f"| {name} | {' | '.join(_cell(o.get(name)) for o in found.values())} |" for name in names
    ]
    head = f"| | {' | '.join(found)} |\n|---|{'---|' * len(found)}"
    return "\n".join([head, *rows]) + "\n"


def _cell(taken: Any) -> str:
    return f"{taken['median']:.3g}" if taken else ""
