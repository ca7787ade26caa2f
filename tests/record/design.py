"""Scenarios of the design verbs (3.2.6 and later), and of the verbs that only 4.0 has."""

import hashlib
import json
import shutil
from typing import Any

from tests.record.world import World

__all__ = ["design", "newer"]

_NOPE = "999-nope"
_ULID = "01AAAAAAAAAAAAAAAAAAAAAAAA"
_FINDINGS = "---\nschema: analysis-findings/v1\nfindings: {}\n---\n\n# Report\n\nFine.\n"
_HIGH = '[{"id": "F1", "severity": "high", "category": "style", "summary": "no"}]'


def design(w: World) -> None:
    """Make a mission, up to work packages that can start."""
    if not w.release.since(3, 2, 6):
        return
    new = _specify(w)
    _plan(w, new)
    _tasks(w, new)
    _decide(w, new)
    w.commit()
    _analyse(w, new)
    w.load()
    _answer(w)
    for verb, options in {
        "plan": {"policy": True},
        "tasks": {"policy": True},
        "check-prerequisites": {},
        "design-status": {},
        "record-analysis": {"policy": True},
        "answer-decision": {"policy": True, "agent": "a", "answer": "x", "result": "success"},
    }.items():
        w.do(f"{verb} unknown mission", verb, mission=_NOPE, **options)
        if "policy" in options:
            w.do(f"{verb} no policy", verb, **(options | {"policy": None}))


def _specify(w: World) -> str:
    new: dict[str, Any] = {"mission": "other", "mission_type": "software-dev", "policy": True}
    for what, options in {
        "no policy": {"policy": None},
        "bad policy": {"policy": "{"},
        "without a type": {"mission_type": None},
        "unknown topology": {"topology": "star"},
        "unknown type": {"mission_type": "nope"},
        "bad name": {"mission": "Bad Name!"},
        "empty name": {"mission": ""},
    }.items():
        w.do(f"specify {what}", "specify", **(new | options))
    w.git("checkout", "--quiet", "main")
    if made := w.do("specify on main", "specify", **new, topology="lanes").get("mission_slug"):
        _register(w, str(made))  # 4.0.0rc7 specifies on main
    w.load()
    slug = str(w.do("specify", "specify", **new, topology="lanes")["mission_slug"])
    _register(w, slug)
    w.do("design-status after specify", "design-status", mission=slug)
    return slug


def _register(w: World, slug: str) -> None:
    meta = w.root / "kitty-specs" / slug / "meta.json"
    w.tape.mission(json.loads(meta.read_text(encoding="utf-8"))["mission_id"])


def _plan(w: World, slug: str) -> None:
    folder = w.root / "kitty-specs" / slug
    w.do("plan before spec", "plan", mission=slug, policy=True)
    w.do("check-prerequisites before spec", "check-prerequisites", mission=slug)
    w.do("tasks before plan", "tasks", mission=slug, policy=True)
    shutil.copy(w.folder / "spec.md", folder)
    w.commit()
    w.do("plan scaffold", "plan", mission=slug, policy=True)
    w.do("design-status after scaffold", "design-status", mission=slug)
    shutil.copy(w.folder / "plan.md", folder)
    w.commit()
    w.do("plan", "plan", mission=slug, policy=True)
    w.do("design-status after plan", "design-status", mission=slug)


def _tasks(w: World, slug: str) -> None:
    folder = w.root / "kitty-specs" / slug
    w.do("tasks before tasks.md", "tasks", mission=slug, policy=True)
    w.do("check-prerequisites", "check-prerequisites", mission=slug)
    needed = {"mission": slug, "include_tasks": True}
    w.do("check-prerequisites without tasks.md", "check-prerequisites", **needed)
    first = {"mission": slug, "wp": "WP01", "actor": "a1", "policy": True}
    for path in [w.folder / "tasks.md", *w.folder.glob("tasks/WP*")]:
        (folder / path.relative_to(w.folder)).write_bytes(path.read_bytes())
    w.commit()
    w.do("start before tasks", "start-implementation", **first)
    w.do("tasks", "tasks", mission=slug, policy=True)
    w.do("tasks again", "tasks", mission=slug, policy=True)
    w.do("check-prerequisites with tasks.md", "check-prerequisites", **needed)
    w.do("design-status after tasks", "design-status", mission=slug)


