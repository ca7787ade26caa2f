"""Tests of `spec_kitty_orchestrator.work_package`: one work package, from lane to lane."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pytest
from attrs import evolve

from spec_kitty_client import Completed
from spec_kitty_orchestrator.errors import HostProblem
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.state.events import (
    AttemptStarted,
    ChangesKept,
    Claimed,
    Event,
    Implemented,
    LaneReported,
    Submitted,
    VerdictGiven,
)
from tests.orchestrator.hosts import ACTOR, NEWEST, Fault
from tests.orchestrator.worlds import (
    APPROVES,
    IDLE,
    REFUSES,
    REFUSES_ONCE,
    WRITES,
    World,
    script,
    world,
)

FOUR_CALLS = ["start-implementation", "transition", "start-review", "transition"]


def roles(w: World, wp: str = "WP01") -> list[str]:
    """Return the roles of the agents that have run for a work package, in order."""
    return [attempt.role for attempt in w.history(wp).attempts]


def claimed(w: World, lane: str) -> str:
    """Put WP01 in a lane, with work in its worktree, and return the commit of the work."""
    head = w.host.work("WP01", "done.py")
    w.host.put("WP01", lane, ACTOR)
    return head


def claim_event(w: World, wp: str = "WP01") -> Claimed:
    """Return the claim of a work package by an earlier run."""
    prompt, base = str(w.host.prompt(wp)), git(w.root, "rev-parse", "work").strip()
    workspace = str(w.host.worktree(wp))
    return Claimed(wp=wp, workspace=workspace, prompt=prompt, base=base, target="work")


# A work package without failures


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_four_calls_take_a_work_package_to_done(repo: Path, backend: str) -> None:
    """A work package without rework takes exactly four mutations, under any event loop."""
    w = world(repo)
    w.work(backend=backend)
    assert w.host.lanes == {"WP01": "done"}
    assert w.host.verbs() == FOUR_CALLS
    assert w.host.moves("WP01") == ["for_review", "done"]


def test_nothing_is_forced_and_no_history_is_written(repo: Path) -> None:
    """No call has ``--force``, and none writes history."""
    w = world(repo, review=REFUSES_ONCE)
    w.work()
    assert "append-history" not in w.host.verbs()
    assert all("force" not in options for _, options in w.host.calls)


def test_done_carries_the_verdict(repo: Path) -> None:
    """The move to done names the reviewer and the review, equal in both options."""
    w = world(repo)
    w.work()
    sent = w.host.sent("transition")[-1]
    result, evidence = json.loads(sent["review-result-json"]), json.loads(sent["evidence-json"])
    expected = {"reviewer": "script", "verdict": "approved", "reference": sent["review-ref"]}
    assert result == expected
    assert evidence["review"] == expected
    assert (w.root / sent["review-ref"] / "output.log").is_file()


def test_what_an_agent_leaves_is_committed_for_it(repo: Path) -> None:
    """An implementer need not commit: the orchestrator commits its files before the submission."""
    w = world(repo)
    w.work()
    assert git(repo, "show", f"{w.host.branch('WP01')}:WP01.py") == "# attempt 1\n"
    assert w.history().submitted == git(repo, "rev-parse", w.host.branch("WP01")).strip()


def test_an_agent_may_commit_by_itself(repo: Path) -> None:
    """A commit of the agent's own counts as its work."""
    commits = WRITES + "git('add', '--all')\ngit('commit', '-q', '-m', 'mine')\n"
    w = world(repo, implement=commits)
    w.work()
    assert git(repo, "log", "-1", "--format=%s", w.host.branch("WP01")) == "mine\n"
    assert w.host.lanes["WP01"] == "done"


def test_prompts_say_what_to_do_and_what_was_done(repo: Path) -> None:
    """The implementer gets the task; the reviewer gets the task, the diff and the verdict form."""
    w = world(repo)
    w.work()
    assert "Depends on: nothing." in w.prompt(1, "implement")
    told = w.prompt(2, "review")
    assert "Depends on: nothing." in told
    assert "+# attempt 1" in told
    assert '"changes_requested"' in told


