"""The unchanged orchestrator on simulated hosts: with git in this process, and as a program."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spec_kitty_client.testing.host import AsyncSimulatedRepository, SimulatedRepository
from spec_kitty_client.testing.host.store import make
from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator import run as session
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.preflight.plan import default_policy, make_plan
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.journal import read
from tests.orchestrator.worlds import APPROVES, REFUSES_ONCE, WRITES, script

PLAN = {"WP01": [], "WP02": [], "WP03": ["WP01"], "WP04": ["WP01", "WP02"]}
SAMPLES = ("1.0.3", "3.1.10", "3.2.7")


def both(folder: Path, review: str = APPROVES) -> tuple[str, str]:
    """Return an implementer and a reviewer, which are small scripts."""
    return script(folder / "implement.py", WRITES), script(folder / "review.py", review)


def has_it_all(root: Path) -> bool:
    """Return whether the work of every work package is on the target branch."""
    files = git(root, "ls-tree", "--name-only", "work").split()
    return {f"{wp}.py" for wp in PLAN} <= set(files)


@pytest.mark.parametrize("release", SAMPLES)
def test_a_run_on_a_simulated_host_with_git(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work packages are implemented, reviewed, reworked, accepted and merged in real worktrees."""
    root = tmp_path / "repo"
    host = SimulatedRepository(PLAN, release=release, folder=root)

    implementer, reviewer = both(tmp_path, REFUSES_ONCE)
    settings = Settings(
        mission=host.mission.slug,
        repo_root=root,
        impl_agent=implementer,
        review_agent=reviewer,
        merge=True,
    )
    code = session.run_mission(make_plan(settings), [], AsyncSimulatedRepository(host))
    last = list(read(StateFiles(root).journal))[-1]
    assert code == ExitCode.DONE, (last, host.lanes())
    assert set(host.lanes().values()) == {"done"}
    assert host.mission.accepted_at
    assert has_it_all(root)


def program(tmp_path: Path, release: str, *, root: Path | None = None) -> dict[str, str]:
    """Make a simulated host that is a program, and return an environment with it on PATH."""
    spec_kitty = make(tmp_path / "host", PLAN, release=release, root=root)
    return {**os.environ, "PATH": f"{spec_kitty.parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("release", ["1.0.3", "3.2.7"])
def test_the_whole_command_on_a_simulated_host(release: str, tmp_path: Path) -> None:
    """The command, with a simulated host on PATH, takes a mission to its merge."""
    root = tmp_path / "repo"
    env = program(tmp_path, release, root=root)
    mission = next((root / "kitty-specs").iterdir()).name
    implementer, reviewer = both(tmp_path)
    command = [
        *(sys.executable, "-m", "spec_kitty_orchestrator", "orchestrate"),
        *(f"--mission={mission}", f"--impl-agent={implementer}", f"--review-agent={reviewer}"),
        "--merge",
    ]
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == ExitCode.DONE, done.stdout + done.stderr
    assert has_it_all(root)


def test_the_calls_of_another_orchestrator(tmp_path: Path) -> None:
    """The simulated host answers calls of another provider, which separates option and value."""
    env = program(tmp_path, "3.2.7")
    policy = default_policy(agents.script.agent(("x",))).to_json()
    told = ("--mission", "demo-01K00001")
    one, actor = (*told, "--wp", "WP01"), ("--actor", "someone-else")

    def call(verb: str, *words: str) -> dict[str, Any]:
        argv = ["spec-kitty", "orchestrator-api", verb, *words]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        answer: dict[str, Any] = json.loads(done.stdout)
        assert answer["success"] == (done.returncode == 0)
        return answer

    ready = call("list-ready", *told)["data"]["ready_work_packages"]
    assert [r["wp_id"] for r in ready] == ["WP01", "WP02"]
    packages = call("mission-state", *told)["data"]["work_packages"]
    assert {p["lane"] for p in packages} == {"planned"}
    started = call("start-implementation", *one, *actor, "--policy", policy)
    assert (started["data"]["from_lane"], started["data"]["to_lane"]) == ("planned", "in_progress")
    noted = call("append-history", *one, *actor, "--note", "--dashes at the beginning")
    assert noted["data"]["history_entry_id"]
    handed_in = call("transition", *one, *actor, "--to", "for_review", "--policy", policy)
    assert handed_in["data"]["to_lane"] == "for_review"
    review = call("start-review", *one, "--actor", "a-reviewer", "--policy", policy)
    assert review["data"]["to_lane"] == "in_review"
    refused = call("start-implementation", *told, "--wp", "WP04", *actor, "--policy", policy)
    assert refused["error_code"] == "DEPENDENCIES_NOT_SATISFIED"
