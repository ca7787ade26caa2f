"""The orchestrator is killed before and after each of its effects: it ends as if it was not."""

import os
import shutil
from pathlib import Path

import pytest

from tests.crash.world import CrashWorld

EVERY = int(os.environ.get("CRASH_EVERY", "30"))
"""One of so many moments is tried; all with 1, as `nox -s reliability` does."""


@pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.7"])
def test_a_killed_run_ends_as_one_that_was_not(release: str, tmp_path: Path) -> None:
    """Nothing is implemented twice, nothing is lost, and the mission is merged."""
    whole = CrashWorld.of(tmp_path / "whole", release)
    process = whole.run()
    expected = whole.outcome()
    assert expected["accepted"]
    assert len(process.names) > 40

    bad = []
    moments = range(len(release) % EVERY, process.effects, EVERY)
    for moment in moments:
        world = CrashWorld.of(tmp_path / str(moment), release)
        first = world.run(dies_at=moment)
        assert first.effects == moment + 1
        world.run()
        if (found := world.outcome()) != expected:
            bad.append((moment, first.names[-1], found))
        shutil.rmtree(world.root)
    assert not bad, f"of {len(moments)} moments of {process.effects}: {bad}"
