"""Tests of `spec_kitty_orchestrator.cli.doctor`."""

import json
import os
from pathlib import Path

import pytest

from spec_kitty_orchestrator.agents import KNOWN
from spec_kitty_orchestrator.cli import _main
from spec_kitty_orchestrator.cli.doctor import Check, examine, exit_code
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.preflight.plan import default_policy
from tests.orchestrator.commands import Command
from tests.orchestrator.programs import Program


@pytest.fixture
def healthy(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Set up everything that a run needs."""
    program = Program(tmp_path / "bin")
    program.folder.mkdir()
    program.install()
    (program.folder / "codex").write_text("#!/bin/sh\n")
    (program.folder / "codex").chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(repo)
    (repo / ".kittify").mkdir()
    return program


def bad(folder: Path) -> dict[str, str]:
    """Return the failed checks."""
    return {check.name: check.found for check in examine(folder) if not check.ok}


def test_all_is_well(healthy: Program, repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every check has one line with what was found, and the exit code is 0."""
    assert _main(["doctor"]) == ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    names = ["host", "repository", "agents", "warm", "identity", "branch", "workspace"]
    assert [line.split()[:2] for line in lines] == [["ok", name] for name in names]
    assert lines[0].endswith("contract 1.5.0, as of host 3.2.7")
    assert lines[2].endswith(" implementer codex, reviewer codex")
    assert "no, the host is loaded for every call: no package that is installed" in lines[3]
    assert "Ada <ada@example.invalid>" in lines[4]
    assert lines[5].endswith(" work")


def found(folder: Path, name: str) -> Check:
    """Return the finding of one check."""
    return next(check for check in examine(folder) if check.name == name)


@pytest.mark.parametrize("where", ["file", "environment"])
def test_a_host_that_is_not_to_be_kept_warm(
    healthy: Program, repo: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Doctor reports that a run with these settings keeps no host warm."""
    if where == "file":
        (repo / ".kittify" / "orchestrator.toml").write_text("warm = false\n")
    else:
        monkeypatch.setenv("SPEC_KITTY_ORCHESTRATOR_WARM", "no")

    assert "warm = false" in found(repo, "warm").found


def test_bad_settings_are_told(healthy: Program, repo: Path) -> None:
    """An unreadable settings file is a problem, and the other checks are still made."""
    (repo / ".kittify" / "orchestrator.toml").write_text("warmth = 3\n")

    assert "'warmth'" in bad(repo)["settings"]
    assert found(repo, "workspace").ok


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("impl_agent = 'gemini'", ("agents", "Unknown agent 'gemini'.")),
        ("review_agent = 'opencode'", ("agents", "'opencode', which is not on PATH.")),
        ("max_per_agent = {gemini = 1}", ("agents", "--max-per-agent: unknown agent 'gemini'.")),
        ("policy = 'nope.json'", ("policy", "nope.json cannot be read: No such file")),
    ],
)
def test_settings_that_no_run_could_use_are_told(
    healthy: Program, repo: Path, run: Command, text: str, problem: tuple[str, str]
) -> None:
    """A missing agent or policy of the settings is reported before the run."""
    (repo / ".kittify" / "orchestrator.toml").write_text(text + "\n")
    ((name, words),) = bad(repo).items()
    assert name == problem[0]
    assert problem[1] in words
    assert run("doctor").code == ExitCode.USAGE


def test_a_policy_of_the_settings_is_named(healthy: Program, repo: Path) -> None:
    """A valid policy of the settings has a line of its own."""
    policy = default_policy(KNOWN["codex"]).to_dict()
    (repo / "policy.json").write_text(json.dumps(policy))
    (repo / ".kittify" / "orchestrator.toml").write_text("policy = 'policy.json'\n")
    named = str(repo / "policy.json")
    assert found(repo, "policy") == Check(name="policy", ok=True, found=named)


def test_a_host_from_before_the_api_is_told(healthy: Program, repo: Path) -> None:
    """For a host before the API, doctor names the release and the command that upgrades it."""
    healthy.prints(err="No such command 'orchestrator-api'.", code=2)
    healthy.prints("spec-kitty-cli version 0.16.2\n", verbs=("--version",))
    upgrade = "Upgrade the host: pip install --upgrade spec-kitty-cli"
    assert bad(repo)["host"] == f"Host 0.16.2 has no orchestrator-api. {upgrade}"


def test_an_unknown_mission_is_told(healthy: Program, repo: Path, run: Command) -> None:
    """An unknown mission, given as MISSION, is reported with the missions that exist."""
    (repo / "kitty-specs" / "034-payment").mkdir()
    healthy.says("mission-state", {"message": "there is none"}, "MISSION_NOT_FOUND")
    ended = run("doctor", "034-paymnt")
    assert ended.code == ExitCode.USAGE
    assert "'034-paymnt' does not exist in kitty-specs/" in ended.out
    assert "Did you mean 034-payment?" in ended.out


def test_scripts_get_json(healthy: Program, capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--json`` each check is an object."""
    assert _main(["doctor", "--json"]) == ExitCode.DONE
    found = json.loads(capsys.readouterr().out)
    assert all(check.keys() == {"name", "ok", "found"} for check in found)


def test_a_bad_host_is_told(healthy: Program, repo: Path) -> None:
    """A missing or silent host is the first problem, with the exit code for hosts."""
    healthy.prints("")
    assert "the host printed nothing" in bad(repo)["host"]
    healthy.version = "0.9.0"
    healthy.install()
    assert "contract 0.9.0" in bad(repo)["host"]
    assert _main(["doctor", "--json"]) == ExitCode.HOST


def test_the_release_of_an_old_host_is_shown(healthy: Program, repo: Path) -> None:
    """If the contract does not determine the release, doctor asks the host and shows it."""
    healthy.version, healthy.release = "1.0.0", "3.1.10"
    healthy.install()
    host = next(check for check in examine(repo) if check.name == "host")
    assert host.ok
    assert host.found.endswith("contract 1.0.0, as of host 3.1.10")


def test_a_folder_outside_is_told(healthy: Program, tmp_path: Path) -> None:
    """Outside a repository, doctor makes the checks that need none."""
    assert "is not in a git repository" in bad(tmp_path)["repository"]
    assert [check.name for check in examine(tmp_path)] == ["host", "agents", "repository"]


def test_a_missing_identity_is_told(
    healthy: Program, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a git identity, doctor shows the commands that set it."""
    for name in ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name)
    git(repo, "config", "user.useConfigOnly", "true")
    assert "git config --global user.name" in bad(repo)["identity"]


def test_a_protected_branch_is_told(healthy: Program, repo: Path) -> None:
    """The branch that hosts refuse to commit on is a problem before the run."""
    git(repo, "checkout", "--quiet", "-b", "main")
    assert "'main' is checked out" in bad(repo)["branch"]


def test_a_protected_branch_is_told_where_the_host_is_not_known(
    healthy: Program, repo: Path
) -> None:
    """If the host does not answer, a protected branch counts as a problem."""
    git(repo, "checkout", "--quiet", "-b", "main")
    healthy.prints("")
    assert set(bad(repo)) == {"host", "branch"}


@pytest.mark.parametrize(("release", "wrong"), [("3.1.10", set()), ("3.2.0", {"branch"})])
def test_main_is_no_problem_for_an_old_host(
    healthy: Program, repo: Path, release: str, wrong: set[str]
) -> None:
    """Only hosts from 3.2.0 on refuse to commit on main."""
    git(repo, "checkout", "--quiet", "-b", "main")
    healthy.version, healthy.release = "1.0.0", release
    healthy.install()
    assert set(bad(repo)) == wrong


def test_a_detached_head_is_no_problem(healthy: Program, repo: Path) -> None:
    """A detached HEAD is on no protected branch."""
    git(repo, "checkout", "--quiet", "--detach")
    assert bad(repo) == {}


def test_a_project_that_is_none_is_told(healthy: Program, repo: Path) -> None:
    """Doctor reports a repository without a project, or whose git does not ignore worktrees."""
    (repo / ".gitignore").write_text("")
    assert "echo .worktrees/" in bad(repo)["workspace"]
    (repo / ".worktrees").symlink_to("/tmp")
    assert f"Remove the link: rm {repo}/.worktrees" in bad(repo)["workspace"]
    (repo / ".kittify").rmdir()
    assert "spec-kitty init" in bad(repo)["workspace"]


def test_exit_codes() -> None:
    """The exit code for the host wins over the one for usage."""
    host, git_ = (Check(name=name, ok=False, found="") for name in ("host", "identity"))
    assert exit_code([]) == ExitCode.DONE
    assert exit_code([git_]) == ExitCode.USAGE
    assert exit_code([git_, host]) == ExitCode.HOST


def test_a_mission_on_which_the_host_crashes(healthy: Program, repo: Path) -> None:
    """Doctor names a file without front matter; for any other crash it shows the host's output."""
    crash = "Traceback (most recent call last):\nFrontmatterError: none\n"
    healthy.prints(err=crash, code=1, verbs=("mission-state",))
    assert "FrontmatterError: none" in examine(repo, "m")[-1].found

    tasks = repo / "kitty-specs" / "m" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "WP01-a.md").write_text("# WP01\n")

    check = examine(repo, "m")[-1]
    assert not check.ok
    assert check.found.startswith("kitty-specs/m/tasks/WP01-a.md without front matter")


def test_a_mission_that_was_never_finalised(healthy: Program, repo: Path) -> None:
    """A mission that was never finalised is a problem, because no run could start."""
    about = {"mission_slug": "m", "mission_number": None, "mission_type": ""}
    packages = [{"wp_id": "WP01", "lane": "planned", "dependencies": [], "last_actor": None}]
    none = {"planned": 0, "in_review": 0}
    healthy.says("mission-state", {**about, "summary": none, "work_packages": packages})

    check = examine(repo, "m")[-1]

    assert not check.ok
    assert "spec-kitty agent mission finalize-tasks --mission m" in check.found
