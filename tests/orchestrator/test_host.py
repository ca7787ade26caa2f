"""Tests of `spec_kitty_orchestrator.host`."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest

from spec_kitty_client import (
    AsyncClient,
    Conflict,
    HostTimeout,
    Lane,
    Retry,
    Review,
    SpecKittyError,
    TransitionRejected,
)
from spec_kitty_orchestrator.agents import script
from spec_kitty_orchestrator.host import Host
from spec_kitty_orchestrator.plan import default_policy

from .hosts import ACTOR, SLUG, FakeHost, Fault
from .oldhosts import OldHost

T = TypeVar("T")
POLICY = default_policy(script.agent(("x",)))
REVIEW = Review(reviewer="bob", reference="log")


@pytest.fixture
def fake(repo: Path) -> FakeHost:
    """Return a host with one work package in progress."""
    host = FakeHost(repo)
    host.lanes["WP01"] = "in_progress"
    return host


def on(fake: FakeHost) -> Host:
    """Return the host as a run sees it."""
    return Host(AsyncClient(actor=ACTOR, policy=POLICY, transport=fake, retry=Retry()), SLUG)


def do(call: Callable[[], Awaitable[T]]) -> T:
    """Wait for a call."""

    async def main() -> T:
        return await call()

    return anyio.run(main)


def test_reads_say_where_everything_stands(fake: FakeHost) -> None:
    """State and the workspace come as the SDK's own values."""
    host = on(fake)
    fake.lanes["WP01"] = "planned"
    assert do(host.state).lanes() == {"WP01": Lane.PLANNED}
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


@pytest.mark.parametrize(("faults", "sent"), [([], 1), (["after"], 1), (["before"], 2)])
def test_a_move_is_sent_as_often_as_needed(fake: FakeHost, faults: list[Fault], sent: int) -> None:
    """A lost answer is looked up; only a move that did not happen is sent again, once."""
    fake.faults["transition"] = faults
    assert do(lambda: on(fake).submit("WP01")) == Lane.FOR_REVIEW
    assert fake.moves("WP01") == ["for_review"] * sent
    assert fake.lanes["WP01"] == "for_review"


def test_a_move_that_is_lost_twice_is_a_problem(fake: FakeHost) -> None:
    """A host that answers neither time, and has not moved it, is not asked a third time."""
    fake.faults["transition"] = ["before", "before"]
    with pytest.raises(HostTimeout):
        do(lambda: on(fake).submit("WP01"))
    assert fake.moves("WP01") == ["for_review"] * 2


@pytest.mark.parametrize("to", ["done", "in_progress", "blocked", "for_review"])
def test_a_move_whose_answer_is_lost_twice_is_an_answer(fake: FakeHost, to: str) -> None:
    """When the state says that it has moved, that is the answer, however many got lost."""
    fake.lanes["WP01"] = "in_progress" if to == "for_review" else "in_review"
    fake.faults["transition"] = ["before", "after"]
    host, now = on(fake), Lane.IN_REVIEW
    moves = {
        "for_review": lambda: host.submit("WP01"),
        "done": lambda: host.finish("WP01", now, REVIEW),
        "in_progress": lambda: host.request_changes("WP01", now, REVIEW),
        "blocked": lambda: host.block("WP01", now, "why", REVIEW),
    }
    assert do(moves[to]) == to
    assert fake.moves("WP01") == [to] * 2


def test_a_refused_move_is_not_sent_again(fake: FakeHost) -> None:
    """A no is final when the work package is where it was."""
    fake.faults["transition"] = ["refused"]
    with pytest.raises(TransitionRejected):
        do(lambda: on(fake).submit("WP01"))
    assert fake.moves("WP01") == ["for_review"]


def test_a_refused_verdict_is_not_sent_again(fake: FakeHost) -> None:
    """A no to the end of a review is final as well."""
    fake.lanes["WP01"] = "in_review"
    fake.faults["transition"] = ["refused"]
    with pytest.raises(TransitionRejected):
        do(lambda: on(fake).finish("WP01", Lane.IN_REVIEW, REVIEW))
    assert fake.moves("WP01") == ["done"]


def test_a_refused_verdict_about_what_has_moved_is_an_answer(fake: FakeHost) -> None:
    """When it is not where it was, that is where it is now."""
    fake.lanes["WP01"] = "blocked"
    assert do(lambda: on(fake).finish("WP01", Lane.IN_REVIEW, REVIEW)) == Lane.BLOCKED


def test_a_refused_submit_of_what_has_moved_is_an_answer(fake: FakeHost) -> None:
    """When it is not in progress any more, that is where it is now."""
    fake.lanes["WP01"] = "blocked"
    assert do(lambda: on(fake).submit("WP01")) == Lane.BLOCKED


def test_a_work_package_that_is_gone_is_told(fake: FakeHost) -> None:
    """One that the mission no longer has is named, whatever the host said about the move."""
    fake.lanes["WP01"] = "in_review"

    def removes(verb: str, _options: dict[str, str]) -> Fault | None:
        if verb == "transition":
            del fake.lanes["WP01"]
            fake.lanes["WP02"], fake.packages["WP02"] = "planned", []
            return "refused"
        return None

    fake.on_call = removes
    with pytest.raises(SpecKittyError, match="WP01 is no longer in mission"):
        do(lambda: on(fake).finish("WP01", Lane.IN_REVIEW, REVIEW))


def test_a_refused_claim_is_not_sent_again(fake: FakeHost) -> None:
    """Who has no right to a work package does not ask twice."""
    fake.owners["WP01"] = "bob"
    with pytest.raises(Conflict):
        do(lambda: on(fake).claim("WP01"))
    assert len(fake.sent("start-implementation")) == 1


def test_mutations_take_turns(repo: Path) -> None:
    """Two mutations never run at the same time; a read does not wait for them."""
    names = [f"WP0{i}" for i in range(1, 5)]
    fake = FakeHost(repo, {name: [] for name in names})
    fake.lanes = dict.fromkeys(names, "in_progress")
    under_way: list[str] = []
    most: list[int] = []
    during: list[bool] = []
    plain_run = fake.run

    async def slow(args: tuple[str, ...], *, time_limit: float) -> object:
        if args[1] == "transition":
            under_way.append(args[1])
            most.append(len(under_way))
            await anyio.sleep(0.02)
            under_way.pop()
        return await plain_run(args, time_limit=time_limit)

    fake.run = slow  # type: ignore[method-assign, assignment]
    host = on(fake)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(host.submit, name)
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
            await host.submit("WP01")
            await anyio.sleep(10)
        return scope.cancelled_caught

    assert do(main)
    assert fake.lanes["WP01"] == "for_review"


def test_a_claim_is_not_cut_short(repo: Path) -> None:
    """Where the client makes the worktree, a cancelled run leaves none half-made."""
    fake = OldHost(repo, release="3.1.10")

    async def main() -> bool:
        with anyio.CancelScope() as scope:
            fake.on_call = lambda verb, _options: scope.cancel() if "start" in verb else None
            await on(fake).claim("WP01")
            await anyio.sleep(10)
        return scope.cancelled_caught

    assert do(main)
    assert (fake.worktree("WP01") / "README.md").is_file()
