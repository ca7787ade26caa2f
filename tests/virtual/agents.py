"""Agents that only take time, and end with a canned output. One seed decides everything."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Literal

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from spec_kitty_orchestrator.agents import Agent, script
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.runners import AgentProcessSpec, ExitRecord
from tests.virtual.places import AgentCheckouts

__all__ = ["AGENTS", "Agents", "Play", "Plays", "by_seed", "steady"]

Does = Literal["works", "approves", "refuses", "idles", "fails"]

AGENTS: dict[Role, Agent] = {
    "implement": script.agent(("implementer",)),
    "review": script.agent(("reviewer",)),
}


@frozen
class Play:
    """The behaviour of an agent in one run."""

    seconds: float
    does: Does


Plays = Callable[[str, Role, int], Play]
"""Tells of each run, by work package, role and number, what the agent does."""


def steady(implement: float, review: float) -> Plays:
    """Return agents that always take the same time, and never fail."""
    works, approves = Play(implement, "works"), Play(review, "approves")
    return lambda _wp, role, _number: works if role == "implement" else approves


def by_seed(seed: int, *, fails: float = 0.0, refuses: float = 0.0, last: int = 6) -> Plays:
    """Return agents that take some time or other.

    Args:
        seed: Decides on everything.
        fails: How many of their runs fail, from 0 to 1.
        refuses: How many of the reviews ask for changes.
        last: The run of a work package from which on nothing goes wrong any more.
    """

    def play(wp: str, role: Role, number: int) -> Play:
        random = Random(f"{seed} {wp} {number}")  # noqa: S311 - not for secrets
        seconds = random.lognormvariate(0, 0.6) * (300 if role == "implement" else 120)
        luck = 1.0 if number >= last else random.random()
        if luck < fails:
            return Play(seconds, random.choice(("fails", "idles")))
        if role == "implement":
            return Play(seconds, "works")
        return Play(seconds, "refuses" if luck < fails + refuses else "approves")

    return play


@define
class _Running:
    wp: str
    directory: Path
    worktree: Path
    play: Play
    started_at: float
    ended: ExitRecord | None = None


@define
class Agents:
    """A runner whose agents need no process; they go on whatever becomes of the orchestrator.

    Args:
        plays: What they do.
        checkouts: What they work on.
    """

    plays: Plays
    checkouts: AgentCheckouts
    seconds: dict[str, float] = field(factory=dict)
    """The total seconds of the agents of each work package."""
    starts: int = 0
    most: int = 0
    """The maximum number of agents at the same time."""
    _last: dict[Path, _Running] = field(factory=dict)
    """The last run of each work package, by its folder."""
    alive: int = 0
    """The number of running agents."""

    def launch(self, process: AgentProcessSpec) -> None:
        """See `Runner.launch`. One after the other at a work package, each in a new folder."""
        before = self._last.get(process.directory.parent)
        assert before is None or before.ended, f"two agents at {process.directory.parent}"
        assert before is None or before.directory != process.directory, "the same run twice"
        role: Role = "review" if process.env["SPEC_KITTY_ROLE"] == "review" else "implement"
        wp, now = process.env["SPEC_KITTY_WP"], anyio.current_time()
        play = self.plays(wp, role, int(process.env["SPEC_KITTY_ATTEMPT"]))
        self._last[process.directory.parent] = _Running(
            wp, process.directory, process.cwd, play, now
        )
        self.starts += 1
        self.alive += 1
        self.most = max(self.most, self.alive)

    async def wait(self, directory: Path) -> ExitRecord:
        """See `Runner.wait`."""
        run = self._find(directory)
        if run is None:
            await anyio.lowlevel.checkpoint()
            return ExitRecord(reason="lost")
        await anyio.sleep_until(run.started_at + run.play.seconds)
        return run.ended or self._end(run, run.started_at + run.play.seconds)

    async def stop(self, directory: Path) -> ExitRecord:
        """See `Runner.stop`."""
        await anyio.lowlevel.checkpoint()
        run = self._find(directory)
        if run is None:
            return ExitRecord(reason="lost")
        now = anyio.current_time()
        if run.ended is None and now < run.started_at + run.play.seconds:
            return self._end(run, now, stopped=True)
        return await self.wait(directory)

    def tail(self, directory: Path, name: str = "output") -> str:
        """See `Runner.tail`."""
        run = self._find(directory)
        if run is None or run.play.does not in ("approves", "refuses"):
            return ""
        approves = run.play.does == "approves"
        finding = {"id": "F1", "severity": "blocking", "where": "work.py:1", "what": "not yet"}
        verdict = {
            "verdict": "approved" if approves else "changes_requested",
            "summary": "seen",
            "findings": [] if approves else [finding],
        }
        return json.dumps(verdict)

    def _find(self, directory: Path) -> _Running | None:
        run = self._last.get(directory.parent)
        return run if run and run.directory == directory else None

    def _end(self, run: _Running, at: float, *, stopped: bool = False) -> ExitRecord:
        does = run.play.does
        if does == "works" and not stopped:
            self.checkouts.dirty.add(run.worktree)
        run.ended = ExitRecord(
            reason="stopped" if stopped else "exited",
            exit_code=None if stopped else int(does == "fails"),
            started_at=run.started_at,
            ended_at=at,
        )
        self.seconds[run.wp] = self.seconds.get(run.wp, 0.0) + at - run.started_at
        self.alive -= 1
        return run.ended
