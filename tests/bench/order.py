"""The longest path first against the plan's order, in virtual time.

*Steady* agents take the time that the schedule expects: each role always the same. Whole runs are
compared. *Drawn* durations differ by work package, and the schedule does not know them; each
mission gets several draws, which run on the board alone.
"""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import anyio
from attrs import evolve, frozen

from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.scheduling.slots import Limit
from spec_kitty_orchestrator.settings import Order
from tests.bench.bounds import Dag, lower_bound
from tests.bench.figures import figure
from tests.bench.lab import say
from tests.property.virtual import Run, layered
from tests.virtual.agents import Play, Plays, steady
from tests.virtual.world import World, folder, in_virtual_time

__all__ = ["Puzzle", "measure", "on_the_board", "whole"]

_MISSIONS = 200
_DRAWS = 20
_TICK = 0.001  # seconds
_STEADY = {"implement": 300.0, "review": 120.0}
Seconds = Mapping[str, Mapping[str, float]]
"""The seconds of the agents of a work package, by role."""


@frozen
class Puzzle:
    """A mission whose order is compared."""

    dag: Dag
    slots: int

    @classmethod
    def of(cls, seed: int) -> "Puzzle":
        """Make one of four to ten layers for two to six slots."""
        random = Random(seed)  # noqa: S311 - the same for the same seed is what is wanted
        slots = random.randint(2, 6)
        dag = layered(random, layers=random.randint(4, 10), widest=2 * slots)
        return cls(dict(dag), slots)

    def bound(self, seconds: Seconds) -> float:
        """Return the lower bound for any order."""
        return lower_bound(self.dag, {wp: sum(s.values()) for wp, s in seconds.items()}, self.slots)

    def always(self) -> Seconds:
        """Return the seconds of steady agents."""
        return dict.fromkeys(self.dag, _STEADY)

    def drawn(self, seed: str) -> Seconds:
        """Return random seconds: half of them differ from the usual ones by a third or more."""
        random = Random(seed)  # noqa: S311 - see above
        return {
            wp: {role: usual * random.lognormvariate(0, 0.6) for role, usual in _STEADY.items()}
            for wp in self.dag
        }


def measure() -> dict[str, Any]:
    """Return the comparison of the two orders over all missions."""
    say(f"virtual time: {_MISSIONS} missions in two orders")
    puzzles = [Puzzle.of(seed) for seed in range(_MISSIONS)]
    steadily = [_compared(p, p.always(), whole) for p in puzzles]
    drawn = [
        [_compared(p, p.drawn(f"{seed} {draw}"), on_the_board) for draw in range(_DRAWS)]
        for seed, p in enumerate(puzzles)
    ]
    averages = [{k: mean(d[k] for d in draws) for k in draws[0]} for draws in drawn]
    return {
        "steady": _summary(steadily),
        "drawn, mean of 20": _summary(averages),
        "drawn, each": _summary([one for draws in drawn for one in draws]),
    }


def _summary(found: list[dict[str, float]]) -> dict[str, Any]:
    ratios = [one["longest path"] / one["plan"] for one in found]
    to_bound = [one["longest path"] / one["bound"] for one in found]
    return {
        "missions": len(found),
        "ratio_mean": figure([mean(ratios)]),
        "ratio_worst": figure([max(ratios)]),
        "ratio_best": figure([min(ratios)]),
        "worse_by_1_percent": sum(ratio > 1.01 for ratio in ratios),
        "ratio_bound_mean": figure([mean(to_bound)]),
        "ratio_bound_worst": figure([max(to_bound)]),
        "plan_bound_mean": mean(one["plan"] / one["bound"] for one in found),
        "plan_bound_worst": max(one["plan"] / one["bound"] for one in found),
    }


def _compared(puzzle: Puzzle, seconds: Seconds, play: Any) -> dict[str, float]:
    return {
        "longest path": play(puzzle, seconds, Order.LONGEST_PATH),
        "plan": play(puzzle, seconds, Order.PLAN),
        "bound": puzzle.bound(seconds),
    }


def on_the_board(puzzle: Puzzle, seconds: Seconds, order: Order) -> float:
    """Return the seconds of a mission on the board alone."""
    limits = (Limit(puzzle.slots, frozenset({"implement", "review"})),)
    return Run(puzzle.dag, limits, order, lambda wp, role: seconds[wp][role]).play()


def whole(puzzle: Puzzle, seconds: Seconds, order: Order) -> float:
    """Return the seconds of a whole run with steady agents."""
    of_roles = next(iter(seconds.values()))
    with folder() as root:
        return in_virtual_time(lambda: _until_done(root, puzzle, of_roles, order))


def _one_by_one(plays: Plays) -> Plays:
    """Let agents that end at the same time end in the order of their starts."""
    ticks = count()

    def play(wp: str, role: Role, number: int) -> Play:
        usual = plays(wp, role, number)
        return evolve(usual, seconds=usual.seconds + next(ticks) * _TICK)

    return play


async def _until_done(
    root: Path, puzzle: Puzzle, of_roles: Mapping[str, float], order: Order
) -> float:
    plays = _one_by_one(steady(of_roles["implement"], of_roles["review"]))
    world = World.of(root, puzzle.dag, plays, max_concurrent=puzzle.slots, order=order)
    board = await world.run()
    if board is None or board.unfinished():
        raise RuntimeError(f"not done: {world.troubles}")
    return anyio.current_time()
