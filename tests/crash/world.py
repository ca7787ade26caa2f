"""A mission in a real repository, and processes of the orchestrator that die at a chosen effect."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from spec_kitty_client import AsyncClient, Retry
from spec_kitty_client.testing.calls import READS, verb_in
from spec_kitty_client.testing.host import AsyncSimulatedRepository, SimulatedRepository
from spec_kitty_client.transports import Completed
from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.ending.steps import accept, merge
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.git.worktree import Worktree
from spec_kitty_orchestrator.loop import Loop
from spec_kitty_orchestrator.mission import MissionClient
from spec_kitty_orchestrator.preflight.plan import default_policy
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.runners import AgentProcessSpec, ExitRecord
from spec_kitty_orchestrator.scheduling.priority import learn_durations
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.state.events import Event
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.history import History, recall
from spec_kitty_orchestrator.state.journal import Journal, read

__all__ = ["CrashWorld", "Killed", "Process"]

E = TypeVar("E", bound=Event)
PLAN = {"WP01": [], "WP02": ["WP01"]}
_LOOKS = ("status", "rev-parse", "rev-list", "for-each-ref", "diff", "grep", "ls-files", "log",
          "show", "merge-base", "config", "symbolic-ref", "branch", "ls-tree")  # fmt: skip


class Killed(BaseException):
    """Raised where the orchestrator is killed. Nothing of this process is told of it."""


@define
class Process:
    """One process of the orchestrator, which dies before or after one of its effects."""

    dies_at: int | None = None
    effects: int = 0
    """The number of moments at which it can die: one before and one after each effect."""
    names: list[str] = field(factory=list)

    def moment(self, name: str) -> None:
        """Die, if this is the moment. A dead process has no further effects."""
        if self.dies_at is not None and self.effects > self.dies_at:
            raise Killed(name)
        self.names.append(name)
        self.effects += 1
        if self.dies_at is not None and self.effects > self.dies_at:
            raise Killed(name)


@define
class _Host:
    """The host, whose mutating calls and git commands are effects."""

    host: AsyncSimulatedRepository
    process: Process

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        name = verb_in(tuple(args))
        if name in READS:
            return await self.host.run(args, time_limit=time_limit)
        self.process.moment(f"before {name}")
        done = await self.host.run(args, time_limit=time_limit)
        self.process.moment(f"after {name}")
        return done

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        if args[0] in _LOOKS:
            return await self.host.git(args, folder=folder, time_limit=time_limit)
        self.process.moment(f"before git {args[0]}")
        done = await self.host.git(args, folder=folder, time_limit=time_limit)
        self.process.moment(f"after git {args[0]}")
        return done


class _Journal(Journal):
    """A journal whose appends are effects."""

    process: Process

    def write_all(self, events: Iterable[E]) -> list[E]:
        self.process.moment("before an append")
        written = super().write_all(events)
        self.process.moment("after an append")
        return written


@frozen
class _Worktree(Worktree):
    """A worktree in which git's changes are effects."""

    process: Process = field(kw_only=True)

    async def _git(self, *args: str) -> str:
        if args[0] in _LOOKS and args[:1] != ("symbolic-ref",):
            return await super()._git(*args)
        self.process.moment(f"before git {args[0]} in the worktree")
        done = await super()._git(*args)
        self.process.moment(f"after git {args[0]} in the worktree")
        return done