# Rework


def test_findings_reach_the_implementer(repo: Path) -> None:
    """After a verdict that asks for changes, the next prompt holds the findings."""
    w = world(repo, review=REFUSES_ONCE)
    w.work()
    assert roles(w) == ["implement", "review", "implement", "review"]
    assert w.host.moves("WP01") == ["for_review", "in_progress", "for_review", "done"]
    assert "F1 (blocking) a.py:1: the docstring is missing" in w.prompt(3, "implement")
    assert "the docstring is missing" in w.prompt(4, "review")


def test_going_back_carries_the_verdict(repo: Path) -> None:
    """The move back has the verdict, and no evidence of an approval."""
    w = world(repo, review=REFUSES_ONCE)
    w.work()
    back = next(o for o in w.host.sent("transition") if o["to"] == "in_progress")
    assert json.loads(back["review-result-json"])["verdict"] == "changes_requested"
    assert "evidence-json" not in back


@pytest.mark.parametrize("most", [0, 1])
def test_too_many_rounds_end_with_a_human(repo: Path, most: int) -> None:
    """After too many rework rounds the work package is blocked, with the reason in the note."""
    w = world(repo, review=REFUSES)
    board = w.work(max_rounds=most)
    assert w.host.lanes["WP01"] == "blocked"
    assert roles(w) == ["implement", "review"] * (most + 1)
    note = f"reviewers asked for changes {most + 1} times: not yet"
    assert w.host.sent("transition")[-1]["note"] == note
    assert board.unfinished()["WP01"].startswith("is blocked")


def test_an_unprintable_summary_reaches_the_host_all_the_same(repo: Path) -> None:
    """A reason with characters that no argument can have still reaches the host."""
    w = world(repo, review=REFUSES.replace("not yet", "not\\x00 \\ud800 yet"))
    w.work(max_rounds=0)
    assert w.host.lanes["WP01"] == "blocked"


# Agents that fail


def test_an_agent_that_changes_nothing_is_tried_again_and_then_blocked(repo: Path) -> None:
    """An answer without changes is a failure, and the next prompt says so."""
    w = world(repo, implement=IDLE)
    w.work()
    assert w.host.lanes["WP01"] == "blocked"
    assert roles(w) == ["implement", "implement"]
    assert "changed nothing" in w.prompt(2, "implement")
    assert w.host.sent("transition")[-1]["note"].count("changed nothing") == 1


