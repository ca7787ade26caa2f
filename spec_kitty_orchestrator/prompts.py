"""The prompts of implementers and reviewers, in the first round and in rework rounds."""

from collections.abc import Sequence
from pathlib import Path

from spec_kitty_orchestrator.state.events import VerdictGiven

__all__ = ["implement", "review", "work_package_text"]

_MAX_TASK = 256 * 1024  # characters of a work package's file
MAX_DIFF = 128 * 1024
"""The maximum number of characters of the diff in a reviewer's prompt."""

_IMPLEMENT = """\
Implement work package {wp} of mission {mission} in the current folder, which is a git
worktree made for it. Work that is already there is yours to continue.

Change files in this folder only. Leave the folder kitty-specs/ alone, but for files in it that
the work package owns (`owned_files`). You need not commit: what you leave is committed for you.
Do not push, and do not switch branches.

Do all subtasks of the work package. Where its text tells you to tick them, to keep an activity
log, or to run spec-kitty, do not: the orchestrator marks the subtasks done and records your
progress when you have finished."""

_REVIEW = """\
Review work package {wp} of mission {mission}. The current folder is its git worktree, with
everything committed; {diffs} is what it added. Do not change anything."""

_VERDICT = """\
End your answer with one JSON object and nothing after it:

{"verdict": "approved" or "changes_requested",
 "summary": "one or two sentences",
 "findings": [{"id": "F1", "severity": "blocking" or "minor",
               "where": "path:line", "what": "what is wrong and what would be right"}]}

Ask for changes only for what has to change before this can be merged; each such finding is
"blocking". Approve when there is none; findings may then be "minor" or none.
"""


def work_package_text(prompt_path: Path) -> str:
    """Return the text of a work package's file, cut off after 256 Ki characters.

    Args:
        prompt_path: The file, as the host names it.
    """
    with prompt_path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_MAX_TASK)


def implement(
    *,
    wp: str,
    mission: str,
    task: str,
    verdict: VerdictGiven | None,
    failures: Sequence[str],
) -> str:
    """Return the prompt of an implementer.

    Args:
        wp: The id of the work package.
        mission: The mission's slug.
        task: The text of the work package's file.
        verdict: The verdict that asked for changes, if this is a rework round.
        failures: The reasons of the failed attempts in this round.
    """
    parts = [
        _IMPLEMENT.format(wp=wp, mission=mission),
        _section("The work package", task),
    ]
    if verdict:
        parts.append(_section("A reviewer asked for changes", _findings(verdict)))
    if failures:
        parts.append(_section("Earlier attempts failed", "\n".join(f"- {f}" for f in failures)))
    return "\n\n".join(parts) + "\n"


def review(
    *,
    wp: str,
    mission: str,
    task: str,
    spans: Sequence[tuple[str, str]],
    changes: tuple[str, str],
    earlier: VerdictGiven | None,
    failures: Sequence[str],
) -> str:
    """Return the prompt of a reviewer.

    Args:
        wp: The id of the work package.
        mission: The mission's slug.
        task: The text of the work package's file.
        spans: Pairs of commits that hold the work, the older commit of each pair first.
        changes: The statistics and the text of their diffs. The text may be cut off.
        earlier: The verdict of the previous round, if it asked for changes.
        failures: The reasons why earlier answers in this round did not count.
    """
    stat, diff = changes
    cut = len(diff) >= MAX_DIFF
    diffs = [f"`git diff {before}..{after}`" for before, after in spans]
    parts = [
        _REVIEW.format(wp=wp, mission=mission, diffs=" and ".join(diffs)),
        _section("The work package", task),
        _section("What changed", stat),
        _section("The diff" + (", cut off: look at the rest yourself" if cut else ""), diff),
    ]
    if earlier:
        parts.append(_section("The round before asked for these changes", _findings(earlier)))
    if failures:
        parts.append(_section("Your last answer did not count", "\n".join(failures)))
    return "\n\n".join([*parts, _section("Your answer", _VERDICT)])


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text.strip()}"


def _findings(verdict: VerdictGiven) -> str:
    lines = [verdict.summary]
    lines += [f"- {f.id} ({f.severity}) {f.where}: {f.what}" for f in verdict.findings]
    return "\n".join(lines)
