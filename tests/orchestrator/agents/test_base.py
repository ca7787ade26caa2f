"""Tests of `spec_kitty_orchestrator.agents.base`."""

import json

import pytest

from spec_kitty_orchestrator.agents import KNOWN, script
from spec_kitty_orchestrator.agents.base import json_objects
from tests.orchestrator.agents.policies import policy

MINE = script.agent(("mine",))


def test_events_are_the_objects_among_the_lines() -> None:
    """Each line that is a JSON object is an event; anything else is noise."""
    output = 'noise\n{"a": 1}\n  {"b": 2}\n{"c": \n["d"]\n{}\n'
    assert list(json_objects(output)) == [{"a": 1}, {"b": 2}, {}]


ODD = ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r")


@pytest.mark.parametrize("character", ODD, ids=ascii)
def test_only_a_newline_ends_an_event(character: str) -> None:
    """JSON leaves the other line ends of Unicode as they are: a last message is not dropped."""
    events = [{"type": "a", "text": f"no{character}"}, {"type": "b"}]
    output = "".join(f"{json.dumps(event, ensure_ascii=False)}\n" for event in events)
    assert list(json_objects(output)) == events


@pytest.mark.parametrize("name", sorted(KNOWN))
@pytest.mark.parametrize("sandbox", ["read_only", "workspace_write", "none"])
def test_sandbox_modes_are_enforced(name: str, sandbox: str) -> None:
    """The command line of every known agent can enforce every sandbox mode."""
    assert KNOWN[name].unenforced(policy(sandbox)) == []


def test_what_cannot_be_enforced_is_told() -> None:
    """Each mode of a policy that an agent's command line cannot enforce is named."""
    assert KNOWN["claude-code"].unenforced(policy(network="none")) == ["network_mode=none"]
    assert KNOWN["codex"].unenforced(policy(network="none")) == []
    assert MINE.unenforced(policy("read_only", "none")) == [
        "sandbox_mode=read_only",
        "network_mode=none",
    ]
    assert MINE.unenforced(policy("none")) == []


def test_a_script_says_what_it_prints() -> None:
    """The answer of a script agent is its whole output."""
    assert MINE.read_output("one\ntwo\n").text == "one\ntwo\n"
    assert MINE.read_output("").error is None
