"""Tests of `spec_kitty_client.mission`; the verbs of its handles are tested in `workflow`."""

import pickle
from collections.abc import Callable

import pytest

from spec_kitty_client import (
    AsyncClient,
    Client,
    InvalidCall,
    Lane,
    Mission,
    NotFound,
    Review,
    WaitTimeout,
)
from spec_kitty_client.testing import AsyncSimulatedHost, PackagePlan, SimulatedHost
from tests.client.answers import POLICY


@pytest.fixture
def host() -> SimulatedHost:
    return SimulatedHost({"WP01": PackagePlan(), "WP02": PackagePlan(needs=("WP01",))})


@pytest.fixture
def client(host: SimulatedHost) -> Client:
    return Client(transport=host, actor="ada", policy=POLICY)


def test_a_handle_is_made_without_a_call(client: Client, host: SimulatedHost) -> None:
    """Making a handle calls no host, even for a mission that does not exist."""
    wp = client.mission("nothing-like-it").work_package("WP09")

    assert (wp.mission.name, wp.wp_id) == ("nothing-like-it", "WP09")
    assert repr(wp) == "WorkPackageHandle('nothing-like-it', 'WP09')"
    assert repr(wp.mission) == "MissionHandle('nothing-like-it')"
    assert host.calls == []


def test_a_mission_is_iterated_in_one_read(client: Client, host: SimulatedHost) -> None:
    """Iterating over a mission takes one call, and keeps the host's order."""
    mission = client.mission(host.mission.slug)

    assert [wp.wp_id for wp in mission] == ["WP01", "WP02"]
    assert len(host.calls) == 1


def test_a_handle_is_made_of_what_a_read_told(client: Client, host: SimulatedHost) -> None:
    """`work_package` takes a ready work package, or one of the state, instead of an id."""
    mission = client.mission(host.mission.slug)
    (ready,) = mission.ready()

    assert mission.work_package(ready).wp_id == "WP01"
    assert mission.work_package(mission.state().work_packages[1]).lane() == Lane.PLANNED


def test_the_lane_of_a_work_package_that_is_not_there(client: Client, host: SimulatedHost) -> None:
    """The SDK raises NotFound for an id that the mission does not have."""
    with pytest.raises(NotFound, match="no work package WP09"):
        client.mission(host.mission.slug).work_package("WP09").lane()


@pytest.mark.parametrize("given", ["ada", None, ("ada", "r1")])
def test_a_review_is_a_review(client: Client, host: SimulatedHost, given: object) -> None:
    """The SDK refuses anything but a Review, and says how to write one, without a call."""
    wp = client.mission(host.mission.slug).work_package("WP01")

    for verb in (wp.approve, wp.finish, wp.request_changes):
        with pytest.raises(InvalidCall, match=r"write Review\(reviewer, reference\)"):
            verb(given)  # type: ignore[arg-type]
    assert host.calls == []


@pytest.mark.parametrize("fields", [("", "r1"), ("ada", " "), (None, "r1"), ("ada", 1)])
def test_a_review_has_an_author_and_a_place(fields: tuple[str, str]) -> None:
    """`Review` refuses a reviewer or a reference that is not a non-empty string."""
    with pytest.raises(InvalidCall, match="must be a non-empty string"):
        Review(*fields)


def is_done(wp: str) -> Callable[[Mission], bool]:
    return lambda state: state.lanes()[wp] == Lane.DONE


def test_a_condition_that_holds_takes_one_read(client: Client, host: SimulatedHost) -> None:
    """`wait_until` makes one read when its condition already holds."""
    mission = client.mission(host.mission.slug)

    state = mission.wait_until(lambda s: s.lanes()["WP01"] == Lane.PLANNED)

    assert state.lanes()["WP02"] == Lane.PLANNED
    assert len(host.calls) == 1


def test_a_condition_is_waited_for(client: Client, host: SimulatedHost) -> None:
    """`wait_until` reads the state until its condition holds."""
    mission, seen = client.mission(host.mission.slug), []

    def condition(state: Mission) -> bool:
        seen.append(state.lanes()["WP01"])
        if len(seen) == 2:
            mission.work_package("WP01").claim()
        return state.lanes()["WP01"] == Lane.IN_PROGRESS

    mission.wait_until(condition, interval=0.001)

    assert seen == ["planned", "planned", "in_progress"]


def test_waiting_ends_in_time(client: Client, host: SimulatedHost) -> None:
    """WaitTimeout names the lanes of the last state, and keeps that state when pickled."""
    mission = client.mission(host.mission.slug)

    with pytest.raises(WaitTimeout, match="within 0 s: WP01 planned, WP02 planned") as e:
        mission.wait_until(is_done("WP01"), timeout=0)

    assert len(host.calls) == 1
    again = pickle.loads(pickle.dumps(e.value))  # noqa: S301 - our own
    assert again.state.lanes() == e.value.state.lanes()
    assert isinstance(again, TimeoutError)


@pytest.mark.anyio
async def test_async_handles(host: SimulatedHost) -> None:
    """The async client has the same handles, and can be used in `async with`."""
    transport = AsyncSimulatedHost(host)
    async with AsyncClient(transport=transport, actor="ada", policy=POLICY) as client:
        mission = client.mission(host.mission.slug)
        assert [wp.wp_id async for wp in mission] == ["WP01", "WP02"]
        (ready,) = await mission.ready()
        await mission.work_package(ready).claim()
        assert await mission.work_package("WP01").lane() == Lane.IN_PROGRESS
        with pytest.raises(WaitTimeout):
            await mission.wait_until(is_done("WP01"), timeout=0.01, interval=0.001)
