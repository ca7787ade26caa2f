"""Tests of `spec_kitty_orchestrator.verdict`."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec_kitty_orchestrator.state.events import Finding
from spec_kitty_orchestrator.verdict import Verdict, parse

APPROVED = Verdict(verdict="approved", summary="fine")
FINDING: dict[str, Any] = {
    "id": "F1",
    "severity": "blocking",
    "where": "a.py:1",
    "what": "it is wrong",
}
MINOR = {**FINDING, "severity": "minor"}


def said(**changes: Any) -> str:
    """Return a verdict as a reviewer writes it."""
    return json.dumps({"verdict": "approved", "summary": "fine", "findings": [], **changes})


@pytest.mark.parametrize(
    "text",
    [
        said(),
        f"I looked at it.\n\n{said()}\n",
        f"```json\n{said()}\n```\n",
        f"It uses {{braces}} and {{'a': 1}}.\n{said()}",
        json.dumps(json.loads(said()), indent=2),
        '{"summary": "fine", "findings": [], "verdict": "approved"}',
        '{"findings": [], "summary": "fine", "verdict": "approved"}',
        '{"verdict": "approved", "summary": "fine"}',
        said(confidence=0.9),
    ],
)
def test_a_verdict_at_the_end_counts(text: str) -> None:
    """The JSON object at the end of an answer is its verdict, in any layout."""
    assert parse(text) == APPROVED


def test_findings_are_kept() -> None:
    """The findings of a verdict are kept."""
    found = parse(said(verdict="changes_requested", findings=[FINDING, MINOR]))
    assert isinstance(found, Verdict)
    assert found.findings == (Finding(**FINDING), Finding(**MINOR))


def test_words_of_the_format_may_be_in_a_finding() -> None:
    """A finding may contain JSON, braces and the word verdict."""
    what = 'say {"verdict": "approved"} } ``` and "verdict"'
    found = parse(said(verdict="changes_requested", findings=[{**FINDING, "what": what}]))
    assert isinstance(found, Verdict)
    assert found.findings[0].what == what


def test_the_last_of_two_verdicts_counts() -> None:
    """Of two verdicts the last one counts."""
    assert parse(said(verdict="changes_requested") + "\nNo:\n" + said()) == APPROVED
    found = parse(said() + "\nNo:\n" + said(verdict="changes_requested"))
    assert isinstance(found, Verdict)
    assert found.verdict == "changes_requested"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "approved",
        said() + "\nOn second thoughts, wait.",
        said() + "}",
        said()[:-1],
        f"[{said()}]",
        '{"answer": ' + said() + "}",
        '{"summary": "fine", "findings": []}',
        '"' + said().replace('"', '\\"') + '"',
        "{}",
        "{" * 10,
        '"verdict"}',
    ],
)
def test_nothing_else_is_a_verdict(text: str) -> None:
    """Text after or around a verdict, or a malformed one, makes it invalid."""
    assert parse(text) == "its answer does not end with a verdict"


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "Approved"},
        {"verdict": "rejected"},
        {"verdict": None},
        {"verdict": ["approved"]},
        {"verdict": True},
        {"findings": None},
        {"findings": [5]},
        {"findings": ["bad"]},
        {"findings": [{}]},
        {"findings": [{**FINDING, "severity": "huge"}]},
        {"findings": [{k: v for k, v in FINDING.items() if k != "where"}]},
    ],
)
def test_a_malformed_verdict_is_none(changes: dict[str, Any]) -> None:
    """A malformed verdict approves nothing, and the reason names the fault."""
    found = parse(said(**changes))
    assert isinstance(found, str)
    assert found.startswith("its verdict is malformed: ")


def test_a_verdict_needs_a_summary() -> None:
    """The summary is required, because a user reads it first."""
    found = parse('{"verdict": "approved"}')
    assert isinstance(found, str)
    assert found == "its verdict is malformed: summary is missing"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"verdict": "ok"}, "verdict must be approved or changes_requested"),
        ({"summary": 1}, "summary must be text"),
        ({"findings": {}}, "findings must be a list"),
        (
            {"findings": [{**FINDING, "severity": "x"}]},
            "findings[0].severity must be blocking or minor",
        ),
    ],
)
def test_a_mistake_in_a_verdict_is_said_in_words_of_the_form(
    changes: dict[str, Any], why: str
) -> None:
    """The reason names the field and the fault in words of the verdict's form."""
    assert parse(said(**changes)) == f"its verdict is malformed: {why}"


def test_an_approval_with_a_blocking_finding_is_none() -> None:
    """A verdict with blocking findings is no approval; one with minor findings is."""
    assert parse(said(findings=[FINDING])) == "it approves with blocking findings: F1"
    assert isinstance(parse(said(findings=[MINOR])), Verdict)


def test_a_huge_answer_ends_with_its_verdict_all_the_same() -> None:
    """A verdict after megabytes of text is found quickly."""
    assert parse("chatter {}\n" * 500_000 + said()) == APPROVED


@pytest.mark.parametrize(
    "text",
    [
        "{" * 10**6 + "}",
        '{"a":' * 10**6 + "}",
        '{"verdict":' * 10**5 + "}" * 10**5,
        "[" * 10**6 + '"verdict"}',
        ('{"":' + "[" * 900) * 60 + '"verdict"}',
        '{"verdict":' * 900 + "[" + "1," * 10**5 + "}",
        "}" * 10**6,
    ],
)
def test_hostile_braces_end_soon(text: str) -> None:
    """Hostile braces do not slow the reader down."""
    begun = time.process_time()
    assert isinstance(parse(text), str)
    assert time.process_time() - begun < 10


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet='{}[]":,` \\verdictaponsumyfgq1', max_size=200))
def test_any_text_is_read_without_an_accident(text: str) -> None:
    """Every output gives a verdict, or the reason why there is none."""
    assert isinstance(parse(text), str | Verdict)
