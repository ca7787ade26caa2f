"""The scenarios: a function for each group of calls."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests import missions
from tests.record.design import design, newer
from tests.record.host import Completed
from tests.record.world import Tape, World

__all__ = ["ALL", "broken"]

_POLICY: dict[str, Any] = json.loads(missions.POLICY)
_NOPE = "999-nope"
_REVIEW = {"reviewer": "rev", "verdict": "approved", "reference": "r2"}
_REWORK = {"reviewer": "rev", "verdict": "changes_requested", "reference": "r1"}
_FORCED = {"force": True, "note": "by hand"}


def outside(w: World) -> None:
    """Make calls that need no repository, and calls outside a repository."""
    where = w.base / "elsewhere"
    where.mkdir()
    api = "orchestrator-api"
    state, select = w.release.verb("state"), f"--{w.release.selector}"
    others = (
        ("mission-state", "--mission") if select == "--feature" else ("feature-state", "--feature")
    )
    ask = (api, "contract-version", "--provider-version")
    for scenario, argv in {
        "version": ("--version",),
        "contract-version": (api, "contract-version"),
        "contract-version provider": (*ask, "0.1.0"),
        "contract-version provider too old": (*ask, "0.0.9"),
        "contract-version provider no version": (*ask, "banana"),
        "contract-version --json": (api, "contract-version", "--json"),
        "no verb": (api,),
        "help": (api, "--help"),
        "help of a verb": (api, state, "--help"),
        "unknown verb": (api, "bogus"),
        "unknown verb of another release": (api, others[0], others[1], "x"),
        "unknown option": (api, state, others[1], "x"),
        "unknown option of the group": (api, "--bogus"),
        "missing option": (api, state),
        "missing value": (api, state, select),
        "outside of a repository": (api, state, select, "x"),
    }.items():
        w.say(scenario, *argv, cwd=where)


def reads(w: World) -> None:
    """Read the state and the ready work packages, of missing missions too."""
    w.do("state", "state")
    w.do("list-ready", "list-ready")
    w.do("state from a sub-folder", "state", cwd=w.folder)
    names = {
        "unknown mission": _NOPE,
        "human slug": "demo",
        "empty mission": "",
        "blank mission": " ",
        "path as mission": "../x",
    }
    if "mission_id" in w.meta:
        names |= {"mid8": w.meta["mission_id"][:8], "ULID": w.meta["mission_id"]}
    for what, name in names.items():
        w.do(f"state by {what}", "state", mission=name)
    w.do("list-ready by unknown mission", "list-ready", mission=_NOPE)
    if w.release.since(3, 2, 4):
        w.do("resolve-workspace before start", "resolve-workspace", wp="WP01")
        w.do("resolve-workspace unknown wp", "resolve-workspace", wp="WP99")
        w.do("resolve-workspace unknown mission", "resolve-workspace", wp="WP01", mission=_NOPE)
    elif not w.release.since(3, 1):
        w.do("resolve-workspace", "resolve-workspace", wp="WP01")


def unknown(w: World) -> None:
    """Make calls with unknown missions and work packages, and with missing options."""
    calls: dict[str, dict[str, object]] = {
        "start-implementation": {"actor": "a1", "policy": True},
        "start-review": {"actor": "rev", "policy": True, "review_ref": "r1"},
        "transition": {"actor": "a1", "to": "blocked"},
        "append-history": {"actor": "a1", "note": "n"},
        "accept": {"actor": "rev"},
        "merge": {},
    }
    for verb, options in calls.items():
        wp = {} if verb in ("accept", "merge") else {"wp": "WP01"}
        w.do(f"{verb} unknown mission", verb, mission=_NOPE, **wp, **options)
        w.do(f"{verb} missing option", verb, mission=None, **wp)
        if wp:
            w.do(f"{verb} unknown wp", verb, wp="WP99", **options)
        if "actor" in options:
            w.do(f"{verb} empty actor", verb, **wp, **(options | {"actor": ""}))


def policies(w: World) -> None:
    """Send valid and invalid policies."""
    no_family = {k: v for k, v in _POLICY.items() if k != "agent_family"}
    for what, policy in {
        "missing": None,
        "bad JSON": "{",
        "no object": [],
        "without a field": no_family,
        "flags no list": _POLICY | {"dangerous_flags": "--yolo"},
        "flag no string": _POLICY | {"dangerous_flags": [3]},
        "banned flag": _POLICY | {"dangerous_flags": ["--yolo"]},
        "field no string": _POLICY | {"orchestrator_id": 3},
        "empty field": _POLICY | {"orchestrator_id": ""},
        "tool restrictions list": _POLICY | {"tool_restrictions": ["a"]},
        "tool restrictions string": _POLICY | {"tool_restrictions": "a"},
        "secret": _POLICY | {"orchestrator_id": "my-token"},
        "secret in an extra field": _POLICY | {"extra": "password"},
        "secret below": _POLICY | {"extra": {"a": ["credential"]}},
        "monkey": _POLICY | {"agent_family": "monkey"},
        "field named secret": _POLICY | {"secret": "x"},
        "extra field": _POLICY | {"extra": 1},
    }.items():
        # An unknown work package, so that a host which accepts it changes nothing.
        w.do(f"policy {what}", "start-implementation", wp="WP99", actor="a1", policy=policy)
    for to in ("claimed", "in_progress", "for_review", "in_review", "approved", "done", "blocked"):
        w.do(f"no policy to {to}", "transition", wp="WP99", to=to, actor="a1")
    w.do("bad policy to blocked", "transition", wp="WP99", to="blocked", actor="a1", policy="{")
    w.do("start-review no policy", "start-review", wp="WP01", actor="rev", review_ref="r1")
    bad = {"policy": [], "review_ref": "r1"}
    w.do("start-review bad policy", "start-review", wp="WP01", actor="rev", **bad)


def claims(w: World) -> None:
    """Claim a work package."""
    first = {"wp": "WP01", "policy": True}
    w.do("start dependent", "start-implementation", wp="WP02", actor="a9", policy=True)
    w.load()
    w.do("start", "start-implementation", actor="a1", **first)
    w.do("start again", "start-implementation", actor="a1", **first)
    w.do("start by another", "start-implementation", actor="a2", **first)
    w.do("state after start", "state")
    w.do("list-ready after start", "list-ready")
    if w.release.since(3, 2, 4):
        w.do("resolve-workspace after start", "resolve-workspace", wp="WP01")
    w.do("for_review without a commit", "transition", to="for_review", actor="a1", **first)


def wrong_moves(w: World) -> None:
    """Make invalid transitions, in addition to those of the matrix."""
    w.must("start-implementation", wp="WP01", actor="a1", policy=True)
    w.work("WP01")
    to_done = {"wp": "WP01", "to": "done", "actor": "a1"}
    for lane in ("bogus", "DONE", "", "genesis", "uninitialized", "doing", "in_review"):
        moved = {"wp": "WP01", "to": lane, "actor": "a1", "policy": True}
        w.do(f"transition to {lane or 'nothing'!r}", "transition", **moved)
        w.do(f"transition to {lane or 'nothing'!r} forced", "transition", **moved, **_FORCED)
    w.load()
    w.must("start-implementation", wp="WP01", actor="a1", policy=True)
    w.work("WP01")
    for what, evidence in {
        "bad JSON": "{",
        "no object": [],
        "empty": {},
        "no review": {"repos": []},
        "changes requested": {"review": _REWORK},
    }.items():
        w.do(f"evidence {what}", "transition", **to_done, evidence_json=evidence)
    for what, result in {
        "bad JSON": "{",
        "no object": [],
        "without a field": {"reviewer": "rev"},
        "unknown verdict": _REVIEW | {"verdict": "meh"},
    }.items():
        w.do(f"review result {what}", "transition", **to_done, review_result_json=result)
    w.do("force without a note", "transition", **to_done, force=True)
    w.do("force with a blank note", "transition", **to_done, force=True, note=" ")
    w.do("force", "transition", **to_done, **_FORCED)


def reviews(w: World) -> None:
    """Review a work package with all kinds of errors, and rework it."""
    one = {"wp": "WP01", "policy": True}
    w.must("start-implementation", actor="a1", **one)
    w.work("WP01")
    w.do("block", "transition", wp="WP01", to="blocked", actor="a1", note="waiting")
    w.do("start blocked", "start-implementation", actor="a1", **one)
    w.do("unblock", "transition", to="in_progress", actor="a1", **one, **_f1_force(w))
    w.do("review too early", "start-review", actor="rev", review_ref="r1", **one)
    w.do("submit", "transition", to="for_review", actor="a1", **one)
    w.do("start for_review", "start-implementation", actor="a1", **one)
    w.save("submitted")
    w.do("start-review without a review-ref", "start-review", actor="rev", **one)
    w.load("submitted")
    w.do("start-review", "start-review", actor="rev", review_ref="r1", **one)
    w.do("start-review again", "start-review", actor="rev", review_ref="r1", **one)
    w.do("start-review by another", "start-review", actor="rev2", review_ref="r1", **one)
    w.do("state in review", "state")
    if w.release.since(3, 2, 6):
        _results(w)
    w.load("submitted")
    w.must("start-review", actor="rev", review_ref="r1", **one)
    if w.release.since(3, 1, 1):
        result = {"review_result_json": _REWORK} if w.release.since(3, 2, 6) else _FORCED
        back = {"to": "in_progress", "review_ref": "r1", **result}
        w.do("reject", "transition", actor="rev", **back, **one)
    w.work("WP01", "# better\n")
    flags = {"subtasks_complete": True, "implementation_evidence_present": True}
    said = w.do(
        "submit the rework with flags", "transition", to="for_review", actor="a1", **one, **flags
    )
    if said.get("to_lane") is None:
        w.do("submit the rework", "transition", to="for_review", actor="a1", **one)
    _approve(w, "WP01")
    w.do("state after approval", "state")
    w.do("list-ready after approval", "list-ready")
    w.do("accept not ready", "accept", actor="rev")
    w.do("merge not ready", "merge")
    w.load("submitted")
    w.do("cancel", "transition", wp="WP01", to="canceled", actor="a1", note="not needed")
    w.do("start canceled", "start-implementation", actor="a1", **one)
    w.do("list-ready after cancel", "list-ready")


def _results(w: World) -> None:
    one = {"wp": "WP01", "actor": "rev", "policy": True}
    back = one | {"to": "in_progress"}
    on = one | {"to": "approved"}
    other = {"review": _REVIEW | {"reference": "other"}}
    for what, options in {
        "reject without a result": back | {"review_ref": "r1"},
        "reject with another reference": back | {"review_ref": "rX", "review_result_json": _REWORK},
        "reject with approval": back | {"review_result_json": _REVIEW},
        "approve with changes requested": on | {"review_result_json": _REWORK},
        "approve with other evidence": on | {"review_result_json": _REVIEW, "evidence_json": other},
        "approve as somebody else": on | {"actor": "rev9", "review_result_json": _REVIEW},
    }.items():
        w.do(what, "transition", **options)


def _f1_force(w: World) -> dict[str, object]:
    return {} if w.release.since(2, 1) else {"force": True}


def _approve(w: World, wp: str, named: str = "approve") -> None:
    """Approve a work package in for_review, with the calls of the release."""
    one = {"wp": wp, "actor": "rev", "policy": True}
    evidence = {"evidence_json": {"review": _REVIEW}}
    at = w.release.since
    if at(3, 1, 1):
        w.do(f"{named}: start-review", "start-review", **one, review_ref="r2")
    if not at(2, 1):
        w.do(f"{named}: done", "transition", **one, to="done", review_ref="r2")
    elif not at(3, 1):
        w.do(f"{named}: done by force", "transition", **one, to="done", **_FORCED)
    elif not at(3, 2, 6):
        force = _FORCED if at(3, 1, 1) else {}
        w.do(f"{named}: approved", "transition", **one, to="approved", **evidence, **force)
        if not at(3, 2):
            w.do(f"{named}: done", "transition", **one, to="done", **evidence)
    else:
        result = {"review_ref": "r2", "review_result_json": _REVIEW}
        w.do(f"{named}: approved", "transition", **one, to="approved", **evidence, **result)


def history(w: World) -> None:
    """Notes."""
    one = {"wp": "WP01", "actor": "a1"}
    w.do("append-history", "append-history", **one, note="looks good")
    w.do("append-history again", "append-history", **one, note="looks good")
    w.do("append-history empty note", "append-history", **one, note="")
    w.do("append-history of two lines", "append-history", **one, note='a\n"b" \u00e9')
    _hook(w)
    w.do("append-history with a failing hook", "append-history", **one, note="n")


def _hook(w: World) -> None:
    hook = w.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)


def whole(w: World) -> None:
    """Take every work package to done, and accept the mission."""
    for wp in w.mission.dag:
        one = {"wp": wp, "policy": True}
        w.do(f"whole: {wp} start", "start-implementation", actor="a1", **one)
        w.work(wp)
        w.do(f"whole: {wp} for_review", "transition", to="for_review", actor="a1", **one)
        _approve(w, wp, f"whole: {wp}")
    w.do("whole: state", "state")
    w.do("whole: list-ready", "list-ready")
    w.save("reviewed")
    if w.release.since(4):
        w.do("accept incomplete", "accept", actor="rev")
        w.load("reviewed")
        _complete(w)
        w.save("reviewed")
    w.do("accept", "accept", actor="rev")
    w.do("accept again", "accept", actor="rev")
    w.save("accepted uncommitted")
    w.commit()
    w.save("accepted")
    w.do("accept after commit", "accept", actor="rev2")


def _complete(w: World) -> None:
    """Supply the facts that only 4.0 requires for an acceptance, some without a verb."""
    for folder in (w.root / "tests", w.root / "docs", w.root / "src", w.folder / "contracts"):
        folder.mkdir(exist_ok=True)
        (folder / ".gitkeep").touch()
    path = w.folder / "acceptance-matrix.json"
    asked = json.loads(path.read_text(encoding="utf-8"))
    passed = [one | {"pass_fail": "pass"} for one in asked["criteria"]]
    whole = asked | {"criteria": passed, "overall_verdict": "pass"}
    path.write_text(json.dumps(whole, indent=2), encoding="utf-8")
    w.commit()
    for wp in w.mission.dag:
        move = ("agent", "tasks", "move-task", wp, "--mission", w.mission.slug)
        how = ("--to", "approved", "--agent", "a1", "--force", "--note", "the agent's name")
        w.host.for_missions(w.root, (*move, *how))
    w.commit()


def merges(w: World) -> None:
    """Merge the mission in all ways, each from the same repository."""
    for scenario, (name, prepare, options) in _merges(w).items():
        w.load(name)
        prepare(w)
        w.do(scenario, "merge", **options)
    w.load("accepted")
    w.do("merge", "merge")
    w.do("state after merge", "state")
    w.do("list-ready after merge", "list-ready")
    w.do("accept after merge", "accept", actor="rev")
    w.do("merge again", "merge")


_Prepare = Callable[[World], object]


def _merges(w: World) -> dict[str, tuple[str, _Prepare, Mapping[str, object]]]:
    strategies = ("merge", "squash", "rebase", "octopus", "")
    known: dict[str, tuple[str, _Prepare, Mapping[str, object]]] = {
        f"merge strategy {name or 'nothing'!r}": ("accepted", _nothing, {"strategy": name})
        for name in strategies
    }
    known |= {
        "merge before accept": ("reviewed", World.commit, {}),
        "merge uncommitted acceptance": ("accepted uncommitted", _nothing, {}),
        "merge to no such target": ("accepted", _nothing, {"target": "nosuch"}),
        "merge with a conflict": ("accepted", _conflict, {}),
        "merge with a file in the way": ("accepted", _in_the_way, {}),
        "merge dirty worktree": ("accepted", _dirty_worktree, {}),
        "merge untracked file in a worktree": ("accepted", _untracked, {}),
        "merge dirty checkout": ("accepted", _dirty_checkout, {}),
        "merge with a worktree gone": ("accepted", _worktree_gone, {}),
        "merge with a branch gone": ("accepted", _branch_gone, {}),
        "merge push": ("accepted", _remote, {"push": True}),
        "merge push without a remote": ("accepted", _nothing, {"push": True}),
        "merge push to a bad remote": ("accepted", _bad_remote, {"push": True}),
    }
    if w.release.since(3, 1):
        known |= {
            "merge without lanes.json": ("accepted", _no_lanes, {}),
            "merge corrupt lanes.json": ("accepted", _corrupt_lanes, {}),
        }
    return known


def _nothing(_: World) -> None:
    pass


def _conflict(w: World) -> None:
    path = w.root / w.mission.files["WP03"]
    path.parent.mkdir(parents=True)
    path.write_text("something else\n", encoding="utf-8")
    w.commit("demo")


def _in_the_way(w: World) -> None:
    path = w.root / w.mission.files["WP03"]
    path.parent.mkdir(parents=True)
    path.write_text("not committed\n", encoding="utf-8")


def _dirty_worktree(w: World) -> None:
    path = w.worktree("WP03") / w.mission.files["WP03"]
    path.write_text("not committed\n", encoding="utf-8")


def _untracked(w: World) -> None:
    (w.worktree("WP03") / "left.txt").write_text("not committed\n", encoding="utf-8")


def _dirty_checkout(w: World) -> None:
    (w.folder / "spec.md").write_text("not committed\n", encoding="utf-8")


def _elsewhere(w: World) -> None:
    w.git("checkout", "--quiet", "-b", "other")


def _worktree_gone(w: World) -> None:
    w.git("worktree", "remove", "--force", str(w.worktree("WP03")))


def _branch_gone(w: World) -> None:
    path = w.worktree("WP03")
    branch = w.git("branch", "--show-current", cwd=path).strip()
    w.git("worktree", "remove", "--force", str(path))
    w.git("branch", "--quiet", "-D", branch)


def _remote(w: World) -> None:
    shutil.rmtree(w.base / "remote", ignore_errors=True)
    w.git("init", "--quiet", "--bare", str(w.base / "remote"))
    w.git("remote", "add", "origin", str(w.base / "remote"))
    w.git("push", "--quiet", "origin", w.mission.target_branch)


def _bad_remote(w: World) -> None:
    w.git("remote", "add", "origin", "/nonexistent")


def _no_lanes(w: World) -> None:
    (w.folder / "lanes.json").unlink()
    w.commit()


def _corrupt_lanes(w: World) -> None:
    (w.folder / "lanes.json").write_text("{", encoding="utf-8")
    w.commit()


def _index_lock(w: World) -> None:
    (w.root / ".git" / "index.lock").touch()


def damages(w: World) -> None:
    """Read and write in damaged projects."""
    for what, prepare in _damages(w).items():
        w.load()
        w.must("start-implementation", wp="WP01", actor="a1", policy=True)
        prepare(w)
        one = {"wp": "WP01", "actor": "a1"}
        w.do(f"{what}: state", "state")
        for verb, options in {
            "list-ready": {},
            "append-history": one | {"note": "n"},
            "transition": one | {"to": "blocked", "note": "n"},
            "start-implementation": {"wp": "WP03", "actor": "a1", "policy": True},
            **({"design-status": {}} if w.release.since(3, 2, 6) else {}),
        }.items():
            w.do(f"{what}: {verb}", verb, failures_only=True, **options)
        for verb, options in {"accept": {"actor": "a1"}, "merge": {}}.items():
            w.load("accepted")
            prepare(w)
            w.do(f"{what}: {verb}", verb, failures_only=True, **options)


def _damages(w: World) -> dict[str, _Prepare]:
    known: dict[str, _Prepare] = {
        "index.lock": _index_lock,
        "failing hook": _hook,
        "target checked out elsewhere": _elsewhere,
        "detached": lambda w: w.git("checkout", "--quiet", "--detach"),
        "mission on another branch": _without_mission,
        "no meta.json": lambda w: (w.folder / "meta.json").unlink(),
        "corrupt meta.json": lambda w: (w.folder / "meta.json").write_text("{", encoding="utf-8"),
        "corrupt prompt": _corrupt_prompt,
        "no prompt": lambda w: next(w.folder.glob("tasks/WP01*")).unlink(),
    }
    if w.release.since(2, 1):
        known |= {"cut event log": _cut_log, "no event log": _no_log}
    if w.release.since(3, 2):
        known |= {
            "schema too old": lambda w: _schema(w, "0"),
            "schema too new": lambda w: _schema(w, "99"),
            "schema no number": lambda w: _schema(w, "banana"),
            "schema out of range": lambda w: _schema(w, "-1"),
            "metadata corrupt": lambda w: _metadata(w, "{{{"),
            "protected branch": _protected,
        }
    return known


def _without_mission(w: World) -> None:
    w.commit()
    first = w.git("rev-list", "--max-parents=0", "HEAD").split()[0]
    w.git("checkout", "--quiet", "-b", "other", first)


def _corrupt_prompt(w: World) -> None:
    path = next(w.folder.glob("tasks/WP01*"))
    path.write_text("---\n: [\n---\n# WP01\n", encoding="utf-8")


def _cut_log(w: World) -> None:
    path = w.folder / "status.events.jsonl"
    path.write_text(path.read_text(encoding="utf-8")[:-40], encoding="utf-8")


def _no_log(w: World) -> None:
    (w.folder / "status.events.jsonl").unlink()
    (w.folder / "status.json").unlink(missing_ok=True)


def _metadata(w: World, text: str) -> None:
    (w.root / ".kittify" / "metadata.yaml").write_text(text, encoding="utf-8")


def _schema(w: World, version: str) -> None:
    _metadata(w, f"spec_kitty:\n  version: {w.release.name}\n  schema_version: {version}\n")


def _protected(w: World) -> None:
    w.commit()
    w.git("branch", "--quiet", "-M", "work", "main")
    meta = w.meta | {"target_branch": "main"}
    (w.folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    w.commit()


def coord(w: World) -> None:
    """Run a mission with a coordination branch (3.2.6 and later)."""
    if not w.release.since(3, 2, 6):
        return
    made = missions.make(
        w.host.spec_kitty,
        w.release.name,
        w.base / "coord-repo",
        w.mission.dag,
        env=w.host.env,
        topology="coord",
        host=w.host.for_missions,
    )
    c = replace(w, mission=made)
    c.save("coord")
    c.load("coord")
    c.do("coord: state", "state")
    away = {"PATH": "/usr/bin:/bin"}  # git's merge drivers find no spec-kitty there
    first = {"wp": "WP01", "actor": "a1", "policy": True}
    c.do("coord: start without the host on PATH", "start-implementation", env=away, **first)
    c.load("coord")
    c.do("coord: start", "start-implementation", **first)
    c.do("coord: state after start", "state")
    for wp in made.dag:
        c.must("transition", wp=wp, to="approved", actor="r", policy=True, **_FORCED)
    c.do("coord: accept", "accept", actor="r")
    for line in c.git("worktree", "list", "--porcelain").splitlines():
        if line.endswith("-coord"):
            c.git("worktree", "remove", "--force", line.removeprefix("worktree "))
    c.do("coord: state without its worktree", "state")
    c.git("branch", "--quiet", "-D", f"kitty/mission-{made.slug}")
    c.do("coord: state without its branch", "state")
    c.do("coord: list-ready without its branch", "list-ready")
    c.close()


def broken(tape: Tape, spec_kitty: Path, env: Mapping[str, str]) -> None:
    """Call a host that cannot be imported, because its typer is too new."""
    argv = ("orchestrator-api", "contract-version")
    run = subprocess.run([spec_kitty, *argv], env=env, capture_output=True, text=True, check=False)
    tape.add("does not start", argv, Completed(run.returncode, run.stdout, run.stderr))
    tape.close()


ALL = (
    outside,
    reads,
    unknown,
    policies,
    claims,
    wrong_moves,
    reviews,
    history,
    whole,
    merges,
    damages,
    coord,
    design,
    newer,
)
