"""A host of any release in memory: its words, its board, its merge in a real repository."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from packaging.version import Version

from spec_kitty_client import Completed, HostNotFound

from .releases import CONTRACTS, EDGES, RELEASES

SLUG = "pay-01ABCDEF"
FOLDER = f"kitty-specs/{SLUG}"
ENDED = ("approved", "done")
BANNER = "spec-kitty, a tool\n" * 28

Fault = Literal["before", "after", "crashed before", "crashed after"]
"""The answer is lost: by a time limit or a traceback, before or after the effect."""

_SELECTED = "mission"
_WP = "mission wp actor"
_OPTIONS = {
    "contract-version": "provider-version",
    "mission-state": _SELECTED,
    "list-ready": _SELECTED,
    "resolve-workspace": "mission wp",
    "start-implementation": f"{_WP} policy",
    "start-review": f"{_WP} policy review-ref",
    "transition": f"{_WP} policy to note review-ref force",
    "append-history": f"{_WP} note",
    "accept-mission": "mission actor",
    "merge-mission": "mission target strategy push",
}
_READS = ("contract-version", "mission-state", "list-ready", "resolve-workspace")


class Refused(Exception):
    """An answer with an error code."""

    def __init__(self, code: str, message: str = "no", **data: object) -> None:
        super().__init__(code, message)
        self.code, self.data = code, {"message": message, **data}


def git(folder: Path, *args: str) -> str:
    """Run git and return what it printed."""
    done = subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Simulated:
    """A `Transport` that is a host of one release, with one mission.

    Args:
        release: Which host.
        packages: The work packages, each with what it depends on.
        root: The primary checkout; None: there is no repository, and no git.
        shared: All work packages have one execution lane.
    """

    def __init__(
        self,
        release: str,
        packages: dict[str, list[str]] | None = None,
        root: Path | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self.become(release)
        self.packages = packages or {"WP01": []}
        self.root, self.shared = root, shared
        self.lanes = dict.fromkeys(self.packages, "planned")
        self.actors: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.moves: list[tuple[str, str, str, bool]] = []
        """Every effect on the board: work package, before, after, whether it was forced."""
        self.faults: dict[str, list[Fault | None]] = defaultdict(list)
        """Faults by verb, used up one per call."""
        self.on_merge: Callable[[], None] = lambda: None

    def become(self, release: str) -> None:
        """Be another release from now on."""
        self.release, self.dialect = Version(release), RELEASES[release]
        spoken = [c for c, first in CONTRACTS.items() if Version(first) <= self.release]
        self.contract = spoken[-1] if spoken else "1.0.0"
        self.says_feature = self.dialect in ("F1", "F2")

    def since(self, release: str) -> bool:
        """Tell whether it is this release or a later one."""
        return self.release >= Version(release)

    # What goes in and out

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer a call as a host process would."""
        if args == ("--version",):
            self.calls.append(("--version", {}))
            said = f"{BANNER}spec-kitty-cli version {self.release}\n"
            return _ended(args, 0, said)
        try:
            verb, options = self._understand(args)
        except Refused as e:
            self.calls.append((args[1], {}))
            if self.dialect == "F1":
                return _ended(args, 2, "", f"Usage: spec-kitty ...\n\nError: {e.data['message']}\n")
            return _ended(args, 2, self._envelope("unknown", e.data, e.code))
        self.calls.append((verb, options))
        fault = self.faults[verb].pop(0) if self.faults[verb] else None
        if fault in ("before", "crashed before"):
            return _lost(args, fault)
        try:
            answer = self._envelope(args[1], self._effect(verb, options))
        except Refused as e:
            return _ended(args, 1, self._envelope(args[1], e.data, e.code))
        return _lost(args, fault) if fault else _ended(args, 0, answer)

    def _understand(self, args: Sequence[str]) -> tuple[str, dict[str, str]]:
        """Parse as the option parser of this release does."""
        known = {self._name(verb): verb for verb in _OPTIONS}
        if not self.since("3.2.4"):
            del known["resolve-workspace"]
        if args[0] != "orchestrator-api" or args[1] not in known:
            raise Refused("USAGE_ERROR", f"No such command '{args[1]}'.")
        verb = known[args[1]]
        words = [word.removeprefix("--").partition("=") for word in args[2:]]
        given = {name: value for name, _, value in words}
        allowed = set(_OPTIONS[verb].split())
        if verb == "transition" and self.since("3.1.0"):
            allowed |= {"evidence-json", "subtasks-complete", "implementation-evidence-present"}
        if verb == "transition" and self.since("3.2.6"):
            allowed |= {"review-result-json"}
        selector = "feature" if self.says_feature else "mission"
        allowed = {selector if name == "mission" else name for name in allowed}
        if strange := given.keys() - allowed:
            raise Refused("USAGE_ERROR", f"No such option: --{strange.pop()}")
        if "wp" in allowed and not {"wp", *({"actor"} & allowed)} <= given.keys():
            raise Refused("USAGE_ERROR", "Missing option.")
        return verb, {"mission" if k == selector else k: v for k, v in given.items()}

    def _name(self, verb: str) -> str:
        if self.says_feature:
            of_mission = ("mission-state", "accept-mission", "merge-mission")
            return verb.replace("mission", "feature") if verb in of_mission else verb
        return "consolidate-mission" if (verb, self.dialect) == ("merge-mission", "M5") else verb

    def _envelope(self, name: str, data: dict[str, Any], code: str | None = None) -> str:
        about: dict[str, Any] = {"feature_slug" if self.says_feature else "mission_slug": SLUG}
        if self.since("3.1.1"):
            about |= {"mission_number": 1, "mission_type": "software-dev"}
        answer = {
            "contract_version": self.contract,
            "command": f"orchestrator-api.{name}",
            "timestamp": "2026-11-21T00:00:00+00:00",
            "correlation_id": "corr-1",
            "success": code is None,
            "error_code": code,
            "data": data if code or name == "contract-version" else {**about, **data},
        }
        return json.dumps(answer) + "\n"

    # What is asked of it afterwards

    @property
    def verbs(self) -> list[str]:
        """Which verbs were asked for, by their newest names, in order."""
        return [verb for verb, _ in self.calls]

    @property
    def mutations(self) -> list[str]:
        """Which of them may have changed something."""
        return [verb for verb in self.verbs if verb not in (*_READS, "--version")]

    def sent(self, verb: str) -> list[dict[str, str]]:
        """Return the options of each call of a verb."""
        return [options for name, options in self.calls if name == verb]

    # The verbs

    def _effect(self, verb: str, options: dict[str, str]) -> dict[str, Any]:
        if verb != "contract-version":
            self._check(verb, options)
        effect: Callable[..., dict[str, Any]] = getattr(self, "_" + verb.replace("-", "_"))
        known = {k.replace("-", "_"): v for k, v in options.items() if k != "mission"}
        return effect(**known)

    def _check(self, verb: str, options: dict[str, str]) -> None:
        wanted = ["claimed", "in_progress", "for_review"]
        wanted += ["in_review", "approved"] if self.since("3.1.1") else []
        starts = verb in ("start-implementation", "start-review")
        if (starts or options.get("to") in wanted) and "policy" not in options:
            raise Refused("POLICY_METADATA_REQUIRED")
        if options["mission"] != SLUG:
            raise Refused("FEATURE_NOT_FOUND" if self.says_feature else "MISSION_NOT_FOUND")
        if "wp" in options and options["wp"] not in self.lanes:
            raise Refused("WP_NOT_FOUND")

    def _contract_version(self, provider_version: str = "") -> dict[str, Any]:
        return {"api_version": self.contract, "min_supported_provider_version": "0.1.0"}

    def _mission_state(self) -> dict[str, Any]:
        packages = [
            {
                "wp_id": wp,
                "lane": lane,
                "dependencies": self.packages[wp],
                # Hosts from 2.1.0 on do not tell.
                "last_actor": self.actors.get(wp) if self.dialect == "F1" else None,
            }
            for wp, lane in self.lanes.items()
        ]
        lanes = list(self.lanes.values())
        summary = {lane: lanes.count(lane) for lane in lanes}
        total = {"total_work_packages": len(lanes)} if self.dialect == "F1" else {}
        return {"summary": summary | total, "work_packages": packages}

    def _list_ready(self) -> dict[str, Any]:
        ready = [w for w, lane in self.lanes.items() if lane == "planned" and not self._open(w)]
        return {
            "ready_work_packages": [
                {"wp_id": wp, "lane": "planned", "dependencies_satisfied": True} for wp in ready
            ]
        }

    def _open(self, wp: str) -> list[str]:
        enough = ENDED if self.since("3.2.0") else ("done",)
        return [name for name in self.packages[wp] if self.lanes[name] not in enough]

    def _resolve_workspace(self, wp: str) -> dict[str, Any]:
        places = {
            "wp_id": wp,
            "workspace_path": str(self.worktree(wp)),
            "prompt_path": str(self.top / FOLDER / "tasks" / f"{wp}-part.md"),
        }
        if not self.since("3.2.2"):
            return places | {"workspace_path": str(self.top / f".worktrees/{SLUG}-{wp}")}
        lane = {"lane_id": self.lane(wp), "lane_branch": self.branch(wp), "lane_base_ref": "work"}
        return places | lane

    def _start_implementation(self, wp: str, actor: str, policy: str) -> dict[str, Any]:
        before = self.lanes[wp]
        owner = self.owners.get(wp, actor)
        if before not in ("planned", "claimed", "in_progress"):
            raise Refused("TRANSITION_REJECTED", f"it is {before}")
        if before != "planned" and owner != actor:
            raise Refused("WP_ALREADY_CLAIMED", claimed_by=owner, requesting_actor=actor)
        if self.since("3.2.0") and before == "planned" and self._open(wp):
            raise Refused("DEPENDENCIES_NOT_SATISFIED", unsatisfied_dependencies=self._open(wp))
        if self.since("3.2.2") and self.root:
            self._make_worktree(wp)
        if before == "planned" and self.dialect != "F1":
            self._move(wp, "claimed", actor)
        if before != "in_progress":
            self._move(wp, "in_progress", actor)
        self.owners[wp] = actor
        return {
            **self._resolve_workspace(wp),
            "from_lane": before,
            "to_lane": "in_progress",
            "policy_metadata_recorded": bool(policy),
            "no_op": before == "in_progress",
        }

    def _start_review(
        self, wp: str, actor: str, policy: str, review_ref: str = ""
    ) -> dict[str, Any]:
        before, begins = self.lanes[wp], self.since("3.1.1")
        again = before == "in_review" and self.since("3.2.0")
        if again and not self.since("3.2.6") and self.actors[wp] != actor:
            raise Refused("WP_ALREADY_CLAIMED", claimed_by=self.actors[wp])
        if not again and (before != "for_review" or not (begins or review_ref)):
            raise Refused("TRANSITION_REJECTED", f"it is {before}")
        if not again:
            self._move(wp, "in_review" if begins else "in_progress", actor)
        told = {"no_op": again} if self.since("3.2.0") else {}
        return {
            "wp_id": wp,
            "from_lane": before,
            "to_lane": self.lanes[wp],
            "prompt_path": str(self.top / FOLDER / "tasks" / f"{wp}-part.md"),
            "policy_metadata_recorded": bool(policy),
            **told,
        }

    def _transition(self, wp: str, to: str, actor: str, **given: str) -> dict[str, Any]:
        before, forced = self.lanes[wp], "force" in given
        guard = EDGES[self.dialect].get((before, to))
        if forced and self.dialect != "F1" and not given.get("note"):
            raise Refused("TRANSITION_REJECTED", "--force needs a note")
        if not forced:
            if guard is None:
                raise Refused("TRANSITION_REJECTED", f"Illegal transition: {before} -> {to}")
            proof = {"evidence": "evidence_json", "review_result": "review_result_json"}
            if guard and not given.get(proof.get(guard, guard)):
                raise Refused("TRANSITION_REJECTED", f"{before} -> {to} requires {guard}")
            self._judge(before, to, given)
            if to == "for_review" and self.since("3.2.2") and self.root and not self.worked_on(wp):
                raise Refused("TRANSITION_REJECTED", "no commit in its worktree")
        if to != before:
            self._move(wp, to, actor, forced=forced)
        told = "policy" in given
        return {
            "wp_id": wp,
            "from_lane": before,
            "to_lane": to,
            "policy_metadata_recorded": told,
        }

    def _judge(self, before: str, to: str, given: dict[str, str]) -> None:
        """Check that what is said of a review agrees, as hosts from 3.2.6 on do."""
        result = json.loads(given.get("review_result_json", "{}"))
        evidence = json.loads(given.get("evidence_json", "{}")).get("review", {})
        said = [r for r in (result, evidence) if r]
        approved = to in ENDED
        if self.since("3.2.6") and any((r["verdict"] == "approved") != approved for r in said):
            raise Refused("TRANSITION_REJECTED", f"the verdict does not fit {to}")
        if result and evidence and result != evidence:
            raise Refused("TRANSITION_REJECTED", "review result and evidence disagree")
        if result and given.get("review_ref") not in (None, result["reference"]):
            raise Refused("TRANSITION_REJECTED", "review_ref disagrees")

    def _append_history(self, wp: str, note: str, actor: str) -> dict[str, Any]:
        return {"wp_id": wp, "history_entry_id": f"hist-{len(self.calls)}"}

    def _accept_mission(self, actor: str) -> dict[str, Any]:
        enough = ENDED if self.since("3.2.0") else ("done",)
        missing = [w for w, lane in self.lanes.items() if lane not in enough]
        if missing:
            code = "FEATURE_NOT_READY" if self.says_feature else "MISSION_NOT_READY"
            raise Refused(code, incomplete_wps=missing)
        if self.root:
            meta = self.root / FOLDER / "meta.json"
            facts = json.loads(meta.read_text())
            meta.write_text(json.dumps(facts | {"accepted_at": "2026-11-21"}) + "\n")
        return {"accepted": True, "mode": "auto", "accepted_at": "2026-11-21T00:00:00+00:00"}

    def _move(self, wp: str, to: str, actor: str, *, forced: bool = False) -> None:
        self.moves.append((wp, self.lanes[wp], to, forced))
        self.lanes[wp], self.actors[wp] = to, actor
        if self.root:  # and leave it there, as 2.1.0 to 3.1.10 do
            with (self.root / FOLDER / "status.events.jsonl").open("a") as log:
                log.write(f'{{"wp": "{wp}", "to": "{to}"}}\n')

    # Its repository

    @property
    def top(self) -> Path:
        """The primary checkout."""
        return self.root or Path("/repo")

    def lane(self, wp: str) -> str:
        """Return the execution lane of a work package."""
        return "lane-a" if self.shared else f"lane-{'abcdef'[list(self.packages).index(wp)]}"

    def branch(self, wp: str) -> str:
        """Return the branch that merge takes."""
        lanes = f"kitty/mission-{SLUG}-{self.lane(wp)}"
        return lanes if self.since("3.1.0") else f"{SLUG}-{wp}"

    def worktree(self, wp: str) -> Path:
        """Return where a work package is worked on."""
        return self.top / ".worktrees" / self.branch(wp).removeprefix("kitty/mission-")

    def has_branch(self, name: str) -> bool:
        """Tell whether there is a branch."""
        return bool(git(self.top, "branch", "--list", name))

    def worked_on(self, wp: str) -> bool:
        """Tell whether there is a commit on the branch of a work package."""
        return bool(git(self.top, "rev-list", f"work..{self.branch(wp)}"))

    def prepare(self) -> None:
        """Write and commit what planning leaves behind: meta.json, task files, lanes.json."""
        folder = self.top / FOLDER
        (folder / "tasks").mkdir(parents=True)
        for wp in self.packages:
            (folder / "tasks" / f"{wp}-part.md").write_text(f"# {wp}\n")
        (folder / "meta.json").write_text(json.dumps({"target_branch": "work"}) + "\n")
        if self.since("3.1.0"):
            (folder / "lanes.json").write_text(json.dumps(self.lanes_json()) + "\n")
        (self.top / ".gitignore").write_text(".worktrees/\n")
        git(self.top, "add", "--all")
        git(self.top, "commit", "--quiet", "--message=tasks")

    def lanes_json(self) -> dict[str, Any]:
        """Return what finalising the tasks writes from 3.1.0 on."""
        lanes: dict[str, dict[str, Any]] = {}
        for wp, dependencies in self.packages.items():
            lane = lanes.setdefault(
                self.lane(wp), {"lane_id": self.lane(wp), "wp_ids": [], "depends_on_lanes": []}
            )
            lane["wp_ids"].append(wp)
            others = [self.lane(name) for name in dependencies]
            lane["depends_on_lanes"] += [o for o in others if o != lane["lane_id"]]
        mission = f"kitty/mission-{SLUG}"
        return {"target_branch": "work", "mission_branch": mission, "lanes": list(lanes.values())}

    def _make_worktree(self, wp: str) -> None:
        mission, path = f"kitty/mission-{SLUG}", self.worktree(wp)
        if not self.has_branch(mission):
            git(self.top, "branch", mission, "work")
        if not path.exists():
            git(self.top, "worktree", "add", "-q", "-b", self.branch(wp), str(path), mission)
            for name in self.packages[wp]:
                if self.has_branch(self.branch(name)):
                    git(path, "merge", "--quiet", "--no-edit", self.branch(name))

    def _merge_mission(
        self, strategy: str, target: str = "work", push: str | None = None
    ) -> dict[str, Any]:
        wps = [wp for wp in self.packages if self.lanes[wp] != "canceled"]
        branches = list(dict.fromkeys(map(self.branch, wps)))
        if not all(map(self.has_branch, branches)):
            raise Refused("PREFLIGHT_FAILED", errors=["Lane branch does not exist"])
        if self.dialect in ("M4", "M5"):  # resets the mission's folder, and with it an acceptance
            git(self.top, "checkout", "--quiet", "HEAD", "--", FOLDER)
        if self.dialect in ("M0", "M1"):  # moves the branch behind the back of its checkout
            self._merge_aside(branches, target)
        else:
            self._merge_here(branches, target, strategy)
        if self.since("3.1.0"):
            self._clean_up(branches)
        if self.since("3.2.0"):
            for wp in wps:
                if self.lanes[wp] != "done":
                    self.moves.append((wp, self.lanes[wp], "done", False))
                self.lanes[wp] = "done"
        self.on_merge()
        return {"merged": True, "target_branch": target, "strategy": strategy}

    def _merge_here(self, branches: list[str], target: str, strategy: str) -> None:
        git(self.top, "checkout", "--quiet", target)
        how = ["--squash"] if strategy == "squash" else ["--no-ff", "--no-edit"]
        for branch in branches:
            try:
                git(self.top, "merge", "--quiet", *how, branch)
            except subprocess.CalledProcessError as e:
                raise Refused("MERGE_FAILED", errors=[e.stdout]) from e
            if strategy == "squash" and git(self.top, "status", "--porcelain", "-uno"):
                git(self.top, "commit", "--quiet", "--message=squash")

    def _merge_aside(self, branches: list[str], target: str) -> None:
        aside = self.top / ".worktrees" / "aside"
        git(self.top, "worktree", "add", "--quiet", "--detach", str(aside), target)
        for branch in branches:
            git(aside, "merge", "--quiet", "--no-ff", "--no-edit", branch)
        git(self.top, "update-ref", f"refs/heads/{target}", git(aside, "rev-parse", "HEAD"))
        git(self.top, "worktree", "remove", "--force", str(aside))

    def _clean_up(self, branches: list[str]) -> None:
        for branch in branches:
            path = self.top / ".worktrees" / branch.removeprefix("kitty/mission-")
            if path.exists():
                git(self.top, "worktree", "remove", "--force", str(path))
            git(self.top, "branch", "-D", branch)
        if self.has_branch(f"kitty/mission-{SLUG}"):
            git(self.top, "branch", "-D", f"kitty/mission-{SLUG}")


