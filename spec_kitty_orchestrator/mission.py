"""The host as a run sees it: one mutation at a time, reads beside them, nothing cut short."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio

from spec_kitty_client import (
    AnyLane,
    AsyncClient,
    Contract,
    Feature,
    HostError,
    ImplementationStarted,
    Lane,
    Merged,
    MergeStrategy,
    Mission,
    MissionAccepted,
    MissionLayout,
    Moved,
    Review,
    SpecKittyError,
    Workspace,
)

__all__ = ["Host", "supports"]

T = TypeVar("T")
Call = Callable[[], Awaitable[T]]
"""Not an awaitable: one that a cancellation comes before is never begun."""


def supports(contract: Contract | None, feature: Feature) -> bool:
    """Return whether a host has a feature; one that nobody has asked yet has none."""
    return contract is not None and contract.supports(feature)


async def _to_its_end(call: Call[T]) -> T:
    """Wait for a call that a cancellation must not cut short."""
    replies: list[T] = []
    with anyio.CancelScope(shield=True):
        replies.append(await call())
    return replies[0]


class Host:
    """A client for one mission.

    Mutations are not cut short by a cancellation, so that Ctrl-C leaves no half-done call; one
    that has not begun yet is dropped. The SDK finds out what a lost answer means.
    """

    def __init__(self, client: AsyncClient, mission: str) -> None:
        self._client = client
        self._mission = client.mission(mission)
        self._turn = anyio.Lock()  # a call that waits here can be cancelled, one that runs cannot
        self.mission = mission

    @property
    def contract(self) -> Contract | None:
        """What the host speaks, as far as that is known."""
        return self._client.contract

    async def state(self) -> Mission:
        """Return where every work package stands."""
        return await self._client.mission_state(self.mission)

    async def layout(self, mission: Mission) -> MissionLayout:
        """Return how the mission is laid out. Reads files alone."""
        return await self._mission.layout(mission)

    async def workspace(self, wp: str) -> Workspace:
        """Return where a work package is worked on."""
        return await self._mission.work_package(wp).locate()

    async def claim(self, wp: str) -> ImplementationStarted:
        """Claim a work package, and see that it has a worktree."""
        return await self._mutate(self._mission.work_package(wp).claim)

    async def submit(self, wp: str) -> AnyLane:
        """Hand in the implementation, with its subtasks marked done.

        The orchestrator marks them, and not the agent: an agent's sandbox lets it write nowhere
        but in its worktree, and hosts lose commits when two mutations run at once.
        """
        call = partial(self._mission.work_package(wp).submit_for_review, subtasks="complete")
        return await self._moved(wp, Lane.IN_PROGRESS, call)

    async def begin_review(self, wp: str, lane: AnyLane) -> AnyLane:
        """Begin a review; on hosts that have no lane for it, it stays where it is."""
        call = partial(self._mission.work_package(wp).begin_review, lane=lane)
        return await self._moved(wp, lane, call)

    async def finish(self, wp: str, lane: AnyLane, review: Review) -> AnyLane:
        """Bring approved work to its end."""
        call = partial(self._mission.work_package(wp).finish, review, lane=lane)
        return await self._moved(wp, lane, call)

    async def request_changes(self, wp: str, lane: AnyLane, review: Review) -> AnyLane:
        """Send it back to the implementer."""
        call = partial(self._mission.work_package(wp).request_changes, review, lane=lane)
        return await self._moved(wp, lane, call)

    async def block(self, wp: str, lane: AnyLane, reason: str, review: Review) -> AnyLane:
        """Give it to a human."""
        call = partial(self._mission.work_package(wp).block, reason, review=review, lane=lane)
        return await self._moved(wp, lane, call)

    async def accept(self) -> MissionAccepted:
        """Accept the mission."""
        return await self._mutate(self._mission.accept)

    async def merge(
        self, target: str | None, strategy: MergeStrategy, commits: Sequence[str], *, push: bool
    ) -> Merged:
        """Merge the mission; these commits have to be in what is merged."""
        call = partial(
            self._mission.merge,
            target=target,
            strategy=strategy,
            push=push,
            commits=commits,
        )
        return await self._mutate(call)

    async def _moved(self, wp: str, before: AnyLane, call: Call[Moved]) -> AnyLane:
        """Return the lane that the host then reports; it may have been moved by somebody else.

        Raises:
            HostError: If the host says no and the work package is where it was.
        """
        try:
            return (await self._mutate(call)).lane
        except HostError:
            lane = (await self.state()).lanes().get(wp)
            if lane is None:
                msg = f"{wp} is no longer in mission {self.mission}. Look at mission-state."
                raise SpecKittyError(msg) from None
            if lane == before:
                raise
            return lane

    async def _mutate(self, call: Call[T]) -> T:
        async with self._turn:
            return await _to_its_end(call)
