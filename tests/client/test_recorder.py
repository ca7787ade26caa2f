"""The recorder's file: what stays in it when only some scenarios are played."""

import json
from pathlib import Path

from tests.record.__main__ import _others


def test_only_some_scenarios_are_made_anew(tmp_path: Path) -> None:
    """Lines of other scenarios stay as they are, also those that were cut, and keep their order."""
    names = ("version", "planning: start", "state (cut)", "planning: merge (cut)", "start planning")
    lines = [json.dumps({"scenario": name, "stdout": "é"}, ensure_ascii=False) for name in names]
    path = tmp_path / "3.2.7.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    kept = _others(path, ["planning", "topologies"])
    assert kept == {"version": lines[0], "state": lines[2], "start planning": lines[4]}
    assert [*kept] == ["version", "state", "start planning"]
