"""A command of the user as an agent: the prompt on stdin, the answer on stdout.

The command runs in the worktree. SPEC_KITTY_ROLE (``implement`` or ``review``),
SPEC_KITTY_MISSION, SPEC_KITTY_WP and SPEC_KITTY_ATTEMPT tell it what to do. A reviewer's output
ends with the verdict. An exit code other than 0 is a failure.
"""

import os
from pathlib import Path

from spec_kitty_orchestrator.agents.base import Agent, AgentOutput

__all__ = ["NAME", "agent"]

NAME = "script"


def agent(command: tuple[str, ...]) -> Agent:
    """Return an agent that runs a command.

    Args:
        command: The words of the command. A relative path is relative to the current folder.
    """
    if os.sep in command[0]:  # the agent runs in a worktree, not here
        command = (str(Path(command[0]).absolute()), *command[1:])
    return Agent(
        name=NAME,
        program=command[0],
        family="script",
        install="Correct the command after script:",
        argv=lambda _role, _policy, _worktree: command,
        read_output=lambda output: AgentOutput(text=output),
        enforces={"sandbox_mode": frozenset({"none"}), "network_mode": frozenset({"open"})},
    )
