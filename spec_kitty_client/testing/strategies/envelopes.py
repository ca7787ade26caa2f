"""Strategies for the output of a host: envelopes among other lines, and near-envelopes.

Strategies for the answer to a call, with its payload, are in `replies`.
"""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import asdict, fields, frozen
from hypothesis import strategies as st

from spec_kitty_client.api.envelope import Envelope
from spec_kitty_client.api.spelling import names_of
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.codes import ErrorCode, Family
from spec_kitty_client.testing.strategies.contracts import hosts
from spec_kitty_client.testing.strategies.values import JSON_OBJECTS, TEXTS

__all__ = ["Flaw", "Printed", "envelopes", "near_envelopes"]

_KEYS = tuple(a.name for a in fields(Envelope))


class Flaw(StrEnum):
    """The reason why text that looks like an envelope is not the answer."""

    MISSING_KEY = "one of the seven keys is missing"
    WRONG_TYPE = "one of the seven keys has a value of another type"
    TRUNCATED = "it ends in the middle"
    NOT_ALONE = "there is more on its line"
    SPREAD = "it is spread over several lines, and another one is on one line"
    NOT_UTF8 = "there are bytes in it that are no text"
    SUPERSEDED = "it is sound, but another one comes after it"


@frozen(kw_only=True)
class Printed:
    """The output of a host, and the expected result of parsing it."""

    stdout: bytes
    envelope: Envelope | None
    """The envelope that `spec_kitty_client.api.envelope.find` must find; None: no envelope."""
    exit_code: int
    """The exit code of the host: 0 after a success, otherwise 1."""
    flaw: Flaw | None = None
    """The flaw of the near-envelope in the output; None: there is no near-envelope."""


_families = [[str(c) for c in ErrorCode if c.family is family] for family in Family]
_codes = st.one_of(
    *(st.sampled_from(codes) for codes in _families if codes),
    st.just("FROM_A_NEWER_HOST"),
    TEXTS,
)
_details = st.fixed_dictionaries(
    {},
    optional={
        "message": TEXTS,  # missing before 3.2.6 wherever there are details
        "errors": st.lists(TEXTS, max_size=2),
        "incomplete_wps": st.just(["WP01"]),
        "claimed_by": TEXTS,
    },
)
_outcomes = st.one_of(
    st.tuples(st.just(True), st.none(), JSON_OBJECTS),
    st.tuples(st.just(False), _codes, st.builds(dict.__or__, JSON_OBJECTS, _details)),
)
_commands = [f"orchestrator-api.{name}" for verb in VERBS for name in sorted(names_of(verb))]
_versions = [*dict.fromkeys(str(host.version) for host in hosts()), "1.99.0", "2.0.0"]


def _sound(outcome: tuple[bool, str | None, dict[str, Any]], *texts: str) -> Envelope:
    success, code, data = outcome
    version, command, timestamp, correlation = texts
    return Envelope(
        contract_version=version,
        command=command,
        timestamp=timestamp,
        correlation_id=correlation,
        success=success,
        error_code=code,
        data=data,
    )


_envelopes = st.builds(
    _sound,
    _outcomes,
    st.sampled_from(_versions),
    st.sampled_from([*_commands, "orchestrator-api.unknown"]),
    st.just("2026-01-01T00:00:00+00:00") | TEXTS,
    st.just("corr-0123456789abcdef0123456789abcdef") | TEXTS,
)
_noise_lines = [
    b"",
    b"Deleted branch kitty/mission-demo-lane-a (was 0123abc).",
    b"{}",
    b'["success"]',
    b'{"success": true}',
    b'{"contract_version": "1.5.0", "data":',
    "\u256d\u2500 Error \u2500\u256e".encode(),
    b"\x1b[33mwarning\x1b[0m\r",
    b"caf\xe9",
    b"\xff\xfe\x00",
]
_noise = st.lists(st.sampled_from(_noise_lines) | st.binary(max_size=6), max_size=3)


@st.composite
def envelopes(draw: st.DrawFn) -> Printed:
    """Draw the output of a host with one envelope in it, for code that reads such output.

    It has successes, and refusals with unknown codes or known codes of every family; present and
    future contract versions; unknown fields; unusual characters with and without escapes; and
    other lines before and after, which may not be UTF-8. The data does not match the verb; for
    that use `replies`.

    Shrinks to one line: a success of ``contract-version`` with empty data.
    """
    envelope = draw(_envelopes)
    unknown = draw(JSON_OBJECTS)
    before, after = draw(_noise), draw(_noise)
    raw = {**unknown, **asdict(envelope)}
    line = _line(raw, escaped=draw(st.sampled_from([True, False])))
    padding, end = draw(st.sampled_from(["", " ", "\t"])).encode(), draw(_ends)
    found = [padding + line + padding]
    if draw(st.sampled_from([False, False, False, True])):
        found = _lines(raw, draw(st.integers(1, 4)))
    return _printed([*before, *found, *after], envelope, end=end)


