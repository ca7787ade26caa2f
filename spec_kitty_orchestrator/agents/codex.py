"""Codex (measured: 0.169.0). It cannot commit in a worktree: its sandbox keeps .git read-only."""

from pathlib import Path

from spec_kitty_client import NetworkMode, Policy, SandboxMode
from spec_kitty_orchestrator.agents.base import Agent, Said, events
from spec_kitty_orchestrator.state.history import Role

__all__ = ["AGENT"]

_SHUT = ("-c", "sandbox_workspace_write.network_access=false")


def _argv(role: Role, policy: Policy, worktree: Path) -> tuple[str, ...]:
    look_only = role == "review" or policy.sandbox_mode == SandboxMode.READ_ONLY
    sandbox = "read-only" if look_only else "workspace-write"
    shut = _SHUT if policy.network_mode == NetworkMode.NONE else ()
    return ("codex", "exec", "--json", "--sandbox", sandbox, *shut, "-C", str(worktree), "-")


def _said(output: str) -> Said:
    """Take the last message; an ``error`` item may be a warning, a failed turn is not."""
    text, error = "", None
    for event in events(output):
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
    return Said(text=text, error=error)


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
    said=_said,
    enforces={
        "sandbox_mode": frozenset(SandboxMode),
        "network_mode": frozenset({NetworkMode.NONE, NetworkMode.OPEN}),
    },
)
