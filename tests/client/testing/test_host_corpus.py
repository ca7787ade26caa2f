"""Comparison of the simulated host with recorded answers of real hosts (tests/record)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spec_kitty_client import Completed
from spec_kitty_client.api.spelling import names_of
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.testing.comparable import comparable
from spec_kitty_client.testing.host import NotSimulated, SimulatedHost
from tests.client.api.test_corpus import RELEASES, recorded
from tests.client.testing.recorded_scenarios import InMemory, play, play_with_git
from tests.record import scenarios, user_scenarios

_ROOT = "/record/repo"  # the recorder's path of the primary checkout
_DESIGN = {name for verb in tuple(VERBS)[10:] for name in names_of(verb)}

_TO_3110 = ("1.0.3", "2.1.3", "3.0.3", "3.1.0", "3.1.10")
_WITH_HISTORY_COMMITS = ("3.2.1", "3.2.2", "3.2.5")
_FROM_322 = ("3.2.2", "3.2.5", "3.2.6.2", "3.2.7", "4.0.0rc7")
_FROM_326 = ("3.2.6.2", "3.2.7", "4.0.0rc7")
_PRE = ("4.0.0rc7",)

Differences = dict[str, tuple[tuple[str, ...], set[str]]]
"""Reasons for intended differences, each with its releases and scenarios."""

BOTH: Differences = {
    "the simulated host runs no hooks of git": (
        _WITH_HISTORY_COMMITS,
        {"append-history with a failing hook"},
    ),
    "the pre-release accepts a mission by rules of its own": (
        _PRE,
        {"accept incomplete", "merge uncommitted acceptance"},
    ),
}
IN_MEMORY: Differences = BOTH | {
    "to these hosts an empty name is the folder of all missions": (
        _TO_3110,
        {"state by empty mission"},
    ),
    "without git started work counts as committed": (
        _FROM_322,
        {"for_review without a commit"},
    ),
    "without git nothing is uncommitted": (
        (*_WITH_HISTORY_COMMITS, *_PRE),
        {"merge uncommitted acceptance"},
    ),
    "uninitialized is no lane of a work package": (
        _FROM_326,
        {
            "transition to 'uninitialized'",
            "transition to 'uninitialized' forced",
            "transition to 'doing' forced",  # which comes after it
        },
    ),
    "the pre-release answers with more fields": (
        _PRE,
        {"contract-version", "contract-version provider"},
    ),
}
WITH_GIT: Differences = BOTH | {
    "the pre-release refuses a merge with more fields": (
        _PRE,
        {
            "merge dirty worktree",
            "merge untracked file in a worktree",
            "merge dirty checkout",
            "merge push to a bad remote",
        },
    ),
}
LEFT_OUT = {
    "a damaged project": (
        "index.lock: ",
        "failing hook: ",
        "target checked out elsewhere: ",
        "detached: ",
        "mission on another branch: ",
        "no meta.json: ",
        "corrupt meta.json: ",
        "corrupt prompt: ",
        "no prompt: ",
        "cut event log: ",
        "no event log: ",
        "schema too old: ",
        "schema too new: ",
        "schema no number: ",
        "schema out of range: ",
        "metadata corrupt: ",
        "protected branch: ",
    ),
    "the coord topology is not simulated": ("coord: ",),
    "a mission whose tasks are not finalised": ("start before tasks",),
    "missions as users have them are not played yet": user_scenarios.PREFIXES,
    "a host that does not start": ("does not start",),
    "options of the pre-release": (
        "contract-version capability artifact-read",
        "contract-version capability teleport",
        "accept origin-check off",
        "accept unknown origin-check",
    ),
}
"""Prefixes of scenarios that are not played; those of design verbs are found by verb."""


def as_completed(answer: Any) -> Completed:
    return Completed(
        argv=("spec-kitty",),
        exit_code=answer.exit_code,
        stdout=answer.stdout.encode(),
        stderr=answer.stderr.encode(),
        time_limit=60,
    )


def entry_as_completed(entry: dict[str, Any]) -> Completed:
    stdout, stderr = entry["stdout"].encode(), entry["stderr"].encode()
    code = entry["exit_code"]
    return Completed(argv=(), exit_code=code, stdout=stdout, stderr=stderr, time_limit=60)


def differing(release: str, played: dict[str, Any], root: str) -> dict[str, object]:
    """Return the scenarios that were answered differently, with both answers."""
    real = {entry["scenario"]: entry_as_completed(entry) for entry in recorded(release)}
    pairs = {
        name: (comparable(as_completed(answer), root), comparable(real[name], _ROOT))
        for name, answer in played.items()
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def on_purpose(release: str, differences: Differences) -> set[str]:
    found = (names for releases, names in differences.values() if release in releases)
    return set().union(*found)


@pytest.mark.parametrize("release", RELEASES)
def test_the_host_in_memory_answers_as_the_real_one(release: str, tmp_path: Path) -> None:
    """The host in memory gives the recorded answers, except for the listed differences."""
    found = differing(release, play(release, tmp_path), "/simulated")
    listed = on_purpose(release, IN_MEMORY)
    assert {name: pair for name, pair in found.items() if name not in listed} == {}
    assert listed <= found.keys(), "no longer different"


@pytest.mark.parametrize("release", RELEASES)
def test_the_host_with_git_answers_as_the_real_one(release: str, tmp_path: Path) -> None:
    """The host with git gives the recorded answers, except for the listed differences."""
    found = differing(release, play_with_git(release, tmp_path), str(tmp_path / "repo"))
    listed = on_purpose(release, WITH_GIT)
    assert {name: pair for name, pair in found.items() if name not in listed} == {}
    assert listed <= found.keys(), "no longer different"


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_is_left_out_in_silence(release: str, tmp_path: Path) -> None:
    """Every recorded scenario is played, is of a design verb, or is listed with the reason."""
    played = {*play(release, tmp_path), *scenarios._merges(InMemory(release, tmp_path))}
    rest = {entry["scenario"] for entry in recorded(release)} - played
    rest -= {entry["scenario"] for entry in of_design(release)}
    known = tuple(start for starts in LEFT_OUT.values() for start in starts)
    assert {name for name in rest if not name.startswith(known)} == set()


def test_the_list_of_what_is_left_out_is_not_too_long() -> None:
    """Every prefix in `LEFT_OUT` is that of a recorded scenario."""
    names = {entry["scenario"] for release in RELEASES for entry in recorded(release)}
    for starts in LEFT_OUT.values():
        for start in starts:
            assert any(name.startswith(start) for name in names), start


def of_design(release: str) -> Iterator[dict[str, Any]]:
    for entry in recorded(release):
        if entry["argv"][1:2] and entry["argv"][1] in _DESIGN:
            yield entry


@pytest.mark.parametrize("release", _FROM_326)
def test_what_is_not_simulated_says_so(release: str) -> None:
    """A design verb that the release has raises NotSimulated, and gets no answer."""
    host = SimulatedHost(release=release)
    asked = 0
    for entry in of_design(release):
        if "Missing option" not in entry["stdout"] and "No such" not in entry["stdout"]:
            with pytest.raises(NotSimulated, match=entry["argv"][1]):
                host.run(entry["argv"], time_limit=60)
            asked += 1
    assert asked > 10
    assert host.calls == []


def test_recordings_are_compared_by_everything_that_is_not_chance() -> None:
    """`comparable` differs by code, field, value or exit code, and not by time or id."""
    release = "3.2.7"
    entry = next(e for e in recorded(release) if e["scenario"] == "start")
    envelope = json.loads(entry["stdout"])

    def answer_with(**changed: Any) -> dict[str, Any]:
        data = envelope["data"] | changed.pop("data", {})
        text = json.dumps(envelope | {"data": data} | changed)
        return comparable(entry_as_completed(entry | {"stdout": text}), _ROOT)

    same = answer_with()
    assert answer_with(timestamp="2027-01-01T00:00:00+00:00", correlation_id="corr-1") == same
    for other in (
        answer_with(success=False, error_code="WP_NOT_FOUND"),
        answer_with(command="orchestrator-api.start-review"),
        answer_with(contract_version="1.4.0"),
        answer_with(data={"no_op": True}),
        answer_with(data={"to_lane": "claimed"}),
        answer_with(data={"more": 1}),
    ):
        assert other != same
    assert comparable(entry_as_completed(entry | {"exit_code": 1}), _ROOT) != same
