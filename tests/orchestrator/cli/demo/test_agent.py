"""Tests of `spec_kitty_orchestrator.cli.demo.agent`: it behaves as a coding agent does."""

import os
import subprocess
import sys
from pathlib import Path

from spec_kitty_orchestrator.cli.demo import agent as demo_agent
from spec_kitty_orchestrator.verdict import Verdict, parse


def run(folder: Path, role: str, wp: str, prompt: str) -> subprocess.CompletedProcess[str]:
    """Run it as the orchestrator does."""
    return subprocess.run(
        [sys.executable, "-I", demo_agent.__file__],
        cwd=folder,
        input=prompt,
        env={**os.environ, "SPEC_KITTY_ROLE": role, "SPEC_KITTY_WP": wp},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_implements_and_approves(tmp_path: Path) -> None:
    """The implementer writes the file that the prompt names, and the reviewer approves it."""
    prompt = "Create `src/a.py` with a function"
    assert run(tmp_path, "implement", "WP01", prompt).returncode == 0
    assert "def status()" in (tmp_path / "src" / "a.py").read_text()
    found = parse(run(tmp_path, "review", "WP01", prompt).stdout)
    assert isinstance(found, Verdict)
    assert found.verdict == "approved"


def test_it_forgets_once(tmp_path: Path) -> None:
    """At one work package the first review asks for changes, and the rework is approved."""
    prompt, wp = "Create `a.py`", demo_agent.FORGETFUL_AT
    run(tmp_path, "implement", wp, prompt)
    found = parse(run(tmp_path, "review", wp, prompt).stdout)
    assert isinstance(found, Verdict)
    assert (found.verdict, len(found.findings)) == ("changes_requested", 1)
    run(tmp_path, "implement", wp, f"{prompt}\n\n## A reviewer asked for changes\n")
    found = parse(run(tmp_path, "review", wp, prompt).stdout)
    assert isinstance(found, Verdict)
    assert found.verdict == "approved"


def test_a_prompt_without_a_file_is_a_failure(tmp_path: Path) -> None:
    """A prompt that names no file ends the agent with an exit code other than 0."""
    done = run(tmp_path, "implement", "WP01", "Do something")
    assert done.returncode == 1
    assert "names no file" in done.stderr
