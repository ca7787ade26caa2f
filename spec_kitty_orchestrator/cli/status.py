"""The command ``status``."""

from cyclopts import App

from spec_kitty_orchestrator.cli.missions import MissionFlag, MissionWord, join_mission
from spec_kitty_orchestrator.cli.parameters import Json, Root, find_root, print_json, spinner
from spec_kitty_orchestrator.errors import ExitCode

__all__ = ["status_app"]

_EXAMPLES = """\
Without MISSION it shows the mission that was run last.

Examples:
  spec-kitty-orchestrator status
  spec-kitty-orchestrator status --json
"""

status_app = App(name="status", config=join_mission, help_epilogue=_EXAMPLES)


@status_app.default
def status(
    _mission: MissionWord = None,
    /,
    *,
    mission: MissionFlag = None,
    repo_root: Root = None,
    as_json: Json = False,
) -> int:
    """Show the lane and the agent of every work package."""
    from spec_kitty_orchestrator.cli.report import print_report, report  # not needed for help

    found = report(find_root(repo_root), mission, spinner(as_json))
    print_json(found) if as_json else print_report(found)
    return ExitCode.DONE
