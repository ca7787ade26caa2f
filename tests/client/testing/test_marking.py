"""Tests of `spec_kitty_client.testing.host.marking`: ``agent tasks mark-status``."""

import json
from typing import Any

import pytest

from spec_kitty_client.testing import NotSimulated, PackagePlan, SimulatedHost
from spec_kitty_client.testing.host.marking import COMMAND
from spec_kitty_client.transports import Completed
from tests import missions

PLAN = {"WP01": PackagePlan(subtasks=["T001", "T002"]), "WP02": PackagePlan(subtasks=["T003"])}


def host(release: str) -> SimulatedHost:
    return SimulatedHost(PLAN, release=release)


def mark(
    of: SimulatedHost, *subtasks: str, status: str = "done", mission: str | None = None
) -> Completed:
    selector = "--feature" if of.release.says_feature else "--mission"
    named = ("--status", status, selector, mission or of.mission.slug, "--json")
    return of.run([*COMMAND, *subtasks, *named], time_limit=1)


def answers(done: Completed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("release", ["2.1.3", "3.0.3", "3.1.0", "3.1.10"])
def test_a_mark_is_told_in_lists(release: str) -> None:
    """Up to 3.1.10 the answer lists the ids, unknown ones included."""
    of = host(release)
    done = mark(of, "T001", "T999")
    assert done.exit_code == 0
    assert answers(done) == [
        {
            "result": "success",
            "updated": ["T001"],
            "not_found": ["T999"],
            "status": "done",
            "count": 1,
        }
    ]
    assert of.mission.packages["WP01"].subtasks == {"T001": True, "T002": False}


@pytest.mark.parametrize(
    ("release", "form"),
    [("3.2.1", "checkbox"), ("3.2.5", "checkbox"), ("3.2.7", "authored_roster")],
)
def test_a_mark_is_told_one_by_one(release: str, form: str) -> None:
    """From 3.2.0 on the answer has the outcome of each id."""
    of = host(release)
    (answer,) = answers(mark(of, "T003", "T001", "T999", "WP01"))
    assert [(r["id"], r["outcome"], r["format"]) for r in answer["results"]] == [
        ("T003", "updated", form),
        ("T001", "updated", form),
        ("T999", "not_found", None),
        ("WP01", "not_found", "wp_id"),
    ]
    assert answer["summary"] == {"updated": 2, "already_satisfied": 0, "not_found": 2}
    assert [(m.wp, m.subtasks) for m in of.mission.marks] == [
        ("WP01", ["T001"]),
        ("WP02", ["T003"]),
    ]


def test_only_4_0_says_that_it_was_done_before() -> None:
    """Only 4.0 reports that a subtask was done already; older hosts mark it again."""
    for release, outcome in (("3.2.7", "updated"), ("4.0.0rc7", "already_satisfied")):
        of = host(release)
        mark(of, "T001")
        (answer,) = answers(mark(of, "T001"))
        assert answer["results"][0]["outcome"] == outcome


@pytest.mark.parametrize(
    ("release", "lines"), [("2.1.3", 2), ("3.1.0", 2), ("3.1.10", 1), ("3.2.5", 1), ("3.2.7", 1)]
)
def test_nothing_to_mark_fails(release: str, lines: int) -> None:
    """If all ids are unknown, the exit code is 1 and nothing changes."""
    of = host(release)
    done = mark(of, "T998", "T999")
    assert done.exit_code == 1
    assert len(answers(done)) == lines
    assert of.mission.marks == []


@pytest.mark.parametrize(
    ("release", "exit_code", "where"),
    [
        ("2.1.3", 1, "stdout"),
        ("3.1.0", 1, "stdout"),
        ("3.1.10", 2, "stderr"),
        ("3.2.7", 2, "stderr"),
        ("4.0.0rc7", 1, "stdout"),
    ],
)
def test_a_mission_that_is_not_there(release: str, exit_code: int, where: str) -> None:
    """A missing mission is an error on stdout or stderr, as the release has it."""
    done = mark(host(release), "T001", mission="000-nowhere")
    assert done.exit_code == exit_code
    assert b"error" in getattr(done, where)
    assert not getattr(done, {"stdout": "stderr", "stderr": "stdout"}[where])


@pytest.mark.parametrize("release", ["2.1.3", "3.2.7"])
def test_a_status_is_one_of_two(release: str) -> None:
    """The status pending opens a subtask again, and an unknown status is refused."""
    of = host(release)
    mark(of, "T001")
    mark(of, "T001", status="pending")
    assert not of.mission.packages["WP01"].subtasks["T001"]
    assert mark(of, "T001", status="bogus").exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--status", "done", "--json"),
        ("T001", "--json"),
        ("T001", "--status", "done", "--json", "--nope=1"),
        ("T001", "--json", "--status"),
    ],
)
def test_misuse_is_told_in_words(words: tuple[str, ...]) -> None:
    """A usage error is text on stderr, with exit code 2."""
    done = host("3.2.7").run([*COMMAND, *words], time_limit=1)
    assert (done.exit_code, done.stdout) == (2, b"")
    assert b"Error:" in done.stderr


def test_a_mission_has_to_be_named() -> None:
    """From 3.0.0 on marking without a mission is refused."""
    words = [*COMMAND, "T001", "--status=done", "--json"]
    assert host("3.2.7").run(words, time_limit=1).exit_code == 1
    with pytest.raises(NotSimulated, match="looks for a mission"):
        host("2.1.3").run(words, time_limit=1)


@pytest.mark.parametrize("status", ["skipped", "not_applicable"])
def test_what_4_0_knows_more_is_not_simulated(status: str) -> None:
    """A status of 4.0 is refused on 3.2.7, and raises NotSimulated on 4.0.0rc7."""
    assert mark(host("3.2.7"), "T001", status=status).exit_code == 1
    with pytest.raises(NotSimulated, match=status):
        mark(host("4.0.0rc7"), "T001", status=status)


def test_words_for_people_are_not_simulated() -> None:
    """Marking without --json raises NotSimulated, because the answer is prose."""
    with pytest.raises(NotSimulated, match="--json"):
        host("3.2.7").run([*COMMAND, "T001", "--status=done"], time_limit=1)


@pytest.mark.parametrize(
    ("release", "says_complete", "passes"),
    [
        ("1.0.3", False, True),
        ("2.1.3", False, False),
        ("3.1.10", False, False),
        ("3.1.10", True, True),
        ("3.2.5", True, True),
        ("3.2.7", True, False),
    ],
)
def test_work_is_handed_in_when_its_subtasks_are_done(
    release: str, says_complete: bool, passes: bool
) -> None:
    """The host accepts work once its subtasks are done, or on some releases as the caller says."""
    of = host(release)
    word = "feature" if of.release.says_feature else "mission"
    common = (f"--{word}={of.mission.slug}", "--wp=WP01", "--actor=a1")
    policy = f"--policy={missions.POLICY}"
    of.run(["orchestrator-api", "start-implementation", *common, policy], time_limit=1)
    hand_in = ["orchestrator-api", "transition", *common, "--to=for_review", policy]
    more = ["--subtasks-complete"] if says_complete else []
    assert (of.run([*hand_in, *more], time_limit=1).exit_code == 0) is passes
    mark(of, "T001", "T002")
    if not passes:
        assert of.run(hand_in, time_limit=1).exit_code == 0
