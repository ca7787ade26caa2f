"""A whole run as one tree of OpenTelemetry spans, written to a file."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Scene

TRACED = """\
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider()
file = open(sys.argv.pop(1), "w", encoding="utf-8")
as_line = lambda span: span.to_json(indent=None) + "\\n"
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=file, formatter=as_line)))
trace.set_tracer_provider(provider)
from spec_kitty_orchestrator.cli import main
main()
"""


def above(span: dict[str, Any], by_id: dict[str, dict[str, Any]]) -> list[str]:
    """Return the names of the spans around a span, the nearest first."""
    names = []
    while span["parent_id"]:
        span = by_id[span["parent_id"]]
        names.append(span["name"])
    return names


@pytest.mark.once
def test_a_run_is_one_tree_of_spans(scene: Callable[..., Scene], tmp_path: Path) -> None:
    """Run, turns, attempts and host calls are in one trace, each below its parent."""
    here = scene(2)
    file = tmp_path / "spans.jsonl"
    words = ("orchestrate", here.mission, "--impl-agent=claude-code", "--review-agent=codex")

    done = subprocess.run(
        [sys.executable, "-c", TRACED, str(file), *words, "--merge"],
        cwd=here.root, env=here.env, check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    spans = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    by_id = {s["context"]["span_id"]: s for s in spans}
    assert len({s["context"]["trace_id"] for s in spans}) == 1
    assert [s["name"] for s in spans if not s["parent_id"]] == ["orchestrate"]
    places = {s["name"]: above(s, by_id) for s in spans}
    assert places["implement attempt 1"][-1] == "orchestrate"
    assert places["WP01 from planned"] == ["orchestrate"]
    assert places["spec-kitty merge-mission"] == ["orchestrate"]
    claims = [above(s, by_id) for s in spans if s["name"] == "spec-kitty start-implementation"]
    assert sorted(claims) == [[f"WP0{n} from planned", "orchestrate"] for n in (1, 2)]
    attempts = [s for s in spans if " attempt " in s["name"]]
    assert len(attempts) == 4
    for attempt in attempts:
        wp = attempt["attributes"]["spec_kitty.work_package"]
        assert above(attempt, by_id)[0].startswith(wp)
