"""The simulated host with controls for tests: set lanes, lose answers, record calls."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from spec_kitty_client import Completed, HostNotFound
from spec_kitty_client.testing import Fault, FaultyTransport
from spec_kitty_client.testing.calls import verb_in
from spec_kitty_client.testing.host import (
    NotSimulated,
    Release,
    SimulatedHost,
    SimulatedRepository,
)
from spec_kitty_client.testing.host.answers import Misused
from spec_kitty_client.testing.host.arguments import understand
from spec_kitty_client.testing.host.board import Plan
from spec_kitty_client.testing.host.workspace import InMemoryWorkspace, branch_of

SLUG = "pay-01ABCDEF"
FOLDER = f"kitty-specs/{SLUG}"
READS = ("contract-version", "mission-state", "list-ready", "resolve-workspace", "--version")
LOST = (Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER, Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
"""Faults that lose an answer: a timeout or a crash, before or after the effect."""


def git(folder: Path, *args: str) -> str:
    """Run git and return what it printed."""
    done = subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Simulated:
    """A `Transport` that is a host of one release, with one mission.

    Args:
        release: The release of the host.
        packages: The work packages, each with its dependencies.
        root: The primary checkout, with a commit; None for a host without a git repository.
        shared: All work packages have one execution lane.
        mission: Topology and target of the mission, as `SimulatedHost` takes them.
    """

    def __init__(
        self,
        release: str,
        packages: Plan | None = None,
        root: Path | None = None,
        *,
        shared: bool = False,
        **mission: str,
    ) -> None:
        kind = partial(SimulatedRepository, folder=root) if root else SimulatedHost
        self.host = kind(packages or {"WP01": []}, release=release, slug=SLUG, **mission)
        self.mission = self.host.mission
        if shared:
            self._share_one_lane()
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.faults: dict[str, list[Fault | None]] = defaultdict(list)
        """Faults by verb, used up one per call."""
        self._faulty = FaultyTransport(_Hooked(self), self._next_fault)
        self.on_merge: Callable[[], object] = lambda: None
        """Called after a successful merge, before the host answers."""

    def become(self, release: str) -> None:
        """Act as another release from now on."""
        self.host.release = Release(release)

    def since(self, release: str) -> bool:
        """Return whether the host is of this release or a later one."""
        return self.host.release.since(release)

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer a call as a host process would."""
        options = dict[str, str]()
        with suppress(Misused, NotSimulated):  # no call of this release, or --version
            options |= understand(args, self.host.release).options
        self.calls.append((verb_in(tuple(args)), options))
        return self._faulty.run(args, time_limit=time_limit)

    def _next_fault(self, verb: str, _: int) -> Fault | None:
        return self.faults[verb].pop(0) if self.faults[verb] else None

    # The calls that it got

    @property
    def verbs(self) -> list[str]:
        """The verbs that were called, by their newest names, in order."""
        return [verb for verb, _ in self.calls]

    @property
    def mutations(self) -> list[str]:
        """The called verbs that may have changed something."""
        return [verb for verb in self.verbs if verb not in READS]

    def sent(self, verb: str) -> list[dict[str, str]]:
        """Return the options of each call of a verb."""
        return [options for name, options in self.calls if name == verb]

    # Its board

    @property
    def lanes(self) -> Mapping[str, str]:
        """The lane of each work package; `put` sets it."""
        return MappingProxyType(self.host.lanes())

    @property
    def owners(self) -> dict[str, str | None]:
        """The actor that moved each work package last; hosts take that actor for its owner."""
        return {wp: package.actor for wp, package in self.mission.packages.items()}

    @property
    def moves(self) -> list[tuple[str, str, str, bool]]:
        """Every effect on the board: work package, before, after, whether it was forced."""
        return [(m.wp, m.before, m.after, m.forced) for m in self.mission.moves]

    def put(self, wp: str, lane: str, actor: str = "ada") -> None:
        """Put a work package into a lane without a call; without git, record a commit for it."""
        if isinstance(self.host.workspace, InMemoryWorkspace):
            self.host.workspace.start(self.mission, wp)
        package = self.mission.packages[wp]
        package.lane, package.actor = lane, actor
        package.events += 1

    # Its repository

    @property
    def top(self) -> Path:
        """The primary checkout."""
        return Path(self.host.workspace.root)

    def branch(self, wp: str) -> str:
        """Return the branch that merge takes."""
        return branch_of(self.host.release, self.mission, wp)

    def worktree(self, wp: str) -> Path:
        """Return the worktree of a work package."""
        return self.top / ".worktrees" / self.branch(wp).removeprefix("kitty/mission-")

    def has_branch(self, name: str) -> bool:
        """Return whether the repository has a branch."""
        return bool(git(self.top, "branch", "--list", name))

    def lanes_json(self) -> dict[str, Any]:
        """Return the lanes.json that the host wrote when the tasks were final (3.1.0 and later)."""
        facts: dict[str, Any] = json.loads((self.top / FOLDER / "lanes.json").read_text())
        return facts

    def write_lanes(self, facts: object) -> None:
        """Commit another lanes.json."""
        (self.top / FOLDER / "lanes.json").write_text(json.dumps(facts) + "\n")
        git(self.top, "commit", "--quiet", "--message=lanes", "--", FOLDER)

    def _share_one_lane(self) -> None:
        self.mission.lanes = dict.fromkeys(self.mission.packages, "lane-a")
        lane = {"lane_id": "lane-a", "wp_ids": [*self.mission.packages], "depends_on_lanes": []}
        self.write_lanes(self.lanes_json() | {"lanes": [lane]})


class _Hooked:
    """A transport that runs a test's `on_merge` after each successful merge."""

    def __init__(self, asked: Simulated) -> None:
        self._asked = asked

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        answer = self._asked.host.run(args, time_limit=time_limit)
        if verb_in(tuple(args)) == "merge-mission" and answer.exit_code == 0:
            self._asked.on_merge()
        return answer


class WithGit(Simulated):
    """A `Simulated` host with a repository, which is also a `GitTransport`."""

    git_calls = 0
    inside: Path | None = None
    """The folder in which git runs, if that is not the primary checkout."""

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git for a workflow verb."""
        self.git_calls += 1
        if folder and not Path(folder).is_dir():
            msg = f"No git: there is no folder {folder} to run in."
            raise HostNotFound(msg)
        done = subprocess.run(
            ["git", *args], cwd=folder or self.inside or self.top, capture_output=True, check=False
        )
        return Completed(
            argv=("git", *args),
            exit_code=done.returncode,
            stdout=done.stdout,
            stderr=done.stderr,
            time_limit=time_limit,
        )


class AsyncWithGit:
    """The async form of `WithGit`."""

    def __init__(self, host: WithGit) -> None:
        self.host = host

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer after a turn of the event loop."""
        import anyio.lowlevel

        await anyio.lowlevel.checkpoint()
        return self.host.run(args, time_limit=time_limit)

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git for a workflow verb."""
        return self.host.git(args, folder=folder, time_limit=time_limit)
