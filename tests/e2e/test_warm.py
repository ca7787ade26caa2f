"""A warm host compared with the same host in cold processes, and under a storm of calls."""

import dataclasses
import gc
import itertools
import json
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from packaging.version import Version

from spec_kitty_client import AsyncClient, Client, HostError, Lane
from spec_kitty_client.api.commands import Command
from spec_kitty_client.transports.process import AsyncProcessTransport, ProcessTransport
from spec_kitty_client.transports.warm import AsyncWarmTransport, WarmTransport
from tests import missions
from tests.missions import Mission
from tests.record.equality import STEADY, Side, differences
from tests.record.host import Host
from tests.record.left import Left
from tests.record.scrub import Scrubber, stable_paths
from tests.record.world import Release, Tape, World

from .storm import MARK, Answer, Book, Killer, Steps, marked, work

CALLS = int(os.environ.get("STORM", "300"))  # `nox -s storm` makes 1,000
AT_ONCE = 8
DAG: missions.Dag = {"WP01": [], "WP02": ["WP01"]}
REVIEW = {"reviewer": "rev", "verdict": "approved", "reference": "r1"}


def short(w: World) -> None:
    """Every lifecycle verb, refusals, a traceback, and calls without a verb."""
    one = {"wp": "WP01", "actor": "a1"}
    forced = {"force": True, "note": "by hand", "policy": True}
    w.say("version", "--version")
    w.say("help", "orchestrator-api", "--help")
    w.say("unknown option", "orchestrator-api", "contract-version", "--bogus")
    w.do("contract-version", "contract-version", mission=None)
    w.do("start dependent", "start-implementation", wp="WP02", actor="a1", policy=True)
    w.do("start", "start-implementation", **one, policy=True)
    w.work("WP01")
    w.do("no such lane", "transition", **one, to="bogus", policy=True)
    w.do("for_review", "transition", **one, to="for_review", policy=True)
    w.do("start-review", "start-review", **one, review_ref="r1", policy=True)
    w.do("append-history", "append-history", **one, note='two\nlines "\u00e9"')
    done = {"to": "approved"} if w.release.since(2, 1) else {"to": "done"}
    w.do("approved", "transition", **one, **done, **forced)
    w.do("list-ready", "list-ready")
    w.do("accept", "accept", actor="a1")
    w.do("merge", "merge")
    (w.folder / "meta.json").write_text("{", encoding="utf-8")
    w.do("state of what is damaged", "state")
    w.close()


@pytest.mark.once
def test_nobody_can_tell_a_warm_host_from_a_cold_one(
    made: Callable[[missions.Dag], Mission], release: Version, tmp_path: Path
) -> None:
    """A warm and a cold host give the same answers, files, commits, worktrees and HOME."""
    sides = [  # in folders whose names are equally long, because tracebacks are wrapped
        _side(made(DAG), str(release), tmp_path / how, warm=how == "warm")
        for how in ("cold", "warm")
    ]
    assert {json.loads(line)["exit_code"] for line in sides[0].lines.values()} == {0, 1, 2}
    assert sides[0].left
    assert [*differences(*sides)] == []


def _side(mission: Mission, release: str, base: Path, *, warm: bool) -> Side:
    base.mkdir()
    shutil.copytree(mission.root, base / "repo", symlinks=True)
    spec_kitty = Path(os.environ["E2E_HOST"]).absolute()
    tape = Tape(Scrubber(stable_paths(spec_kitty, base)), whole=True)
    with Host(spec_kitty, base, warm=warm, more=STEADY) as host:
        here = dataclasses.replace(mission, root=base / "repo")
        short(World(Release(release), host, tape, base, here, Left(host.env)))
    return Side(tape.lines, tape.left, host.calls, 0.0)