def _decide(w: World, slug: str) -> None:
    said = {"mission": slug, "actor": "a1", "policy": True}
    about = said | {"origin": "plan", "input_key": "db", "question": "Which?"}
    at = about | {"step_id": "s1"}
    for what, options in {
        "no policy": at | {"policy": None},
        "unknown origin": at | {"origin": "moon"},
        "bad options": at | {"options": "{"},
        "options no list": at | {"options": {}},
        "no step": about,
        "unknown mission": at | {"mission": _NOPE},
    }.items():
        w.do(f"open-decision {what}", "open-decision", **options)
    options = at | {"options": ["pg", "sqlite"]}
    one = {"decision_id": str(w.do("open-decision", "open-decision", **options)["decision_id"])}
    w.do("open-decision again", "open-decision", **options)
    w.do("design-status open decision", "design-status", mission=slug)
    done = said | one | {"final_answer": "pg", "rationale": "fast", "resolved_by": "me"}
    for what, options in {
        "no policy": done | {"policy": None},
        "unknown decision": done | {"decision_id": _ULID},
        "blank answer": done | {"final_answer": " "},
    }.items():
        w.do(f"resolve-decision {what}", "resolve-decision", **options)
    w.do("resolve-decision", "resolve-decision", **done)
    w.do("resolve-decision again", "resolve-decision", **done)
    w.do("resolve-decision otherwise", "resolve-decision", **(done | {"final_answer": "sqlite"}))
    w.do("open-decision closed", "open-decision", **at)
    for verb, key in {"defer-decision": "ui", "cancel-decision": "log"}.items():
        opened = w.must("open-decision", **(about | {"input_key": key, "slot_key": key}))
        two = said | {"decision_id": str(opened["decision_id"]), "rationale": "later"}
        w.do(f"{verb} no policy", verb, **(two | {"policy": None}))
        w.do(f"{verb} blank rationale", verb, **(two | {"rationale": " "}))
        w.do(f"{verb} unknown decision", verb, **(two | {"decision_id": "nope"}))
        w.do(verb, verb, **two)
        w.do(f"{verb} again", verb, **two)
        other = ("defer-decision", "cancel-decision")[verb == "defer-decision"]
        w.do(f"{verb} then {other}", other, **two)


def _analyse(w: World, slug: str) -> None:
    said = {"mission": slug, "agent": "an", "policy": True}
    w.do("record-analysis no file", "record-analysis", **said, input_file="/nope.md")
    for what, text in {
        "empty": "",
        "malformed": "---\nschema: analysis-findings/v1\nfindings: 3\n---\n",
        "no carrier": "Only prose.\n",
        "blocked": _FINDINGS.format(_HIGH),
        "ready": _FINDINGS.format("[]"),
    }.items():
        w.git("checkout", "--quiet", ".")
        w.do(f"record-analysis {what}", "record-analysis", **said, stdin=text)
    w.do("design-status after analysis", "design-status", mission=slug)
    (w.root / "kitty-specs" / slug / "spec.md").write_text("dirty\n", encoding="utf-8")
    w.do("record-analysis dirty", "record-analysis", **said, stdin=_FINDINGS.format("[]"))


def _answer(w: World) -> None:
    """Answer decisions, with a mission type made here that asks one."""
    said = {"agent": "a1", "answer": "django", "policy": True}
    well = said | {"result": "success"}
    w.do("answer-decision no result", "answer-decision", **said)
    w.do("answer-decision unknown result", "answer-decision", **said, result="maybe")
    w.do("answer-decision none pending", "answer-decision", **well)
    w.do("answer-decision not pending", "answer-decision", **well, decision_id="x")
    types = w.host.spec_kitty.parents[1].glob("lib/**/software-dev/mission-runtime.yaml")
    text = next(types).read_text(encoding="utf-8")
    head = "    title: Discovery & Research\n"
    own = w.root / ".kittify" / "overrides" / "missions" / "software-dev"
    own.mkdir(parents=True)
    asking = text.replace(head, f"{head}    requires_inputs: [framework]\n", 1)
    (own / "mission-runtime.yaml").write_text(asking, encoding="utf-8")
    new = {"mission": "asking", "mission_type": "software-dev", "topology": "lanes"}
    slug = str(w.must("specify", **new, policy=True)["mission_slug"])
    _register(w, slug)
    step = ("next", "--agent", "a1", "--mission", slug, "--result", "success", "--json")
    w.host.for_missions(w.root, step)
    well |= {"mission": slug}
    w.do("answer-decision", "answer-decision", **well)
    w.do("answer-decision again", "answer-decision", **well, decision_id="input:framework")


