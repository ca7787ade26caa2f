"""Tests of `spec_kitty_orchestrator.agents.script`."""

from pathlib import Path

import pytest

from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator.roles import Role
from tests.orchestrator.agents.policies import policy


@pytest.mark.parametrize("role", ["implement", "review"])
def test_a_command_is_the_same_for_every_role(role: Role) -> None:
    """The environment names the role and the task; the words of the command do not change."""
    agent = agents.script.agent(("mine", "--fast"))
    assert agent.argv(role, policy("none"), Path("/w")) == ("mine", "--fast")
    assert agent.env(role, policy("none")) == {}


def test_a_relative_command_is_the_one_that_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative command that was found in the current folder is started from any worktree."""
    (tmp_path / "agent.sh").write_text("#!/bin/sh\n")
    (tmp_path / "agent.sh").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    argv = agents.find("script:./agent.sh").argv("implement", policy("none"), Path("/w"))
    assert Path("/w", argv[0]) == tmp_path / "agent.sh"
