"""The command ``doctor``: check everything that a run needs, one line each."""

import os
from contextlib import suppress
from pathlib import Path

from attrs import asdict, evolve, frozen
from cyclopts import App
from rich.console import Console

from spec_kitty_client import (
    Client,
    Contract,
    ErrorCode,
    Feature,
    HostCrashed,
    MergeStrategy,
    NotFound,
    SpecKittyError,
    UsageRejected,
)
from spec_kitty_client.contract import release_in
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.transports.warm import WarmTransport
from spec_kitty_orchestrator.agents import KNOWN, choose, find, installed
from spec_kitty_orchestrator.cli.installation import mixed_up
from spec_kitty_orchestrator.cli.missions import (
    MissionFlag,
    MissionWord,
    join_mission,
    unknown_mission,
)
from spec_kitty_orchestrator.cli.parameters import Json, Root, find_folder, print_json, spinner
from spec_kitty_orchestrator.errors import ExitCode, UsageProblem
from spec_kitty_orchestrator.git.calls import GitError, commit_problem, git, root_of
from spec_kitty_orchestrator.preflight.plan import (
    check_limits,
    check_worktrees,
    protected_branch,
    read_policy,
    where_it_is,
)
from spec_kitty_orchestrator.preflight.survey import survey, unreadable
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.settings.sources import environment, read, settings_file

__all__ = ["Check", "doctor_app", "examine", "exit_code"]

_EPILOGUE = """\
Examples:
  spec-kitty-orchestrator doctor
  spec-kitty-orchestrator doctor 034-payment
"""
_VERSION_LIMIT = 60.0  # seconds for `spec-kitty --version`

doctor_app = App(name="doctor", config=join_mission, help_epilogue=_EPILOGUE)


@doctor_app.default
def doctor(
    _mission: MissionWord = None,
    /,
    *,
    mission: MissionFlag = None,
    repo_root: Root = None,
    as_json: Json = False,
) -> int:
    """Check host, git, agents, settings and a mission before a run."""
    with spinner(as_json)("Asking the host"):
        checks = examine(find_folder(repo_root), mission)
    print_json([asdict(check) for check in checks]) if as_json else print_checks(checks)
    return exit_code(checks)


@frozen(kw_only=True)
class Check:
    """The result of one check."""

    name: str
    ok: bool
    found: str
    """The present state, or the problem and what helps."""


def examine(folder: Path, mission: str | None = None) -> list[Check]:
    """Check everything that a run needs.

    Args:
        folder: Any folder of the repository.
        mission: A mission to check as well; None: the mission that the settings name, if any.
    """
    transport = WarmTransport(ProcessTransport(repo=folder))
    host, contract = _host(transport)
    try:
        root = root_of(folder)
    except UsageProblem as e:
        found = Check(name="repository", ok=False, found=str(e))
        return [host, *_installation(), _installed(), found]
    checks = [host, *_installation(), Check(name="repository", ok=True, found=str(root))]
    settings = Settings()
    try:
        settings = read(environment(os.environ), settings_file(root))
    except UsageProblem as e:
        checks += [Check(name="settings", ok=False, found=str(e)), _installed()]
    else:
        checks += _settings(settings)
        checks += [_warm(transport, settings)] if contract else []
    name = mission or settings.mission
    checks += [_identity(root), _branch(root, contract, name), _workspace(root)]
    if name and contract:
        checks.append(_mission(transport, evolve(settings, mission=name, repo_root=root)))
    return checks


def exit_code(checks: list[Check]) -> ExitCode:
    """Return 0 if all checks passed, 3 if the host's failed, and 2 if another one failed."""
    bad = {check.name for check in checks if not check.ok}
    if "host" in bad:
        return ExitCode.HOST
    return ExitCode.USAGE if bad else ExitCode.DONE


def print_checks(checks: list[Check]) -> None:
    """Print one line per check."""
    console = Console(highlight=False, soft_wrap=True)
    for check in checks:
        mark = "[green]ok[/]     " if check.ok else "[red]problem[/]"
        console.print(mark, f"{check.name:<11}", end=" ")
        console.print(check.found, markup=False)


def _installation() -> list[Check]:
    problem = mixed_up()
    return [Check(name="package", ok=False, found=problem)] if problem else []


def _host(transport: WarmTransport[ProcessTransport]) -> tuple[Check, Contract | None]:
    try:
        program = transport.cold.locate()
        with Client(transport=transport) as client:
            contract = client.negotiate()
    except SpecKittyError as e:
        return Check(name="host", ok=False, found=_why(e, transport.cold)), None
    about = f"{program}, contract {contract.version}, as of host {contract.release}"
    return Check(name="host", ok=True, found=about), contract


def _why(error: SpecKittyError, transport: ProcessTransport) -> str:
    """Return why the host cannot be used; if it is older than the API, name its release."""
    if isinstance(error, UsageRejected):
        with suppress(SpecKittyError):
            done = transport.run(("--version",), time_limit=_VERSION_LIMIT)
            error = _too_old(done.stdout.decode("utf-8", "backslashreplace")) or error
    return str(error)


