"""Calls of every lifecycle verb, with a cold and with a warm host.

Both run equal missions verb by verb in turn, so that a ratio compares two calls at nearly the same
time. Before them a new server runs a third mission, because first calls are slower, and a run of an
orchestrator has such calls.
"""

import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from spec_kitty_client import Client, Completed, Policy, Review, UnsupportedByHost
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.transports.warm import WarmTransport
from tests.bench import machine
from tests.bench.alone import Alone, Process
from tests.bench.bounds import wide
from tests.bench.figures import figure
from tests.bench.lab import Lab, say
from tests.missions import Mission

__all__ = ["measure"]

_POLICY = Policy(
    orchestrator_id="bench",
    orchestrator_version="1",
    agent_family="script",
    approval_mode="full_auto",
    sandbox_mode="workspace_write",
    network_mode="open",
)
_REVIEW = Review(reviewer="bench", reference="reviews/1")
_OF_ONE_WP = (
    *("start-implementation", "transition to for_review"),
    *("start-review", "transition to done"),
)
_HELLO = ("orchestrator-api", "contract-version")

Taken = dict[str, float]
"""Seconds by verb."""


def measure(lab: Lab, runs: int) -> dict[str, Any]:
    """Return the seconds of every verb, and the processor time and memory of the server."""
    mission = lab.mission("calls", wide(1))
    found: dict[str, list[Taken]] = defaultdict(list)
    process = Process(_cold(lab, mission.root))
    try:
        with tempfile.TemporaryDirectory(dir=lab.base) as folder:
            cold = _cold(lab, shutil.copytree(mission.root, Path(folder, "new"), symlinks=True))
            for step in Walker(Timed(Alone(process, cold), os.getpid()), mission).steps():
                step()
        for number in range(runs):
            say(f"{lab.release}, calls: run {number + 1} of {runs}")
            order = ("cold", "warm", "alone")[:: -1 if number % 2 else 1]
            with tempfile.TemporaryDirectory(dir=lab.base) as folder:
                taken = _run(lab, mission, Path(folder), order, process)
            for kind, seconds in taken.items():
                found[kind].append(seconds)
    finally:
        process.close()
    verbs = [verb for verb in found["warm"][0] if verb in found["cold"][0]]
    four = [sum(t[verb] for verb in _OF_ONE_WP if verb in t) for t in found["warm"]]
    return {
        "verbs": {verb: _figures(found, verb) for verb in verbs},
        "mutations_of_one_wp_s": figure(four),
        **{kind: _together(found[kind]) for kind in ("server", "walk")},
    }


def _cold(lab: Lab, repo: Path) -> ProcessTransport:
    return ProcessTransport(repo=repo, executable=str(lab.host), env=lab.env)


def _together(some: list[Taken]) -> dict[str, Any]:
    return {name: figure(one[name] for one in some) for name in some[0]}


def _figures(found: dict[str, list[Taken]], verb: str) -> dict[str, Any]:
    kinds = "cold", "warm", "first", "alone"
    cold, warm, first, alone = ([t[verb] for t in found[kind]] for kind in kinds)
    return {
        "cold_s": figure(cold),
        "warm_s": figure(warm),
        "first_s": figure(first),
        "alone_s": figure(alone),
        "ratio": figure(w / c for w, c in zip(warm, cold, strict=True)),
        "ratio_alone": figure(a / c for a, c in zip(alone, cold, strict=True)),
    }


