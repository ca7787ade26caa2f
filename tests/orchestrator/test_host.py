"""Tests of `spec_kitty_orchestrator.host`."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest

from spec_kitty_client import (
    AppendHistory,
    AsyncClient,
    HostError,
    HostTimeout,
    Lane,
    StartImplementation,
    TransitionRejected,
)
from spec_kitty_client import Transition as Move
from spec_kitty_orchestrator.agents import script
from spec_kitty_orchestrator.host import Host
from spec_kitty_orchestrator.plan import default_policy

from .hosts import ACTOR, SLUG, FakeHost, Fault

T = TypeVar("T")
POLICY = default_policy(script.agent(("x",)))
CLAIM = StartImplementation(mission=SLUG, wp="WP01")
SUBMIT = Move(mission=SLUG, wp="WP01", to=Lane.FOR_REVIEW)


@pytest.fixture
def fake(repo: Path) -> FakeHost:
    """Return a host with one work package in progress."""
    host = FakeHost(repo)
    host.lanes["WP01"] = "in_progress"
    return host


def on(fake: FakeHost) -> Host:
    """Return the host as a run sees it."""
    return Host(AsyncClient(actor=ACTOR, policy=POLICY, transport=fake), SLUG)


def do(call: Callable[[], Awaitable[T]]) -> T:
    """Wait for a call."""

    async def main() -> T:
        return await call()

    return anyio.run(main)


def test_reads_say_where_everything_stands(fake: FakeHost) -> None:
    """State, what is ready and the workspace come as the SDK's own values."""
    host = on(fake)
    fake.lanes["WP01"] = "planned"
    assert do(host.state).lanes() == {"WP01": Lane.PLANNED}
    assert do(host.ready) == {"WP01"}
    assert do(lambda: host.lane("WP01")) == Lane.PLANNED
    assert do(lambda: host.workspace("WP01")).workspace_path == str(fake.worktree("WP01"))


def test_a_read_is_tried_three_times(fake: FakeHost) -> None:
    """A host that is slow twice is not given up; one that never answers is."""
    fake.faults["mission-state"] = ["before", "before"]
    assert do(on(fake).state).lanes() == {"WP01": Lane.IN_PROGRESS}
    fake.faults["mission-state"] = ["before"] * 3
    with pytest.raises(HostTimeout):
        do(on(fake).state)
    assert len(fake.sent("mission-state")) == 6


def test_a_refused_read_is_not_tried_again(fake: FakeHost) -> None:
    """An answer is an answer: what a retry cannot help is asked once."""
    fake.faults["mission-state"] = ["refused"]
    with pytest.raises(TransitionRejected):
        do(on(fake).state)
    assert len(fake.sent("mission-state")) == 1


@pytest.mark.parametrize(
    ("faults", "sent"), [([], 1), (["after"], 1), (["before"], 2), (["before", "after"], 2)]
)
def test_a_move_is_sent_as_often_as_needed(fake: FakeHost, faults: list[Fault], sent: int) -> None:
    """A lost answer is looked up; only a move that did not happen is sent again, once."""
    fake.faults["transition"] = faults
    if faults == ["before", "after"]:
        with pytest.raises(HostError):
            do(lambda: on(fake).move(Lane.IN_PROGRESS, SUBMIT))
    else:
        assert do(lambda: on(fake).move(Lane.IN_PROGRESS, SUBMIT)) == Lane.FOR_REVIEW
    assert fake.moves("WP01") == ["for_review"] * sent
    assert fake.lanes["WP01"] == "for_review"


def test_a_refused_move_is_not_sent_again(fake: FakeHost) -> None:
    """A no is final when the work package is where it was."""
    fake.faults["transition"] = ["refused"]
    with pytest.raises(TransitionRejected):
        do(lambda: on(fake).move(Lane.IN_PROGRESS, SUBMIT))
    assert fake.moves("WP01") == ["for_review"]


def test_a_refused_move_of_what_has_moved_is_an_answer(fake: FakeHost) -> None:
    """When it is not where it was, that is where it is now."""
    fake.lanes["WP01"] = "blocked"
    assert do(lambda: on(fake).move(Lane.IN_PROGRESS, SUBMIT)) == Lane.BLOCKED


def test_a_refused_claim_is_not_sent_again(fake: FakeHost) -> None:
    """Who has no right to a work package does not ask twice."""
    fake.owners["WP01"] = "bob"
    with pytest.raises(HostError):
        do(lambda: on(fake).insist(CLAIM))
    assert len(fake.sent("start-implementation")) == 1


def test_mutations_take_turns(fake: FakeHost) -> None:
    """Two mutations never run at the same time; a read does not wait for them."""
    note = AppendHistory(mission=SLUG, wp="WP01", note="n")
    under_way: list[str] = []
    most: list[int] = []
    during: list[bool] = []
    plain_run = fake.run

    async def slow(args: tuple[str, ...], *, time_limit: float) -> object:
        if args[1] == "append-history":
            under_way.append(args[1])
            most.append(len(under_way))
            await anyio.sleep(0.02)
            under_way.pop()
        return await plain_run(args, time_limit=time_limit)

    fake.run = slow  # type: ignore[method-assign, assignment]
    fake._append_history = lambda **_: {"wp_id": "WP01", "history_entry_id": "h"}  # type: ignore[attr-defined]
    host = on(fake)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(host.once, note)
            while not under_way:
                await anyio.lowlevel.checkpoint()
            await host.state()
            during.append(bool(under_way))

    do(main)
    assert during == [True]
    assert most == [1, 1, 1, 1]


def test_a_mutation_is_not_cut_short(fake: FakeHost) -> None:
    """A cancelled run waits for the call that is under way, and has its effect."""
    host = on(fake)

    async def main() -> bool:
        with anyio.CancelScope() as scope:
            fake.on_call = lambda verb, _options: scope.cancel() if verb == "transition" else None
            await host.move(Lane.IN_PROGRESS, SUBMIT)
            await anyio.sleep(10)
        return scope.cancelled_caught

    assert do(main)
    assert fake.lanes["WP01"] == "for_review"
