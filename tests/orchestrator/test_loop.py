"""Tests of `spec_kitty_orchestrator.loop`: many work packages at once."""

import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from spec_kitty_orchestrator.errors import HostProblem
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.state.events import (
    AttemptStarted,
    AttemptStopped,
    Claimed,
    Implemented,
    VerdictGiven,
    WorkPackageStuck,
)
from spec_kitty_orchestrator.state.journal import read
from tests.orchestrator.hosts import ACTOR, NEWEST, Fault
from tests.orchestrator.processes import eventually
from tests.orchestrator.worlds import APPROVES, WRITES, World, begin, world


def waits(wp: str, file: Path) -> str:
    """Return an implementer that waits for a file at one work package."""
    return f"while wp == {wp!r} and not Path({str(file)!r}).exists():\n    time.sleep(0.02)\n"


def test_dependencies_come_first(repo: Path) -> None:
    """A work package is claimed after its dependencies are done, not earlier."""
    w = world(repo, {"WP02": ["WP01"], "WP03": ["WP01", "WP02"], "WP01": []})
    board = w.work()
    claims = [o["wp"] for o in w.host.sent("start-implementation")]
    assert claims == ["WP01", "WP02", "WP03"]
    assert board.unfinished() == {}


def test_no_more_agents_than_slots(repo: Path) -> None:
    """With two slots, two of four work packages run at the same time and never three."""
    log = repo.parent / "log"
    body = f"""\
log = Path({str(log)!r})
def say(word):
    with log.open("a") as file:
        file.write(word + "\\n")
say("in")
while log.read_text().count("in") < 2:
    time.sleep(0.02)
time.sleep(0.1)
say("out")
"""
    w = world(repo, {f"WP0{i}": [] for i in range(1, 5)}, implement=WRITES + body)
    w.work(max_concurrent=2)
    running = [1 if word == "in" else -1 for word in log.read_text().split()]
    assert max(sum(running[:i]) for i in range(len(running) + 1)) == 2
    assert set(w.host.lanes.values()) == {"done"}


def test_a_slot_that_is_free_is_used_at_once(repo: Path) -> None:
    """A third work package does not wait for the slower one of the first two."""
    go = repo.parent / "go"
    w = world(repo, {"WP01": [], "WP02": [], "WP03": []}, implement=waits("WP01", go) + WRITES)

    def watch(verb: str, options: dict[str, str]) -> None:
        if options.get("wp") == "WP03" and options.get("to") == "done":
            go.touch()

    w.host.on_call = watch
    w.work(max_concurrent=2)
    assert set(w.host.lanes.values()) == {"done"}


def calls(w: World) -> Counter[str]:
    """Return the number of calls of each verb."""
    return Counter(verb for verb, _ in w.host.calls)


FOUR = {"start-implementation": 1, "transition": 2, "start-review": 1}
"""The mutations that a work package without rework takes."""


def four_each(packages: int) -> dict[str, int]:
    """Return the mutations of a number of work packages."""
    return {verb: count * packages for verb, count in FOUR.items()}


def test_a_work_package_takes_four_calls_and_no_read(repo: Path) -> None:
    """A work package takes four mutations, and the run one read."""
    w = world(repo)
    w.work()
    assert calls(w) == {"mission-state": 1, **FOUR}


def test_what_waits_for_others_is_known_without_a_read(repo: Path) -> None:
    """The loop starts unlocked work packages from the graph, without a read."""
    chain = {"WP01": [], **{f"WP0{i}": [f"WP0{i - 1}"] for i in range(2, 6)}}
    w = world(repo, {**chain, "WP06": ["WP01"], "WP07": ["WP05", "WP06"]})
    w.work()
    assert calls(w) == {"mission-state": 1, **four_each(7)}


