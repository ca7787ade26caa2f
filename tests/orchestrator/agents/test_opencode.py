"""Tests of `spec_kitty_orchestrator.agents.opencode`."""

import json
from pathlib import Path
from typing import Any

import pytest

from spec_kitty_orchestrator.agents.opencode import AGENT
from spec_kitty_orchestrator.roles import Role
from tests.orchestrator.agents.policies import policy

CONFIG = "OPENCODE_CONFIG_CONTENT"


def config(role: Role, sandbox: str) -> dict[str, Any]:
    """Return the settings that the agent gets."""
    found: dict[str, Any] = json.loads(AGENT.env(role, policy(sandbox))[CONFIG])
    return found


def rules(role: Role, sandbox: str) -> dict[str, Any]:
    """Return the rules of the agent that the command line names."""
    argv = AGENT.argv(role, policy(sandbox), Path("/w"))
    name = argv[argv.index("--agent") + 1]
    found: dict[str, Any] = config(role, sandbox)["agent"][name]["permission"]
    return found


@pytest.mark.parametrize("sandbox", ["none", "workspace_write", "read_only"])
def test_a_reviewer_only_looks(sandbox: str) -> None:
    """A reviewer has neither edits nor a shell under any policy."""
    found = rules("review", sandbox)
    assert [found[name] for name in ("*", "edit", "bash", "external_directory")] == ["deny"] * 4
    assert found["read"]["*"] == "allow"


@pytest.mark.parametrize(
    ("sandbox", "edit", "bash"),
    [
        ("none", "allow", "allow"),
        ("workspace_write", "allow", "deny"),
        ("read_only", "deny", "deny"),
    ],
)
def test_an_implementer_has_what_the_policy_says(sandbox: str, edit: str, bash: str) -> None:
    """Edits need a workspace, a shell needs a policy without a sandbox."""
    found = rules("implement", sandbox)
    assert (found["edit"], found["bash"], found["external_directory"]) == (edit, bash, bash)


@pytest.mark.parametrize("role", ["implement", "review"])
def test_nothing_is_asked(role: Role) -> None:
    """No rule asks, because a question would end a headless run with exit code 0."""
    assert "ask" not in json.dumps(rules(role, "none"))


@pytest.mark.parametrize("role", ["implement", "review"])
def test_secrets_of_the_project_are_not_read(role: Role) -> None:
    """An agent may not read .env files, but may read .env.example."""
    found = rules(role, "none")["read"]
    assert (found["*.env"], found["*.env.*"], found["*.env.example"]) == ("deny", "deny", "allow")
    assert next(iter(found)) == "*"  # the last rule that matches wins


def test_the_users_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Providers and agents of the user stay in the settings, beside the orchestrator's agent."""
    own = {"model": "local/model", "agent": {"mine": {"mode": "primary"}}}
    monkeypatch.setenv(CONFIG, json.dumps(own))
    found = config("implement", "none")
    assert found["model"] == "local/model"
    assert set(found["agent"]) == {"mine", "spec-kitty-implement"}


def test_our_agent_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the user cannot widen the rules of a reviewer."""
    wide = {"agent": {"spec-kitty-review": {"permission": {"edit": "allow"}}}}
    monkeypatch.setenv(CONFIG, json.dumps(wide))
    assert rules("review", "none")["edit"] == "deny"


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', '{"agent": []}', "null"])
def test_broken_settings_of_the_user_are_left_out(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A setting that is not an object is ignored, and does not stop a run."""
    monkeypatch.setenv(CONFIG, text)
    assert set(config("review", "none")["agent"]) == {"spec-kitty-review"}


def test_an_error_is_found_in_its_event() -> None:
    """The error is the provider's message, else the name of the error."""
    line = '{"type": "error", "error": {"name": "APIError", "data": {"message": "no credit"}}}'
    assert AGENT.read_output(line).error == "no credit"
    assert AGENT.read_output('{"type": "error", "error": {"name": "Oops"}}').error == "Oops"
    assert AGENT.read_output('{"type": "error", "error": "text"}').error == "text"
