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
"""The answer to a call that the simulated host does not simulate."""
_GIT = {
    **{f"GIT_{r}_{k}": "x@y.z" for r in ("AUTHOR", "COMMITTER") for k in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "PATH": os.environ["PATH"],
}


@dataclass
class Answering:
    """A simulated host with the methods of the recorder's real one."""

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
        """Do nothing: only the acceptance rules of 4.0 need the result."""
        return ""


class Kept:
    """The answers by scenario, in place of the recorder's tape."""

    def __init__(self) -> None:
        self.answers: dict[str, Completed] = {}

    def add(self, scenario: str, argv: tuple[str, ...], done: Completed) -> None:
        assert scenario not in self.answers
        self.answers[scenario] = done

    def close(self, left: object = None) -> None:
        pass


class InMemory(World):
    """The recorder's mission without a repository: commits exist only in memory."""

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
        """Make the files and folders that the recorder writes into."""
        (self.root / ".git").mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        matrix = {"criteria": [], "overall_verdict": "pending"}
        (self.folder / "acceptance-matrix.json").write_text(json.dumps(matrix), encoding="utf-8")

    @property
    def answers(self) -> dict[str, Completed]:
        """The answers by scenario."""
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
        """Record a commit in memory, also where no host would have made a worktree."""
        mission = self.simulated.mission
        self.simulated.workspace.start(mission, wp)

    def commit(self, *paths: str, cwd: Path | None = None) -> None:
        pass


class WithGit(InMemory):
    """The recorder's mission with a repository and real commits."""

    def __init__(self, release: str, base: Path) -> None:
        target = "work" if Release(release).since(3, 2) else "main"
        folder = base / "repo"
        simulated = SimulatedRepository(DAG, release=release, target=target, folder=folder)
        super().__init__(release, base, simulated)

    def _furnish(self) -> None:
        """Commit the files that the recorder changes, and spec.md."""
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
    """Play the scenarios that need no git, and return the answers."""
    w = InMemory(release, base)
    for scenario in (*_WITHOUT_GIT, scenarios.whole):
        w.load()
        scenario(w)
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
    """Play the merges that need no change of the repository before."""
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
    """Play the scenarios that need git, and return the answers."""
    w = WithGit(release, base)
    for scenario in (scenarios.claims, scenarios.history, scenarios.whole):
        w.load()
        scenario(w)
    scenarios.merges(w)
    return w.answers
