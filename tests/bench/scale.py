"""The processor time and memory of missions of any size, in virtual time.

Each mission runs in a process of its own, and its host in another one, so that the figures are
those of the orchestrator with its client, journal and event loop, without the host.
"""

import json
import math
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from spec_kitty_client.testing.host import SimulatedHost
from spec_kitty_client.transports import Completed
from spec_kitty_orchestrator.state.events import Event
from tests.bench.bounds import Dag, layered, lower_bound
from tests.bench.figures import figure
from tests.bench.lab import say
from tests.virtual.agents import Agents, by_seed
from tests.virtual.places import AgentCheckouts
from tests.virtual.world import World, folder, in_virtual_time

__all__ = ["SIZES", "measure"]

SIZES = (100, 1_000, 10_000)
_WIDTH = 20  # work packages in a layer, so that a larger mission is a longer one
_SLOTS = 4


def measure(runs: int) -> dict[str, Any]:
    """Return the figures of every size, and how they grow from the second last to the last."""
    found: dict[str, Any] = {}
    for size in SIZES:
        say(f"virtual time: {size} work packages, {runs} runs")
        every = [_in_a_process(size) for _ in range(runs)]
        found[str(size)] = {name: figure(run[name] for run in every) for name in every[0]}
    return {"sizes": found, "growth": {name: _exponent(found, name) for name in _GROWING}}


_GROWING = ("cpu_s", "peak_mb", "added_mb", "host_cpu_s")


def _exponent(found: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the exponent with which a figure grows with the size."""
    less, more = (found[str(size)][name]["median"] for size in SIZES[-2:])
    return figure([math.log(more / less) / math.log(SIZES[-1] / SIZES[-2])])


def _in_a_process(size: int) -> dict[str, float]:
    argv = [sys.executable, "-m", "tests.bench.scale", str(size)]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


class _Elsewhere:
    """A transport to a host in another process. Waiting for it takes no virtual time."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.calls = 0
        self.reads = 0

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        await anyio.lowlevel.checkpoint()
        self.calls += 1
        self.reads += "mission-state" in args
        self._pipe.send(tuple(args))
        answer: Completed = self._pipe.recv()
        return answer


def _be_the_host(pipe: Connection, root: Path, dag: Dag) -> None:
    """Answer calls until the end of the input, then send the cost."""
    host = World.of(root, dag, by_seed(0)).host
    pipe.send(None)
    begun = time.process_time()
    while (args := pipe.recv()) is not None:
        pipe.send(host.run(args, time_limit=60.0))
        host.calls.clear()
    pipe.send((time.process_time() - begun, _peak_mb(), len(host.mission.moves)))


def run(size: int) -> dict[str, float]:
    """Run a mission of a size in this process and return its figures."""
    dag = layered(size, 0, max(1, size // _WIDTH))
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    with folder() as root:
        process = context.Process(target=_be_the_host, args=(other, root, dag))
        process.start()
        pipe.recv()
        asked = _Elsewhere(pipe)
        plays = by_seed(size, fails=0.05, refuses=0.2)
        patient = {"max_attempts": 9, "max_rounds": 9, "max_concurrent": _SLOTS}
        world = World(root, SimulatedHost(), Agents(plays, AgentCheckouts()), asked, patient)
        before, begun = _peak_mb(), time.process_time()
        seconds = in_virtual_time(lambda: _whole(world))
        cpu, peak = time.process_time() - begun, _peak_mb()
        pipe.send(None)
        host_cpu, host_peak, moves = pipe.recv()
        process.join()
        bound = lower_bound(dag, world.agents.seconds, _SLOTS)
        return {
            "cpu_s": cpu,
            "peak_mb": peak,
            "added_mb": peak - before,
            "events": len(world.events(Event)),
            "agents": world.agents.starts,
            "calls": asked.calls,
            "reads": asked.reads,
            "moves": moves,
            "virtual_hours": seconds / 3600,
            "ratio_bound": seconds / bound,
            "host_cpu_s": host_cpu,
            "host_peak_mb": host_peak,
        }


async def _whole(world: World) -> float:
    board = await world.run()
    if board is None or board.unfinished():
        raise RuntimeError(f"not done: {world.troubles}")
    return anyio.current_time()


def _peak_mb() -> float:
    """Return the peak memory of this program; getrusage would count its parent's too."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("Linux tells the peak of a process, and this is something else")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]))))
