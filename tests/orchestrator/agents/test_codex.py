"""Tests of `spec_kitty_orchestrator.agents.codex`."""

from pathlib import Path

import pytest

from spec_kitty_orchestrator.agents.codex import AGENT
from tests.orchestrator.agents.policies import policy

WORKTREE = Path("/w x")


@pytest.mark.parametrize("sandbox", ["none", "workspace_write", "read_only"])
def test_a_reviewer_has_a_read_only_sandbox(sandbox: str) -> None:
    """A reviewer can change nothing under any policy."""
    argv = AGENT.argv("review", policy(sandbox), WORKTREE)
    assert argv[argv.index("--sandbox") + 1] == "read-only"


@pytest.mark.parametrize(
    ("sandbox", "mode"),
    [
        ("none", "workspace-write"),
        ("workspace_write", "workspace-write"),
        ("read_only", "read-only"),
    ],
)
def test_an_implementer_keeps_its_sandbox(sandbox: str, mode: str) -> None:
    """No policy takes the sandbox away; a read-only one takes the edits."""
    argv = AGENT.argv("implement", policy(sandbox), WORKTREE)
    assert argv[argv.index("--sandbox") + 1] == mode
    assert argv[-3:] == ("-C", "/w x", "-")


@pytest.mark.parametrize(("network", "shut"), [("none", True), ("open", False)])
def test_the_network_is_shut_when_the_policy_says_so(network: str, shut: bool) -> None:
    """A policy without network closes this agent's network."""
    argv = AGENT.argv("implement", policy(network=network), WORKTREE)
    assert ("sandbox_workspace_write.network_access=false" in argv) is shut


def test_an_error_item_is_a_warning() -> None:
    """A turn that completes after an error item has not failed."""
    lines = (
        '{"type": "turn.started"}',
        '{"type": "item.completed", "item": {"type": "error", "message": "a warning"}}',
        '{"type": "error", "message": "Reconnecting... 1/5"}',
        '{"type": "item.completed", "item": {"type": "agent_message", "text": "done"}}',
        '{"type": "turn.completed"}',
    )
    found = AGENT.read_output("\n".join(lines))
    assert (found.text, found.error) == ("done", None)


def test_a_failed_turn_says_why() -> None:
    """The reason of a failed turn is read from the event, in each of its forms."""
    assert AGENT.read_output('{"type": "turn.failed", "error": {"message": "no"}}').error == "no"
    assert AGENT.read_output('{"type": "error", "message": "no"}').error == "no"
    assert AGENT.read_output('{"type": "turn.failed"}').error == "the turn failed"
