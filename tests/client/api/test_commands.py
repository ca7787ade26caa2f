"""Tests of `spec_kitty_client.api.commands`."""

import json
from typing import Any

import attrs
import pytest

from spec_kitty_client.api import commands
from spec_kitty_client.api.commands import (
    AcceptMission,
    AppendHistory,
    Command,
    ContractVersion,
    ListReady,
    MergeMission,
    MergeStrategy,
    MissionState,
    ResolveWorkspace,
    StartImplementation,
    StartReview,
    Transition,
)
from spec_kitty_client.api.reviews import Evidence, ReviewResult, ReviewVerdict
from spec_kitty_client.contract.lanes import POLICY_LANES, Lane, UnknownLane
from spec_kitty_client.errors import InvalidCall
from tests.client.answers import PAYLOADS, POLICY

WP = {"mission": "pay", "wp": "WP01"}
MINIMAL: list[Command[Any]] = [
    ContractVersion(),
    MissionState(mission="pay"),
    ListReady(mission="pay"),
    ResolveWorkspace(**WP),
    StartImplementation(**WP),
    StartReview(**WP),
    Transition(**WP, to="done"),
    AppendHistory(**WP, note="n"),
    AcceptMission(mission="pay"),
    MergeMission(mission="pay"),
]
APPROVED = ReviewResult(reviewer="rev", verdict=ReviewVerdict.APPROVED, reference="r2")

each = pytest.mark.parametrize("command", MINIMAL, ids=lambda c: c.verb)


def test_there_is_a_command_for_every_verb() -> None:
    """The ten verbs of the lifecycle can be called, each by one class."""
    assert {c.verb for c in MINIMAL} == set(PAYLOADS)
    assert {type(c).__name__ for c in MINIMAL} < set(commands.__all__)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (ContractVersion(provider_version="0.1.0"), ["--provider-version=0.1.0"]),
        (MissionState(mission="pay"), ["--mission=pay"]),
        (ListReady(mission="pay"), ["--mission=pay"]),
        (ResolveWorkspace(**WP), ["--mission=pay", "--wp=WP01"]),
        (
            StartImplementation(**WP, actor="ada", policy=POLICY),
            ["--mission=pay", "--wp=WP01", "--actor=ada", f"--policy={POLICY.to_json()}"],
        ),
        (
            StartReview(**WP, actor="rev", policy=POLICY, review_ref="r1"),
            [
                "--mission=pay",
                "--wp=WP01",
                "--actor=rev",
                f"--policy={POLICY.to_json()}",
                "--review-ref=r1",
            ],
        ),
        (
            Transition(**WP, to="blocked", actor="ada", note="no disk", force=True),
            [
                "--mission=pay",
                "--wp=WP01",
                "--to=blocked",
                "--actor=ada",
                "--note=no disk",
                "--force",
            ],
        ),
        (
            AppendHistory(**WP, note="fine", actor="ada"),
            ["--mission=pay", "--wp=WP01", "--note=fine", "--actor=ada"],
        ),
        (AcceptMission(mission="pay", actor="ada"), ["--mission=pay", "--actor=ada"]),
        (
            MergeMission(mission="pay", target="work", strategy="squash", push=True),
            ["--mission=pay", "--target=work", "--strategy=squash", "--push"],
        ),
    ],
    ids=lambda value: getattr(value, "verb", ""),
)
def test_options_are_spelled_as_the_contract_has_them(
    command: Command[Any], options: list[str]
) -> None:
    """The SDK spells every option of every verb with its name in the contract."""
    assert list(command.spelled()) == options


@each
def test_what_is_left_out_is_not_sent(command: Command[Any]) -> None:
    """A command sends neither an option nor a flag that was not given."""
    sent = {option.partition("=")[0] for option in command.spelled()}

    assert sent <= {"--mission", "--wp", "--to", "--note", "--strategy"}


@each
def test_a_command_is_a_value(command: Command[Any]) -> None:
    """Commands with equal fields are equal, and a command cannot be changed."""
    assert attrs.evolve(command) == command
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        command.actor = "mallory"


def test_the_commands_that_change_something() -> None:
    """Every mutation is marked as one, because the client may retry only reads."""
    reads = {c.verb for c in MINIMAL if not c.mutates}

    assert reads == {"contract-version", "mission-state", "list-ready", "resolve-workspace"}


def test_a_merge_may_take_longer() -> None:
    """No time limit is below what slow hosts need: 60 s, and 300 s for a merge."""
    limits = {c.verb: c.time_limit for c in MINIMAL}

    assert limits.pop("merge-mission") >= 300
    assert min(limits.values()) >= 60


