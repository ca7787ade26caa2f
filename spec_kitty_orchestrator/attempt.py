"""One run of an agent after another, until one of them is of use."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from attrs import frozen

from spec_kitty_client import Policy
from spec_kitty_orchestrator.agents import Agent
from spec_kitty_orchestrator.agents.base import Said
from spec_kitty_orchestrator.runners import Ended, Job, Runner, keeper, local
from spec_kitty_orchestrator.state.history import Attempt, Record, Role
from spec_kitty_orchestrator.state.journal import Journal

__all__ = ["Attempts", "Spoken"]

_LONGEST_REASON = 300  # characters of an agent's own words


@frozen(kw_only=True)
class Spoken:
    """How a run of an agent ended, as far as anyone can tell without looking at git."""

    attempt: Attempt
    text: str
    """Its last words, whether it failed or not."""
    failure: str | None
    """Why the run is to be taken as failed."""


@frozen(kw_only=True)
class Attempts:
    """Runs an agent for a work package, or picks up a run that is there already."""

    mission: str
    wp: str
    agent: Agent
    policy: Policy
    record: Record
    journal: Journal
    logs: Path
    """Folder of the work package's attempts."""
    time_limit: float
    runner: Runner = local

    async def run(self, role: Role, prompt: Callable[[], Awaitable[str]]) -> Spoken:
        """Return how a run of the agent ended.

        One that was found, and was interrupted or lost, is started anew. One that ends so
        under our eyes has failed: whatever did it may do it again.
        """
        while True:
            found = await self._there_already(role)
            attempt = found or self._launch(role, await prompt())
            ended = await self._wait(attempt)
            if not (found and ended.reason in ("stopped", "lost")):
                said = self.agent.said(self.runner.tail(Path(attempt.directory)))
                failure = self._failure(ended, said, attempt)
                return Spoken(attempt=attempt, text=said.text or said.error or "", failure=failure)
            self._close(attempt, ended.reason)

    async def _there_already(self, role: Role) -> Attempt | None:
        """Return the run that an earlier orchestrator left, if it is of this role."""
        attempt = self.record.open
        if attempt is None or attempt.role == role:
            return attempt
        ended = await self.runner.stop(Path(attempt.directory))
        self._close(attempt, ended.reason)
        return None

    def _launch(self, role: Role, prompt: str) -> Attempt:
        number = 1 + max((a.number for a in self.record.attempts), default=0)
        directory = self.logs / f"{number:02d}-{role}"
        while directory.exists():  # started by a run that died before it could say so
            number += 1
            directory = self.logs / f"{number:02d}-{role}"
        # The intent is on the disk before the effect: a resumed run looks there.
        event = self.journal.write(
            "attempt-started",
            wp=self.wp,
            role=role,
            number=number,
            agent=self.agent.name,
            directory=str(directory),
        )
        self.runner.launch(self._job(role, number, directory, prompt))
        return Attempt.of(event)

    def _job(self, role: Role, number: int, directory: Path, prompt: str) -> Job:
        worktree = Path(self.record.workspace or ".")
        identity = {
            "SPEC_KITTY_ROLE": role,
            "SPEC_KITTY_MISSION": self.mission,
            "SPEC_KITTY_WP": self.wp,
            "SPEC_KITTY_ATTEMPT": str(number),
        }
        return Job(
            directory=directory,
            argv=self.agent.argv(role, self.policy, worktree),
            cwd=worktree,
            env={**self.agent.env(role, self.policy), **identity},
            prompt=prompt,
            time_limit=self.time_limit,
        )

    async def _wait(self, attempt: Attempt) -> Ended:
        """Wait for the end of a run; a cancellation ends it, with everything it started."""
        directory = Path(attempt.directory)
        try:
            return await self.runner.wait(directory)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                ended = await self.runner.stop(directory)
                if ended.reason == "stopped":
                    self._close(attempt, ended.reason)
            raise

    def _close(self, attempt: Attempt, reason: str) -> None:
        self.journal.write(
            "attempt-stopped", wp=self.wp, role=attempt.role, number=attempt.number, reason=reason
        )

    def _failure(self, ended: Ended, said: Said, attempt: Attempt) -> str | None:
        log = f"see {attempt.directory}"
        seconds = ended.ended_at - ended.started_at
        endings = {
            "not_started": f"could not be started: {ended.error}",
            "deadline": f"did not end within {seconds:.0f} s; {log}",
            "stopped": f"was ended by someone else; {log}",
            "lost": f"was lost: its keeper died without a record; {log}",
        }
        if ended.reason in endings:
            return f"{attempt.agent} {endings[ended.reason]}"
        if said.error is not None:
            return f"{attempt.agent}: {_short(said.error)}; {log}"
        if ended.exit_code != 0:
            errors = self.runner.tail(Path(attempt.directory), keeper.ERRORS).strip()
            words = f" ({_short(errors.splitlines()[-1])})" if errors else ""
            return f"{attempt.agent} ended with exit code {ended.exit_code}{words}; {log}"
        return None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[:_LONGEST_REASON] + "..."