def test_a_failing_agent_is_tried_again(repo: Path) -> None:
    """One exit code other than 0 costs an attempt and nothing else."""
    w = world(repo, implement="if number == 1:\n    sys.exit('no luck')\n" + WRITES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert "script ended with exit code 1 (no luck)" in w.prompt(2, "implement")


def test_a_verdict_that_is_none_is_asked_for_again_and_then_blocked(repo: Path) -> None:
    """A reviewer's answer without a verdict approves nothing, with exit code 0 too."""
    w = world(repo, review="print('looks good to me')\n")
    w.work()
    assert w.host.lanes["WP01"] == "blocked"
    assert roles(w) == ["implement", "review", "review"]
    assert "does not end with a verdict" in w.prompt(3, "review")


def test_a_late_verdict_is_enough(repo: Path) -> None:
    """A reviewer that forgot its verdict once may still approve."""
    w = world(repo, review="if number == 2:\n    sys.exit(0)\n" + APPROVES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert w.history().failures == []


def test_a_failed_run_approves_nothing(repo: Path) -> None:
    """The approval of a reviewer whose run failed does not count."""
    w = world(repo, review=APPROVES + "sys.exit(1)\n")
    w.work()
    assert w.host.lanes["WP01"] == "blocked"
    assert not w.events(VerdictGiven)


def test_a_failed_run_may_ask_for_changes(repo: Path) -> None:
    """The findings of a reviewer with exit code 1 still count."""
    once = REFUSES_ONCE + "sys.exit(number == 2)\n"
    w = world(repo, review=once)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert w.history().rework_rounds == 1


def test_a_deadline_ends_an_agent(repo: Path) -> None:
    """An agent that does not end in time has failed, and the reason names the time."""
    w = world(repo, implement="time.sleep(60)\n")
    w.work(agent_timeout=0.5, max_attempts=1)
    assert w.host.lanes["WP01"] == "blocked"
    assert "did not end within" in (w.history().last_error or "")


def test_a_hook_of_the_repository_is_heard(repo: Path) -> None:
    """The message of a pre-commit hook is in the implementer's next prompt."""
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    objects = "if [ -e WP01.py ] && [ ! -e good ]; then echo 'good is missing'; exit 1; fi\n"
    hook.write_text(f"#!/bin/sh\n{objects}")
    w = world(repo, implement=WRITES + "if number == 2:\n    Path('good').touch()\n")
    hook.chmod(0o755)
    w.work()
    assert "good is missing" in w.prompt(2, "implement")
    assert w.host.lanes["WP01"] == "done"


def test_an_agent_whose_keeper_is_killed_each_time_is_given_up(repo: Path) -> None:
    """Runs that are lost while the orchestrator watches count as failures, up to the limit."""
    kills = "if number < 6:\n    os.kill(os.getppid(), 9)\n    time.sleep(60)\n"
    w = world(repo, implement=kills + WRITES)
    w.work()
    assert w.host.lanes["WP01"] == "blocked"
    assert len(roles(w)) == 2


# Reviewers that change files


def test_what_a_reviewer_changes_is_kept(repo: Path) -> None:
    """Edits of a reviewer are kept, and are not part of the approved work."""
    edits = "Path('README.md').write_text('mine')\nPath('new.txt').write_text('new')\n"
    w = world(repo, review=edits + APPROVES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    kept = w.events(ChangesKept)[0]
    assert kept.files == ("README.md", "new.txt")
    assert git(repo, "show", f"{kept.where}:README.md") == "mine"
    assert git(repo, "show", f"{kept.where}:new.txt") == "new"
    assert git(repo, "stash", "list") == ""
    assert git(w.host.worktree("WP01"), "status", "--porcelain") == ""


def test_a_reviewer_that_commits_has_reviewed_something_else(repo: Path) -> None:
    """A verdict about a branch that the reviewer itself has changed does not count."""
    commits = "Path(f'{number}.txt').touch()\ngit('add', '.')\ngit('commit', '-q', '-m', 'x')\n"
    w = world(repo, review=commits + APPROVES)
    w.work()
    assert w.host.lanes["WP01"] == "blocked"
    assert not w.events(VerdictGiven)
    assert "committed to the branch" in w.prompt(3, "review")
    for kept in w.events(ChangesKept):
        assert ".txt" in git(repo, "show", "--name-only", "--format=", kept.where)
    assert len(w.events(ChangesKept)) == 2


# Lost answers and refusals


def test_a_move_whose_answer_is_lost_is_not_repeated(repo: Path) -> None:
    """If the state shows the effect of a move, the move is not repeated."""
    w = world(repo)
    w.host.faults["transition"] = ["after", "after"]
    w.work()
    assert w.host.verbs() == FOUR_CALLS
    assert w.host.lanes["WP01"] == "done"


@pytest.mark.parametrize(("release", "calls"), [(NEWEST, 2), ("3.1.10", 1)])
def test_a_review_whose_answer_is_lost_is_begun(repo: Path, release: str, calls: int) -> None:
    """A call that is safe to repeat is repeated; 3.1.x would reject it."""
    w = world(repo, release=release)
    w.host.faults["start-review"] = ["after"]
    w.work()
    assert len(w.host.sent("start-review")) == calls
    assert w.host.lanes["WP01"] == "done"
    assert roles(w) == ["implement", "review"]


def test_a_move_that_was_lost_is_sent_once_more(repo: Path) -> None:
    """If the state shows no effect of a move, the same call is sent once more."""
    w = world(repo)
    w.host.faults["transition"] = ["before"]
    w.work()
    assert w.host.moves("WP01") == ["for_review", "for_review", "done"]
    assert roles(w) == ["implement", "review"]


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_claim_can_be_repeated(repo: Path, fault: Fault) -> None:
    """A claim whose answer is lost is sent again, because the answer names the worktree."""
    w = world(repo)
    w.host.faults["start-implementation"] = [fault]
    w.work()
    assert w.host.verbs() == ["start-implementation", *FOUR_CALLS]
    assert w.host.lanes["WP01"] == "done"


def test_a_host_that_is_gone_stops_the_run(repo: Path) -> None:
    """A move that is lost twice is a host error and stops the run; the work stays."""
    w = world(repo)
    w.host.faults["transition"] = ["before", "before"]
    with pytest.raises(HostProblem, match="no answer within"):
        w.work()
    assert w.host.lanes["WP01"] == "in_progress"
    assert isinstance(w.history().last_result, Implemented)


def test_what_the_host_finds_missing_goes_to_the_implementer(repo: Path) -> None:
    """A rejected submit is a failed attempt with the host's message."""
    w = world(repo)
    w.host.faults["transition"] = ["refused"]
    w.work()
    assert roles(w) == ["implement", "implement", "review"]
    assert "the host rejected it: the guard says no" in w.prompt(2, "implement")
    assert w.host.lanes["WP01"] == "done"


def test_a_host_that_takes_nothing_ends_with_a_human(repo: Path) -> None:
    """Submits that are rejected again and again use up the attempts."""
    w = world(repo)

    def never(_verb: str, options: dict[str, str]) -> Fault | None:
        enough = len(w.host.sent("transition")) > 6
        return "refused" if options.get("to") == "for_review" and not enough else None

    w.host.on_call = never
    w.work()
    assert w.host.lanes["WP01"] == "blocked"
    assert roles(w) == ["implement", "implement"]


def test_somebody_elses_work_package_is_left_alone(repo: Path) -> None:
    """A work package that has another owner is not worked on; the reason is kept."""
    w = world(repo, {"WP01": [], "WP02": []})
    w.host.put("WP01", "claimed", "bob")
    board = w.work()
    assert w.host.lanes == {"WP01": "claimed", "WP02": "done"}
    assert "bob has WP01" in board.stuck["WP01"]
    assert not w.history("WP01").attempts


def test_a_move_by_somebody_else_is_accepted(repo: Path) -> None:
    """If the host rejects a move because a user moved the work package, the user's lane counts."""
    w = world(repo)

    def blocks(verb: str, _options: dict[str, str]) -> None:
        if verb == "transition":
            w.host.put("WP01", "blocked")

    w.host.on_call = blocks
    board = w.work()
    assert board.packages["WP01"].lane == "blocked"
    assert roles(w) == ["implement"]


def test_the_primary_checkout_is_not_worked_in(repo: Path) -> None:
    """A work package without a worktree of its own fails, to leave the user's changes alone."""
    w = world(repo)
    worktree, plain_run = bytes(w.host.worktree("WP01")), w.host.run

    async def run(args: Sequence[str], *, time_limit: float) -> Completed:
        done = await plain_run(args, time_limit=time_limit)
        return evolve(done, stdout=done.stdout.replace(worktree, bytes(repo)))

    w.host.run = run  # type: ignore[method-assign]
    board = w.work()
    assert "primary checkout" in board.stuck["WP01"]
    assert not w.events(AttemptStarted)


def test_a_worktree_that_cannot_be_made_stops_one_work_package(repo: Path) -> None:
    """A problem with git or with the mission's files is not a failure of the host."""
    w = world(repo, {"WP01": [], "WP02": []}, release="3.1.10")
    path = w.host.worktree("WP01")
    path.parent.mkdir()
    path.write_text("in the way\n")
    board = w.work()
    assert w.host.lanes == {"WP01": "in_progress", "WP02": "done"}
    assert "git worktree" in board.stuck["WP01"]


# Resuming


@pytest.mark.parametrize(
    ("lane", "agents_run"),
    [
        ("claimed", ["implement", "review"]),
        ("in_progress", ["implement", "review"]),
        ("for_review", ["review"]),
        ("in_review", ["review"]),
        ("approved", []),
    ],
)
def test_any_lane_is_taken_to_the_end(repo: Path, lane: str, agents_run: list[str]) -> None:
    """Without any journal, the lane alone says what is left to do."""
    w = world(repo)
    claimed(w, lane)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert [a.role for a in w.history().attempts] == agents_run


@pytest.mark.parametrize("lane", ["done", "blocked", "canceled", "hovering"])
def test_other_lanes_are_left_alone(repo: Path, lane: str) -> None:
    """Ended, blocked and unknown lanes are not touched."""
    w = world(repo)
    w.host.put("WP01", lane)
    w.work()
    assert w.host.lanes["WP01"] == lane
    assert w.host.verbs() == []


@pytest.mark.parametrize(
    ("release", "reason", "asked", "after"),
    [
        ("3.2.5", "not needed", 0, "planned"),
        ("3.2.7", "", 1, "planned"),
        ("3.2.7", "not needed", 1, "done"),
    ],
)
def test_what_depends_on_a_canceled_one(
    repo: Path, release: str, reason: str, asked: int, after: str
) -> None:
    """From 3.2.6 on the host decides whether a dependent of canceled work may start."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]}, release=release)
    w.host.put("WP01", "canceled", reason=reason)
    board = w.work()
    assert w.host.lanes == {"WP01": "canceled", "WP02": after}
    assert len(w.host.sent("start-implementation")) == asked
    assert ("WP02" in board.unfinished()) is (after != "done")


def test_a_reviewer_sees_work_from_before_the_run(repo: Path) -> None:
    """Without a journal, the diff begins where the lane left its base."""
    w = world(repo)
    claimed(w, "in_review")
    w.work()
    assert "+# done.py" in w.prompt(1, "review")


def test_implemented_work_is_handed_in_without_an_agent(repo: Path) -> None:
    """A commit that a dead run did not submit is submitted without a new agent run."""
    w = world(repo)
    head = claimed(w, "in_progress")
    w.write(claim_event(w), Implemented(wp="WP01", number=1, head=head))
    w.work()
    assert roles(w) == ["review"]
    assert w.host.lanes["WP01"] == "done"


def test_implemented_work_that_moved_on_is_implemented_again(repo: Path) -> None:
    """If HEAD is not the commit in the journal, an agent runs again."""
    w = world(repo)
    claimed(w, "in_progress")
    w.write(claim_event(w), Implemented(wp="WP01", number=1, head="0" * 40))
    w.work()
    assert roles(w) == ["implement", "review"]


def test_a_verdict_that_was_given_is_told_without_an_agent(repo: Path) -> None:
    """A verdict that a dead run did not report is reported without a new review."""
    w = world(repo)
    reviewer = w.reviewer
    w.host.on_call = _gone_when("transition", "done")
    with pytest.raises(HostProblem):
        w.work()
    assert w.host.lanes["WP01"] == "in_review"
    w.host.on_call = lambda _verb, _options: None
    w.reviewer = script(repo.parent / "never.py", "sys.exit('called twice')\n")
    w.work()
    assert reviewer != w.reviewer
    assert w.host.lanes["WP01"] == "done"
    assert roles(w) == ["implement", "review"]


def test_work_of_a_human_is_reviewed_anew(repo: Path) -> None:
    """A verdict is about one commit: work that a user submitted since then is reviewed again."""
    w = world(repo, review=REFUSES)
    w.work(max_rounds=0)
    path = w.host.worktree("WP01")
    (path / "WP01.py").write_text("# by hand\n")
    git(path, "commit", "--quiet", "--all", "--message=by hand")
    w.host.put("WP01", "for_review")
    w.reviewer = script(repo.parent / "mild.py", APPROVES)
    w.work()
    assert roles(w) == ["implement", "review", "review"]
    assert w.host.lanes["WP01"] == "done"


def test_an_approval_by_hand_overrules_the_reviewer(repo: Path) -> None:
    """A work package that a user approved is finished, with any last verdict."""
    w = world(repo, review=REFUSES)
    w.work(max_rounds=0)
    w.host.put("WP01", "approved")
    w.work()
    assert w.host.lanes["WP01"] == "done"


def test_a_reopened_work_package_has_new_chances(repo: Path) -> None:
    """A reopened work package has all its attempts and rounds again."""
    w = world(repo, implement=IDLE)
    w.work()
    w.host.put("WP01", "in_progress")
    w.implementer = script(repo.parent / "better.py", WRITES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert roles(w) == ["implement"] * 3 + ["review"]


# Work packages that share a worktree: they own the same files

SIBLINGS: dict[str, list[str]] = {"WP01": [], "WP02": []}
ONE_LANE = {"WP01": "lane-a", "WP02": "lane-a"}


def test_a_shared_worktree_is_used_in_turn(repo: Path) -> None:
    """Agents never work at the same time in one worktree."""
    log = repo.parent / "log"
    body = f"""\
with open({str(log)!r}, "a") as file:
    file.write("in\\n")
    file.flush()
    time.sleep(0.1)
    file.write("out\\n")
"""
    w = world(repo, {"WP01": [], "WP02": []}, implement=WRITES + body, lane_ids=ONE_LANE)
    w.work()
    assert log.read_text().split() == ["in", "out"] * 2
    assert set(w.host.lanes.values()) == {"done"}


def test_work_of_another_package_in_the_same_worktree_is_not_ones_own(repo: Path) -> None:
    """In a shared worktree, earlier commits of others do not count as own work."""
    idle_at_2 = "if wp == 'WP02':\n    sys.exit(0)\n" + WRITES
    w = world(repo, {"WP01": [], "WP02": ["WP01"]}, implement=idle_at_2, lane_ids=ONE_LANE)
    w.work()
    assert w.host.lanes == {"WP01": "done", "WP02": "blocked"}


SHARING = pytest.mark.parametrize("release", [NEWEST, "3.1.10"])


@SHARING
def test_siblings_take_turns_from_their_claim_on(repo: Path, release: str) -> None:
    """Work packages of one worktree are claimed and worked on one after the other."""
    w = world(repo, SIBLINGS, lane_ids=ONE_LANE, release=release)
    w.work()
    starts = [v for v, o in w.host.calls if v in ("start-implementation", "transition")]
    assert starts[:2] == ["start-implementation", "transition"]
    assert w.host.lanes == {"WP01": "done", "WP02": "done"}
    assert [roles(w, wp) for wp in SIBLINGS] == [["implement", "review"]] * 2


@SHARING
def test_an_idle_agent_is_noticed_after_a_commit_of_another(repo: Path, release: str) -> None:
    """A sibling's commit between claim and first attempt does not count as own work."""
    idle_at_2 = "if wp == 'WP02':\n    sys.exit(0)\n" + WRITES
    w = world(repo, SIBLINGS, implement=idle_at_2, lane_ids=ONE_LANE, release=release)
    w.work()
    assert w.host.lanes == {"WP01": "done", "WP02": "blocked"}
    assert "changed nothing" in w.prompt(2, "implement", "WP02")


def earlier(w: World, wp: str, lane: str, *events: Event) -> None:
    """Put a work package in a lane, after the claim and other events of an earlier run."""
    w.host.put(wp, lane, ACTOR)
    w.write(claim_event(w, wp), *events)


def attempt(w: World, wp: str, head: str) -> tuple[Event, ...]:
    """Return the events of an implementer that succeeded in an earlier run."""
    directory = str(w.log(1, "implement", wp))
    start = AttemptStarted(wp=wp, role="implement", number=1, agent="script", directory=directory)
    return start, Implemented(wp=wp, number=1, head=head)


def judged(head: str, verdict: Literal["approved", "changes_requested"]) -> VerdictGiven:
    """Return the verdict that a reviewer gave in an earlier run."""
    return VerdictGiven(
        wp="WP01",
        number=2,
        head=head,
        reviewer="script",
        reference="log",
        verdict=verdict,
        summary="seen",
    )


def test_what_a_lane_holds_before_a_claim_is_not_ones_own(repo: Path) -> None:
    """Commits from before the claim do not count as an implementation."""
    w = world(repo, implement=IDLE)
    w.host.work("WP01", "before.py")
    w.work()
    assert w.host.lanes["WP01"] == "blocked"
    assert roles(w) == ["implement", "implement"]


@pytest.fixture
def shared(repo: Path) -> World:
    """Return a mission of two work packages in one worktree."""
    return world(repo, SIBLINGS, lane_ids=ONE_LANE)


def test_a_rework_that_changes_nothing_is_noticed_though_another_has_committed(
    shared: World, repo: Path
) -> None:
    """A sibling's submitted commit does not count as the rework of this work package."""
    shared.implementer = script(repo.parent / "idle.py", IDLE)
    mine = shared.host.work("WP01", "mine.py")
    handed_in = Submitted(wp="WP01", head=mine)
    changes = judged(mine, "changes_requested")
    earlier(shared, "WP01", "in_progress", *attempt(shared, "WP01", mine), handed_in, changes)
    theirs = shared.host.work("WP01", "theirs.py")
    earlier(shared, "WP02", "done", Submitted(wp="WP02", head=theirs))
    shared.work()
    assert shared.host.lanes["WP01"] == "blocked"
    assert "changed nothing" in (shared.history().last_error or "")


def test_a_rework_that_changes_nothing_is_noticed_though_another_has_failed(
    shared: World, repo: Path
) -> None:
    """A sibling's commit that was never submitted does not count as own work."""
    shared.implementer = script(repo.parent / "idle.py", IDLE)
    mine = shared.host.work("WP01", "mine.py")
    handed_in = Submitted(wp="WP01", head=mine)
    changes = judged(mine, "changes_requested")
    earlier(shared, "WP01", "in_progress", *attempt(shared, "WP01", mine), handed_in, changes)
    shared.host.work("WP01", "theirs.py")
    earlier(shared, "WP02", "blocked")
    shared.work()
    assert shared.host.lanes["WP01"] == "blocked"


def test_the_review_is_about_what_was_handed_in(shared: World) -> None:
    """A reviewer does not see commits of a sibling from after the submission."""
    mine = shared.host.work("WP01", "mine.py")
    earlier(shared, "WP01", "for_review", Submitted(wp="WP01", head=mine))
    theirs = shared.host.work("WP01", "theirs.py")
    earlier(shared, "WP02", "done", Submitted(wp="WP02", head=theirs))
    shared.work()
    told = shared.prompt(1, "review")
    assert "+# mine.py" in told
    assert "theirs.py" not in told
    assert shared.events(VerdictGiven, "WP01")[0].head == mine


def test_the_review_is_not_about_what_was_there_before(repo: Path) -> None:
    """The diff of a work package begins where the sibling before it had ended."""
    w = world(repo, SIBLINGS, lane_ids=ONE_LANE)
    w.work()
    first, second = w.prompt(2, "review", "WP01"), w.prompt(2, "review", "WP02")
    assert "b/WP01.py" in first
    assert "b/WP02.py" not in first
    assert "b/WP02.py" in second
    assert "b/WP01.py" not in second


def test_the_review_of_a_rework_is_not_about_what_a_sibling_did_meanwhile(repo: Path) -> None:
    """The diff has the rounds of this work package, without a sibling's commits between them."""
    first, second = repo.parent / "first", repo.parent / "second"
    body = f"""\
if wp == 'WP01' and not Path({str(first)!r}).exists():
    Path({str(first)!r}).touch()
    verdict('changes_requested', findings=[
        {{'id': 'F1', 'severity': 'blocking', 'where': 'a:1', 'what': 'more'}}])
else:
    verdict('approved')
"""
    w = world(repo, SIBLINGS, lane_ids=ONE_LANE, review=body)
    begun = w.host.on_call

    def sibling(verb: str, options: dict[str, str]) -> Fault | None:
        if verb == "transition" and options["wp"] == "WP01" and options["to"] == "in_progress":
            w.host.work("WP01", "sibling.py")
            second.touch()
        return begun(verb, options)

    w.host.on_call = sibling
    w.work()
    assert second.exists()
    again = w.prompt(4, "review", "WP01")
    assert again.count("b/WP01.py") > again.count("sibling.py") == 0


@pytest.mark.parametrize(("verdict", "agents"), [("approved", []), ("changes_requested", [1])])
def test_no_review_is_repeated_because_somebody_else_went_on(
    shared: World, verdict: str, agents: list[int]
) -> None:
    """A verdict about the submitted commit counts, even if HEAD of the worktree has moved on."""
    mine = shared.host.work("WP01", "mine.py")
    handed_in = Submitted(wp="WP01", head=mine)
    said = judged(mine, verdict)
    earlier(shared, "WP01", "in_review", *attempt(shared, "WP01", mine), handed_in, said)
    theirs = shared.host.work("WP01", "theirs.py")
    earlier(shared, "WP02", "done", Submitted(wp="WP02", head=theirs))
    shared.work()
    again = ["implement", "review"] * len(agents)
    assert roles(shared) == ["implement", *again]
    assert shared.host.lanes["WP01"] == "done"


def test_implemented_work_is_handed_in_though_somebody_else_went_on(shared: World) -> None:
    """A sibling's commit does not make an unsubmitted implementation run again."""
    mine = shared.host.work("WP01", "mine.py")
    earlier(shared, "WP01", "in_progress", *attempt(shared, "WP01", mine))
    theirs = shared.host.work("WP01", "theirs.py")
    earlier(shared, "WP02", "done", Submitted(wp="WP02", head=theirs))
    shared.work()
    assert roles(shared) == ["implement", "review"]
    assert shared.history().submitted == mine


def test_work_of_a_human_in_a_shared_worktree_is_reviewed_anew(shared: World) -> None:
    """Work that a user submitted after a block is reviewed again in a shared worktree, too."""
    mine = shared.host.work("WP01", "mine.py")
    handed_in = Submitted(wp="WP01", head=mine)
    said = judged(mine, "changes_requested")
    blocked = LaneReported(wp="WP01", lane="blocked")
    earlier(shared, "WP01", "for_review", *attempt(shared, "WP01", mine), handed_in, said, blocked)
    earlier(
        shared, "WP02", "done", Submitted(wp="WP02", head=shared.host.work("WP01", "theirs.py"))
    )
    shared.host.work("WP01", "by_hand.py")
    shared.work()
    assert roles(shared) == ["implement", "review"]
    assert "+# by_hand.py" in shared.prompt(2, "review")


def test_an_agent_at_work_is_not_disturbed_by_a_claim(repo: Path) -> None:
    """A sibling's claim does not merge into a worktree while an agent works in it."""
    packages = {"WP01": [], "WP02": [], "WP03": ["WP02"], "WP04": ["WP01"]}
    both = {"WP03": "lane-c", "WP04": "lane-c"}
    third, fourth = repo.parent / "third", repo.parent / "fourth"
    body = (
        f"while wp == 'WP01' and not Path({str(third)!r}).exists():\n    time.sleep(0.02)\n"
        f"if wp == 'WP03':\n    Path({str(third)!r}).touch()\n"
        f"    for _ in range(250):\n"
        f"        time.sleep(0 if Path({str(fourth)!r}).exists() else 0.02)\n"
        "    sys.exit(0)\n" + WRITES
    )
    w = world(repo, packages, implement=body, release="3.2.1", lane_ids=both)

    def watch(_verb: str, _options: dict[str, str]) -> None:
        if w.files.journal.exists() and w.events(Claimed, "WP04"):
            fourth.touch()

    w.host.on_call = watch
    w.work(max_attempts=1, max_concurrent=4, heartbeat=0.05)
    assert w.host.lanes["WP03"] == "blocked"


def _gone_when(verb: str, to: str) -> Callable[[str, dict[str, str]], Fault | None]:
    def call(asked: str, options: dict[str, str]) -> Fault | None:
        return "before" if asked == verb and options["to"] == to else None

    return call
