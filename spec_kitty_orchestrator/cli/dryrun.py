"""The dry run of ``orchestrate``: show what a run would do, and move nothing."""

import shlex
from functools import partial
from typing import Any

import anyio
from rich.console import Console

from spec_kitty_client import AsyncTransport, Feature
from spec_kitty_orchestrator.mission import supports
from spec_kitty_orchestrator.preflight.plan import Plan
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.run import client_for, look
from spec_kitty_orchestrator.scheduling.board import Board
from spec_kitty_orchestrator.scheduling.priority import learn_durations
from spec_kitty_orchestrator.scheduling.slots import limits_of
from spec_kitty_orchestrator.settings import sources as config
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.recollection import recollect

__all__ = ["preview", "print_preview"]


def preview(plan: Plan, transport: AsyncTransport) -> dict[str, Any]:
    """Return what a run would do, as plain values. It only reads."""
    return anyio.run(partial(_preview, plan, transport))


async def _preview(plan: Plan, transport: AsyncTransport) -> dict[str, Any]:
    client = client_for(plan.settings, plan.policy, transport)
    mission, found = await look(client, plan.settings)
    files = StateFiles(plan.settings.repo_root)
    names: dict[Role, str] = {role: agent.name for role, agent in plan.agents.items()}
    board = Board(
        mission,
        limits_of(plan.settings, names),
        order=plan.settings.order,
        costs=learn_durations(recollect(files).events).costs(names),
        canceled_is_enough=supports(client.contract, Feature.CANCELED_IS_ENOUGH),
        lanes=found.worktrees,
        stuck=found.left_to_people,
    )
    return {
        "mission": mission.mission_slug,
        "contract": str(client.contract.version) if client.contract else None,
        "settings": config.save(plan.settings),
        "policy": plan.policy.to_dict(),
        "implement": _command(plan, "implement"),
        "review": _command(plan, "review"),
        "warnings": list(plan.warnings),
        "problems": list(found.problems),
        "layout": found.to_dict(),
        "needs": found.lines(),
        "lanes": {wp: str(lane) for wp, lane in mission.lanes().items()},
        "first": [wp.wp_id for wp in board.start_ready()],
    }


def _command(plan: Plan, role: Role) -> str:
    return shlex.join(plan.agents[role].argv(role, plan.policy, plan.settings.repo_root))


def print_preview(found: dict[str, Any]) -> None:
    """Print a preview."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"Mission {found['mission']} on contract {found['contract']}")
    console.print(f"  implement: {found['implement']}")
    console.print(f"  review:    {found['review']}")
    for wp, lane in found["lanes"].items():
        console.print(f"  {wp:<8} {lane}" + ("  <- first" if wp in found["first"] else ""))
    for line in found["needs"]:
        console.print(f"  {line}")
    for warning in found["warnings"]:
        console.print(f"  warning: {warning}")
    for note in found["layout"]["notes"]:
        console.print(f"  note: {note}")
    for problem in found["problems"]:
        console.print(f"  problem: {problem}")
    ends = [word for word in ("accept", "merge") if found["settings"][word]]
    console.print(f"  at the end: {' and '.join(ends) or 'nothing'}")
    console.print("Nothing was moved.")
