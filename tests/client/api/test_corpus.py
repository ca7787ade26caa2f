"""Recorded answers of real hosts, on every release (tests/record)."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from spec_kitty_client import (
    Command,
    Completed,
    EnvironmentProblem,
    ErrorCode,
    HostCannotStart,
    HostCrashed,
    HostError,
    HostRejected,
    Lane,
    Need,
    ProtocolError,
    Reply,
    UsageRejected,
    allowed,
    needs,
)
from spec_kitty_client.api.commands import ContractVersion
from spec_kitty_client.api.envelope import conclude, find
from spec_kitty_client.api.spelling import names_of
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.contract import recognise
from spec_kitty_client.contract.dialects import dialect_of

CORPUS = Path(__file__).parents[2] / "corpus"
RELEASES = sorted((path.stem for path in CORPUS.glob("*.jsonl")), key=Version)
LIFECYCLE = tuple(VERBS)[:10]
GATES = {4, 5, 6}


@cache
def recorded(release: str) -> tuple[dict[str, Any], ...]:
    lines = (CORPUS / f"{release}.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


def call_of(entry: dict[str, Any]) -> type[Command[Any]]:
    """Return the command of a recorded call, or ContractVersion for an unknown verb."""
    verb = entry["argv"][1] if len(entry["argv"]) > 1 else ""
    return next((c for name, c in VERBS.items() if verb in names_of(name)), ContractVersion)


def answer_to(entry: dict[str, Any]) -> tuple[Reply | HostError, Completed]:
    """Return the reply or HostError that the SDK makes of a recorded answer."""
    kind = call_of(entry)
    about = {"verb": kind.verb, "reply_type": kind.reply_type, "mutates": kind.mutates}
    completed = Completed(
        argv=("spec-kitty", *entry["argv"]),
        exit_code=entry["exit_code"],
        stdout=entry["stdout"].encode(),
        stderr=entry["stderr"].encode(),
        time_limit=60,
    )
    try:
        reply, _ = conclude(type("Recorded", (Command,), about)(), completed)
    except HostError as e:
        return e, completed
    assert isinstance(reply, Reply)
    return reply, completed


def everything() -> Iterator[tuple[str, dict[str, Any]]]:
    for release in RELEASES:
        yield from ((release, entry) for entry in recorded(release))


def test_every_release_line_has_been_recorded() -> None:
    """Every dialect has recordings, and every recorded release more than 100."""
    assert {dialect_of(Version(release)).value for release in RELEASES} == {
        "F1", "F2", "M0", "M1", "M2", "M3", "M4", "M5",
    }  # fmt: skip
    assert all(len(recorded(release)) > 100 for release in RELEASES)


@pytest.mark.parametrize("release", RELEASES)
def test_every_answer_is_a_typed_reply_or_a_typed_error(release: str) -> None:
    """Every recorded answer is parsed into a reply or a HostError."""
    for entry in recorded(release):
        answer, completed = answer_to(entry)
        envelope, _ = find(entry["stdout"])
        success = envelope is not None and envelope.success and entry["exit_code"] == 0
        assert isinstance(answer, Reply) == success, (entry["scenario"], answer)
        if isinstance(answer, HostError):
            assert answer.failure.argv == completed.argv
            assert str(answer)
            assert answer.next_step


@pytest.mark.parametrize("release", RELEASES)
def test_no_field_of_a_lifecycle_reply_is_unknown(release: str) -> None:
    """Each field of each payload has a name in the SDK, on every release."""
    known = {"total_work_packages", "delivery_profile", "target_branch"}
    for entry in recorded(release):
        answer, _ = answer_to(entry)
        if isinstance(answer, Reply) and call_of(entry).verb in LIFECYCLE:
            assert answer.extra.keys() <= known, entry["scenario"]


@pytest.mark.parametrize("release", RELEASES)
def test_every_failure_is_of_the_type_that_it_means(release: str) -> None:
    """The SDK raises the class of each usage error, project gate, traceback and refusal."""
    for entry in recorded(release):
        answer, _completed = answer_to(entry)
        if not isinstance(answer, HostError):
            continue
        envelope, _ = find(entry["stdout"])
        if entry["exit_code"] == 2 and "--help" not in entry["argv"]:
            assert isinstance(answer, UsageRejected), (entry["scenario"], answer)
            assert answer.outcome == "not_applied"
        elif envelope is None and entry["exit_code"] in GATES:
            assert isinstance(answer, EnvironmentProblem), entry["scenario"]
        elif envelope is None and "Traceback" in entry["stderr"]:
            assert isinstance(answer, HostCrashed), entry["scenario"]
            broken = "broken" in entry["scenario"]
            assert isinstance(answer, HostCannotStart) == broken, entry["scenario"]
        elif envelope is not None and not envelope.success:
            assert isinstance(answer, HostRejected), entry["scenario"]


@pytest.mark.parametrize("release", RELEASES)
def test_no_host_contradicts_itself(release: str) -> None:
    """No recorded answer is among those that the SDK refuses as contradictory."""
    for entry in recorded(release):
        answer, _ = answer_to(entry)
        if find(entry["stdout"])[0] is not None:
            assert not isinstance(answer, ProtocolError), (entry["scenario"], answer)


@pytest.mark.parametrize("release", RELEASES)
def test_every_code_has_a_name(release: str) -> None:
    """The SDK knows every error code that a host has answered."""
    found = [find(entry["stdout"])[0] for entry in recorded(release)]
    codes = {e.error_code for e in found if e is not None and e.error_code}
    assert codes <= set(ErrorCode)
    assert "USAGE_ERROR" in codes or release < "2"


@pytest.mark.parametrize("release", RELEASES)
def test_every_envelope_is_recognised(release: str) -> None:
    """The SDK recognises the release's dialect by the contract that all its answers name."""
    versions = {
        e.contract_version for entry in recorded(release) if (e := find(entry["stdout"])[0])
    }
    assert len(versions) == 1
    contract = recognise(versions.pop(), Version(release))
    assert contract is not None
    assert contract.dialect is dialect_of(Version(release))


_MATRIX = re.compile(r"matrix (\w+) -> (\w+) (bare|full)")


@pytest.mark.parametrize("release", RELEASES)
def test_the_transitions_are_those_of_the_real_host(release: str) -> None:
    """The SDK's table allows exactly the moves that the host accepted, with the same needs."""
    dialect = dialect_of(Version(release))
    tried = 0
    for entry in recorded(release):
        found = _MATRIX.fullmatch(entry["scenario"])
        if found is None:
            continue
        tried += 1
        before, after, how = Lane(found[1]), Lane(found[2]), found[3]
        answer, _ = answer_to(entry)
        accepted = isinstance(answer, Reply)
        wanted = needs(before, after, dialect) if allowed(before, after, dialect) else None
        if wanted is None or Need.FORCE in wanted:
            assert not accepted, entry["scenario"]
        elif how == "full" or not wanted:
            assert accepted, (entry["scenario"], answer)
        else:
            assert not accepted, entry["scenario"]
    assert tried >= 6 * 6 * 2
