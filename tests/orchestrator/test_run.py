"""Tests of `spec_kitty_orchestrator.run`: whole runs, from the command line to the exit code."""

import os
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import anyio
import pytest

from spec_kitty_client import Policy
from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator.cli import _main, orchestrate
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.preflight import plan
from spec_kitty_orchestrator.state.events import (
    AttemptStopped,
    FinishFailed,
    MissionMerged,
    RunEnded,
    RunStarted,
)
from spec_kitty_orchestrator.state.lock import is_alive
from tests.orchestrator.hosts import ACTOR, NEWEST, SLUG, Fault
from tests.orchestrator.worlds import IDLE, REFUSES, REFUSES_ONCE, WRITES, World, script, world

Orchestrate = Callable[..., int]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Restore the signal handlers after an interrupted run."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Orchestrate:
    """Return a function that runs the command line on the host of a world."""

    def run(w: World, *words: str) -> int:
        monkeypatch.setattr(orchestrate, "loading_host", lambda _, **__: nullcontext(w.host))
        monkeypatch.chdir(w.root)
        both = (f"--impl-agent={w.implementer}", f"--review-agent={w.reviewer}")
        usual = ("orchestrate", f"--mission={SLUG}", *both)
        return _main([*usual, *words] if not words or words[0].startswith("--") else list(words))

    return run


def before(w: World, verb: str, does: Callable[[], object]) -> None:
    """Call a function just before the host gets a verb."""

    def call(asked: str, _options: dict[str, str]) -> None:
        if asked == verb:
            does()

    w.host.on_call = call


def end(w: World) -> RunEnded:
    """Return the end of the last run."""
    return w.events(RunEnded)[-1]


