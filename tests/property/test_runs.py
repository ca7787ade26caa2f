"""Whole runs of the orchestrator in virtual time, on every dialect of the host."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec_kitty_client import Lane
from spec_kitty_client.testing.faults import Fault, by_chance
from spec_kitty_client.testing.host.arguments import Asked
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.state.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptStopped,
    Event,
    Implemented,
    VerdictGiven,
    WorkPackageEvent,
    WorkPackageStuck,
)
from tests.bench.bounds import Dag, chain, layered, lower_bound, wide
from tests.virtual.agents import Play, by_seed, steady
from tests.virtual.world import World, folder, in_virtual_time

EVERY_DIALECT = ("1.0.3", "2.1.3", "3.1.0", "3.1.10", "3.2.1", "3.2.2", "3.2.7", "4.0.0rc7")
SHAPES: Mapping[str, Dag] = {
    "one": {"WP01": []},
    "chain": chain(6),
    "wide": wide(8),
    "layered": layered(15, 1),
    "diamond": {"WP01": [], "WP02": ["WP01"], "WP03": ["WP01"], "WP04": ["WP02", "WP03"]},
    "backwards": {"WP01": ["WP02"], "WP02": ["WP03"], "WP03": []},
}
ENDS = (Implemented, VerdictGiven, AttemptFailed, AttemptStopped)
PATIENT = {"max_attempts": 9, "max_rounds": 9}
"""Limits that agents who fail by chance do not reach."""

dags = st.builds(layered, st.integers(1, 9), st.integers(0, 99), st.integers(1, 4))
releases = st.sampled_from(EVERY_DIALECT)
seeds = st.integers(0, 2**32)
reproducible = settings(derandomize="CI" in os.environ)
"""As many examples as the profile says; in CI the same ones in every run."""


def unlucky(seed: int) -> Callable[..., object]:
    """Return agents some of which fail, and some of whose work is sent back."""
    return by_seed(seed, fails=0.15, refuses=0.2)


def is_done(world: World) -> bool:
    return set(world.host.lanes().values()) == {Lane.DONE}


def moved_twice(world: World) -> list[str]:
    """Return the moves that the host has made more often than a run needs.

    A work package is claimed and done once and never blocked. It takes each other step once, and
    once more for each time that a reviewer requested changes.
    """
    back = Counter(e.wp for e in world.events(VerdictGiven) if e.verdict == "changes_requested")
    moves = Counter((m.wp, m.after) for m in world.host.mission.moves)
    most = {Lane.CLAIMED: 0, Lane.DONE: 0, Lane.BLOCKED: -1}
    return [
        f"{wp} to {lane}: {count} times"
        for (wp, lane), count in moves.items()
        if count > 1 + (most[lane] if lane in most else back[wp])
    ]


def started_twice(world: World) -> list[str]:
    """Return the starts of agents for which the journal gives no reason.

    A review may follow an implementation, an implementation may follow a request for changes,
    and either may follow a failed or stopped attempt.
    """
    found: list[str] = []
    by_wp: dict[str, list[WorkPackageEvent]] = {}
    for event in world.events((AttemptStarted, *ENDS)):
        by_wp.setdefault(event.wp, []).append(event)
    for wp, events in by_wp.items():
        for before, event in pairwise(events):
            if isinstance(event, AttemptStarted) and not _may_follow(before, event):
                found.append(f"{wp}: {event.role} after {before.kind}")
    return found


def _may_follow(before: WorkPackageEvent, event: AttemptStarted) -> bool:
    """Return whether an event is a reason to start an agent of this role."""
    match before:
        case Implemented():
            return event.role == "review"
        case VerdictGiven():
            return before.verdict == "changes_requested" and event.role == "implement"
        case _:
            return not isinstance(before, AttemptStarted)


@pytest.mark.parametrize("release", EVERY_DIALECT)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mission_of_any_shape_is_done_on_any_host(shape: str, release: str) -> None:
    """One run finishes any mission, and takes each step once per round."""
    with folder() as root:
        world = World.of(root, SHAPES[shape], unlucky(1), release=release, **PATIENT)
        board = in_virtual_time(world.run)
        assert board is not None, world.troubles
        assert board.unfinished() == {}
        assert is_done(world)
        assert moved_twice(world) == started_twice(world) == []


@pytest.mark.parametrize("release", EVERY_DIALECT)
def test_nothing_is_lost_between_agents(release: str) -> None:
    """With an instant host, a run takes as long as its critical path or its slots need."""
    with folder() as root:
        dag = chain(5)
        world = World.of(root, dag, steady(300, 120), release=release)

        async def main() -> float:
            await world.run()
            return anyio.current_time()

        took = in_virtual_time(main)
        assert took == pytest.approx(lower_bound(dag, world.agents.seconds, 4))


def test_a_seed_decides_everything() -> None:
    """The same seed gives the same journal, whatever the machine's load."""
    journals = []
    for _ in range(2):
        with folder() as root:
            world = World.of(root, layered(12, 3), unlucky(7), **PATIENT)
            faults = by_chance(Random(7), 0.1)  # noqa: S311 - not for secrets
            in_virtual_time(lambda w=world, f=faults: w.run(faults=f), seed=7)
            text = str(world.events(Event)).replace(str(root), "ROOT")
            journals.append(text)
    assert journals[0] == journals[1]


