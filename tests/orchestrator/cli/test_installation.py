"""Tests of `cli.installation`: two distributions with files of the same names."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spec_kitty_orchestrator
from spec_kitty_orchestrator.cli import doctor, installation


def test_an_installation_of_its_own_is_fine() -> None:
    """No command warns about the environment that the tests run in."""
    assert installation.mixed_up() is None


def test_every_command_warns_of_the_other_distribution(tmp_path: Path) -> None:
    """The command works as far as it can, and says on stderr how to repair the environment."""
    ours = Path(spec_kitty_orchestrator.__file__).parent
    shutil.copytree(ours, tmp_path / ours.name)
    (tmp_path / ours.name / "executor.py").touch()

    ended = subprocess.run(
        [sys.executable, "-m", "spec_kitty_orchestrator", "--help"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "Commands:" in ended.stdout
    (warning,) = ended.stderr.splitlines()
    assert warning.startswith("spec-kitty-orchestrator: warning: The distribution spec-kitty-orc")
    assert "pip uninstall spec-kitty-orchestrator spec-kitty-client" in warning


def test_doctor_counts_it_as_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor reports the other distribution as a problem, also outside a repository."""
    monkeypatch.setattr(doctor, "mixed_up", lambda: "two of them")
    (problem,) = [c for c in doctor.examine(tmp_path) if c.name == "package"]
    assert (problem.ok, problem.found) == (False, "two of them")
