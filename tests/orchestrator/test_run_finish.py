"""Tests of how `spec_kitty_orchestrator.run` accepts and merges, with real repositories."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from spec_kitty_client import (
    IntegrationFailed,
    MergeConflict,
    MergeDamaged,
    MergeStrategy,
    SpecKittyError,
    WouldLoseWork,
)
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.ending import steps
from spec_kitty_orchestrator.ending.refusals import after_a_failed_end
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.state.events import (
    AcceptanceSkipped,
    Accepted,
    LaneReported,
    MergeStarted,
    MissionMerged,
    Submitted,
)
from tests.orchestrator.hosts import SLUG
from tests.orchestrator.worlds import World, world


@pytest.fixture
def w(repo: Path) -> World:
    """Return a mission of two work packages that are done, each with a commit in its lane."""
    made = world(repo, {"WP01": [], "WP02": []})
    for wp in made.host.lanes:
        made.host.work(wp, f"{wp}.py")
        made.host.put(wp, "done")
        made.write(LaneReported(wp=wp, lane="done"))
    return made


def do(w: World, step: Callable[[Run], Awaitable[None]], **settings: Any) -> None:
    """Run one step of a mission's end, in a new run."""
    run = w.start(**settings)
    try:
        anyio.run(step, run)
    finally:
        run.journal.close()


def test_a_mission_is_accepted_and_its_files_committed(w: World) -> None:
    """The acceptance is committed, and no other change is."""
    (w.root / "mine.txt").write_text("mine\n")
    git(w.root, "add", "mine.txt")
    do(w, steps.accept)
    assert w.host.verbs() == ["accept-mission"]
    shown = git(w.root, "show", "--name-only", "--format=%s", "HEAD").split("\n")
    assert shown[0] == f"chore({SLUG}): record acceptance"
    assert shown[2:] == [f"kitty-specs/{SLUG}/meta.json", ""]
    assert git(w.root, "status", "--porcelain") == "A  mine.txt\n"


def test_a_mission_is_accepted_once(w: World) -> None:
    """An accepted mission is accepted again only after more work."""
    do(w, steps.accept)
    do(w, steps.accept)
    assert w.host.verbs() == ["accept-mission"]
    w.write(LaneReported(wp="WP01", lane="in_progress"), LaneReported(wp="WP01", lane="done"))
    do(w, steps.accept)
    assert w.host.verbs() == ["accept-mission"] * 2


@pytest.mark.parametrize("strategy", list(MergeStrategy))
def test_a_mission_is_merged(w: World, strategy: MergeStrategy) -> None:
    """The host gets the strategy, the target and push, and the result is recorded."""
    do(w, steps.merge, strategy=strategy, target="work", push=True)
    sent = w.host.sent("merge-mission")[0]
    assert (sent["strategy"], sent["target"], sent["push"]) == (strategy, "work", "")
    assert (w.root / "WP01.py").is_file()
    assert w.events(MergeStarted)[0].strategy == strategy
    assert w.events(MissionMerged)[0].target == "work"


def test_the_journal_says_what_a_merge_did(w: World) -> None:
    """The journal has the target's commits before and after the merge."""
    before = git(w.root, "rev-parse", "work").strip()
    do(w, steps.merge)
    merged = w.events(MissionMerged)[0]
    assert merged.before == before
    assert merged.after == git(w.root, "rev-parse", "work").strip() != before


def test_a_mission_is_merged_once(w: World) -> None:
    """A later run proves that the target has the mission, and merges nothing."""
    do(w, steps.merge)
    w.host.calls.clear()
    do(w, steps.merge)
    assert w.host.verbs() == []
    assert [e.changed for e in w.events(MissionMerged)] == [True, False]


def test_a_merged_mission_is_not_taken_for_merged_into_another_branch(w: World) -> None:
    """A merged mission does not count as merged into another target; the host rejects that."""
    git(w.root, "branch", "release")
    do(w, steps.merge)
    with pytest.raises(IntegrationFailed):
        do(w, steps.merge, target="release")
    assert len(w.events(MissionMerged)) == 1


def leaves(w: World) -> None:
    """Leave an uncommitted file in a lane."""
    (w.host.worktree("WP02") / "a b.txt").write_text("new\n")


def takes_away(w: World) -> None:
    """Make the merge remove a commit of the target."""
    git(w.root, "commit", "--quiet", "--allow-empty", "--message=mine")

    def resets(verb: str, _options: dict[str, str]) -> None:
        if verb == "merge-mission":
            git(w.root, "reset", "--quiet", "--hard", "HEAD~1")

    w.host.on_call = resets


@pytest.mark.parametrize(
    ("harm", "error", "calls"),
    [(leaves, WouldLoseWork, []), (takes_away, MergeDamaged, ["merge-mission"])],
)
def test_a_merge_that_loses_something_is_not_taken_for_one(
    w: World, harm: Callable[[World], None], error: type[SpecKittyError], calls: list[str]
) -> None:
    """The SDK's error reaches the end of the run, and no merge is recorded."""
    harm(w)
    with pytest.raises(error):
        do(w, steps.merge)
    assert w.host.verbs() == calls
    assert not w.events(MissionMerged)


