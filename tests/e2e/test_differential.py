"""The simulated host and the real host under test, with the same calls.

``DIFFERENTIAL`` in the environment is the number of sequences over all kinds of missions; ``nox -s
differential`` sets 300.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from packaging.version import Version

from spec_kitty_client.testing import PackagePlan, SimulatedHost, SimulatedRepository
from spec_kitty_client.testing.differential import HostMachine, RealMission
from spec_kitty_client.testing.host.board import Plan
from spec_kitty_client.transports import Transport
from spec_kitty_client.transports.process import ProcessTransport
from tests import missions, user_missions
from tests.record.host import Host
from tests.user_missions import Package

PLAN: dict[str, list[str]] = {"WP01": [], "WP02": ["WP01"], "WP03": []}
SEQUENCES = int(os.environ.get("DIFFERENTIAL", "12"))
KINDS = 12  # variants of missions, in memory and with git
SETTINGS = settings(
    max_examples=-(-SEQUENCES // KINDS),
    stateful_step_count=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # a real host takes too long for the smallest example
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Variant:
    """A kind of mission.

    Attributes:
        packages: The work packages of a user; None: `PLAN`, without subtasks.
        topology: The topology of the mission, if the host offers a choice.
        headed: Whether subtasks have a heading of their own in ``tasks.md``.
        since: The first release that supports it.
    """

    packages: Mapping[str, Package] | None = None
    topology: str = "lanes"
    headed: bool = False
    since: str = "1.0.0"

    @property
    def plan(self) -> Plan:
        """Return the plan for the simulated host."""
        if self.packages is None:
            return PLAN
        numbers = count(1)
        return {
            wp: PackagePlan(
                needs=package.needs,
                subtasks=[f"T{next(numbers):03d}" for _ in range(package.subtasks)],
                owns=(f"{package.folder}/**", *package.also_owns),
                planning=package.planning,
            )
            for wp, package in self.packages.items()
        }


def package(wp: str, *needs: str, **more: Any) -> Package:
    return Package(makes=f"src/{wp.lower()}/part.py", needs=needs, **{"subtasks": 2, **more})


SHARED = {"also_owns": ("src/shared/**",), "everywhere": True}
CODE = {"WP01": package("WP01"), "WP02": package("WP02", "WP01", subtasks=1)}
VARIANTS = {
    "plain": Variant(),
    "subtasks": Variant(CODE | {"WP03": package("WP03", subtasks=0)}, since="2.1.0"),
    "template": Variant(CODE, headed=True, since="2.1.0"),
    "shared": Variant(
        CODE | {"WP03": package("WP03", **SHARED), "WP04": package("WP04", **SHARED)}, since="3.2.0"
    ),
    "planning": Variant(
        CODE
        | {"WP03": package("WP03", planning=True), "WP04": package("WP04", "WP03", subtasks=0)},
        since="3.1.0",
    ),
    "coord": Variant(CODE | {"WP03": package("WP03", planning=True)}, "coord", since="3.2.5"),
}


class Fresh:
    """A mission on the real host that can be reset."""

    def __init__(self, host: Host, release: Version, variant: Variant) -> None:
        self.release, self._host, self.variant = str(release), host, variant
        self._root, self._kept = host.folder / "repo", host.folder / "kept"
        made = self._make()
        self._slug, self._target = made
        meta = json.loads((self._root / "kitty-specs" / self._slug / "meta.json").read_text())
        self._ulid = str(meta.get("mission_id", ""))
        shutil.copytree(self._root, self._kept, symlinks=True)

    def _make(self) -> tuple[str, str]:
        host, variant = self._host, self.variant
        where = (host.spec_kitty, self.release, self._root)
        if variant.packages is None:
            plain = missions.make(*where, PLAN, env=host.env, host=host.for_missions)
            return plain.slug, plain.target_branch
        made = user_missions.make(
            *where,
            packages=variant.packages,
            topology=variant.topology,
            headed=variant.headed,
            env=host.env,
            host=None if self.is_split else host.for_missions,
        )
        return made.slug, made.target

    @property
    def is_split(self) -> bool:
        """Whether the warm host has the commands of orchestrator-api only."""
        return self.release.startswith("4.")

    @property
    def transport(self) -> Transport:
        return self._host.transport(self._root)

    def again(self) -> RealMission:
        """Return the mission in its initial state."""
        shutil.rmtree(self._root)
        shutil.copytree(self._kept, self._root, symlinks=True)
        cold = ProcessTransport(repo=self._root, executable=str(self._host.spec_kitty))
        return RealMission(
            transport=self.transport,
            slug=self._slug,
            root=str(self._root),
            target=self._target,
            ulid=self._ulid,
            planner="demo" if self.release.startswith("1.") else None,
            agent=cold if self.is_split else None,
        )


@pytest.fixture(scope="module", params=VARIANTS)
def fresh(
    tmp_path_factory: pytest.TempPathFactory, release: Version, request: pytest.FixtureRequest
) -> Iterator[Fresh]:
    """A mission of each kind on the real host, kept warm."""
    variant = VARIANTS[request.param]
    if release < Version(variant.since):
        pytest.skip(f"hosts know of it from {variant.since} on")
    base = tmp_path_factory.mktemp("differential").resolve()
    with Host(Path(os.environ["E2E_HOST"]).absolute(), base) as host:
        yield Fresh(host, release, variant)


def machine(fresh: Fresh, kind: type[HostMachine] = HostMachine) -> type[HostMachine]:
    """Return a machine for this host."""

    class Machine(kind):  # type: ignore[valid-type, misc]
        release = fresh.release
        plan = fresh.variant.plan
        topology = fresh.variant.topology
        headed = fresh.variant.headed

        def begin(self) -> RealMission:
            return fresh.again()

    return Machine


class WithGit(HostMachine):
    """The simulated host has a repository as well, and work is done only where a rule says so."""

    def simulate(self) -> SimulatedHost:
        self._folder = tempfile.TemporaryDirectory(prefix="simulated-")
        folder = Path(self._folder.name).resolve() / "repo"
        return SimulatedRepository(self.plan, folder=folder, **self.about())

    def claimed(self, wp: str) -> None:
        """Commit work in two of three cases, so that hosts miss a commit in the third."""
        self._claims: int = getattr(self, "_claims", 0) + 1
        if self._claims % 3:
            self.commit(wp, self.real.root)
            self.commit(wp, self.simulated.workspace.root)

    def accepted(self) -> None:
        super().accepted()
        for args in (("add", "--all", "--", "kitty-specs"), ("commit", "-qm", "accepted")):
            self.git(*args, folder=self.simulated.workspace.root)

    def teardown(self) -> None:
        super().teardown()
        self._folder.cleanup()


def test_the_simulated_host_answers_as_this_one_does(fresh: Fresh) -> None:
    """Both hosts give the same answers to any calls in any order."""
    run_state_machine_as_test(machine(fresh), settings=SETTINGS)


def test_the_simulated_host_with_git_answers_as_this_one_does(fresh: Fresh) -> None:
    """Both hosts give the same answers, with real commits, worktrees and merges on both sides."""
    run_state_machine_as_test(machine(fresh, WithGit), settings=SETTINGS)


def test_a_difference_is_found_and_shown(fresh: Fresh) -> None:
    """A simulated host of another release fails the comparison, which shows the difference."""

    class Wrong(machine(fresh)):  # type: ignore[misc]
        def simulate(self) -> SimulatedHost:
            other = "3.1.10" if self.release.startswith("1.") else "1.0.3"
            return SimulatedHost(self.plan, release=other, slug=self.real.slug)

    with pytest.raises(AssertionError, match=r"simulated"):
        run_state_machine_as_test(Wrong, settings=SETTINGS)
