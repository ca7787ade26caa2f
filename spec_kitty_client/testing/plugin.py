"""The types behind the fixtures of the pytest plugin, and its marker.

    @pytest.mark.spec_kitty(dialects=["M3", "M4"], plan={"WP01": [], "WP02": ["WP01"]})
    def test_the_mission_ends(simulated_host: SimulatedHost, mission: PlannedMission) -> None:
        ...

The fixtures themselves are in `pytest_plugin`, which pytest loads in every run and which does not
import this package.
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
"""The release of the simulated host without a marker: the newest stable one."""

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
_SMALL = 100_000  # bytes of noise; the default of 50 MB would make tests slow


class MarkerMisused(ValueError):
    """The marker ``spec_kitty`` of a test has an invalid argument."""


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


@frozen(kw_only=True)
class Marked:
    """The arguments of a test's marker.

    Attributes:
        dialects: Run the test on the newest release of each of these; ``"all"``: of every dialect.
        releases: Run the test on these releases of ``spec-kitty-cli`` as well.
        plan: The work packages of the mission, each with its dependencies or a `PackagePlan`.
        git: Whether the host has a real git repository.
        topology: The mission's topology; see `SimulatedHost`.
        merge_target: The branch to merge into; see `SimulatedHost`.
    """

    dialects: Sequence[str] = field(default=(), converter=_listed)
    releases: Sequence[str] = field(default=(), converter=_listed)
    plan: Plan = field(factory=lambda: {"WP01": [], "WP02": ["WP01"]})
    git: bool = False
    topology: str = "lanes"
    merge_target: str | None = None

    def hosts(self) -> list[str]:
        """Return the releases to run on, each once; empty for the default.

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
        msg = f'there is no dialect {name!r}. Use {", ".join(Dialect)}, or "all"'
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
        msg = f"host {name} is newer than {newest}, the newest simulated host"
        raise MarkerMisused(msg)
    return name


def marked(node: pytest.Item) -> Marked:
    """Return the arguments of a test's markers; the closest marker wins for each argument.

    Args:
        node: The test.

    Raises:
        MarkerMisused: If a marker has an unknown or a positional argument.
    """
    given: dict[str, object] = {}
    for mark in reversed(list(node.iter_markers("spec_kitty"))):
        unknown = [*map(repr, mark.args), *(name for name in mark.kwargs if name not in _NAMES)]
        if unknown:
            takes = ", ".join(_NAMES)
            msg = (
                f"the marker spec_kitty does not take {', '.join(unknown)}. Its arguments, all by "
                f"name, are {takes}"
            )
            raise MarkerMisused(msg)
        given |= mark.kwargs
    return Marked(**given)  # type: ignore[arg-type]


@frozen
class PlannedMission:
    """The mission of a simulated host, before the test starts.

    Attributes:
        slug: Slug of the mission, for calls.
        plan: Ids of its work packages in plan order, each with the ids of its dependencies.
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
    """Makes transports to a simulated host that inject faults. They never wait.

    Attributes:
        host: The simulated host.
    """

    host: SimulatedHost
    _made: list[FaultyTransport] = field(factory=list, init=False, repr=False)

    def __call__(self, faults: Faults) -> FaultyTransport:
        """Return a transport with these faults; ``NOISE`` is 100 kB.

        Args:
            faults: The faults to inject; see `spec_kitty_client.testing.faults.Faults`.

        Raises:
            ValueError: If there is no such verb.
        """
        transport = FaultyTransport(self.host, faults, noise=_SMALL, sleep=_at_once)
        self._made.append(transport)
        return transport

    def by_chance(self, seed: int, rate: float) -> FaultyTransport:
        """Return a transport with random faults, the same for the same seed and calls.

        Args:
            seed: Seed of the random number generator.
            rate: Share of calls with a fault, from 0 to 1.
        """
        return self(by_chance(Random(seed), rate))  # noqa: S311 - the same each time, on purpose

    def happened(self) -> list[Happened]:
        """Return all injected faults, transport by transport."""
        return [happened for transport in self._made for happened in transport.happened]


def _at_once(_seconds: float) -> None:
    """Return at once."""


@contextmanager
def taped(
    node: pytest.Item, repository: Path | None, folder: Path, failed: Callable[[], bool]
) -> Generator[Recording | Replay]:
    """Replay the tape of a test strictly, or record it; a failed test leaves no tape.

    Args:
        node: The test. Its tape is ``tapes/<test file>/<test>.jsonl`` next to the test file.
        repository: Repository in which a real host is recorded; None: replay.
        folder: Folder for the recording until the test has passed; in a replay, the repository.
        failed: Returns, after the test, whether it failed.

    Raises:
        NotADirectoryError: If there is no such repository.
        FileNotFoundError: If there is no tape; the message has the command that records it.
        TapeMismatch: If the test passed without making all recorded calls.
    """
    path = _path(node)
    if repository is None:
        if not path.exists():
            how = f"pytest --spec-kitty-record=REPOSITORY '{node.nodeid}'"
            raise FileNotFoundError(f"there is no tape {path}. Record it: {how}")
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
    """Return the path of a test's tape; tests of the same name in two files get two tapes."""
    name = quote(".".join(node.nodeid.split("::")[1:]), safe="[]=, ")
    return node.path.parent / "tapes" / node.path.stem / f"{name}.jsonl"
