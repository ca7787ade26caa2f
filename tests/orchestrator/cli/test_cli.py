"""Tests of `spec_kitty_orchestrator.cli`: typed words, output and exit codes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import spec_kitty_orchestrator
from spec_kitty_client import Policy
from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator import run as session
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.preflight import plan
from spec_kitty_orchestrator.settings import sources as config
from spec_kitty_orchestrator.state.events import RunStarted
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.journal import Journal, event_from_dict, read
from spec_kitty_orchestrator.state.lock import only_run
from tests.orchestrator.commands import Command, Ended
from tests.orchestrator.hosts import SLUG
from tests.orchestrator.programs import Program

COMMANDS = ("orchestrate", "resume", "status", "abort", "agents", "doctor", "demo")
AGENTS = ("--impl-agent=script:true", "--review-agent=script:true")
ORCHESTRATE = ("orchestrate", f"--mission={SLUG}", *AGENTS)


def complaint(ended: Ended) -> str:
    """Return the one error line of a command; retries are shown before it."""
    assert "Traceback" not in ended.err
    *before, line = ended.err.splitlines(keepends=True)
    assert all(told.startswith("Host call retried") for told in before)
    assert line.startswith("spec-kitty-orchestrator: ")
    return line


# Missing and broken hosts


@pytest.mark.parametrize("words", [ORCHESTRATE, (*ORCHESTRATE, "--dry-run")])
def test_a_missing_host_is_told(
    bare: Path, repo: Path, run: Command, words: tuple[str, ...]
) -> None:
    """Without a host on PATH the message says how to install one."""
    ended = run(*words, f"--repo-root={repo}")
    assert ended.code == ExitCode.HOST
    assert "pip install spec-kitty-cli" in complaint(ended)


@pytest.mark.parametrize("words", [ORCHESTRATE, (*ORCHESTRATE, "--dry-run")])
def test_a_contract_that_is_none_is_told(
    host: Program, run: Command, words: tuple[str, ...]
) -> None:
    """A host that is older than the required contract is named with its version."""
    host.version = "0.9.0"
    host.install()
    ended = run(*words)
    assert ended.code == ExitCode.HOST
    assert "The host speaks contract 0.9.0" in complaint(ended)


@pytest.mark.parametrize("version", ["1.1.0", "1.2.0", "1.4.0", "1.16.0"])
def test_every_contract_will_do(host: Program, run: Command, version: str) -> None:
    """Every host that has the API can be used for a run."""
    host.version = version
    host.install()
    ended = run(*ORCHESTRATE, "--dry-run", "--json")
    assert ended.code == ExitCode.DONE
    assert json.loads(ended.out)["contract"] == version


def test_a_read_is_tried_three_times(host: Program, run: Command) -> None:
    """A read without an answer is sent three times before a run gives up."""
    host.prints("", verbs=("mission-state",))
    assert run(*ORCHESTRATE).code == ExitCode.HOST
    assert host.calls.count("mission-state") == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"out": "<html>\n"}, "spec-kitty printed '<html>'"),
        ({"out": ""}, "the host printed nothing (exit code 0)"),
        ({"err": "Traceback:\nImportError: no typer\n", "code": 1}, "ImportError: no typer"),
        ({"out": '{"success": true}\n'}, "invalid response (exit code 0)"),
        ({"code": 4}, "spec-kitty upgrade"),
    ],
)
def test_a_host_that_makes_no_sense_is_told(
    host: Program, run: Command, answer: dict[str, object], words: str
) -> None:
    """Garbage, silence and crashes of the host are one line with the host's output."""
    host.prints(**answer)  # type: ignore[arg-type]
    ended = run(*ORCHESTRATE)
    assert ended.code == ExitCode.HOST
    assert words in complaint(ended)


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_work_package_without_front_matter_is_told(
    host: Program, run: Command, more: tuple[str, ...]
) -> None:
    """The message names the file on which the host crashes, for the user to correct."""
    tasks = Path("kitty-specs", SLUG, "tasks")
    tasks.mkdir(parents=True)
    (tasks / "WP01-first.md").write_text("# WP01\n")
    host.prints(err="Traceback (most recent call last):\nFrontmatterError: none\n", code=1)
    ended = run(*ORCHESTRATE, *more)
    assert ended.code == ExitCode.USAGE
    assert f"{tasks}/WP01-first.md without front matter" in complaint(ended)


