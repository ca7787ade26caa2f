"""OpenCode (measured: 1.18.33)."""

import json
import os
from pathlib import Path
from typing import Any

from spec_kitty_client import NetworkMode, Policy, SandboxMode
from spec_kitty_orchestrator.agents.base import Agent, AgentOutput, json_objects
from spec_kitty_orchestrator.roles import Role

__all__ = ["AGENT"]

_CONFIG = "OPENCODE_CONFIG_CONTENT"
_READ = {"*": "allow", "*.env": "deny", "*.env.*": "deny", "*.env.example": "allow"}


def _name(role: Role, policy: Policy) -> str:
    look_only = role == "review" or policy.sandbox_mode == SandboxMode.READ_ONLY
    return "spec-kitty-review" if look_only else "spec-kitty-implement"


def _argv(role: Role, policy: Policy, _worktree: Path) -> tuple[str, ...]:
    return ("opencode", "run", "--format", "json", "--agent", _name(role, policy))


def _env(role: Role, policy: Policy) -> dict[str, str]:
    """Define an agent for this run, because settings of the user or the project widen a shared one.

    ``ask`` ends a headless run at once with exit code 0, so every rule is allow or deny. The
    last matching rule wins.
    """
    name = _name(role, policy)
    permission = {
        "*": "deny",
        "read": _READ,
        **dict.fromkeys(("grep", "glob", "list", "todowrite", "invalid"), "allow"),
        "edit": "allow" if name == "spec-kitty-implement" else "deny",
        "bash": "allow" if _shell(role, policy) else "deny",
        "external_directory": "allow" if _shell(role, policy) else "deny",
    }
    agent = {name: {"mode": "primary", "permission": permission}}
    own = _object(os.environ.get(_CONFIG, "{}"))
    agents = {**_object(own.get("agent")), **agent}
    # Settings that the implementer left in the worktree must not apply to the reviewer.
    project = {"OPENCODE_DISABLE_PROJECT_CONFIG": "1"} if role == "review" else {}
    return {
        **project,
        _CONFIG: json.dumps({**own, "agent": agents}),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }


def _shell(role: Role, policy: Policy) -> bool:
    return role == "implement" and policy.sandbox_mode == SandboxMode.NONE


def _object(raw: object) -> dict[str, Any]:
    """Return a JSON object, parsed if it is text; an empty one if it is anything else."""
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            raw = None
    return raw if isinstance(raw, dict) else {}


def _read_output(output: str) -> AgentOutput:
    """Read the last text part and the last error."""
    text, error = "", None
    for event in json_objects(output):
        part = event.get("part")
        if event.get("type") == "error":
            error = _message(event.get("error"))
        elif event.get("type") == "text" and isinstance(part, dict):
            text = str(part.get("text") or "")
    return AgentOutput(text=text, error=error)


def _message(error: object) -> str:
    if not isinstance(error, dict):
        return str(error)
    data = error.get("data")
    message = data.get("message") if isinstance(data, dict) else None
    return str(message or error.get("name") or error)


AGENT = Agent(
    name="opencode",
    program="opencode",
    family="opencode",
    install="Install it: npm install -g opencode-ai",
    argv=_argv,
    env=_env,
    read_output=_read_output,
    enforces={
        "sandbox_mode": frozenset(SandboxMode),
        "network_mode": frozenset({NetworkMode.OPEN}),
    },
)
