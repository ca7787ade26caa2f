"""The calls of the host for one mission; no mutation is cut short, unless the host hangs."""

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

__all__ = ["MissionClient", "supports"]

T = TypeVar("T")
_END_SOON = 3.0  # seconds
_MAX_NOTE = 2000  # characters of a reason that are sent to the host
Call = Callable[[], Awaitable[T]]
"""A callable, not an awaitable, so that a call that is cancelled while queued never starts."""


def supports(contract: Contract | None, feature: Feature) -> bool:
    """Return whether a host has a feature; False if its contract is not known yet."""
    return contract is not None and contract.supports(feature)


class MissionClient:
    """The calls of a run for one mission.

    A cancellation does not interrupt a mutation, so that Ctrl-C leaves no half-done call; a queued
    mutation never starts. After `end_soon` it has three seconds left. If an answer is lost, the SDK
    finds out whether the call took effect.

    The SDK makes mutations take turns as well, but its calls can be cancelled while they wait and
    while they run. A call of this class waits in its queue before it is shielded from cancellation.
    Without the queue, all calls that wait for their turn in the SDK would be shielded, and sent
    after Ctrl-C.

    Args:
        client: The SDK's client.
        mission: The mission's slug.
    """

    def __init__(self, client: AsyncClient, mission: str) -> None:
        self._client = client
        self._handle = client.mission(mission)
        self._queue = anyio.Lock()  # a call that waits here can be cancelled, one that runs cannot
        self._under_way: anyio.CancelScope | None = None
        self.mission = mission

    @property
    def contract(self) -> Contract | None:
        """The contract of the host; None before its first answer."""
        return self._client.contract

    async def state(self) -> Mission:
        """Return the lane of every work package."""
        return await self._client.mission_state(self.mission)

    async def layout(self, mission: Mission) -> MissionLayout:
        """Return the layout of the mission, read from its files."""
        return await self._handle.layout(mission)

    async def workspace(self, wp: str) -> Workspace:
        """Return the worktree of a work package."""
        return await self._handle.work_package(wp).locate()

    async def claim(self, wp: str) -> ImplementationStarted:
        """Claim a work package, and make sure that it has a worktree."""
        return await self._mutate(self._handle.work_package(wp).claim)

    async def submit(self, wp: str) -> AnyLane:
        """Mark the subtasks done, and submit the implementation for review.

        The orchestrator marks them, not the agent: the agent's sandbox lets it write in its
        worktree only, and hosts lose commits when two mutations run at once.
        """
        call = partial(self._handle.work_package(wp).submit_for_review, subtasks="complete")
        return await self._moved(wp, Lane.IN_PROGRESS, call)

    async def begin_review(self, wp: str, lane: AnyLane) -> AnyLane:
        """Begin a review. On hosts without the lane in_review, the lane stays the same."""
        call = partial(self._handle.work_package(wp).begin_review, lane=lane)
        return await self._moved(wp, lane, call)

    async def finish(self, wp: str, lane: AnyLane, review: Review) -> AnyLane:
        """Move approved work to done."""
        call = partial(self._handle.work_package(wp).finish, review, lane=lane)
        return await self._moved(wp, lane, call)

    async def request_changes(self, wp: str, lane: AnyLane, review: Review) -> AnyLane:
        """Send the work back to the implementer."""
        call = partial(self._handle.work_package(wp).request_changes, review, lane=lane)
        return await self._moved(wp, lane, call)

    async def block(self, wp: str, lane: AnyLane, reason: str, review: Review) -> AnyLane:
        """Move the work package to blocked, for a user to look at."""
        note = _printable(reason)[:_MAX_NOTE]
        call = partial(self._handle.work_package(wp).block, note, review=review, lane=lane)
        return await self._moved(wp, lane, call)

    async def accept(self) -> MissionAccepted:
        """Accept the mission."""
        return await self._mutate(self._handle.accept)

    async def merge_obstacles(
        self, target: str | None, strategy: MergeStrategy, commits: Sequence[str]
    ) -> tuple[str, ...]:
        """Return the obstacles to a merge that no work package can remove."""
        return await self._handle.merge_obstacles(target=target, strategy=strategy, commits=commits)

    async def merge(
        self, target: str | None, strategy: MergeStrategy, commits: Sequence[str], *, push: bool
    ) -> Merged:
        """Merge the mission, and prove that the target has these commits."""
        call = partial(
            self._handle.merge,
            target=target,
            strategy=strategy,
            push=push,
            commits=commits,
        )
        return await self._mutate(call)

    async def _moved(self, wp: str, before: AnyLane, call: Call[Moved]) -> AnyLane:
        """Return the lane that the host reports after a move, also if the user moved it meanwhile.

        Raises:
            HostError: If the host rejects the move and the lane is the same as before.
        """
        try:
            return (await self._mutate(call)).lane
        except HostError:
            lane = (await self.state()).lanes().get(wp)
            if lane is None:
                msg = (
                    f"{wp} is no longer in mission {self.mission}. See `spec-kitty "
                    f"orchestrator-api mission-state --mission {self.mission}`."
                )
                raise SpecKittyError(msg) from None
            if lane == before:
                raise
            return lane

    async def _mutate(self, call: Call[T]) -> T:
        async with self._queue:
            replies: list[T] = []
            with anyio.CancelScope(shield=True) as self._under_way:
                replies.append(await call())
            if not replies:
                await anyio.sleep_forever()  # the run is cancelled
            return replies[0]

    def end_soon(self) -> None:
        """Cut short the mutation that is under way, if it does not end in three seconds.

        Called when the run is cancelled. A host that hangs must not delay the end of the run; the
        next run reads the state again.
        """
        if self._under_way:
            self._under_way.deadline = anyio.current_time() + _END_SOON


def _printable(text: str) -> str:
    """Return an agent's text without the characters that no argument of a command can hold."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
