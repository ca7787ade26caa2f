"""Tests of `spec_kitty_orchestrator.ending`: the points that a host requires, with remedies."""

import json
from pathlib import Path
from typing import Any

import pytest

from spec_kitty_client import ErrorCode, Failure, NotReady
from spec_kitty_orchestrator.ending.refusals import Refusal, refusal

OUTSTANDING = {
    "metadata": ["WP01: missing agent in canonical runtime state"],
    "activity": ["Acceptance matrix verdict is 'pending'"],
    "needs_clarification": ["spec.md"],
    "git_dirty": [" M notes.txt", "?? new.txt"],
    "path_violations": ["Path Convention Errors:\n  - tests/ (not found)\n" + "x" * 500],
    "newer_check": ["whatever it wants"],
}


def refused(contract: str = "1.16.0", **data: Any) -> NotReady:
    """Return a host's refusal of accept-mission."""
    return NotReady(
        Failure(
            verb="accept-mission",
            mutates=True,
            message="Acceptance checks failed",
            argv=(),
            exit_code=1,
            stdout="",
            stderr="",
            code=ErrorCode.MISSION_NOT_READY,
            data=data,
            contract_version=contract,
        )
    )


def told(error: NotReady, folder: Path, lanes: dict[str, str] | None = None) -> Refusal | None:
    """Return the refusal for a mission whose work packages are done."""
    return refusal(error, "m", lanes or {"WP01": "done"}, folder)


def test_everything_outstanding_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    """Every failed check of the host is a line with its remedy; the accepting command is last."""
    found = told(refused(outstanding=OUTSTANDING), tmp_path)
    assert found is not None
    _, *lines, last = found.reason.split("\n")
    assert [line.partition(":")[0].strip(" -") for line in lines] == [
        "metadata",
        "activity",
        "needs_clarification",
        "git_dirty",
        "git_dirty",
        "path_violations",
        "newer_check",
    ]
    assert all(" -> " in line and len(line) < 500 for line in lines)
    assert found.command == "spec-kitty accept --mission m --lenient"
    assert last.endswith(found.command)


@pytest.mark.parametrize(
    ("matrix", "named"),
    [
        ({"criteria": [{"criterion_id": f"FR-00{i}", "pass_fail": v} for i, v in CASES]}, "FR-002")
        for CASES in ([(1, "pass"), (2, "pending")],)
    ]
    + [([], "each ID in acceptance-matrix.json"), (None, "each ID in acceptance-matrix.json")],
)
def test_the_criteria_without_a_verdict_are_named(
    tmp_path: Path, matrix: object, named: str
) -> None:
    """Criteria without a verdict are named, if the file can be read."""
    if matrix is not None:
        (tmp_path / "acceptance-matrix.json").write_text(json.dumps(matrix))
    found = told(refused(outstanding={"activity": ["Acceptance matrix verdict is x"]}), tmp_path)
    assert found is not None
    assert "acceptance-verdict --mission m --criterion ID --result pass" in found.reason
    assert named in found.reason
    assert "FR-001" not in found.reason


def test_canceled_work_is_named_where_a_host_wants_it_done(tmp_path: Path) -> None:
    """Up to 3.2.7 canceled work is named; with unfinished work beside it, more work would help."""
    lanes = {"WP01": "done", "WP02": "canceled", "WP03": "in_progress"}
    found = told(refused("1.5.0", incomplete_wps=["WP02"]), tmp_path, lanes)
    assert found is not None
    assert "WP02 is canceled" in found.reason
    assert told(refused("1.5.0", incomplete_wps=["WP02", "WP03"]), tmp_path, lanes) is None


@pytest.mark.parametrize(
    ("contract", "data", "skipped"),
    [
        ("1.16.0", {}, True),  # a damaged matrix, for which the host sends only a message
        ("1.5.0", {}, False),
        ("1.16.0", {"preflight_error_codes": ["ORIGIN_BEHIND"]}, False),  # a fetch helps
        ("1.16.0", {"outstanding": "nonsense", "incomplete_wps": 3}, True),
    ],
)
def test_a_refusal_without_details_ends_the_run_where_more_work_mends_it(
    tmp_path: Path, contract: str, data: dict[str, Any], *, skipped: bool
) -> None:
    """A refusal without details ends the run only if more work would help."""
    assert (told(refused(contract, **data), tmp_path) is not None) is skipped
