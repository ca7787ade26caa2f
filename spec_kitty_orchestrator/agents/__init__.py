"""The known agents. Each is a value in a file of its own."""

import shlex
import shutil
from typing import Any

from spec_kitty_orchestrator.agents import claude_code, codex, opencode, script
from spec_kitty_orchestrator.agents.base import Agent
from spec_kitty_orchestrator.errors import UsageProblem

__all__ = ["KNOWN", "NAMES", "Agent", "choose", "find", "installed"]

KNOWN: dict[str, Agent] = {
    agent.name: agent for agent in (claude_code.AGENT, codex.AGENT, opencode.AGENT)
}
NAMES = (*KNOWN, script.NAME)
"""The names of agents in the journal. All ``script:`` agents have the same one."""


def find(name: str) -> Agent:
    """Return an agent by its name, or ``script:COMMAND`` for a command of your own.

    Raises:
        UsageProblem: If there is no such agent, or it is not installed.
    """
    if name.startswith("script:"):
        agent = script.agent(_split(name.removeprefix("script:")))
    elif name in KNOWN:
        agent = KNOWN[name]
    else:
        known = ", ".join([*KNOWN, "script:COMMAND"])
        msg = f"There is no agent {name!r}. There are: {known}"
        raise UsageProblem(msg)
    if shutil.which(agent.program) is None:
        msg = f"Agent {name!r} needs the program {agent.program!r}, which is not on PATH. "
        raise UsageProblem(msg + agent.install)
    return agent


def installed() -> list[str]:
    """Return the names of the known agents that are on PATH."""
    return [name for name, agent in KNOWN.items() if shutil.which(agent.program)]


def choose(given: dict[str, Any]) -> dict[str, Any]:
    """Return settings with an agent for each role, chosen from the installed ones if none is named.

    Raises:
        UsageProblem: If no agent is named and none is installed.
    """
    found = installed()
    first = given.get("impl_agent") or next(iter(found), None)
    if first is None:
        known = ", ".join(KNOWN)
        msg = (
            f"No agent is installed. Install one of {known}, or name one: --impl-agent of "
            "orchestrate, or impl_agent in the settings."
        )
        raise UsageProblem(msg)
    others = [name for name in found if name != first]
    second = given.get("review_agent") or next(iter(others), first)
    return {**given, "impl_agent": first, "review_agent": second}


def _split(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as e:
        msg = f"script:{command}: {e}"
        raise UsageProblem(msg) from e
    if not words:
        msg = "script: needs a command, for example --impl-agent 'script:./agent.sh --fast'"
        raise UsageProblem(msg)
    return words
