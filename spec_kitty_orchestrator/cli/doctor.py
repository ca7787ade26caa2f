"""Is everything there that a run needs? One line each, and what to do about it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from rich.console import Console

from spec_kitty_client import Client, Contract, Feature, HostCrashed, SpecKittyError
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.transports.warm import WarmTransport
from spec_kitty_orchestrator import settings as config
from spec_kitty_orchestrator.agents import KNOWN, installed
from spec_kitty_orchestrator.errors import ExitCode, UsageProblem
from spec_kitty_orchestrator.preflight.plan import protected_branch
from spec_kitty_orchestrator.preflight.survey import survey, unreadable
from spec_kitty_orchestrator.worktree import GitError, git, root_of

__all__ = ["Check", "examine", "exit_code", "show"]


@frozen(kw_only=True)
class Check:
    """One thing that a run needs."""

    name: str
    ok: bool
    found: str
    """What is there, or what is wrong and what to do about it."""


def examine(folder: Path, mission: str | None = None) -> list[Check]:
    """Check everything, from any folder of a repository.

    Args:
        folder: Where to look.
        mission: A mission to look at as well; None: that of the settings, if they name one.
    """
    transport = WarmTransport(ProcessTransport(repo=folder))
    host, contract = _host(transport)
    checks = [host, _agents()]
    try:
        root = root_of(folder)
    except UsageProblem as e:
        return [*checks, Check(name="repository", ok=False, found=str(e))]
    checks.append(Check(name="repository", ok=True, found=str(root)))
    try:
        settings = config.load({}, root, os.environ)
    except UsageProblem as e:
        checks.append(Check(name="settings", ok=False, found=str(e)))
    else:
        if contract is not None:
            checks.append(_warm(transport, settings))
            mission = mission or settings.get("mission")
    checks += [_identity(root), _branch(root, contract), _workspace(root)]
    return [*checks, _mission(transport, root, mission)] if mission and contract else checks


def exit_code(checks: list[Check]) -> ExitCode:
    """Return 0 when all is well, 3 for the host, 2 for anything else."""
    bad = {check.name for check in checks if not check.ok}
    if "host" in bad:
        return ExitCode.HOST
    return ExitCode.USAGE if bad else ExitCode.DONE


def show(checks: list[Check]) -> None:
    """Print one line per check."""
    console = Console(highlight=False, soft_wrap=True)
    for check in checks:
        mark = "[green]ok[/]     " if check.ok else "[red]problem[/]"
        console.print(mark, f"{check.name:<11}", end=" ")
        console.print(check.found, markup=False)


def _host(transport: WarmTransport[ProcessTransport]) -> tuple[Check, Contract | None]:
    try:
        program = transport.cold.locate()
        with Client(transport=transport) as client:
            contract = client.negotiate()
    except SpecKittyError as e:
        return Check(name="host", ok=False, found=str(e)), None
    about = f"{program}, contract {contract.version}, as of host {contract.release}"
    return Check(name="host", ok=True, found=about), contract


def _warm(transport: WarmTransport[ProcessTransport], settings: Mapping[str, Any]) -> Check:
    """Tell whether a run loads the host once; it is as good without, and only takes longer."""
    why = transport.why_cold if settings.get("warm", True) else "the settings say warm = false"
    found = f"no, the host is loaded for every call: {why}" if why else "yes, it is loaded once"
    return Check(name="warm", ok=True, found=found)


def _mission(transport: WarmTransport[ProcessTransport], root: Path, name: str) -> Check:
    """Tell what a run of a mission needs, and what would stop it."""
    try:
        with Client(transport=transport) as client:
            state = client.mission_state(name)
            layout = client.mission(name).layout(state)
            found = survey(layout, state, client.negotiate(), root)
    except SpecKittyError as e:
        why = unreadable(root, name) if isinstance(e, HostCrashed) else None
        return Check(name="mission", ok=False, found=why or str(e))
    if state.doubt:
        return Check(name="mission", ok=False, found=f"{state.mission_slug} {state.doubt}.")
    told = "; ".join(" ".join(line.split()) for line in (*found.lines(), *found.notes))
    problems = " ".join(found.problems)
    return Check(
        name="mission", ok=not problems, found=problems or f"{layout.mission_slug}: {told}"
    )


def _agents() -> Check:
    found = installed()
    if found:
        return Check(name="agents", ok=True, found=", ".join(found))
    advice = f"None of {', '.join(KNOWN)} is on PATH. Install one, or use script:COMMAND."
    return Check(name="agents", ok=False, found=advice)


def _identity(root: Path) -> Check:
    try:
        who = git(root, "var", "GIT_COMMITTER_IDENT").rpartition(">")[0] + ">"
    except GitError:
        advice = (
            "Git does not know who you are: git config --global user.name 'Your Name' && "
            "git config --global user.email you@example.com"
        )
        return Check(name="identity", ok=False, found=advice)
    return Check(name="identity", ok=True, found=who)


def _branch(root: Path, contract: Contract | None) -> Check:
    protects = contract is None or contract.supports(Feature.PROTECTED_BRANCHES)
    if protects and (branch := protected_branch(root)):
        advice = (
            f"{branch!r} is checked out, on which hosts refuse to commit. Check out the mission's "
            "own branch."
        )
        return Check(name="branch", ok=False, found=advice)
    found = git(root, "branch", "--show-current").strip() or "no branch (detached)"
    return Check(name="branch", ok=True, found=found)


def _workspace(root: Path) -> Check:
    kittify = root / ".kittify"
    if not kittify.is_dir():
        advice = f"{root} is no spec-kitty project: run `spec-kitty init` in it."
        return Check(name="workspace", ok=False, found=advice)
    if not os.access(kittify, os.W_OK):
        return Check(name="workspace", ok=False, found=f"{kittify} cannot be written.")
    try:
        git(root, "check-ignore", "--quiet", ".worktrees/x")
    except GitError:
        advice = f"Git does not ignore .worktrees/: echo .worktrees/ >> {root / '.gitignore'}"
        return Check(name="workspace", ok=False, found=advice)
    return Check(name="workspace", ok=True, found=f"{kittify}, and .worktrees/ is ignored")
