"""The pytest plugin: the marker ``spec_kitty`` and its fixtures.

pytest loads this module in every run in an environment with this distribution, even if no test
uses it. So it is installed outside of the packages, as ``_spec_kitty_pytest``, and imports them
only when a test needs them: that takes longer than a small test. The types are in `plugin`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spec_kitty_client.testing import Recording, Replay, SimulatedHost
    from spec_kitty_client.testing.plugin import Faulty, PlannedMission

__all__: list[str] = []

_RECORD = "--spec-kitty-record"
_MARKER = """\
spec_kitty(dialects=(), releases=(), plan=None, git=False, topology="lanes", merge_target=None): \
run the test on a simulated_host of the newest release of each of these dialects ("all": every \
dialect) and of these releases. plan: the work packages of its mission. git: whether it has a real \
git repository. topology, merge_target: the mission's topology, and the branch to merge it into."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that records tapes."""
    parser.getgroup("spec-kitty").addoption(
        _RECORD,
        metavar="REPOSITORY",
        help="record the tapes of all tests with the fixture `tape` again, with the spec-kitty "
        "on PATH in this repository. The tests change the repository.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, as ``--strict-markers`` requires."""
    config.addinivalue_line("markers", _MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once on each host that its marker names."""
    if "_spec_kitty_release" not in metafunc.fixturenames:
        return
    from spec_kitty_client.testing.plugin import MarkerMisused, marked

    try:
        releases = marked(metafunc.definition).hosts()
    except MarkerMisused as e:
        raise pytest.Collector.CollectError(str(e)) from e
    if releases:
        metafunc.parametrize("_spec_kitty_release", releases, indirect=True)


@pytest.fixture
def _spec_kitty_release(request: pytest.FixtureRequest) -> str:
    """Return the host release of `simulated_host`."""
    from spec_kitty_client.testing.plugin import DEFAULT

    return getattr(request, "param", DEFAULT)


@pytest.fixture
def simulated_host(request: pytest.FixtureRequest, _spec_kitty_release: str) -> SimulatedHost:
    """A simulated host with a mission, as in the marker; a real git repository in ``tmp_path``."""
    from spec_kitty_client.testing import SimulatedHost as Host
    from spec_kitty_client.testing import SimulatedRepository
    from spec_kitty_client.testing.plugin import marked

    wanted = marked(request.node)
    about: dict[str, Any] = {"release": _spec_kitty_release, "topology": wanted.topology}
    about["merge_target"] = wanted.merge_target
    if not wanted.git:
        return Host(wanted.plan, **about)
    tmp_path: Path = request.getfixturevalue("tmp_path")
    return SimulatedRepository(wanted.plan, folder=tmp_path / "repository", **about)


@pytest.fixture
def mission(simulated_host: SimulatedHost) -> PlannedMission:
    """The mission of `simulated_host`: its slug and its plan."""
    from spec_kitty_client.testing.plugin import PlannedMission

    return PlannedMission.of(simulated_host)


@pytest.fixture
def faulty(simulated_host: SimulatedHost) -> Iterator[Faulty]:
    """Makes transports to `simulated_host` with faults; a failed test prints the faults."""
    from spec_kitty_client.testing.plugin import Faulty

    made = Faulty(simulated_host)
    yield made
    sys.stdout.writelines(f"{happened}\n" for happened in made.happened())


@pytest.fixture
def tape(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recording | Replay]:
    """A transport that replays the tape of this test, or records it from a real host."""
    from spec_kitty_client.testing.plugin import taped

    session, failed = request.session, request.session.testsfailed
    repository: str | None = request.config.getoption(_RECORD)
    place = repository and request.config.invocation_params.dir / repository
    with taped(request.node, place or None, tmp_path, lambda: session.testsfailed > failed) as it:
        yield it
