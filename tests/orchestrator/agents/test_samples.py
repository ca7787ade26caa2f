"""Tests of reading agents' output, with recorded output of the real programs (see ``data``)."""

from pathlib import Path

import pytest

from spec_kitty_orchestrator.agents import KNOWN
from spec_kitty_orchestrator.agents.base import AgentOutput
from spec_kitty_orchestrator.verdict import Verdict, parse

DATA = Path(__file__).parent / "data"
NAMES = sorted(KNOWN)


def said(name: str, sample: str) -> AgentOutput:
    """Return what an agent's reader finds in a sample."""
    text = (DATA / name.replace("-", "_") / f"{sample}.jsonl").read_text(encoding="utf-8")
    return KNOWN[name].read_output(text)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_words_are_found(name: str) -> None:
    """The last message of a session is the agent's answer."""
    assert said(name, "implement") == AgentOutput(
        text="Implemented: hello.txt written, README edited."
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_review_ends_with_its_verdict(name: str) -> None:
    """A reviewer's verdict can be read, although tool calls were denied on the way."""
    found = said(name, "review")
    assert found.error is None
    assert parse(found.text) == Verdict(verdict="approved", summary="fine")


@pytest.mark.parametrize("name", NAMES)
def test_an_error_of_the_provider_is_one(name: str) -> None:
    """A run that could not reach its model has failed, with the reason."""
    found = said(name, "api-error")
    assert "401" in (found.error or "")
    assert isinstance(parse(found.text), str)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("noise", ["npm warn\n", "{\n", "[]\n", '"text"\n', "{}\n", "\x00\n"])
def test_noise_between_the_lines_is_passed_over(name: str, noise: str) -> None:
    """Warnings of wrappers and half lines do not hide the agent's answer."""
    path = DATA / name.replace("-", "_") / "implement.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    found = KNOWN[name].read_output(noise + noise.join(lines) + noise)
    assert found.text.startswith("Implemented")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "line",
    [
        "{" * 5000,
        '{"a":' * 100_000,
        '{"type": "result", "result": {"a": 1}}',
        '{"type": "item.completed", "item": "text"}',
        '{"type": "item.completed", "item": {"type": "agent_message", "text": 5}}',
        '{"type": "text", "part": []}',
        '{"type": "error", "error": null}',
        '{"type": "turn.failed", "error": []}',
        '{"type": ["result"], "is_error": true}',
    ],
)
def test_hostile_lines_are_no_accident(name: str, line: str) -> None:
    """No output of an agent makes its reader raise."""
    found = KNOWN[name].read_output(line)
    assert isinstance(found.text, str)
    assert isinstance(found.error, str | None)
