"""The simulated host against what real ones were recorded to answer (tests/record)."""

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
from tests.client.testing.worlds import InMemory, play, play_with_git
from tests.record import scenarios, user_scenarios

_ROOT = "/record/repo"  # what the recorder writes for the primary checkout
_DESIGN = {name for verb in tuple(VERBS)[10:] for name in names_of(verb)}

_TO_3110 = ("1.0.3", "2.1.3", "3.0.3", "3.1.0", "3.1.10")
_WITH_HISTORY_COMMITS = ("3.2.1", "3.2.2", "3.2.5")
_FROM_322 = ("3.2.2", "3.2.5", "3.2.6.2", "3.2.7", "4.0.0rc7")
_FROM_326 = ("3.2.6.2", "3.2.7", "4.0.0rc7")
_PRE = ("4.0.0rc7",)

Differences = dict[str, tuple[tuple[str, ...], set[str]]]
"""Why answers differ on purpose: on which releases, and in which scenarios."""

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
    "without git what was started counts as committed": (
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
    "the pre-release tells more": (
        _PRE,
        {"contract-version", "contract-version provider"},
    ),
}
WITH_GIT: Differences = BOTH | {
    "the pre-release tells more about a merge that it refuses": (
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
"""Scenarios, or how their names begin, that cannot be played; those of design are known by verb."""


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
    """Every scenario that needs no git has the recorded answer, but for those that are listed."""
    found = differing(release, play(release, tmp_path), "/simulated")
    listed = on_purpose(release, IN_MEMORY)
    assert {name: pair for name, pair in found.items() if name not in listed} == {}
    assert listed <= found.keys(), "no longer different"


@pytest.mark.parametrize("release", RELEASES)
def test_the_host_with_git_answers_as_the_real_one(release: str, tmp_path: Path) -> None:
    """Claims, whole missions and merges of all kinds have the recorded answers on real git."""
    found = differing(release, play_with_git(release, tmp_path), str(tmp_path / "repo"))
    listed = on_purpose(release, WITH_GIT)
    assert {name: pair for name, pair in found.items() if name not in listed} == {}
    assert listed <= found.keys(), "no longer different"


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_is_left_out_in_silence(release: str, tmp_path: Path) -> None:
    """Every recording is played, is of a design verb, or is listed with the reason."""
    played = {*play(release, tmp_path), *scenarios._merges(InMemory(release, tmp_path))}
    rest = {entry["scenario"] for entry in recorded(release)} - played
    rest -= {entry["scenario"] for entry in of_design(release)}
    known = tuple(start for starts in LEFT_OUT.values() for start in starts)
    assert {name for name in rest if not name.startswith(known)} == set()


def test_the_list_of_what_is_left_out_is_not_too_long() -> None:
    """Each of its entries is there because of a recording."""
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
    """A verb that this host has and the simulated one has not raises, and never answers."""
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
    """A changed code, field, value or exit code is a difference; another time or id is none."""
    release = "3.2.7"
    entry = next(e for e in recorded(release) if e["scenario"] == "start")
    envelope = json.loads(entry["stdout"])

    def told(**changed: Any) -> dict[str, Any]:
        data = envelope["data"] | changed.pop("data", {})
        text = json.dumps(envelope | {"data": data} | changed)
        return comparable(entry_as_completed(entry | {"stdout": text}), _ROOT)

    same = told()
    assert told(timestamp="2027-01-01T00:00:00+00:00", correlation_id="corr-1") == same
    for other in (
        told(success=False, error_code="WP_NOT_FOUND"),
        told(command="orchestrator-api.start-review"),
        told(contract_version="1.4.0"),
        told(data={"no_op": True}),
        told(data={"to_lane": "claimed"}),
        told(data={"more": 1}),
    ):
        assert other != same
    assert comparable(entry_as_completed(entry | {"exit_code": 1}), _ROOT) != same
