"""Claude Code (measured: 2.1.329)."""

from pathlib import Path

from spec_kitty_client import NetworkMode, Policy, SandboxMode
from spec_kitty_orchestrator.agents.base import Agent, AgentOutput, json_objects
from spec_kitty_orchestrator.roles import Role

__all__ = ["AGENT"]

_COMMON = ("claude", "-p", "--output-format", "stream-json", "--verbose", "--strict-mcp-config")


def _argv(role: Role, policy: Policy, _worktree: Path) -> tuple[str, ...]:
    if role == "review" or policy.sandbox_mode == SandboxMode.READ_ONLY:
        # A tool that is not in the session cannot be allowed by the user's settings, and a hook
        # of the worktree could run any command.
        look = ("--tools=Read,Grep,Glob", '--settings={"disableAllHooks":true}')
        return (*_COMMON, "--permission-mode", "default", *look)
    shell = ("--allowedTools=Bash",) if policy.sandbox_mode == SandboxMode.NONE else ()
    return (*_COMMON, "--permission-mode", "acceptEdits", *shell)


def _read_output(output: str) -> AgentOutput:
    """Read the last result; ``is_error`` marks a failure, ``subtype`` does not."""
    results = [e for e in json_objects(output) if e.get("type") == "result"]
    if not results:
        return AgentOutput(error="its output has no result")
    last = results[-1]
    text = str(last.get("result") or "")
    if last.get("is_error"):
        return AgentOutput(text=text, error=text or str(last.get("subtype")))
    return AgentOutput(text=text)


AGENT = Agent(
    name="claude-code",
    program="claude",
    family="claude",
    install="Install it: npm install -g @anthropic-ai/claude-code",
    argv=_argv,
    env=lambda _role, _policy: {
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    },
    read_output=_read_output,
    enforces={
        "sandbox_mode": frozenset(SandboxMode),
        "network_mode": frozenset({NetworkMode.OPEN}),
    },
)
