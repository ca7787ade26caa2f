"""Codex (measured: 0.169.0). Its sandbox cannot commit: .git is read-only."""

from pathlib import Path

from spec_kitty_client import NetworkMode, Policy, SandboxMode
from spec_kitty_orchestrator.agents.base import Agent, AgentOutput, json_objects
from spec_kitty_orchestrator.roles import Role

__all__ = ["AGENT"]

_SHUT = ("-c", "sandbox_workspace_write.network_access=false")


def _argv(role: Role, policy: Policy, worktree: Path) -> tuple[str, ...]:
    look_only = role == "review" or policy.sandbox_mode == SandboxMode.READ_ONLY
    sandbox = "read-only" if look_only else "workspace-write"
    shut = _SHUT if policy.network_mode == NetworkMode.NONE else ()
    return ("codex", "exec", "--json", "--sandbox", sandbox, *shut, "-C", str(worktree), "-")


def _read_output(output: str) -> AgentOutput:
    """Read the last message. A failed turn is an error; an ``error`` item may be a warning."""
    text, error = "", None
    for event in json_objects(output):
        item = event.get("item")
        if event.get("type") == "turn.started":
            error = None
        elif event.get("type") in ("turn.failed", "error"):
            error = _message(event)
        elif event.get("type") == "item.completed" and isinstance(item, dict):
            if item.get("type") == "agent_message":
                text = str(item.get("text") or "")
        elif event.get("type") == "turn.completed":
            error = None
    return AgentOutput(text=text, error=error)


def _message(event: dict[str, object]) -> str:
    error = event.get("error")
    inner = error.get("message") if isinstance(error, dict) else error
    return str(inner or event.get("message") or "the turn failed")


AGENT = Agent(
    name="codex",
    program="codex",
    family="codex",
    install="Install it: npm install -g @openai/codex",
    argv=_argv,
    read_output=_read_output,
    enforces={
        "sandbox_mode": frozenset(SandboxMode),
        "network_mode": frozenset({NetworkMode.NONE, NetworkMode.OPEN}),
    },
)
