"""Parts of the orchestrator that can be switched off, one at a time. The simulation finds each."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import stamina.instrumentation

from spec_kitty_orchestrator import attempt, work_package
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.scheduling.board import Board
from spec_kitty_orchestrator.scheduling.slots import Slots
from spec_kitty_orchestrator.state.events import AttemptStarted
from spec_kitty_orchestrator.work_package import WorkPackageRun
from spec_kitty_orchestrator.workspace import PackageWorktree
from tests.sim.world import Outcome, simulate

__all__ = ["PLANTED", "simulate_with"]


def _replaced(owner: object, name: str, new: object) -> Callable[[], Any]:
    return lambda: patch.object(owner, name, new)


async def _nothing(*_: object, **__: object) -> None:
    return None


async def _true(*_: object, **__: object) -> bool:
    return True


async def _put_back_without_keeping(self: PackageWorktree, commit: str, _reason: str) -> None:
    await self.tree.restore(commit)


async def _any_branch_head(self: PackageWorktree) -> str:
    return await self.tree.branch_head() or ""


def _launch_before_recording(run: Run, wp: str, role: Role, prompt: str) -> AttemptStarted:
    number = 1 + len(run.history.work_package(wp).attempts)
    directory = str(run.logs / wp / f"{number:02d}-{role}")
    started = AttemptStarted(wp=wp, role=role, number=number, agent="script", directory=directory)
    run.runner.launch(attempt._process(run, started, prompt))
    return run.journal.write(started)


PLANTED: Mapping[str, tuple[int, Callable[[], Any]]] = {
    "work outside the lane's branch is not brought onto it": (
        0,
        _replaced(PackageWorktree, "_return_to_branch", _nothing),
    ),
    "a worktree is put back without keeping what is in it": (
        2,
        _replaced(PackageWorktree, "_put_back", _put_back_without_keeping),
    ),
    "a branch that an agent moved back stays there": (
        360,
        _replaced(PackageWorktree, "_goal", _any_branch_head),
    ),
    "the link of a worktree is not restored": (
        0,
        _replaced(PackageWorktree, "_restore_link", _nothing),
    ),
    "an approval counts for whatever is on the branch": (
        21,
        _replaced(PackageWorktree, "is_as_reviewed", _true),
    ),
    "a commit that is not submitted yet is forgotten": (
        105,
        _replaced(WorkPackageRun, "_existing_commit", _nothing),
    ),
    "an agent that an earlier run left is not looked for": (
        21,
        _replaced(attempt, "_existing_attempt", _nothing),
    ),
    "an agent is recorded after its launch": (
        6,
        _replaced(attempt, "_launch", _launch_before_recording),
    ),
    "an agent that no work package needs is left alive": (
        687,
        _replaced(attempt, "end_attempts", _nothing),
    ),
    "several agents use a shared worktree at once": (
        1,
        _replaced(Board, "_sharing_with", lambda *_: list[str]()),
    ),
    "slots are not counted": (6, _replaced(Slots, "free", lambda *_: True)),
    "an outdated report is believed": (45, _replaced(Board, "contradicts", lambda *_: False)),
    "an error of git ends the run": (
        5,
        _replaced(work_package, "_as_failure", contextlib.nullcontext),
    ),
}
"""By name, each with a seed that finds it, and a function whose result switches the part off."""


def simulate_with(seed: int, planted: str | None) -> Outcome:
    """Play a seed, with one part of the orchestrator switched off; None: with none."""
    stamina.instrumentation.set_on_retry_hooks([])  # its log would be all that is seen
    with PLANTED[planted][1]() if planted else contextlib.nullcontext():
        return simulate(seed)