def test_the_merge_command_says_what_was_set(w: World) -> None:
    """The printed merge command has the settings of the run that concern the merge."""
    run = w.start(target="release", strategy=MergeStrategy.SQUASH, push=True)
    run.journal.close()
    command = steps.merge_command(run)
    assert "--merge" in command
    assert "--target release --strategy squash --push" in command
    assert command.endswith(f"--repo-root {w.root}")


def test_a_merge_whose_answer_is_lost_is_taken_for_what_it_is(w: World) -> None:
    """A merge whose answer is lost is not repeated if it took effect."""
    w.host.faults["merge-mission"] = ["after"]
    do(w, steps.merge)
    assert w.host.verbs() == ["merge-mission"]
    assert w.events(MissionMerged)[0].target == "work"


def test_a_merge_that_was_begun_by_a_dead_run_is_not_begun_again(w: World) -> None:
    """A merge of a dead run is found: the target has every commit."""
    for wp in w.host.lanes:
        head = git(w.host.worktree(wp), "rev-parse", "HEAD").strip()
        w.write(Submitted(wp=wp, head=head), LaneReported(wp=wp, lane="done"))
    merge = ("orchestrator-api", "merge-mission", f"--mission={SLUG}")
    assert w.host.host.run(merge, time_limit=60).exit_code == 0
    w.write(MergeStarted(target=None, strategy="merge"))
    do(w, steps.merge)
    assert w.host.verbs() == []
    assert len(w.events(MissionMerged)) == 1


def test_a_merge_of_which_there_is_no_proof_is_left_to_the_host(w: World) -> None:
    """Missing branches do not prove a merge, because a user may have deleted them."""
    for wp in w.host.lanes:
        branch, path = w.host.branch(wp), w.host.worktree(wp)
        git(w.root, "worktree", "remove", "--force", str(path))
        git(w.root, "branch", "-D", branch)
    with pytest.raises(IntegrationFailed):
        do(w, steps.merge)
    assert w.host.verbs() == ["merge-mission"]
    assert not w.events(MissionMerged)


def test_an_acceptance_that_the_api_cannot_give_is_told_with_the_hosts_own_command(
    w: World,
) -> None:
    """With a coordination branch, accept is not sent to 3.2.x, and the run goes on."""
    meta = w.root / "kitty-specs" / SLUG / "meta.json"
    facts = json.loads(meta.read_text()) | {
        "topology": "coord",
        "coordination_branch": f"kitty/mission-{SLUG}",
    }
    meta.write_text(json.dumps(facts))
    do(w, steps.accept)
    told = w.events(AcceptanceSkipped)[0]
    assert told.command == f"spec-kitty accept --mission {SLUG} --lenient"
    assert w.host.verbs() == []


def test_an_acceptance_whose_answer_is_lost_is_asked_for_again(w: World) -> None:
    """Accepting twice does no harm, so a lost answer does not end the run."""
    w.host.faults["accept-mission"] = ["after"]
    do(w, steps.accept)
    assert w.host.verbs() == ["accept-mission"] * 2
    assert len(w.events(Accepted)) == 1


def test_work_after_a_merge_is_merged_as_well(w: World) -> None:
    """A mission that was merged and went on is not taken for finished."""
    do(w, steps.merge)
    w.write(LaneReported(wp="WP01", lane="in_progress"), LaneReported(wp="WP01", lane="done"))
    for wp in w.host.lanes:  # hosts merge all lanes or none
        w.host.work(wp, f"more-{wp}.py")
    do(w, steps.merge)
    assert w.host.verbs() == ["merge-mission"] * 2
    assert (w.root / "more-WP01.py").is_file()


def test_a_conflict_ends_with_the_commands_that_resolve_it(w: World) -> None:
    """The run says what to do next, and `resume` comes last."""
    (w.root / "WP01.py").write_text("hotfix\n")
    git(w.root, "add", "WP01.py")
    git(w.root, "commit", "--quiet", "--message=hotfix")
    with pytest.raises(MergeConflict) as e:
        do(w, steps.merge)
    assert e.value.files == ("WP01.py",)
    commands = after_a_failed_end(e.value)
    assert commands == (*e.value.commands, "spec-kitty-orchestrator resume")


def test_a_damaged_merge_advises_no_resume(w: World) -> None:
    """After a damaging merge, the run does not advise `resume`."""
    takes_away(w)
    with pytest.raises(MergeDamaged) as e:
        do(w, steps.merge)
    assert after_a_failed_end(e.value) == (f"git log --stat {e.value.before}..work",)


def test_a_mission_with_canceled_work_goes_on_without_acceptance(w: World) -> None:
    """A mission with canceled work is not accepted up to 3.2.7; the run reports why and goes on."""
    w.host.put("WP02", "canceled", reason="not needed")
    w.write(LaneReported(wp="WP02", lane="canceled"))
    do(w, steps.accept)
    told = w.events(AcceptanceSkipped)[0]
    assert "WP02 is canceled" in told.reason
    assert told.command == f"spec-kitty accept --mission {SLUG} --lenient"
