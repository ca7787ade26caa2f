"""Missions as users of the host have them: made by the host's own commands, in its own layout.

`tests.missions` makes simple missions for unit tests. The missions here have everything that the
host's templates ask for: subtasks in front matter and as check boxes, requirement references, owned
files that overlap, planning work beside code, a tracked ``.kittify``, and any topology that the
host offers.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.missions import Host, environment, process, run, version

__all__ = ["FIVE", "OFFERED", "Maker", "Package", "UserMission", "five", "make", "topologies"]

_TYPE = ("--mission-type", "software-dev")
_OPTION = (3, 2, 3)
"""The first release whose ``agent mission create`` has an option ``--topology``."""
_PLAN = """\
# Implementation Plan: demo

One module for each work package, and a page about them.

## Technical Context

**Language/Version**: Python 3.11
**Primary Dependencies**: the standard library
**Testing**: none
"""

OFFERED = {
    "flat": ((1, 0), (3, 2)),
    "lanes": ((3, 2, 3), None),
    "coord": ((3, 2), None),
    "single_branch": ((3, 2, 3), None),
    "lanes_with_coord": ((3, 2, 3), None),
}
"""Topology: the first release that offers it, and the first that does not any more.

3.2.0 to 3.2.2 make ``coord`` of every mission, and have no option for it.
"""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A work package as ``/spec-kitty.tasks`` writes one."""

    makes: str
    """The file that its agent must make."""
    needs: tuple[str, ...] = ()
    also_owns: tuple[str, ...] = ()
    """Globs in addition to its folder; a glob that another package owns is an overlap."""
    everywhere: bool = False
    """Whether its scope is ``codebase-wide``, so that its files may overlap with others."""
    planning: bool = False
    """Whether it is a ``planning_artifact`` and not a ``code_change``."""
    subtasks: int = 3

    @property
    def folder(self) -> str:
        """The folder of its file."""
        return str(Path(self.makes).parent)


FIVE: dict[str, Package] = {
    "WP01": Package(makes="src/store/store.py"),
    "WP02": Package(makes="src/api/api.py", needs=("WP01",)),
    "WP03": Package(makes="src/report/report.py", also_owns=("src/shared/**",)),
    "WP04": Package(
        makes="src/export/export.py", also_owns=("src/shared/**",), everywhere=True, subtasks=4
    ),
    "WP05": Package(makes="docs/findings.md", needs=("WP01",), planning=True, subtasks=2),
}
"""A dependency, an overlap, a planning work package, and subtasks in all."""


def five(release: str) -> dict[str, Package]:
    """Return `FIVE` as a release takes it.

    3.1.x refuses files with two owners; there, dependent work packages share a lane.
    """
    if version(release) >= (3, 2):
        return FIVE
    return FIVE | {"WP04": replace(FIVE["WP04"], needs=("WP03",), also_owns=())}


@dataclass(frozen=True, kw_only=True)
class UserMission:
    """A finalised mission in a repository of its own."""

    root: Path
    slug: str
    topology: str
    target: str
    """The branch that the host merges into by default."""
    packages: Mapping[str, Package]
    env: Mapping[str, str] = field(repr=False)

    @property
    def folder(self) -> Path:
        """The mission's folder in the primary checkout."""
        return self.root / "kitty-specs" / self.slug


def topologies(release: str) -> tuple[str, ...]:
    """Return the topologies that a release offers."""
    at = version(release)
    return tuple(
        name for name, (first, end) in OFFERED.items() if first <= at and (end is None or at < end)
    )