@define
class _Agents:
    """Agents that are done at once, and go on whatever becomes of the orchestrator."""

    ended: dict[Path, str] = field(factory=dict)
    """What each printed, by its folder."""
    starts: list[str] = field(factory=list)

    def launch(self, process: AgentProcessSpec) -> None:
        wp, role = process.env["SPEC_KITTY_WP"], process.env["SPEC_KITTY_ROLE"]
        assert process.directory not in self.ended, "the same run twice"
        self.starts.append(f"{wp} {role}")
        if role == "implement":
            version = self.starts.count(f"{wp} implement")
            (process.cwd / f"{wp}.py").write_text(f"# version {version}\n")
            self.ended[process.directory] = "done"
            return
        refuses = wp == "WP01" and self.starts.count("WP01 review") == 1
        finding = {"id": "F1", "severity": "blocking", "where": "a:1", "what": "not yet"}
        verdict = {
            "verdict": "changes_requested" if refuses else "approved",
            "summary": "seen",
            "findings": [finding] if refuses else [],
        }
        self.ended[process.directory] = json.dumps(verdict)

    async def wait(self, directory: Path) -> ExitRecord:
        await anyio.lowlevel.checkpoint()
        if directory not in self.ended:
            return ExitRecord(reason="lost")
        return ExitRecord(reason="exited", exit_code=0)

    async def stop(self, directory: Path) -> ExitRecord:
        return await self.wait(directory)

    def tail(self, directory: Path, name: str = "output") -> str:
        return self.ended.get(directory, "")


@define
class _Runner:
    """Launches are effects of the orchestrator; the agents are not."""

    agents: _Agents
    process: Process

    def launch(self, process: AgentProcessSpec) -> None:
        self.process.moment("before a launch")
        self.agents.launch(process)
        self.process.moment("after a launch")

    async def wait(self, directory: Path) -> ExitRecord:
        return await self.agents.wait(directory)

    async def stop(self, directory: Path) -> ExitRecord:
        return await self.agents.stop(directory)

    def tail(self, directory: Path, name: str = "output") -> str:
        return self.agents.tail(directory, name)


@define
class CrashWorld:
    """A mission of two work packages, with a rework round and a dependency."""

    root: Path
    host: SimulatedRepository
    agents: _Agents = field(factory=_Agents)

    @classmethod
    def of(cls, root: Path, release: str) -> "CrashWorld":
        """Make the repository and the mission."""
        return cls(root, SimulatedRepository(PLAN, release=release, folder=root))

    def run(self, dies_at: int | None = None) -> Process:
        """Run the orchestrator, and return how it went; it may be killed."""
        process = Process(dies_at)
        try:
            anyio.run(self._main, process, backend="asyncio")
        except* Killed:
            pass
        return process

    async def _main(self, process: Process) -> None:
        run = self._start(process)
        try:
            mission = await run.host.state()
            loop = Loop(run, mission)
            await loop.work()
            if not loop.board.unfinished():
                await accept(run)
                await merge(run)
        finally:
            run.journal.close()

    def _start(self, process: Process) -> Run:
        files = StateFiles(self.root)
        files.make()
        slug = self.host.mission.slug
        made: dict[Role, agents.Agent] = {
            "implement": agents.script.agent(("implementer",)),
            "review": agents.script.agent(("reviewer",)),
        }
        settings = Settings(
            mission=slug, repo_root=self.root, impl_agent="script:i", review_agent="script:r"
        )
        policy = default_policy(made["implement"])
        client = AsyncClient(
            actor=settings.actor,
            policy=policy,
            transport=_Host(AsyncSimulatedRepository(self.host), process),
            retry=Retry(wait_jitter=0.0),
        )
        earlier = list(read(files.journal))
        history = recall(earlier).get(slug) or History(mission=slug)
        durations = learn_durations(earlier)
        journal = _Journal(
            files.journal, mission=slug, run="r", listeners=[history.apply, durations.apply]
        )
        journal.process = process

        def open_worktree(path: Path, root: Path, branch: str | None) -> Worktree:
            return _Worktree(path, root, branch, process=process)

        return Run(
            settings=settings,
            policy=policy,
            host=MissionClient(client, slug),
            journal=journal,
            history=history,
            durations=durations,
            logs=files.logs / slug,
            agents=made,
            runner=_Runner(self.agents, process),
            open_worktree=open_worktree,
        )

    def outcome(self) -> dict[str, object]:
        """Return what a run has to come to, however often it was killed."""
        target = self.host.mission.target
        return {
            "lanes": {str(wp): str(lane) for wp, lane in self.host.lanes().items()},
            "accepted": bool(self.host.mission.accepted_at),
            "files": {f"{wp}.py": git(self.root, "show", f"{target}:{wp}.py") for wp in PLAN},
            "agents": sorted(self.agents.starts),
        }
