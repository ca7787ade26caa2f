"""Whole missions on the real host with agents that only wait, by any orchestrator."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from spec_kitty_client import Client
from spec_kitty_client.transports.process import ProcessTransport
from tests.bench import machine
from tests.bench.bounds import Dag, Trace, chain, layered, most_at_once, wide
from tests.bench.figures import figure
from tests.bench.lab import Lab, say
from tests.bench.stage import Call, Stage, in_front
from tests.bench.startup import COMMAND
from tests.missions import Mission

__all__ = ["OURS", "Plan", "measure"]

OURS = (
    f"{shlex.quote(COMMAND)} orchestrate --mission {{mission}} --repo-root {{root}} "
    "--max-concurrent {slots} --impl-agent claude-code --review-agent codex"
)
_LONGEST = 1800.0  # seconds for one run


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The orchestrators, missions and repetitions to measure."""

    orchestrators: Mapping[str, str]
    """A command line by name, with {mission}, {root} and {slots} in it."""
    runs: int
    shapes: tuple[str, ...]
    slots: int = 4
    implement: float = 5.0
    review: float = 2.0
    seed: int = 0
    commits: bool = False
    keep: Path | None = None
    """The folder for the traces of every run."""

    def graphs(self) -> dict[str, Dag]:
        """Return the missions by name."""
        every = {"8 wide": wide(8), "chain of 4": chain(4), "layered 12": layered(12, self.seed)}
        return {name: every[name] for name in self.shapes}


def measure(lab: Lab, plan: Plan) -> dict[str, Any]:
    """Return the figures of each orchestrator on each mission. Their runs alternate."""
    found: dict[str, dict[str, Any]] = {name: {} for name in plan.orchestrators}
    for shape, dag in plan.graphs().items():
        mission = lab.mission(shape.replace(" ", "-"), dag)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in plan.orchestrators}
        for number in range(plan.runs):
            for name in plan.orchestrators:
                say(f"{lab.release}, {shape}: {name}, run {number + 1} of {plan.runs}")
                folder = lab.base / "run"
                runs[name].append(_run(lab, mission, folder, plan, name))
                if plan.keep:
                    kept = f"{lab.release} {shape} {name} {number + 1}".replace(" ", "-")
                    shutil.copytree(folder, plan.keep / kept, symlinks=True)
                shutil.rmtree(folder)
        for name, some in runs.items():
            found[name][shape] = _summary(some)
    return found


def _run(lab: Lab, mission: Mission, base: Path, plan: Plan, name: str) -> dict[str, Any]:
    """Run an orchestrator once, on a mission of its own."""
    here = replace(mission, root=base / "project")
    shutil.copytree(mission.root, here.root, symlinks=True)
    stage = Stage(
        base=base,
        host=lab.host,
        repository=here.root,
        implement=plan.implement,
        review=plan.review,
        commits=plan.commits,
    )
    around = {**lab.env, "PATH": in_front(stage.set(), lab.env["PATH"])}
    words = {"mission": here.slug, "root": shlex.quote(str(here.root)), "slots": plan.slots}
    argv = shlex.split(plan.orchestrators[name].format(**words))
    load = machine.Load()
    with (base / "said.log").open("wb") as said:
        code, started, ended, cpu = _wait(argv, here.root, around, said)
    other = load.other(cpu)
    calls, runs = stage.calls(), stage.agents()
    client = Client(
        transport=ProcessTransport(repo=here.root, executable=str(lab.host), env=lab.env)
    )
    lanes = set(client.mission_state(here.slug).lanes().values())
    if code != 0 or lanes != {"done"} or not calls or not runs:
        end = (base / "said.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        return {"failed": f"exit code {code}, lanes {sorted(lanes)}: {end}"}
    trace = Trace(
        dag=here.dag,
        slots=plan.slots,
        started=started,
        ended=ended,
        first_answer=min(call.end for call in calls),
        done={str(c.wp): c.end for c in calls if c.to == "done" and not c.code},
        runs=runs,
    )
    return {**_figures(trace, stage), "cpu_s": cpu, "other_load": other, "calls": _by_verb(calls)}


def _wait(
    argv: list[str], folder: Path, env: Mapping[str, str], said: Any
) -> tuple[int, float, float, float]:
    """Run a program; return its exit code, start, end and processor seconds."""
    started = time.time()
    proc = subprocess.Popen(
        argv,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )
    # Only the process that waits for it gets its processor seconds.
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(proc.pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, _LONGEST)
    _, status, usage = os.wait4(proc.pid, 0)
    ended = time.time()
    signal.setitimer(signal.ITIMER_REAL, 0)
    proc.returncode = os.waitstatus_to_exitcode(status)
    return proc.returncode, started, ended, usage.ru_utime + usage.ru_stime


def _figures(trace: Trace, stage: Stage) -> dict[str, Any]:
    waits, bound, count = trace.waits(), trace.bound(), len(trace.dag)
    first = trace.first_answer - trace.started
    return {
        "wall_s": trace.wall,
        "lower_bound_s": bound,
        "ratio": trace.wall / bound,
        "ratio_after_first_answer": (trace.wall - first) / bound,
        "idle_per_wp_s": sum(w.seconds for w in waits if not w.handed_over) / count,
        "to_review_per_wp_s": sum(w.seconds for w in waits if w.handed_over) / count,
        "mutations_per_wp": stage.most_mutations(),
        "agent_s": sum(run.seconds for run in trace.runs),
        "agents_own_s": mean(_own(run.seconds, run.role, stage) for run in trace.runs),
        "lost": {f"{name}_s": seconds for name, seconds in trace.account().items()},
        "agents": len(trace.runs),
        "at_once": most_at_once(trace.runs),
    }


def _own(seconds: float, role: str, stage: Stage) -> float:
    """Return the seconds that an agent took beyond its configured time."""
    return seconds - (stage.review if role == "review" else stage.implement)


def _by_verb(calls: list[Call]) -> dict[str, dict[str, float]]:
    some = {name: [c for c in calls if c.name == name] for name in {c.name for c in calls}}
    return {
        name: {"times": len(mine), "seconds": mean(c.end - c.start for c in mine)}
        for name, mine in sorted(some.items())
    }


_COUNTED = ("agents", "at_once", "other_load")
"""The values that are not figures, because more is not worse."""


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the summary of the successful runs."""
    good = [run for run in runs if "failed" not in run]
    failed = [run["failed"] for run in runs if "failed" in run]
    if not good:
        return {"failed": failed}
    names = [n for n, value in good[0].items() if isinstance(value, int | float)]
    verbs = sorted({verb for run in good for verb in run["calls"]})
    return {
        "failed": failed,
        **{n: [round(run[n], 2) for run in good] for n in _COUNTED},
        **{n: figure(run[n] for run in good) for n in names if n not in _COUNTED},
        "lost": {n: figure(run["lost"][n] for run in good) for n in good[0]["lost"]},
        "calls": {verb: _together([run["calls"].get(verb) for run in good]) for verb in verbs},
    }


def _together(some: list[dict[str, float] | None]) -> dict[str, Any]:
    made = [one for one in some if one]
    return {
        "times": sum(one["times"] for one in made) / len(some),
        "each_s": figure(one["seconds"] for one in made),
    }
