"""Properties of how the SDK reads an answer, whatever the host prints."""

import json
import pickle
import warnings
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from packaging.version import Version

from spec_kitty_client.api import commands
from spec_kitty_client.api.commands import Command
from spec_kitty_client.api.envelope import conclude, find
from spec_kitty_client.api.replies import Mission, Reply
from spec_kitty_client.codes import ErrorCode, parse_code
from spec_kitty_client.contract import Contract, UntestedHostWarning, recognise, release_in
from spec_kitty_client.contract.lanes import Lane, parse_lane
from spec_kitty_client.errors import HostError, UnsupportedHost
from spec_kitty_client.testing import strategies
from spec_kitty_client.transports import Completed

from .values import attempt, json_values

WP = {"mission": "pay", "wp": "WP01"}
EVERY: list[Command[Any]] = [
    commands.ContractVersion(),
    commands.MissionState(mission="pay"),
    commands.ListReady(mission="pay"),
    commands.ResolveWorkspace(**WP),
    commands.StartImplementation(**WP),
    commands.StartReview(**WP),
    commands.Transition(**WP, to="done"),
    commands.AppendHistory(**WP, note="n"),
    commands.AcceptMission(mission="pay"),
    commands.MergeMission(mission="pay"),
]
STATE: Command[Mission] = commands.MissionState(mission="pay")
IDENTITY = {"mission_slug": "pay", "mission_number": None, "mission_type": "software-dev"}

exit_codes = st.none() | st.integers(-64, 255)
fields = sorted(
    {a.name for c in EVERY for a in attrs.fields(c.reply_type)}
    | {"wp_id", "lane", "dependencies", "last_actor", "message", "errors", "dependencies_satisfied"}
)
payloads = st.dictionaries(
    st.sampled_from(fields), json_values, max_size=8
) | st.fixed_dictionaries(
    {"mission_slug": st.text(), "summary": json_values, "work_packages": json_values}
)
codes = st.none() | st.sampled_from([str(c) for c in ErrorCode]) | st.text()