@pytest.mark.parametrize("slots", [4, 5])
def test_the_board_is_read_while_a_slot_is_free(slots: int) -> None:
    """The heartbeat reads the mission only while a slot is free."""
    with folder() as root:
        world = World.of(root, wide(8), steady(3000, 1200), max_concurrent=slots)
        in_virtual_time(world.run)
        reads = [call for call in world.host.calls if call.verb == "mission-state"]
        assert (len(reads) > 1) == (slots > 4)


@pytest.mark.parametrize("release", EVERY_DIALECT)
@pytest.mark.parametrize("lane", [Lane.CANCELED, Lane.DONE])
def test_what_others_have_finished_meanwhile_is_no_trouble(lane: Lane, release: str) -> None:
    """The orchestrator does not repeat a claim of a work package that a user has finished."""
    with folder() as root:
        world = World.of(root, wide(2), steady(300, 120), release=release, max_concurrent=1)

        async def human() -> None:
            await anyio.sleep(100)
            world.host.mission.packages["WP02"].lane = lane

        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(human)
                board = await world.run()
                assert board is not None, world.troubles
                assert board.unfinished() == {}

        in_virtual_time(main)
        assert not world.events(WorkPackageStuck)
        assert [call.options["wp"] for call in world.host.calls if _claims(call)].count("WP02") == 1


def _claims(call: Asked) -> bool:
    return call.verb == "start-implementation"


@reproducible
@given(dags, releases, seeds)
def test_whatever_agents_do_a_run_comes_to_its_end(dag: Dag, release: str, seed: int) -> None:
    """A run finishes each work package once, though agents fail and reviewers refuse."""
    with folder() as root:
        world = World.of(root, dag, unlucky(seed), release=release, **PATIENT)
        board = in_virtual_time(world.run, seed)
        assert board is not None, world.troubles
        assert is_done(world), board.unfinished()
        assert moved_twice(world) == started_twice(world) == []


@reproducible
@given(dags, releases, seeds, st.integers(1, 3))
def test_whatever_the_host_does_a_run_comes_to_its_end(
    dag: Dag, release: str, seed: int, faulty_runs: int
) -> None:
    """Runs with host faults end by themselves, and a run without faults finishes the mission."""
    with folder() as root:
        world = World.of(root, dag, unlucky(seed), release=release, **PATIENT)
        faults = by_chance(Random(seed), 0.2)  # noqa: S311 - not for secrets

        async def main() -> None:
            for _ in range(faulty_runs):
                await world.run(faults=faults)
            await world.run()

        in_virtual_time(main, seed)
        assert is_done(world), (world.host.lanes(), world.troubles)
        assert moved_twice(world) == started_twice(world) == []


def test_an_outdated_report_starts_no_agent() -> None:
    """A report from before a work package was done does not start its implementer again."""

    def plays(wp: str, role: Role, _: int) -> Play:
        long = 10 if wp == "WP02" else 1
        return Play(150 * long, "works") if role == "implement" else Play(40, "approves")

    def outdated(verb: str, calls: int) -> Fault | None:
        return Fault.STALE_AFTER if verb == "mission-state" and calls == 2 else None

    with folder() as root:
        world = World.of(root, wide(2), plays, heartbeat=100.0)
        in_virtual_time(lambda: world.run(faults=outdated))
        assert is_done(world)
        assert moved_twice(world) == started_twice(world) == []


@reproducible
@given(dags, releases, seeds, st.lists(st.integers(0, 60), min_size=1, max_size=3))
def test_a_killed_run_is_gone_on_with(dag: Dag, release: str, seed: int, kills: list[int]) -> None:
    """After a kill at any point, the next runs finish the mission and repeat no step."""
    with folder() as root:
        world = World.of(root, dag, unlucky(seed), release=release, **PATIENT)

        async def main() -> None:
            for touches in kills:
                await world.run(touches=touches)
            await world.run()

        in_virtual_time(main, seed)
        assert is_done(world), (world.host.lanes(), world.troubles)
        assert moved_twice(world) == started_twice(world) == []


@reproducible
@given(dags, releases, seeds, st.lists(st.floats(1, 3000), min_size=1, max_size=3))
def test_an_interrupted_run_is_gone_on_with(
    dag: Dag, release: str, seed: int, ends: list[float]
) -> None:
    """After Ctrl-C no agent is left, and the next run finishes the mission and repeats no step."""
    with folder() as root:
        world = World.of(root, dag, unlucky(seed), release=release, **PATIENT)

        async def main() -> None:
            for seconds in ends:
                await world.run(seconds=seconds)
                assert world.agents.alive == 0
            await world.run()

        in_virtual_time(main, seed)
        assert is_done(world), (world.host.lanes(), world.troubles)
        assert moved_twice(world) == started_twice(world) == []
