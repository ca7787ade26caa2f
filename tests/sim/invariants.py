"""Rules that hold whatever happens. Each returns the violations that it finds, in words."""

from collections.abc import Iterator

from spec_kitty_client import Lane
from spec_kitty_client.contract import lanes
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.testing.host.board import Move
from spec_kitty_orchestrator.state.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    Implemented,
    Submitted,
    VerdictGiven,
)
from tests.sim.agents import SimulatedAgents
from tests.sim.repository import Repository
from tests.virtual.world import World

__all__ = ["at_any_time", "at_the_end", "illegal", "lost_commits", "of_the_journal", "unapproved"]

_ACTOR = "spec-kitty-orchestrator"


def at_any_time(agents: SimulatedAgents, limit: int) -> Iterator[str]:
    """Yield what is wrong now, whatever comes next.

    Args:
        agents: The agents of the mission.
        limit: How many of them may run at the same time.
    """
    running = agents.running()
    folders = [process.worktree for process in running]
    for folder in {f for f in folders if folders.count(f) > 1}:
        yield f"several agents are alive in {folder.name}"
    if len(running) > limit:
        yield f"{len(running)} agents are alive, and {limit} are allowed"
    missing = agents.made - agents.repository.contents()
    if missing:
        yield f"lost: {', '.join(sorted(missing))}"


def lost_commits(submitted: set[str], repository: Repository) -> Iterator[str]:
    """Yield the commits that were submitted for review and that nothing leads to any more."""
    for commit in sorted(submitted - repository.reachable()):
        yield f"the submitted commit {commit} is lost"


def illegal(move: Move, dialect: Dialect) -> Iterator[str]:
    """Yield why a move of the orchestrator is not allowed on a host of this dialect."""
    if move.actor != _ACTOR or move.forced:
        return
    if not lanes.allowed(lanes.parse_lane(move.before), lanes.parse_lane(move.after), dialect):
        yield f"{move.wp} was moved from {move.before} to {move.after}"


def of_the_journal(events: list[Event], touched: set[str]) -> Iterator[str]:
    """Yield what the order of events shows to be wrong.

    Args:
        events: All events.
        touched: The work packages that a person has moved or changed, for which these rules do
            not hold.
    """
    implemented, submitted = set[str](), set[str]()
    for event in events:
        match event:
            case Implemented():
                implemented.add(event.wp)
            case AttemptFailed():
                implemented.discard(event.wp)
            case Submitted():
                submitted.add(event.wp)
            case VerdictGiven() if event.verdict == "changes_requested":
                implemented.discard(event.wp)
                submitted.discard(event.wp)
            case AttemptStarted() if event.role == "implement" and event.wp not in touched:
                if event.wp in submitted:
                    yield f"{event.wp} is implemented again after it was submitted"
                if event.wp in implemented:
                    yield f"{event.wp} is implemented again after it was committed"
            case _:
                pass


def unapproved(
    events: list[Event], wp: str, head: str, repository: Repository, *, shared: bool
) -> Iterator[str]:
    """Yield why a work package that the orchestrator has finished is not what was approved.

    Args:
        events: All events.
        wp: The work package.
        head: The commit of its branch.
        repository: The repository.
        shared: Whether other work packages commit to the same branch.
    """
    ancestors = repository.ancestors(head)
    done = [e.head for e in events if isinstance(e, Implemented) and e.wp == wp]
    if done and done[-1] not in ancestors:
        yield f"{wp} is done at {head}, without its work {done[-1]}"
    verdicts = [e for e in events if isinstance(e, VerdictGiven) and e.wp == wp]
    if not verdicts or verdicts[-1].verdict != "approved":
        yield f"{wp} is done, and no reviewer has approved it"
    elif verdicts[-1].head not in ancestors or not (shared or verdicts[-1].head == head):
        yield f"{wp} is done at {head}, and {verdicts[-1].head} was approved"


def at_the_end(world: World, unfinished: dict[str, str]) -> Iterator[str]:
    """Yield the work packages that are neither finished nor left with a reason."""
    for wp, lane in world.host.lanes().items():
        if lane in (Lane.DONE, Lane.CANCELED):
            continue
        reason = unfinished.get(wp, "")
        if not reason or (reason == f"is {lane}" and lane != Lane.BLOCKED):
            yield f"{wp} is left in {lane} without a reason"
