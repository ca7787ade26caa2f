"""Scenarios that end users' missions, in every topology and on several branches."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import user_missions
from tests.record.user_world import FORCED, end, finish, merge, resolve, start, submit
from tests.record.world import World
from tests.user_missions import Package

__all__ = ["endings", "protection", "topologies"]

_THREE = {
    "WP01": Package(makes="src/store/store.py", subtasks=0),
    "WP02": Package(makes="src/api/api.py", needs=("WP01",), subtasks=0),
    "WP03": Package(makes="src/log/log.py", subtasks=0),
}
_ONE = {"WP01": _THREE["WP01"]}
_WITH_PLANNING = _ONE | {"WP02": Package(makes="docs/findings.md", planning=True, subtasks=0)}


_Prepare = Callable[[World], object]


def _nothing(_: World) -> None:
    pass


def _discard(u: World) -> None:
    """Discard the changes in the primary checkout."""
    u.git("checkout", "--quiet", ".")
    u.git("clean", "--quiet", "--force", "-d")


_PLAIN: dict[str, _Prepare] = {"": World.commit}
_WITH_COORD: dict[str, _Prepare] = {  # the status is on a branch of its own
    ", status on the target": World.commit,
    ", status left there": _nothing,
    "": _discard,
}


def topologies(w: World) -> None:
    """Take a mission from claim to merge in each topology that `whole` does not use."""
    for topology in user_missions.topologies(w.release.name):
        if topology in ("flat", "lanes"):
            continue
        u, scene = w.made(topology, _THREE, topology), f"topologies: {topology}"
        started = _begin(u, scene)
        u.load(topology)
        if topology == "single_branch" and w.release.since(4):
            _in_the_primary_checkout(u, scene)
        if not started:
            _by_force(u, scene)
            continue
        end(u, scene, u.mission.dag)
        u.save("topologies accepted")
        for how, prepare in (_WITH_COORD if "coord" in topology else _PLAIN).items():
            u.load("topologies accepted")
            prepare(u)
            merge(u, f"{scene}{how}")
        u.do(f"{scene}: list-ready after merge", "list-ready")
        u.do(f"{scene}: merge again", "merge")


def _begin(u: World, scene: str) -> bool:
    """Make the calls before any work is finished; return whether the claim succeeded."""
    u.do(f"{scene}: state", "state")
    resolve(u, f"{scene}: resolve-workspace before start", "WP01")
    said = u.do(f"{scene}: start", "start-implementation", **start("WP01"))
    resolve(u, f"{scene}: resolve-workspace", "WP01")
    u.do(f"{scene}: start the dependent too early", "start-implementation", **start("WP02"))
    u.do(f"{scene}: start another", "start-implementation", **start("WP03"))
    u.do(f"{scene}: for_review without a commit", "transition", **submit("WP01"))
    u.do(f"{scene}: accept not ready", "accept", actor="rev")
    u.do(f"{scene}: merge not ready", "merge")
    return "to_lane" in said


def _in_the_primary_checkout(u: World, scene: str) -> None:
    """Claim work for the primary checkout in unsuitable states of it."""
    (u.root / "README.md").write_text("not committed\n", encoding="utf-8")
    u.do(f"{scene}: start, dirty checkout", "start-implementation", **start("WP01"))
    u.load("single_branch")
    u.git("checkout", "--quiet", "-b", "other")
    u.do(f"{scene}: start, another branch", "start-implementation", **start("WP01"))
    u.load("single_branch")


def _by_force(u: World, scene: str) -> None:
    """Approve work packages by force, because some releases start none under coord."""
    for wp in u.mission.dag:
        forced = start(wp, "rev") | {"to": "approved", **FORCED}
        u.do(f"{scene}: approve {wp} by force", "transition", **forced)
    u.do(f"{scene}: accept", "accept", actor="rev")
    merge(u, scene)


def endings(w: World) -> None:
    """Merge after changes that a user may have made, and from other places."""
    if not w.release.since(2, 1):
        return
    u = w.made("endings", _ONE)
    u.must("start-implementation", **start("WP01"))
    u.work("WP01")
    finish(u, "WP01")
    u.commit()
    u.git("branch", "second")
    u.save("endings finished")
    for what, (prepare, options) in _endings(u).items():
        u.load("endings finished")
        prepare(u)
        u.do(f"endings: merge {what}", "merge", **options)
    u.load("endings finished")
    u.do("endings: merge", "merge")
    u.save("endings merged")
    u.do("endings: merge again", "merge")
    u.load("endings merged")
    _without_branches(u)
    u.do("endings: merge again without branches", "merge")
    for what, prepare in {"": _nothing, " without branches": _without_branches}.items():
        u.load("endings merged")
        prepare(u)
        u.do(f"endings: merge into a second target{what}", "merge", target="second")
        u.do(f"endings: state after a second target{what}", "state")


def _endings(u: World) -> dict[str, tuple[_Prepare, dict[str, Any]]]:
    to = {"target": u.mission.target_branch}
    return {
        "with merge_target_branch": (_merge_target, {}),
        "with merge_target_branch and a target": (_merge_target, to),
        "with merge_target_branch of no branch": (lambda u: _meta(u, "nosuch"), {}),
        "with a dirty sync-state.json": (lambda u: _dirty(u, ".kittify/sync-state.json"), {}),
        "with a dirty metadata.yaml": (lambda u: _dirty(u, ".kittify/metadata.yaml"), {}),
        "with a dirty file of the user's": (lambda u: _dirty(u, "README.md"), {}),
        "with an untracked file of the user's": (_untracked, {}),
        "in a clone": (_clone, {}),
        "without branches": (_without_branches, {}),
    }


def _merge_target(u: World) -> None:
    u.git("branch", "release")
    _meta(u, "release")


def _meta(u: World, branch: str) -> None:
    text = json.dumps(u.meta | {"merge_target_branch": branch}, indent=2)
    (u.folder / "meta.json").write_text(text, encoding="utf-8")
    u.commit()


def _dirty(u: World, name: str) -> None:
    """Change a file that is committed."""
    path = u.root / name
    if not path.exists():
        path.write_text("{}\n", encoding="utf-8")
    u.git("add", "--force", name)
    u.commit(name)
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")


def _untracked(u: World) -> None:
    (u.root / "left.txt").write_text("not committed\n", encoding="utf-8")


def _clone(u: World) -> None:
    """Continue in a clone, which has only the branch that was checked out."""
    origin = u.base / "origin"
    shutil.rmtree(origin, ignore_errors=True)
    shutil.move(u.root, origin)
    u.git("clone", "--quiet", str(origin), str(u.root), cwd=u.base)


def _without_branches(u: World) -> None:
    """Remove the worktrees and branches of all lanes."""
    for line in u.git("worktree", "list", "--porcelain").splitlines():
        path = Path(line.removeprefix("worktree "))
        if line.startswith("worktree ") and path != u.root:
            u.git("worktree", "remove", "--force", str(path))
    for branch in u.git("branch", "--format=%(refname:short)").split():
        if u.mission.slug in branch:
            u.git("branch", "--quiet", "-D", branch)


def protection(w: World) -> None:
    """Make calls with ``main`` checked out, on which hosts from 3.2.0 on refuse to commit."""
    if not w.release.since(3, 2):
        return
    for topology in ("lanes", "coord"):
        scene = f"protection: {topology}"
        u = w.made("protection", _WITH_PLANNING, topology)
        u.git("checkout", "--quiet", "-B", "main", "work")
        u.save("protection")
        _try(u, f"{scene}, checked out")
        _target_main(u)
        u.save("protection")
        _try(u, f"{scene}, target")


def _target_main(u: World) -> None:
    u.load("protection")
    for name in ("meta.json", "lanes.json"):
        path = u.folder / name
        if not path.exists():
            continue  # 3.2.1 has lanes.json on the coordination branch
        content = json.loads(path.read_text(encoding="utf-8")) | {"target_branch": "main"}
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    u.commit()


def _try(u: World, scene: str) -> None:
    u.do(f"{scene}: state", "state")
    for what, (verb, options) in {
        "start": ("start-implementation", start("WP01")),
        "start planning": ("start-implementation", start("WP02")),
        "transition": ("transition", {"wp": "WP01", "to": "blocked", "actor": "a1", "note": "n"}),
        "append-history": ("append-history", {"wp": "WP01", "actor": "a1", "note": "n"}),
        "accept not ready": ("accept", {"actor": "rev"}),
    }.items():
        u.load("protection")
        u.do(f"{scene}: {what}", verb, **options)
        if "start" in what:
            resolve(u, f"{scene}: resolve-workspace after {what}", str(options["wp"]))
