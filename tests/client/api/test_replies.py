"""Tests of `spec_kitty_client.api.replies`, as the answers of hosts are turned into them."""

import pickle
from typing import Any

import attrs
import pytest

from spec_kitty_client.api import commands, replies
from spec_kitty_client.api.commands import Command
from spec_kitty_client.api.envelope import conclude
from spec_kitty_client.api.replies import Mission, Reply, WorkPackage
from spec_kitty_client.contract.lanes import Lane, UnknownLane
from tests.client.answers import IDENTITY, PAYLOADS, WORKSPACE, success

WP: dict[str, Any] = {"mission": "pay", "wp": "WP01"}
COMMANDS: dict[str, Command[Any]] = {
    "contract-version": commands.ContractVersion(),
    "mission-state": commands.MissionState(mission="pay"),
    "list-ready": commands.ListReady(mission="pay"),
    "resolve-workspace": commands.ResolveWorkspace(**WP),
    "start-implementation": commands.StartImplementation(**WP),
    "start-review": commands.StartReview(**WP),
    "transition": commands.Transition(**WP, to="done"),
    "append-history": commands.AppendHistory(**WP, note="n"),
    "accept-mission": commands.AcceptMission(mission="pay"),
    "merge-mission": commands.MergeMission(mission="pay"),
}
EXPECTED: dict[str, Reply] = {
    "contract-version": replies.HostContract(
        api_version="1.5.0", min_supported_provider_version="0.1.0"
    ),
    "mission-state": Mission(
        **IDENTITY,
        summary={"planned": 1, "in_progress": 1},
        work_packages=(
            WorkPackage(wp_id="WP01", lane=Lane.IN_PROGRESS, last_actor="ada"),
            WorkPackage(wp_id="WP02", lane=Lane.PLANNED, dependencies=("WP01",)),
        ),
    ),
    "list-ready": replies.ReadyList(
        **IDENTITY,
        ready_work_packages=(
            replies.ReadyWorkPackage(wp_id="WP02", lane=Lane.PLANNED, dependencies_satisfied=True),
        ),
    ),
    "resolve-workspace": replies.Workspace(**IDENTITY, **WORKSPACE),
    "start-implementation": replies.ImplementationStarted(
        **IDENTITY,
        **WORKSPACE,
        from_lane=Lane.PLANNED,
        to_lane=Lane.IN_PROGRESS,
        policy_metadata_recorded=True,
        no_op=False,
    ),
    "start-review": replies.ReviewStarted(
        **IDENTITY,
        wp_id="WP01",
        from_lane=Lane.FOR_REVIEW,
        to_lane=Lane.IN_REVIEW,
        prompt_path=WORKSPACE["prompt_path"],
        policy_metadata_recorded=True,
        no_op=False,
    ),
    "transition": replies.Transitioned(
        **IDENTITY,
        wp_id="WP01",
        from_lane=Lane.IN_REVIEW,
        to_lane=Lane.APPROVED,
        policy_metadata_recorded=True,
    ),
    "append-history": replies.HistoryAppended(**IDENTITY, wp_id="WP01", history_entry_id="hist-1"),
    "accept-mission": replies.MissionAccepted(
        **IDENTITY,
        accepted=True,
        mode="auto",
        accepted_at="2026-11-21T00:22:09+00:00",
        accepted_wps=("WP01", "WP02"),
        approved_wps=("WP01",),
        done_wps=("WP02",),
        merge_pending_wps=("WP01",),
    ),
    "merge-mission": replies.MissionMerged(
        **IDENTITY, merged=True, target_branch="work", strategy="merge"
    ),
}

each_verb = pytest.mark.parametrize("verb", PAYLOADS)


def parse(verb: str, data: dict[str, Any]) -> Any:
    """Return the reply that the SDK makes of a payload."""
    return conclude(COMMANDS[verb], success(verb, data))[0]


@each_verb
def test_every_payload_becomes_its_reply(verb: str) -> None:
    """The SDK reads every field of contract 1.5.0 into the reply of its verb."""
    reply = parse(verb, PAYLOADS[verb])

    assert reply == EXPECTED[verb]
    assert type(reply) is type(EXPECTED[verb])
    assert type(reply) is COMMANDS[verb].reply_type


