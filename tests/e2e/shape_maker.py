"""Make the missions of `shapes`, each in a new repository, with the host's own commands."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.missions import environment, process, version
from tests.user_missions import Maker, Package, UserMission

from .shapes import Shape

__all__ = ["PROTECTION_OFF", "blank", "make"]

PROTECTION_OFF = "SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS"
"""The variable that lets hosts commit on ``main``."""


def blank(spec_kitty: Path, release: str, root: Path) -> Path:
    """Make a git repository with a project and no mission, as a template, and return it."""
    env = environment(spec_kitty, os.environ)
    Maker(root, {}, version(release), env, process(spec_kitty, env), headed=True).repository()
    return root


def make(spec_kitty: Path, release: str, root: Path, shape: Shape, project: Path) -> UserMission:
    """Make a git repository with a mission of a shape.

    Args:
        spec_kitty: The host's program.
        release: The host's version.
        root: The repository; must not exist.
        shape: The shape.
        project: The template that `blank` made.

    Raises:
        RuntimeError: If a call of the host or git fails.
    """
    env = environment(spec_kitty, {**os.environ, PROTECTION_OFF: "1"})
    runs = process(spec_kitty, env)
    maker = _ShapeMaker(root, shape.packages, version(release), env, runs, headed=True, shape=shape)
    shutil.copytree(project, root, symlinks=True)
    if shape.branch != "main":
        maker.git("checkout", "--quiet", "-b", shape.branch)
    slug = maker.by_hand(shape.slug) if shape.slug else maker.create(shape.topology)
    maker = replace(maker, packages={wp: _in(slug, p) for wp, p in shape.packages.items()})
    maker.plan(slug)
    if shape.finalised:
        maker.finalise(slug)
    return UserMission(
        root=root,
        slug=slug,
        topology=shape.topology,
        target=shape.branch,
        packages=maker.packages,
        env=env,
    )


def _in(slug: str, package: Package) -> Package:
    """Return a work package with the slug of its mission filled in."""
    return replace(
        package,
        makes=package.makes.format(slug=slug),
        also_owns=tuple(path.format(slug=slug) for path in package.also_owns),
    )


def _with(facts: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts updated with more; a value of None removes a key."""
    gone = {name for name, value in more.items() if value is None}
    return {name: value for name, value in {**facts, **more}.items() if name not in gone}


@dataclass(frozen=True)
class _ShapeMaker(Maker):
    shape: Shape

    def by_hand(self, slug: str) -> str:
        """Make the folder of a mission as hosts with numbered missions did."""
        folder = self.root / "kitty-specs" / slug
        folder.mkdir(parents=True)
        meta = {
            "slug": slug,
            "friendly_name": "tables",
            "target_branch": self.shape.branch,
            "created_at": "2026-01-13T06:38:55.213250+00:00",
        }
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        return slug

    def plan(self, slug: str) -> None:
        """Write the mission's documents and its ``meta.json``, and commit them."""
        folder = self.root / "kitty-specs" / slug
        path = folder / "meta.json"
        if self.shape.flattened:
            self.flatten(path)
        meta = _with(json.loads(path.read_text(encoding="utf-8")), self.shape.meta)
        path.write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        self.documents(folder)
        self.commit("Plan the mission", f"kitty-specs/{slug}")

    def finalise(self, slug: str) -> None:
        """Have the host finalise the tasks, then change the files to an older host's form."""
        self.agent("mission", "finalize-tasks", "--mission", slug)
        folder = self.root / "kitty-specs" / slug
        for wp in self.packages:
            (path,) = (folder / "tasks").glob(f"{wp}-*.md")
            _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
            late = {"owned_files": self.owned(wp), **dict.fromkeys(self.shape.forgotten)}
            left = _with(yaml.safe_load(front), late)
            path.write_text(f"---\n{_yaml(left)}---\n{body}", encoding="utf-8")
        if self.shape.one_lane:
            _merge_lanes(folder / "lanes.json")
        if self.git("status", "--porcelain", "--", "kitty-specs"):
            self.commit("As an older host left it", "kitty-specs")

    def owned(self, wp: str) -> list[str] | None:
        """Return the files that a work package owns; None: its front matter has no such key."""
        package = self.packages[wp]
        own = [package.makes, *package.also_owns]
        return None if "owned_files" in self.shape.forgotten else own

    def front(self, number: int, wp: str) -> dict[str, object]:
        package = self.packages[wp]
        own = [package.makes, *package.also_owns]
        if not package.planning:  # the present host refuses these, older ones accepted them
            own = [path for path in own if not path.startswith("kitty-specs/")] or [f"{wp}.md"]
        surface = f"{Path(own[0]).parent}/" if "/" in own[0] else own[0]
        front = {"owned_files": own, "authoritative_surface": surface, "create_intent": own}
        return _with({**super().front(number, wp), **front}, self.shape.front)

    def prompt(self, number: int, wp: str) -> str:
        body = f"# {wp}: Part {number}\n\n`{self.packages[wp].makes}` exists.\n"
        return body if self.shape.bare else f"---\n{_yaml(self.front(number, wp))}---\n\n{body}"

    def tasks(self) -> str:
        index = self.shape.index
        own = {wp: self.subtasks(wp) for wp in self.packages}
        rows = "".join(index.row.format(t=t, wp=wp) for wp, ids in own.items() for t in ids)
        parts = ["# Tasks: demo\n", f"\n| ID | Text | WP | |\n|---|---|---|---|\n{rows}"]
        for i, (wp, ids) in enumerate(own.items(), 1):
            needs = index.needs.format(needs=", ".join(self.packages[wp].needs) or "none")
            boxes = "".join(index.box.format(t=t, wp=wp) for t in ids)
            parts.append(f"\n{index.heading.format(wp=wp, i=i)}\n\n{needs}{index.above}{boxes}")
        return "".join(parts)


def _yaml(front: Mapping[str, Any]) -> str:
    """Return front matter with block lists, as people and hosts write it."""
    return yaml.safe_dump(dict(front), sort_keys=False, allow_unicode=True)


def _merge_lanes(path: Path) -> None:
    """Put every work package into the first lane, under the keys of a host before 3.1.0."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    slug = facts.pop("mission_slug")
    facts |= {"feature_slug": slug, "mission_id": slug}
    first = facts["lanes"][0] | {"depends_on_lanes": []}
    for name in ("wp_ids", "write_scope"):
        first[name] = sorted({v for lane in facts["lanes"] for v in lane[name]})
    path.write_text(json.dumps(facts | {"lanes": [first]}, indent=2) + "\n", encoding="utf-8")