def _run(
    lab: Lab, mission: Mission, folder: Path, order: Sequence[str], process: Process
) -> dict[str, Taken]:
    """Run four equal missions."""
    cold = {
        name: _cold(lab, shutil.copytree(mission.root, folder / name, symlinks=True))
        for name in ("cold", "warm", "first", "alone")
    }
    warm = {name: WarmTransport(cold[name], only=True) for name in ("warm", "first")}
    start = time.perf_counter()
    for transport in warm.values():
        transport.run(_HELLO, time_limit=120)
    server = warm["warm"]._server
    if server is None or server is not warm["first"]._server:
        raise RuntimeError("two clients of the same host do not share its server")
    about = {"first_answer_s": time.perf_counter() - start}
    pid = server.connection.proc.pid
    walkers = {name: Walker(Timed(t, pid), mission) for name, t in warm.items()}
    walkers["cold"] = Walker(Timed(cold["cold"], os.getpid()), mission)
    walkers["alone"] = Walker(Timed(Alone(process, cold["alone"]), process.proc.pid), mission)
    for step in walkers["first"].steps():
        step()
    load, before = machine.Load(), _settled(pid)
    for steps in zip(*(walkers[name].steps() for name in order), strict=True):
        for step in steps:
            step()
    used = {name: walkers[name].timed.processor for name in order}
    used["warm"] = _settled(pid) - before  # a child may have worked on after a call
    walk = {
        "cold_cpu_s": used["cold"],
        "warm_cpu_s": used["warm"],
        "ratio_cpu": used["warm"] / used["cold"],
        "other_load": load.other(sum(used.values())),
    }
    about |= _memory(pid)
    for transport in warm.values():
        transport.close()
    taken = {name: walker.timed.taken for name, walker in walkers.items()}
    return {**taken, "server": about, "walk": walk}


def _settled(pid: int) -> float:
    """Return the processor time of a server, once only its preforked child is left."""
    end = time.monotonic() + 5
    while len(psutil.Process(pid).children()) != 1 and time.monotonic() < end:
        time.sleep(0.01)
    return machine.spent(pid)


def _memory(pid: int) -> Taken:
    """Return the memory of a server, and with its preforked child the unshared memory."""
    server = psutil.Process(pid)
    both = [process.memory_full_info() for process in (server, *server.children())]
    return {"rss_mb": both[0].rss / 2**20, "pss_mb": sum(one.pss for one in both) / 2**20}


class Timed:
    """A transport that measures the first call of each verb.

    Args:
        transport: The transport that makes the calls.
        pid: The process that reaps the host's processes, and so has their processor time.
    """

    def __init__(self, transport: ProcessTransport | WarmTransport | Alone, pid: int) -> None:
        self._transport = transport
        self._pid = pid
        self.git = transport.git
        self.identity = transport.identity
        self.taken: Taken = {}
        self.processor = 0.0
        """The processor seconds of all calls."""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`."""
        before, start = machine.spent(self._pid), time.perf_counter()
        done = self._transport.run(args, time_limit=time_limit)
        self.taken.setdefault(_name(args), time.perf_counter() - start)
        self.processor += machine.spent(self._pid) - before
        return done


def _name(args: Sequence[str]) -> str:
    """Return the newest name of the verb, with the lane if the call has one."""
    verb = args[1].replace("feature", "mission") if len(args) > 1 else args[0]
    lane = next((word.partition("=")[2] for word in args if word.startswith("--to=")), "")
    return f"{verb} to {lane}" if lane else verb


class Walker:
    """A program that takes a mission of one work package from planned to merged."""

    def __init__(self, timed: Timed, mission: Mission) -> None:
        self.timed = timed
        self._client = Client(transport=timed, actor="bench", policy=_POLICY)
        self._slug = mission.slug
        self._wp, self._file = next(iter(mission.files.items()))

    def steps(self) -> tuple[Callable[[], object], ...]:
        """Return its steps, one call each."""
        client, slug, wp = self._client, self._slug, self._wp
        return (
            client.contract_version,
            lambda: client.mission_state(slug),
            lambda: client.list_ready(slug),
            self._implement,
            self._resolve,
            lambda: client.append_history(slug, wp, "a note"),
            lambda: client.mission(slug).work_package(wp).submit_for_review(),
            lambda: client.mission(slug).work_package(wp).begin_review(),
            lambda: client.mission(slug).work_package(wp).finish(_REVIEW),
            lambda: client.mission(slug).accept(),
            lambda: client.mission(slug).merge(),
        )

    def _implement(self) -> None:
        folder = self._client.mission(self._slug).work_package(self._wp).claim().workspace_path
        path = Path(folder, self._file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("done = True\n", encoding="utf-8")
        for args in (("add", "--all"), ("commit", "--quiet", "--message=work")):
            done = self.timed.git(args, folder=folder, time_limit=60)
            if done.exit_code != 0:
                raise RuntimeError(done.stderr.decode())

    def _resolve(self) -> None:
        try:
            self._client.resolve_workspace(self._slug, self._wp)
        except UnsupportedByHost:
            return
