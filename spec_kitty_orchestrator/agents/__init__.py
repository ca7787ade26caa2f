"""The known agents: each is a value, in a file of its own."""

import shlex
import shutil
from pathlib import Path

from attrs import evolve

from spec_kitty_orchestrator.agents import claude_code, codex, opencode, script
from spec_kitty_orchestrator.agents.base import Agent
from spec_kitty_orchestrator.errors import UsageProblem, suggest
from spec_kitty_orchestrator.settings import Settings

__all__ = ["KNOWN", "NAMES", "Agent", "choose", "find", "installed", "known"]

KNOWN: dict[str, Agent] = {
    agent.name: agent for agent in (claude_code.AGENT, codex.AGENT, opencode.AGENT)
}
NAMES = (*KNOWN, script.NAME)
"""The names of agents in the journal; all ``script:COMMAND`` agents share the name ``script``."""


def find(name: str) -> Agent:
    """Return an agent by its name, or ``script:COMMAND`` for a command of the user's own.

    Raises:
        UsageProblem: If there is no such agent, or it is not installed.
    """
    agent = known(name)
    if agent is None:
        msg = f"Unknown agent {name!r}. {suggest(name, [*KNOWN, 'script:COMMAND'])}"
        raise UsageProblem(msg)
    if shutil.which(agent.program) is None:
        raise UsageProblem(_not_installed(name, agent))
    return agent


def known(name: str) -> Agent | None:
    """Return an agent by its name, installed or not; None if there is no such agent.

    Raises:
        UsageProblem: If the command of a ``script:COMMAND`` has no words.
    """
    if name.startswith("script:"):
        return script.agent(_split(name.removeprefix("script:")))
    return KNOWN.get(name)


def _not_installed(name: str, agent: Agent) -> str:
    """Say why a program cannot be run: not there, not executable, or not on PATH."""
    path = Path(agent.program)
    if len(path.parts) == 1:
        why = "is not on PATH"
    elif not path.exists():
        why = "does not exist"
    else:
        why = f"is not executable. Run: chmod +x {agent.program}"
        return f"Agent {name!r} needs the program {agent.program!r}, which {why}"
    return f"Agent {name!r} needs the program {agent.program!r}, which {why}. {agent.install}"


def installed() -> list[str]:
    """Return the names of the known agents that are on PATH."""
    return [name for name, agent in KNOWN.items() if shutil.which(agent.program)]


def choose(settings: Settings) -> Settings:
    """Return the settings with an agent for each role; installed agents fill the unnamed roles.

    Raises:
        UsageProblem: If no agent is named and none is installed.
    """
    found = installed()
    first = settings.impl_agent or next(iter(found), None)
    if first is None:
        msg = (
            f"No agent is installed. Install {', '.join(KNOWN)}, or use a command of your own: "
            "--impl-agent 'script:./agent.sh'"
        )
        raise UsageProblem(msg)
    others = [name for name in found if name != first]
    second = settings.review_agent or next(iter(others), first)
    return evolve(settings, impl_agent=first, review_agent=second)


def _split(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as e:
        reason = str(e).lower()
        msg = f"script:{command} cannot be split into words: {reason}. Correct its quotes."
        raise UsageProblem(msg) from e
    if not words:
        msg = "script: needs a command, for example --impl-agent 'script:./agent.sh --fast'"
        raise UsageProblem(msg)
    return words