@each_verb
def test_unknown_fields_are_kept(verb: str) -> None:
    """A reply keeps unknown fields in `extra`, even one that is called extra."""
    reply = parse(verb, {**PAYLOADS[verb], "brand_new": [1], "extra": {"deep": None}})

    assert reply.extra == {"brand_new": [1], "extra": {"deep": None}}
    assert attrs.evolve(reply, extra={}) == EXPECTED[verb]


def test_unknown_fields_of_a_work_package_are_kept() -> None:
    """A work package keeps its own unknown fields in `extra`."""
    new = {"wp_id": "WP01", "lane": "done", "risk": "high"}
    reply = parse("mission-state", {**PAYLOADS["mission-state"], "work_packages": [new]})

    assert reply.extra == {}
    assert reply.work_packages[0].extra == {"risk": "high"}


def test_an_unknown_lane_is_read() -> None:
    """The SDK reads a work package in a lane that it does not know."""
    new = {"wp_id": "WP01", "lane": "parked"}
    reply = parse("mission-state", {**PAYLOADS["mission-state"], "work_packages": [new]})

    assert reply.lanes() == {"WP01": UnknownLane("parked")}
    assert type(reply.work_packages[0].lane) is UnknownLane


@pytest.mark.parametrize("number", [None, 34, "034"])
def test_a_mission_number_is_kept_as_the_host_has_it(number: int | str | None) -> None:
    """The SDK keeps a mission number that is null, a number or text."""
    assert parse("mission-state", {**PAYLOADS["mission-state"], "mission_number": number}) == (
        attrs.evolve(EXPECTED["mission-state"], mission_number=number)
    )


def test_a_mission_under_the_coord_topology_has_no_type() -> None:
    """The SDK keeps an empty mission_type, which hosts answer under coord."""
    assert parse("list-ready", {**PAYLOADS["list-ready"], "mission_type": ""}).mission_type == ""


def test_the_lanes_of_a_mission_by_work_package() -> None:
    """`lanes()` returns the lane of each work package."""
    assert parse("mission-state", PAYLOADS["mission-state"]).lanes() == {
        "WP01": Lane.IN_PROGRESS,
        "WP02": Lane.PLANNED,
    }


@pytest.mark.parametrize("field", ["lane_id", "lane_branch", "lane_base_ref"])
def test_a_workspace_may_have_no_lane(field: str) -> None:
    """A lane field of a workspace is None if the host leaves it out or sends null."""
    data = PAYLOADS["resolve-workspace"]
    without = {k: v for k, v in data.items() if k != field}

    assert getattr(parse("resolve-workspace", without), field) is None
    assert getattr(parse("resolve-workspace", {**data, field: None}), field) is None


@each_verb
def test_a_reply_is_a_value_that_pickles(verb: str) -> None:
    """A reply cannot be changed, and pickles."""
    reply = parse(verb, {**PAYLOADS[verb], "brand_new": 1})

    assert pickle.loads(pickle.dumps(reply)) == reply  # noqa: S301
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        reply.extra = {}


@pytest.mark.parametrize(
    ("summary", "packages", "problem"),
    [
        ({"planned": 1, "in_review": 0}, ["WP01"], None),
        ({"planned": 0, "in_review": 0}, ["WP01"], "no events"),
        ({"planned": 0, "for_review": 0}, ["WP01"], None),  # up to 3.1.0 that is a fresh mission
        ({}, [], "no work packages"),
    ],
)
def test_a_success_that_cannot_be_believed_says_why(
    summary: dict[str, int], packages: list[str], problem: str | None
) -> None:
    """`problem` says why a success without events or work packages is not reliable."""
    work = tuple(WorkPackage(wp_id=wp, lane=Lane.PLANNED) for wp in packages)
    mission = Mission(mission_slug="m", summary=summary, work_packages=work)
    assert (problem is None) == (mission.problem is None)
    assert (problem or "") in (mission.problem or "")


@pytest.mark.parametrize("verb", ["accept-mission", "merge-mission"])
def test_what_was_not_compared_with_the_remote_is_told(verb: str) -> None:
    """A reply has the warnings of the origin check of 4.0.0rc6 and later."""
    warned = parse(verb, {**PAYLOADS[verb], "origin_warnings": ["origin was not checked"]})

    assert warned.origin_warnings == ("origin was not checked",)
    assert warned.extra == {}
    assert parse(verb, PAYLOADS[verb]).origin_warnings == ()
