"""One seed, from the first run of the orchestrator to the end of the mission."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
from attrs import define, field, frozen

from spec_kitty_client import Lane
from spec_kitty_client.testing.host import AsyncSimulatedHost, SimulatedHost
from spec_kitty_client.testing.host.workspace import branch_of
from spec_kitty_client.transports import Completed
from spec_kitty_orchestrator.git.worktree import Worktree
from spec_kitty_orchestrator.scheduling.board import Board
from spec_kitty_orchestrator.state.events import Event, RunStarted, Submitted, VerdictGiven
from tests.sim import invariants
from tests.sim.agents import Acts, SimulatedAgents
from tests.sim.nemesis import RunTrouble, Scenario, Trouble, scenario
from tests.sim.repository import ROOT, ModelWorktree, Repository
from tests.virtual.agents import steady
from tests.virtual.places import AgentCheckouts
from tests.virtual.world import World, folder, in_virtual_time

__all__ = ["Outcome", "Violation", "simulate"]

_PERSON = "ada"
_LIMIT = 7200.0  # seconds for one attempt of an agent
_LAST_RUNS = 6  # within which a mission has to end once all trouble is over
_MOVES = {
    "cancels": Lane.CANCELED,
    "blocks": Lane.BLOCKED,
    "replans": Lane.PLANNED,
    "finishes": Lane.DONE,
}


class Violation(Exception):
    """An invariant does not hold."""


@frozen
class Outcome:
    """The end of a seed."""

    seed: int
    violation: str | None
    """The first broken invariant; None if all held."""
    events: tuple[Event, ...]
    """The whole journal."""
    troubles: tuple[str, ...]
    """Why runs of the orchestrator ended early, and what people did."""

    def replay(self) -> str:
        """Return the command that plays the seed again and shows its events."""
        return f"python -m tests.sim --first {self.seed} --seeds 1 --trace"


def simulate(seed: int) -> Outcome:
    """Play a seed to its end or to the first violation."""
    with folder() as root:
        simulation = _Simulation.of(root, scenario(seed))
        violation: str | None = None
        try:
            in_virtual_time(simulation.run, seed)
        except Exception as e:  # noqa: BLE001 - every error of the orchestrator is a violation
            violation = "; ".join(_words(e))
        return Outcome(seed, violation, tuple(simulation.events), tuple(simulation.world.troubles))


def _words(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _words(each)
    else:
        name = "" if isinstance(error, Violation) else f"a traceback: {type(error).__name__}: "
        yield f"{name}{error}"


@define
class _Checkouts(AgentCheckouts):
    """Opens worktrees of the repository in memory."""

    repository: Repository = field(kw_only=True)

    def checkout(self, path: Path, root: Path, branch: str | None) -> Worktree:  # type: ignore[override]
        return ModelWorktree(path, root, branch, repository=self.repository)


@define
class _Host:
    """The simulated host, which makes a missing worktree again at a claim."""

    host: SimulatedHost
    repository: Repository

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        done = await AsyncSimulatedHost(self.host).run(args, time_limit=time_limit)
        if "start-implementation" in args and done.exit_code == 0:
            (wp,) = [arg.removeprefix("--wp=") for arg in args if arg.startswith("--wp=")]
            branch = branch_of(self.host.release, self.host.mission, wp)
            name = branch.removeprefix("kitty/mission-")
            path = self.repository.root / ".worktrees" / name
            if not self.repository.checkout(path, branch).exists:
                self.repository.remake(path, branch)
        return done


@define
class _Simulation:
    """A mission under the trouble of one seed."""

    scenario: Scenario
    world: World
    agents: SimulatedAgents
    events: list[Event] = field(factory=list)
    submitted: set[str] = field(factory=set)
    moved: set[str] = field(factory=set)
    """The work packages that a person has moved."""
    touched: set[str] = field(factory=set)
    """The work packages that a person has moved or whose worktree a person has changed."""
    slow: bool = False
    """Whether a person may have committed while the host moved a work package."""
    _moves: int = 0
    """How many of the host's moves are checked."""

    @classmethod
    def of(cls, root: Path, scenario: Scenario) -> "_Simulation":
        world = World.of(
            root,
            scenario.plan,
            steady(1, 1),
            release=scenario.release,
            agent_timeout=_LIMIT,
            **scenario.settings,
        )
        repository = Repository(root)
        agents = SimulatedAgents(
            steady(1, 1),
            _Checkouts(repository=repository),
            repository=repository,
            acts=Acts(scenario.seed, scenario.badness, scenario.last),
        )
        world.agents = agents
        world.asked = _Host(world.host, repository)
        found = cls(scenario, world, agents)
        world.on_touch = found.check
        world.listeners.append(found._record)
        return found

    async def run(self) -> None:
        """Run with all trouble, then without any until the mission has ended."""
        for number, trouble in enumerate(self.scenario.runs):
            await self._run(number, trouble)
        self.agents.well = True
        for _ in range(_LAST_RUNS):
            board = await self.world.run()
            self.check()
            if board is None:
                raise Violation(f"a run without trouble ended early: {self.world.troubles[-1]}")
            if not self._help(board):
                break
        for violation in invariants.lost_commits(self.submitted, self.agents.repository):
            raise Violation(violation)
        if board.unfinished():
            raise Violation(f"the mission does not end: {board.unfinished()}")
        if running := self.agents.running():
            raise Violation(f"{len(running)} agents are alive after the end")

    async def _run(self, number: int, trouble: RunTrouble) -> None:
        events, troubles = len(self.events), len(self.world.troubles)
        self.slow = self.slow or (bool(trouble.fault_rate) and bool(trouble.people))
        async with anyio.create_task_group() as tasks:
            for each in trouble.people:
                tasks.start_soon(self._happen, each)
            await self.world.run(
                seconds=trouble.interrupted_after,
                touches=trouble.killed_after,
                disk_full_at=trouble.disk_full_after,
                faults=self.scenario.faults(number),
            )
            self._end_in_order(events, troubles)
            await anyio.sleep(trouble.pause)
            tasks.cancel_scope.cancel()
        self.check()
        self._calm()

    def _end_in_order(self, events: int, troubles: int) -> None:
        """Check that a run that was not killed has left no agent."""
        killed = "killed" in self.world.troubles[troubles:]
        begun = any(isinstance(e, RunStarted) for e in self.events[events:])
        if begun and not killed and self.agents.running():
            raise Violation("agents are alive after the run has ended in order")

    def _help(self, board: Board) -> bool:
        """Move unfinished work packages as their reasons say; return whether there were any."""
        unfinished = board.unfinished()
        for violation in invariants.at_the_end(self.world, unfinished):
            raise Violation(violation)
        canceled = [wp for wp, lane in self.world.host.lanes().items() if lane == Lane.CANCELED]
        for wp, reason in unfinished.items():
            if "waits for" in reason:
                for name in set(canceled) & set(re.findall(r"WP\d+", reason)):
                    self._moves_away(name)
                    self.world.host.mission.move(name, Lane.PLANNED, _PERSON, forced=True)
                continue
            lane = self.world.host.lanes()[wp]
            self._moves_away(wp)
            goal = Lane.IN_PROGRESS if lane == Lane.BLOCKED else Lane.PLANNED
            self.world.troubles.append(f"{_PERSON} moves {wp} from {lane} to {goal}: {reason}")
            self.world.host.mission.move(wp, goal, _PERSON, forced=True)
        return bool(unfinished)

    # Trouble

    async def _happen(self, trouble: Trouble) -> None:
        await anyio.sleep(trouble.at)
        self.world.troubles.append(f"{trouble.does} at {anyio.current_time():.0f}: {trouble.wp}")
        if trouble.does in _MOVES:
            self._moves_away(trouble.wp)
            goal = _MOVES[trouble.does]
            self.world.host.mission.move(trouble.wp, goal, _PERSON, forced=True)
        elif trouble.does in ("locks", "hook", "fills"):
            await self._break_git(trouble)
        else:
            self._touch_worktree(trouble)

    def _moves_away(self, wp: str) -> None:
        self.moved.add(wp)
        self.touched.add(wp)

    async def _break_git(self, trouble: Trouble) -> None:
        repository = self.agents.repository
        match trouble.does:
            case "locks":
                repository.lock.touch()
            case "hook":
                repository.refuses = True
            case _:
                repository.full = True
        await anyio.sleep(trouble.lasts)
        self._calm()

    def _calm(self) -> None:
        """End what keeps git from working."""
        repository = self.agents.repository
        repository.lock.unlink(missing_ok=True)
        repository.refuses = repository.full = False

    def _touch_worktree(self, trouble: Trouble) -> None:
        lanes = self.world.host.mission.lanes
        self.touched |= {wp for wp, lane in lanes.items() if lane == lanes[trouble.wp]}
        repository = self.agents.repository
        workspace = self.world.history().work_package(trouble.wp).workspace
        checkout = repository.checkouts.get(Path(workspace or "nowhere"))
        if checkout is None or not checkout.exists:
            return
        match trouble.does:
            case "commits":
                name = f"{trouble.wp}-by-{_PERSON}-{trouble.at:.0f}.py"
                checkout.files.add(name)
                self.agents.made.add(name)
                repository.commit(checkout, anyio.current_time())
            case "switches":
                repository.switch(checkout, f"{_PERSON}-{trouble.at:.0f}", ROOT)
            case _:
                self.agents.made -= repository.dirty(checkout)
                checkout.exists, checkout.files = False, set()

    # Invariants

    def _record(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Submitted):
            self.submitted.add(event.head)
        if isinstance(event, VerdictGiven) and event.verdict == "approved":
            if event.wp == self.scenario.late_commit and event.wp not in self.touched:
                self._touch_worktree(Trouble(event.at, "commits", event.wp))

    def check(self) -> None:
        """Check every invariant.

        Raises:
            Violation: If one does not hold.
        """
        self.agents.finish_overdue()
        for violation in self._violations():
            raise Violation(violation)

    def _violations(self) -> Iterator[str]:
        limit = int(self.scenario.settings["max_concurrent"])
        yield from invariants.at_any_time(self.agents, limit)
        yield from invariants.of_the_journal(self.events, self.touched)
        moves = self.world.host.mission.moves
        for move in moves[self._moves :]:
            yield from invariants.illegal(move, self.world.host.release.dialect)
            exempt = self.touched if self.slow else self.moved
            if move.after == Lane.DONE and move.actor != _PERSON and move.wp not in exempt:
                yield from self._unapproved(move.wp)
        self._moves = len(moves)

    def _unapproved(self, wp: str) -> Iterator[str]:
        lanes = list(self.world.host.mission.lanes.values())
        shared = lanes.count(self.world.host.mission.lanes[wp]) > 1
        branch = self.world.history().work_package(wp).branch
        workspace = self.world.history().work_package(wp).workspace
        name = branch or Path(workspace or "").name
        repository = self.agents.repository
        head = repository.branches[name]
        yield from invariants.unapproved(self.events, wp, head, repository, shared=shared)
