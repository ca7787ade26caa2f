"""Verdicts: what a reviewer's last words mean. An exit code approves nothing."""

import json
from typing import Any, Literal

import attrs
import cattrs
from attrs import frozen

__all__ = ["Finding", "Verdict", "parse", "plain"]

_LONGEST = 64 * 1024  # characters of an answer in which its verdict is looked for


@frozen(kw_only=True)
class Finding:
    """One thing a reviewer found."""

    id: str
    severity: Literal["blocking", "minor"]
    where: str
    """``path:line``, or as near as the reviewer could say."""
    what: str


@frozen(kw_only=True)
class Verdict:
    """How a reviewer ended."""

    verdict: Literal["approved", "changes_requested"]
    summary: str
    findings: tuple[Finding, ...] = ()


def plain(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain JSON values."""
    return attrs.asdict(verdict)


def parse(text: str) -> Verdict | str:
    """Return the verdict that a text ends with, or why it is none."""
    raw = _last_object(text)
    if raw is None:
        return "its answer does not end with a verdict"
    try:
        verdict = cattrs.structure(raw, Verdict)
    except (cattrs.BaseValidationError, ValueError, TypeError, AttributeError) as e:
        return "its verdict is malformed: " + "; ".join(cattrs.transform_error(e, path="verdict"))
    blocking = [f.id for f in verdict.findings if f.severity == "blocking"]
    if verdict.verdict == "approved" and blocking:
        return f"it approves with blocking findings: {', '.join(blocking)}"
    return verdict


def _last_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text ends with; a closing code fence may follow it."""
    text = text[-_LONGEST:].rstrip().removesuffix("```").rstrip()
    if not text.endswith("}"):
        return None
    decoder = json.JSONDecoder()
    start = text.rfind('"verdict"')
    while (start := text.rfind("{", 0, start)) >= 0:
        try:
            raw, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(raw, dict) and "verdict" in raw and end == len(text):
            return raw
    return None
