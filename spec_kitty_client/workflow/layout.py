"""Read a mission's layout: its topology, its target, and the needs of each work package.

No verb of the contract reports these. Without them, a caller would notice an open subtask or a
missing branch only when a call fails. The SDK reads them from the mission's own files in the
primary checkout, which are the same under every topology, and never writes these files. It never
reads lanes from files: only `mission-state` reports those.

Source: hosts 1.0.3 to 3.2.7 and 4.0.0rc7.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from attrs import field, frozen

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.values import Value
from spec_kitty_client.workflow.git import checked_out, git, show_all
from spec_kitty_client.workflow.names import check_names

__all__ = ["PLANNING_LANE", "MissionFiles", "MissionLayout", "PackageLayout", "read_files"]

PLANNING_LANE = "lane-planning"
"""The execution lane of all planning work (host 3.1.0 and later)."""

_LARGEST_FRONT_MATTER = 256 * 1024  # characters; a limit against damaged files
_WP_FILE = re.compile(r"(WP\d+)(?=[-_.])[^/]*\.md", re.IGNORECASE)
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_OPEN_BOX = re.compile(r"\s*-\s*\[\s*\]\s+(T\d+\b)?")


@frozen(kw_only=True)
class PackageLayout(Value):
    """The subtasks and execution lane of one work package."""

    wp_id: str
    subtasks: tuple[str, ...] = ()
    """Ids of the subtasks that must be marked done before ``for_review``. From host 3.2.6 on all
    subtasks in the front matter, marked or not; from 2.1.0 to 3.2.5 the boxes in ``tasks.md``
    that have an id and are not ticked; none on 1.0.x."""
    open_boxes: int = 0
    """Number of boxes in ``tasks.md`` without an id that are not ticked (hosts 2.1.0 to 3.2.5).
    No command of the host can tick these."""
    roster_problem: str | None = None
    """The reason why a host from 3.2.6 on cannot read the subtasks and refuses ``for_review``."""
    creates: tuple[str, ...] = ()
    """The files that it is to create, as its front matter says (host 3.2.6 and later)."""
    lane: str | None = None
    """The execution lane, such as ``lane-a`` (host 3.1.0 and later)."""
    lane_needs: tuple[str, ...] = ()
    """The execution lanes that its own lane depends on."""
    owned_files: tuple[str, ...] = ()
    """The files and patterns in its front matter, which it is meant to change."""

    @property
    def planning(self) -> bool:
        """Whether it is planning work, which has no lane branch (host 3.1.0 and later)."""
        return self.lane == PLANNING_LANE


@frozen(kw_only=True)
class MissionLayout(Value):
    """The topology and branches of a mission, and the layout of its work packages."""

    mission_slug: str
    topology: str | None
    """``single_branch``, ``lanes``, ``coord`` or ``lanes_with_coord``; None up to host 3.1.10."""
    coordination_branch: str | None
    """The branch on which the host records the lanes of work packages; None: on the target."""
    planning_branch: str
    """The branch with the mission's folder, at which execution lanes start."""
    target: str
    """The branch into which the host merges by default."""
    target_source: str
    """The key of ``meta.json`` that names the target; ``primary branch`` if there is none."""
    packages: Mapping[str, PackageLayout] = field(repr=False)

    def sharing(self, wp: str) -> tuple[str, ...]:
        """Return the ids of the other work packages that share a worktree with this one."""
        lane = self.packages[wp].lane if wp in self.packages else None
        return tuple(
            name for name, p in self.packages.items() if lane and p.lane == lane and name != wp
        )


@frozen(kw_only=True)
class MissionFiles:
    """The files of a mission that describe its layout, as read from the primary checkout."""

    slug: str
    meta: Mapping[str, Any]
    lanes: Mapping[str, Any]
    index: str
    """The text of ``tasks.md``."""
    prompts: Mapping[str, str]
    """The text of each work package's file, by work package id."""

    def target(self, contract: Contract) -> tuple[str, str] | None:
        """Return the branch to merge into and the key that names it, or None.

        Hosts read ``merge_target_branch`` (3.2.2 and later), then ``target_branch``.
        """
        newer = ("merge_target_branch",) if contract.supports(Feature.MERGE_TARGET) else ()
        for key in (*newer, "target_branch"):
            value = self.meta.get(key)
            if isinstance(value, str) and value:
                return value, key
        return None

    def package(self, wp: str, contract: Contract) -> PackageLayout:
        """Return the layout of a work package on this host."""
        lane, needs = self._lane(wp)
        subtasks, boxes, problem = self._subtasks(wp, contract)
        return PackageLayout(
            wp_id=wp,
            creates=self._creates(wp, contract),
            subtasks=subtasks,
            open_boxes=boxes,
            roster_problem=problem,
            lane=lane,
            lane_needs=needs,
            owned_files=_owned(self.prompts.get(wp)),
        )

    def _lane(self, wp: str) -> tuple[str | None, tuple[str, ...]]:
        for lane in _objects(self.lanes.get("lanes")):
            name = lane.get("lane_id")
            if isinstance(name, str) and wp in _words(lane.get("wp_ids")):
                return name, _words(lane.get("depends_on_lanes"))
        return None, ()

    def _creates(self, wp: str, contract: Contract) -> tuple[str, ...]:
        if not contract.supports(Feature.SUBTASK_EVENTS):
            return ()
        front, _ = _front(self.prompts.get(wp) or "")
        return _words((front or {}).get("create_intent"))

    def _subtasks(self, wp: str, contract: Contract) -> tuple[tuple[str, ...], int, str | None]:
        if contract.supports(Feature.SUBTASK_EVENTS):
            ids, problem = _roster(self.prompts.get(wp))
            return ids, 0, problem
        if not contract.supports(Feature.SUBTASK_GATE):
            return (), 0, None
        boxes = list(_open_boxes(self.index, wp, deep=contract.supports(Feature.IN_REVIEW_LANE)))
        return tuple(dict.fromkeys(b for b in boxes if b)), boxes.count(None), None


