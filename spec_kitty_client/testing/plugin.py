"""What the fixtures of the pytest plugin are, and how its marker is read.

    @pytest.mark.spec_kitty(dialects=["M3", "M4"], plan={"WP01": [], "WP02": ["WP01"]})
    def test_the_mission_ends(simulated_host: SimulatedHost, mission: PlannedMission) -> None:
        ...

The fixtures themselves are where pytest finds them without importing this package, which every
run of pytest would have to wait for: `pytest_plugin`.
"""

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
from attrs import field, fields, frozen

from spec_kitty_client.contract import NEWEST_TESTED
from spec_kitty_client.contract.dialects import Dialect, oldest_release
from spec_kitty_client.errors import UnsupportedHost
from spec_kitty_client.testing.faults import Faults, FaultyTransport, Happened, by_chance
from spec_kitty_client.testing.host import Release, SimulatedHost
from spec_kitty_client.testing.host.board import Plan
from spec_kitty_client.testing.tape import Recording, Replay, Tape
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.transports.warm import WarmTransport

__all__ = ["DEFAULT", "Faulty", "MarkerMisused", "PlannedMission", "marked", "taped"]

DEFAULT = "3.2.7"
"""The newest release that is not a pre-release: what a host is without a marker."""

_NEWEST = {
    Dialect.F1: "1.0.3",
    Dialect.F2: "3.0.3",
    Dialect.M0: "3.1.0",
    Dialect.M1: "3.1.10",
    Dialect.M2: "3.2.1",
    Dialect.M3: "3.2.5",
    Dialect.M4: DEFAULT,
    Dialect.M5: "4.0.0rc7",
}
_SMALL = 100_000  # bytes of noise: 50 MB with every other call would be most of a test's time


class MarkerMisused(ValueError):
    """The marker ``spec_kitty`` of a test says something that cannot be."""


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


@frozen(kw_only=True)
class Marked:
    """What the marker of a test asks for.

    Attributes:
        dialects: Run on the newest release of each; ``"all"``: of every one.
        releases: Run on these releases of ``spec-kitty-cli`` as well.
        plan: The work packages of the mission, each with what it depends on, or with a
            `PackagePlan`.
        git: Whether there is real git behind the host.
        topology: Of the mission; see `SimulatedHost`.
        merge_target: The branch to merge into; see `SimulatedHost`.
    """

    dialects: Sequence[str] = field(default=(), converter=_listed)
    releases: Sequence[str] = field(default=(), converter=_listed)
    plan: Plan = field(factory=lambda: {"WP01": [], "WP02": ["WP01"]})
    git: bool = False
    topology: str = "lanes"
    merge_target: str | None = None

    def hosts(self) -> list[str]:
        """Return the releases to run on, each once; none: the default.

        Raises:
            MarkerMisused: If there is no such dialect or release.
        """
        dialects = list(Dialect) if list(self.dialects) == ["all"] else map(_dialect, self.dialects)
        return list(dict.fromkeys([*(_NEWEST[d] for d in dialects), *map(_release, self.releases)]))


_NAMES = tuple(a.name for a in fields(Marked))


def _dialect(name: str) -> Dialect:
    try:
        return Dialect(name)
    except ValueError:
        msg = f'there is no dialect {name!r}; there are {", ".join(Dialect)}, and "all" for them'
        raise MarkerMisused(msg) from None


def _release(name: str) -> str:
    newest = oldest_release(NEWEST_TESTED)
    if not isinstance(name, str):
        msg = f"a release is text, such as {DEFAULT!r}, and not {name!r}"
        raise MarkerMisused(msg)
    try:
        release = Release(name)
    except UnsupportedHost as e:
        raise MarkerMisused(str(e)) from e
    if newest is not None and release.version > newest:
        msg = f"host {name} is newer than {newest}, the newest that is simulated"
        raise MarkerMisused(msg)
    return name


