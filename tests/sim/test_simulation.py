"""No seed breaks a rule, and the simulation finds every part that is switched off."""

import os

import pytest

from tests.sim.planted import PLANTED
from tests.sim.world import simulate

SEEDS = int(os.environ.get("SIMULATION", "60"))
"""How many missions are simulated; `nox -s simulation` does 20,000."""


@pytest.mark.parametrize("seeds", [range(start, SEEDS, 4) for start in range(4)], ids=str)
def test_whatever_happens_no_rule_is_broken(seeds: range) -> None:
    """Agents, people, the host and the disk misbehave: no work is lost, and the mission ends."""
    broken = [f"{o.violation}: {o.replay()}" for o in map(simulate, seeds) if o.violation]
    assert not broken


@pytest.mark.parametrize("name", PLANTED)
def test_a_part_that_is_switched_off_is_missed(name: str) -> None:
    """The simulation finds each defect that was planted, with the seed that is known for it."""
    seed, switched_off = PLANTED[name]
    with switched_off():
        assert simulate(seed).violation
    assert simulate(seed).violation is None


def test_a_seed_decides_everything() -> None:
    """The same seed gives the same events, so that a violation can be replayed."""
    first, second = simulate(3), simulate(3)
    roots = [o.events[-1].mission for o in (first, second)]
    assert roots[0] == roots[1]
    assert [e.kind for e in first.events] == [e.kind for e in second.events]
    assert [e.at for e in first.events] == [e.at for e in second.events]
