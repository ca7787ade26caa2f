"""The time of ten thousand calls of a simulated host, and the growth of its state."""

import json
import math
import time
from itertools import cycle, islice
from typing import Any

from attrs import asdict

from spec_kitty_client.testing.host import SimulatedHost
from tests.bench.figures import figure
from tests.bench.lab import say
from tests.missions import POLICY

__all__ = ["measure"]

CALLS = 10_000
_PLAN: dict[str, list[str]] = {f"WP{i:02}": [] for i in range(1, 13)}
_STEPS = (
    ("mission-state",),
    ("start-implementation", "--actor=a", f"--policy={POLICY}"),
    ("append-history", "--actor=a", "--note=begun"),
    ("transition", "--to=for_review", "--actor=a", f"--policy={POLICY}"),
    ("start-review", "--actor=r", f"--policy={POLICY}"),
    ("list-ready",),
    ("transition", "--to=planned", "--actor=r", "--force", "--note=again"),
)
_OF_MISSION = ("mission-state", "list-ready")


def measure(runs: int) -> dict[str, Any]:
    """Return the seconds for all calls, and the exponent with which the state grows."""
    say(f"simulated host: {CALLS} calls, {runs} runs")
    every = [_run(CALLS) for _ in range(runs)]
    half, whole = (_run(calls)["state_bytes"] for calls in (CALLS // 2, CALLS))
    return {
        "seconds": figure(run["seconds"] for run in every),
        "state_bytes": figure([whole]),
        "growth": figure([math.log2(whole / half)]),
    }


def _run(calls: int) -> dict[str, float]:
    host = SimulatedHost(_PLAN)
    start = time.perf_counter()
    for args in islice(_calls(host), calls):
        done = host.run(args, time_limit=1)
        if done.exit_code != 0:
            raise RuntimeError(f"{args}: {done.stdout!r}")
    seconds = time.perf_counter() - start
    state = json.dumps(
        [asdict(host.mission), [asdict(asked) for asked in host.calls]], default=list
    )
    return {"seconds": seconds, "state_bytes": float(len(state))}


def _calls(host: SimulatedHost) -> Any:
    """Yield calls that take one work package after another through the lanes, without end."""
    slug = f"--mission={host.mission.slug}"
    for wp in cycle(_PLAN):
        for verb, *options in _STEPS:
            named = [] if verb in _OF_MISSION else [f"--wp={wp}"]
            yield ["orchestrator-api", verb, slug, *named, *options]