class Storm:
    """The callers of a storm, in repositories with one mission each."""

    def __init__(self, mission: Mission, release: Version, base: Path, seed: int) -> None:
        self.mission, self.release, self.base = mission, release, base
        self.books: list[Book] = []
        self.clients: dict[Path, Any] = {}
        rngs = [random.Random(seed + i) for i in range(AT_ONCE + 1)]  # noqa: S311 - no secret
        self.killer = Killer(self.transport(mission.root), rngs.pop())
        self.workers = [work(self.fresh, rng) for rng in rngs]

    def transport(self, root: Path) -> WarmTransport:
        return WarmTransport(ProcessTransport(repo=root, **self.host), only=True)

    @property
    def host(self) -> dict[str, Any]:
        return {"executable": os.environ["E2E_HOST"], "env": {MARK: str(self.base)}}

    def fresh(self) -> Book:
        """Return a new repository."""
        root = self.base / f"repo-{time.monotonic_ns()}"
        shutil.copytree(self.mission.root, root, symlinks=True)
        lanes = dict.fromkeys(self.mission.dag, Lane.PLANNED)
        self.books.append(Book(root, self.mission.slug, lanes, self.release))
        return self.books[-1]

    def client(self, root: Path) -> Client:
        """Return the client of a repository."""
        if root not in self.clients:
            self.clients[root] = Client(transport=self.transport(root))
        return self.clients[root]

    def async_client(self, root: Path) -> AsyncClient:
        if root not in self.clients:
            cold = AsyncProcessTransport(repo=root, **self.host)
            self.clients[root] = AsyncClient(transport=AsyncWarmTransport(cold, only=True))
        return self.clients[root]

    def close(self) -> None:
        """Check that each repository has the expected state, and end the host."""
        for client in self.clients.values():
            client._driver.transport.close()
        told = [book for book in self.books if not book.lost]
        assert told
        self.killer.transport.prepare()  # one server for all of them
        for book in told:
            with Client(transport=self.transport(book.root)) as client:
                assert book.agrees(client.mission_state(book.mission))
        self.killer.transport.close()


@pytest.fixture
def storm(
    made: Callable[[missions.Dag], Mission], release: Version, tmp_path: Path
) -> Iterator[Storm]:
    """A storm that must leave no process, no file descriptor and no thread."""
    mission = made({f"WP{i:02d}": [] for i in range(1, 4)})
    with _nothing_left(tmp_path):
        storm = Storm(mission, release, tmp_path, seed=7)
        yield storm
        storm.close()


@contextmanager
def _nothing_left(base: Path) -> Iterator[None]:
    descriptors, threads = _descriptors(), threading.active_count()
    yield
    gc.collect()
    until = time.monotonic() + 20
    while time.monotonic() < until:  # processes of an earlier test may have ended meanwhile
        many = _descriptors() > descriptors or threading.active_count() > threads
        if not many and not marked(base):
            return
        time.sleep(0.1)
    assert marked(base) == []
    assert _descriptors() <= descriptors
    assert threading.active_count() <= threads, threading.enumerate()


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.once
def test_a_storm_of_calls_from_threads(storm: Storm) -> None:
    """Many calls, 8 at a time, some killed: each is right or a typed error, and none is lost."""
    budget = itertools.count()  # one step of it cannot be interrupted

    def drive(steps: Steps) -> None:
        root, step = next(steps)
        while next(budget) < CALLS:
            client = storm.client(root)
            answer: Answer
            try:
                if isinstance(step, Command):
                    answer = client.call(step)
                else:
                    answer = client._driver.transport.run(step, time_limit=60)
            except HostError as e:
                answer = e
            storm.killer.calls += 1
            root, step = steps.send(answer)

    with storm.killer.at_work(), ThreadPoolExecutor(AT_ONCE) as pool:
        for ended in [pool.submit(drive, steps) for steps in storm.workers]:
            ended.result()
    assert storm.killer.killed["call"] > CALLS / 100
    assert storm.killer.killed["server"] > 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_storm_of_calls_from_tasks(storm: Storm, backend: str) -> None:
    """Many calls from tasks of one thread, some killed: each is right or a typed error."""
    budget = itertools.count()

    async def drive(steps: Steps) -> None:
        root, step = next(steps)
        while next(budget) < CALLS / 5:
            client = storm.async_client(root)
            answer: Answer
            try:
                if isinstance(step, Command):
                    answer = await client.call(step)
                else:
                    answer = await client._driver.transport.run(step, time_limit=60)
            except HostError as e:
                answer = e
            storm.killer.calls += 1
            root, step = steps.send(answer)

    async def all_of_them() -> None:
        async with anyio.create_task_group() as tasks:
            for steps in storm.workers:
                tasks.start_soon(drive, steps)

    with storm.killer.at_work():
        anyio.run(all_of_them, backend=backend)
    assert storm.killer.killed["call"] > 0
