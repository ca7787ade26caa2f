"""Tests of `spec_kitty_orchestrator.mission`."""

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
    NotFound,
    Retry,
    Review,
    SpecKittyError,
    TransitionRejected,
)
from spec_kitty_orchestrator import mission
from spec_kitty_orchestrator.agents import script
from spec_kitty_orchestrator.mission import MissionClient
from spec_kitty_orchestrator.preflight.plan import default_policy
from tests.orchestrator.hosts import ACTOR, SLUG, Fault, WatchedHost

T = TypeVar("T")
POLICY = default_policy(script.agent(("x",)))
REVIEW = Review(reviewer="bob", reference="log")


@pytest.fixture
def watched(repo: Path) -> WatchedHost:
    """Return a host with one work package in progress."""
    host = WatchedHost(repo)
    host.put("WP01", "in_progress", ACTOR)
    return host


def on(watched: WatchedHost) -> MissionClient:
    """Return the run's client of a host."""
    return MissionClient(
        AsyncClient(actor=ACTOR, policy=POLICY, transport=watched, retry=Retry()), SLUG
    )


def do(call: Callable[[], Awaitable[T]]) -> T:
    """Run a call to its end."""

    async def main() -> T:
        return await call()

    return anyio.run(main)


def test_reads_say_where_everything_stands(watched: WatchedHost) -> None:
    """Reads return the SDK's values."""
    host = on(watched)
    watched.put("WP01", "planned")
    assert do(host.state).lanes() == {"WP01": Lane.PLANNED}
    assert do(lambda: host.workspace("WP01")).workspace_path == str(watched.worktree("WP01"))


def test_a_read_is_tried_three_times(watched: WatchedHost) -> None:
    """A read is retried after two lost answers; after the third one it is an error."""
    watched.faults["mission-state"] = ["before", "before"]
    assert do(on(watched).state).lanes() == {"WP01": Lane.IN_PROGRESS}
    watched.faults["mission-state"] = ["before"] * 3
    with pytest.raises(HostTimeout):
        do(on(watched).state)
    assert len(watched.sent("mission-state")) == 6


def test_a_refused_read_is_not_tried_again(watched: WatchedHost) -> None:
    """An error that a retry cannot help is not retried."""
    watched.host.missions.clear()
    with pytest.raises(NotFound):
        do(on(watched).state)
    assert len(watched.sent("mission-state")) == 1


@pytest.mark.parametrize(("faults", "sent"), [([], 1), (["after"], 1), (["before"], 2)])
def test_a_move_is_sent_as_often_as_needed(
    watched: WatchedHost, faults: list[Fault], sent: int
) -> None:
    """After a lost answer the state is read; a move that did not happen is sent once more."""
    watched.work("WP01", "done.py")
    watched.faults["transition"] = faults
    assert do(lambda: on(watched).submit("WP01")) == Lane.FOR_REVIEW
    assert watched.moves("WP01") == ["for_review"] * sent
    assert watched.lanes["WP01"] == "for_review"


def test_a_move_that_is_lost_twice_is_a_problem(watched: WatchedHost) -> None:
    """A move that is lost twice without an effect is an error."""
    watched.faults["transition"] = ["before", "before"]
    with pytest.raises(HostTimeout):
        do(lambda: on(watched).submit("WP01"))
    assert watched.moves("WP01") == ["for_review"] * 2


@pytest.mark.parametrize("to", ["done", "in_progress", "blocked", "for_review"])
def test_a_move_whose_answer_is_lost_twice_is_an_answer(watched: WatchedHost, to: str) -> None:
    """A move whose answer is lost twice succeeds if the state shows its effect."""
    if to == "for_review":
        watched.work("WP01", "done.py")
    else:
        watched.put("WP01", "in_review")
    watched.faults["transition"] = ["before", "after"]
    host, now = on(watched), Lane.IN_REVIEW
    moves = {
        "for_review": lambda: host.submit("WP01"),
        "done": lambda: host.finish("WP01", now, REVIEW),
        "in_progress": lambda: host.request_changes("WP01", now, REVIEW),
        "blocked": lambda: host.block("WP01", now, "why", REVIEW),
    }
    assert do(moves[to]) == to
    assert watched.moves("WP01") == [to] * 2


def test_a_refused_move_is_not_sent_again(watched: WatchedHost) -> None:
    """A rejected move is an error if the lane is the same as before."""
    with pytest.raises(TransitionRejected, match="WP01 has no commit"):
        do(lambda: on(watched).submit("WP01"))
    assert watched.moves("WP01") == ["for_review"]


def test_a_refused_verdict_is_not_sent_again(watched: WatchedHost) -> None:
    """A rejected end of a review is an error, too."""
    watched.put("WP01", "in_review")
    watched.faults["transition"] = ["refused"]
    with pytest.raises(TransitionRejected):
        do(lambda: on(watched).finish("WP01", Lane.IN_REVIEW, REVIEW))
    assert watched.moves("WP01") == ["done"]


