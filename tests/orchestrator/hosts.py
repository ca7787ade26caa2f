"""A host in memory: the rules of the board, real worktrees, and faults on demand."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import anyio.lowlevel

from spec_kitty_client import Completed
from spec_kitty_orchestrator.workspace import git

SLUG = "pay-01ABCDEF"
ACTOR = "spec-kitty-orchestrator"
FINISHED = ("approved", "done")
WAYS = {
    ("in_progress", "for_review"),
    ("in_review", "approved"),
    ("in_review", "done"),
    ("in_review", "in_progress"),
    ("approved", "done"),
    ("blocked", "in_progress"),
    *((lane, "blocked") for lane in ("planned", "in_progress", "for_review", "in_review")),
}
"""The moves of ``transition`` that the rules of the board allow."""

Fault = Literal["before", "after", "refused"]


class Refused(Exception):
    """An answer with an error code."""

    def __init__(self, code: str, message: str = "no") -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


class FakeHost:
    """An `AsyncGitTransport` that keeps one mission, as host 3.2.7 does.

    Args:
        root: The primary checkout; each work package gets a real worktree of it.
        packages: The work packages, each with what it depends on.
        shared: All work packages have one lane worktree.
    """

    contract = "1.5.0"
    mission_key = "mission_slug"

    def __init__(
        self, root: Path, packages: dict[str, list[str]] | None = None, *, shared: bool = False
    ) -> None:
        self.root = root
        self.packages = packages or {"WP01": []}
        self.lanes = dict.fromkeys(self.packages, "planned")
        self.owners: dict[str, str] = {}
        self.shared = shared
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.git_calls: list[tuple[str, ...]] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        """Faults by verb, used up one per call: the answer is lost before or after the effect."""
        self.on_call: Callable[[str, dict[str, str]], Fault | None] = lambda _verb, _options: None
        """Told of every call before it has an effect; may answer with a fault."""
        tasks = root / "kitty-specs" / SLUG / "tasks"
        tasks.mkdir(parents=True)
        for wp in self.packages:
            self.prompt(wp).write_text(f"# {wp}\n\nDo what {wp} says.\n")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message=tasks")

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer a call as a host process would, with a wait in it as there is in life."""
        await anyio.lowlevel.checkpoint()
        try:
            verb, options = self._understand(args)
        except Refused as e:
            return _completed(args, 2, self._envelope("unknown", {"message": e.message}, e.code))
        self.calls.append((verb, options))
        fault = self.on_call(verb, options)
        if self.faults[verb]:
            fault = self.faults[verb].pop(0)
        if fault == "before":
            return _completed(args, None, b"")
        try:
            answer = self._envelope(
                args[1], self._effect(verb, options, refused=fault == "refused")
            )
        except Refused as e:
            return _completed(args, 1, self._envelope(args[1], {"message": e.message}, e.code))
        return _completed(args, None, b"") if fault == "after" else _completed(args, 0, answer)

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git in the repository, or in a folder of it."""
        await anyio.lowlevel.checkpoint()
        self.git_calls.append(tuple(args))
        done = subprocess.run(  # noqa: ASYNC221 - a moment
            ["git", *args], cwd=folder or self.root, capture_output=True, check=False
        )
        return Completed(
            argv=("git", *args),
            exit_code=done.returncode,
            stdout=done.stdout,
            stderr=done.stderr,
            time_limit=time_limit,
        )

    def _understand(self, args: Sequence[str]) -> tuple[str, dict[str, str]]:
        pairs = [word.removeprefix("--").partition("=") for word in args[2:]]
        return args[1], {name: value for name, _, value in pairs}

    def _effect(self, verb: str, options: dict[str, str], *, refused: bool) -> dict[str, Any]:
        if refused:
            raise Refused("TRANSITION_REJECTED", "the guard says no")
        effect: Callable[..., dict[str, Any]] = getattr(self, "_" + verb.replace("-", "_"))
        return effect(**_plain(options))

    def verbs(self, wp: str | None = None) -> list[str]:
        """Return the mutations that were sent, for one work package or all, by newest names."""
        sent = [(v, o) for v, o in self.calls if v in _MUTATIONS]
        return [verb for verb, options in sent if wp is None or options.get("wp") == wp]

    def moves(self, wp: str) -> list[str]:
        """Return the targets of the transitions that were sent."""
        return [o["to"] for v, o in self.calls if v == "transition" and o["wp"] == wp]

    def sent(self, verb: str) -> list[dict[str, str]]:
        """Return the options of each call of a verb."""
        return [options for name, options in self.calls if name == verb]

    def prompt(self, wp: str) -> Path:
        """Return the file of a work package."""
        return self.root / "kitty-specs" / SLUG / "tasks" / f"{wp}-part.md"

    def worktree(self, wp: str) -> Path:
        """Return where a work package is worked on."""
        return self.root / ".worktrees" / f"{SLUG}-{self._lane_id(wp)}"

    def branch(self, wp: str) -> str:
        """Return the branch that a work package is worked on."""
        return f"kitty/mission-{SLUG}-{self._lane_id(wp)}"

    def make_worktree(self, wp: str) -> Path:
        """Make the worktree of a work package, unless it is there."""
        path = self.worktree(wp)
        if not path.exists():
            new = self.branch(wp) not in git(self.root, "branch", "--format=%(refname:short)")
            branch = ("-b", self.branch(wp), str(path), "work") if new else (str(path),)
            git(
                self.root,
                "worktree",
                "add",
                "--quiet",
                *branch,
                *(() if new else (self.branch(wp),)),
            )
        return path

    def _lane_id(self, wp: str) -> str:
        return "lane-a" if self.shared else f"lane-{wp.lower()}"

    def _contract_version(self) -> dict[str, Any]:
        return {"api_version": self.contract, "min_supported_provider_version": "0.1.0"}

    def _mission_state(self) -> dict[str, Any]:
        packages = [
            {"wp_id": wp, "lane": lane, "dependencies": self.packages[wp], "last_actor": None}
            for wp, lane in self.lanes.items()
        ]
        lanes = list(self.lanes.values())
        return {"summary": {lane: lanes.count(lane) for lane in lanes}, "work_packages": packages}

    def _resolve_workspace(self, wp: str) -> dict[str, Any]:
        return {
            "wp_id": wp,
            "workspace_path": str(self.worktree(wp)),
            "prompt_path": str(self.prompt(wp)),
            "lane_id": self._lane_id(wp),
            "lane_branch": self.branch(wp),
            "lane_base_ref": "work",
        }

    def _start_implementation(self, wp: str, actor: str, policy: str) -> dict[str, Any]:
        before, owner = self.lanes[wp], self.owners.get(wp, actor)
        if owner != actor:
            raise Refused("WP_ALREADY_CLAIMED", f"{owner} has it")
        if self._missing(wp):
            raise Refused("DEPENDENCIES_NOT_SATISFIED")
        if before not in ("planned", "claimed", "in_progress"):
            raise Refused("TRANSITION_REJECTED", f"it is {before}")
        self.make_worktree(wp)
        self.owners[wp], self.lanes[wp] = actor, "in_progress"
        return {
            **self._resolve_workspace(wp),
            "from_lane": before,
            "to_lane": "in_progress",
            "policy_metadata_recorded": bool(policy),
            "no_op": before == "in_progress",
        }

    def _start_review(self, wp: str, actor: str, policy: str) -> dict[str, Any]:
        before = self.lanes[wp]
        if before not in ("for_review", "in_review"):
            raise Refused("TRANSITION_REJECTED", f"it is {before}")
        self.lanes[wp] = "in_review"
        return {
            "wp_id": wp,
            "from_lane": before,
            "to_lane": "in_review",
            "prompt_path": str(self.prompt(wp)),
            "policy_metadata_recorded": bool(policy),
            "no_op": before == "in_review",
        }

    def _transition(self, wp: str, to: str, **options: str) -> dict[str, Any]:
        before = self.lanes[wp]
        if (before, to) not in WAYS:
            raise Refused("TRANSITION_REJECTED", f"{before} -> {to} is no way")
        if before == "in_review" and "review_result_json" not in options:
            raise Refused("TRANSITION_REJECTED", "a review result is needed")
        if to in FINISHED and "evidence_json" not in options:
            raise Refused("TRANSITION_REJECTED", "evidence is needed")
        self.lanes[wp] = to
        return {
            "wp_id": wp,
            "from_lane": before,
            "to_lane": to,
            "policy_metadata_recorded": "policy" in options,
        }

    def _accept_mission(self, actor: str) -> dict[str, Any]:
        if any(lane not in (*FINISHED, "canceled") for lane in self.lanes.values()):
            raise Refused("MISSION_NOT_READY")
        (self.root / "kitty-specs" / SLUG / "meta.json").write_text('{"accepted": true}\n')
        return {"accepted": True, "mode": "auto", "accepted_at": "2026-11-21T00:00:00+00:00"}

    def _merge_mission(self, strategy: str, **options: str) -> dict[str, Any]:
        for branch in self.branches():
            git(self.root, "merge", "--quiet", "--no-edit", branch)
        self._tidy()
        return {"merged": True, "target_branch": "work", "strategy": strategy}

    def branches(self) -> list[str]:
        """Return the branches that there is work on."""
        every = git(self.root, "branch", "--format=%(refname:short)").splitlines()
        return [b for b in dict.fromkeys(map(self.branch, self.packages)) if b in every]

    def _tidy(self) -> None:
        """Remove what a merge leaves useless, last of all, as hosts from 3.1.0 on do."""
        there = self.branches()
        for branch, wp in {self.branch(wp): wp for wp in self.packages}.items():
            if branch in there:
                git(self.root, "worktree", "remove", "--force", str(self.worktree(wp)))
                git(self.root, "branch", "--quiet", "-D", branch)

    def _missing(self, wp: str) -> list[str]:
        return [name for name in self.packages[wp] if self.lanes[name] not in FINISHED]

    def _envelope(self, name: str, data: dict[str, Any], code: str | None = None) -> bytes:
        identity = {self.mission_key: SLUG, "mission_number": None, "mission_type": "software-dev"}
        answer = {
            "contract_version": self.contract,
            "command": f"orchestrator-api.{name}",
            "timestamp": "2026-11-21T00:00:00+00:00",
            "correlation_id": "corr-1",
            "success": code is None,
            "error_code": code,
            "data": {**identity, **data} if code is None else data,
        }
        return json.dumps(answer).encode() + b"\n"


_MUTATIONS = (
    "start-implementation",
    "start-review",
    "transition",
    "append-history",
    "accept-mission",
    "merge-mission",
)


def _plain(options: dict[str, str]) -> dict[str, str]:
    return {k.replace("-", "_"): v for k, v in options.items() if k != "mission"}


def _completed(args: Sequence[str], exit_code: int | None, stdout: bytes) -> Completed:
    return Completed(
        argv=("spec-kitty", *args), exit_code=exit_code, stdout=stdout, stderr=b"", time_limit=1.0
    )