def marked(node: pytest.Item) -> Marked:
    """Read the markers of a test; for each argument the closest one counts.

    Raises:
        MarkerMisused: If one has an argument that there is not, or one without a name.
    """
    given: dict[str, object] = {}
    for mark in reversed(list(node.iter_markers("spec_kitty"))):
        unknown = [*map(repr, mark.args), *(name for name in mark.kwargs if name not in _NAMES)]
        if unknown:
            takes = ", ".join(_NAMES)
            msg = f"the marker spec_kitty takes {takes} by name, and not {', '.join(unknown)}"
            raise MarkerMisused(msg)
        given |= mark.kwargs
    return Marked(**given)  # type: ignore[arg-type]


@frozen
class PlannedMission:
    """A mission at its beginning, as a test has to know it.

    Attributes:
        slug: Its name, as calls have it.
        plan: Its work packages in plan order, each with those that it depends on.
    """

    slug: str
    plan: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, host: SimulatedHost) -> "PlannedMission":
        """Return the first mission of a host."""
        packages = host.mission.packages.items()
        return cls(host.mission.slug, {wp: tuple(p.dependencies) for wp, p in packages})


@frozen
class Faulty:
    """Makes transports to a simulated host whose calls go wrong. Nothing in them ever waits.

    Attributes:
        host: Whom the calls get to.
    """

    host: SimulatedHost
    _made: list[FaultyTransport] = field(factory=list, init=False, repr=False)

    def __call__(self, faults: Faults) -> FaultyTransport:
        """Return a transport with these faults; ``NOISE`` is 100 kB.

        Raises:
            ValueError: If there is no such verb.
        """
        transport = FaultyTransport(self.host, faults, noise=_SMALL, sleep=_at_once)
        self._made.append(transport)
        return transport

    def by_chance(self, seed: int, rate: float) -> FaultyTransport:
        """Return a transport with any faults, the same for the same seed and calls.

        Args:
            seed: Of the random numbers.
            rate: The share of calls with a fault, from 0 to 1.
        """
        return self(by_chance(Random(seed), rate))  # noqa: S311 - the same each time, on purpose

    def happened(self) -> list[Happened]:
        """Return every fault there was, transport by transport."""
        return [happened for transport in self._made for happened in transport.happened]


def _at_once(_seconds: float) -> None:
    """Wait no time at all."""


@contextmanager
def taped(
    node: pytest.Item, repository: Path | None, folder: Path, failed: Callable[[], bool]
) -> Generator[Recording | Replay]:
    """Replay the tape of a test strictly, or record it; a failed test leaves no tape.

    Args:
        node: The test. Its tape is ``tapes/<test file>/<test>.jsonl`` beside its file.
        repository: Where the real host works that is recorded; None: replay.
        folder: Where a recording is until the test has passed; in a replay, the repository.
        failed: Tells at the end whether the test has failed.

    Raises:
        NotADirectoryError: If there is no such repository.
        FileNotFoundError: If there is no tape, with how to get one.
        TapeMismatch: If a test has passed that did not make all of the recorded calls.
    """
    path = _path(node)
    if repository is None:
        if not path.exists():
            how = f"pytest --spec-kitty-record=REPOSITORY '{node.nodeid}'"
            raise FileNotFoundError(f"there is no tape {path}; record it with {how}")
        replay = Tape(path, root=folder).replay()
        yield replay
        if not failed():
            replay.close()
        return
    if not repository.is_dir():
        raise NotADirectoryError(f"there is no repository {repository} to record in")
    fresh = Tape(folder / "tape.jsonl", root=repository.resolve())
    host = WarmTransport(ProcessTransport(repo=repository))
    yield fresh.record(host)
    host.close()
    if not failed():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fresh.path, path)


def _path(node: pytest.Item) -> Path:
    """Return where the tape of a test is; two tests of a folder may have the same name."""
    name = quote(".".join(node.nodeid.split("::")[1:]), safe="[]=, ")
    return node.path.parent / "tapes" / node.path.stem / f"{name}.jsonl"