def test_a_host_that_hangs_is_told(host: Program, run: Command) -> None:
    """A host that exceeds the time limit is ended, and the message names the limit."""
    host.prints(sleep=60)
    ended = run(*ORCHESTRATE, "--host-timeout=0.3")
    assert ended.code == ExitCode.HOST
    assert ended.err.count("Host call retried") == 2
    assert "mission-state: no answer within 0.3 s" in complaint(ended)
    assert "raise --host-timeout" in complaint(ended)


def test_a_mission_without_work_packages_is_told(host: Program, run: Command) -> None:
    """A mission whose branch is not checked out looks empty; the message says so."""
    about = {"mission_slug": SLUG, "mission_number": None, "mission_type": ""}
    host.says("mission-state", {**about, "summary": {}, "work_packages": []})
    ended = run(*ORCHESTRATE)
    assert ended.code == ExitCode.USAGE
    assert "has no work packages here" in complaint(ended)


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_an_unknown_mission_is_told(host: Program, run: Command, more: tuple[str, ...]) -> None:
    """A mission that does not exist is reported with the nearest one and all others."""
    for name in (SLUG.upper(), "refund-02"):
        Path("kitty-specs", name).mkdir()
    host.says("mission-state", {"message": "there is no such mission"}, "MISSION_NOT_FOUND")
    ended = run(*ORCHESTRATE, *more)
    assert ended.code == ExitCode.USAGE
    assert f"Mission {SLUG!r} does not exist in kitty-specs/" in complaint(ended)
    assert complaint(ended).endswith(f"Available: {SLUG.upper()}, refund-02\n")
    assert not StateFiles(Path.cwd()).journal.exists()


def test_a_mission_that_is_no_name_is_told(host: Program, run: Command) -> None:
    """A path in the place of a name is not sent to the host."""
    ended = run("orchestrate", "--mission=kitty-specs/x", *AGENTS)
    assert ended.code == ExitCode.USAGE
    assert "is not a name" in complaint(ended)
    assert host.calls == []


# Mistakes of the user


def test_an_unknown_agent_is_told(host: Program, run: Command) -> None:
    """A misspelled agent is named, before the host is asked."""
    ended = run("orchestrate", "--mission=m", "--impl-agent=claud")
    assert ended.code == ExitCode.USAGE
    assert "Unknown agent 'claud'. Did you mean claude-code? Available: " in complaint(ended)
    assert host.calls == []


def test_a_mission_has_to_be_named(host: Program, run: Command) -> None:
    """Without a mission the command guesses none, and lists all."""
    Path("kitty-specs", SLUG).mkdir()
    ended = run("orchestrate", *AGENTS)
    assert ended.code == ExitCode.USAGE
    assert complaint(ended).endswith(f"Missions here: {SLUG}\n")


@pytest.mark.parametrize("command", ["orchestrate", "resume", "status", "abort"])
def test_a_folder_without_a_repository_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Command, command: str
) -> None:
    """Outside a repository every command reports that."""
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path / "plain")
    ended = run(command)
    assert ended.code == ExitCode.USAGE
    assert "is not in a git repository" in complaint(ended)


@pytest.mark.parametrize("branch", ["main", "master"])
def test_a_protected_branch_is_told(host: Program, run: Command, branch: str) -> None:
    """On a branch where hosts refuse to commit, nothing is moved and no agent is started."""
    git(Path.cwd(), "checkout", "--quiet", "-b", branch)
    ended = run(*ORCHESTRATE)
    assert ended.code == ExitCode.USAGE
    assert f"The branch {branch!r} is checked out" in complaint(ended)
    assert set(host.calls) == {"contract-version"}
    assert not StateFiles(Path.cwd()).journal.exists()


@pytest.mark.parametrize(
    ("release", "code"),
    [("3.1.10", ExitCode.DONE), ("3.2.0", ExitCode.USAGE), ("3.2.1", ExitCode.USAGE)],
)
def test_main_is_no_problem_for_an_old_host(
    host: Program, run: Command, release: str, code: ExitCode
) -> None:
    """A run on main is refused only for hosts from 3.2.0 on."""
    git(Path.cwd(), "checkout", "--quiet", "-b", "main")
    host.version, host.release = "1.0.0", release
    host.install()
    assert run(*ORCHESTRATE, "--dry-run").code == code


