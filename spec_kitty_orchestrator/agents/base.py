"""An agent as data: its command line, its environment, and a reader of its output."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from spec_kitty_client import Policy
from spec_kitty_orchestrator.roles import Role

__all__ = ["Agent", "AgentOutput", "json_objects"]


@frozen(kw_only=True)
class AgentOutput:
    """The result of an agent run, read from its output."""

    text: str = ""
    """The final answer. A reviewer's ends with the verdict."""
    error: str | None = None
    """The error that the output reports; None if it reports none. Exit codes do not show it."""


@frozen(kw_only=True)
class Agent:
    """The command line interface of an agent.

    The keeper gives the prompt on stdin, from a file. Agents that get the prompt as an argument
    wait forever on an open stdin, or take the prompt for an option.
    """

    name: str
    program: str
    """The executable, looked up on PATH."""
    family: str
    """The ``agent_family`` of the policy."""
    install: str
    """How to install it, as a sentence."""
    argv: Callable[[Role, Policy, Path], tuple[str, ...]]
    """Returns the command line for a role, a policy and a worktree."""
    env: Callable[[Role, Policy], Mapping[str, str]] = lambda _role, _policy: {}
    """Returns the variables to add to the environment, for a role and a policy."""
    read_output: Callable[[str], AgentOutput]
    """Reads the end of the agent's stdout."""
    enforces: Mapping[str, frozenset[str]]
    """The modes that the command line enforces, by field of the policy."""

    def unenforced(self, policy: Policy) -> list[str]:
        """Return the modes of a policy that this agent's command line cannot enforce."""
        return [
            f"{field}={getattr(policy, field)}"
            for field, modes in self.enforces.items()
            if getattr(policy, field) not in modes
        ]


def json_objects(output: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects among the lines of an output. Other lines are skipped."""
    for line in output.split("\n"):  # not splitlines(): JSON strings may contain U+2028
        if line.lstrip().startswith("{"):
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                yield event