def read_files(slug: str, top: str) -> Steps[MissionFiles]:
    """Read the files of a mission in the primary checkout, committed or not.

    Args:
        slug: Slug of the mission.
        top: Path of the primary checkout.

    Raises:
        GitFailed: If a file is damaged, or names something that cannot be a branch.
    """
    folder = f"kitty-specs/{slug}"
    names = ("meta.json", "lanes.json", "tasks.md", "tasks")
    texts = yield from show_all(tuple(f"{folder}/{name}" for name in names), top)
    prompts: dict[str, str] = {}
    for path in sorted(texts):
        found = _WP_FILE.fullmatch(path.removeprefix(f"{folder}/tasks/"))
        if found:
            prompts.setdefault(found[1].upper(), texts[path])
    meta = _facts(f"{folder}/meta.json", texts)
    lanes = _facts(f"{folder}/lanes.json", texts)
    check_names(folder, meta, lanes)
    return MissionFiles(
        slug=slug,
        meta=meta,
        lanes=lanes,
        index=texts.get(f"{folder}/tasks.md", ""),
        prompts=prompts,
    )


def layout_of(
    contract: Contract, files: MissionFiles, wps: tuple[str, ...], top: str
) -> Steps[MissionLayout]:
    """Return the layout of a mission.

    Args:
        contract: The host's contract.
        files: The mission's files.
        wps: Ids of its work packages.
        top: Path of the primary checkout.
    """
    target = files.target(contract)
    planned = files.meta.get("target_branch")
    primary = "" if target else (yield from primary_branch(top))
    branch, source = target or (primary, "primary branch")
    coordination = files.meta.get("coordination_branch")
    topology = files.meta.get("topology")
    return MissionLayout(
        mission_slug=files.slug,
        topology=topology if isinstance(topology, str) else None,
        coordination_branch=coordination if isinstance(coordination, str) else None,
        planning_branch=planned if isinstance(planned, str) and planned else branch,
        target=branch,
        target_source=source,
        packages={wp: files.package(wp, contract) for wp in wps},
    )


def primary_branch(top: str) -> Steps[str]:
    """Return the repository's default branch as hosts see it: origin's, else the current one."""
    try:
        head = yield from git("symbolic-ref", "refs/remotes/origin/HEAD", folder=top)
    except GitFailed:
        return (yield from checked_out(top)) or "main"
    return head.strip().removeprefix("refs/remotes/origin/")


def _facts(path: str, texts: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        facts = json.loads(texts.get(path) or "{}")
    except (ValueError, RecursionError) as e:
        msg = f"{path} is damaged: {e}. Restore it from git."
        raise GitFailed(msg) from e
    if not isinstance(facts, dict):
        msg = f"{path} is damaged: it holds no JSON object. Restore it from git."
        raise GitFailed(msg)
    return facts


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    yield from (v for v in value if isinstance(v, dict)) if isinstance(value, list) else ()


def _words(value: object) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _roster(text: str | None) -> tuple[tuple[str, ...], str | None]:
    """Return the subtasks in a work package's front matter, or why it has none."""
    if text is None:
        return (), None  # the file may be on another branch
    front, problem = _front(text)
    if problem:
        return (), problem
    named = front.get("subtasks") if front else None
    if named is None or named == "":
        return (), "its front matter has no list `subtasks`"
    ids = [v.strip() for v in named if isinstance(v, str)] if isinstance(named, list) else []
    return tuple(dict.fromkeys(filter(None, ids))), None


@lru_cache(maxsize=1024)
def _front(text: str) -> tuple[Mapping[str, Any] | None, str | None]:
    """Return the front matter of a work package's file, or why it cannot be read."""
    found = _FRONT_MATTER.match(text)
    if found is None or len(found[1]) > _LARGEST_FRONT_MATTER:
        return None, "its file has no front matter"
    import yaml  # here, because it takes 15 ms and only hosts from 3.2.6 on need it

    try:
        front = yaml.load(found[1], Loader=yaml.BaseLoader)  # noqa: S506 - makes only strings
    except (yaml.YAMLError, RecursionError, ValueError) as e:
        return None, f"its front matter is damaged: {str(e).splitlines()[0]}"
    return (front if isinstance(front, dict) else None), None


def _owned(text: str | None) -> tuple[str, ...]:
    if text is None or "owned_files" not in text:
        return ()
    return _words((_front(text)[0] or {}).get("owned_files"))


def _open_boxes(index: str, wp: str, *, deep: bool) -> Iterator[str | None]:
    """Yield each unticked box of a work package: its subtask id, or None if it has none.

    Args:
        index: The text of ``tasks.md``.
        wp: Id of the work package.
        deep: Whether headings of levels three and four count (3.1.1 and later).
    """
    level = r"#{2,4}(?!#)" if deep else "##"
    own = re.compile(rf"{level}.*\b{re.escape(wp)}\b")
    other = re.compile(rf"{level}\s+")
    inside = False
    for line in index.split("\n"):
        if own.match(line):
            inside = True
        elif inside and other.match(line):
            return
        elif inside and (box := _OPEN_BOX.match(line)):
            yield box[1]
