"""A model of a mission's lanes by the rules of its host, for drawing calls that fit the lanes.

`scripts` uses it. Only a host decides whether a call is valid.
"""

from collections.abc import Mapping
from typing import Any

from attrs import Factory, define

from spec_kitty_client.api.commands import (
    AcceptMission,
    Command,
    MergeMission,
    StartImplementation,
    StartReview,
    Transition,
)
from spec_kitty_client.api.reviews import ReviewVerdict
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import Lane, Need, moves

__all__ = ["ENDED", "Board"]

ENDED = (Lane.APPROVED, Lane.DONE)
"""The lanes after a review that approves."""
_STARTABLE = (Lane.PLANNED, Lane.CLAIMED, Lane.IN_PROGRESS)


@define
class Board:
    """The lanes of a mission, which `play` changes.

    Args:
        contract: The contract of the host, whose rules apply.
        slug: The slug of the mission.
        mission: The work packages, each with its dependencies.
        lanes: The lane of each work package.
        actors: The actor of each last move; hosts treat that actor as the owner.
        dropped: The work packages canceled with a reason; hosts from 3.2.6 on do not wait for them.
        started: The work packages for which ``start-implementation`` has made a worktree.
        accepted: Whether the mission is accepted.
        last: The last call that was played.
    """

    contract: Contract
    slug: str
    mission: Mapping[str, list[str]]
    lanes: dict[str, Lane] = Factory(
        lambda self: dict.fromkeys(self.mission, Lane.PLANNED), takes_self=True
    )
    actors: dict[str, str | None] = Factory(dict)
    dropped: set[str] = Factory(set)
    started: set[str] = Factory(set)
    accepted: bool = False
    last: Command[Any] | None = None

    @property
    def dialect(self) -> Dialect:
        """The dialect of the host."""
        return self.contract.dialect

    @property
    def finished(self) -> bool:
        """Whether the mission may be accepted."""
        return all(self.is_enough(lane) for lane in self.lanes.values())

    def is_enough(self, lane: Lane) -> bool:
        """Return whether a work package in a lane counts as finished."""
        approved_is = self.contract.supports(Feature.APPROVED_IS_ENOUGH)
        return lane in ENDED if approved_is else lane is Lane.DONE

    def waits(self, wp: str) -> bool:
        """Return whether a work package has a dependency that is not finished."""
        dropped = self.dropped if self._has(Feature.CANCELED_IS_ENOUGH) else set[str]()
        needs = set(self.mission[wp]) - dropped
        return not all(self.is_enough(self.lanes[name]) for name in needs)

    def moves_from(self, wp: str) -> list[tuple[Lane, frozenset[Need]]]:
        """Return the lanes that a work package may move to, each with the required options."""
        known, before = moves(self.dialect), self.lanes[wp]
        return [(lane, known[before, lane]) for lane in Lane if (before, lane) in known]

    def may_submit(self, wp: str) -> bool:
        """Return whether a worktree exists, or the host does not look for one."""
        return wp in self.started or not self._has(Feature.WORKTREES)

    def play(self, command: Command[Any]) -> None:
        """Apply a call as a host would; do nothing if the host would refuse it."""
        self.last = command
        wp: str | None = getattr(command, "wp", None)
        mission = getattr(command, "mission", self.slug)
        if mission != self.slug or wp not in {None, *self.lanes} or self._lacks_policy(command):
            return
        match command:
            case StartImplementation() if self._may_start(command):
                self.started.add(command.wp)
                self._move(command.wp, Lane.IN_PROGRESS, command.actor)
            case StartReview() if self.lanes[command.wp] is Lane.FOR_REVIEW:
                self._review(command)
            case Transition(to=Lane()) if self._may_move(command):
                self._move(command.wp, Lane(command.to), command.actor, command.note)
            case AcceptMission():
                self.accepted = self.accepted or self.finished
            case MergeMission() if self.finished:
                self.lanes = dict.fromkeys(self.lanes, Lane.DONE)
            case _:
                pass

    def _move(self, wp: str, lane: Lane, actor: str | None, note: str | None = None) -> None:
        self.lanes[wp], self.actors[wp] = lane, actor
        explained = lane is Lane.CANCELED and note
        (self.dropped.add if explained else self.dropped.discard)(wp)

    def _lacks_policy(self, command: Command[Any]) -> bool:
        if getattr(command, "to", None) is Lane.APPROVED and not self._has(Feature.IN_REVIEW_LANE):
            return False
        return command.needs_policy and getattr(command, "policy", None) is None

    def _has(self, feature: Feature) -> bool:
        return self.contract.supports(feature)

    def _may_start(self, command: StartImplementation) -> bool:
        lane = self.lanes[command.wp]
        if lane is Lane.PLANNED:
            return not (self._has(Feature.DEPENDENCY_CHECK) and self.waits(command.wp))
        return lane in _STARTABLE and self.actors.get(command.wp) in (None, command.actor)

    def _review(self, command: StartReview) -> None:
        if self._has(Feature.IN_REVIEW_LANE):
            self._move(command.wp, Lane.IN_REVIEW, command.actor)
        elif command.review_ref:
            self._move(command.wp, Lane.IN_PROGRESS, command.actor)

    def _may_move(self, command: Transition) -> bool:
        if command.force:
            return self.dialect is Dialect.F1 or bool(command.note)
        if command.to is Lane.FOR_REVIEW and not self.may_submit(command.wp):
            return False
        wanted = moves(self.dialect).get((self.lanes[command.wp], Lane(command.to)))
        is_sound = _is_consistent(command) or not self._has(Feature.REVIEW_RESULT)
        return wanted is not None and wanted <= _brought(command) and is_sound


def _brought(command: Transition) -> set[Need]:
    given = {
        Need.NOTE: command.note,
        Need.REVIEW_REF: command.review_ref,
        Need.EVIDENCE: command.evidence,
        Need.REVIEW_RESULT: command.review_result,
    }
    return {need for need, value in given.items() if value}


def _is_consistent(command: Transition) -> bool:
    """Return whether every review of an approval approves; hosts from 3.2.6 on check that."""
    said = [r.verdict for r in (command.review_result, command.evidence) if r]
    return command.to not in ENDED or all(v is ReviewVerdict.APPROVED for v in said)
