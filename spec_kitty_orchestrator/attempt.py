"""Run an agent for one step of a work package, or re-attach to a run that exists already."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
from attrs import frozen

from spec_kitty_client import Lane
from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator.agents import Agent
from spec_kitty_orchestrator.agents.base import AgentOutput
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.roles import ROLES, Role
from spec_kitty_orchestrator.runners import AgentProcessSpec, ExitRecord, keeper, local
from spec_kitty_orchestrator.state.events import AttemptStarted, AttemptStopped, WarningGiven
from spec_kitty_orchestrator.state.files import StateFiles, refuse_link
from spec_kitty_orchestrator.state.history import History
from spec_kitty_orchestrator.state.recollection import all_attempt_folders, attempt_folders, stopped

__all__ = [
    "AttemptResult",
    "end_attempts",
    "end_strays",
    "end_unknown_attempts",
    "no_agent_left",
    "run_attempt",
    "unknown_attempts",
]

_MAX_QUOTE = 300  # characters of an agent's own words in a reason


@frozen(kw_only=True)
class AttemptResult:
    """The result of an agent run, read from its exit record and its output."""

    attempt: AttemptStarted
    text: str
    """The agent's final answer, whether the run failed or not."""
    failure: str | None
    """The reason, if the run failed."""


async def run_attempt(
    run: Run, wp: str, role: Role, prompt: Callable[[], Awaitable[str]]
) -> AttemptResult:
    """Run the agent of a role until it ends, and return its result.

    The orchestrator waits for a run that an earlier orchestrator left. If that run was stopped or
    lost, or its agent is unknown now, the orchestrator starts the agent again and does not count a
    failed attempt. A run that is stopped or lost while this orchestrator watches counts as failed,
    because the cause may repeat itself.

    Args:
        run: The run.
        wp: The id of the work package.
        role: The role that the agent has to play.
        prompt: Returns the prompt. Called only if an agent has to be started.
    """
    while True:
        found = await _existing_attempt(run, wp, role)
        attempt = found or _launch(run, wp, role, await prompt())
        name = f"{role} attempt {attempt.number}"
        with run.spans.step(name, work_package=wp, agent=attempt.agent, attempt=attempt.number):
            exit_record = await _wait(run, attempt)
        if not (found and exit_record.reason in ("stopped", "lost")):
            return _result(run, attempt, exit_record)
        _record_stop(run, attempt, exit_record)


@asynccontextmanager
async def no_agent_left(run: Run) -> AsyncGenerator[None]:
    """End the agents of an earlier run for which this run does not wait.

    At the start it ends those of work packages that a person has moved to another lane meanwhile;
    at the end it ends all.
    """
    lanes, working = run.history.lanes, ROLES.keys() - {Lane.PLANNED}
    await end_attempts(run, [wp for wp in run.history.running() if lanes.get(wp) not in working])
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await end_attempts(run, run.history.running())


async def end_attempts(run: Run, wps: Iterable[str]) -> None:
    """End the agents of work packages for which this run does not wait.

    Args:
        run: The run.
        wps: The ids of the work packages. Those without a running agent are skipped.
    """
    ended: list[tuple[AttemptStarted, ExitRecord]] = []

    async def end(attempt: AttemptStarted) -> None:
        ended.append((attempt, await run.runner.stop(Path(attempt.directory))))

    async with anyio.create_task_group() as tasks:
        for wp in wps:
            if attempt := run.history.work_package(wp).running:
                tasks.start_soon(end, attempt)
    for attempt, exit_record in ended:  # record after all have ended: the disk may be full
        _name_left(run, attempt, exit_record)
        if exit_record.reason in ("stopped", "lost"):
            _record_stop(run, attempt, exit_record)


async def end_unknown_attempts(run: Run) -> None:
    """End the live agents of the mission that the journal does not know.

    A damaged journal may have lost their start. A second agent in their worktree would destroy
    their work, and their output cannot be read without knowing which agent it is.
    """
    for directory in unknown_attempts(run.logs, run.history):
        exit_record = await run.runner.stop(directory)
        run.journal.write(stopped(directory, exit_record.reason))


async def end_strays(run: Run) -> None:
    """End the processes of agents whose folders are gone, for example after ``git clean -fdx``.

    Nothing else tells that they are alive, and they may work in the worktrees of this run.
    """
    root = run.settings.repo_root
    folders = all_attempt_folders(StateFiles(root))
    ended, left = await anyio.to_thread.run_sync(local.end_strays, root, folders)
    if ended:
        named = ", ".join(f"{pid} ({program})" for pid, program in ended.items())
        message = f"ended the processes of agents whose folders were removed: {named}"
        run.journal.write(WarningGiven(message=message))
    for process in left:
        message = f"an earlier agent has left {process}. End it with: {process.remedy}"
        run.journal.write(WarningGiven(message=message))


def unknown_attempts(logs: Path, history: History) -> list[Path]:
    """Return the folders of live agents that the journal does not list as running."""
    packages = history.work_packages.values()
    known = {Path(history.running.directory).resolve() for history in packages if history.running}
    found = attempt_folders(logs)
    return [path for path in found if path.resolve() not in known and local.has_processes(path)]