_ends = st.sampled_from([b"\n", b"\r\n"])
# Line breaks, and surrogates, which UTF-8 cannot encode.
_ONLY_ESCAPED = re.compile("[\x85\u2028\u2029\ud800-\udfff]")


def _line(raw: Mapping[str, Any], *, escaped: bool = True) -> bytes:
    """Write an object as JSON on one line, in ASCII as hosts do, or in UTF-8 if possible."""
    if not escaped:
        text = json.dumps(raw, ensure_ascii=False)
        if not _ONLY_ESCAPED.search(text):
            return text.encode()
    return json.dumps(raw).encode()


def _lines(raw: Mapping[str, Any], indent: int) -> list[bytes]:
    """Write an object as JSON over several lines, in ASCII."""
    return json.dumps(raw, indent=indent).encode().splitlines()


def _printed(
    lines: list[bytes], envelope: Envelope | None, *, end: bytes = b"\n", flaw: Flaw | None = None
) -> Printed:
    return Printed(
        stdout=end.join([*lines, b""]),
        envelope=envelope,
        exit_code=0 if envelope is not None and envelope.success else 1,
        flaw=flaw,
    )


@st.composite
def near_envelopes(draw: st.DrawFn) -> Printed:
    """Draw the output of a host with text in it that is nearly an envelope.

    Use it to test that a reader does not invent an answer. Keys are missing or of a wrong type,
    text is cut off, there is more on the same line, or bytes are not UTF-8. In some examples there
    is a valid envelope before or after it, which is the answer. If both are valid, the last one is
    the answer, and one on a single line has priority over one spread over several lines.

    Shrinks to an envelope without its first key, and no other output.
    """
    near = draw(_envelopes)
    flaw = draw(st.sampled_from(Flaw))
    lines = _SPOIL[flaw](draw, asdict(near))
    places = _PLACES.get(flaw, ["nowhere", "after", "before"])
    place = draw(st.sampled_from(places))
    sound = None if place == "nowhere" else draw(_envelopes)
    if sound is not None:
        found = [_line(asdict(sound))]
        lines = lines + found if place == "after" else found + lines
    return _printed(lines, sound, flaw=flaw)


# The place of the sound envelope, if the flawed one would be an answer by itself.
_PLACES = {Flaw.SUPERSEDED: ["after"], Flaw.SPREAD: ["after", "before"]}


def _without_key(draw: st.DrawFn, raw: dict[str, Any]) -> list[bytes]:
    del raw[draw(st.sampled_from(_KEYS))]
    return [_line(raw)]


_WRONG: dict[str, list[Any]] = {key: [None, 0, True, [], {}] for key in _KEYS} | {
    "success": [None, 0, 1, "true", [], {}],
    "error_code": [0, False, [], {}],
    "data": [None, 0, "", [], False],
}


def _with_wrong_type(draw: st.DrawFn, raw: dict[str, Any]) -> list[bytes]:
    key = draw(st.sampled_from(_KEYS))
    return [_line(raw | {key: draw(st.sampled_from(_WRONG[key]))})]


def _truncated(draw: st.DrawFn, raw: dict[str, Any]) -> list[bytes]:
    line = _line(raw)
    return [line[: draw(st.integers(1, len(line) - 1))]]


def _with_company(draw: st.DrawFn, raw: dict[str, Any]) -> list[bytes]:
    line = _line(raw)
    around = [(b"Done. ", b""), (b"", b";"), (b"[", b"]"), (b"", line), (b"{}", b""), (b"'", b"'")]
    before, after = draw(st.sampled_from(around))
    return [before + line + after]


def _spread(_draw: st.DrawFn, raw: dict[str, Any]) -> list[bytes]:
    return _lines(raw, 1)


def _not_text(draw: st.DrawFn, raw: dict[str, Any]) -> list[bytes]:
    stray = draw(st.sampled_from([b"\xff", b"\xe9", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f"]))
    return [_line(raw).replace(b"orchestrator-api.", b"orchestrator-api." + stray, 1)]


def _whole(_draw: st.DrawFn, raw: dict[str, Any]) -> list[bytes]:
    return [_line(raw)]


_SPOIL = {
    Flaw.MISSING_KEY: _without_key,
    Flaw.WRONG_TYPE: _with_wrong_type,
    Flaw.TRUNCATED: _truncated,
    Flaw.NOT_ALONE: _with_company,
    Flaw.SPREAD: _spread,
    Flaw.NOT_UTF8: _not_text,
    Flaw.SUPERSEDED: _whole,
}
