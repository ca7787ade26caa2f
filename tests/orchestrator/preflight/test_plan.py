"""Tests of `spec_kitty_orchestrator.preflight.plan`."""

from pathlib import Path

import pytest

from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator.preflight import plan
from spec_kitty_orchestrator.worktree import git


def test_the_default_policy_is_what_agents_are_given() -> None:
    """Without a policy the host is told the truth: a script has no sandbox, others have one."""
    modes = {name: plan.default_policy(agent).sandbox_mode for name, agent in agents.KNOWN.items()}
    assert set(modes.values()) == {"workspace_write"}
    script_policy = plan.default_policy(agents.script.agent(("x",)))
    assert (script_policy.sandbox_mode, script_policy.agent_family) == ("none", "script")


def test_a_protected_branch_is_named_unless_it_is_allowed(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts refuse to commit on main; the variable and the file that allow it are respected."""
    assert plan.protected_branch(repo) is None
    git(repo, "checkout", "--quiet", "-b", "main")
    assert plan.protected_branch(repo) == "main"
    monkeypatch.setenv("SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS", "1")
    assert plan.protected_branch(repo) is None
    monkeypatch.delenv("SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS")
    (repo / ".kittify").mkdir(exist_ok=True)
    (repo / ".kittify" / "config.yaml").write_text("protection:\n  protected_branches: []\n")
    assert plan.protected_branch(repo) is None
