"""What an agent is: a command line, an environment, and a way to read what it said."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from spec_kitty_client import Policy
from spec_kitty_orchestrator.state.history import Role

__all__ = ["Agent", "Said", "events"]


@frozen(kw_only=True)
class Said:
    """What an agent's output says about its run."""

    text: str = ""
    """Its last words, which for a reviewer end with the verdict."""
    error: str | None = None
    """What went wrong, if it says that something did. The exit code says nothing of that."""


@frozen(kw_only=True)
class Agent:
    """An agent's command line interface, as data.

    The prompt comes on stdin from a file, which is then closed: agents that are given the
    prompt as an argument wait for ever on an open stdin, or take it for an option.
    """

    name: str
    program: str
    """Looked up on PATH."""
    family: str
    """What the policy calls it."""
    install: str
    """How to get it, as a sentence."""
    argv: Callable[[Role, Policy, Path], tuple[str, ...]]
    """The command line for a role under a policy in a worktree."""
    env: Callable[[Role, Policy], Mapping[str, str]] = lambda _role, _policy: {}
    """Set on top of the environment."""
    said: Callable[[str], Said]
    """Reads the end of what it printed."""
    enforces: Mapping[str, frozenset[str]]
    """The modes of the policy that its command line makes true, by field."""

    def unenforced(self, policy: Policy) -> list[str]:
        """Return what a policy declares and this agent's command line cannot make true."""
        return [
            f"{field}={getattr(policy, field)}"
            for field, modes in self.enforces.items()
            if getattr(policy, field) not in modes
        ]


def events(output: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects among the lines of an output; the rest is noise."""
    for line in output.splitlines():
        if line.lstrip().startswith("{"):
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                yield event
