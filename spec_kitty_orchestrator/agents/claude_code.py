"""Claude Code (measured: 2.1.329)."""

from pathlib import Path

from spec_kitty_client import NetworkMode, Policy, SandboxMode
from spec_kitty_orchestrator.agents.base import Agent, Said, events
from spec_kitty_orchestrator.state.history import Role

__all__ = ["AGENT"]

_COMMON = ("claude", "-p", "--output-format", "stream-json", "--verbose", "--strict-mcp-config")


def _argv(role: Role, policy: Policy, _worktree: Path) -> tuple[str, ...]:
    if role == "review" or policy.sandbox_mode == SandboxMode.READ_ONLY:
        # Tools that can change something do not exist in this session, so no rule of the
        # user's settings can allow them; hooks of the worktree would run them.
        look = ("--tools=Read,Grep,Glob", '--settings={"disableAllHooks":true}')
        return (*_COMMON, "--permission-mode", "default", *look)
    shell = ("--allowedTools=Bash",) if policy.sandbox_mode == SandboxMode.NONE else ()
    return (*_COMMON, "--permission-mode", "acceptEdits", *shell)


def _said(output: str) -> Said:
    """Take the result event; ``is_error`` tells, ``subtype`` does not."""
    results = [e for e in events(output) if e.get("type") == "result"]
    if not results:
        return Said(error="it printed no result")
    last = results[-1]
    text = str(last.get("result") or "")
    if last.get("is_error"):
        return Said(text=text, error=text or str(last.get("subtype")))
    return Said(text=text)


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
    said=_said,
    enforces={
        "sandbox_mode": frozenset(SandboxMode),
        "network_mode": frozenset({NetworkMode.OPEN}),
    },
)
