"""The simulated host with handles for tests: lanes to put things into, answers to lose."""

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
"""How an answer is lost: by a time limit or a traceback, before or after the effect."""


def git(folder: Path, *args: str) -> str:
    """Run git and return what it printed."""
    done = subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Simulated:
    """A `Transport` that is a host of one release, with one mission.

    Args:
        release: Which host.
        packages: The work packages, each with what it depends on.
        root: The primary checkout, with a commit; None: there is no repository, and no git.
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
        """Is called when a merge was a success, before the answer."""

    def become(self, release: str) -> None:
        """Be another release from now on."""
        self.host.release = Release(release)

    def since(self, release: str) -> bool:
        """Tell whether it is this release or a later one."""
        return self.host.release.since(release)

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer a call as a host process would."""
        options = dict[str, str]()
        with suppress(Misused, NotSimulated):  # in other words than its own, or --version
            options |= understand(args, self.host.release).options
        self.calls.append((verb_in(tuple(args)), options))
        return self._faulty.run(args, time_limit=time_limit)

    def _next_fault(self, verb: str, _: int) -> Fault | None:
        return self.faults[verb].pop(0) if self.faults[verb] else None

    # What is asked of it afterwards

    @property
    def verbs(self) -> list[str]:
        """Which verbs were asked for, by their newest names, in order."""
        return [verb for verb, _ in self.calls]

    @property
    def mutations(self) -> list[str]:
        """Which of them may have changed something."""
        return [verb for verb in self.verbs if verb not in READS]

    def sent(self, verb: str) -> list[dict[str, str]]:
        """Return the options of each call of a verb."""
        return [options for name, options in self.calls if name == verb]

    # Its board

    @property
    def lanes(self) -> Mapping[str, str]:
        """Where each work package is; see `put`."""
        return MappingProxyType(self.host.lanes())

    @property
    def owners(self) -> dict[str, str | None]:
        """Who moved each work package last: hosts take it to be theirs."""
        return {wp: package.actor for wp, package in self.mission.packages.items()}

    @property
    def moves(self) -> list[tuple[str, str, str, bool]]:
        """Every effect on the board: work package, before, after, whether it was forced."""
        return [(m.wp, m.before, m.after, m.forced) for m in self.mission.moves]

    def put(self, wp: str, lane: str, actor: str = "ada") -> None:
        """Let a work package be in a lane, without a call; where there is no git, with a commit."""
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
        """Return where a work package is worked on."""
        return self.top / ".worktrees" / self.branch(wp).removeprefix("kitty/mission-")

    def has_branch(self, name: str) -> bool:
        """Tell whether there is a branch."""
        return bool(git(self.top, "branch", "--list", name))

    def lanes_json(self) -> dict[str, Any]:
        """Return what finalising the tasks has written (3.1.0 and later)."""
        facts: dict[str, Any] = json.loads((self.top / FOLDER / "lanes.json").read_text())
        return facts

    def write_lanes(self, facts: object) -> None:
        """Write and commit something else in its place."""
        (self.top / FOLDER / "lanes.json").write_text(json.dumps(facts) + "\n")
        git(self.top, "commit", "--quiet", "--message=lanes", "--", FOLDER)

    def _share_one_lane(self) -> None:
        self.mission.lanes = dict.fromkeys(self.mission.packages, "lane-a")
        lane = {"lane_id": "lane-a", "wp_ids": [*self.mission.packages], "depends_on_lanes": []}
        self.write_lanes(self.lanes_json() | {"lanes": [lane]})


class _Hooked:
    """Asks the host, and lets a test do something at the end of a merge."""

    def __init__(self, asked: Simulated) -> None:
        self._asked = asked

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        answer = self._asked.host.run(args, time_limit=time_limit)
        if verb_in(tuple(args)) == "merge-mission" and answer.exit_code == 0:
            self._asked.on_merge()
        return answer


class WithGit(Simulated):
    """The same as a `GitTransport`, on a repository that has to be there."""

    git_calls = 0
    inside: Path | None = None
    """Where the host runs, if that is not the primary checkout."""

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


class Waiting:
    """The async transport that asks a simulated host."""

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
