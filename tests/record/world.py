"""A repository with a mission in which a scenario plays, and the record of its calls."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tests import missions, user_missions
from tests.record.host import Completed, Host
from tests.record.scrub import Scrubber, lighten, shorten

__all__ = ["DAG", "PLANNING", "Release", "Tape", "World"]

DAG = {"WP01": [], "WP02": ["WP01"], "WP03": []}
PLANNING = "lane-planning"
"""The lane of all planning work packages."""


@dataclass(frozen=True)
class Release:
    """The differences between releases that scenarios depend on."""

    name: str

    def since(self, *version: int) -> bool:
        """Return whether the release is this version or a later one."""
        return missions.version(self.name) >= version

    @property
    def selector(self) -> str:
        return "mission" if self.since(3, 1) else "feature"

    @property
    def lanes(self) -> list[str]:
        """The lanes of this release."""
        known = ["planned", "in_progress", "for_review", "done", "blocked", "canceled"]
        if self.since(2, 1):
            known += ["claimed", "approved"]
        if self.since(3, 1, 1):
            known += ["in_review"]
        return sorted(known)

    def verb(self, short: str) -> str:
        """Return the name of a verb in this release."""
        merge = "consolidate" if self.since(4) else "merge"
        parts = {"state": "state", "accept": "accept", "merge": merge}
        if short == "state":
            return f"{self.selector}-state"
        return f"{parts[short]}-{self.selector}" if short in parts else short


class Tape:
    """The calls of one release, in the order of the scenarios.

    Args:
        scrubber: Replaces values that differ between runs.
        whole: Whether long texts are kept whole.
    """

    def __init__(self, scrubber: Scrubber, *, whole: bool = False) -> None:
        self._scrubber = scrubber
        self._whole = whole
        self.lines: dict[str, str] = {}
        """The recorded calls, by scenario."""
        self.left: dict[str, str] = {}
        """The files that each group has left, by the name of its last scenario."""
        self._group: list[tuple[str, tuple[str, ...], Completed]] = []

    def add(self, scenario: str, argv: tuple[str, ...], done: Completed) -> None:
        """Add a call.

        Raises:
            ValueError: If there is a call of this name.
        """
        if scenario in self.lines or any(scenario == known for known, *_ in self._group):
            raise ValueError(f"Two scenarios are named {scenario!r}")
        self._group.append((scenario, argv, done))

    def mission(self, ulid: str) -> None:
        """Register a mission's id."""
        self._scrubber.mission(ulid)

    def close(self, left: Callable[[], str] | None = None) -> None:
        """End a group of calls, within which identifiers are stable.

        Args:
            left: Returns the text of the files that the group has left.
        """
        clean = self._scrubber
        for scenario, argv, done in self._group:
            stdout, cut = (done.stdout, False) if self._whole else lighten(done.stdout)
            line = {
                "scenario": f"{scenario} (cut)" if cut else scenario,
                "argv": [clean(word) for word in argv],
                "exit_code": done.exit_code,
                "stdout": clean(stdout),
                "stderr": clean(done.stderr if self._whole else shorten(done.stderr)),
            }
            self.lines[scenario] = json.dumps(line, ensure_ascii=False)
        if left and self._group:
            clean.remember()
            self.left[self._group[-1][0]] = clean(left())
        self._group.clear()
        clean.forget()

    def text(self) -> str:
        """Return all calls, one JSON object a line."""
        return "".join(f"{line}\n" for line in self.lines.values())


