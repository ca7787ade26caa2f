"""The host as a run sees it: one mutation at a time, reads beside them, doubts resolved."""

from collections.abc import Awaitable
from typing import TypeVar

import anyio
import stamina

from spec_kitty_client import (
    AnyLane,
    AsyncClient,
    Command,
    HostError,
    ListReady,
    Mission,
    MissionState,
    Reply,
    ResolveWorkspace,
    SpecKittyError,
    StartReview,
    Transition,
    Workspace,
)

__all__ = ["Host"]

R = TypeVar("R", bound=Reply)


async def _to_its_end(call: Awaitable[R]) -> R:
    """Wait for a call that a cancellation must not cut short."""
    replies: list[R] = []
    with anyio.CancelScope(shield=True):
        replies.append(await call)
    return replies[0]


def _passing(error: Exception) -> bool:
    return isinstance(error, HostError) and error.retryable


class Host:
    """A client for one mission.

    Mutations are serialised, because hosts lose commits when two run at once (1.0.3,
    3.1.10). They are not cut short by a cancellation, so that Ctrl-C leaves no half-done
    call.
    """

    def __init__(self, client: AsyncClient, mission: str) -> None:
        self._client = client
        self._turn = anyio.Lock()
        self.mission = mission

    async def state(self) -> Mission:
        """Return where every work package stands."""
        return await self._read(MissionState(mission=self.mission))

    async def ready(self) -> set[str]:
        """Return the work packages that may be started now."""
        listed = await self._read(ListReady(mission=self.mission))
        return {wp.wp_id for wp in listed.ready_work_packages}

    async def workspace(self, wp: str) -> Workspace:
        """Return where a work package is worked on."""
        return await self._read(ResolveWorkspace(mission=self.mission, wp=wp))

    async def lane(self, wp: str) -> AnyLane:
        """Return the lane of one work package."""
        lane = (await self.state()).lanes().get(wp)
        if lane is None:
            msg = f"{wp} is no longer in mission {self.mission}. Look at mission-state."
            raise SpecKittyError(msg)
        return lane

    async def _read(self, command: Command[R]) -> R:
        retrying = stamina.AsyncRetryingCaller(attempts=3, wait_initial=0.5, timeout=None)
        return await retrying(_passing, self._client.call, command)

    async def insist(self, command: Command[R]) -> R:
        """Send what can be repeated as it is: a claim, an acceptance. A lost answer is asked again.

        Raises:
            HostError: If the host says no, or the answer is lost twice.
        """
        try:
            return await self._mutate(command)
        except HostError as e:
            if e.outcome == "not_applied":
                raise
            return await self._mutate(command)

    async def move(self, before: AnyLane, command: StartReview | Transition) -> AnyLane:
        """Move a work package and return the lane that the host then reports.

        When the answer is lost, or is a no, the state is read: if the work package has
        moved, that is the answer. If it has not, a lost call is sent once more.

        Raises:
            HostError: If the host says no, or the answer is lost twice, and the work
                package is where it was.
        """
        try:
            return await self._send(command)
        except HostError as e:
            after = await self.lane(command.wp)
            if after != before:
                return after
            if e.outcome == "not_applied":
                raise
            return await self._send(command)

    async def _send(self, command: StartReview | Transition) -> AnyLane:
        if isinstance(command, StartReview):
            return (await self._mutate(command)).to_lane
        return (await self._mutate(command)).to_lane

    async def once(self, command: Command[R]) -> R:
        """Send what must not be repeated blindly; the caller looks what came of it."""
        return await self._mutate(command)

    async def _mutate(self, command: Command[R]) -> R:
        async with self._turn:
            return await _to_its_end(self._client.call(command))
