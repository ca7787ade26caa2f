"""A real host, real repositories, and scripted agents."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from spec_kitty_client import Client, Feature, Policy
from tests import missions
from tests.missions import Mission

NOTING = """\
import os, sys
if __name__ == "__main__":
    calls = os.open({!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(calls, ("".join(sys.argv[2:3]) + chr(10)).encode())
    os.close(calls)
"""
AGENTS = Path(__file__).with_name("agents.py")
POLICY = Policy(
    orchestrator_id="e2e",
    orchestrator_version="1",
    agent_family="claude",
    approval_mode="full_auto",
    sandbox_mode="workspace_write",
    network_mode="open",
)


class Scene:
    """A mission on the real host, with scripted agents, and the command under test."""

    def __init__(self, base: Path, made: Mission, release: Version) -> None:
        self.base = base
        self.release = release
        self.root = made.root
        self.mission = made.slug
        self.target = made.target_branch
        self.files = made.files
        self.trace = base / "trace.jsonl"
        self.calls = base / "calls.txt"
        self.trace.touch()
        self.configure()
        for name in ("claude", "codex"):
            self._program(name, f"{sys.executable} {AGENTS} {base / 'agents.json'} {name}")
        # Like the host's own script, with its interpreter, so that the SDK can keep it warm.
        first, _, rest = Path(os.environ["E2E_HOST"]).read_text(encoding="utf-8").partition("\n")
        self._file("spec-kitty", f"{first}\n{NOTING.format(str(self.calls))}{rest}")

    def _program(self, name: str, command: str) -> None:
        self._file(name, f'#!/bin/sh\nexec {command} "$@"\n')

    def _file(self, name: str, text: str) -> None:
        path = self.base / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def configure(self, **options: object) -> None:
        config = {"trace": str(self.trace), **options}
        (self.base / "agents.json").write_text(json.dumps(config), encoding="utf-8")

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.base / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def start(self, *words: str) -> "subprocess.Popen[str]":
        argv = [sys.executable, "-m", "spec_kitty_orchestrator", *words]
        return subprocess.Popen(
            argv,
            cwd=self.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        proc = self.start(*words)
        out, err = proc.communicate(timeout=600)
        return subprocess.CompletedProcess(proc.args, proc.returncode, out, err)

    def orchestrate(self, *words: str) -> tuple[str, ...]:
        agents = ("--impl-agent", "claude-code", "--review-agent", "codex")
        return ("orchestrate", "--mission", self.mission, *agents, *words)

    def traced(self, what: str, **about: str) -> list[dict]:
        lines = self.trace.read_text(encoding="utf-8").splitlines()
        events = [json.loads(line) for line in lines]
        return [e for e in events if e["what"] == what and about.items() <= e.items()]

    def runs(self, what: str, role: str) -> Counter[str]:
        return Counter(e["wp"] for e in self.traced(what, role=role))

    def host_calls(self) -> Counter[str]:
        return Counter(self.calls.read_text(encoding="utf-8").split())

    def lanes(self) -> dict[str, str]:
        state = Client(self.root).mission_state(self.mission)
        return {wp: str(lane) for wp, lane in state.lanes().items()}

    def client(self, **options: Any) -> Client:
        where = () if "transport" in options else (self.root,)
        return Client(*where, actor="e2e", policy=POLICY, **options)

    def merged_files(self) -> set[str]:
        return set(self.git("ls-tree", "-r", "--name-only", self.target).splitlines())

    def work(self, workspace: str, wp: str, text: str = "") -> str:
        """Write the file of the work package and commit it, as an agent does."""
        path = Path(workspace) / self.files[wp]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def status() -> str:\n    return {wp!r}\n{text}", encoding="utf-8")
        self.git("-C", workspace, "add", "--all")
        self.git("-C", workspace, "commit", "--quiet", f"--message={wp}")
        return self.git("-C", workspace, "rev-parse", "HEAD").strip()

    def git(self, *args: str) -> str:
        return subprocess.run(
            ["git", *args], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout

    def most_at_once(self) -> int:
        marks = [(e["at"], 1) for e in self.traced("start")]
        marks += [(e["at"], -1) for e in self.traced("end")]
        now = most = 0
        for _, step in sorted(marks):
            now += step
            most = max(most, now)
        return most


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A HOME and a git identity for all processes of these tests; the host is first on PATH."""
    host = os.environ.get("E2E_HOST")
    if not host or not Path(host).exists():
        pytest.exit("E2E_HOST must name a spec-kitty program; `nox -s e2e` sets it", returncode=3)
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("PATH", f"{Path(host).parent}{os.pathsep}{os.environ['PATH']}")
        for who in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{who}_NAME", "Test")
            patch.setenv(f"GIT_{who}_EMAIL", "test@example.invalid")
        yield folder


@pytest.fixture(scope="session")
def release(home: Path) -> Version:
    """The release of the host under test, as the host reports it."""
    said = subprocess.run(
        [os.environ["E2E_HOST"], "--version"], check=True, capture_output=True, text=True
    )
    return Version(said.stdout.split()[-1])


@pytest.fixture(scope="session")
def made(
    tmp_path_factory: pytest.TempPathFactory, release: Version
) -> Callable[[missions.Dag], Mission]:
    """Missions on the host under test, each made once."""
    every: dict[str, Mission] = {}

    def make(dag: missions.Dag) -> Mission:
        name = json.dumps(dag)
        if name not in every:
            root = tmp_path_factory.mktemp("made") / "project"
            host = Path(os.environ["E2E_HOST"])
            every[name] = missions.make(host, str(release), root, dag)
        return every[name]

    return make


@pytest.fixture
def scene(
    tmp_path: Path, made: Callable[[missions.Dag], Mission], release: Version
) -> Callable[..., Scene]:
    """A mission for this test alone: a number of independent work packages, or a graph."""

    def make(what: int | missions.Dag) -> Scene:
        independent: missions.Dag = {}
        if isinstance(what, int):
            independent = {f"WP{i:02d}": [] for i in range(1, what + 1)}
        mission = made(independent or what)  # type: ignore[arg-type]
        root = tmp_path / "project"
        shutil.copytree(mission.root, root, symlinks=True)
        return Scene(tmp_path, dataclasses.replace(mission, root=root), release)

    return make


def has(release: Version, feature: Feature) -> bool:
    """Return whether a release has a feature."""
    return feature.since <= release
