"""Tests of `transports.warm.server.forkserver` that talk to the server directly."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest

from spec_kitty_client.transports.launchers import find
from spec_kitty_client.transports.warm import connection
from tests.client.transports.scripts import PATIENCE, eventually, written
from tests.client.transports.warm.warmhost import Caller, install


@contextmanager
def server(folder: Path) -> Iterator[Any]:
    """Start a server whose replies are read only when a test does so."""
    repo = folder / "repo"
    repo.mkdir()
    location = Caller(install(folder / "host"), repo).cold.location()
    launch = find(location.words, location.head)
    with subprocess.Popen(
        [*launch.interpreter, "-c", connection._BOOT],
        env=location.env,
        cwd=repo,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as proc:
        try:
            assert proc.stdin is not None
            proc.stdin.write(connection._first_input(launch))
            yield proc
            proc.stdin.close()
            assert proc.wait(PATIENCE) == 0
        finally:
            proc.kill()


def ask(proc: Any, number: int, folder: Path, code: str) -> None:
    """Send the server a request for a call."""
    request = {
        "id": number,
        "argv": ["do", dedent(code)],
        "cwd": str(folder),
        "umask": None,
        "env": {},
    }
    proc.stdin.write(json.dumps(request).encode() + b"\n")
    proc.stdin.flush()


FLOOD = """
    import os
    print("x" * 1_000_000, flush=True)
    open("one", "w").write(str(os.getpid()))
"""
OPEN = """
    import os
    names = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    open("other", "w").write("\\n".join(os.readlink(n) for n in names if os.path.lexists(n)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the test reads /proc of Linux")
def test_what_another_call_has_written_is_not_open_in_a_call(tmp_path: Path) -> None:
    """A call inherits no output file of another call whose answer is not read yet."""
    repo = tmp_path / "repo"
    with server(tmp_path) as proc:
        ask(proc, 1, repo, FLOOD)
        assert eventually(lambda: written(repo / "one"))
        assert eventually(lambda: not psutil.pid_exists(int((repo / "one").read_text())))
        ask(proc, 2, repo, OPEN)
        assert eventually(lambda: written(repo / "other"))

    files = [name for name in (repo / "other").read_text().split("\n") if "(deleted)" in name]
    assert len(files) == 2, files
