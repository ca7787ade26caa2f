"""Turn reads of a mission's state into events: the differences between two reads."""

from collections.abc import Iterator

from attrs import frozen

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.api import replies
from spec_kitty_client.contract.lanes import AnyLane, Lane
from spec_kitty_client.errors import GitFailed, SpecKittyError
from spec_kitty_client.values import Value, encodable
from spec_kitty_client.workflow.common import state
from spec_kitty_client.workflow.git import git, root
from spec_kitty_client.workflow.worktrees import folder_of

__all__ = [
    "AcceptanceSeen",
    "LaneChanged",
    "MissionEvent",
    "WaitTimeout",
    "Watcher",
    "WorkPackageAdded",
]

_DONE = frozenset({Lane.APPROVED, Lane.DONE, Lane.CANCELED})


class WaitTimeout(SpecKittyError, TimeoutError):
    """A mission did not reach the wanted state in time.

    Attributes:
        mission: Slug or id of the mission.
        timeout: The time limit, in seconds.
        state: The last state that was read.
    """

    def __init__(self, mission: str, timeout: float, state: replies.Mission) -> None:
        super().__init__(mission, timeout, state)
        self.mission = mission
        self.timeout = timeout
        self.state = state

    def __str__(self) -> str:
        lanes = ", ".join(f"{wp} {lane}" for wp, lane in self.state.lanes().items())
        return encodable(
            f"Mission {self.mission} did not reach the wanted state within {self.timeout:g} s: "
            f"{lanes}. Wait longer with timeout=, or see why these work packages do not move."
        )


@frozen(kw_only=True)
class WorkPackageAdded(Value):
    """A work package is new since the last read; the first read reports all of them."""

    wp_id: str
    lane: AnyLane


@frozen(kw_only=True)
class LaneChanged(Value):
    """A work package has moved; several moves between two reads are one event."""

    wp_id: str
    before: AnyLane
    after: AnyLane
    actor: str | None
    """The actor of the last move; only hosts 1.0.x report it."""


@frozen(kw_only=True)
class AcceptanceSeen(Value):
    """The mission has been accepted. It is the last event."""

    mission_slug: str


MissionEvent = WorkPackageAdded | LaneChanged | AcceptanceSeen


class Watcher:
    """Turns reads of one mission into events.

    Args:
        mission: Slug or id of the mission.
    """

    def __init__(self, mission: str) -> None:
        self._mission = mission
        self._lanes: dict[str, AnyLane] = {}

    def look(self) -> Steps[tuple[MissionEvent, ...]]:
        """Read the mission once and return the changes since the last read. One host call.

        No verb reports whether a mission is accepted. Once every work package is approved, done
        or canceled, this looks for ``accepted_at`` in the mission's ``meta.json``.
        """
        found = yield from state(self._mission)
        events = list[MissionEvent](self._news(found))
        if all(lane in _DONE for lane in self._lanes.values()):
            if (yield from _accepted(found.mission_slug)):
                events.append(AcceptanceSeen(mission_slug=found.mission_slug))
        return tuple(events)

    def _news(self, found: replies.Mission) -> Iterator[WorkPackageAdded | LaneChanged]:
        for wp in found.work_packages:
            before = self._lanes.get(wp.wp_id)
            self._lanes[wp.wp_id] = wp.lane
            if before is None:
                yield WorkPackageAdded(wp_id=wp.wp_id, lane=wp.lane)
            elif before != wp.lane:
                yield LaneChanged(wp_id=wp.wp_id, before=before, after=wp.lane, actor=wp.last_actor)


def _accepted(slug: str) -> Steps[bool]:
    meta = f"{folder_of(slug)}/meta.json"
    top = yield from root()
    try:  # --untracked: hosts write the file and do not commit it
        yield from git(
            "grep", "--untracked", "-q", "-E", '"accepted_at": *"[^"]', "--", meta, folder=top
        )
    except GitFailed:
        return False
    return True
