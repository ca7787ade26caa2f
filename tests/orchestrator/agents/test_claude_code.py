"""Tests of `spec_kitty_orchestrator.agents.claude_code`."""

from pathlib import Path

import pytest

from spec_kitty_orchestrator.agents.claude_code import AGENT
from spec_kitty_orchestrator.roles import Role
from tests.orchestrator.agents.policies import policy

WORKTREE = Path("/w")
LOOKS = {"--tools=Read,Grep,Glob", '--settings={"disableAllHooks":true}'}


def argv(role: Role, sandbox: str) -> tuple[str, ...]:
    """Return a command line."""
    return AGENT.argv(role, policy(sandbox), WORKTREE)


@pytest.mark.parametrize("sandbox", ["none", "workspace_write", "read_only", "anything"])
def test_a_reviewer_has_no_tool_that_changes_anything(sandbox: str) -> None:
    """A reviewer has read-only tools under any policy."""
    line = argv("review", sandbox)
    assert set(line) >= LOOKS
    assert "acceptEdits" not in line
    assert not any("Bash" in word for word in line)


def test_a_read_only_implementer_has_none_either() -> None:
    """A policy without edits applies to the implementer too."""
    assert argv("implement", "read_only") == argv("review", "read_only")


@pytest.mark.parametrize(("sandbox", "shell"), [("none", True), ("workspace_write", False)])
def test_an_implementer_edits_and_may_have_a_shell(sandbox: str, shell: bool) -> None:
    """Edits are accepted; a shell comes only with a policy that has no sandbox."""
    line = argv("implement", sandbox)
    assert "acceptEdits" in line
    assert ("--allowedTools=Bash" in line) is shell


@pytest.mark.parametrize("role", ["implement", "review"])
def test_no_check_is_ever_skipped(role: Role) -> None:
    """Flags that hosts refuse in a policy are on no command line."""
    assert not any("dangerous" in word for word in argv(role, "none"))


def test_a_run_without_a_result_has_failed() -> None:
    """An output that breaks off is no answer, with any exit code."""
    assert AGENT.read_output('{"type": "system"}\n').error == "its output has no result"
    assert AGENT.read_output("").error == "its output has no result"


def test_the_error_flag_counts_and_not_the_subtype() -> None:
    """A result of subtype success may still be an error."""
    line = '{"type": "result", "subtype": "success", "is_error": true, "result": "no credit"}'
    assert AGENT.read_output(line).error == "no credit"
    line = '{"type": "result", "subtype": "error_max_turns", "is_error": true}'
    assert AGENT.read_output(line).error == "error_max_turns"
