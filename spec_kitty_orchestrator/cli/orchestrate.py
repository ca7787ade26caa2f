"""The commands ``orchestrate`` and ``resume``.

The functions import the modules that only a run needs, because users read ``orchestrate --help``
more often than any other help.
"""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from attrs import evolve
from cyclopts import App, ArgumentCollection, Parameter, Token

from spec_kitty_orchestrator.cli.missions import (
    MissionWord,
    join_mission,
    missions_here,
    unknown_mission,
)
from spec_kitty_orchestrator.cli.parameters import (
    Json,
    find_root,
    loading_host,
    print_json,
    spinner,
)
from spec_kitty_orchestrator.errors import ExitCode, HostProblem, OrchestratorError, UsageProblem
from spec_kitty_orchestrator.settings import Flags, Settings
from spec_kitty_orchestrator.settings.paths import start_from
from spec_kitty_orchestrator.settings.sources import environment, journal, settings_file

if TYPE_CHECKING:
    from spec_kitty_client import AsyncTransport
    from spec_kitty_orchestrator.interruption import Interruption
    from spec_kitty_orchestrator.preflight.plan import Plan

__all__ = ["orchestrate_app", "resume_app"]

_ORCHESTRATE = """\
A setting comes from its flag, else SPEC_KITTY_ORCHESTRATOR_<NAME> in the
environment, else .kittify/orchestrator.toml (max_concurrent = 2), else its
default.

Examples:
  spec-kitty-orchestrator orchestrate 034-payment --dry-run
  spec-kitty-orchestrator orchestrate 034-payment --impl-agent claude-code \\
      --review-agent codex --max-concurrent 2 --merge --strategy squash
  spec-kitty-orchestrator orchestrate 034-payment \\
      --impl-agent 'script:./agent.sh' --review-agent 'script:./review.sh'
"""
_RESUME = """\
It re-attaches to agents that are still running, and repeats no finished work.

Examples:
  spec-kitty-orchestrator resume
  spec-kitty-orchestrator resume --merge
"""
_NOTHING = Settings()
_DryRun = Annotated[
    bool, Parameter(help="Check everything, move nothing.", negative="", show_default=False)
]


def _from_everywhere(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Read the settings that no flag has set from the environment and the file."""
    environment(os.environ)(arguments)
    settings_file(_locate(arguments))(arguments)


def _from_last_run(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Read the settings that no flag has set from the last run of the mission."""
    from spec_kitty_orchestrator.cli.report import find_history
    from spec_kitty_orchestrator.state.files import StateFiles
    from spec_kitty_orchestrator.state.recollection import recollect

    only_root = {k: v for k, v in os.environ.items() if k.endswith("_REPO_ROOT")}
    environment(only_root)(arguments)
    root, (mission,) = _locate(arguments), arguments.filter_by(keys_prefix=("mission",))
    named = mission.tokens[0].value if mission.tokens else None
    found = recollect(StateFiles(root))
    history = find_history(found, named)
    if not history.settings:
        msg = f"{found.problem() or ''} {_lost_settings(history.mission)}"
        raise UsageProblem(msg.lstrip())
    mission.tokens[:] = [Token(keyword="--mission", implicit_value=history.mission)]
    journal(history.settings)(arguments)


def _lost_settings(mission: str) -> str:
    return (
        f"The settings of the last run of {mission} are lost, its policy among them. Give them "
        f"again: spec-kitty-orchestrator orchestrate {mission} --impl-agent NAME --review-agent "
        "NAME. It repeats no finished work."
    )


def _locate(arguments: ArgumentCollection) -> Path:
    """Return the primary checkout, and make it the value of --repo-root."""
    (argument,) = arguments.filter_by(keys_prefix=("repo_root",))
    given: Any = argument.convert() if argument.tokens else None
    root = find_root(given)
    argument.tokens[:] = [Token(keyword="--repo-root", implicit_value=root)]
    return root


orchestrate_app = App(
    name="orchestrate", config=(join_mission, _from_everywhere), help_epilogue=_ORCHESTRATE
)
resume_app = App(name="resume", config=(join_mission, _from_last_run), help_epilogue=_RESUME)


@orchestrate_app.default
def orchestrate(
    _mission: MissionWord = None,
    /,
    *,
    settings: Flags = _NOTHING,
    dry_run: _DryRun = False,
    as_json: Json = False,
) -> int:
    """Run a mission until every work package is done."""
    if not settings.mission:
        msg = f"Which mission? Name it as MISSION. {missions_here(settings.repo_root)}"
        raise UsageProblem(msg)
    return _start(settings, dry_run=dry_run, as_json=as_json)


@resume_app.default
def resume(
    _mission: MissionWord = None, /, *, settings: Flags = _NOTHING, as_json: Json = False
) -> int:
    """Continue the last run with its settings; flags replace them."""
    return _start(settings, dry_run=False, as_json=as_json)


def _start(settings: Settings, *, dry_run: bool, as_json: bool) -> int:
    from spec_kitty_orchestrator.agents import choose
    from spec_kitty_orchestrator.interruption import Interruption

    settings = _locate_files(choose(settings))
    with (
        Interruption() as interruption,
        loading_host(settings.repo_root, warm=settings.warm) as transport,
    ):
        from spec_kitty_orchestrator.preflight.plan import make_plan

        plan = make_plan(settings)
        try:
            if dry_run:
                return _preview(plan, transport, as_json)
            return _run(plan, transport, interruption, as_json=as_json)
        except OrchestratorError as e:
            if (better := _explain(e, settings)) is None:
                raise
            raise better from e


def _locate_files(settings: Settings) -> Settings:
    """Return the settings with absolute paths, for a later `resume` in another folder."""
    values = {name: getattr(settings, name) for name in ("policy", "impl_agent", "review_agent")}
    here = Path.cwd()
    return evolve(settings, **{n: start_from(here, n, value) for n, value in values.items()})


def _preview(plan: "Plan", transport: "AsyncTransport", as_json: bool) -> int:
    from spec_kitty_orchestrator.cli.dryrun import preview, print_preview

    with spinner(as_json)("Asking the host"):
        found = preview(plan, transport)
    print_json(found) if as_json else print_preview(found)
    return ExitCode.USAGE if found["problems"] else ExitCode.DONE


def _run(
    plan: "Plan", transport: "AsyncTransport", interruption: "Interruption", *, as_json: bool
) -> int:
    from rich.console import Console

    from spec_kitty_orchestrator.cli.view import watch
    from spec_kitty_orchestrator.run import run_mission

    with watch(Console(), as_json=as_json) as watcher:
        return run_mission(plan, [watcher], transport, interruption)


def _explain(error: OrchestratorError, settings: Settings) -> OrchestratorError | None:
    """Return an error that names missions and flags; None if the SDK's error is the best one."""
    from spec_kitty_client import ErrorCode, HostTimeout, NotFound, ProtocolError

    cause = error.__cause__
    unknown = (ErrorCode.MISSION_NOT_FOUND, ErrorCode.FEATURE_NOT_FOUND)
    if isinstance(cause, NotFound) and cause.code in unknown:
        return UsageProblem(unknown_mission(settings.repo_root, settings.mission))
    if isinstance(cause, HostTimeout):
        failure = cause.failure
        msg = f"{failure.verb}: {failure.message}. If the host is only slow, raise --host-timeout."
        return HostProblem(msg)
    if not isinstance(error, HostProblem):
        return None
    if isinstance(cause, ProtocolError) and not cause.failure.mutates:
        msg = f"{error} To see all its output, run: {shlex.join(cause.failure.argv)}"
        return HostProblem(msg)
    return None
