"""Tests of `spec_kitty_orchestrator.finish`, with real repositories and a host in memory."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from spec_kitty_client import MergeStrategy
from spec_kitty_orchestrator import finish
from spec_kitty_orchestrator.lifecycle import Run, Trouble
from spec_kitty_orchestrator.workspace import git

from .hosts import SLUG, Refused
from .worlds import World, world


@pytest.fixture
def w(repo: Path) -> World:
    """Return a mission of two work packages that are done, each with a commit in its lane."""
    made = world(repo, {"WP01": [], "WP02": []})
    for wp in made.host.packages:
        path = made.host.make_worktree(wp)
        (path / f"{wp}.py").write_text("work = 1\n")
        git(path, "add", "--all")
        git(path, "commit", "--quiet", f"--message={wp}")
        made.host.lanes[wp] = "done"
        made.write(("lane", {"wp": wp, "lane": "done"}))
    return made


def do(w: World, step: Callable[[Run], Awaitable[None]], **settings: Any) -> None:
    """Take one step at the end of a mission, in a new run."""
    run, _ = w.start(**settings)
    try:
        anyio.run(step, run)
    finally:
        run.journal.close()


def test_a_mission_is_accepted_and_its_files_committed(w: World) -> None:
    """What the host writes about the acceptance is committed, and nothing else is."""
    (w.root / "mine.txt").write_text("mine\n")
    git(w.root, "add", "mine.txt")
    do(w, finish.accept)
    assert w.host.verbs() == ["accept-mission"]
    shown = git(w.root, "show", "--name-only", "--format=%s", "HEAD").split("\n")
    assert shown[0] == f"chore({SLUG}): record status"
    assert shown[2:] == [f"kitty-specs/{SLUG}/meta.json", ""]
    assert git(w.root, "status", "--porcelain") == "A  mine.txt\n"


def test_a_mission_is_accepted_once(w: World) -> None:
    """A second run does not accept again what is accepted; a run after more work does."""
    do(w, finish.accept)
    do(w, finish.accept)
    assert w.host.verbs() == ["accept-mission"]
    w.write(
        ("lane", {"wp": "WP01", "lane": "in_progress"}), ("lane", {"wp": "WP01", "lane": "done"})
    )
    do(w, finish.accept)
    assert w.host.verbs() == ["accept-mission"] * 2


@pytest.mark.parametrize("strategy", list(MergeStrategy))
def test_a_mission_is_merged(w: World, strategy: MergeStrategy) -> None:
    """The host merges as it is told, and what came of it is looked at."""
    do(w, finish.merge, strategy=strategy, target="work", push=True)
    sent = w.host.sent("merge-mission")[0]
    assert (sent["strategy"], sent["target"], sent["push"]) == (strategy, "work", "")
    assert (w.root / "WP01.py").is_file()
    assert w.events("merged")[0]["target"] == "work"


def test_a_mission_is_merged_once(w: World) -> None:
    """What is merged is not merged again by a later run."""
    do(w, finish.merge)
    do(w, finish.merge)
    assert w.host.verbs() == ["merge-mission"]


def test_uncommitted_work_stops_a_merge(w: World) -> None:
    """A lane with changes that the host would throw away is named, and nothing is merged."""
    path = w.host.worktree("WP02")
    (path / "a b.txt").write_text("new\n")
    with pytest.raises(Trouble, match="would throw away") as caught:
        do(w, finish.merge)
    assert f"{path}: a b.txt" in caught.value.reason
    assert w.host.verbs() == []


def test_a_merge_that_takes_commits_away_is_noticed(w: World) -> None:
    """When the target has lost commits, the message says where it was."""
    (w.root / "mine.txt").write_text("mine\n")
    git(w.root, "add", "--all")
    git(w.root, "commit", "--quiet", "--message=mine")
    before = git(w.root, "rev-parse", "work").strip()

    def resets(verb: str, _options: dict[str, str]) -> None:
        if verb == "merge-mission":
            git(w.root, "reset", "--quiet", "--hard", "HEAD~1")

    w.host.on_call = resets
    with pytest.raises(Trouble, match="took commits away") as caught:
        do(w, finish.merge)
    assert before in caught.value.reason
    assert not w.events("merged")


def test_a_merge_that_changes_other_files_is_noticed(w: World) -> None:
    """Files that no work package touched have no business in the merge."""

    def adds(verb: str, _options: dict[str, str]) -> None:
        if verb == "merge-mission":
            (w.root / "strange.txt").write_text("strange\n")
            (w.root / "kitty-specs" / SLUG / "status.json").write_text("{}\n")
            git(w.root, "add", "--all")
            git(w.root, "commit", "--quiet", "--message=strange")

    w.host.on_call = adds
    with pytest.raises(Trouble, match=r"no work package touched: strange.txt\."):
        do(w, finish.merge)


def test_a_merge_that_fails_says_where_the_target_was(w: World) -> None:
    """A merge that broke off half-way leaves the way back in the message."""
    before = git(w.root, "rev-parse", "work").strip()

    def fails(strategy: str, **_: str) -> dict[str, Any]:
        raise Refused("MERGE_FAILED", "there is a conflict")

    w.host._merge_mission = fails  # type: ignore[method-assign]
    with pytest.raises(Trouble, match="there is a conflict") as caught:
        do(w, finish.merge)
    assert f"The target work was at {before[:12]}" in caught.value.reason


def test_the_merge_command_says_what_was_set(w: World) -> None:
    """The command that merges later has the settings that matter to a merge."""
    run, _ = w.start(target="release", strategy=MergeStrategy.SQUASH, push=True)
    run.journal.close()
    command = finish.merge_command(run)
    assert "--merge" in command
    assert "--target release --strategy squash --push" in command
    assert command.endswith(f"--repo-root {w.root}")


def merges_and_tidies(w: World) -> None:
    """Let the host remove worktrees and lanes after a merge, as real ones do."""
    plain = w.host._merge_mission

    def merge(strategy: str, **options: str) -> dict[str, Any]:
        answer = plain(strategy, **options)
        for wp in w.host.packages:
            git(w.root, "worktree", "remove", str(w.host.worktree(wp)))
            git(w.root, "branch", "-D", w.host.branch(wp))
        return answer

    w.host._merge_mission = merge  # type: ignore[method-assign]


def test_a_merge_whose_answer_is_lost_is_taken_for_what_it_is(w: World) -> None:
    """When the lanes are gone the merge has taken effect, and it is not sent again."""
    merges_and_tidies(w)
    w.host.faults["merge-mission"] = ["after"]
    do(w, finish.merge)
    assert w.host.verbs() == ["merge-mission"]
    assert w.events("merged")[0]["target"] == "work"


def test_a_merge_that_was_begun_by_a_dead_run_is_not_begun_again(w: World) -> None:
    """A run that died while it merged is settled by the next one from what git says."""
    merges_and_tidies(w)
    before = git(w.root, "rev-parse", "work").strip()
    w.host._merge_mission("merge")
    w.write(("merging", {"target": "work", "before": before}))
    do(w, finish.merge)
    assert w.host.verbs() == []
    assert len(w.events("merged")) == 1


def test_an_acceptance_whose_answer_is_lost_is_asked_for_again(w: World) -> None:
    """Accepting twice does no harm, so a lost answer does not end the run."""
    w.host.faults["accept-mission"] = ["after"]
    do(w, finish.accept)
    assert w.host.verbs() == ["accept-mission"] * 2
    assert len(w.events("accepted")) == 1


def test_work_after_a_merge_is_merged_as_well(w: World) -> None:
    """A mission that was merged and went on is not taken for finished."""
    do(w, finish.merge)
    w.write(
        ("lane", {"wp": "WP01", "lane": "in_progress"}), ("lane", {"wp": "WP01", "lane": "done"})
    )
    do(w, finish.merge)
    assert w.host.verbs() == ["merge-mission"] * 2
