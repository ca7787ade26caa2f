"""Report where a mission stands: the lanes from the host, the rest from the journal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from spec_kitty_client import Client, SpecKittyError
from spec_kitty_orchestrator.cli.missions import missions_here, named
from spec_kitty_orchestrator.cli.view import rows, table
from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.history import History
from spec_kitty_orchestrator.state.lock import is_alive
from spec_kitty_orchestrator.state.recollection import Recollection, recollect

__all__ = ["find_history", "print_report", "report"]


def find_history(found: Recollection, mission: str | None) -> History:
    """Return the recorded history of a mission.

    Args:
        found: The events of the journal and its copies.
        mission: Its slug, number, mid8 or id; None: the mission that was run last.

    Raises:
        UsageProblem: If no run of it is recorded, or several missions have this number.
    """
    histories, root = found.histories(), found.files.root
    matching = list(histories) if mission is None else named(root, histories, mission)
    if mission is not None and len(matching) > 1:
        msg = f"Several missions are called {mission!r}: {', '.join(matching)}. Name one in full."
        raise UsageProblem(msg)
    if matching:
        return histories[matching[-1]]
    if found.problem():
        raise UsageProblem(f"{found.problem()} {_how_to_start(root)}")
    what = f"of {mission!r} " if mission else ""
    others = f"Recorded: {', '.join(histories)}" if histories else _how_to_start(root)
    msg = f"No run {what}is recorded in {root}. {others}"
    raise UsageProblem(msg)


def _how_to_start(root: Path) -> str:
    return f"Start one: spec-kitty-orchestrator orchestrate MISSION. {missions_here(root)}"


def report(root: Path, mission: str | None, spinner: Callable[[str], Any]) -> dict[str, Any]:
    """Return the state of the mission and of every work package, as plain values.

    Raises:
        UsageProblem: If no run of the mission is recorded.
    """
    found = recollect(StateFiles(root))
    history = find_history(found, mission)
    with spinner("Asking the host"):
        lanes, problem = _ask_lanes(root, history.mission)
    places = StateFiles(root)
    ended = history.ended
    return {
        "mission": history.mission,
        "run": "alive" if is_alive(places) else ended.outcome if ended else "died",
        "problem": ended.problem if ended else None,
        "accepted": history.accepted,
        "not_accepted": history.not_accepted,
        "merged": history.merged,
        "next": list(ended.next) if ended else [],
        "lanes_from": "journal" if lanes is None else "host",
        "host_problem": problem,
        "journal_problem": found.problem(),
        "logs": str(places.logs / history.mission),
        "work_packages": rows(history, lanes),
    }


def _ask_lanes(root: Path, mission: str) -> tuple[dict[str, str] | None, str | None]:
    """Return the lanes, or the reason why the host does not report them."""
    try:
        state = Client(root, warm=False).mission_state(mission)  # one call needs no warm host
    except SpecKittyError as e:
        return None, str(e)
    return {wp: str(lane) for wp, lane in state.lanes().items()}, None


_RUN = {
    "alive": "a run is alive",
    "died": "the last run died; continue it with `spec-kitty-orchestrator resume`",
    "done": "the last run is complete",
    "incomplete": "the last run is incomplete",
    "interrupted": (
        "the last run was interrupted; continue it with `spec-kitty-orchestrator resume`"
    ),
    "host": (
        "the last run stopped at a host error; continue it with `spec-kitty-orchestrator resume`"
    ),
}


def print_report(found: dict[str, Any]) -> None:
    """Print a report."""
    console = Console()
    ends = [word for word in ("accepted", "merged") if found[word]]
    console.print(f"Mission {found['mission']}: {_RUN.get(found['run'], found['run'])}.", end=" ")
    console.print(f"It is {' and '.join(ends)}." if ends else "", highlight=False)
    if found["problem"]:
        console.print(found["problem"], markup=False)
    if found["not_accepted"]:
        console.print(f"Not accepted: {found['not_accepted']}", markup=False, soft_wrap=True)
    if found["journal_problem"]:
        console.print(found["journal_problem"], markup=False)
    if found["host_problem"]:
        console.print(f"The lanes are those of the last run: {found['host_problem']}", markup=False)
    console.print(table(found["work_packages"]))
    console.print(f"Logs are in {found['logs']}", markup=False, highlight=False, soft_wrap=True)
    for command in found["next"]:
        console.print(f"next: {command}", markup=False, highlight=False, soft_wrap=True)
