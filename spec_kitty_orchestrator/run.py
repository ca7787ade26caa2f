"""One run, from its lock to its exit code: check the mission, run the loop, accept, merge."""

import sys
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import stamina.instrumentation
from stamina.instrumentation import RetryDetails

from spec_kitty_client import (
    AsyncClient,
    AsyncTransport,
    Feature,
    HostCrashed,
    HostError,
    MergeStrategy,
    Mission,
    NotFound,
    Policy,
    Retry,
    SpecKittyError,
)
from spec_kitty_orchestrator import __version__
from spec_kitty_orchestrator.attempt import end_strays, end_unknown_attempts
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.ending.refusals import after_a_failed_end
from spec_kitty_orchestrator.ending.steps import (
    accept,
    merge,
    next_steps,
    submitted_commits,
    unfinished,
)
from spec_kitty_orchestrator.errors import (
    AnotherRun,
    ExitCode,
    HostProblem,
    OrchestratorError,
    StorageProblem,
    UsageProblem,
    as_problem,
    explain_os_error,
    is_host_failure,
)
from spec_kitty_orchestrator.interruption import Interruption
from spec_kitty_orchestrator.loop import Loop
from spec_kitty_orchestrator.mission import MissionClient
from spec_kitty_orchestrator.preflight.plan import Plan, how_to_leave, protected_branch, where_it_is
from spec_kitty_orchestrator.preflight.survey import Survey, survey, unreadable
from spec_kitty_orchestrator.scheduling.priority import learn_durations
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.settings import sources as config
from spec_kitty_orchestrator.state import events
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.history import History
from spec_kitty_orchestrator.state.journal import FORMAT, Journal, Listener
from spec_kitty_orchestrator.state.lock import only_run
from spec_kitty_orchestrator.state.recollection import recollect, repair
from spec_kitty_orchestrator.state.spans import Spans

__all__ = ["client_for", "look", "run_mission"]


def client_for(
    settings: Settings, policy: Policy, transport: AsyncTransport, spans: Spans | None = None
) -> AsyncClient:
    """Return the client of a run. It retries a call twice if it cannot have had an effect."""
    return AsyncClient(
        transport=transport,
        actor=settings.actor,
        policy=policy,
        time_limit=settings.host_timeout,
        retry=Retry(),
        on_call=spans.observer if spans else None,
    )


def run_mission(
    plan: Plan,
    listeners: Sequence[Listener],
    transport: AsyncTransport,
    interruption: Interruption | None = None,
) -> ExitCode:
    """Run a mission to its end and return the exit code.

    Args:
        plan: The checked settings.
        listeners: Called with each event of the journal.
        transport: The way in which calls reach the host.
        interruption: The handling of signals; None: a new one for this run.

    Raises:
        OrchestratorError: If the run cannot start, or the host fails on the way.
    """
    handled = nullcontext(interruption) if interruption else Interruption()
    with only_run(StateFiles(plan.settings.repo_root)) as lock, handled as signals:
        every: list[Listener] = [lambda _: lock.keep(), *listeners]
        try:
            return signals.run(_run, plan, every, transport, signals)
        except OSError as e:  # before the first task was started
            raise UsageProblem(explain_os_error(e)) from e
        except BaseExceptionGroup as group:
            errors, rest = group.split((OSError, OrchestratorError))
            if errors is None or rest is not None:
                raise
            raise as_problem(errors) from group


async def _run(
    plan: Plan,
    listeners: Sequence[Listener],
    transport: AsyncTransport,
    interruption: Interruption,
) -> ExitCode:
    spans = Spans()
    client = client_for(plan.settings, plan.policy, transport, spans)
    with spans.run(plan.settings.mission):
        seen = await interruption.until_signal(partial(look, client, plan.settings))
        if seen is None:
            return ExitCode.INTERRUPTED
        mission, found = seen
        if found.problems:
            raise UsageProblem(" ".join(found.problems))
        run = _open(plan, client, mission, found, listeners, spans=spans)
        return await _supervise(run, Loop(run, mission), interruption)


async def _supervise(run: Run, loop: Loop, interruption: Interruption) -> ExitCode:
    """Run the loop until its end or a signal, and record how the run ended."""
    problem: OrchestratorError | None = None
    code = ExitCode.INTERRUPTED
    try:
        done = await interruption.until_signal(partial(_work, run, loop), run.host.end_soon)
        code = code if done is None else done
    except* (OSError, OrchestratorError) as group:
        problem = as_problem(group)
        code = problem.exit_code
    if isinstance(problem, AnotherRun):
        raise problem  # the journal belongs to the other run
    ended = events.RunEnded(
        outcome=code.name.lower(),
        exit_code=int(code),
        unfinished=unfinished(run, loop.board),
        problem=str(problem) if problem else None,
        next=tuple(next_steps(run, code, problem)),
    )
    try:
        run.journal.write(ended)
    except StorageProblem as e:
        raise problem or e from None
    run.journal.close()
    return code


