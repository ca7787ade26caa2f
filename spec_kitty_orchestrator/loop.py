"""The reference loop: start what may be started, and wait for news.

This is the page to read before writing a loop of your own. It knows nothing of agents,
git or the journal's content: a work package's life is in `lifecycle`, the order in
`schedule`, the calls in `host`.
"""

from contextlib import suppress

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from spec_kitty_client import AnyLane, Feature, Lane, Mission, SpecKittyError, WorkPackage
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.errors import HostProblem
from spec_kitty_orchestrator.mission import supports
from spec_kitty_orchestrator.scheduling.board import Board
from spec_kitty_orchestrator.scheduling.slots import limits_of
from spec_kitty_orchestrator.state.history import Role
from spec_kitty_orchestrator.work_package import Life, NotYet, Trouble

__all__ = ["Loop"]


class Loop:
    """Takes every work package of a mission as far as it goes.

    A slot is held for one agent's turn: who waits for the other role holds none. Nothing
    waits for anything but its own news: a host call in one task delays neither the start of
    an agent elsewhere nor the notice of its end.

    Args:
        run: The run.
        mission: Where every work package stands.
    """

    def __init__(self, run: Run, mission: Mission) -> None:
        self._run = run
        self._names: dict[Role, str] = {role: agent.name for role, agent in run.agents.items()}
        self.board = Board(
            mission,
            limits_of(run.settings, self._names),
            order=run.settings.order,
            costs=run.durations.costs(self._names),
            begun=(wp for wp, record in run.history.records.items() if record.open),
            canceled_is_enough=supports(run.host.contract, Feature.CANCELED_IS_ENOUGH),
            lanes=run.lanes,
            stuck=run.left_to_people,
        )
        self._news = anyio.Event()
        self._host_trouble: str | None = None

    async def work(self) -> None:
        """Work until nothing more can be started.

        Raises:
            HostProblem: If the host could not be worked with at some point.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._heartbeat)
            while True:
                self._news = anyio.Event()
                self._start(tasks)
                if not self.board.busy:
                    break
                await self._news.wait()
            tasks.cancel_scope.cancel()
        if self._host_trouble:
            raise HostProblem(self._host_trouble)

    def _start(self, tasks: TaskGroup) -> None:
        for wp in self.board.take():
            tasks.start_soon(self._live, wp, tasks)

    async def _live(self, wp: WorkPackage, tasks: TaskGroup) -> None:
        """Take one work package through an agent's turn; its troubles are its own."""

        async def approved() -> None:
            if self.board.let_go(wp.wp_id):
                self._start(tasks)
                await anyio.lowlevel.checkpoint()  # who needs the slot goes to the host first

        lane, reason = wp.lane, None
        try:
            lane = await Life(self._run, wp, approved).live()
            if lane == Lane.BLOCKED:
                reason = f"is blocked: {self._run.history.record(wp.wp_id).last_error}"
        except NotYet as not_yet:
            lane = await self._look_again(wp)
            if lane == wp.lane and not self.board.waits(wp.wp_id):
                reason = self._trouble(wp, str(not_yet))
        except Trouble as trouble:
            reason = self._trouble(wp, trouble.reason)
            if trouble.host:
                self._host_trouble = reason
        self.board.give_back(wp.wp_id, lane, reason)
        self.board.expect(self._run.durations.costs(self._names))
        self._news.set()

    def _trouble(self, wp: WorkPackage, reason: str) -> str:
        self._run.journal.write("trouble", wp=wp.wp_id, reason=reason)
        return reason

    async def _look_again(self, wp: WorkPackage) -> AnyLane:
        """See who has moved a work package or what it depends on; return the lane it is in."""
        asked_at = self.board.moves
        with suppress(SpecKittyError):  # then it goes without saying
            seen = await self._run.host.state()
            self.board.update(seen, asked_at)
            return seen.lanes().get(wp.wp_id, wp.lane)
        return wp.lane

    async def _heartbeat(self) -> None:
        """Notice what other people change on the board, if that could let anything begin."""
        while True:
            await anyio.sleep(self._run.settings.heartbeat)
            if not self.board.has_room():
                continue  # the claims, later, meet with what has changed
            asked_at = self.board.moves
            try:
                seen = await self._run.host.state()
            except SpecKittyError:
                continue  # a call that matters will meet the same trouble
            if not seen.doubt and self.board.update(seen, asked_at):
                self._news.set()
