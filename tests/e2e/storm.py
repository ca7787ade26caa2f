"""Many concurrent calls, some of them killed, and the expected answer of each."""

import itertools
import os
import random
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from packaging.version import Version

from spec_kitty_client import Completed, Conflict, HostError, Lane, NotFound, Reply
from spec_kitty_client.api.commands import (
    AppendHistory,
    Command,
    ContractVersion,
    ListReady,
    MissionState,
    StartImplementation,
    Transition,
)
from spec_kitty_client.api.replies import HostContract, Mission, ReadyList
from spec_kitty_client.errors import TransitionRejected
from spec_kitty_client.transports.warm import WarmTransport

from .conftest import POLICY

__all__ = ["MARK", "Answer", "Book", "Killer", "Steps", "marked", "work"]

MARK = "SPEC_KITTY_STORM"
"""A variable in the environment of every process of a storm."""
Step = Command[Any] | tuple[str, ...]
"""A command, or literal arguments."""
Answer = Reply | HostError | Completed
Calls = Generator[Step, Answer, None]
Steps = Generator[tuple[Path, Step], Answer, None]
"""The steps, each with the folder of its call."""

_EVERY = 25  # calls until the next kill
_SERVER = 6  # kills, one of them of the server


def marked(base: Path) -> list[psutil.Process]:
    """Return the processes of this storm that are left."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(base):
                found.append(process)
    return found


def was_killed(answer: Answer) -> bool:
    """Return whether this test has killed the call."""
    if isinstance(answer, HostError):
        return answer.failure.exit_code == -signal.SIGKILL
    return isinstance(answer, Completed) and answer.exit_code == -signal.SIGKILL


@dataclass
class Book:
    """The expected state of one repository, from the answers so far."""

    root: Path
    mission: str
    lanes: dict[str, Lane]
    release: Version
    notes: list[str] = field(default_factory=list)
    lost: bool = False
    """Whether a mutation was killed, after which the state is unknown."""
    names: Any = field(default_factory=lambda: itertools.count(1))

    def steps(self, rng: random.Random) -> Calls:
        """Yield calls and check their answers, until a mutation was killed."""
        ways = [self.read, self.ready, self.simple, self.refused, self.mutate]
        while not self.lost:
            (way,) = rng.choices(ways, (3, 1, 2, 3, 5))
            yield from way(rng)

    def read(self, _: random.Random) -> Calls:
        """Read the state, and check that it has every answered effect."""
        answer = yield MissionState(mission=self.mission)
        assert was_killed(answer) or self.agrees(answer), answer

    def agrees(self, answer: Answer) -> bool:
        """Return whether a state is the expected one, with each effect exactly once."""
        assert all(self.count(note) == 1 for note in self.notes)
        return isinstance(answer, Mission) and answer.lanes() == self.lanes

    def count(self, note: str) -> int:
        """Return the number of events with a given note."""
        folder = self.root / "kitty-specs" / self.mission
        files = [path for path in folder.rglob("*") if path.is_file()]
        return max(path.read_text(encoding="utf-8").count(f"{note}.") for path in files)

    def ready(self, _: random.Random) -> Calls:
        """Read the ready work packages, which are all planned ones."""
        answer = yield ListReady(mission=self.mission)
        planned = {wp for wp, lane in self.lanes.items() if lane == Lane.PLANNED}
        assert was_killed(answer) or isinstance(answer, ReadyList), answer
        if isinstance(answer, ReadyList):
            assert {package.wp_id for package in answer.ready_work_packages} == planned

    def simple(self, rng: random.Random) -> Calls:
        """Make calls without a mission."""
        api = "orchestrator-api"
        what = rng.choice(["contract", "version", "help", "usage", "unknown verb"])
        steps: dict[str, Step] = {
            "contract": ContractVersion(),
            "version": ("--version",),
            "help": (api, "--help"),
            "usage": (api, "contract-version", "--no-such-option"),
            "unknown verb": (api, "bogus"),
        }
        answer = yield steps[what]
        if was_killed(answer):
            return
        if what == "contract":
            assert isinstance(answer, HostContract), answer
            return
        assert isinstance(answer, Completed), answer
        assert answer.exit_code == (0 if what in ("version", "help") else 2), answer
        said = answer.stdout.decode() + answer.stderr.decode()
        names = {"version": str(self.release), "help": "start-review", "usage": "no-such-option"}
        assert names.get(what, "bogus") in said

    def refused(self, rng: random.Random) -> Calls:
        """Make calls that the host refuses, so that nothing changes."""
        wp, lane = rng.choice([*self.lanes.items()])
        expected: type[HostError] = NotFound
        step: Step = MissionState(mission="no-such-mission")
        if lane == Lane.PLANNED:
            to = {"to": Lane.FOR_REVIEW, "policy": POLICY}
            step, expected = self.transition(wp, **to), TransitionRejected
        elif lane == Lane.IN_PROGRESS:
            step = StartImplementation(mission=self.mission, wp=wp, actor="other", policy=POLICY)
            expected = Conflict
        answer = yield step
        assert was_killed(answer) or isinstance(answer, expected), answer
        if was_killed(answer) and lane in (Lane.PLANNED, Lane.IN_PROGRESS):
            self.lost = True  # a lock of the killed call may be left

    def mutate(self, rng: random.Random) -> Calls:
        """Change one work package."""
        wp, lane = rng.choice([*self.lanes.items()])
        note, after = f"note {next(self.names)}", lane
        step: Step
        if lane == Lane.PLANNED:
            step, after = self.start(wp), Lane.IN_PROGRESS
        elif rng.random() < 0.3:
            about = {"mission": self.mission, "wp": wp, "actor": "storm"}
            step = AppendHistory(**about, note=f"{note}.")
        elif lane == Lane.IN_PROGRESS:
            after = Lane.BLOCKED
            step = self.transition(wp, to=after, note=f"{note}.")
        else:
            after = Lane.IN_PROGRESS
            step = self.transition(wp, to=after, note=f"{note}.", policy=POLICY, force=True)
        answer = yield step
        if was_killed(answer):
            self.lost = True
            yield from self.look(wp, after, note)
            return
        assert isinstance(answer, Reply), answer
        self.lanes[wp] = after
        if lane != Lane.PLANNED:
            self.notes.append(note)

    def look(self, wp: str, after: Lane, note: str) -> Calls:
        """Check a killed mutation: it took effect, or it did not, or it left a lock."""
        answer = yield MissionState(mission=self.mission)
        assert self.count(note) <= 1
        if isinstance(answer, Mission):
            halfway = [Lane.CLAIMED] if self.lanes[wp] == Lane.PLANNED else []
            if self.release < Version("2.1"):
                # The host rewrites the file in place: a kill in between leaves it without a lane.
                halfway.append(Lane.PLANNED)
            possible = [self.lanes[wp], *halfway, after]
            known = (answer, self.lanes, wp, after)
            assert answer.lanes() in [self.lanes | {wp: lane} for lane in possible], known
        else:
            assert isinstance(answer, HostError), answer

    def start(self, wp: str) -> Step:
        return StartImplementation(mission=self.mission, wp=wp, actor="storm", policy=POLICY)

    def transition(self, wp: str, **options: Any) -> Step:
        return Transition(mission=self.mission, wp=wp, actor="storm", **options)


def work(fresh: Callable[[], Book], rng: random.Random) -> Steps:
    """Yield calls without end, in a new repository after each state that is unknown."""
    while True:
        book = fresh()
        steps = book.steps(rng)
        with suppress(StopIteration):
            step = next(steps)
            while True:
                answer = yield book.root, step
                step = steps.send(answer)


@dataclass
class Killer:
    """Kills a call from time to time, and sometimes the server with all of its calls."""

    transport: WarmTransport
    """A transport that shares its server with the others."""
    rng: random.Random
    calls: int = 0
    """The number of ended calls."""
    killed: dict[str, int] = field(default_factory=lambda: {"call": 0, "server": 0})
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self) -> Generator[None]:
        """Kill in a thread, during the block."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        due = _EVERY
        while not self._over.wait(0.002):
            what = "server" if sum(self.killed.values()) % _SERVER == 2 else "call"
            if self.calls >= due and self._kill(what):
                due = self.calls + self.rng.randint(1, 2 * _EVERY)

    def _kill(self, what: str) -> bool:
        self.transport.prepare()
        server = self.transport._server
        if server is None or not server.connection.ready or not server.connection.usable:
            return False
        pid = server.connection.proc.pid
        with suppress(psutil.Error, ProcessLookupError):
            calls = [c.pid for c in psutil.Process(pid).children()]
            # A child has its own process group as soon as it is a call.
            groups = [c for c in calls if os.getpgid(c) == c and os.getsid(c) == pid]
            if groups:
                os.killpg(self.rng.choice(groups), 9) if what == "call" else os.kill(pid, 9)
                self.killed[what] += 1
                return True
        return False
