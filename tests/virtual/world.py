"""A mission, a simulated host, and runs of the orchestrator on them, one after the other."""

import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import trio
from attrs import define, field
from trio.testing import MockClock

from spec_kitty_client import AsyncClient, Retry, SpecKittyError
from spec_kitty_client.testing.faults import AsyncFaultyTransport, Faults
from spec_kitty_client.testing.host import AsyncSimulatedHost, Release, SimulatedHost
from spec_kitty_client.testing.host.workspace import InMemoryWorkspace
from spec_kitty_client.transports import AsyncTransport, Completed
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.errors import OrchestratorError, StorageProblem
from spec_kitty_orchestrator.loop import Loop
from spec_kitty_orchestrator.mission import MissionClient
from spec_kitty_orchestrator.preflight.plan import default_policy
from spec_kitty_orchestrator.runners import AgentProcessSpec, ExitRecord
from spec_kitty_orchestrator.scheduling.board import Board
from spec_kitty_orchestrator.scheduling.priority import learn_durations
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.state.events import Event, LaneReported, RunStarted
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.history import History, recall
from spec_kitty_orchestrator.state.journal import Journal, read
from tests.virtual.agents import AGENTS, Agents, Plays
from tests.virtual.places import AgentCheckouts, in_memory_git

__all__ = ["Died", "World", "folder", "in_virtual_time"]

