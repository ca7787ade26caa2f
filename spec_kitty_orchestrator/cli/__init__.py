"""The command line: parse, run a command, print, and end with an exit code.

Each command is a module that is imported when a user calls it, so that ``--help`` is quick.
"""

import sys
from typing import NoReturn

from cyclopts import App, CycloptsError

import spec_kitty_orchestrator
from spec_kitty_orchestrator.cli.installation import mixed_up
from spec_kitty_orchestrator.cli.streams import failed_output, repair_streams
from spec_kitty_orchestrator.errors import ExitCode, OrchestratorError, explain_os_error

__all__ = ["app", "main"]

_EPILOGUE = """\
Exit codes:
  0 complete                      3 host or contract error
  1 blocked or failed             4 another run is alive
  2 usage error                 130 interrupted
"""
_COMMANDS = {
    "orchestrate": "Run a mission until every work package is done.",
    "resume": "Continue the last run with its settings; flags replace them.",
    "status": "Show the lane and the agent of every work package.",
    "abort": "Stop the run that is alive, and its agents.",
    "agents": "List the known agents, and which of them are installed.",
    "policy": "Check, show or write the policy that a run sends to the host.",
    "doctor": "Check host, git, agents, settings and a mission before a run.",
    "demo": "Run a mission of six work packages in a temporary repository.",
}

app = App(
    name="spec-kitty-orchestrator",
    help="Run coding agents through a spec-kitty mission: implement, review, rework, done.",
    help_epilogue=_EPILOGUE,
    version=lambda: spec_kitty_orchestrator.__version__,
    help_format="plaintext",
    help_formatter="plain",  # frames and emoji take 35 ms to be loaded
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
)
for _position, (_name, _help) in enumerate(_COMMANDS.items()):
    _module = "orchestrate" if _name == "resume" else _name
    app.command(f"{__name__}.{_module}:{_name}_app", name=_name, help=_help, sort_key=_position)


def main() -> NoReturn:
    """Run the command line and exit."""
    repair_streams()
    if problem := mixed_up():
        print(f"spec-kitty-orchestrator: warning: {problem}", file=sys.stderr)
    code = _main(sys.argv[1:])
    if error := failed_output():
        why = explain_os_error(error)
        code = _complain(f"The output cannot be written. {why}", ExitCode(code or ExitCode.USAGE))
    sys.exit(code)


def _main(words: list[str]) -> int:
    from rich.console import Console

    try:
        return int(app(words, console=Console(emoji=False)) or 0)
    except CycloptsError as e:
        from spec_kitty_orchestrator.settings.sources import explain

        return _complain(explain(e), ExitCode.USAGE)
    except OrchestratorError as e:
        return _complain(e, e.exit_code)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError as e:
        return _complain(explain_os_error(e), ExitCode.USAGE)
    except Exception as e:
        from spec_kitty_client import InvalidCall, SpecKittyError

        if not isinstance(e, SpecKittyError):
            raise
        return _complain(e, ExitCode.USAGE if isinstance(e, InvalidCall) else ExitCode.HOST)


def _complain(error: object, code: ExitCode) -> int:
    print(f"spec-kitty-orchestrator: {error}", file=sys.stderr)
    return code
