"""Whole runs of the command line on a real host."""

import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import Callable

import psutil
import pytest
from packaging.version import Version

from spec_kitty_client import Feature
from spec_kitty_orchestrator.state import journal
from spec_kitty_orchestrator.state.events import Implemented
from spec_kitty_orchestrator.state.files import StateFiles

from .conftest import Scene, has


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(what: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


DIAMOND = {"WP01": [], "WP02": ["WP01"], "WP03": ["WP01"], "WP04": ["WP02", "WP03"]}


def test_a_whole_mission_with_dependencies_and_one_rework_is_accepted_and_merged(
    scene: Callable[..., Scene],
) -> None:
    """Every work package runs once, the reworked one twice, and all their work is merged."""
    here = scene(DIAMOND)
    here.configure(reject_first=["WP03"])

    done = here.run(*here.orchestrate("--merge"))

    assert done.returncode == 0, done.stdout + done.stderr
    once = dict.fromkeys(here.files, 1)
    assert here.runs("end", "implement") == Counter({**once, "WP03": 2})
    assert here.runs("end", "review") == Counter({**once, "WP03": 2})
    order = [e["wp"] for e in here.traced("start", role="implement")]
    assert order[0] == "WP01"
    assert order[-1] == "WP04"
    assert set(here.files.values()) <= here.merged_files()
    assert set(here.lanes().values()) == {"done"}
    assert here.git("status", "--porcelain") == ""
    if not has(here.release, Feature.LANES) or has(here.release, Feature.APPROVED_IS_ENOUGH):
        # 3.1.x squashes with any strategy; all others keep each commit.
        events = list(journal.read(StateFiles(here.root).journal))
        heads = [e.head for e in events if isinstance(e, Implemented)]
        assert len(heads) == 5
        for head in heads:
            here.git("merge-base", "--is-ancestor", head, here.target)
    meta = json.loads(here.git("show", f"{here.target}:kitty-specs/{here.mission}/meta.json"))
    assert meta["accepted_at"]


def test_four_at_once_one_reworked_squashed_into_a_target_that_moved_on(
    scene: Callable[..., Scene],
) -> None:
    """Each work package runs once and the reworked one twice; the target loses nothing."""
    here = scene(4)
    here.configure(gather={"implement": 4}, reject_first=["WP02"])
    (here.root / "kept.txt").write_text("newer than the lanes\n", encoding="utf-8")
    here.git("add", "kept.txt")
    here.git("commit", "--quiet", "--message=newer")
    squash = () if here.release < Version("2") else ("--strategy", "squash")

    done = here.run(*here.orchestrate("--merge", *squash))

    assert done.returncode == 0, done.stdout + done.stderr
    assert here.most_at_once() == 4
    once = dict.fromkeys(here.files, 1)
    assert here.runs("end", "implement") == Counter({**once, "WP02": 2})
    assert here.runs("end", "review") == Counter({**once, "WP02": 2})
    asked = [e["asked"] for e in here.traced("start", role="implement", wp="WP02")]
    assert asked == [False, True]
    calls = here.host_calls()
    assert calls["append-history"] == 0
    moves = calls["start-implementation"] + calls["start-review"] + calls["transition"]
    # Without a lane for reviews, the start of a review is no move.
    assert moves == (4 * 4 + 3 if has(here.release, Feature.IN_REVIEW_LANE) else 4 * 3 + 2)
    assert {*here.files.values(), "kept.txt"} <= here.merged_files()
    assert set(here.lanes().values()) == {"done"}
    assert here.git("status", "--porcelain") == ""


@pytest.mark.once
def test_killed_run_is_resumed_where_its_agents_are(scene: Callable[..., Scene]) -> None:
    """After kill -9 the agents go on, and resume ends with nothing implemented twice."""
    here = scene(2)
    here.configure(seconds={"implement": 15})
    first = here.start(*here.orchestrate())
    until(lambda: len(here.traced("start", role="implement")) == 2)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    report = json.loads(here.run("status", "--json").stdout)
    assert report["run"] == "died"

    done = here.run("resume")

    assert done.returncode == 0, done.stdout + done.stderr
    assert here.runs("end", "implement") == {"WP01": 1, "WP02": 1}
    assert here.runs("end", "review") == {"WP01": 1, "WP02": 1}
    assert here.lanes() == {"WP01": "done", "WP02": "done"}
    assert "--merge" in done.stdout  # the command that merges, because this run does not


@pytest.mark.once
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "abort"])
def test_interrupted_run_leaves_no_process_and_can_be_resumed(
    scene: Callable[..., Scene], how: str
) -> None:
    """A run ended by any signal or abort leaves no process, and resume continues it."""
    here = scene(1)
    here.configure(seconds={"implement": 300}, child=True)
    run = here.start(*here.orchestrate())
    until(lambda: here.traced("child"))
    processes = [here.traced("start")[0]["pid"], here.traced("child")[0]["child"]]

    if how == "abort":
        aborted = here.run("abort", "--cleanup-worktrees", "--json")
        assert json.loads(aborted.stdout)["run_ended"]
        assert json.loads(aborted.stdout)["left"] == {}
    else:
        run.send_signal(getattr(signal, how))
    out, err = run.communicate(timeout=60)

    assert run.returncode == 130, out + err
    assert not [pid for pid in processes if is_running(pid)]
    assert here.lanes() == {"WP01": "in_progress"}
    here.configure()
    resumed = here.run("resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert here.runs("end", "implement") == {"WP01": 1}
    assert here.lanes() == {"WP01": "done"}


@pytest.mark.once
def test_output_of_200_mb_stays_on_the_disk(scene: Callable[..., Scene]) -> None:
    """200 MB of an agent's output stay on the disk, and out of the orchestrator's memory."""
    here = scene(1)
    here.configure(huge_mb=200)
    run = here.start(*here.orchestrate())
    process, peak = psutil.Process(run.pid), 0
    while run.poll() is None:
        with contextlib.suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss)
        time.sleep(0.05)
    run.communicate()
    output = sorted((here.root / ".kittify" / "logs").rglob("output.log"))
    assert run.returncode == 0
    assert all(path.stat().st_size > 200_000_000 for path in output)
    assert len(output) == 2
    assert 10_000_000 < peak < 100_000_000


@pytest.mark.once
def test_merge_refuses_to_throw_uncommitted_work_away(scene: Callable[..., Scene]) -> None:
    """A dirty lane worktree stops the merge with its name, and a later merge goes through."""
    here = scene(1)
    assert here.run(*here.orchestrate()).returncode == 0
    worktree = next((here.root / ".worktrees").iterdir())
    (worktree / "notes.txt").write_text("mine\n", encoding="utf-8")

    refused = here.run("resume", "--merge")

    assert refused.returncode == 1
    assert "notes.txt" in refused.stdout + refused.stderr
    assert (worktree / "notes.txt").read_text(encoding="utf-8") == "mine\n"
    (worktree / "notes.txt").unlink()
    merged = here.run("resume", "--merge")
    assert merged.returncode == 0, merged.stdout + merged.stderr
    assert here.files["WP01"] in here.merged_files()