class WithGit(Simulated):
    """The same as a `GitTransport`, on a repository that has to be there."""

    git_calls = 0
    inside: Path | None = None
    """Where the host runs, if that is not the primary checkout."""

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git for a workflow verb."""
        self.git_calls += 1
        if folder and not Path(folder).is_dir():
            msg = f"No git: there is no folder {folder} to run in."
            raise HostNotFound(msg)
        done = subprocess.run(
            ["git", *args], cwd=folder or self.inside or self.top, capture_output=True, check=False
        )
        return Completed(
            argv=("git", *args),
            exit_code=done.returncode,
            stdout=done.stdout,
            stderr=done.stderr,
            time_limit=time_limit,
        )


class Waiting:
    """The async transport that asks a simulated host."""

    def __init__(self, host: WithGit) -> None:
        self.host = host

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer after a turn of the event loop."""
        import anyio.lowlevel

        await anyio.lowlevel.checkpoint()
        return self.host.run(args, time_limit=time_limit)

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git for a workflow verb."""
        return self.host.git(args, folder=folder, time_limit=time_limit)


_TRACEBACK = """\
Traceback (most recent call last):
  File "/host/specify_cli/orchestrator_api/commands.py", line 7, in transition
    raise StoreError
StoreError: the event log is damaged
"""


def _lost(args: Sequence[str], fault: Fault) -> Completed:
    return _ended(args, 1, "", _TRACEBACK) if "crash" in fault else _ended(args, None, "")


def _ended(args: Sequence[str], exit_code: int | None, out: str, err: str = "") -> Completed:
    return Completed(
        argv=("spec-kitty", *args),
        exit_code=exit_code,
        stdout=out.encode(),
        stderr=err.encode(),
        time_limit=1.0,
    )
