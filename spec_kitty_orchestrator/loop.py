"""The reference loop: start what may be started, wait for news, ask the host once.

This is the page to read before writing a loop of your own. It knows nothing of agents,
git or the journal's content: a work package's life is in `lifecycle`, the order in
`schedule`, the calls in `host`.
"""

import anyio
from anyio.abc import TaskGroup
from attrs import evolve

from spec_kitty_client import Lane, SpecKittyError, WorkPackage
from spec_kitty_orchestrator.errors import HostProblem
from spec_kitty_orchestrator.lifecycle import Life, Run, Trouble
from spec_kitty_orchestrator.schedule import Board

__all__ = ["Loop"]


class Loop:
    """Takes every work package of a mission as far as it goes.

    Nothing waits for anything but its own news: a host call in one task delays neither the
    start of another agent nor the notice of its end.
    """

    def __init__(self, run: Run, board: Board) -> None:
        self._run = run
        self._board = board
        self._news = anyio.Event()
        self._stale = False
        """Whether ``list-ready`` may have a new answer."""
        self._asking = False
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
                if not self._board.busy and not self._asking:
                    break
                await self._news.wait()
            tasks.cancel_scope.cancel()
        if self._host_trouble:
            raise HostProblem(self._host_trouble)

    def _start(self, tasks: TaskGroup) -> None:
        for wp in self._board.startable(self._run.settings.max_concurrent):
            self._board.busy.add(wp.wp_id)
            tasks.start_soon(self._live, wp)
        if self._stale and not self._asking and not self._host_trouble:
            self._asking = True
            tasks.start_soon(self._ask)

    async def _live(self, wp: WorkPackage) -> None:
        """Take one work package as far as it goes; its troubles are its own."""
        try:
            lane = await Life(self._run, wp).live()
            self._board.packages[wp.wp_id] = evolve(wp, lane=lane)
            if lane == Lane.BLOCKED:
                reason = self._run.history.record(wp.wp_id).last_error
                self._board.stuck[wp.wp_id] = f"is blocked: {reason}"
        except Trouble as trouble:
            self._board.stuck[wp.wp_id] = trouble.reason
            self._run.journal.write("trouble", wp=wp.wp_id, reason=trouble.reason)
            if trouble.host:
                self._host_trouble = trouble.reason
        self._board.busy.discard(wp.wp_id)
        self._stale = self._stale or self._board.unlocks(wp.wp_id)
        self._news.set()

    async def _ask(self) -> None:
        """Ask what may be started now; what happened meanwhile is asked for again."""
        try:
            self._stale = False
            self._board.ready = await self._run.host.ready()
        except SpecKittyError as e:
            self._host_trouble = str(e)
        finally:
            self._asking = False
            self._news.set()

    async def _heartbeat(self) -> None:
        """Notice what other people change on the board."""
        while True:
            await anyio.sleep(self._run.settings.heartbeat)
            try:
                seen = await self._run.host.state()
                if seen.doubt:
                    continue
                changed = self._board.update(seen)
            except SpecKittyError:
                continue  # a call that matters will meet the same trouble
            self._stale = self._stale or (changed and self._board.waits())
            if changed:
                self._news.set()
