"""What happens to a mission, as events: the differences between two reads."""

from collections.abc import Iterator

from attrs import frozen

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.api import replies
from spec_kitty_client.contract.lanes import AnyLane, Lane
from spec_kitty_client.errors import GitFailed, SpecKittyError
from spec_kitty_client.texts import encodable
from spec_kitty_client.workflow.git import git, root
from spec_kitty_client.workflow.steps import state
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
    """A condition did not hold in time.

    Attributes:
        mission: Slug or id of the mission.
        timeout: Seconds that were waited.
        state: The state that was read last.
    """

    def __init__(self, mission: str, timeout: float, state: replies.Mission) -> None:
        super().__init__(mission, timeout, state)
        self.mission = mission
        self.timeout = timeout
        self.state = state

    def __str__(self) -> str:
        lanes = ", ".join(f"{wp} {lane}" for wp, lane in self.state.lanes().items())
        return encodable(
            f"Mission {self.mission} did not come that far within {self.timeout:g} s: {lanes}. "
            "Wait longer with timeout=, or look at what holds it up."
        )


@frozen(kw_only=True)
class WorkPackageAdded:
    """A work package is there that was not; the first look finds them all."""

    wp_id: str
    lane: AnyLane


@frozen(kw_only=True)
class LaneChanged:
    """A work package has moved. Where it moved twice between two looks, the ends are told."""

    wp_id: str
    before: AnyLane
    after: AnyLane
    actor: str | None
    """Who moved it last; told by hosts 1.0.x alone."""


@frozen(kw_only=True)
class AcceptanceSeen:
    """The mission has been accepted. It is the last event."""

    mission_slug: str


MissionEvent = WorkPackageAdded | LaneChanged | AcceptanceSeen


class Watcher:
    """Turns reads of one mission into events."""

    def __init__(self, mission: str) -> None:
        self._mission = mission
        self._lanes: dict[str, AnyLane] = {}

    def look(self) -> Steps[tuple[MissionEvent, ...]]:
        """Read once, and return what is new. One host call.

        No verb tells whether a mission is accepted. Once every work package is approved,
        done or canceled, ``accepted_at`` is looked for in the mission's ``meta.json``.
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
    try:  # grep looks at the file as it is: hosts write it and do not commit it
        yield from git(
            "grep", "--untracked", "-q", "-E", '"accepted_at": *"[^"]', "--", meta, folder=top
        )
    except GitFailed:
        return False
    return True
