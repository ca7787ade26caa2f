"""The same for old hosts: their words, their boards, and worktrees that clients make."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import anyio.lowlevel
from packaging.version import Version

from spec_kitty_client import Completed
from spec_kitty_orchestrator.workspace import git

from .hosts import SLUG, FakeHost, Refused, _completed

_BOTH = {
    ("planned", "claimed"): "",
    ("claimed", "in_progress"): "",
    ("in_progress", "for_review"): "",
    ("approved", "done"): "evidence",
    ("blocked", "in_progress"): "",
    **dict.fromkeys(
        product(("planned", "in_progress", "for_review", "approved"), ("blocked",)), ""
    ),
}
_F1 = {
    ("planned", "in_progress"): "",
    ("in_progress", "for_review"): "",
    ("for_review", "in_progress"): "review ref",
    ("for_review", "done"): "",
    **dict.fromkeys(product(("planned", "in_progress", "for_review", "done"), ("blocked",)), ""),
}
_F2 = _BOTH | {("for_review", "in_progress"): "review ref", ("for_review", "done"): "evidence"}
_M1 = _BOTH | {
    ("for_review", "in_review"): "",
    **dict.fromkeys(product(("in_review",), ("done", "in_progress", "blocked")), "review result"),
}
"""What each board lets pass without force, with what its rule asks for."""
_OPTIONS = {"review ref": "review_ref", "evidence": "evidence_json"}
"""What there is an option for: for evidence from 3.1.0 on, for a review result on none of them."""

_FEATURE_NAMES = {
    "feature-state": "mission-state",
    "accept-feature": "accept-mission",
    "merge-feature": "merge-mission",
}


class OldHost(FakeHost):
    """A host from before 3.2: 1.0.3, 3.0.3 and 3.1.10 are known.

    Args:
        root: The primary checkout.
        packages: The work packages, each with what it depends on.
        release: Which host.
        shared: All work packages have one lane, from 3.1 on.
        lane_ids: The lane of each work package, where that is not enough.
    """

    contract = "1.0.0"

    def __init__(
        self,
        root: Path,
        packages: dict[str, list[str]] | None = None,
        *,
        release: str,
        shared: bool = False,
        lane_ids: dict[str, str] | None = None,
    ) -> None:
        self.release, self.lane_ids = release, lane_ids or {}
        self.says_feature = self._is_before("3.1.0")
        self.mission_key = "feature_slug" if self.says_feature else "mission_slug"
        self.ways = _F1 if self._is_before("2.1.0") else _F2 if self.says_feature else _M1
        super().__init__(root, packages, shared=shared)
        folder = root / "kitty-specs" / SLUG
        (folder / "meta.json").write_text('{"target_branch": "work"}\n')
        if not self.says_feature:
            (folder / "lanes.json").write_text(json.dumps(self._lanes_json()))
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message=meta")

    def _is_before(self, release: str) -> bool:
        return Version(self.release) < Version(release)

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Tell the release as well."""
        if args == ("--version",):
            await anyio.lowlevel.checkpoint()
            self.calls.append(("--version", {}))
            return _completed(args, 0, f"spec-kitty-cli version {self.release}\n".encode())
        return await super().run(args, time_limit=time_limit)

    def _understand(self, args: Sequence[str]) -> tuple[str, dict[str, str]]:
        """Refuse the words of newer hosts; what it is told is kept by its newest name."""
        verb, given = super()._understand(args)
        unknown = {"review-result-json"}
        strange = verb == "resolve-workspace"
        if self.says_feature:
            unknown |= {"mission", "evidence-json"}
            strange = strange or verb in _FEATURE_NAMES.values()
            verb = _FEATURE_NAMES.get(verb, verb)
        if strange:
            raise Refused("USAGE_ERROR", f"No such command {args[1]!r}.")
        if unknown & given.keys():
            raise Refused("USAGE_ERROR", f"No such option: {unknown & given.keys()}")
        return verb, {"mission" if k == "feature" else k: v for k, v in given.items()}

    def branch(self, wp: str) -> str:
        """Return the branch that merge takes."""
        return f"{SLUG}-{wp}" if self.says_feature else super().branch(wp)

    def worktree(self, wp: str) -> Path:
        """Return where a work package is worked on."""
        folder = self.branch(wp).removeprefix("kitty/mission-")
        return self.root / ".worktrees" / folder

    def _lane_id(self, wp: str) -> str:
        return self.lane_ids.get(wp) or super()._lane_id(wp)

    def _lanes_json(self) -> dict[str, Any]:
        lanes = {}
        for name in dict.fromkeys(map(self._lane_id, self.packages)):
            wps = [wp for wp in self.packages if self._lane_id(wp) == name]
            needs = {self._lane_id(other) for wp in wps for other in self.packages[wp]}
            lanes[name] = {"wp_ids": wps, "depends_on_lanes": sorted(needs - {name})}
        return {
            "target_branch": "work",
            "mission_branch": f"kitty/mission-{SLUG}",
            "lanes": [{"lane_id": name, **about} for name, about in lanes.items()],
        }

    def _missing(self, wp: str) -> list[str]:
        return [name for name in self.packages[wp] if self.lanes[name] != "done"]

    def _start_implementation(self, wp: str, actor: str, policy: str) -> dict[str, Any]:
        """Claim it, look at no dependency, and make up a folder that merge will not look at."""
        before, owner = self.lanes[wp], self.owners.get(wp, actor)
        if before != "planned" and owner != actor:
            raise Refused("WP_ALREADY_CLAIMED", f"{owner} has it")
        if before not in ("planned", "claimed", "in_progress"):
            raise Refused("TRANSITION_REJECTED", f"it is {before}")
        self.owners[wp], self.lanes[wp] = actor, "in_progress"
        return {
            "wp_id": wp,
            "from_lane": before,
            "to_lane": "in_progress",
            "workspace_path": str(self.root / ".worktrees" / f"{SLUG}-{wp}"),
            "prompt_path": str(self.prompt(wp)),
            "policy_metadata_recorded": bool(policy),
            "no_op": before == "in_progress",
        }

    def _start_review(
        self, wp: str, actor: str, policy: str, review_ref: str = ""
    ) -> dict[str, Any]:
        """Begin a review; up to 3.1.0 it meant the end of one that asks for changes."""
        before = self.lanes[wp]
        if before != "for_review" or (self.says_feature and not review_ref):
            raise Refused("TRANSITION_REJECTED", f"it is {before}")
        self.lanes[wp] = "in_progress" if self.says_feature else "in_review"
        return {
            "wp_id": wp,
            "from_lane": before,
            "to_lane": self.lanes[wp],
            "prompt_path": str(self.prompt(wp)),
            "policy_metadata_recorded": bool(policy),
        }

    def _transition(self, wp: str, to: str, **options: str) -> dict[str, Any]:
        before, forced = self.lanes[wp], "force" in options
        wanted = self.ways.get((before, to))
        if forced and not options.get("note") and self.ways is not _F1:
            raise Refused("TRANSITION_REJECTED", "--force needs a note")
        if not forced:
            if wanted is None:
                raise Refused("TRANSITION_REJECTED", f"{before} -> {to} is no way")
            if wanted and not options.get(_OPTIONS.get(wanted, "")):
                raise Refused("TRANSITION_REJECTED", f"{before} -> {to} requires {wanted}")
        self.lanes[wp] = to
        return {
            "wp_id": wp,
            "from_lane": before,
            "to_lane": to,
            "policy_metadata_recorded": "policy" in options,
        }

    def _accept_mission(self, actor: str) -> dict[str, Any]:
        if set(self.lanes.values()) - {"done"}:
            raise Refused("FEATURE_NOT_READY" if self.says_feature else "MISSION_NOT_READY")
        facts = {"target_branch": "work", "accepted_at": "2026-11-21"}
        (self.root / "kitty-specs" / SLUG / "meta.json").write_text(json.dumps(facts))
        return {"accepted": True, "mode": "auto", "accepted_at": "2026-11-21T00:00:00+00:00"}

    def _tidy(self) -> None:
        if not self.says_feature:
            super()._tidy()
