"""The reference loop: start every work package that is ready, and wait until one moves.

Read this page first, then follow the calls down. Nothing below calls back into the loop:

1. `work_package`: the next step of a work package, from the lane that the host reports.
2. `attempt`: one agent run, started or re-attached to.
3. `scheduling.board`: the dependency graph, the order, and the slots.
"""

from contextlib import suppress

import anyio.lowlevel
from anyio.abc import TaskGroup

from spec_kitty_client import AnyLane, Feature, Mission, SpecKittyError, WorkPackage
from spec_kitty_orchestrator import errors
from spec_kitty_orchestrator.attempt import no_agent_left
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.mission import supports
from spec_kitty_orchestrator.scheduling.board import Board
from spec_kitty_orchestrator.scheduling.slots import limits_of
from spec_kitty_orchestrator.state.events import WorkPackageStuck
from spec_kitty_orchestrator.work_package import Turn, WorkPackageRun

__all__ = ["Loop"]


class Loop:
    """Moves every work package of a mission as far as it can go.

    A work package holds a slot for one agent's turn, and none while it waits for the next role.
    Each has a task of its own: a host call for one does not delay the agent of another.

    Args:
        run: The run.
        mission: The host's report on all work packages.
    """

    def __init__(self, run: Run, mission: Mission) -> None:
        self._run = run
        self.board = Board(
            mission,
            limits_of(run.settings, run.agent_names),
            order=run.settings.order,
            costs=run.durations.costs(run.agent_names),
            running=run.history.running(),
            canceled_is_enough=supports(run.host.contract, Feature.CANCELED_IS_ENOUGH),
            lanes=run.lanes,
            stuck=run.left_to_people,
        )
        self._news = anyio.Event()
        self._problem: errors.OrchestratorError | None = None

    async def work(self) -> None:
        """Run until no work package can start any more.

        Raises:
            OrchestratorError: If the host failed, or git cannot commit. Agents end first.
        """
        async with no_agent_left(self._run), anyio.create_task_group() as tasks:
            tasks.start_soon(self._heartbeat)
            self._start_ready(tasks)
            while self.board.busy:
                await self._news.wait()
                self._news = anyio.Event()
                self._start_ready(tasks)
            tasks.cancel_scope.cancel()
        if self._problem:
            raise self._problem

    def _start_ready(self, tasks: TaskGroup) -> None:
        if not isinstance(self._problem, errors.RepositoryProblem):
            for wp in self.board.start_ready():
                tasks.start_soon(self._work_on, wp, tasks)

    async def _work_on(self, wp: WorkPackage, tasks: TaskGroup) -> None:
        """Run one turn of a work package. If it fails, the other ones go on."""
        lane, stuck = wp.lane, None
        try:
            with self._run.spans.turn(wp.wp_id, wp.lane):
                turn = await self._take_turn(wp, tasks)
            lane, stuck = turn.lane, turn.blocked_because
        except errors.DependenciesNotReady as e:
            lane = await self._look_again(wp)
            if lane == wp.lane and not self.board.has_open_dependencies(wp.wp_id):
                stuck = self._record_stuck(wp, str(e))
        except errors.WorkPackageFailed as e:
            stuck = self._record_stuck(wp, e.reason)
            self._problem = e.stops_run(stuck) if e.stops_run else self._problem
        self.board.release(wp.wp_id, lane, stuck)
        self.board.update_estimates(self._run.durations.costs(self._run.agent_names))
        self._news.set()

    async def _take_turn(self, wp: WorkPackage, tasks: TaskGroup) -> Turn:
        """Run an agent's turn. After an approval, start others before the call of the host."""
        package = WorkPackageRun(self._run, wp)
        turn = await package.run_turn()
        if turn.approval is None:
            return turn
        if self.board.release_slot(wp.wp_id):
            self._start_ready(tasks)
            await anyio.lowlevel.checkpoint()  # the started tasks send their host calls first
        return await package.finish(turn.approval)

    def _record_stuck(self, wp: WorkPackage, reason: str) -> str:
        return self._run.journal.write(WorkPackageStuck(wp=wp.wp_id, reason=reason)).reason

    async def _look_again(self, wp: WorkPackage) -> AnyLane:
        """Read the mission again after a rejected claim, and return the work package's lane."""
        with suppress(SpecKittyError):
            return (await self._read_mission()).lanes().get(wp.wp_id, wp.lane)
        return wp.lane

    async def _heartbeat(self) -> None:
        """Read the mission regularly while a slot is free, to notice moves by other people."""
        while True:
            await anyio.sleep(self._run.settings.heartbeat)
            if self.board.has_free_slot():  # else the next claim notices the moves of others
                with suppress(SpecKittyError):  # if the host is down, the next mutation reports it
                    await self._read_mission()

    async def _read_mission(self) -> Mission:
        """Read the mission; once more if the report contradicts moves that this run has made."""
        asked_at, mission = self.board.moves, await self._run.host.state()
        if self.board.contradicts(mission, asked_at):
            asked_at, mission = self.board.moves, await self._run.host.state()
        if not mission.problem and self.board.update(mission, asked_at):
            self._news.set()
        return mission
