"""A mission of a user on a real host, an agent for it, and the command under test."""

import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

from spec_kitty_client import Client, Review
from tests.user_missions import UserMission

from .conftest import POLICY

__all__ = ["Lab"]

AGENT = Path(__file__).with_name("user_agent.py")


class Lab:
    """A mission of a user, an agent for it, and the command under test."""

    def __init__(self, base: Path, mission: UserMission) -> None:
        self.base, self.mission = base, mission
        self.root, self.slug = mission.root, mission.slug
        self.log = base / "agent.log"
        self.log.touch()
        self.rework: list[str] = []

    def git(self, *args: str, check: bool = True) -> str:
        """Run git in the primary checkout and return what it printed."""
        done = subprocess.run(
            ["git", *args], cwd=self.root, check=check, capture_output=True, text=True
        )
        return done.stdout.strip()

    def host(self, *args: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the host."""
        argv = [os.environ["E2E_HOST"], *args]
        return subprocess.run(argv, cwd=self.root, check=False, capture_output=True, text=True)

    def client(self) -> Client:
        """Return a client of the SDK."""
        return Client(self.root, actor="e2e", policy=POLICY)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run the command under test."""
        files = {wp: package.makes for wp, package in self.mission.packages.items()}
        config = self.base / "agent.json"
        config.write_text(
            json.dumps({"log": str(self.log), "files": files, "rework": self.rework}),
            encoding="utf-8",
        )
        argv = [sys.executable, "-m", "spec_kitty_orchestrator", *words]
        if words[0] == "orchestrate":
            agent = f"script:{shlex.join([sys.executable, str(AGENT), str(config)])}"
            argv += ["--mission", self.slug, "--impl-agent", agent, "--review-agent", agent]
        return subprocess.run(argv, cwd=self.root, check=False, capture_output=True, text=True)

    def runs(self, role: str) -> Counter[str]:
        """Return the number of agent runs in a role, by work package."""
        lines = self.log.read_text(encoding="utf-8").split("\n")
        return Counter(line.split()[0] for line in lines if line.endswith(f" {role}"))

    def in_branch(self, branch: str) -> set[str]:
        """Return the files of work packages in a branch."""
        made = {package.makes for package in self.mission.packages.values()}
        return made & set(self.git("ls-tree", "-r", "--name-only", branch).splitlines())

    def lanes(self) -> set[str]:
        """Return the lanes of the work packages, as the host reports them."""
        return {str(lane) for lane in self.client().mission_state(self.slug).lanes().values()}

    def implement(self, wp: str, *, subtasks: str = "complete") -> str:
        """Take a work package from claim to done with the SDK; return the commit."""
        client, review = self.client(), Review(reviewer="e2e", reference=f"{wp}-1")
        folder = Path(client.mission(self.slug).work_package(wp).claim().workspace_path)
        made = folder / self.mission.packages[wp].makes
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(f"{wp}\n", encoding="utf-8")
        git = ["git", "-C", str(folder)]
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", f"--message={wp}"], check=True)
        client.mission(self.slug).work_package(wp).submit_for_review(subtasks=subtasks)  # type: ignore[arg-type]
        client.mission(self.slug).work_package(wp).begin_review()
        client.mission(self.slug).work_package(wp).finish(review)
        head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True)
        return head.stdout.decode().strip()
