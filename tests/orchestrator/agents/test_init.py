"""Tests of `spec_kitty_orchestrator.agents`: the known agents, and the choice among them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.settings import Settings

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put programs of these names on PATH, and no others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def programs(*names: str) -> None:
        for name in names:
            (folder / name).write_text("#!/bin/sh\n")
            (folder / name).chmod(0o755)

    return programs


def test_a_known_agent_is_found(install: Install) -> None:
    """An installed agent is found by its name, which may differ from its program's."""
    install("claude")
    assert agents.find("claude-code") is agents.KNOWN["claude-code"]


@pytest.mark.parametrize(
    ("name", "meant"), [("claude", "claude-code"), ("codx", "codex"), ("gemini", None)]
)
def test_an_unknown_agent_is_named(name: str, meant: str | None) -> None:
    """An unknown name is reported with the nearest name and all known names."""
    with pytest.raises(UsageProblem) as caught:
        agents.find(name)
    hint = f"Did you mean {meant}? " if meant else ""
    assert str(caught.value) == (
        f"Unknown agent {name!r}. {hint}Available: claude-code, codex, opencode, script:COMMAND"
    )


def test_an_agent_that_is_not_installed_is_named(install: Install) -> None:
    """A missing program is reported before the run, with the command that installs it."""
    install()
    with pytest.raises(UsageProblem, match=r"'codex', which is not on PATH. Install it: npm"):
        agents.find("codex")


def test_a_command_is_an_agent(install: Install) -> None:
    """A command of the user's own keeps its words and quotes."""
    install("mine")
    agent = agents.find("script:mine --fast 'two words'")
    assert agent.name == "script"
    policy = agents.claude_code.AGENT  # the command line does not depend on it
    argv = agent.argv("implement", policy, Path("/w"))  # type: ignore[arg-type]
    assert argv[1:] == ("--fast", "two words")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("script:", "needs a command"),
        ("script:   ", "needs a command"),
        ("script:'open", "no closing quotation"),
        ("script:/no/such/program", "does not exist"),
        ("script:/etc/passwd", "is not executable. Run: chmod"),
        ("script:no-such-program", "is not on PATH"),
    ],
)
def test_a_command_that_cannot_be_run_is_named(name: str, words: str) -> None:
    """An empty, malformed or missing command is reported before the run."""
    with pytest.raises(UsageProblem, match=words):
        agents.find(name)


def test_the_reviewer_is_another_one_if_there_is_one(install: Install) -> None:
    """By default, the reviewer is another agent than the implementer."""
    install("codex", "claude")
    chosen = agents.choose(Settings(mission="m"))
    assert chosen == Settings(mission="m", impl_agent="claude-code", review_agent="codex")


def test_the_reviewer_is_the_same_if_there_is_no_other(install: Install) -> None:
    """One installed agent is enough."""
    install("opencode")
    chosen = agents.choose(Settings())
    assert (chosen.impl_agent, chosen.review_agent) == ("opencode", "opencode")


def test_a_choice_is_kept(install: Install) -> None:
    """Named agents are used, also if others are installed."""
    install("claude", "codex")
    named = Settings(impl_agent="script:x", review_agent="codex")
    assert agents.choose(named) == named
    assert agents.choose(Settings(impl_agent="codex")).review_agent == "claude-code"


def test_no_agent_at_all_is_told(install: Install) -> None:
    """Without any agent the message names the agents to install."""
    install()
    with pytest.raises(UsageProblem, match="No agent is installed") as caught:
        agents.choose(Settings())
    assert "--impl-agent" in str(caught.value)
    assert agents.installed() == []
