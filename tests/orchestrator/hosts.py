"""A simulated host with real git that records its calls and fails on request."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import anyio.lowlevel
from attrs import evolve

from spec_kitty_client import Completed, Feature
from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.testing.calls import READS, verb_in
from spec_kitty_client.testing.host import AsyncSimulatedRepository, Mission, SimulatedRepository
from spec_kitty_client.testing.host.answers import Answers, Refused, completed
from spec_kitty_client.testing.host.repository import Repository
from spec_kitty_client.testing.host.workspace import branch_of
from spec_kitty_orchestrator.git.calls import git

SLUG = "pay-01ABCDEF"
ULID = "01ABCDEFGHJKMNPQRSTVWXYZ23"
ACTOR = "spec-kitty-orchestrator"
NEWEST = "3.2.7"

Fault = Literal["before", "after", "refused"]


class WatchedHost(AsyncSimulatedRepository):
    """An `AsyncGitTransport` that keeps one mission as a release of the host does.

    Args:
        root: The primary checkout.
        packages: The work packages, each with its dependencies.
        release: The release of the host.
        lane_ids: The lanes of work packages that own the same files.
    """

    def __init__(
        self,
        root: Path,
        packages: Mapping[str, Sequence[str]] | None = None,
        *,
        release: str = NEWEST,
        lane_ids: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(SimulatedRepository(None, release=release, folder=root))
        self.root, self.release = root, self.host.release
        plan = packages or {"WP01": []}
        self.mission = Mission.of(self.release, plan, slug=SLUG, ulid=ULID, target="work")
        self.mission.lanes.update(lane_ids or {})
        self.host.missions[SLUG] = self.mission
        Repository(self.release, root).prepare(self.mission)
        self.calls: list[tuple[str, dict[str, str]]] = []
        """The calls: verbs by their newest names, with their options."""
        self.git_calls: list[tuple[str, ...]] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        """Faults by verb, used up one per call: the answer is lost before or after the effect."""
        self.on_call: Callable[[str, dict[str, str]], Fault | None] = lambda _verb, _options: None
        """Called before each call takes effect; may return a fault."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer as the release does, unless the test asks for another answer."""
        await anyio.lowlevel.checkpoint()
        verb = verb_in(tuple(args))
        pairs = [word.removeprefix("--").partition("=") for word in args[2:]]
        self.calls.append((verb, {name: value for name, _, value in pairs}))
        fault = self.on_call(*self.calls[-1])
        if self.faults[verb]:
            fault = self.faults[verb].pop(0)
        if fault == "refused":
            return self._refuse(args, time_limit)
        if fault != "before":
            done = await super().run(args, time_limit=time_limit)
            if fault is None:
                return done
        return evolve(completed(args, 0, b"", b"", time_limit), exit_code=None)

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git in the repository, or in a folder of it."""
        self.git_calls.append(tuple(args))
        return await super().git(args, folder=folder, time_limit=time_limit)

    def _refuse(self, args: Sequence[str], time_limit: float) -> Completed:
        """Return a refusal, for reasons that the simulated host does not know."""
        answers = Answers(self.release, self.host.now, self.host.new_id)
        refused = Refused(ErrorCode.TRANSITION_REJECTED, "the guard says no")
        return completed(args, 1, answers.refusal(args[1], refused), b"", time_limit)

    def verbs(self) -> list[str]:
        """Return the mutations that were sent."""
        return [verb for verb, _ in self.calls if verb not in READS]

    def moves(self, wp: str) -> list[str]:
        """Return the targets of the transitions that were sent."""
        return [told["to"] for told in self.sent("transition") if told["wp"] == wp]

    def sent(self, verb: str) -> list[dict[str, str]]:
        """Return the options of each call of a verb."""
        return [told for name, told in self.calls if name == verb]

    @property
    def lanes(self) -> dict[str, str]:
        """Return the lane of each work package."""
        return self.host.lanes()

    def put(self, wp: str, lane: str, actor: str = "ada", *, reason: str = "") -> None:
        """Move a work package to a lane by force, as a user would."""
        self.mission.move(wp, lane, actor, forced=True, reason=reason)

    def prompt(self, wp: str) -> Path:
        """Return the file of a work package."""
        return self.root / "kitty-specs" / SLUG / "tasks" / f"{wp}-part.md"

    def shared_lanes(self) -> dict[str, str]:
        """Return the lane of each work package that shares its worktree."""
        if not self.release.has(Feature.LANES):
            return {}
        lanes = self.mission.lanes
        return {wp: lane for wp, lane in lanes.items() if list(lanes.values()).count(lane) > 1}

    def branch(self, wp: str) -> str:
        """Return the branch that a merge takes."""
        return branch_of(self.release, self.mission, wp)

    def worktree(self, wp: str) -> Path:
        """Return the worktree of a work package."""
        return self.root / ".worktrees" / self.branch(wp).removeprefix("kitty/mission-")

    def work(self, wp: str, name: str) -> str:
        """Commit a file in the worktree of a work package, and return the commit."""
        self.host.workspace.allocate(self.mission, wp)
        path = self.worktree(wp)
        (path / name).write_text(f"# {name}\n")
        git(path, "add", "--all")
        git(path, "commit", "--quiet", f"--message={name}")
        return git(path, "rev-parse", "HEAD").strip()
