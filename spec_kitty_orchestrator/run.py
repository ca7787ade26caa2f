"""One run from its lock to its exit code."""

import shlex
import signal
import sys
import uuid
from collections.abc import Callable, Sequence

import anyio
import stamina.instrumentation
from stamina.instrumentation import RetryDetails

from spec_kitty_client import (
    AsyncClient,
    Feature,
    HostCrashed,
    HostError,
    Lane,
    Mission,
    NotFound,
    Policy,
    Retry,
    SpecKittyError,
    Transition,
    allowed,
)
from spec_kitty_client.api.spelling import spell
from spec_kitty_orchestrator import __version__, finish
from spec_kitty_orchestrator import settings as config
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.errors import (
    ExitCode,
    HostProblem,
    OrchestratorError,
    UsageProblem,
    is_of_the_host,
)
from spec_kitty_orchestrator.loop import Loop
from spec_kitty_orchestrator.mission import Host
from spec_kitty_orchestrator.preflight.plan import Plan, how_to_leave, protected_branch, where_it_is
from spec_kitty_orchestrator.preflight.survey import Survey, survey, unreadable
from spec_kitty_orchestrator.scheduling.durations import learn
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.state.files import Places
from spec_kitty_orchestrator.state.history import History, recall
from spec_kitty_orchestrator.state.journal import Event, Journal, read
from spec_kitty_orchestrator.state.lock import only_run

__all__ = ["client_for", "look", "run"]

Listener = Callable[[Event], None]


def client_for(settings: Settings, policy: Policy) -> AsyncClient:
    """Return the client of a run. What cannot have had an effect is tried three times."""
    return AsyncClient(
        settings.repo_root,
        actor=settings.actor,
        policy=policy,
        time_limit=settings.host_timeout,
        retry=Retry(),
        warm="auto" if settings.warm else False,
    )


def run(plan: Plan, listeners: Sequence[Listener]) -> ExitCode:
    """Run a mission and return how it ended. Every event goes to the listeners.

    Raises:
        OrchestratorError: If it could not be started, or the host failed on the way.
    """
    with only_run(Places(plan.settings.repo_root)):
        try:
            return anyio.run(_run, plan, listeners)
        except BaseExceptionGroup as group:
            trouble, rest = group.split(OSError)
            if trouble is None or rest is not None:
                raise
            msg = f"The run cannot go on: {_first(trouble)}. Then `resume`."
            raise OrchestratorError(msg) from group


def _first(group: BaseExceptionGroup[OSError]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _run(plan: Plan, listeners: Sequence[Listener]) -> ExitCode:
    client = client_for(plan.settings, plan.policy)
    mission, found = await look(client, plan.settings)
    if found.problems:
        raise UsageProblem(" ".join(found.problems))
    session = _open(plan, client, mission, found, listeners)
    loop = Loop(session, mission)
    problem: OrchestratorError | None = None
    code = ExitCode.INTERRUPTED
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_signal, scope)
            try:
                code = await _work(session, loop)
            except OrchestratorError as e:
                problem, code = e, e.exit_code
            tasks.cancel_scope.cancel()
    reasons = loop.board.unfinished()
    session.journal.write(
        "run-ended",
        outcome=code.name.lower(),
        exit_code=int(code),
        unfinished=reasons,
        problem=str(problem) if problem else None,
        next=_next_step(session, code),
    )
    session.journal.close()
    return code