def test_a_protected_branch_may_be_allowed(
    host: Program, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's own switch and its own list of branches are respected."""
    git(Path.cwd(), "checkout", "--quiet", "-b", "main")
    monkeypatch.setenv("SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS", "1")
    assert run(*ORCHESTRATE, "--dry-run").code == ExitCode.DONE
    monkeypatch.delenv("SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS")
    assert run(*ORCHESTRATE, "--dry-run").code == ExitCode.USAGE
    (Path.cwd() / ".kittify").mkdir(exist_ok=True)
    (Path.cwd() / ".kittify" / "config.yaml").write_text("protected_branches: [release]\n")
    assert run(*ORCHESTRATE, "--dry-run").code == ExitCode.DONE


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_git_that_fails_is_told(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """A broken repository ends with git's own message and no traceback."""
    real, folder = shutil.which("git"), tmp_path / "broken"
    folder.mkdir()
    fails = 'case " $* " in *" branch "*) echo "fatal: bad HEAD" >&2; exit 128; esac'
    (folder / "git").write_text(f'#!/bin/sh\n{fails}\nexec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    ended = run(*ORCHESTRATE, *more)

    assert ended.code == ExitCode.INCOMPLETE
    assert complaint(ended).endswith(f": git branch in {Path.cwd()}: fatal: bad HEAD\n")


def test_a_missing_identity_is_told(
    host: Program, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a git identity no run begins, because its work could not be committed."""
    for name in (
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
    ):
        monkeypatch.delenv(name)
    git(Path.cwd(), "config", "user.useConfigOnly", "true")
    ended = run(*ORCHESTRATE)
    assert ended.code == ExitCode.USAGE
    assert "git config --global user.name" in complaint(ended)
    assert host.calls == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_rounds = ", "line 1 is not valid TOML"),
        ("max_rouns = 1", "unknown setting 'max_rouns'. Did you mean max_rounds?"),
        ("max_rounds = 'x'", "orchestrator.toml: max_rounds: expected an integer, not 'x'"),
        ("max_rounds = -1", "orchestrator.toml: max_rounds: must be at least 0, not -1"),
    ],
)
def test_a_bad_file_is_told(host: Program, run: Command, text: str, words: str) -> None:
    """A settings file with a mistake stops the run before it begins."""
    file = Path.cwd() / ".kittify" / "orchestrator.toml"
    file.parent.mkdir()
    file.write_text(text)
    ended = run(*ORCHESTRATE)
    assert ended.code == ExitCode.USAGE
    assert words in complaint(ended)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--max-rounds=-1", "--max-rounds: must be at least 0, not -1"),
        ("--max-concurrent=0", "--max-concurrent: must be at least 1, not 0"),
        ("--max-concurrent=two", "--max-concurrent: expected an integer, not 'two'"),
        ("--max-concurrent=1.5", "--max-concurrent: expected an integer, not '1.5'"),
        ("--strategy=squas", "--strategy: invalid value 'squas'. Did you mean squash? Available: "),
        ("--order=shortest", "--order: invalid value 'shortest'. Available: longest-path, plan"),
        ("--max-per-agent=codex", "--max-per-agent: expected AGENT=NUMBER, for example codex=2"),
        ("--max-per-agent=bob=1", "--max-per-agent: unknown agent 'bob'. Available: claude-code"),
        ("--policy=/no/such.json", "/no/such.json cannot be read: No such file or directory."),
        ("--impl-agent=script:", "needs a command"),
        ("--impl-agent=script:./a 'b", "cannot be split into words: no closing quotation."),
        ("--impl-agent=script:./nope.sh", "nope.sh', which does not exist. Correct the command"),
        ("--impl-agent=script:./README.md", "README.md', which is not executable. Run: chmod +x"),
        ("--target", "--target needs a value. See `spec-kitty-orchestrator orchestrate --help`"),
    ],
)
def test_a_bad_value_is_told(host: Program, run: Command, flag: str, words: str) -> None:
    """An invalid value of a flag is named with the valid ones."""
    implementer = () if flag.startswith("--impl-agent") else (AGENTS[0],)
    ended = run("orchestrate", SLUG, AGENTS[1], *implementer, flag)
    assert ended.code == ExitCode.USAGE
    assert words in complaint(ended)


@pytest.mark.parametrize(
    "words",
    [
        (*ORCHESTRATE, "--max-round=1"),
        (*ORCHESTRATE, "--max-rounds=many"),
        ("orchestrat",),
        ("status", "extra"),
        ("abort", "--force"),
    ],
)
def test_what_cannot_be_parsed_is_told(host: Program, run: Command, words: tuple[str, ...]) -> None:
    """An unknown flag, command or word ends with the exit code for usage and no traceback."""
    ended = run(*words)
    assert ended.code == ExitCode.USAGE
    assert "Traceback" not in ended.out + ended.err
    assert ended.out + ended.err
    assert host.calls == []


def test_a_secret_in_a_policy_is_told(host: Program, run: Command, tmp_path: Path) -> None:
    """A policy that hosts refuse is reported by file, field and word, before any call."""
    policy = {**plan.default_policy(agents.find("script:true")).to_dict()}
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({**policy, "team": {"note": "use my API key"}}))
    ended = run(*ORCHESTRATE, f"--policy={path}")
    assert ended.code == ExitCode.USAGE
    told = complaint(ended)
    assert str(path) in told
    assert "team.note contains 'key'" in told
    assert host.calls == []


@pytest.mark.parametrize("command", ["resume", "status"])
def test_no_run_is_told(host: Program, run: Command, command: str) -> None:
    """Without a recorded run, resume and status say that there is none."""
    ended = run(command)
    assert ended.code == ExitCode.USAGE
    assert "No run is recorded" in complaint(ended)
    ended = run(command, "--mission=x")
    assert "No run of 'x' is recorded" in complaint(ended)


def test_another_run_is_told(host: Program, run: Command) -> None:
    """While a run is alive, a second one does not begin."""
    with only_run(StateFiles(Path.cwd())):
        ended = run(*ORCHESTRATE)
    assert ended.code == ExitCode.ANOTHER_RUN
    assert "Another run is alive" in complaint(ended)
    assert host.calls == []


# Commands that only read


def test_a_dry_run_moves_nothing(host: Program, run: Command) -> None:
    """A dry run reads the host once, writes no file, and shows what a run would do."""
    ended = run(*ORCHESTRATE, "--dry-run")
    assert ended.code == ExitCode.DONE
    assert host.calls == ["mission-state"]
    assert f"Mission {SLUG} on contract 1.5.0" in ended.out
    assert "WP02     planned  <- first" in ended.out
    assert ended.out.endswith("Nothing was moved.\n")
    assert git(Path.cwd(), "status", "--porcelain", "--ignored") == ""


def test_a_dry_run_may_be_json(host: Program, run: Command) -> None:
    """The JSON has settings, policy, commands, lanes and the first work packages."""
    ended = run(*ORCHESTRATE, "--dry-run", "--json", "--max-rounds=1")
    found = json.loads(ended.out)
    assert found["first"] == ["WP02"]
    assert found["lanes"] == {"WP01": "done", "WP02": "planned"}
    assert found["settings"]["max_rounds"] == 1
    assert found["implement"] == "true"
    assert Policy.from_dict(found["policy"]).sandbox_mode == "none"
    assert ended.err == ""


def test_what_a_policy_cannot_enforce_is_told(host: Program, run: Command, tmp_path: Path) -> None:
    """The dry run warns about a policy that cannot be enforced on an agent."""
    policy = plan.default_policy(agents.find("script:true")).to_dict()
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({**policy, "network_mode": "none"}))
    ended = run(*ORCHESTRATE, "--dry-run", f"--policy={path}")
    assert (
        "warning: the policy says network_mode=none, which cannot be enforced on script"
        in ended.out
    )


def test_settings_come_from_everywhere(
    host: Program, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags win over the environment, the environment over the file, the file over the defaults."""
    file = Path.cwd() / ".kittify" / "orchestrator.toml"
    file.parent.mkdir()
    file.write_text("max_rounds = 1\nmax_attempts = 1\nmax_concurrent = 1\nmerge = true\n")
    monkeypatch.setenv("SPEC_KITTY_ORCHESTRATOR_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("SPEC_KITTY_ORCHESTRATOR_MAX_CONCURRENT", "5")
    ended = run(*ORCHESTRATE, "--dry-run", "--json", "--max-concurrent=9", "--no-merge")
    found = json.loads(ended.out)["settings"]
    names = ("max_rounds", "max_attempts", "max_concurrent", "heartbeat", "merge")
    assert [found[name] for name in names] == [1, 5, 9, 30.0, False]


def test_limits_and_order_are_flags(host: Program, run: Command) -> None:
    """Limits of roles and agents, and the order, can be given as the help shows them."""
    words = ("--max-implementing", "3", "--max-reviewing", "2", "--order", "plan")
    each = ("--max-per-agent", "claude-code=2", "--max-per-agent", "codex=1")
    found = json.loads(run(*ORCHESTRATE, "--dry-run", "--json", *words, *each).out)["settings"]
    assert (found["max_implementing"], found["max_reviewing"], found["order"]) == (3, 2, "plan")
    assert found["max_per_agent"] == {"claude-code": 2, "codex": 1}
    assert "--empty" not in run("orchestrate", "--help").out


def test_the_repository_may_come_from_the_environment(
    host: Program,
    run: Command,
    repo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """repo_root can be given as a flag and as a variable, as the documentation says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEC_KITTY_ORCHESTRATOR_REPO_ROOT", str(repo))
    assert run(*ORCHESTRATE, "--dry-run").code == ExitCode.DONE


def test_any_folder_of_the_repository_will_do(
    host: Program, run: Command, monkeypatch: pytest.MonkeyPatch, repo: Path
) -> None:
    """A command in a subfolder works on the whole repository."""
    monkeypatch.chdir(repo / "kitty-specs")
    ended = run(*ORCHESTRATE, "--dry-run", "--json")
    assert json.loads(ended.out)["settings"]["repo_root"] == str(repo)


# Status and resume


def journal(repo: Path, *events: tuple[str, Mapping[str, object]], mission: str = SLUG) -> None:
    """Write the events of a run into the journal."""
    settings = config.Settings(
        mission=mission, repo_root=repo, impl_agent="script:true", review_agent="script:true"
    )
    StateFiles(repo).make()
    made = Journal(StateFiles(repo).journal, mission=mission, run="r")
    made.write(RunStarted(settings=config.save(settings), version="0"))
    for kind, fields in events:
        made.write(event_from_dict({"kind": kind, **fields}))
    made.close()


LANES = (("lane", {"wp": "WP01", "lane": "planned"}), ("lane", {"wp": "WP02", "lane": "planned"}))


def test_status_takes_lanes_from_the_host(host: Program, run: Command, repo: Path) -> None:
    """The lanes come from the host; the journal adds the attempts of agents."""
    journal(repo, *LANES)
    ended = run("status", "--json")
    found = json.loads(ended.out)
    assert ended.code == ExitCode.DONE
    assert found["lanes_from"] == "host"
    assert [wp["lane"] for wp in found["work_packages"]] == ["done", "planned"]
    assert found["run"] == "died"


def test_status_without_a_host_shows_the_journal(bare: Path, repo: Path, run: Command) -> None:
    """Without a host, status shows the lanes of the last run and says so."""
    journal(repo, *LANES)
    ended = run("status", "--json", f"--repo-root={repo}")
    found = json.loads(ended.out)
    assert ended.code == ExitCode.DONE
    assert found["lanes_from"] == "journal"
    assert "pip install" in found["host_problem"]
    shown = run("status", f"--repo-root={repo}")
    assert "The lanes are those of the last run" in shown.out
    assert "WP02" in shown.out


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("done", "is complete"), ("incomplete", "is incomplete"), (None, "died")],
)
def test_status_says_how_the_last_run_ended(
    host: Program, run: Command, repo: Path, outcome: str | None, words: str
) -> None:
    """Each end of a run has its sentence; a run without a recorded end has died."""
    end: dict[str, object] = {"outcome": outcome, "problem": None, "unfinished": {}, "next": []}
    journal(repo, *LANES, *((("run-ended", end),) if outcome else ()))
    assert words in " ".join(run("status").out.split())


def test_status_says_why_a_mission_is_not_accepted(host: Program, run: Command, repo: Path) -> None:
    """Status shows the reasons and commands of the last run until the mission is accepted."""
    why = {"reason": "it wants more:\n  - git_dirty", "command": "spec-kitty accept"}
    end = {"outcome": "done", "problem": None, "unfinished": {}, "next": ["spec-kitty accept"]}
    journal(repo, *LANES, ("acceptance-unavailable", why), ("run-ended", end))
    shown = run("status").out
    assert "Not accepted: it wants more:" in shown
    assert "next: spec-kitty accept" in shown
    found = json.loads(run("status", "--json").out)
    assert (found["not_accepted"], found["next"]) == (why["reason"], ["spec-kitty accept"])
    journal(repo, *LANES, ("accepted", {"at_host": None}))
    assert json.loads(run("status", "--json").out)["not_accepted"] is None


def test_status_knows_a_live_run(host: Program, run: Command, repo: Path) -> None:
    """Status distinguishes a live run from one that died."""
    journal(repo, *LANES)
    with only_run(StateFiles(repo)):
        assert json.loads(run("status", "--json").out)["run"] == "alive"


def test_status_without_a_mission_shows_the_last_one(
    host: Program, run: Command, repo: Path
) -> None:
    """Without a mission, status shows the mission that was run last."""
    journal(repo, *LANES, mission="034-payment")
    journal(repo, *LANES, mission="1034-refund")
    assert json.loads(run("status", "--json").out)["mission"] == "1034-refund"


@pytest.mark.parametrize(
    ("word", "slug"),
    [
        ("034-payment", "034-payment"),
        ("034", "034-payment"),
        ("1034", "1034-refund"),
        ("01ABCDEF", "pay-01ABCDEF"),
        ("01abcdef", "pay-01ABCDEF"),
        ("01KXYZKXYZKXYZKXYZKXYZKXYZ", "035-orders"),
        ("01KXYZKX", "035-orders"),
    ],
)
def test_a_mission_is_named_exactly(
    host: Program, run: Command, repo: Path, word: str, slug: str
) -> None:
    """A slug, a number, a mid8 or an id names one mission, whose settings are taken."""
    about = repo / "kitty-specs" / "035-orders" / "meta.json"
    about.parent.mkdir()
    about.write_text('{"mission_id": "01KXYZKXYZKXYZKXYZKXYZKXYZ"}')
    for name in ("034-payment", "1034-refund", "pay-01ABCDEF", "035-orders", "035x-late"):
        journal(repo, *LANES, mission=name)
    assert json.loads(run("status", word, "--json").out)["mission"] == slug


@pytest.mark.parametrize("command", ["status", "resume"])
@pytest.mark.parametrize("word", ["34", "03", "pay", "refund", "034-pay"])
def test_a_part_of_a_name_names_nothing(
    host: Program, run: Command, repo: Path, command: str, word: str
) -> None:
    """A part of a name resumes no mission; the message lists the missions."""
    for name in ("034-payment", "1034-refund"):
        journal(repo, *LANES, mission=name)
    ended = run(command, word)
    assert ended.code == ExitCode.USAGE
    assert f"No run of {word!r} is recorded in " in complaint(ended)
    assert ended.err.endswith("Recorded: 034-payment, 1034-refund\n")


def test_a_number_of_two_missions_is_ambiguous(host: Program, run: Command, repo: Path) -> None:
    """A number that two missions have selects neither."""
    for name in ("034-payment", "034-refund"):
        journal(repo, *LANES, mission=name)
    ended = run("resume", "034")
    assert ended.code == ExitCode.USAGE
    told = "Several missions are called '034': 034-payment, 034-refund. Name one in full.\n"
    assert complaint(ended).endswith(told)


def test_resume_takes_the_settings_of_the_last_run(
    host: Program, run: Command, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resume uses the flags of the first run; flags given now replace them."""
    journal(repo, *LANES)
    seen: list[plan.Plan] = []

    def begins(made: plan.Plan, *_: object) -> ExitCode:
        seen.append(made)
        return ExitCode.DONE

    monkeypatch.setattr(session, "run_mission", begins)
    assert run("resume", "--max-rounds=9").code == ExitCode.DONE
    assert seen[0].settings.mission == SLUG
    assert seen[0].settings.impl_agent == "script:true"
    assert seen[0].settings.max_rounds == 9


def test_abort_without_a_run_is_no_problem(host: Program, run: Command) -> None:
    """Abort without a run is no error, and advises resume only if there is a run to resume."""
    assert run("abort").out == "No run is alive.\n"
    found = json.loads(run("abort", "--cleanup-worktrees", "--json").out)
    nothing = {"agents_ended": [], "processes_ended": [], "not_ended": [], "removed": []}
    assert found == {"run_ended": False, **nothing, "left": {}, "not_recorded": None}


# Agents, doctor, help


def test_agents_are_listed(host: Program, run: Command) -> None:
    """Every known agent is listed, installed or not, and scripts get the path."""
    (host.folder / "codex").write_text("#!/bin/sh\n")
    (host.folder / "codex").chmod(0o755)
    found = {row["name"]: row for row in json.loads(run("agents", "--json").out)}
    assert set(found) == set(agents.KNOWN)
    assert found["codex"]["installed"] is True
    assert found["codex"]["program"] == str(host.folder / "codex")
    lines = run("agents").out.splitlines()
    assert [line.split()[0] for line in lines] == [*agents.KNOWN, "script:COMMAND"]


def test_what_is_not_installed_says_how(bare: Path, run: Command) -> None:
    """An agent that is not installed is listed with the command that installs it."""
    assert "not installed. Install it: npm install -g @openai/codex" in run("agents").out


def test_the_version_is_told(run: Command) -> None:
    """``--version`` is the version of the distribution."""
    assert run("--version").out.strip() == spec_kitty_orchestrator.__version__


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Command, command: str) -> None:
    """The help of every command names its flags, with exit code 0."""
    ended = run(command, "--help")
    assert ended.code == 0
    assert "--json" in ended.out


@pytest.mark.parametrize("command", ["orchestrate", "resume", "status", "abort"])
def test_help_has_examples(run: Command, command: str) -> None:
    """The help of the most used commands has examples."""
    out = run(command, "--help").out
    assert "Examples:" in out
    assert f"  spec-kitty-orchestrator {command}" in out


def test_help_lists_commands_and_exit_codes(run: Command) -> None:
    """The first page names every command and what each exit code means."""
    out = run("--help").out
    assert all(command in out for command in COMMANDS)
    assert "Exit codes:" in out
    assert all(str(int(code)) in out for code in ExitCode)


def test_every_setting_has_a_flag(run: Command) -> None:
    """Each name of the settings is a flag of ``orchestrate``."""
    out = run("orchestrate", "--help").out
    names = [name.replace("_", "-") for name in config._NAMES]
    assert [name for name in names if f"--{name}" not in out] == []


def program(folder: Path, *words: str | bytes, **env: str) -> Ended:
    """Run the command line as a program of its own."""
    code = "from spec_kitty_orchestrator.cli import main; main()"
    source = str(Path(spec_kitty_orchestrator.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": source, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_the_program_ends_with_the_exit_code(repo: Path) -> None:
    """A shell sees the exit code and one line, never a traceback."""
    ended = program(repo, "status")
    assert ended.code == ExitCode.USAGE
    assert complaint(ended)


STRICT = {"PYTHONIOENCODING": "utf-8:strict", "PYTHONUTF8": "1"}


def test_a_name_that_is_no_text_can_be_complained_about(repo: Path) -> None:
    """An argument that is not UTF-8 is shown in the error line, escaped."""
    flags = (b"--repo-root=no\xffwhere", "--mission=m", *AGENTS)
    ended = program(repo, "orchestrate", *flags, **STRICT)
    assert ended.code == ExitCode.USAGE
    assert r"no\udcffwhere" in complaint(ended)


def test_a_name_that_is_no_text_can_be_printed(repo: Path) -> None:
    """A file name that is not UTF-8 is printed on stdout, escaped."""
    ended = program(repo, "policy", "init", b"p\xff.json", **STRICT)
    assert (ended.code, ended.out, ended.err) == (0, "Wrote p\\udcff.json\n", "")
    assert [os.fsencode(path.name) for path in repo.glob("p*")] == [b"p\xff.json"]


def test_events_may_be_json(host: Program, run: Command, repo: Path) -> None:
    """With ``--json`` a run prints one line of JSON per event, and no other output."""
    packages: list[dict[str, object]] = [
        {"wp_id": "WP01", "lane": "blocked", "dependencies": [], "last_actor": None}
    ]
    about = {"mission_slug": SLUG, "mission_number": None, "mission_type": ""}
    host.says("mission-state", {**about, "summary": {}, "work_packages": packages})
    ended = run(*ORCHESTRATE, "--json")
    assert ended.code == ExitCode.INCOMPLETE
    assert ended.err == ""
    printed = [json.loads(line) for line in ended.out.splitlines()]
    assert printed == [event.to_dict() for event in read(StateFiles(repo).journal)]
    assert [event["kind"] for event in printed] == ["run-started", "lane", "run-ended"]
    assert printed[-1]["unfinished"]["WP01"].startswith("is blocked")
