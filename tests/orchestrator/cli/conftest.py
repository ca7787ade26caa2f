"""Fixtures for the command line: a repository with a host, and one without."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.orchestrator.programs import Program


@pytest.fixture
def host(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Install a host, and go into the repository."""
    program = Program(tmp_path / "bin")
    program.folder.mkdir()
    program.install()
    monkeypatch.setenv("PATH", f"{program.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(repo)
    return program


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put only git and the programs of a script agent on PATH."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("git", "true", "env"):
        (folder / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # a host may be beside the real one
    return folder
