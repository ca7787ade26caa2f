"""Where a mission stands: the lanes from the host, the rest from the journal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from spec_kitty_client import Client, SpecKittyError
from spec_kitty_orchestrator.cli.view import rows, table
from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.history import History, recall
from spec_kitty_orchestrator.state.journal import read
from spec_kitty_orchestrator.state.lock import is_alive

__all__ = ["history_of", "report", "show"]


def history_of(root: Path, mission: str | None) -> History:
    """Return what the journal tells about a mission; None: the one that was run last.

    Raises:
        UsageProblem: If no run of it is recorded.
    """
    histories = recall(read(StateFiles(root).journal))
    matching = [name for name in histories if mission is None or mission in name]
    if not matching:
        what = f"of {mission!r} " if mission else ""
        msg = (
            f"No run {what}is recorded in {root}. Start one: spec-kitty-orchestrator orchestrate "
            "--mission SLUG"
        )
        raise UsageProblem(msg)
    exact = [name for name in matching if name == mission]
    return histories[(exact or matching)[-1]]


def report(root: Path, mission: str | None, spinner: Callable[[str], Any]) -> dict[str, Any]:
    """Return where every work package stands, as plain values.

    Raises:
        UsageProblem: If no run of the mission is recorded.
    """
    history = history_of(root, mission)
    problem, lanes = None, None
    with spinner("Asking the host"):
        try:
            client = Client(root, warm=False)  # for one call there is nothing to keep
            state = client.mission_state(history.mission)
            lanes = {wp: str(lane) for wp, lane in state.lanes().items()}
        except SpecKittyError as e:
            problem = str(e)
    alive = is_alive(StateFiles(root))
    ended = history.ended
    return {
        "mission": history.mission,
        "run": "alive" if alive else ended.outcome if ended else "died",
        "problem": ended.problem if ended else None,
        "accepted": history.accepted,
        "merged": history.merged,
        "lanes_from": "journal" if lanes is None else "host",
        "host_problem": problem,
        "logs": str(StateFiles(root).logs / history.mission),
        "work_packages": rows(history, lanes),
    }


_RUN = {
    "alive": "a run is alive",
    "died": "the last run died; `spec-kitty-orchestrator resume` goes on",
    "done": "the last run did all that was asked",
    "incomplete": "the last run left something undone",
    "interrupted": "the last run was interrupted; `spec-kitty-orchestrator resume` goes on",
    "host": "the last run stopped at a host problem; `spec-kitty-orchestrator resume` goes on",
}


def show(found: dict[str, Any]) -> None:
    """Print a report."""
    console = Console()
    ends = [word for word in ("accepted", "merged") if found[word]]
    console.print(f"Mission {found['mission']}: {_RUN.get(found['run'], found['run'])}.", end=" ")
    console.print(f"It is {' and '.join(ends)}." if ends else "", highlight=False)
    if found["problem"]:
        console.print(found["problem"], markup=False)
    if found["host_problem"]:
        console.print(f"The lanes are those of the last run: {found['host_problem']}", markup=False)
    console.print(table(found["work_packages"]))
    console.print(f"Logs are in {found['logs']}", markup=False, highlight=False, soft_wrap=True)