def test_a_refused_verdict_about_what_has_moved_is_an_answer(watched: WatchedHost) -> None:
    """If the user has moved the work package, a rejected verdict returns the current lane."""
    watched.put("WP01", "blocked")
    assert do(lambda: on(watched).finish("WP01", Lane.IN_REVIEW, REVIEW)) == Lane.BLOCKED


def test_a_refused_submit_of_what_has_moved_is_an_answer(watched: WatchedHost) -> None:
    """A rejected submit of a work package that has moved returns its current lane."""
    watched.put("WP01", "blocked")
    assert do(lambda: on(watched).submit("WP01")) == Lane.BLOCKED


def test_a_work_package_that_is_gone_is_told(watched: WatchedHost) -> None:
    """The error names a work package that the mission no longer has."""
    watched.put("WP01", "in_review")

    def removes(verb: str, _options: dict[str, str]) -> None:
        if verb == "transition":
            watched.mission.packages["WP02"] = watched.mission.packages.pop("WP01")

    watched.on_call = removes
    with pytest.raises(SpecKittyError, match="WP01 is no longer in mission"):
        do(lambda: on(watched).finish("WP01", Lane.IN_REVIEW, REVIEW))


def test_a_refused_claim_is_not_sent_again(watched: WatchedHost) -> None:
    """A rejected claim of another actor's work package is not repeated."""
    watched.put("WP01", "in_progress", "bob")
    with pytest.raises(Conflict):
        do(lambda: on(watched).claim("WP01"))
    assert len(watched.sent("start-implementation")) == 1


def test_mutations_take_turns(repo: Path) -> None:
    """Two mutations never run at the same time; a read does not wait for them."""
    names = [f"WP0{i}" for i in range(1, 5)]
    watched = WatchedHost(repo, {name: [] for name in names})
    for name in names:
        watched.work(name, "done.py")
        watched.put(name, "in_progress", ACTOR)
    under_way: list[str] = []
    most: list[int] = []
    during: list[bool] = []
    plain_run = watched.run

    async def slow(args: tuple[str, ...], *, time_limit: float) -> object:
        if args[1] == "transition":
            under_way.append(args[1])
            most.append(len(under_way))
            await anyio.sleep(0.02)
            under_way.pop()
        return await plain_run(args, time_limit=time_limit)

    watched.run = slow  # type: ignore[method-assign, assignment]
    host = on(watched)

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


def test_a_queued_mutation_is_not_sent_after_a_cancellation(repo: Path) -> None:
    """A cancellation waits for the running mutation, and the queued ones are never sent."""
    names = ["WP01", "WP02", "WP03"]
    watched = WatchedHost(repo, {name: [] for name in names})
    for name in names:
        watched.work(name, "done.py")
        watched.put(name, "in_progress", ACTOR)
    host = on(watched)

    async def main() -> None:
        with anyio.CancelScope() as scope:
            watched.on_call = lambda verb, _options: (
                scope.cancel() if verb == "transition" else None
            )
            async with anyio.create_task_group() as tasks:
                for name in names:
                    tasks.start_soon(host.submit, name)

    do(main)
    assert len(watched.sent("transition")) == 1
    assert sorted(watched.lanes.values()) == ["for_review", "in_progress", "in_progress"]


def test_a_mutation_is_not_cut_short(watched: WatchedHost) -> None:
    """A cancelled run waits for the mutation that is under way."""
    watched.work("WP01", "done.py")
    host = on(watched)

    async def main() -> bool:
        with anyio.CancelScope() as scope:
            watched.on_call = lambda verb, _options: (
                scope.cancel() if verb == "transition" else None
            )
            await host.submit("WP01")
            await anyio.sleep(10)
        return scope.cancelled_caught

    assert do(main)
    assert watched.lanes["WP01"] == "for_review"


def test_a_claim_is_not_cut_short(repo: Path) -> None:
    """A cancelled run leaves no half-made worktree, if the SDK makes it."""
    watched = WatchedHost(repo, release="3.1.10")

    async def main() -> bool:
        with anyio.CancelScope() as scope:
            watched.on_call = lambda verb, _options: scope.cancel() if "start" in verb else None
            await on(watched).claim("WP01")
            await anyio.sleep(10)
        return scope.cancelled_caught

    assert do(main)
    assert (watched.worktree("WP01") / "README.md").is_file()


def test_a_mutation_that_hangs_is_cut_short(
    watched: WatchedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `end_soon` a call that hangs is cancelled, and one that ends in time has its effect."""
    monkeypatch.setattr(mission, "_END_SOON", 0.2)
    watched.work("WP01", "done.py")
    host, plain_run = on(watched), watched.run
    seconds = {"transition": 60.0}

    async def slow(args: tuple[str, ...], *, time_limit: float) -> object:
        await anyio.sleep(seconds.get(args[1], 0))
        return await plain_run(args, time_limit=time_limit)

    watched.run = slow  # type: ignore[method-assign, assignment]

    async def main() -> bool:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(host.submit, "WP01")
                await anyio.sleep(0.1)
                scope.cancel()
                host.end_soon()
        return scope.cancelled_caught

    assert do(main)
    assert watched.moves("WP01") == []
    seconds["transition"] = 0.15
    assert do(main)
    assert watched.moves("WP01") == ["for_review"]