@dataclass
class World:
    """A repository, and the host in it."""

    release: Release
    host: Host
    tape: Tape
    base: Path
    mission: missions.Mission
    inspect: Callable[[Path, Path], str] | None = None
    """Returns the text of the files that calls left, for the base folder and the repository."""

    @property
    def root(self) -> Path:
        return self.mission.root

    @property
    def folder(self) -> Path:
        """The folder of the mission."""
        return self.root / "kitty-specs" / self.mission.slug

    @property
    def meta(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "meta.json").read_text(encoding="utf-8")))

    def save(self, name: str) -> None:
        """Save a copy of the repository; it stays at its path, which worktrees contain."""
        shutil.rmtree(self.base / name, ignore_errors=True)
        shutil.copytree(self.root, self.base / name, symlinks=True)

    def load(self, name: str = "fresh") -> None:
        """Restore a saved repository, and begin a new group of calls."""
        self.close()
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.base / name, self.root, symlinks=True)
        if "mission_id" in self.meta:
            self.tape.mission(self.meta["mission_id"])

    def made(
        self, name: str, packages: Mapping[str, user_missions.Package], topology: str | None = None
    ) -> "World":
        """Make a mission as users have them at the repository's path, and save it under a name.

        Args:
            name: The name for `save`.
            packages: The work packages.
            topology: The topology; None: the one without a coordination branch.
        """
        self.close()
        shutil.rmtree(self.root)
        made = user_missions.make(
            self.host.spec_kitty,
            self.release.name,
            self.root,
            packages=packages,
            topology=topology or ("lanes" if self.release.since(3, 2) else "flat"),
            env=self.host.env,
            host=self.host.for_missions,
        )
        mission = missions.Mission(
            root=made.root,
            slug=made.slug,
            target_branch=made.target,
            files={wp: package.makes for wp, package in packages.items()},
            dag={wp: list(package.needs) for wp, package in packages.items()},
        )
        world = replace(self, mission=mission)
        world.save(name)
        world.load(name)
        return world

    def close(self) -> None:
        """End a group of calls."""
        self.tape.close(self.inspect and partial(self.inspect, self.base, self.root))

    def git(self, *args: str, cwd: Path | None = None) -> str:
        """Run git in the repository.

        Raises:
            CalledProcessError: If it failed.
        """
        where = cwd or self.root
        return subprocess.run(
            ["git", *args], cwd=where, env=self.host.env, capture_output=True, text=True, check=True
        ).stdout

    def commit(self, *paths: str, cwd: Path | None = None) -> None:
        """Commit all changes."""
        self.git("add", "--all", *paths, cwd=cwd)
        self.git("commit", "--quiet", "--allow-empty", "--message=By the recorder", cwd=cwd)

    def say(self, scenario: str, *argv: str, cwd: Path | None = None) -> Completed:
        """Call the host with literal arguments, and record the call."""
        done = self.host.call(cwd or self.root, argv)
        self.tape.add(scenario, argv, done)
        return done

    def do(
        self,
        scenario: str,
        verb: str,
        *,
        cwd: Path | None = None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        failures_only: bool = False,
        **options: object,
    ) -> dict[str, Any]:
        """Call a verb on the mission and return the data of its answer.

        Args:
            scenario: The name of the call in the record.
            verb: The verb, as `Release.verb` takes it.
            cwd: The folder of the call; None: the root of the repository.
            stdin: The input of the host.
            env: Variables added to the host's environment.
            failures_only: Whether a success is not recorded.
            options: None: not given; True: a flag, or the usual policy.
        """
        argv = ("orchestrator-api", self.release.verb(verb), *self._options(options))
        done = self.host.call(cwd or self.root, argv, stdin=stdin, env=env)
        if done.exit_code != 0 or not failures_only:
            self.tape.add(scenario, argv, done)
        return _data(done)

    def must(self, verb: str, **options: object) -> dict[str, Any]:
        """Make a call that is not recorded.

        Raises:
            RuntimeError: If the host refuses.
        """
        argv = ("orchestrator-api", self.release.verb(verb), *self._options(options))
        done = self.host.call(self.root, argv)
        if done.exit_code != 0:
            raise RuntimeError(f"{argv}: {done}")
        return _data(done)

    def _options(self, options: dict[str, object]) -> list[str]:
        argv: list[str] = []
        for name, value in ({"mission": self.mission.slug} | options).items():
            if value is None:
                continue
            spelled = self.release.selector if name == "mission" else name.replace("_", "-")
            argv.append(f"--{spelled}")
            if name == "policy" and value is True:
                argv.append(missions.POLICY)
            elif value is not True:
                argv.append(value if isinstance(value, str) else json.dumps(value))
        return argv

    def lane(self, wp: str = "WP01") -> str:
        """Return the present lane of a work package."""
        packages = self.must("state")["work_packages"]
        return str(next(p["lane"] for p in packages if p["wp_id"] == wp))

    @property
    def lanes(self) -> dict[str, Any] | None:
        """The content of ``lanes.json``; None: the mission has none."""
        path = self.folder / "lanes.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def _plans(self, wp: str) -> bool:
        """Return whether a work package is planning work, which has no lane on 3.1.0."""
        plan = self.lanes or {"lanes": [{"lane_id": "", "wp_ids": [wp]}]}
        lane = next((a["lane_id"] for a in plan["lanes"] if wp in a["wp_ids"]), PLANNING)
        return lane == PLANNING

    def worktree(self, wp: str) -> Path:
        """Return the worktree of a work package; before 3.2.2 it is made here."""
        slug, plan = self.mission.slug, self.lanes
        top, branch = self.mission.target_branch, f"{slug}-{wp}"
        path = self.root / ".worktrees" / branch
        if self._plans(wp):
            path = self.root / ".worktrees" / f"{slug}-{PLANNING}"
            return path if path.exists() else self.root
        if plan is not None:
            lane = next(a["lane_id"] for a in plan["lanes"] if wp in a["wp_ids"])
            path = self.root / ".worktrees" / f"{slug}-{lane}"
            top, branch = plan["mission_branch"], f"{plan['mission_branch']}-{lane}"
        if not path.exists():
            if not self.git("branch", "--list", top):
                self.git("branch", top, self.mission.target_branch)
            self.git("worktree", "add", "--quiet", str(path), "-b", branch, top)
            for needed in self.mission.dag[wp]:
                if not self._plans(needed):
                    head = self.git("rev-parse", "HEAD", cwd=self.worktree(needed)).strip()
                    self.git("merge", "--quiet", head, cwd=path)
        return path

    def work(self, wp: str, text: str = "") -> None:
        """Write the work package's file and commit it, as an agent does."""
        path = self.worktree(wp)
        name = self.mission.files[wp]
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        body = f'def status() -> str:\n    """Say it."""\n    return "{wp}"\n{text}'
        (path / name).write_text(body, encoding="utf-8")
        self.commit(name, cwd=path)


def _data(done: Completed) -> dict[str, Any]:
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            return dict(json.loads(line)["data"])
    return {}
