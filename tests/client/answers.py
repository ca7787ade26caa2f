"""Answers as a host prints them, and a transport that gives them one after the other."""

import json
from collections.abc import Sequence
from typing import Any

from spec_kitty_client import Completed, ErrorCode, Failure, Policy
from spec_kitty_client.codes import parse_code

POLICY = Policy(
    orchestrator_id="tests",
    orchestrator_version="0.1.0",
    agent_family="none",
    approval_mode="manual",
    sandbox_mode="workspace_write",
    network_mode="none",
)

IDENTITY: dict[str, Any] = {
    "mission_slug": "pay-01ABCDEF",
    "mission_number": None,
    "mission_type": "software-dev",
}
WORKSPACE: dict[str, Any] = {
    "wp_id": "WP01",
    "workspace_path": "/repo/.worktrees/pay-01ABCDEF-lane-a",
    "prompt_path": "/repo/kitty-specs/pay-01ABCDEF/tasks/WP01-core.md",
    "lane_id": "lane-a",
    "lane_branch": "kitty/mission-pay-01ABCDEF-lane-a",
    "lane_base_ref": "work",
}
PAYLOADS: dict[str, dict[str, Any]] = {
    "contract-version": {"api_version": "1.5.0", "min_supported_provider_version": "0.1.0"},
    "mission-state": {
        **IDENTITY,
        "summary": {"planned": 1, "in_progress": 1},
        "work_packages": [
            {"wp_id": "WP01", "lane": "in_progress", "dependencies": [], "last_actor": "ada"},
            {"wp_id": "WP02", "lane": "planned", "dependencies": ["WP01"], "last_actor": None},
        ],
    },
    "list-ready": {
        **IDENTITY,
        "ready_work_packages": [
            {"wp_id": "WP02", "lane": "planned", "dependencies_satisfied": True}
        ],
    },
    "resolve-workspace": {**IDENTITY, **WORKSPACE},
    "start-implementation": {
        **IDENTITY,
        **WORKSPACE,
        "from_lane": "planned",
        "to_lane": "in_progress",
        "policy_metadata_recorded": True,
        "no_op": False,
    },
    "start-review": {
        **IDENTITY,
        "wp_id": "WP01",
        "from_lane": "for_review",
        "to_lane": "in_review",
        "prompt_path": WORKSPACE["prompt_path"],
        "policy_metadata_recorded": True,
        "no_op": False,
    },
    "transition": {
        **IDENTITY,
        "wp_id": "WP01",
        "from_lane": "in_review",
        "to_lane": "approved",
        "policy_metadata_recorded": True,
    },
    "append-history": {**IDENTITY, "wp_id": "WP01", "history_entry_id": "hist-1"},
    "accept-mission": {
        **IDENTITY,
        "accepted": True,
        "mode": "auto",
        "accepted_at": "2026-11-21T00:22:09+00:00",
        "accepted_wps": ["WP01", "WP02"],
        "approved_wps": ["WP01"],
        "done_wps": ["WP02"],
        "merge_pending_wps": ["WP01"],
    },
    "merge-mission": {
        **IDENTITY,
        "merged": True,
        "target_branch": "work",
        "strategy": "merge",
        "worktree_removed": False,
    },
}
"""A success payload for every verb."""


def envelope(
    verb: str,
    data: dict[str, Any] | None = None,
    *,
    code: str | None = None,
    version: str = "1.5.0",
    **changes: Any,
) -> dict[str, Any]:
    """Return an envelope: a refusal if there is a code, else a success."""
    usual = PAYLOADS.get(verb, {}) if code is None else {"message": "no"}
    return {
        "contract_version": version,
        "command": f"orchestrator-api.{verb}",
        "timestamp": "2026-11-21T00:00:00+00:00",
        "correlation_id": "corr-1",
        "success": code is None,
        "error_code": code,
        "data": usual if data is None else data,
        **changes,
    }


def line(verb: str, data: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """Return an envelope as a host prints it."""
    return json.dumps(envelope(verb, data, **changes)).encode() + b"\n"


def completed(
    stdout: bytes = b"",
    *,
    exit_code: int | None = 0,
    stderr: bytes = b"",
    time_limit: float = 120.0,
) -> Completed:
    """Return a call that has ended."""
    return Completed(
        argv=("spec-kitty", "orchestrator-api"),
        exit_code=exit_code,
        stdout=stdout,
        stderr=stderr,
        time_limit=time_limit,
    )


def success(verb: str, data: dict[str, Any] | None = None, **changes: Any) -> Completed:
    """Return a call that succeeded."""
    return completed(line(verb, data, **changes))


def refusal(verb: str, code: str, data: dict[str, Any] | None = None) -> Completed:
    """Return a call that was answered with an error code."""
    return completed(line(verb, data, code=code), exit_code=1)


def failure(code: ErrorCode | str | None = None, **changes: Any) -> Failure:
    """Return the `Failure` of a read that failed."""
    known: dict[str, Any] = {
        "verb": "mission-state",
        "mutates": False,
        "message": "it did not work",
        "argv": ("spec-kitty", "orchestrator-api", "mission-state"),
        "exit_code": 1,
        "stdout": "",
        "stderr": "",
        "code": None if code is None else parse_code(code),
    }
    return Failure(**{**known, **changes})


class Scripted:
    """A host that gives prepared answers and records its calls."""

    def __init__(self, *answers: Completed) -> None:
        """Start without any calls."""
        self.answers = list(answers)
        self.calls: list[tuple[tuple[str, ...], float]] = []

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Give the next answer."""
        self.calls.append((tuple(args), time_limit))
        return self.answers.pop(0)

    @property
    def verbs(self) -> list[str]:
        """The verbs that were called, in order."""
        return [args[1] for args, _ in self.calls]


class AsyncScripted(Scripted):
    """The async form of `Scripted`, for `AsyncClient`."""

    async def run(  # type: ignore[override]
        self, args: Sequence[str], *, time_limit: float
    ) -> Completed:
        """Give the next answer."""
        return super().run(args, time_limit=time_limit)
