"""The programs of docs/examples, run as a user runs them, on a simulated host."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spec_kitty_client.testing import PackagePlan
from spec_kitty_client.testing.host.store import make as make_host
from tests.client.simulated import git

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PLAN = {
    "WP01": PackagePlan(subtasks=["T001", "T002"]),
    "WP02": PackagePlan(needs=("WP01",)),
}


def program(path: Path, text: str) -> str:
    """Write a shell script and return its path."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("example", ["own_loop.py", "own_async_loop.py"])
def test_an_example_takes_a_mission_to_its_merge(example: str, tmp_path: Path) -> None:
    """Each example implements, reviews, reworks one package, accepts and merges a mission."""
    repo = tmp_path / "repo"
    host = make_host(tmp_path / "host", PLAN, release="3.2.7", slug="demo-01K00001", root=repo)
    implement = program(tmp_path / "implement", "date +%N >> $1.txt")
    reworked = tmp_path / "reworked"
    once = f"[ $1 != WP02 ] || [ -e {reworked} ] || {{ touch {reworked}; exit 1; }}"
    review = program(tmp_path / "review", once)
    roles, keys = ("AUTHOR", "COMMITTER"), ("NAME", "EMAIL")
    identity = {f"GIT_{role}_{key}": "a@b" for role in roles for key in keys}

    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example), str(repo), "demo-01K00001", implement, review],
        env={**os.environ, **identity, "PATH": f"{host.parent}{os.pathsep}{os.environ['PATH']}"},
        check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "merged into work at" in done.stdout
    files = git(repo, "ls-tree", "--name-only", "work").split()
    assert {"WP01.txt", "WP02.txt"} <= set(files)
    assert len(git(repo, "show", "work:WP02.txt").splitlines()) == 2
