"""Tests of `spec_kitty_orchestrator.cli.policy` and the commands that print it."""

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from spec_kitty_client import Policy
from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.preflight.plan import default_policy
from tests.orchestrator.commands import Command, Ended

GOOD: dict[str, Any] = {
    "orchestrator_id": "tests",
    "orchestrator_version": "1",
    "agent_family": "none",
    "approval_mode": "manual",
    "sandbox_mode": "none",
    "network_mode": "none",
    "dangerous_flags": [],
}
BAD = {**GOOD, "agent_family": "monkey=hunter2", "dangerous_flags": ["--yolo", 1]}
DANGEROUS = "dangerous_flags"
BANS, TYPES = "host 3.2.3 and later", "host 3.2.0 and later"


@pytest.fixture
def run(run: Command) -> Command:
    """Return ``policy``, as a function of its words."""
    return partial(run, "policy")


@pytest.fixture
def folder(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go into a repository on a machine where no agent is installed but git is."""
    (tmp_path / "bin").mkdir()
    for name in ("git", "true"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(repo)
    return repo


def write(policy: object) -> str:
    """Write a policy into a file of this folder, and return its name."""
    Path("p.json").write_text(json.dumps(policy), encoding="utf-8")
    return "p.json"


@pytest.mark.parametrize("command", ["check", "show"])
def test_an_option_that_is_none_is_no_file(folder: Path, run: Command, command: str) -> None:
    """A mistyped option is an error, even where a file of that name exists."""
    ended = run(command, "--bogus")
    assert ended.code != ExitCode.DONE
    assert "there is no such option" in ended.out + ended.err
    (folder / "--bogus").write_text(json.dumps(GOOD), encoding="utf-8")
    assert run(command, "./--bogus").code == ExitCode.DONE


def test_a_good_policy_is_told_so(folder: Path, run: Command) -> None:
    """A valid policy is reported as accepted, with the hosts, and exit code 0."""
    file = write(GOOD)
    assert run("check", file) == Ended(0, "p.json: every host accepts it\n", "")
    ended = run("check", file, "--host-release", "3.1.10")
    assert ended == Ended(0, "p.json: host 3.1.10 accepts it\n", "")


def test_each_problem_is_a_line(folder: Path, run: Command) -> None:
    """Each problem is a line with field, rule, word and hosts, and no other value of the policy."""
    ended = run("check", write(BAD))
    assert ended.code == ExitCode.USAGE
    assert ended.err == ""
    flag, number, word = ended.out.splitlines()
    assert flag == f"{DANGEROUS}[0] is --yolo, a flag that hosts refuse (rule flag_banned; {BANS})"
    assert number == f"{DANGEROUS}[1] must be a string, not a number (rule flag_text; {TYPES})"
    secret = "contains 'key', which hosts treat as a secret, also inside a word"
    assert word == f"agent_family {secret} (rule secret; every host)"


def test_problems_are_data_for_scripts(folder: Path, run: Command) -> None:
    """The JSON has each part of a problem under its name."""
    ended = run("check", write(BAD), "--json")
    found = json.loads(ended.out)
    assert ended.code == ExitCode.USAGE
    assert (found["file"], found["host_release"], found["accepted"]) == ("p.json", None, False)
    assert [(p["field"], p["rule"], p["word"], p["releases"]) for p in found["problems"]] == [
        ("dangerous_flags[0]", "flag_banned", "--yolo", "host 3.2.3 and later"),
        ("dangerous_flags[1]", "flag_text", None, "host 3.2.0 and later"),
        ("agent_family", "secret", "key", "every host"),
    ]
    assert "hunter2" not in ended.out
    fine = json.loads(run("check", write(GOOD), "--json").out)
    assert (fine["accepted"], fine["problems"]) == (True, [])


def test_a_policy_is_judged_by_the_rules_of_a_release(folder: Path, run: Command) -> None:
    """One host may accept a policy that another refuses."""
    file = write({**GOOD, "dangerous_flags": ["--yolo"]})
    codes = [run("check", file, "--host-release", r).code for r in ("1.0.0", "3.2.2", "3.2.3")]
    assert codes == [0, 0, ExitCode.USAGE]


@pytest.mark.parametrize("release", ["x", "0.9", "9" * 5000])
def test_a_release_that_is_none_is_told(folder: Path, run: Command, release: str) -> None:
    """A mistyped release is an error, and not a host without rules."""
    ended = run("check", write(GOOD), "--host-release", release)
    assert ended.code == ExitCode.USAGE
    assert "is not a release of the host with orchestrator-api. Known: 1.0.0 to 4.0.0" in ended.err


@pytest.mark.parametrize(
    ("data", "said"), [(b"{", "is not JSON"), (b"\xff", "is not UTF-8"), (b"", "is not JSON")]
)
def test_a_file_that_is_no_policy_is_told(
    folder: Path, run: Command, data: bytes, said: str
) -> None:
    """Invalid JSON is a problem like any other."""
    Path("p.json").write_bytes(data)
    ended = run("check", "p.json")
    assert ended.code == ExitCode.USAGE
    assert ended.out.startswith(f"(policy) {said}")
    ended = run("show", "p.json")
    assert ended.code == ExitCode.USAGE
    assert said in ended.err


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_file_that_is_not_there_is_told(folder: Path, run: Command, command: str) -> None:
    """A missing file is reported with its name and the reason."""
    ended = run(command, "none.json")
    assert ended.code == ExitCode.USAGE
    assert "none.json cannot be read: No such file or directory" in ended.err


def test_a_policy_comes_from_standard_input(
    folder: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dash means standard input."""

    def given(policy: object) -> None:
        stdin = io.TextIOWrapper(io.BytesIO(json.dumps(policy).encode()))
        monkeypatch.setattr("sys.stdin", stdin)

    given(GOOD)
    assert run("check", "-").out == "The policy: every host accepts it\n"
    given(BAD)
    assert json.loads(run("check", "-", "--json").out)["file"] == "-"
    given(GOOD)
    assert json.loads(run("show", "-", "--json").out) == GOOD
    given(BAD)
    ended = run("show", "-")
    assert ended.code == ExitCode.USAGE
    assert "agent_family contains 'key'" in ended.err


def test_a_policy_is_shown(folder: Path, run: Command) -> None:
    """A policy is shown as one field a line, or as JSON that is a valid policy."""
    file = write({**GOOD, "team": {"name": "Zoë"}})
    lines = run("show", file).out.splitlines()
    assert 'agent_family          "none"' in lines
    assert len(lines) == len(GOOD) + 1
    assert json.loads(run("show", file, "--json").out) == {**GOOD, "team": {"name": "Zoë"}}


def test_the_policy_of_a_run_is_shown(
    folder: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file, show prints the policy of a run: of the settings, or by the agent."""
    monkeypatch.setenv("SPEC_KITTY_ORCHESTRATOR_IMPL_AGENT", "script:true")
    shown = json.loads(run("show", "--json").out)
    assert shown == default_policy(agents.find("script:true")).to_dict()
    write(GOOD)
    (folder / ".kittify").mkdir()
    (folder / ".kittify" / "orchestrator.toml").write_text('policy = "p.json"\n', encoding="utf-8")
    assert json.loads(run("show", "--json", f"--repo-root={folder}").out) == GOOD
    write(BAD)
    assert "p.json: dangerous_flags[0] is --yolo" in run("show").err


def test_without_an_agent_there_is_no_policy_of_a_run(folder: Path, run: Command) -> None:
    """The message names the agents to install."""
    ended = run("show")
    assert ended.code == ExitCode.USAGE
    assert "No agent is installed" in ended.err


def test_a_policy_to_begin_with_is_written(folder: Path, run: Command) -> None:
    """The written policy is accepted, and is the one that a run would send."""
    assert run("init") == Ended(0, "Wrote policy.json\n", "")
    assert run("check", "policy.json").code == ExitCode.DONE
    first = next(iter(agents.KNOWN.values()))
    assert Policy.from_file("policy.json") == default_policy(first)
    assert Path("policy.json").read_text(encoding="utf-8").endswith("}\n")


def test_it_is_for_the_agent_that_is_installed(folder: Path, run: Command, tmp_path: Path) -> None:
    """The written policy has the family of the installed agent."""
    (tmp_path / "bin" / "codex").symlink_to("/usr/bin/true")
    written = json.loads(run("init", "mine.json", "--json").out)
    assert written["agent_family"] == "codex"
    assert Policy.from_file("mine.json").to_dict() == written


@pytest.mark.parametrize("name", ["p.json", ".", "none/p.json"])
def test_nothing_is_written_over(folder: Path, run: Command, name: str) -> None:
    """An existing file is not changed, and a missing folder is reported."""
    write(BAD)
    before = Path("p.json").read_bytes()
    ended = run("init", name)
    assert ended.code == ExitCode.USAGE
    assert ended.err.startswith(f"spec-kitty-orchestrator: {name} ")
    assert Path("p.json").read_bytes() == before


@pytest.mark.parametrize("command", [(), ("check",), ("show",), ("init",)])
def test_help_has_examples(run: Command, command: tuple[str, ...]) -> None:
    """The help of each subcommand has examples."""
    ended = run(*command, "--help")
    assert ended.code == 0
    assert "Examples:" in ended.out
    assert "policy check policy.json" in ended.out


def test_a_word_too_few_is_told(run: Command) -> None:
    """``policy check`` needs a file."""
    assert run("check").code != 0
