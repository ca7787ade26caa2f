"""Tests of `spec_kitty_orchestrator.loop`: many work packages at once."""

import contextlib
from pathlib import Path

import anyio.to_thread
import pytest

from spec_kitty_orchestrator.errors import HostProblem
from spec_kitty_orchestrator.loop import Loop

from .hosts import Fault
from .processes import eventually
from .worlds import WRITES, world


def waits(wp: str, file: Path) -> str:
    """Return an implementer that takes until a file is there, at one work package."""
    return f"while wp == {wp!r} and not Path({str(file)!r}).exists():\n    time.sleep(0.02)\n"


def test_dependencies_come_first(repo: Path) -> None:
    """A work package is claimed when what it depends on is done, and not before."""
    w = world(repo, {"WP02": ["WP01"], "WP03": ["WP01", "WP02"], "WP01": []})
    board = w.work()
    claims = [o["wp"] for o in w.host.sent("start-implementation")]
    assert claims == ["WP01", "WP02", "WP03"]
    assert board.unfinished() == {}


def test_no_more_agents_than_slots(repo: Path) -> None:
    """Of four work packages that could run, two run at the same time and never three."""
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


def test_the_host_is_asked_only_when_it_may_have_a_new_answer(repo: Path) -> None:
    """Work packages that nobody waits for cause no list-ready when they end."""
    w = world(repo, {"WP01": [], "WP02": [], "WP03": ["WP02"]})
    w.work()
    assert len(w.host.sent("list-ready")) == 2
    assert len(w.host.sent("mission-state")) == 1


def test_one_trouble_does_not_end_other_agents(repo: Path) -> None:
    """When the host fails for good at one work package, the agent of another goes on."""
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
    assert not w.events("attempt-stopped")


def test_a_blocked_work_package_holds_up_only_what_needs_it(repo: Path) -> None:
    """What waits for a work package that was given to a human is left, with the reason."""
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
    """A work package that a human finishes meanwhile frees what waits for it."""
    go = repo.parent / "go"
    w = world(
        repo, {"WP01": [], "WP02": [], "WP03": ["WP01"]}, implement=waits("WP02", go) + WRITES
    )
    w.host.lanes["WP01"] = "blocked"

    def human(verb: str, options: dict[str, str]) -> None:
        if len(w.host.sent("mission-state")) > 1:
            w.host.lanes["WP01"] = "done"
        if verb == "start-implementation" and options["wp"] == "WP03":
            go.touch()

    w.host.on_call = human
    w.work(heartbeat=0.05)
    assert set(w.host.lanes.values()) == {"done"}


def test_reads_that_fail_are_tried_again(repo: Path) -> None:
    """A list-ready without an answer is asked for again before the run gives up."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]})

    def sometimes(verb: str, _options: dict[str, str]) -> Fault | None:
        return "before" if verb == "list-ready" and len(w.host.sent(verb)) in (2, 3) else None

    w.host.on_call = sometimes
    w.work()
    assert w.host.lanes["WP02"] == "done"


def test_a_host_that_does_not_say_what_is_ready_stops_the_run(repo: Path) -> None:
    """Without an answer to list-ready the run ends, and says that it was the host."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]})

    def later(verb: str, _options: dict[str, str]) -> Fault | None:
        return "before" if verb == "list-ready" and len(w.host.sent(verb)) > 1 else None

    w.host.on_call = later
    with pytest.raises(HostProblem, match="list-ready"):
        w.work()
    assert w.host.lanes == {"WP01": "done", "WP02": "planned"}


def test_nothing_to_do_ends_at_once(repo: Path) -> None:
    """A mission that is done already causes no mutation."""
    w = world(repo)
    w.host.lanes["WP01"] = "done"
    w.work()
    assert w.host.verbs() == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_run_ends_its_agents(repo: Path, backend: str) -> None:
    """Cancellation ends the agent, records it, and leaves the lane for the next run."""
    started = repo.parent / "started"
    body = f"Path({str(started)!r}).touch()\ntime.sleep(60)\n"
    w = world(repo, implement=body)
    run, board = w.start()

    async def main() -> None:
        board.update(await run.host.state())
        board.ready = await run.host.ready()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Loop(run, board).work)
            assert await anyio.to_thread.run_sync(eventually, started.exists)
            tasks.cancel_scope.cancel()

    with contextlib.closing(run.journal):
        anyio.run(main, backend=backend)
    assert w.events("attempt-stopped")[0]["reason"] == "stopped"
    assert w.record().open is None
    assert w.host.lanes["WP01"] == "in_progress"


def test_a_cancelled_run_can_be_gone_on_with(repo: Path) -> None:
    """After an interruption, a new run starts the agent again and needs no new claim."""
    w = world(repo)
    w.host.lanes["WP01"] = "in_progress"
    path = w.host.make_worktree("WP01")
    told = {"workspace": str(path), "prompt": str(w.host.prompt("WP01")), "target": "work"}
    attempt = {"role": "implement", "number": 1, "agent": "script"}
    directory = str(w.log(1, "implement"))
    w.write(
        ("claimed", {"wp": "WP01", "base": "HEAD", **told}),
        ("attempt-started", {"wp": "WP01", "directory": directory, **attempt}),
        ("attempt-stopped", {"wp": "WP01", "reason": "stopped", **attempt}),
    )
    w.work()
    assert w.host.verbs() == ["transition", "start-review", "transition"]
    assert [a.number for a in w.record().attempts] == [1, 2, 3]
