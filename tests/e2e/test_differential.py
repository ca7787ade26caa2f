"""The simulated host and this real one, with the same calls.

How many sequences: ``DIFFERENTIAL`` in the environment; ``nox -s differential`` asks for 300.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from packaging.version import Version

from spec_kitty_client.testing import SimulatedHost, SimulatedRepository
from spec_kitty_client.testing.differential import HostMachine, RealMission
from spec_kitty_client.transports import Transport
from tests import missions
from tests.record.host import Host

PLAN: dict[str, list[str]] = {"WP01": [], "WP02": ["WP01"], "WP03": []}
SETTINGS = settings(
    max_examples=int(os.environ.get("DIFFERENTIAL", "4")),
    stateful_step_count=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # a real host takes too long for the smallest example
    suppress_health_check=list(HealthCheck),
)


class Fresh:
    """A mission on the real host that can be had again and again."""

    def __init__(self, host: Host, release: Version) -> None:
        self.release, self._host = str(release), host
        self._root, self._kept = host.folder / "repo", host.folder / "kept"
        made = missions.make(
            host.spec_kitty, self.release, self._root, PLAN, env=host.env, host=host.for_missions
        )
        self._made = made
        meta = json.loads((self._root / "kitty-specs" / made.slug / "meta.json").read_text())
        self._ulid = str(meta.get("mission_id", ""))
        shutil.copytree(self._root, self._kept, symlinks=True)

    @property
    def transport(self) -> Transport:
        return self._host.transport(self._root)

    def again(self) -> RealMission:
        """Return it as it was at first."""
        shutil.rmtree(self._root)
        shutil.copytree(self._kept, self._root, symlinks=True)
        return RealMission(
            transport=self.transport,
            slug=self._made.slug,
            root=str(self._root),
            target=self._made.target_branch,
            ulid=self._ulid,
            planner="demo" if self.release.startswith("1.") else None,
        )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, release: Version) -> Iterator[Fresh]:
    """A mission on the real host, kept warm."""
    base = tmp_path_factory.mktemp("differential").resolve()
    with Host(Path(os.environ["E2E_HOST"]).absolute(), base) as host:
        yield Fresh(host, release)


def machine(fresh: Fresh, kind: type[HostMachine] = HostMachine) -> type[HostMachine]:
    """Return a machine for this host."""

    class Machine(kind):  # type: ignore[valid-type, misc]
        release = fresh.release
        plan = PLAN

        def begin(self) -> RealMission:
            return fresh.again()

    return Machine


class WithGit(HostMachine):
    """The simulated host has a repository as well, and work is done only where a rule says so."""

    def simulate(self) -> SimulatedHost:
        self._folder = tempfile.TemporaryDirectory(prefix="simulated-")
        return SimulatedRepository(
            self.plan,
            release=self.as_release,
            slug=self.real.slug,
            target=self.real.target,
            folder=Path(self._folder.name).resolve() / "repo",
        )

    def claimed(self, wp: str) -> None:
        """Work in two of three cases, so that hosts miss a commit in the third."""
        self._claims: int = getattr(self, "_claims", 0) + 1
        if self._claims % 3:
            self.commit(wp, self.real.root)
            self.commit(wp, self.simulated.land.root)

    def accepted(self) -> None:
        super().accepted()
        for args in (("add", "--all", "--", "kitty-specs"), ("commit", "-qm", "accepted")):
            self.git(*args, folder=self.simulated.land.root)

    def teardown(self) -> None:
        super().teardown()
        self._folder.cleanup()


def test_the_simulated_host_answers_as_this_one_does(fresh: Fresh) -> None:
    """Whatever is asked in whatever order, both give the same answers."""
    run_state_machine_as_test(machine(fresh), settings=SETTINGS)


def test_the_simulated_host_with_git_answers_as_this_one_does(fresh: Fresh) -> None:
    """The same where commits, worktrees and merges are real on both sides."""
    run_state_machine_as_test(machine(fresh, WithGit), settings=SETTINGS)


def test_a_difference_is_found_and_shown(fresh: Fresh) -> None:
    """A simulated host of another release does not pass for this one, and it says where."""

    class Wrong(machine(fresh)):  # type: ignore[misc]
        def simulate(self) -> SimulatedHost:
            other = "3.1.10" if self.release.startswith("1.") else "1.0.3"
            return SimulatedHost(self.plan, release=other, slug=self.real.slug)

    with pytest.raises(AssertionError, match=r"simulated"):
        run_state_machine_as_test(Wrong, settings=SETTINGS)
