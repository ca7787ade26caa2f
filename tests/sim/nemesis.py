"""The scenario of one seed: the mission, and the trouble during each run of the orchestrator."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from attrs import frozen

from spec_kitty_client.testing import PackagePlan
from spec_kitty_client.testing.faults import Fault, by_chance
from spec_kitty_client.testing.host.board import Plan
from tests.bench.bounds import layered

__all__ = ["PEOPLE", "RELEASES", "RunTrouble", "Scenario", "Trouble", "scenario"]

RELEASES = ("1.0.3", "2.1.3", "3.1.0", "3.1.10", "3.2.1", "3.2.2", "3.2.7", "4.0.0rc7")
PEOPLE = (
    "cancels",  # moves a work package to canceled
    "blocks",
    "replans",  # moves it to planned
    "finishes",  # moves it to done
    "commits",  # commits in the worktree
    "switches",  # checks out another branch there
    "deletes",  # removes the worktree
    "locks",  # leaves index.lock for some time
    "hook",  # the pre-commit hook refuses for some time
    "fills",  # the disk is full for some time
)
_SHARING = 0.3  # how many missions have work packages that share a worktree
_LATE = 0.1  # in how many missions a person commits after an approval
_STALE = (Fault.STALE_BEFORE, Fault.STALE_AFTER)
_SLOW = (Fault.HANG_BEFORE, Fault.HANG_AFTER)
_FAULTS = tuple(fault for fault in Fault if fault not in _SLOW)


@frozen
class Trouble:
    """Something that a person or the machine does during a run of the orchestrator."""

    at: float
    """Seconds after the start of that run."""
    does: str
    wp: str
    lasts: float = 0.0


@frozen
class RunTrouble:
    """The trouble during one run of the orchestrator. None: without this kind of trouble."""

    killed_after: int | None = None
    """How often it calls the host, writes or launches an agent before it is killed."""
    interrupted_after: float | None = None
    disk_full_after: int | None = None
    fault_rate: float = 0.0
    stale: bool = False
    """Whether many reads are answered with what the host said before, and nothing else happens."""
    people: tuple[Trouble, ...] = ()
    """Acts of people, and errors of the machine that last for some time."""
    pause: float = 0.0
    """Seconds until the next run starts."""


@frozen
class Scenario:
    """A mission, its agents, and the trouble of each run, as a seed decides them."""

    seed: int
    release: str
    plan: Plan
    badness: float
    last: int
    """From this run of a work package on, agents are good."""
    runs: tuple[RunTrouble, ...]
    settings: Mapping[str, Any]
    late_commit: str | None = None
    """The work package to whose branch a person commits as soon as a reviewer has approved it."""

    def faults(self, number: int) -> Callable[[str, int], Fault | None] | None:
        """Return the faults of the host calls of a run."""
        run = self.runs[number]
        random = Random(f"{self.seed} faults {number}")  # noqa: S311 - not for secrets
        if run.stale:
            return _never_twice(by_chance(random, 0.5, faults=_STALE))
        return by_chance(random, run.fault_rate, faults=_FAULTS) if run.fault_rate else None


def _never_twice(
    faults: Callable[[str, int], Fault | None],
) -> Callable[[str, int], Fault | None]:
    """Return the faults without those that directly follow another one.

    The orchestrator reads a report once more that denies its own moves, and believes the second.
    """
    before: list[Fault | None] = [None]

    def choose(verb: str, calls: int) -> Fault | None:
        fault = faults(verb, calls)
        before[0] = None if before[0] else fault
        return before[0]

    return choose


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    random = Random(f"scenario {seed}")  # noqa: S311 - not for secrets
    size = random.randint(1, 5)
    dag = layered(size, seed, random.randint(1, 3))
    shares = random.random() < _SHARING
    plan = {
        wp: PackagePlan(needs=needs, owns=("src/shared.py",) if shares and i < 2 else ())
        for i, (wp, needs) in enumerate(dag.items())
    }
    patient = random.random() < 0.5
    return Scenario(
        seed=seed,
        release=random.choice(RELEASES),
        plan=plan,
        badness=random.choice((0.0, 0.3, 0.7)),
        last=random.randint(2, 9),
        runs=tuple(_run_trouble(random, list(dag)) for _ in range(random.randint(1, 3))),
        settings={
            "max_attempts": 9 if patient else 2,
            "max_rounds": 9 if patient else 2,
            "max_concurrent": random.randint(1, 4),
        },
        late_commit=random.choice(list(dag)) if random.random() < _LATE else None,
    )


def _run_trouble(random: Random, wps: list[str]) -> RunTrouble:
    """Return one to three kinds of trouble for one run."""
    every = ("kill", "interrupt", "disk", "faults", "stale", "people")
    kinds = random.sample(every, random.randint(1, 3))
    people = tuple(
        Trouble(
            at=random.uniform(0, 2500),
            does=random.choice(PEOPLE),
            wp=random.choice(wps),
            lasts=random.uniform(1, 300),
        )
        for _ in range(random.randint(1, 4))
    )
    return RunTrouble(
        killed_after=random.randint(0, 80) if "kill" in kinds else None,
        interrupted_after=random.uniform(1, 2500) if "interrupt" in kinds else None,
        disk_full_after=random.randint(3, 30) if "disk" in kinds else None,
        fault_rate=random.choice((0.05, 0.2)) if "faults" in kinds else 0.0,
        stale="stale" in kinds,
        people=people if "people" in kinds else (),
        pause=random.choice((0.0, 60.0, 3000.0)),
    )