@pytest.mark.parametrize("release", [NEWEST, "1.0.3"])
def test_what_the_host_does_not_let_begin_waits(repo: Path, release: str) -> None:
    """If a dependency was moved back meanwhile, its dependent starts when it is done again."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]}, release=release)

    def human(_verb: str, _options: dict[str, str]) -> None:
        if w.host.lanes["WP01"] == "done":  # the next call is about WP02
            w.host.put("WP01", "for_review")
            w.host.on_call = lambda _verb, _options: None

    w.host.on_call = human
    w.work()
    assert set(w.host.lanes.values()) == {"done"}
    assert not w.events(WorkPackageStuck)


def test_a_host_that_contradicts_itself_is_not_asked_for_ever(repo: Path) -> None:
    """If the host reports a dependency as done but rejects the claim, the work package is left."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]})

    def contradicts(verb: str, _options: dict[str, str]) -> None:
        if len(w.host.sent("start-implementation")) > 1:  # the first is about WP01
            w.host.put("WP01", "done" if verb == "mission-state" else "in_review")

    w.host.on_call = contradicts
    board = w.work()
    assert len(w.host.sent("start-implementation")) == 2
    assert "DEPENDENCIES_NOT_SATISFIED" in board.unfinished()["WP02"]


def test_nothing_polls_faster_than_the_heartbeat(repo: Path) -> None:
    """While agents work, the board is read once per heartbeat."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]}, implement="time.sleep(1)\n" + WRITES)
    begun = time.monotonic()
    w.work(heartbeat=0.2)
    beats = (time.monotonic() - begun) / 0.2
    assert 5 <= calls(w)["mission-state"] <= beats + 1


def test_a_wait_for_a_reviewer_leaves_the_slot_to_others(repo: Path) -> None:
    """With one reviewer, implemented work holds no slot while it waits."""
    go = repo.parent / "go"
    review = f"while not Path({str(go)!r}).exists():\n    time.sleep(0.02)\n" + APPROVES
    w = world(repo, {"WP01": [], "WP02": [], "WP03": []}, review=review)

    def watch(verb: str, options: dict[str, str]) -> None:
        if verb == "start-implementation" and options["wp"] == "WP03":
            go.touch()

    w.host.on_call = watch
    w.work(max_concurrent=2, max_reviewing=1)
    assert set(w.host.lanes.values()) == {"done"}
    assert calls(w) == {"mission-state": 1, **four_each(3)}


def together(w: World, role: str | None = None) -> int:
    """Return how many agents were at work at the same time, by the journal."""
    working, most = 0, 0
    for event in read(w.files.journal):
        match event:
            case AttemptStarted() if role in (None, event.role):
                working += 1
                most = max(most, working)
            case Implemented() if role in (None, "implement"):
                working -= 1
            case VerdictGiven() if role in (None, "review"):
                working -= 1
            case _:
                pass
    return most


@pytest.mark.parametrize(
    ("settings", "implementing", "reviewing", "all_in_all"),
    [
        ({}, 4, 4, 4),
        ({"max_implementing": 1, "max_reviewing": 2}, 1, 2, 3),
        ({"max_per_agent": {"script": 2}}, 2, 2, 2),
    ],
)
def test_limits_hold_in_a_run(
    repo: Path, settings: dict[str, Any], implementing: int, reviewing: int, all_in_all: int
) -> None:
    """The number of agents never exceeds the limits of roles and agents."""
    slow = "time.sleep(0.1)\n"
    packages = {f"WP0{i}": list[str]() for i in range(1, 6)}
    w = world(repo, packages, implement=slow + WRITES, review=slow + APPROVES)
    w.work(max_concurrent=4, **settings)
    assert set(w.host.lanes.values()) == {"done"}
    assert together(w, "implement") <= implementing
    assert together(w, "review") <= reviewing
    assert together(w) <= all_in_all


def test_an_agent_is_started_while_the_host_is_told_of_an_end(repo: Path) -> None:
    """The next claim is sent before the end of a work package without dependents."""
    w = world(repo, {"WP01": [], "WP02": []})
    w.work(max_concurrent=1)
    assert w.host.moves("WP01") == ["for_review", "done"]
    order = [(options.get("wp"), options.get("to"), verb) for verb, options in w.host.calls]
    end = order.index(("WP01", "done", "transition"))
    assert order[end - 1] == ("WP02", None, "start-implementation")


def test_a_review_after_an_early_release_takes_a_slot(repo: Path) -> None:
    """Work that a user sends back to review during the finish waits for a slot."""
    w = world(repo, {"WP01": [], "WP02": []}, implement="time.sleep(0.3)\n" + WRITES)

    def human(_verb: str, options: dict[str, str]) -> None:
        if (options.get("wp"), options.get("to")) == ("WP01", "done"):
            w.host.put("WP01", "for_review")
            w.host.on_call = lambda _verb, _options: None

    w.host.on_call = human
    w.work(max_concurrent=1)
    assert set(w.host.lanes.values()) == {"done"}
    assert together(w) == 1


def test_one_trouble_does_not_end_other_agents(repo: Path) -> None:
    """If the host fails permanently at one work package, the agent of another goes on."""
    go = repo.parent / "go"
    w = world(repo, {"WP01": [], "WP02": []}, implement=waits("WP02", go) + WRITES)

    def fails(verb: str, options: dict[str, str]) -> Fault | None:
        if verb != "transition" or options["wp"] != "WP01":
            return None
        if len([o for o in w.host.sent("transition") if o["wp"] == "WP01"]) == 2:
            go.touch()
        return "before"

    w.host.on_call = fails
    with pytest.raises(HostProblem, match="transition: no answer"):
        w.work()
    assert w.host.lanes == {"WP01": "in_progress", "WP02": "done"}
    assert not w.events(AttemptStopped)


def test_a_blocked_work_package_holds_up_only_what_needs_it(repo: Path) -> None:
    """A dependent of a blocked work package is left, with the reason."""
    w = world(
        repo,
        {"WP01": [], "WP02": [], "WP03": ["WP01"]},
        implement="if wp == 'WP01':\n    sys.exit(1)\n" + WRITES,
    )
    board = w.work(max_attempts=1)
    assert w.host.lanes == {"WP01": "blocked", "WP02": "done", "WP03": "planned"}
    assert board.unfinished()["WP01"].startswith("is blocked")
    assert board.unfinished()["WP03"] == "waits for WP01"


def test_the_heartbeat_notices_what_others_do(repo: Path) -> None:
    """A work package that a user finishes meanwhile lets its dependents start."""
    go = repo.parent / "go"
    w = world(
        repo, {"WP01": [], "WP02": [], "WP03": ["WP01"]}, implement=waits("WP02", go) + WRITES
    )
    w.host.put("WP01", "blocked")

    def human(verb: str, options: dict[str, str]) -> None:
        if len(w.host.sent("mission-state")) > 1:
            w.host.put("WP01", "done")
        if verb == "start-implementation" and options["wp"] == "WP03":
            go.touch()

    w.host.on_call = human
    w.work(heartbeat=0.05)
    assert set(w.host.lanes.values()) == {"done"}


def test_nothing_to_do_ends_at_once(repo: Path) -> None:
    """A mission that is done causes no mutation."""
    w = world(repo)
    w.host.put("WP01", "done")
    w.work()
    assert w.host.verbs() == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_run_ends_its_agents(repo: Path, backend: str) -> None:
    """Cancellation ends the agent, records it, and leaves the lane for the next run."""
    started = repo.parent / "started"
    body = f"Path({str(started)!r}).touch()\ntime.sleep(60)\n"
    w = world(repo, implement=body)
    run = w.start()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon((await begin(run)).work)
            assert await anyio.to_thread.run_sync(eventually, started.exists)
            tasks.cancel_scope.cancel()

    with contextlib.closing(run.journal):
        anyio.run(main, backend=backend)
    assert w.events(AttemptStopped)[0].reason == "stopped"
    assert w.history().running is None
    assert w.host.lanes["WP01"] == "in_progress"


def test_a_cancelled_run_can_be_gone_on_with(repo: Path) -> None:
    """After an interruption, a new run starts the agent again and needs no new claim."""
    w = world(repo)
    base = git(repo, "rev-parse", "work").strip()
    w.host.work("WP01", "begun.py")
    w.host.put("WP01", "in_progress", ACTOR)
    path = w.host.worktree("WP01")
    prompt, directory = str(w.host.prompt("WP01")), str(w.log(1, "implement"))
    w.write(
        Claimed(wp="WP01", workspace=str(path), prompt=prompt, base=base, target="work"),
        AttemptStarted(wp="WP01", role="implement", number=1, agent="script", directory=directory),
        AttemptStopped(wp="WP01", role="implement", number=1, reason="stopped"),
    )
    w.work()
    assert w.host.verbs() == ["transition", "start-review", "transition"]
    assert [a.number for a in w.history().attempts] == [1, 2, 3]