async def look(client: AsyncClient, settings: Settings) -> tuple[Mission, Survey]:
    """Return the mission, and the survey of it for a run with these settings.

    Raises:
        UsageProblem: If the mission does not exist, or its branch is not checked out.
        HostProblem: If the host does not work.
    """
    await _check_branch(client, settings)
    stamina.instrumentation.set_on_retry_hooks([_print_retry])  # there is no journal yet
    host = MissionClient(client, settings.mission)
    try:
        found = await host.state()
        contract = await client.negotiate()
        layout = await host.layout(found)
        merging = settings.merge and not found.problem
        obstacles = await _obstacles(host, settings, found.mission_slug) if merging else ()
    except (NotFound, ValueError) as e:
        raise UsageProblem(str(e)) from e
    except SpecKittyError as e:
        if isinstance(e, HostCrashed) and (why := unreadable(settings.repo_root, settings.mission)):
            raise UsageProblem(why) from e
        raise HostProblem(str(e)) from e
    if found.problem:
        where = where_it_is(settings.repo_root, found.mission_slug)
        msg = f"Mission {found.mission_slug} {found.problem}. {where}"
        raise UsageProblem(msg.rstrip())
    wanted = survey(
        layout,
        found,
        contract,
        settings.repo_root,
        target=settings.target,
        accept=settings.accept,
        merge=settings.merge,
        obstacles=obstacles,
    )
    return found, wanted


async def _obstacles(host: MissionClient, settings: Settings, slug: str) -> tuple[str, ...]:
    earlier = recollect(StateFiles(settings.repo_root)).histories().get(slug)
    commits = submitted_commits(earlier) if earlier else []
    return await host.merge_obstacles(settings.target, MergeStrategy(settings.strategy), commits)


def _print_retry(details: RetryDetails) -> None:
    cause = details.caused_by
    failure = cause.failure if isinstance(cause, HostError) else None
    why = f"{failure.verb}: {failure.message}" if failure else str(cause)
    print(f"Host call retried ({details.retry_num}): {why}", file=sys.stderr)


async def _check_branch(client: AsyncClient, settings: Settings) -> None:
    branch = protected_branch(settings.repo_root)
    if branch is None:
        return
    try:
        contract = await client.negotiate()
    except SpecKittyError as e:
        raise HostProblem(str(e)) from e
    if contract.supports(Feature.PROTECTED_BRANCHES):
        msg = (
            f"The branch {branch!r} is checked out, and this host refuses to commit there. "
            f"{how_to_leave(settings.repo_root, settings.mission)}"
        )
        raise UsageProblem(msg)


def _open(
    plan: Plan,
    client: AsyncClient,
    mission: Mission,
    found: Survey,
    listeners: Sequence[Listener],
    *,
    spans: Spans,
) -> Run:
    files = StateFiles(plan.settings.repo_root)
    slug = mission.mission_slug
    earlier = recollect(files)
    repaired = repair(earlier)
    history = earlier.histories().get(slug) or History(mission=slug)
    durations = learn_durations(earlier.events)
    journal = Journal(
        files.journal,
        mission=slug,
        run=uuid.uuid4().hex[:8],
        copy=files.copy(slug),
        listeners=[history.apply, durations.apply, *listeners],
    )
    lanes = [(wp, lane) for wp, lane in mission.lanes().items() if history.lanes.get(wp) != lane]
    journal.write_all(
        [
            events.RunStarted(
                settings=config.save(plan.settings), version=__version__, format=FORMAT
            ),
            *([repaired] if repaired else []),
            *(events.WarningGiven(message=warning) for warning in plan.warnings),
            *(events.NoteGiven(message=note) for note in found.notes),
            *(events.LaneReported(wp=wp, lane=lane) for wp, lane in lanes),
        ]
    )
    _record_retries(journal)
    return Run(
        settings=plan.settings,
        policy=plan.policy,
        host=MissionClient(client, slug),
        journal=journal,
        history=history,
        durations=durations,
        logs=files.logs / slug,
        agents=plan.agents,
        lanes=found.worktrees,
        left_to_people=found.left_to_people,
        owned=found.owned,
        spans=spans,
    )


def _record_retries(journal: Journal) -> None:
    def hook(details: RetryDetails) -> None:
        because = str(details.caused_by)
        journal.write(events.HostRetried(attempt=details.retry_num, because=because))

    stamina.instrumentation.set_on_retry_hooks([hook])


async def _work(run: Run, loop: Loop) -> ExitCode:
    await end_unknown_attempts(run)
    await end_strays(run)
    await loop.work()
    if loop.board.unfinished():
        return ExitCode.INCOMPLETE
    try:
        if run.settings.accept:
            await accept(run)
        if run.settings.merge:
            await merge(run)
    except SpecKittyError as e:
        reason = " ".join([str(e), *getattr(e, "__notes__", ())])
        run.journal.write(events.FinishFailed(reason=reason))
        problem = (HostProblem if is_host_failure(e) else OrchestratorError)(reason)
        problem.next_steps = after_a_failed_end(e)
        raise problem from e
    return ExitCode.DONE