def _too_old(version: str) -> SpecKittyError | None:
    try:
        release_in(version)
    except SpecKittyError as e:
        return e
    return None


def _settings(settings: Settings) -> list[Check]:
    """Check what the settings name: agents, limits and a policy."""
    checks = [_agents(settings)]
    if settings.policy:
        try:
            read_policy(settings.policy)
        except UsageProblem as e:
            checks.append(Check(name="policy", ok=False, found=str(e)))
        else:
            checks.append(Check(name="policy", ok=True, found=str(settings.policy)))
    return checks


def _agents(settings: Settings) -> Check:
    try:
        chosen = choose(settings)
        for name in (chosen.impl_agent, chosen.review_agent):
            find(name)
        check_limits(settings)
    except UsageProblem as e:
        return Check(name="agents", ok=False, found=str(e))
    found = f"implementer {chosen.impl_agent}, reviewer {chosen.review_agent}"
    return Check(name="agents", ok=True, found=found)


def _installed() -> Check:
    if found := installed():
        return Check(name="agents", ok=True, found=f"installed: {', '.join(found)}")
    advice = f"None of {', '.join(KNOWN)} is on PATH. Install one, or use script:COMMAND."
    return Check(name="agents", ok=False, found=advice)


def _warm(transport: WarmTransport[ProcessTransport], settings: Settings) -> Check:
    """Check whether a run loads the host once. Without that, a run takes longer."""
    why = transport.why_cold if settings.warm else "the settings say warm = false"
    found = f"no, the host is loaded for every call: {why}" if why else "yes, it is loaded once"
    return Check(name="warm", ok=True, found=found)


def _mission(transport: WarmTransport[ProcessTransport], settings: Settings) -> Check:
    """Check a mission as a run would: list its needs, and the problems that stop a run."""
    root, name = settings.repo_root, settings.mission
    try:
        with Client(transport=transport) as client:
            state, mission = client.mission_state(name), client.mission(name)
            layout = mission.layout(state)
            strategy = MergeStrategy(settings.strategy)
            found = survey(
                layout,
                state,
                client.negotiate(),
                root,
                target=settings.target,
                accept=settings.accept,
                merge=settings.merge,
                obstacles=()
                if state.problem
                else mission.merge_obstacles(target=settings.target, strategy=strategy),
            )
    except SpecKittyError as e:
        return Check(name="mission", ok=False, found=_why_unreadable(e, root, name))
    if state.problem:
        where = where_it_is(root, state.mission_slug)
        told = f"{state.mission_slug} {state.problem}. {where}".rstrip()
        return Check(name="mission", ok=False, found=told)
    lines = "; ".join(" ".join(line.split()) for line in (*found.lines(), *found.notes))
    problems = " ".join(found.problems)
    return Check(
        name="mission", ok=not problems, found=problems or f"{layout.mission_slug}: {lines}"
    )


def _why_unreadable(error: SpecKittyError, root: Path, mission: str) -> str:
    unknown = (ErrorCode.MISSION_NOT_FOUND, ErrorCode.FEATURE_NOT_FOUND)
    if isinstance(error, NotFound) and error.code in unknown:
        return unknown_mission(root, mission)
    why = unreadable(root, mission) if isinstance(error, HostCrashed) else None
    return why or str(error)


def _identity(root: Path) -> Check:
    if problem := commit_problem(root):
        return Check(name="identity", ok=False, found=problem)
    who = git(root, "var", "GIT_COMMITTER_IDENT").rpartition(">")[0] + ">"
    return Check(name="identity", ok=True, found=who)


def _branch(root: Path, contract: Contract | None, mission: str) -> Check:
    protects = contract is None or contract.supports(Feature.PROTECTED_BRANCHES)
    if protects and (branch := protected_branch(root)):
        where = where_it_is(root, mission) if mission else ""
        advice = (
            f"{branch!r} is checked out, and hosts refuse to commit there. "
            f"{where or 'Check out the branch of the mission.'}"
        )
        return Check(name="branch", ok=False, found=advice)
    found = git(root, "branch", "--show-current").strip() or "no branch (detached)"
    return Check(name="branch", ok=True, found=found)


def _workspace(root: Path) -> Check:
    kittify = root / ".kittify"
    if not kittify.is_dir():
        advice = f"{root} is not a spec-kitty project. Run `spec-kitty init` in it."
        return Check(name="workspace", ok=False, found=advice)
    if not os.access(kittify, os.W_OK):
        return Check(name="workspace", ok=False, found=f"{kittify} is not writable.")
    try:
        check_worktrees(root)
        git(root, "check-ignore", "--quiet", ".worktrees/x")
    except UsageProblem as e:
        return Check(name="workspace", ok=False, found=str(e))
    except GitError:
        advice = f"Git does not ignore .worktrees/. Run: echo .worktrees/ >> {root / '.gitignore'}"
        return Check(name="workspace", ok=False, found=advice)
    return Check(name="workspace", ok=True, found=f"{kittify}, and .worktrees/ is ignored")
