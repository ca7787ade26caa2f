"""A command of your own: prompt on stdin, last words on stdout.

It runs in the worktree and is told what it is for by SPEC_KITTY_ROLE (``implement`` or
``review``), SPEC_KITTY_MISSION, SPEC_KITTY_WP and SPEC_KITTY_ATTEMPT. A reviewer's output
ends with the verdict. An exit code other than 0 means that the run failed.
"""

import os
from pathlib import Path

from spec_kitty_orchestrator.agents.base import Agent, Said

__all__ = ["NAME", "agent"]

NAME = "script"


def agent(command: tuple[str, ...]) -> Agent:
    """Return the agent that is a command."""
    if os.sep in command[0]:  # found from here, run in a worktree
        command = (str(Path(command[0]).absolute()), *command[1:])
    return Agent(
        name=NAME,
        program=command[0],
        family="script",
        install="Correct the command after script:",
        argv=lambda _role, _policy, _worktree: command,
        said=lambda output: Said(text=output),
        enforces={"sandbox_mode": frozenset({"none"}), "network_mode": frozenset({"open"})},
    )