@st.composite
def envelopes(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a well-formed envelope with any payload."""
    verb = draw(st.sampled_from([c.verb for c in EVERY] + ["unknown"]))
    return {
        "contract_version": draw(st.sampled_from(["1.4.0", "1.5.0", ""]) | st.text(max_size=9)),
        "command": f"orchestrator-api.{verb}",
        "timestamp": draw(st.text(max_size=9)),
        "correlation_id": draw(st.text(max_size=9)),
        "success": draw(st.booleans()),
        "error_code": draw(codes),
        "data": draw(payloads),
    }


output = st.one_of(
    st.binary(),
    st.text().map(lambda t: t.encode("utf-8", "surrogatepass")),
    envelopes().map(lambda e: json.dumps(e).encode()),
    envelopes().map(lambda e: json.dumps(e, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    strategies.near_envelopes().map(lambda printed: printed.stdout),
    strategies.envelopes().map(lambda printed: printed.stdout),
    st.builds(
        bytes.__mul__, st.sampled_from([b"{", b"[", b'{"a":', b'{"a":[']), st.integers(0, 9999)
    ),
)


def ended(stdout: bytes, exit_code: int | None = 0, stderr: bytes = b"") -> Completed:
    """Return a call that has ended."""
    return Completed(
        argv=("spec-kitty",), exit_code=exit_code, stdout=stdout, stderr=stderr, time_limit=1.0
    )


@given(st.sampled_from(EVERY), st.lists(output, max_size=3), exit_codes, st.binary())
def test_whatever_a_host_prints_is_a_reply_or_a_host_error(
    command: Command[Any], stdout: list[bytes], exit_code: int | None, stderr: bytes
) -> None:
    """Any output gives a reply or a HostError that can be printed and pickled."""
    call = ended(b"\n".join(stdout), exit_code, stderr)
    answer = attempt(HostError, lambda: conclude(command, call))

    if isinstance(answer, HostError):
        assert str(answer).startswith(f"{command.verb}: ")
        assert answer.outcome in {"not_applied", "unknown"}
        assert not (answer.retryable and command.mutates and answer.code is None)
        assert str(pickle.loads(pickle.dumps(answer))) == str(answer)  # noqa: S301
    else:
        reply, found = answer
        assert type(reply) is command.reply_type
        assert found.success
        assert exit_code == 0


@given(envelopes(), st.sampled_from(EVERY), st.sampled_from([None, 1, 2, -9]))
def test_a_refusal_is_never_taken_for_a_success(
    envelope: dict[str, Any], command: Command[Any], exit_code: int | None
) -> None:
    """Neither a failure envelope nor a bad exit code gives a reply."""
    for raw, code in ((envelope | {"success": False}, 0), (envelope, exit_code)):
        with pytest.raises(HostError):
            conclude(command, ended(json.dumps(raw).encode(), code))


noise = st.lists(
    st.binary(max_size=60)
    | st.sampled_from(
        [b"{}", b"{", b"[]", b"Deleted branch x (was 1a3).", b"\xff", b"\x85", b"\r"]
    ),
    max_size=6,
)


@given(noise, envelopes(), noise, st.sampled_from([b"\n", b"\r\n"]), st.binary(max_size=3))
def test_an_envelope_is_found_in_any_noise(
    before: list[bytes], envelope: dict[str, Any], after: list[bytes], end: bytes, indent: bytes
) -> None:
    """The SDK finds the envelope unchanged between lines of any bytes."""
    assume(not indent.strip())
    stdout = end.join([*before, indent + json.dumps(envelope).encode() + indent, *after])
    found, rest = find(stdout.decode("utf-8", "backslashreplace"))

    assert found is not None
    assert attrs.asdict(found) == envelope
    assert json.dumps(envelope) not in rest


@given(noise)
def test_noise_alone_is_no_envelope(lines: list[bytes]) -> None:
    """Without an envelope, `find` returns None and the whole text."""
    text = b"\n".join(lines).decode("utf-8", "backslashreplace")

    assert find(text) == (None, text)


unknown = st.dictionaries(
    st.text().filter(lambda k: k not in {*fields, "summary", "work_packages", "extra"}),
    json_values,
    max_size=5,
)


@given(unknown, unknown)
def test_unknown_fields_survive(outside: dict[str, Any], inside: dict[str, Any]) -> None:
    """Unknown fields of a newer host are kept in the reply that they came in."""
    data = {
        **outside,
        **IDENTITY,
        "summary": {"done": 1},
        "work_packages": [{**inside, "wp_id": "WP01", "lane": "done"}],
    }
    envelope = {
        "contract_version": "1.5.0",
        "command": "orchestrator-api.mission-state",
        "timestamp": "",
        "correlation_id": "",
        "success": True,
        "error_code": None,
        "data": data,
    }
    reply: Reply
    reply, _ = conclude(STATE, ended(json.dumps(envelope).encode()))

    assert isinstance(reply, Mission)
    assert reply.extra == outside
    assert reply.work_packages[0].extra == inside
    assert reply.lanes() == {"WP01": Lane.DONE}


@given(st.text())
def test_any_word_is_a_lane_and_a_code(word: str) -> None:
    """Any word is read as a lane and a code, and stays as it was, except doing."""
    assert parse_lane(word) == (word if word != "doing" else "in_progress")
    assert parse_code(word) == word


RELEASES = ("3.2.2", "3.2.4", "3.2.6", "3.2.7", *(f"4.0.0rc{n}" for n in (4, 5, 6, 7)))
"""The releases that a contract version stands for."""
versions = st.text() | st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,4}((a|rc|\.dev|\.post)[0-9])?")


@given(versions)
def test_any_word_is_a_contract_or_refused(word: str) -> None:
    """Any contract version gives a contract, None for 1.0, or UnsupportedHost; no other error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntestedHostWarning)
        contract = attempt(UnsupportedHost, lambda: recognise(word))

    if isinstance(contract, Contract):
        assert contract.version.release >= (1, 1)
        assert str(contract.release) in RELEASES
    elif contract is None:
        assert Version("1.0") <= Version(word) < Version("1.1")
    else:
        assert "spec-kitty-cli" in str(contract)


@given(st.text() | st.from_regex(r"(.*\n)*.*version [0-9]{1,2}(\.[0-9]{1,2}){1,3}(rc[0-9])?\n?"))
def test_any_text_names_a_release_or_none(text: str) -> None:
    """Any output of `spec-kitty --version` gives a release with the API, or UnsupportedHost."""
    found = attempt(UnsupportedHost, lambda: release_in(text))

    if isinstance(found, Version):
        assert found >= Version("1.0.0")
        assert str(found.major) in text
