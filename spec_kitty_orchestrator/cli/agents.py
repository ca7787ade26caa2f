"""The command ``agents``."""

import shutil

from cyclopts import App

from spec_kitty_orchestrator.agents import KNOWN
from spec_kitty_orchestrator.cli.parameters import Json, print_json
from spec_kitty_orchestrator.errors import ExitCode

__all__ = ["agents_app"]

agents_app = App(name="agents")


@agents_app.default
def agents(*, as_json: Json = False) -> int:
    """List the known agents, and which of them are installed."""
    found = {name: shutil.which(agent.program) for name, agent in KNOWN.items()}
    if as_json:
        print_json([{"name": n, "installed": bool(p), "program": p} for n, p in found.items()])
        return ExitCode.DONE
    for name, path in found.items():
        print(f"{name:<14} {path or 'not installed. ' + KNOWN[name].install}")
    print(f"{'script:COMMAND':<14} your own command: prompt on stdin, answer on stdout")
    return ExitCode.DONE
