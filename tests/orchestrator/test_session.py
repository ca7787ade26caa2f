"""Tests of `spec_kitty_orchestrator.session`: whole runs, from words to exit code."""

import os
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spec_kitty_client import AsyncClient, Policy
from spec_kitty_orchestrator import agents, plan, session
from spec_kitty_orchestrator.cli import _main
from spec_kitty_orchestrator.config import Settings
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.lock import is_alive
from spec_kitty_orchestrator.workspace import git

from .hosts import SLUG, Fault
from .worlds import IDLE, REFUSES, WRITES, World, script, world

Orchestrate = Callable[..., int]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Have the handlers of before after a run that was interrupted."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Orchestrate:
    """Return the command line, on the host of a world."""

    def run(w: World, *words: str) -> int:
        def client_for(settings: Settings, policy: Policy) -> AsyncClient:
            return AsyncClient(actor=settings.actor, policy=policy, transport=w.host)

        monkeypatch.setattr(session, "client_for", client_for)
        monkeypatch.chdir(w.root)
        both = (f"--impl-agent={w.implementer}", f"--review-agent={w.reviewer}")
        usual = ("orchestrate", f"--mission={SLUG}", *both)
        return _main([*usual, *words] if not words or words[0].startswith("--") else list(words))

    return run


def end(w: World) -> dict[str, object]:
    """Return the last event of the journal."""
    return w.events("run-ended")[-1]


def test_a_mission_is_done(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str]
) -> None:
    """All work packages done and the mission accepted is exit code 0, and each step was told."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]})
    assert start(w) == ExitCode.DONE
    assert w.host.verbs()[-1] == "accept-mission"
    out = capsys.readouterr().out
    for words in ("WP01 is done", "WP02 approved: seen", "is accepted", "the run ended: done"):
        assert words in out
    assert not is_alive(w.places)


def test_a_mission_may_be_left_unaccepted(repo: Path, start: Orchestrate) -> None:
    """Without acceptance the run ends with the last work package."""
    w = world(repo)
    assert start(w, "--no-accept") == ExitCode.DONE
    assert "accept-mission" not in w.host.verbs()


def test_a_mission_is_merged_when_asked(repo: Path, start: Orchestrate) -> None:
    """With ``--merge`` the work is on the target branch at the end, and nothing is left to do."""
    w = world(repo)
    assert start(w, "--merge") == ExitCode.DONE
    assert (repo / "WP01.py").is_file()
    assert end(w)["next"] == []


def test_the_command_that_is_shown_merges(
    repo: Path, start: Orchestrate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a run names as the next step can be typed as it is."""
    w = world(repo)
    (tmp_path / "bin").mkdir()
    for name in ("git", "env", "sh"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert start(w) == ExitCode.DONE
    commands = end(w)["next"]
    assert isinstance(commands, list)
    assert start(w, *shlex.split(commands[0])[1:]) == ExitCode.DONE
    assert (repo / "WP01.py").is_file()


def test_a_blocked_work_package_is_told(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is left to a human is exit code 1, with the reason and no acceptance."""
    w = world(repo, implement=IDLE)
    assert start(w, "--max-attempts=1") == ExitCode.INCOMPLETE
    assert "accept-mission" not in w.host.verbs()
    assert "changed nothing" in capsys.readouterr().out


def test_a_host_that_is_gone_is_told(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host that fails for good on the way is exit code 3, and the lock is free."""
    w = world(repo)
    w.host.faults["transition"] = ["before", "before"]
    assert start(w) == ExitCode.HOST
    assert end(w)["outcome"] == "host"
    assert "transition: no answer" in capsys.readouterr().out
    assert not is_alive(w.places)


def test_an_acceptance_that_is_refused_is_told(repo: Path, start: Orchestrate) -> None:
    """A host that does not accept the mission is exit code 1, with its words."""
    w = world(repo)
    w.host.faults["accept-mission"] = ["refused"]
    assert start(w) == ExitCode.INCOMPLETE
    assert "the guard says no" in str(end(w)["problem"])


def test_a_merge_that_would_lose_something_is_told(repo: Path, start: Orchestrate) -> None:
    """A merge that is not safe is exit code 1, and nothing is merged."""
    w = world(repo)

    def leaves(verb: str, _options: dict[str, str]) -> None:
        if verb == "accept-mission":
            (w.host.worktree("WP01") / "new.txt").write_text("new\n")

    w.host.on_call = leaves
    assert start(w, "--merge") == ExitCode.INCOMPLETE
    assert "new.txt" in w.events("finish-failed")[0]["reason"]
    assert "merge-mission" not in w.host.verbs()


def test_a_run_can_be_resumed(repo: Path, start: Orchestrate) -> None:
    """``resume`` goes on where the run was, with its settings, and does no work twice."""
    w = world(repo, review=REFUSES)
    assert start(w, "--max-rounds=0", "--no-accept") == ExitCode.INCOMPLETE
    w.host.lanes["WP01"] = "in_progress"
    script(repo.parent / "review.py", "verdict('approved')\n")
    assert start(w, "resume") == ExitCode.DONE
    assert w.host.lanes["WP01"] == "done"
    assert w.events("run-started")[-1]["settings"]["max_rounds"] == 0
    assert "accept-mission" not in w.host.verbs()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_run_and_its_agents(
    repo: Path, start: Orchestrate, number: signal.Signals
) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end agents, leave lanes and can be resumed."""
    calls = f"if number == 1:\n    os.kill({os.getpid()}, {int(number)})\n    time.sleep(60)\n"
    w = world(repo, implement=calls + WRITES)
    assert start(w) == ExitCode.INTERRUPTED
    assert end(w)["outcome"] == "interrupted"
    assert w.events("attempt-stopped")[0]["reason"] == "stopped"
    assert w.host.lanes["WP01"] == "in_progress"
    assert not is_alive(w.places)
    assert start(w, "resume") == ExitCode.DONE
    assert w.host.sent("start-implementation")[1:] == []


def test_retries_are_told(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host that has to be asked again is no secret."""
    w = world(repo, {"WP01": [], "WP02": ["WP01"]})

    def once(verb: str, _options: dict[str, str]) -> Fault | None:
        return "before" if verb == "list-ready" and len(w.host.sent(verb)) == 2 else None

    w.host.on_call = once
    assert start(w) == ExitCode.DONE
    assert "the host is asked again" in capsys.readouterr().out


def test_what_cannot_be_enforced_is_told(
    repo: Path, start: Orchestrate, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A run whose agents cannot be held to the policy says so at its start."""
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