def test_a_mission_is_done(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mission that is done and accepted ends with exit code 0, and each step is an event."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]})
    assert start(w) == ExitCode.DONE
    assert w.host.verbs()[-1] == "accept-mission"
    out = capsys.readouterr().out
    for words in ("WP01 is done", "WP02 approved: seen", "is accepted", "run complete"):
        assert words in out
    assert not is_alive(w.files)


def test_a_mission_may_be_left_unaccepted(repo: Path, start: Orchestrate) -> None:
    """Without acceptance the run ends with the last work package."""
    w = world(repo)
    assert start(w, "--no-accept") == ExitCode.DONE
    assert "accept-mission" not in w.host.verbs()


def test_a_mission_is_merged_when_asked(repo: Path, start: Orchestrate) -> None:
    """With ``--merge`` the work is on the target branch at the end, and there is no next step."""
    w = world(repo)
    assert start(w, "--merge") == ExitCode.DONE
    assert (repo / "WP01.py").is_file()
    assert end(w).next == ()


def test_the_command_that_is_shown_merges(
    repo: Path, start: Orchestrate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next step that a run names is a command that works as printed."""
    w = world(repo)
    (tmp_path / "bin").mkdir()
    for name in ("git", "env", "sh"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert start(w) == ExitCode.DONE
    commands = end(w).next
    assert start(w, *shlex.split(commands[0])[1:]) == ExitCode.DONE
    assert (repo / "WP01.py").is_file()


def test_a_blocked_work_package_is_told(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A blocked work package ends with exit code 1, its reason and no acceptance."""
    w = world(repo, implement=IDLE)
    assert start(w, "--max-attempts=1") == ExitCode.INCOMPLETE
    assert "accept-mission" not in w.host.verbs()
    assert "changed nothing" in capsys.readouterr().out


def test_a_host_that_is_gone_is_told(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host that fails permanently ends with exit code 3, and the lock is free."""
    w = world(repo)
    w.host.faults["transition"] = ["before", "before"]
    assert start(w) == ExitCode.HOST
    assert end(w).outcome == "host"
    assert "transition: no answer" in capsys.readouterr().out
    assert not is_alive(w.files)


def test_an_acceptance_that_is_refused_is_told(repo: Path, start: Orchestrate) -> None:
    """A refused acceptance ends with exit code 1 and the host's message."""
    w = world(repo)
    before(w, "accept-mission", lambda: w.host.put("WP01", "in_progress"))
    assert start(w) == ExitCode.INCOMPLETE
    assert "not finished: WP01" in str(end(w).problem)


def test_a_merge_that_would_lose_something_is_told(repo: Path, start: Orchestrate) -> None:
    """A merge that would lose work ends with exit code 1, and nothing is merged."""
    w = world(repo)

    def leaves() -> None:
        (w.host.worktree("WP01") / "new.txt").write_text("new\n")

    before(w, "accept-mission", leaves)
    assert start(w, "--merge") == ExitCode.INCOMPLETE
    assert "new.txt" in w.events(FinishFailed)[0].reason
    assert "merge-mission" not in w.host.verbs()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (("reset", "--quiet", "--hard", "HEAD~2"), "took commits away"),
        (("rm", "--quiet", "README.md"), "changed files that no work package touched: README.md"),
    ],
)
def test_a_merge_that_did_harm_is_told(
    repo: Path, start: Orchestrate, harm: tuple[str, ...], words: str
) -> None:
    """A damaging merge ends with exit code 1, and the message has the commit to go back to."""
    w = world(repo)
    found: list[str] = []

    def does() -> None:
        found.append(git(repo, "rev-parse", "work").strip())
        git(repo, *harm)
        if harm[0] == "rm":
            git(repo, "commit", "--quiet", "--message=strange")

    before(w, "merge-mission", does)
    assert start(w, "--merge") == ExitCode.INCOMPLETE
    assert words in str(end(w).problem)
    assert found[0] in str(end(w).problem)
    assert w.events(FinishFailed)[0].reason == end(w).problem
    assert not w.events(MissionMerged)


def test_a_merge_that_is_refused_is_told(repo: Path, start: Orchestrate) -> None:
    """A refused merge ends with exit code 1 and the host's message."""
    w = world(repo)
    before(w, "merge-mission", lambda: (repo / "README.md").write_text("mine\n"))
    assert start(w, "--merge") == ExitCode.INCOMPLETE
    reason = w.events(FinishFailed)[0].reason
    assert "the checkout of the target has changes [PREFLIGHT_FAILED]" in reason


def test_a_merge_that_git_stands_in_the_way_of_is_told(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target that does not exist is reported before any agent starts."""
    w = world(repo)
    assert start(w, "--merge", "--target=nowhere") == ExitCode.USAGE
    assert "no branch 'nowhere'" in capsys.readouterr().err
    assert w.host.verbs() == []


def test_a_strategy_that_the_host_cannot_do_is_told(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A strategy that the host lacks is reported before any agent starts."""
    w = world(repo, release="3.0.3")
    assert start(w, "--merge", "--strategy=rebase") == ExitCode.USAGE
    assert "3.2.0 is the first that has" in capsys.readouterr().err
    assert w.host.verbs() == []


@pytest.mark.parametrize("verb", ["accept-mission", "merge-mission"])
def test_a_host_that_is_gone_at_the_end_is_told(repo: Path, start: Orchestrate, verb: str) -> None:
    """A host that does not answer at the end is exit code 3."""
    w = world(repo)
    w.host.faults[verb] = ["before", "before"]
    assert start(w, "--merge") == ExitCode.HOST
    assert f"{verb}: no answer" in w.events(FinishFailed)[0].reason


def test_a_merge_that_broke_off_says_where_the_target_was(repo: Path, start: Orchestrate) -> None:
    """After a merge that stopped half-way, the message has the target's commit before it."""
    packages: dict[str, list[str]] = {"WP01": [], "WP02": []}
    w = world(
        repo, packages, implement="Path('same.py').write_text(wp)\nprint('done')\n", release="3.0.3"
    )
    found: list[str] = []
    before(w, "merge-mission", lambda: found.append(git(repo, "rev-parse", "work").strip()))
    assert start(w, "--merge") == ExitCode.INCOMPLETE
    reason = w.events(FinishFailed)[0].reason
    assert "MERGE_FAILED" in reason
    assert found[0][:12] in reason
    assert git(repo, "rev-parse", "work").strip() != found[0]


def test_a_run_can_be_resumed(repo: Path, start: Orchestrate) -> None:
    """``resume`` continues the run with its settings, and repeats no work."""
    w = world(repo, review=REFUSES)
    assert start(w, "--max-rounds=0", "--no-accept") == ExitCode.INCOMPLETE
    w.host.put("WP01", "in_progress", ACTOR)
    script(repo.parent / "review.py", "verdict('approved')\n")
    assert start(w, "resume") == ExitCode.DONE
    assert w.host.lanes["WP01"] == "done"
    assert w.events(RunStarted)[-1].settings["max_rounds"] == 0
    assert "accept-mission" not in w.host.verbs()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_run_and_its_agents(
    repo: Path, start: Orchestrate, number: signal.Signals
) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end agents, leave lanes and can be resumed."""
    calls = f"if number == 1:\n    os.kill({os.getpid()}, {int(number)})\n    time.sleep(60)\n"
    w = world(repo, implement=calls + WRITES)
    assert start(w) == ExitCode.INTERRUPTED
    assert end(w).outcome == "interrupted"
    assert w.events(AttemptStopped)[0].reason == "stopped"
    assert w.host.lanes["WP01"] == "in_progress"
    assert not is_alive(w.files)
    assert start(w, "resume") == ExitCode.DONE
    assert w.host.sent("start-implementation")[1:] == []


def test_retries_are_told(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A retried host call is in the journal."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]}, implement="time.sleep(0.5)\n" + WRITES)

    def once(verb: str, _options: dict[str, str]) -> Fault | None:
        return "before" if verb == "mission-state" and len(w.host.sent(verb)) == 2 else None

    w.host.on_call = once
    assert start(w, "--heartbeat=0.1") == ExitCode.DONE
    assert "host call retried (1): mission-state: no answer" in capsys.readouterr().out


def test_what_cannot_be_enforced_is_told(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A run warns at its start about modes of the policy that agents cannot enforce."""
    policy = plan.default_policy(agents.script.agent(("x",))).to_dict()
    path = tmp_path / "policy.json"
    path.write_text(Policy.from_dict({**policy, "sandbox_mode": "read_only"}).to_json())
    w = world(repo)
    assert start(w, f"--policy={path}") == ExitCode.DONE
    assert "warning: the policy says sandbox_mode=read_only" in capsys.readouterr().out


def test_nothing_of_ours_is_seen_by_git(repo: Path, start: Orchestrate) -> None:
    """After a run the repository has no untracked files and no changes."""
    w = world(repo)
    start(w)
    assert git(repo, "status", "--porcelain", "--untracked-files=all") == ""


# Old hosts


def told(w: World, wp: str) -> list[str]:
    """Return the mutations that were sent for a work package, with their main options."""
    shown = {"start-implementation": "claim", "start-review": "review", "transition": ""}
    sent = [(v, o) for v, o in w.host.calls if v in shown and o["wp"] == wp]
    return [
        " ".join(filter(None, (shown[v], o.get("to"), "forced" if "force" in o else "")))
        for v, o in sent
    ]


ROUNDS = {
    "1.0.3": ["claim", "for_review", "review", "for_review", "done"],
    "3.0.3": ["claim", "for_review", "review", "for_review", "done forced"],
    "3.1.10": [
        *("claim", "for_review", "review", "in_progress forced"),
        *("for_review", "review", "done forced"),
    ],
}
"""The calls of one rework round. Up to 3.1.0 ``start-review`` is the way back."""


@pytest.mark.parametrize("release", ROUNDS)
def test_an_old_host_takes_a_mission_to_its_end(
    repo: Path, start: Orchestrate, release: str
) -> None:
    """An old host takes two work packages with rework to acceptance and merge."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]}, review=REFUSES_ONCE, release=release)
    assert start(w, "--merge") == ExitCode.DONE
    assert {wp: told(w, wp) for wp in w.host.lanes} == dict.fromkeys(w.host.lanes, ROUNDS[release])
    assert w.host.verbs()[-2:] == ["accept-mission", "merge-mission"]
    assert (repo / "WP01.py").read_text() == (repo / "WP02.py").read_text() == "# attempt 3\n"


def test_a_mission_with_one_lane_for_all_is_taken_to_its_end(
    repo: Path, start: Orchestrate
) -> None:
    """On 3.1.x work packages in one lane are done one after the other, in one worktree."""
    packages: dict[str, list[str]] = {"WP01": [], "WP02": ["WP01"], "WP03": ["WP01"]}
    w = world(repo, packages, review=REFUSES_ONCE, release="3.1.10")
    assert start(w, "--merge") == ExitCode.DONE
    assert all(told(w, wp) == ROUNDS["3.1.10"] for wp in packages)
    assert {w.history(wp).workspace for wp in packages} == {str(w.host.worktree("WP01"))}
    assert all((repo / f"{wp}.py").is_file() for wp in packages)


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3", "3.1.10"])
def test_an_old_host_is_asked_for_its_release_once(
    repo: Path, start: Orchestrate, release: str
) -> None:
    """An old host is asked for its release once per run."""
    w = world(repo, release=release)
    assert start(w) == ExitCode.DONE
    assert len(w.host.sent("--version")) == 1


def test_what_is_forced_says_why(repo: Path, start: Orchestrate) -> None:
    """Force is sent only if the host has no option for a verdict, and the note has the verdict."""
    w = world(repo, review=REFUSES_ONCE, release="3.1.10")
    assert start(w) == ExitCode.DONE
    notes = [options["note"] for options in w.host.sent("transition") if "force" in options]
    assert [note.partition(" by ")[0] for note in notes] == ["changes_requested", "approved"]
    assert all("no option for the result of a review" in note for note in notes)


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3", "3.1.10"])
def test_an_old_host_lets_nothing_wait_that_is_blocked(
    repo: Path, start: Orchestrate, release: str
) -> None:
    """A work package whose attempts are used up is blocked on every host, with a note."""
    w = world(repo, implement=IDLE, release=release)
    assert start(w) == ExitCode.INCOMPLETE
    assert w.host.lanes["WP01"] == "blocked"
    assert "changed nothing" in w.host.sent("transition")[-1]["note"]


@pytest.mark.parametrize(
    ("release", "forced"), [("1.0.3", True), ("3.0.3", False), ("3.1.10", False), (NEWEST, False)]
)
def test_the_command_that_is_shown_reopens(
    repo: Path, start: Orchestrate, release: str, forced: bool
) -> None:
    """The command that reopens a work package works on this host; 1.0.x needs force and a note."""
    w = world(repo, implement=IDLE, release=release)
    assert start(w, "--max-attempts=1") == ExitCode.INCOMPLETE
    commands = end(w).next
    words = shlex.split(commands[0])
    assert words[0] == "spec-kitty"
    assert ("--force" in words) is forced
    assert ("--note=reopened by hand" in words) is forced
    answer = anyio.run(partial(w.host.run, tuple(words[1:]), time_limit=1))
    assert answer.exit_code == 0
    assert w.host.lanes["WP01"] == "in_progress"


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3", "3.1.10"])
def test_a_run_on_an_old_host_can_be_resumed(repo: Path, start: Orchestrate, release: str) -> None:
    """A verdict that a dead run did not report is reported without a new review."""
    w = world(repo, release=release)
    w.host.on_call = lambda _verb, options: "before" if options.get("to") == "done" else None
    assert start(w) == ExitCode.HOST
    w.host.on_call = lambda _verb, _options: None
    assert start(w, "resume") == ExitCode.DONE
    assert [a.role for a in w.history().attempts] == ["implement", "review"]