T = TypeVar("T")
E = TypeVar("E", bound=Event)
_MEMORY = Path("/dev/shm")


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make a folder for a journal, in memory if that can be had: every event is synced."""
    where = str(_MEMORY) if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="spec-kitty-virtual-", dir=where) as name:
        yield Path(name).resolve()


def in_virtual_time(main: Callable[[], Awaitable[T]], seed: int = 0) -> T:
    """Run on trio with a clock that jumps whenever everything waits, and return what comes.

    Args:
        main: What to run.
        seed: Decides which of those that can go on does so first.
    """
    order = trio._core._run._r  # what trio shuffles its tasks with
    before = order.getstate()
    order.seed(seed)
    try:
        clock = MockClock(autojump_threshold=0)
        return anyio.run(main, backend="trio", backend_options={"clock": clock})
    finally:
        order.setstate(before)


class Died(BaseException):
    """Raised at the point where the orchestrator is killed."""


@define
class _Process:
    """One process of the orchestrator: it dies when it has touched the world often enough."""

    touches: int | None
    disk_full_at: int | None = None
    """The number of journal entries after which the disk is full; None: it never is."""
    on_touch: Callable[[], None] = lambda: None

    def touch(self) -> None:
        self.on_touch()
        if self.touches is not None:
            if self.touches <= 0:
                raise Died
            self.touches -= 1


@define
class _Asking:
    """A transport for one process."""

    asked: AsyncTransport
    host: SimulatedHost
    process: _Process

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        self.process.touch()
        done = await self.asked.run(args, time_limit=time_limit)
        self.process.touch()
        return done

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        await anyio.lowlevel.checkpoint()
        return in_memory_git(self.host, args, time_limit)


class _Writing(Journal):
    """A journal for one process."""

    def __init__(self, process: _Process, path: Path, **about: Any) -> None:
        super().__init__(path, now=anyio.current_time, **about)
        self._process = process

    def write_all(self, events: Iterable[E]) -> list[E]:
        self._process.touch()
        if self._process.disk_full_at is not None:
            if self._process.disk_full_at <= 0:
                msg = "The journal cannot be written. No space left on device"
                raise StorageProblem(msg)
            self._process.disk_full_at -= 1
        written = super().write_all(events)
        self._process.touch()
        return written


@define
class _Running:
    """A runner for one process; its agents go on after it."""

    agents: Agents
    process: _Process

    def launch(self, process: AgentProcessSpec) -> None:
        self.process.touch()
        self.agents.launch(process)
        self.process.touch()

    async def wait(self, directory: Path) -> ExitRecord:
        ended = await self.agents.wait(directory)
        self.process.touch()
        return ended

    async def stop(self, directory: Path) -> ExitRecord:
        self.process.touch()
        return await self.agents.stop(directory)

    def tail(self, directory: Path, name: str = "output") -> str:
        return self.agents.tail(directory, name)


@define
class World:
    """A mission on a host, with agents that only take time.

    Args:
        root: A folder, for the journal and the texts of the work packages.
        host: The host; its `workspace` has the same folder.
        agents: The agents.
        asked: How the host is asked.
    """

    root: Path
    host: SimulatedHost
    agents: Agents
    asked: AsyncTransport
    settings: Mapping[str, Any] = field(factory=dict)
    """The settings of all runs."""
    troubles: list[str] = field(factory=list)
    """Why runs ended early."""
    runs: int = 0
    on_touch: Callable[[], None] = lambda: None
    """Called before and after each host call, journal entry and launch of an agent."""
    listeners: list[Callable[[Event], None]] = field(factory=list)
    """Called with each event of all journals."""

    @classmethod
    def of(
        cls,
        root: Path,
        plan: Mapping[str, Sequence[str]],
        plays: Plays,
        *,
        release: str = "3.2.7",
        asked: AsyncTransport | None = None,
        **settings: Any,
    ) -> "World":
        """Make a world whose host is in this process, unless another one is to be asked."""
        version = Release(release)
        host = SimulatedHost(plan, release=version)
        host.workspace = InMemoryWorkspace(version, root=str(root))  # there, the texts are found
        tasks = root / "kitty-specs" / host.mission.slug / "tasks"
        tasks.mkdir(parents=True)
        for wp in plan:
            (tasks / f"{wp}-part.md").touch()
        asked = asked or AsyncSimulatedHost(host)
        return cls(root, host, Agents(plays, AgentCheckouts()), asked, settings)

    def history(self) -> History:
        """Return what the journal tells."""
        slug = self.host.mission.slug
        return recall(read(StateFiles(self.root).journal)).get(slug) or History(mission=slug)

    def events(self, kind: type[E] | tuple[type[E], ...]) -> list[E]:
        """Return the events of one kind, or of several."""
        return [e for e in read(StateFiles(self.root).journal) if isinstance(e, kind)]

    async def run(
        self,
        *,
        seconds: float | None = None,
        touches: int | None = None,
        disk_full_at: int | None = None,
        faults: Faults | None = None,
    ) -> Board | None:
        """Start the orchestrator, and return the board at its end; None if it was cut short.

        Args:
            seconds: When it is interrupted, as by Ctrl-C; None: never.
            touches: How often it touches the world until it is killed; None: it is not.
            disk_full_at: How many entries of the journal fit on the disk; None: all.
            faults: What goes wrong with its host calls.
        """
        self.runs += 1
        board: Board | None = None
        asked = self.asked
        if faults is not None:
            asked = AsyncFaultyTransport(asked, faults, delay=5.0, noise=1000)
        process = _Process(touches, disk_full_at, self.on_touch)
        try:
            with anyio.move_on_after(seconds), contextlib.ExitStack() as stack:
                run = self._start(_Asking(asked, self.host, process), process)
                stack.callback(run.journal.close)
                loop = await self._begin(run)
                await loop.work()
                board = loop.board
        except* Died:
            self.troubles.append("killed")
        except* (OrchestratorError, SpecKittyError) as group:
            self.troubles += [str(e) for e in group.exceptions]
        return board

    async def _begin(self, run: Run) -> Loop:
        """Begin as `run.run_mission` does."""
        mission = await run.host.state()
        lanes = mission.lanes().items()
        run.journal.write(RunStarted(settings={}))
        news = [(wp, lane) for wp, lane in lanes if run.history.lanes.get(wp) != lane]
        run.journal.write_all(LaneReported(wp=wp, lane=lane) for wp, lane in news)
        return Loop(run, mission)

    def _shared_lanes(self) -> dict[str, str]:
        """Return the lane of each work package that shares its worktree."""
        if not self.host.release.since("3.1.0"):
            return {}
        lanes = self.host.mission.lanes
        return {wp: lane for wp, lane in lanes.items() if list(lanes.values()).count(lane) > 1}

    def _start(self, asked: _Asking, process: _Process) -> Run:
        """Return a run with what the journal tells, as a new process makes it."""
        settings = Settings(
            mission=self.host.mission.slug,
            repo_root=self.root,
            impl_agent="script:implementer",
            review_agent="script:reviewer",
            **self.settings,
        )
        policy = default_policy(AGENTS["implement"])
        retry = Retry(wait_jitter=0.0)
        client = AsyncClient(actor=settings.actor, policy=policy, transport=asked, retry=retry)
        path = StateFiles(self.root).journal
        history, durations = self.history(), learn_durations(read(path))
        return Run(
            settings=settings,
            policy=policy,
            host=MissionClient(client, self.host.mission.slug),
            journal=_Writing(
                process,
                path,
                mission=self.host.mission.slug,
                run=str(self.runs),
                listeners=[history.apply, durations.apply, *self.listeners],
            ),
            history=history,
            durations=durations,
            logs=StateFiles(self.root).logs / self.host.mission.slug,
            agents=AGENTS,
            lanes=self._shared_lanes(),
            runner=_Running(self.agents, process),
            open_worktree=self.agents.checkouts.checkout,
        )
