"""A real journal, cut at every byte and with every byte flipped, still counts as a run.

CI tries some of the bytes; ``nox -s journal`` tries all of them (EVERY_BYTE=1).
"""

import fcntl
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from spec_kitty_orchestrator import run as session
from spec_kitty_orchestrator.attempt import unknown_attempts
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.preflight.plan import Plan
from spec_kitty_orchestrator.runners import keeper
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.settings.sources import save
from spec_kitty_orchestrator.state.events import AttemptStarted, RunStarted
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.journal import Line, scan
from spec_kitty_orchestrator.state.recollection import recollect
from tests.orchestrator.commands import Command
from tests.orchestrator.hosts import SLUG
from tests.orchestrator.worlds import REFUSES_ONCE, world

STEP = 1 if os.environ.get("EVERY_BYTE") else 397
PACKAGES = {"WP01": [], "WP02": ["WP01"], "WP03": ["WP01"], "WP04": ["WP02", "WP03"]}


@frozen
class Scene:
    """A repository in which an orchestrator has died, and the agent of WP04 is alive."""

    files: StateFiles
    whole: bytes
    """The journal."""
    live: Path
    """The folder of the live agent."""


@pytest.fixture
def scene(repo: Path) -> Iterator[Scene]:
    """Run a mission of four work packages, and stop after the start of the last implementer."""
    w = world(repo, PACKAGES, review=REFUSES_ONCE)
    settings = Settings(impl_agent=w.implementer, review_agent=w.reviewer)
    w.write(RunStarted(settings=save(settings)))
    w.work()
    lines = [part for part in scan(w.files.journal) if isinstance(part, Line)]
    begun = [line.event for line in lines if isinstance(line.event, AttemptStarted)]
    last = next(event for event in begun if event.wp == "WP04")
    lines = lines[: [line.event for line in lines].index(last) + 1]
    whole = b"".join(line.raw for line in lines)
    live = Path(last.directory)
    (live / keeper.EXIT).unlink()
    lock = os.open(live / keeper.LOCK, os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield Scene(w.files, whole, live)
    os.close(lock)


def damaged(whole: bytes, step: int) -> Iterator[bytes]:
    """Yield the journal, cut at every byte and with every byte flipped."""
    for at in range(0, len(whole) + 1, step):
        yield whole[:at]
    for at in range(0, len(whole), step):
        yield whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :]


def copies(scene: Scene, journal: bytes) -> dict[str, bytes | None]:
    """Return the second copy of the events in each state that it may have."""
    return {"whole": scene.whole, "none": None, "damaged": journal}


def put(scene: Scene, journal: bytes, copy: bytes | None) -> None:
    """Write the journal, and its copy if there is one."""
    scene.files.journal.write_bytes(journal)
    path = scene.files.copy(SLUG)
    path.unlink(missing_ok=True)
    if copy is not None:
        path.write_bytes(copy)


def test_no_second_agent_beside_a_live_one(scene: Scene) -> None:
    """The run re-attaches to the live agent, or ends it before it starts another one."""
    counts = Counter[str]()
    for journal in damaged(scene.whole, STEP):
        for name, copy in copies(scene, journal).items():
            put(scene, journal, copy)
            history = recollect(scene.files).histories()[SLUG]
            running = history.work_package("WP04").running
            if running:
                assert Path(running.directory) == scene.live
            unknown = unknown_attempts(scene.files.logs / SLUG, history)
            assert unknown == ([] if running else [scene.live])
            counts[f"copy {name}: {'re-attached' if running else 'ended first'}"] += 1
            counts[f"copy {name}: settings lost"] += not history.settings
    assert counts["copy whole: ended first"] == counts["copy whole: settings lost"] == 0
    sys.stdout.write(f"{dict(counts)}\n")


def test_no_traceback_and_never_no_run(
    scene: Scene, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`status` and `resume` work, or ask for the lost settings; neither writes."""
    plans: list[Plan] = []
    monkeypatch.setattr(session, "run_mission", lambda plan, *_: plans.append(plan) or 0)
    monkeypatch.setattr("spec_kitty_orchestrator.cli.report._ask_lanes", lambda *_: (None, None))
    monkeypatch.chdir(scene.files.root)
    for journal in damaged(scene.whole, 8 * STEP if STEP > 1 else 1):
        for copy in (scene.whole, None):
            put(scene, journal, copy)
            ended = run("status", "--json")
            assert (ended.code, ended.err) == (ExitCode.DONE, "")
            assert json.loads(ended.out)["mission"] == SLUG
            before = len(plans)
            ended = run("resume", "--warm=no")
            if len(plans) == before:
                assert copy is None
                assert ended.code == ExitCode.USAGE
                assert ended.err.count("\n") == 1
                assert "The settings of the last run of pay-01ABCDEF are lost" in ended.err
            assert scene.files.journal.read_bytes() == journal
    sys.stdout.write(f"{len(plans)} resumed\n")
