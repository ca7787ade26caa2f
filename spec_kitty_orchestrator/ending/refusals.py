"""Name the commands that help when a host does not accept or merge a finished mission.

Hosts from 4.0.0rc5 on require facts that no verb of the contract records. Hosts before that accept
no mission with a canceled work package. The host's own command accepts such missions.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from spec_kitty_client import (
    ErrorCode,
    Lane,
    MergeConflict,
    MergeDamaged,
    NotReady,
    SpecKittyError,
)

__all__ = ["Refusal", "after_a_failed_end", "refusal"]

_PASSED = ("pass",)
_LONGEST = 300  # characters of one detail in a message
_REMEDIES = {
    "not_done": "finish them, or cancel them with a reason",
    "lane_blockers": "finish them, or cancel them with a reason",
    "delivered_nothing": "a mission whose work packages are all canceled is not accepted",
    "metadata": "the next command does not ask for it (--lenient)",
    "activity": "correct what it names",
    "unchecked_tasks": "spec-kitty agent tasks mark-status TASK --status done --mission {mission}",
    "needs_clarification": "answer the markers [NEEDS CLARIFICATION] in the file and commit it",
    "missing_artifacts": "write the files and commit them",
    "git_dirty": "commit them, or run `git stash --include-untracked`",
    "path_violations": "make the folders, or leave it to the next command (--lenient)",
}
"""The remedy of each check of the host (4.0.0rc7)."""
_MATRIX = (
    "spec-kitty agent mission acceptance-verdict --mission {mission} --criterion {criterion} "
    "--result pass"
)


@frozen(kw_only=True)
class Refusal:
    """A host's refusal to accept a mission whose work is done."""

    reason: str
    """The outstanding points, one a line, each with its remedy."""
    command: str
    """The host's own command that accepts the mission after that."""


def refusal(
    error: NotReady, mission: str, lanes: Mapping[str, str], folder: Path
) -> Refusal | None:
    """Return what a host still requires to accept a mission; None if more work would help.

    Args:
        error: The host's refusal.
        mission: The mission's slug.
        lanes: The lane of each work package.
        folder: The mission's folder in the primary checkout.
    """
    failure = error.failure
    found = list(_canceled(failure.data.get("incomplete_wps"), lanes))
    for check, details in failure.outstanding.items():
        remedy = _REMEDIES.get(check, "correct what it names").format(mission=mission)
        for detail in details:
            how = _judge(mission, folder) if "matrix verdict" in detail else remedy
            found.append(f"{check}: {_short(detail)} -> {how}")
    unforeseen = error.code == ErrorCode.MISSION_NOT_READY and not error.retryable
    if not found and unforeseen and not failure.preflight_error_codes:
        found = [failure.message]
    if not found:
        return None
    command = f"spec-kitty accept --mission {mission} --lenient"
    lines = "".join(f"\n  - {line}" for line in found)
    reason = f"this host requires more before it accepts {mission}:{lines}\n  - then: {command}"
    return Refusal(reason=reason, command=command)


def after_a_failed_end(error: SpecKittyError) -> tuple[str, ...] | None:
    """Return the commands that help after a failed acceptance or merge; None: `resume` alone."""
    if isinstance(error, MergeConflict):
        return (*error.commands, "spec-kitty-orchestrator resume")
    if isinstance(error, MergeDamaged):
        return (f"git log --stat {error.before}..{error.target}",)
    return None


def _canceled(incomplete: object, lanes: Mapping[str, str]) -> Iterator[str]:
    """Yield the canceled work packages, if nothing else is incomplete (up to 3.2.7)."""
    names = incomplete if isinstance(incomplete, list) else []
    if all(lanes.get(name) == Lane.CANCELED for name in names):
        for name in names:
            yield f"{name} is canceled, and accept-mission of this host requires it to be done"


def _judge(mission: str, folder: Path) -> str:
    """Return the command that records a verdict on the criteria, which are named if possible."""
    command = _MATRIX.format(mission=mission, criterion="ID")
    try:
        rows = json.loads((folder / "acceptance-matrix.json").read_text("utf-8"))["criteria"]
        names = [str(row["criterion_id"]) for row in rows if row["pass_fail"] not in _PASSED]
    except (OSError, ValueError, LookupError, TypeError):
        return f"{command} (each ID in acceptance-matrix.json)"
    return f"{command} (ID: {', '.join(names)})"


def _short(detail: str) -> str:
    """Return a detail on one line."""
    line = " ".join(detail.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
