"""Tests of `spec_kitty_client.testing.host.store`, and of the program that it makes."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from spec_kitty_client import Client, Lane, Policy
from spec_kitty_client.testing.host import SimulatedHost
from spec_kitty_client.testing.host.store import PLACE, StateDamaged, call, make
from spec_kitty_client.transports.process import ProcessTransport
from tests import missions

PLAN = {"WP01": [], "WP02": ["WP01"]}
STATE = ("orchestrator-api", "mission-state", "--mission=m")
NOTE = ("orchestrator-api", "append-history", "--mission=m", "--wp=WP01", "--actor=a")
CLAIM = (
    *("orchestrator-api", "start-implementation", "--mission=m", "--wp=WP01"),
    f"--policy={missions.POLICY}",
)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Make a host whose mission is named m."""
    return make(tmp_path / "host", PLAN, release="3.2.7", slug="m")


def state_of(program: Path) -> dict[str, Any]:
    text = (program.parents[1] / "state.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


def run(program: Path, *args: str, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *args], capture_output=True, text=True, check=False, timeout=120, **how
    )


@pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.7"])
def test_the_program_answers_as_the_host_in_memory(release: str, tmp_path: Path) -> None:
    """Calls of the program get the same answers as calls in memory, except for times."""
    program = make(tmp_path / "host", PLAN, release=release)
    memory = SimulatedHost(PLAN, release=release)
    feature = memory.release.says_feature
    select = f"--{'feature' if feature else 'mission'}={memory.mission.slug}"
    read = "feature-state" if feature else "mission-state"
    claim = ("start-implementation", select, "--wp=WP01", "--actor=a", CLAIM[-1])
    calls = [(read, select), claim, claim, (read, select), ("bogus",)]
    for args in (("--version",), *(("orchestrator-api", *words) for words in calls)):
        one, other = run(program, *args), memory.run(args, time_limit=1)
        assert one.returncode == other.exit_code
        assert stable(one.stdout) == stable(other.stdout.decode())
        assert one.stderr == other.stderr.decode()


def stable(text: str) -> object:
    if not text.startswith("{"):
        return text
    return {k: v for k, v in json.loads(text).items() if k not in ("timestamp", "correlation_id")}


def test_a_client_calls_it_by_its_name(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client runs the simulated host as spec-kitty on PATH, from any folder."""
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    policy = Policy.from_json(missions.POLICY)
    transport = ProcessTransport(repo=elsewhere)
    client = Client(transport=transport, actor="a", policy=policy)
    client.start_implementation("m", "WP01")
    assert client.mission_state("m").lanes()["WP01"] is Lane.IN_PROGRESS


@pytest.mark.parametrize("name", ["a b", "it's", 'a"b', "$HOME", "a;b", "é", "a\nb", "-x"])
def test_the_path_may_have_any_characters(name: str, tmp_path: Path) -> None:
    """The program runs in a folder whose path has any characters."""
    folder = tmp_path / name
    program = make(folder, PLAN, release="3.2.7", slug="m")
    done = run(program, *STATE, cwd="/")
    assert json.loads(done.stdout)["success"], done.stderr


def test_a_folder_that_was_named_from_here_is_found_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that was made with relative paths runs from another folder."""
    monkeypatch.chdir(tmp_path)
    program = make(Path("host"), PLAN, release="3.2.7", slug="m", root=Path("repo"))
    assert program == tmp_path / "host" / "bin" / "spec-kitty"
    assert run(program, *STATE, cwd="/").returncode == 0
    assert (tmp_path / "repo" / ".git").is_dir()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    """A folder with files is refused and not changed; an empty one is accepted."""
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        make(tmp_path, PLAN, release="3.2.7")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "empty", PLAN, release="3.2.7").exists()


def test_a_wrong_plan_leaves_no_folder(tmp_path: Path) -> None:
    """An invalid plan creates nothing."""
    with pytest.raises(ValueError, match="cycle"):
        make(tmp_path / "host", {"WP01": ["WP01"]}, release="3.2.7")
    assert not (tmp_path / "host").exists()


def test_the_state_outlives_the_call(program: Path) -> None:
    """The next process sees a claim with its actor and its moves."""
    folder = program.parents[1]
    assert call(folder, (*CLAIM, "--actor=a1")).exit_code == 0
    refused = json.loads(call(folder, (*CLAIM, "--actor=a2")).stdout)
    assert refused["error_code"] == "WP_ALREADY_CLAIMED"
    (mission,) = state_of(program)["missions"]
    assert [move["after"] for move in mission["moves"]] == ["claimed", "in_progress"]


def test_a_read_writes_nothing(program: Path) -> None:
    """A read does not write the state file."""
    path = program.parents[1] / "state.json"
    before = path.stat().st_ino, path.stat().st_mtime_ns
    call(program.parents[1], STATE)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before


def test_calls_at_the_same_time_lose_nothing(program: Path) -> None:
    """Of eight processes that claim one work package one gets it, and every note is kept."""
    with ThreadPoolExecutor(8) as pool:
        claims = [pool.submit(run, program, *CLAIM, f"--actor=a{i}") for i in range(8)]
        notes = [pool.submit(run, program, *NOTE, f"--note={i}") for i in range(24)]
    assert sorted(claim.result().returncode for claim in claims) == [0, *[1] * 7]
    assert {note.result().returncode for note in notes} == {0}
    (mission,) = state_of(program)["missions"]
    kept = mission["packages"]["WP01"]["notes"]
    assert sorted(kept, key=int) == [str(i) for i in range(24)]


