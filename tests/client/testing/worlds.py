"""The scenarios of the corpus, played on a simulated host instead of a real one."""

import json
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spec_kitty_client.testing.host import NotSimulated, SimulatedHost, SimulatedRepository
from spec_kitty_client.testing.host.board import Mission
from tests import missions
from tests.record import matrix, scenarios
from tests.record.host import Completed
from tests.record.world import DAG, Release, World

__all__ = ["NOT_SIMULATED", "InMemory", "WithGit", "play", "play_with_git"]

NOT_SIMULATED = Completed(-1, "", "not simulated")
"""Stands for an answer that the simulated host says it cannot give."""
_GIT = {
    **{f"GIT_{r}_{k}": "x@y.z" for r in ("AUTHOR", "COMMITTER") for k in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "PATH": os.environ["PATH"],
}


@dataclass
class Answering:
    """A simulated host where the recorder wants a real one."""

    simulated: SimulatedHost
    env: dict[str, str] = field(default_factory=lambda: dict(_GIT))

    def call(
        self,
        cwd: Path,
        argv: tuple[str, ...],
        *,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        try:
            done = self.simulated.run(argv, time_limit=60)
        except NotSimulated:
            return NOT_SIMULATED
        assert done.exit_code is not None
        return Completed(done.exit_code, done.stdout.decode(), done.stderr.decode())

    def for_missions(self, cwd: Path, argv: tuple[str, ...]) -> str:
        """Do nothing: it is asked for what only the acceptance rules of 4.0 look at."""
        return ""


class Kept:
    """What was answered, by scenario."""

    def __init__(self) -> None:
        self.answers: dict[str, Completed] = {}

    def add(self, scenario: str, argv: tuple[str, ...], done: Completed) -> None:
        assert scenario not in self.answers
        self.answers[scenario] = done

    def close(self, left: object = None) -> None:
        pass


class InMemory(World):
    """A world without a repository: its commits exist only in memory."""

    def __init__(self, release: str, base: Path, simulated: SimulatedHost | None = None) -> None:
        target = "work" if Release(release).since(3, 2) else "main"
        simulated = simulated or SimulatedHost(DAG, release=release, target=target)
        self.simulated = simulated
        if not Release(release).since(2, 1):
            for package in simulated.mission.packages.values():
                package.actor = "demo"
        self.saved: dict[str, dict[str, Mission]] = {}
        mission = missions.Mission(
            root=base / "repo",
            slug=simulated.mission.slug,
            target_branch=target,
            files={wp: f"demo/{wp.lower()}/{wp.lower()}.py" for wp in DAG},
            dag=DAG,
        )
        kept: Any = Kept()
        host: Any = Answering(simulated)
        super().__init__(Release(release), host, kept, base, mission)
        self._furnish()
        self.save("fresh")

    def _furnish(self) -> None:
        """Make what the recorder writes into, and nobody reads."""
        (self.root / ".git").mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        matrix = {"criteria": [], "overall_verdict": "pending"}
        (self.folder / "acceptance-matrix.json").write_text(json.dumps(matrix), encoding="utf-8")

    @property
    def answers(self) -> dict[str, Completed]:
        """What was answered, by scenario."""
        kept: Any = self.tape
        return dict(kept.answers)

    @property
    def meta(self) -> dict[str, Any]:
        return {"mission_id": self.simulated.mission.ulid} if self.release.since(3, 1, 1) else {}

    def save(self, name: str) -> None:
        self.saved[name] = deepcopy(self.simulated.missions)

    def load(self, name: str = "fresh") -> None:
        self.simulated.missions = deepcopy(self.saved[name])

    def work(self, wp: str, text: str = "") -> None:
        """Take the commit for granted, also where no host would have made a worktree."""
        mission = self.simulated.mission
        self.simulated.workspace.start(mission, wp)

    def commit(self, *paths: str, cwd: Path | None = None) -> None:
        pass


class WithGit(InMemory):
    """A world with a repository, in which everything is done that the recorder does."""

    def __init__(self, release: str, base: Path) -> None:
        target = "work" if Release(release).since(3, 2) else "main"
        folder = base / "repo"
        simulated = SimulatedRepository(DAG, release=release, target=target, folder=folder)
        super().__init__(release, base, simulated)

    def _furnish(self) -> None:
        """Commit what the recorder changes, and what 4.0 keeps apart."""
        super()._furnish()
        (self.folder / "spec.md").write_text("# Demo\n", encoding="utf-8")
        World.commit(self)

    def save(self, name: str) -> None:
        super().save(name)
        self.git("gc", "--quiet", "--prune=now")  # fewer files to copy
        World.save(self, name)

    def load(self, name: str = "fresh") -> None:
        super().load(name)
        World.load(self, name)

    def work(self, wp: str, text: str = "") -> None:
        World.work(self, wp, text)

    def commit(self, *paths: str, cwd: Path | None = None) -> None:
        World.commit(self, *paths, cwd=cwd)

    @property
    def meta(self) -> dict[str, Any]:
        return {}


def play(release: str, base: Path) -> dict[str, Completed]:
    """Play what needs no git, and return the answers."""
    w = InMemory(release, base)
    for scene in (*_WITHOUT_GIT, scenarios.whole):
        w.load()
        scene(w)
    _merges(w)
    return w.answers


_WITHOUT_GIT = (
    scenarios.outside,
    scenarios.reads,
    scenarios.unknown,
    scenarios.policies,
    scenarios.claims,
    scenarios.wrong_moves,
    scenarios.reviews,
    scenarios.history,
    matrix.play,
)


def _merges(w: InMemory) -> None:
    """Merge where nothing is done to the repository beforehand."""
    nothing = (scenarios._nothing, World.commit)
    for scenario, (name, prepare, options) in scenarios._merges(w).items():
        if prepare in nothing:
            w.load(name)
            w.do(scenario, "merge", **options)
    w.load("accepted")
    w.do("merge", "merge")
    w.do("state after merge", "state")
    w.do("list-ready after merge", "list-ready")
    w.do("accept after merge", "accept", actor="rev")
    w.do("merge again", "merge")


def play_with_git(release: str, base: Path) -> dict[str, Completed]:
    """Play what needs git, and return the answers."""
    w = WithGit(release, base)
    for scene in (scenarios.claims, scenarios.history, scenarios.whole):
        w.load()
        scene(w)
    scenarios.merges(w)
    return w.answers