async def _existing_attempt(run: Run, wp: str, role: Role) -> AttemptStarted | None:
    """Return the running attempt of a role; end one of the other role or of an unknown agent."""
    attempt = run.history.work_package(wp).running
    if attempt is None or (attempt.role == role and _agent_of(run, attempt)):
        return attempt
    _record_stop(run, attempt, await run.runner.stop(Path(attempt.directory)))
    return None


def _agent_of(run: Run, attempt: AttemptStarted) -> Agent | None:
    """Return the agent of an attempt, which an earlier run may have chosen; None if unknown."""
    if attempt.setting in ("", _setting(run, attempt.role)):
        agent = run.agents[attempt.role]
        return agent if agent.name == attempt.agent else None
    return agents.known(attempt.setting)


def _setting(run: Run, role: Role) -> str:
    return run.settings.impl_agent if role == "implement" else run.settings.review_agent


def _launch(run: Run, wp: str, role: Role, prompt: str) -> AttemptStarted:
    number = 1 + max((a.number for a in run.history.work_package(wp).attempts), default=0)
    logs = run.logs / wp
    refuse_link(logs)
    directory = logs / f"{number:02d}-{role}"
    while directory.exists():  # the journal has lost the record of this attempt
        number += 1
        directory = logs / f"{number:02d}-{role}"
    # Written before the launch: if the orchestrator dies here, the next one looks for the agent.
    attempt = run.journal.write(
        AttemptStarted(
            wp=wp,
            role=role,
            number=number,
            agent=run.agents[role].name,
            setting=_setting(run, role),
            directory=str(directory),
        )
    )
    run.runner.launch(_process(run, attempt, prompt))
    return attempt


def _process(run: Run, attempt: AttemptStarted, prompt: str) -> AgentProcessSpec:
    role, agent = attempt.role, run.agents[attempt.role]
    worktree = Path(run.history.work_package(attempt.wp).workspace or ".")
    task = {
        "SPEC_KITTY_ROLE": role,
        "SPEC_KITTY_MISSION": run.host.mission,
        "SPEC_KITTY_WP": attempt.wp,
        "SPEC_KITTY_ATTEMPT": str(attempt.number),
    }
    return AgentProcessSpec(
        directory=Path(attempt.directory),
        argv=agent.argv(role, run.policy, worktree),
        cwd=worktree,
        repository=run.settings.repo_root,
        env={**agent.env(role, run.policy), **task},
        prompt=prompt,
        time_limit=run.settings.agent_timeout,
    )


async def _wait(run: Run, attempt: AttemptStarted) -> ExitRecord:
    """Wait for the end of an attempt. If the run is cancelled, end the agent's processes."""
    directory = Path(attempt.directory)
    try:
        exit_record = await run.runner.wait(directory)
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            exit_record = await run.runner.stop(directory)
            _name_left(run, attempt, exit_record)
            if exit_record.reason == "stopped":
                _record_stop(run, attempt, exit_record)
        raise
    _name_left(run, attempt, exit_record)
    return exit_record


def _name_left(run: Run, attempt: AttemptStarted, exit_record: ExitRecord) -> None:
    """Warn of an agent's processes that could not be ended; they may still change the worktree."""
    for process in exit_record.left:
        message = f"{attempt.wp}: the agent has left {process}. End it with: {process.remedy}"
        run.journal.write(WarningGiven(message=message))


def _record_stop(run: Run, attempt: AttemptStarted, exit_record: ExitRecord) -> None:
    run.journal.write(
        AttemptStopped(
            wp=attempt.wp, role=attempt.role, number=attempt.number, reason=exit_record.reason
        )
    )


def _result(run: Run, attempt: AttemptStarted, exit_record: ExitRecord) -> AttemptResult:
    agent = _agent_of(run, attempt) or run.agents[attempt.role]
    output = agent.read_output(run.runner.tail(Path(attempt.directory)))
    failure = _failure(run, attempt, exit_record, output)
    return AttemptResult(attempt=attempt, text=output.text or output.error or "", failure=failure)


def _failure(
    run: Run, attempt: AttemptStarted, exit_record: ExitRecord, output: AgentOutput
) -> str | None:
    """Return why an attempt failed, and where its log is; None if it did not fail."""
    log = f"see {attempt.directory}"
    seconds = exit_record.ended_at - exit_record.started_at
    endings = {
        "not_started": f"could not be started: {exit_record.error}",
        "deadline": f"did not end within {seconds:.0f} s; {log}",
        "stopped": f"was ended from outside this run; {log}",
        "lost": f"was lost: its keeper died without an exit record; {log}",
    }
    if exit_record.reason in endings:
        return f"{attempt.agent} {endings[exit_record.reason]}"
    code = exit_record.exit_code
    if code != 0:
        errors = run.runner.tail(Path(attempt.directory), keeper.ERRORS).strip()
        words = [_short(text) for text in (output.error, errors.rpartition("\n")[2]) if text]
        why = f" ({'; '.join(words)})" if words else ""
        how = f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by signal {-code}"
        return f"{attempt.agent} {how}{why}; {log}"
    if output.error is not None:
        return f"{attempt.agent}: {_short(output.error)}; {log}"
    return None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_QUOTE else line[:_MAX_QUOTE] + "..."