async def look(client: AsyncClient, settings: Settings) -> tuple[Mission, Survey]:
    """Return the mission, and what a run of it needs.

    Raises:
        UsageProblem: If there is no such mission, or not on the branch that is checked out.
        HostProblem: If the host cannot be worked with.
    """
    await _check_branch(client, settings)
    stamina.instrumentation.set_on_retry_hooks([_print_retry])  # there is no journal yet
    host = Host(client, settings.mission)
    try:
        found = await host.state()
        contract = await client.negotiate()
        layout = await host.layout(found)
    except (NotFound, ValueError) as e:
        raise UsageProblem(str(e)) from e
    except SpecKittyError as e:
        if isinstance(e, HostCrashed) and (why := unreadable(settings.repo_root, settings.mission)):
            raise UsageProblem(why) from e
        raise HostProblem(str(e)) from e
    if found.doubt:
        where = where_it_is(settings.repo_root, found.mission_slug)
        msg = f"Mission {found.mission_slug} {found.doubt}. {where}"
        raise UsageProblem(msg.rstrip())
    wanted = survey(
        layout,
        found,
        contract,
        settings.repo_root,
        target=settings.target,
        accept=settings.accept,
        merge=settings.merge,
    )
    return found, wanted


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
) -> Run:
    places = Places(plan.settings.repo_root)
    slug = mission.mission_slug
    earlier = list(read(places.journal))
    history = recall(earlier).get(slug) or History(mission=slug)
    durations = learn(earlier)
    common = {"mission": slug, "run": uuid.uuid4().hex[:8]}
    journal = Journal(places.journal, common, [history.apply, durations.apply, *listeners])
    journal.write("run-started", settings=config.save(plan.settings), version=__version__)
    for warning in plan.warnings:
        journal.write("warning", message=warning)
    for note in found.notes:
        journal.write("note", message=note)
    lanes = [{"wp": wp, "lane": lane} for wp, lane in mission.lanes().items()]
    journal.write_all("lane", [e for e in lanes if history.lanes.get(e["wp"]) != e["lane"]])
    _tell_retries(journal)
    return Run(
        settings=plan.settings,
        policy=plan.policy,
        host=Host(client, slug),
        journal=journal,
        history=history,
        durations=durations,
        logs=places.logs / slug,
        agents=plan.agents,
        lanes=found.worktrees,
        left_to_people=found.left_to_people,
    )


def _tell_retries(journal: Journal) -> None:
    def hook(details: RetryDetails) -> None:
        journal.write("host-retry", attempt=details.retry_num, because=str(details.caused_by))

    stamina.instrumentation.set_on_retry_hooks([hook])


async def _work(session: Run, loop: Loop) -> ExitCode:
    await loop.work()
    if loop.board.unfinished():
        return ExitCode.INCOMPLETE
    try:
        if session.settings.accept:
            await finish.accept(session)
        if session.settings.merge:
            await finish.merge(session)
    except SpecKittyError as e:
        reason = " ".join([str(e), *getattr(e, "__notes__", ())])
        session.journal.write("finish-failed", reason=reason)
        kind = HostProblem if is_of_the_host(e) else OrchestratorError
        raise kind(reason) from e
    return ExitCode.DONE


def _next_step(session: Run, code: ExitCode) -> list[str]:
    """Return the commands that a user would want next."""
    if code == ExitCode.DONE:
        merge = [] if session.history.merged else [finish.merge_command(session)]
        accept = session.history.accept_command if session.settings.accept else None
        return [*merge, *([accept] if accept else [])]
    blocked = [wp for wp, lane in session.history.lanes.items() if lane == Lane.BLOCKED]
    return [*(_reopen_command(session, wp) for wp in blocked), "spec-kitty-orchestrator resume"]


def _reopen_command(session: Run, wp: str) -> str:
    """Return what a human types who has looked; 1.0.x lets nothing out of blocked unforced."""
    contract = session.host.contract
    forced = contract is not None and not allowed(Lane.BLOCKED, Lane.IN_PROGRESS, contract.dialect)
    call = Transition(
        mission=session.host.mission,
        wp=wp,
        to=Lane.IN_PROGRESS,
        actor=session.settings.actor,
        policy=session.policy,
        force=forced,
        note="reopened by hand" if forced else None,
    )
    return shlex.join(["spec-kitty", *spell(call, contract)])


async def _until_signal(scope: anyio.CancelScope) -> None:
    """End the run on Ctrl-C, SIGTERM or a closed terminal; a second one ends it at once.

    What is ignored from the start stays so: under nohup a closed terminal ends nothing.
    """
    every = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [n for n in every if signal.getsignal(n) != signal.SIG_IGN]
    with anyio.open_signal_receiver(*numbers) as signals:
        async for _ in signals:
            print("Ending the agents...", file=sys.stderr, flush=True)
            scope.cancel()
            break
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