def test_a_call_that_is_killed_leaves_a_state(program: Path) -> None:
    """After a kill at any time the state can be read, and has every call that was answered."""
    answered = 0
    for i in range(16):
        argv = [str(program), *NOTE, f"--note={i}"]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE)
        sleep(0.05 * i)
        child.kill()
        out, _ = child.communicate(timeout=120)
        answered += bool(out)
        (mission,) = state_of(program)["missions"]
        assert len(mission["packages"]["WP01"]["notes"]) >= answered
    assert run(program, *STATE).returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", "null", '"x"'),
        '{"version": 2, "release": "3.2.7", "root": null, "missions": []}',
        '{"version": 1, "release": "3.2.7", "root": null, "missions": [{"slug": "m"}]}',
        '{"version": 1, "release": "3.2.7", "root": null, "missions": 1}',
        '{"version": 1, "release": "banana", "root": null, "missions": []}',
        "\x00\x01",
    ],
)
def test_a_damaged_state_is_told(text: str, program: Path) -> None:
    """A damaged state raises an error that names the file and the remedy, and is not changed."""
    path = program.parents[1] / "state.json"
    path.write_text(text)
    with pytest.raises(StateDamaged, match=r"state\.json is damaged: .* Make the simulated host"):
        call(program.parents[1], STATE)
    assert path.read_text() == text


def test_a_damaged_state_is_told_by_the_program(program: Path) -> None:
    """The program ends with exit code 70 and one line on stderr if its state is damaged."""
    (program.parents[1] / "state.json").write_text("{")
    done = run(program, *STATE)
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.startswith("simulated host: ")
    assert done.stderr.count("\n") == 1


def test_a_folder_without_a_state_is_no_host(tmp_path: Path) -> None:
    """A call in a folder without a state creates nothing there."""
    with pytest.raises(StateDamaged, match=r"it has no state\.json"):
        call(tmp_path, STATE)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_simulated_is_told_by_the_program(program: Path) -> None:
    """The program ends with exit code 70 and says why if a command is not simulated."""
    done = run(program, "upgrade")
    assert (done.returncode, done.stdout) == (70, "")
    assert "only orchestrator-api" in done.stderr


def test_a_host_with_git_goes_on_in_its_repository(tmp_path: Path) -> None:
    """A call of the program makes the worktree in the repository of the host."""
    repo = tmp_path / "repo"
    program = make(tmp_path / "host", PLAN, release="3.2.7", slug="m", root=repo)
    done = json.loads(run(program, *CLAIM, "--actor=a").stdout)
    assert done["data"]["workspace_path"] == str(repo / ".worktrees" / "m-lane-a")
    assert (repo / ".worktrees" / "m-lane-a" / ".git").exists()


MODULE = (sys.executable, "-m", "spec_kitty_client.testing.host")


def test_make_is_a_command(tmp_path: Path) -> None:
    """`make` makes a host from its options, and prints the path of the program."""
    plan = tmp_path / "plan.json"
    plan.write_text('{"A": [], "B": ["A"]}')
    options = ("--release=2.1.3", f"--plan={plan}", "--slug=mine")
    done = subprocess.run(
        [*MODULE, "make", str(tmp_path / "host"), *options],
        capture_output=True,
        text=True,
        check=True,
    )
    program = Path(done.stdout.rstrip("\n"))
    answer = run(program, "orchestrator-api", "feature-state", "--feature=mine")
    assert [p["wp_id"] for p in json.loads(answer.stdout)["data"]["work_packages"]] == ["A", "B"]


def test_make_takes_all_that_a_plan_says(tmp_path: Path) -> None:
    """`make` takes a plan of lists and objects, and all of it is in the state."""
    plan = tmp_path / "plan.json"
    plan.write_text('{"A": {"subtasks": ["T001"], "planning": true}, "B": ["A"]}')
    options = (f"--plan={plan}", "--slug=mine", "--topology=coord", "--merge-target=main")
    argv = [*MODULE, "make", str(tmp_path / "host"), *options]
    made = subprocess.run(argv, capture_output=True, text=True, check=True)
    program = Path(made.stdout.rstrip("\n"))
    answer = run(program, "orchestrator-api", "resolve-workspace", "--mission=mine", "--wp=A")
    data = json.loads(answer.stdout)["data"]
    assert (data["lane_id"], data["mission_type"]) == ("lane-planning", "")
    marked = ("agent", "tasks", "mark-status", "T001", "--status=done", "--mission=mine", "--json")
    assert json.loads(run(program, *marked).stdout)["summary"]["updated"] == 1
    state = json.loads((tmp_path / "host" / "state.json").read_text())["missions"][0]
    assert state["packages"]["A"]["subtasks"] == {"T001": True}
    assert state["merge_target"] == "main"


NO_PLANS = [
    "[]",
    '{"A": 1}',
    "{",
    '{"A": ["B"]}',
    '{"A": [1]}',
    '{"A": {"need": []}}',
    '{"A": {"needs": "B"}}',
    '{"A": {"planning": 1}}',
]


@pytest.mark.parametrize("plan", NO_PLANS)
def test_make_refuses_what_is_no_plan(plan: str, tmp_path: Path) -> None:
    """`make` refuses a file that is no plan, says so, and makes nothing."""
    path = tmp_path / "plan.json"
    path.write_text(plan)
    argv = [*MODULE, "make", str(tmp_path / "host"), f"--plan={path}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.startswith("simulated host: ")
    assert not (tmp_path / "host").exists()


def test_a_place_has_to_be_named() -> None:
    """The program names the environment variable that it needs."""
    env = {k: v for k, v in os.environ.items() if k != PLACE}
    argv = [*MODULE, *STATE]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert PLACE in done.stderr