def make(
    spec_kitty: Path,
    release: str,
    root: Path,
    *,
    packages: Mapping[str, Package] | None = None,
    topology: str,
    branch: str | None = None,
    merge_target: str | None = None,
    headed: bool = True,
    env: Mapping[str, str] | None = None,
    host: Host | None = None,
) -> UserMission:
    """Make a git repository with one finalised mission, as a user would.

    Args:
        spec_kitty: The host's program.
        release: The host's version.
        root: The repository; must not exist.
        packages: The work packages; None: those of `five`.
        topology: One of `topologies`.
        branch: The branch that is checked out while the mission is made; None: ``main`` if the host
            commits there, else ``work``.
        merge_target: Written to ``meta.json`` as ``merge_target_branch``; the branch is made.
        headed: Whether the subtasks in ``tasks.md`` have a heading of their own, as in the host's
            template; without it, hosts 3.1.1 to 3.2.5 see the open ones.
        env: The environment to start from, with HOME and a git identity; None: this process's.
        host: Runs the host instead of a new process.

    Raises:
        RuntimeError: If a call of the host or git fails.
    """
    base = environment(spec_kitty, os.environ if env is None else env)
    packages = five(release) if packages is None else packages
    runs = host or process(spec_kitty, base)
    maker = Maker(root, packages, version(release), base, runs, headed)
    maker.repository()
    if branch is None:
        branch = "work" if maker.at >= (3, 2) else "main"
    if branch != "main":
        maker.git("checkout", "--quiet", "-b", branch)
    slug = maker.mission(topology)
    if merge_target:
        maker.git("branch", merge_target)
        maker.merge_target(slug, merge_target)
    return UserMission(
        root=root,
        slug=slug,
        topology=topology,
        target=(merge_target if maker.at >= (3, 2, 2) else None) or branch,
        packages=packages,
        env=base,
    )