def newer(w: World) -> None:
    """Call the verbs that are new in 4.0.0rc6."""
    if not w.release.since(4):
        return
    for name in ("artifact-read", "teleport"):
        ask = {"mission": None, "require_capability": name}
        w.do(f"contract-version capability {name}", "contract-version", **ask)
    for kind in ("specification", "plan", "research", "moon"):
        w.do(f"artifact-read {kind}", "artifact-read", kind=kind)
    w.do("artifact-read work package", "artifact-read", kind="work_package", artifact_id="WP01")
    w.do("artifact-read unknown mission", "artifact-read", kind="plan", mission=_NOPE)
    for stage in ("specify", "plan", "tasks", "moon"):
        w.do(f"design-validate {stage}", "design-validate", stage=stage)
    w.do("design-context unknown stage", "design-context", stage="moon")
    w.do("next", "next")
    w.do("next no policy", "next", agent="a1", result="success")
    w.do("next unknown result", "next", agent="a1", result="maybe", policy=True)
    w.do("next no agent", "next", result="success", policy=True)
    w.do("next unknown mission", "next", mission=_NOPE)
    w.do("next success", "next", agent="a1", result="success", policy=True)
    w.load()
    _authored(w)
    w.load()
    w.do("accept origin-check off", "accept", actor="rev", origin_check="off")
    w.do("accept unknown origin-check", "accept", actor="rev", origin_check="maybe")


def _authored(w: World) -> None:
    """Write a specification through the API only."""
    how = {"mission": "other", "mission_type": "software-dev", "topology": "lanes"}
    slug = str(w.must("specify", **how, policy=True)["mission_slug"])
    _register(w, slug)
    at: dict[str, Any] = {"mission": slug}
    context = w.do("design-context", "design-context", **at, stage="specify")
    asked = ("problem_statement", "success_criteria", "scope_boundaries")
    said = at | {"actor": "a1", "policy": True, "stage": "specify"}
    answers = dict.fromkeys(asked, "two files")
    for what, options in {
        "no policy": {"answers": answers, "policy": None},
        "bad JSON": {"answers": "{"},
        "unknown question": {"answers": {"moon": "x"}},
        "partly": {"answers": {asked[0]: "two files"}},
    }.items():
        w.do(f"interview-record {what}", "interview-record", **(said | options))
    content = (w.folder / "spec.md").read_text(encoding="utf-8")
    now = w.do("artifact-read scaffold", "artifact-read", **at, kind="specification")
    one = {"kind": "specification", "content": content, "expected_sha256": now["sha256"]}
    request = {"artifacts": [one], "parents": {}, "context_sha256": context["context_sha256"]}
    at |= {"actor": "a1", "policy": True}
    w.do("artifact-submit before interview", "artifact-submit", **at, request_json=request)
    w.do("interview-record", "interview-record", **said, answers=answers)
    w.do("interview-record otherwise", "interview-record", **said, answers={asked[0]: "three"})
    for what, options in {
        "no policy": {"policy": None, "request_json": request},
        "bad JSON": {"request_json": "{"},
        "bad request": {"request_json": {}},
        "unknown kind": {"request_json": request | {"artifacts": [one | {"kind": "moon"}]}},
        "other revision": {
            "request_json": request | {"artifacts": [one | {"expected_sha256": "absent"}]}
        },
        "stale context": {"request_json": request | {"context_sha256": _sha("x")}},
    }.items():
        w.do(f"artifact-submit {what}", "artifact-submit", **(at | options))
    w.do("artifact-submit", "artifact-submit", **at, request_json="-", stdin=json.dumps(request))
    own = {"mission": slug, "stage": "specify"}
    w.do("design-validate authored", "design-validate", **own)
    w.do("plan authored", "plan", **at | {"actor": None})


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