def test_only_resolve_workspace_is_younger_than_the_api() -> None:
    """All verbs have `since` 1.0.0, except resolve-workspace."""
    assert {c.verb: c.since for c in MINIMAL if c.since != "1.0.0"} == {
        "resolve-workspace": "3.2.4"
    }


def test_the_options_that_are_younger_than_their_verb() -> None:
    """A command requires the first release of each newer option that it is given."""
    full = Transition(
        **WP,
        to="approved",
        actor="ada",
        note="n",
        review_ref="r2",
        review_result=APPROVED,
        evidence=Evidence.of(APPROVED),
        subtasks_complete=True,
        implementation_evidence_present=True,
        force=True,
    )

    assert dict(full.requirements()) == {
        "transition": "1.0.0",
        "--review-result-json of transition": "3.2.6",
        "--evidence-json of transition": "3.1.0",
        "--subtasks-complete of transition": "3.1.0",
        "--implementation-evidence-present of transition": "3.1.0",
        "lane approved": "2.1.0",
    }
    lanes = {"lane planned", "lane for_review", "lane done"}
    for command in MINIMAL:
        assert {name for name, _ in command.requirements()} - lanes == {command.verb}


def test_the_two_flags_of_a_hand_in_are_spelled_alone() -> None:
    """A true flag is sent without a value, a false one is left out."""
    spelled = Transition(
        **WP, to="for_review", subtasks_complete=True, implementation_evidence_present=True
    ).spelled()

    assert spelled[-2:] == ("--subtasks-complete", "--implementation-evidence-present")


@pytest.mark.parametrize("lane", Lane)
def test_a_transition_needs_a_policy_where_the_host_wants_one(lane: Lane) -> None:
    """A transition needs a policy exactly if its target is in `POLICY_LANES`."""
    assert Transition(**WP, to=lane).needs_policy is (lane in POLICY_LANES)


def test_the_two_starts_always_need_a_policy() -> None:
    """Of the commands here only start-implementation and start-review need a policy."""
    assert [c.verb for c in MINIMAL if c.needs_policy] == ["start-implementation", "start-review"]


@pytest.mark.parametrize("name", ["", "  ", "..", "../pay", "a/b", "a\\b", "kitty-specs/pay"])
@pytest.mark.parametrize("field", ["mission", "wp"])
def test_what_is_no_name_is_refused(field: str, name: str) -> None:
    """An empty name or a path, on which hosts crash, is not sent."""
    with pytest.raises(InvalidCall, match="Use a slug or an id") as e:
        ResolveWorkspace(**{**WP, field: name})

    assert field in str(e.value)
    assert repr(name) in str(e.value)


@pytest.mark.parametrize("lane", ["finished", "genesis", "", UnknownLane("parked")])
def test_an_unknown_lane_is_no_target(lane: str) -> None:
    """An unknown target lane, on which hosts crash, is not sent."""
    with pytest.raises(InvalidCall, match="planned, claimed, in_progress") as e:
        Transition(**WP, to=lane)

    assert repr(str(lane)) in str(e.value)


def test_the_old_name_of_a_lane_is_sent_as_the_new_one() -> None:
    """The lane doing is sent as in_progress to every host."""
    assert "--to=in_progress" in Transition(**WP, to="doing").spelled()


@pytest.mark.parametrize("strategy", MergeStrategy)
def test_a_strategy_may_be_given_as_a_word(strategy: MergeStrategy) -> None:
    """A strategy may be given as text or as an enum member."""
    by_word = MergeMission(mission="pay", strategy=str(strategy))

    assert by_word == MergeMission(mission="pay", strategy=strategy)
    assert f"--strategy={strategy}" in by_word.spelled()


def test_an_unknown_strategy_is_refused() -> None:
    """The SDK refuses an unknown strategy, and lists the known ones."""
    with pytest.raises(InvalidCall, match="merge, squash, rebase"):
        MergeMission(mission="pay", strategy="octopus")


def test_an_approval_is_spelled_in_one_call() -> None:
    """Review result and evidence are each one argument of JSON text."""
    command = Transition(
        **WP,
        to=Lane.APPROVED,
        review_ref="r2",
        review_result=APPROVED,
        evidence=Evidence.of(APPROVED),
    )
    sent = dict(option.split("=", 1) for option in command.spelled())

    assert sent["--review-ref"] == "r2"
    assert json.loads(sent["--review-result-json"])["verdict"] == "approved"
    assert json.loads(sent["--evidence-json"])["review"]["reviewer"] == "rev"