@dataclass(frozen=True)
class Maker:
    """A maker of missions, step by step, so that a subclass or test can change a step."""

    root: Path
    packages: Mapping[str, Package]
    at: tuple[int, ...]
    env: Mapping[str, str]
    host: Host
    headed: bool

    def git(self, *args: str) -> str:
        return run(["git", *args], self.root, self.env)

    def commit(self, message: str, *paths: str) -> None:
        self.git("add", "--all", *(paths or (".",)))
        self.git("commit", "--quiet", f"--message={message}")

    def agent(self, *args: str) -> dict[str, object]:
        """Run one of the commands that the host has for agents, and return its answer."""
        said = self.host(self.root, ("agent", *args, "--json"))
        found = [line for line in said.splitlines() if line.startswith("{")]
        answer: dict[str, object] = json.loads(found[-1] if found else said[said.index("{") :])
        return answer

    def repository(self) -> None:
        """Make a project with the host's ``init`` and its default settings."""
        self.root.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        (self.root / "README.md").write_text("# project\n", encoding="utf-8")
        self.commit("Initial commit")
        here = ("--here", "--force") if self.at <= (3, 1, 0) else ()
        self.host(self.root, ("init", *here, "--ai", "claude", "--non-interactive"))
        ignored = self.root / ".gitignore"
        text = ignored.read_text(encoding="utf-8") if ignored.exists() else ""
        if ".worktrees/" not in text:
            ignored.write_text(f"{text}.worktrees/\n", encoding="utf-8")
        self.commit("Set up spec-kitty")

    def mission(self, topology: str) -> str:
        slug = self.create(topology)
        folder = self.root / "kitty-specs" / slug
        if topology == "lanes" and (3, 2) <= self.at < _OPTION:
            self.flatten(folder / "meta.json")
        self.documents(folder)
        self.commit("Plan the mission", f"kitty-specs/{slug}")
        if self.at < (3, 1):
            self.agent("feature", "finalize-tasks", "--feature", slug)
        else:
            self.agent("mission", "finalize-tasks", "--mission", slug)
        if self.at < (3, 2) and self.git("status", "--porcelain", "--", "kitty-specs"):
            self.commit("Finalise the tasks", "kitty-specs")
        return slug

    def create(self, topology: str) -> str:
        if self.at < (3, 1):
            answer = self.agent("feature", "create-feature", "demo")
            return str(answer.get("feature_slug") or answer["feature"])
        named = ("--topology", topology) if self.at >= _OPTION else ()
        kind = ("--mission", "software-dev") if self.at == (3, 1, 0) else _TYPE
        about = (
            ("--friendly-name", "Demo", "--purpose-tldr", "A demo", "--purpose-context", "A demo.")
            if self.at >= (3, 2)
            else ()
        )
        return str(self.agent("mission", "create", "demo", *kind, *about, *named)["mission_slug"])

    def flatten(self, path: Path) -> None:
        """Remove the coordination branch that a mission was made with."""
        meta = json.loads(path.read_text(encoding="utf-8"))
        branch = meta.pop("coordination_branch")
        meta.pop("topology", None)
        path.write_text(json.dumps(meta | {"flattened": True}, indent=2) + "\n", encoding="utf-8")
        for line in self.git("worktree", "list", "--porcelain").splitlines():
            if line.startswith("worktree ") and line.endswith("-coord"):
                self.git("worktree", "remove", "--force", line.removeprefix("worktree "))
        self.git("branch", "--quiet", "-D", branch)

    def merge_target(self, slug: str, target: str) -> None:
        path = self.root / "kitty-specs" / slug / "meta.json"
        meta = json.loads(path.read_text(encoding="utf-8"))
        meta["merge_target_branch"] = target
        path.write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        self.commit("Merge into another branch", "kitty-specs")

    def documents(self, folder: Path) -> None:
        """Write the documents of an agent that follows the host's templates."""
        (folder / "tasks").mkdir(exist_ok=True)
        (folder / "spec.md").write_text(self.spec(), encoding="utf-8")
        (folder / "plan.md").write_text(_PLAN, encoding="utf-8")
        (folder / "tasks.md").write_text(self.tasks(), encoding="utf-8")
        for number, wp in enumerate(self.packages, 1):
            name = re.sub(r"\W+", "-", Path(self.packages[wp].makes).stem)
            path = folder / "tasks" / f"{wp}-{name}.md"
            path.write_text(self.prompt(number, wp), encoding="utf-8")

    def subtasks(self, wp: str) -> list[str]:
        before = 0
        for name, package in self.packages.items():
            if name == wp:
                return [f"T{before + i:03d}" for i in range(1, package.subtasks + 1)]
            before += package.subtasks
        raise KeyError(wp)

    def spec(self) -> str:
        rows = "".join(
            f"| FR-{i:03d} | Part {i} | `{package.makes}` shall exist. | High | Open |\n"
            for i, package in enumerate(self.packages.values(), 1)
        )
        head = "| ID | Title | Description | Priority | Status |\n| --- | --- | --- | --- | --- |\n"
        return f"# Feature Specification: demo\n\n## Functional Requirements\n\n{head}{rows}"

    def tasks(self) -> str:
        parts = ["# Work Packages: demo\n"]
        heading = "### Included Subtasks\n\n" if self.headed else ""
        for i, (wp, package) in enumerate(self.packages.items(), 1):
            boxes = "".join(f"- [ ] {t} Part of {wp}\n" for t in self.subtasks(wp))
            if self.at >= (3, 2, 6):  # rows for reference; the event log alone counts
                boxes = boxes.replace("- [ ] ", "")
            needs = "".join(f"- Depends on {name}\n" for name in package.needs) or "- None\n"
            parts.append(
                f"\n---\n\n## Work Package {wp}: Part {i} (Priority: P1)\n\n"
                f"**Goal**: `{package.makes}` exists.\n"
                f"**Requirement Refs**: FR-{i:03d}\n\n"
                f"{heading}{boxes}\n### Dependencies\n\n{needs}"
            )
        return "".join(parts)

    def front(self, number: int, wp: str) -> dict[str, object]:
        """Return the front matter of a work package."""
        package = self.packages[wp]
        front: dict[str, object] = {
            "work_package_id": wp,
            "title": f"Part {number}",
            "dependencies": list(package.needs),
            "requirement_refs": [f"FR-{number:03d}"],
            "subtasks": self.subtasks(wp),
            "phase": "Phase 1",
            "execution_mode": "planning_artifact" if package.planning else "code_change",
            "owned_files": [f"{package.folder}/**", *package.also_owns],
            "authoritative_surface": f"{package.folder}/",
            "agent": "",
            "shell_pid": "",
            "history": [
                {"at": "2026-01-01T00:00:00Z", "actor": "system", "action": "Prompt generated"}
            ],
        }
        if self.at >= (3, 2, 6):  # 3.1.10 refuses unknown keys
            front["create_intent"] = [package.makes, *package.also_owns]
        if package.everywhere and self.at >= (3, 2):
            front["scope"] = "codebase-wide"
        if self.at < (3, 1):
            front |= {"lane": "planned"}
        return front

    def prompt(self, number: int, wp: str) -> str:
        front = self.front(number, wp).items()
        yaml = "".join(f"{name}: {json.dumps(value)}\n" for name, value in front)
        boxes = "".join(f"- [ ] {t} Part of {wp}\n" for t in self.subtasks(wp))
        return (
            f"---\n{yaml}---\n\n# Work Package Prompt: {wp} - Part {number}\n\n"
            f"## Objectives & Success Criteria\n\n- `{self.packages[wp].makes}` exists.\n\n"
            f"## Subtasks & Detailed Guidance\n\n{boxes}\n"
            "## Activity Log\n\n- 2026-01-01T00:00:00Z - system - lane=planned - Prompt created.\n"
        )
