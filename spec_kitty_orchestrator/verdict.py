"""Read the verdict at the end of a reviewer's answer. An exit code of 0 is not approval."""

import json
from functools import cache
from typing import Any, Literal, get_args, get_origin

import cattrs
from attrs import frozen

from spec_kitty_orchestrator.state.events import Finding

__all__ = ["Verdict", "parse"]

_MAX_TRIES = 500  # opening braces to try, from the end
_MAX_LENGTH = 64 * 1024  # characters at the end of an answer to search


@frozen(kw_only=True)
class Verdict:
    """The decision of a reviewer."""

    verdict: Literal["approved", "changes_requested"]
    summary: str
    findings: tuple[Finding, ...] = ()


def parse(text: str) -> Verdict | str:
    """Return the verdict at the end of an answer, or the reason why there is none.

    Args:
        text: The answer of a reviewer.
    """
    raw = _last_object(text)
    if raw is None:
        return "its answer does not end with a verdict"
    try:
        verdict = _converter().structure(raw, Verdict)
    except (cattrs.BaseValidationError, ValueError, TypeError, AttributeError) as e:
        return "its verdict is malformed: " + "; ".join(_problems(e))
    blocking = [f.id for f in verdict.findings if f.severity == "blocking"]
    if verdict.verdict == "approved" and blocking:
        return f"it approves with blocking findings: {', '.join(blocking)}"
    return verdict


def _problems(error: BaseException) -> list[str]:
    """Return what is wrong with each field: ``findings[0].severity must be blocking or minor``."""
    found = cattrs.transform_error(error, path="verdict", format_exception=_why)
    pairs = (problem.rsplit(" @ verdict.", 1) for problem in found)
    return [f"{path} {why}" for why, path in pairs]


def _why(error: BaseException, kind: type | None) -> str:
    if isinstance(error, KeyError):
        return "is missing"
    if get_origin(kind) is Literal:
        return f"must be {' or '.join(get_args(kind))}"
    return "must be text" if kind is str else f"must be {_KINDS.get(kind, 'an object')}"


_KINDS: dict[Any, str] = {tuple[Finding, ...]: "a list"}


@cache
def _converter() -> cattrs.Converter:
    """Return a converter that rejects values of a wrong type, where cattrs would convert them."""
    converter = cattrs.Converter()
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook_func(lambda kind: kind == tuple[Finding, ...], _findings)
    return converter


def _text(value: Any, _: object) -> str:
    if not isinstance(value, str):
        msg = f"expected a text, not {type(value).__name__}"
        raise TypeError(msg)
    return value


def _findings(value: Any, _: object) -> tuple[Finding, ...]:
    if not isinstance(value, list):
        msg = f"expected a list, not {type(value).__name__}"
        raise TypeError(msg)
    return tuple(_converter().structure(value, list[Finding]))


def _last_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object at the end of a text. A closing code fence may follow it."""
    text = text[-_MAX_LENGTH:].rstrip().removesuffix("```").rstrip()
    if not text.endswith("}"):
        return None
    decoder = json.JSONDecoder()
    start = text.rfind('"verdict"')
    for _ in range(_MAX_TRIES):
        start = text.rfind("{", 0, max(0, start))
        if start < 0:
            break
        try:
            raw, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(raw, dict) and "verdict" in raw and end == len(text):
            return raw
    return None
