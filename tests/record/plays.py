"""All scenarios on one release, in the order in which they need each other."""

import time
from collections.abc import Callable, Collection
from pathlib import Path

from tests import missions
from tests.record import matrix, scenarios, user_scenarios
from tests.record.host import Host
from tests.record.world import DAG, Release, Tape, World

__all__ = ["NAMES", "play"]

_ALL = {
    **{scene.__name__: scene for scene in scenarios.ALL},
    "matrix": matrix.play,
    **{scene.__name__: scene for scene in user_scenarios.ALL},
}
_BEFORE = {"merges": "whole", "damages": "whole"}  # they start from its end state
NAMES = tuple(_ALL)


def play(
    host: Host,
    release: str,
    tape: Tape,
    *,
    names: Collection[str] = NAMES,
    inspect: Callable[[Path, Path], str] | None = None,
    tell: Callable[[str], object] = str,
) -> None:
    """Run scenarios in a mission of their own.

    Args:
        host: Makes the calls, in its folder.
        release: The version of the host.
        tape: Records the calls.
        names: The scenarios; the scenarios that they need are run as well.
        inspect: See `World.inspect`.
        tell: Called with the name of each finished scenario.
    """
    root = host.folder / "repo"
    mission = missions.make(
        host.spec_kitty, release, root, DAG, env=host.env, host=host.for_missions
    )
    world = World(Release(release), host, tape, host.folder, mission, inspect)
    world.save("fresh")
    wanted = {_BEFORE.get(name, name) for name in names} | {*names}
    for name in (n for n in NAMES if n in wanted):
        start = time.monotonic()
        world.load()
        _ALL[name](world)
        world.close()
        tell(f"{name}: {host.calls} calls, {time.monotonic() - start:.0f} s")
