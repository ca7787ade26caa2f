"""Tests of the recorder's file when only some scenarios are recorded anew."""

import json
from pathlib import Path

from tests.record.__main__ import _others


def test_only_some_scenarios_are_made_anew(tmp_path: Path) -> None:
    """The recorder keeps the lines of the other scenarios, cut ones too, in their order."""
    names = ("version", "planning: start", "state (cut)", "planning: merge (cut)", "start planning")
    lines = [json.dumps({"scenario": name, "stdout": "é"}, ensure_ascii=False) for name in names]
    path = tmp_path / "3.2.7.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    kept = _others(path, ["planning", "topologies"])
    assert kept == {"version": lines[0], "state": lines[2], "start planning": lines[4]}
    assert [*kept] == ["version", "state", "start planning"]
