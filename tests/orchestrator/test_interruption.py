"""Tests of `spec_kitty_orchestrator.interruption`: real runs that hang somewhere, and signals.

The host is simulated, as a program. Each process of a test has the test's folder in its
environment, so that the process list shows what is left.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from attrs import define, field

import spec_kitty_orchestrator
from spec_kitty_client.testing.host.store import make
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.interruption import Interruption
from spec_kitty_orchestrator.state.events import AttemptStopped, RunEnded
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.journal import read
from tests.orchestrator.processes import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sees the environment of processes")

LIMIT = 10.0  # seconds from a signal to the end of everything
AT_ONCE = 2.0  # seconds, one of them for a busy machine
PLACE = "TEST_OF_INTERRUPTION"
HANGS = ["sh", "-c", "trap '' TERM; touch \"$0/hangs\"; while :; do sleep 1; done"]
"""A program that ignores SIGTERM, and says that it runs."""
AGENT = """\
import os, signal, subprocess, sys, time
place = os.environ["TEST_OF_INTERRUPTION"]
hangs = [*HANGS, place]
"""
AGENTS = {
    "an agent": "subprocess.Popen(hangs).wait()",
    "an agent that ignores signals": (
        "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "subprocess.run(hangs)"
    ),
    "an agent that forks twice": (
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0: os.execvp(hangs[0], hangs)\n"
        "    os._exit(0)\n"
        "time.sleep(100)"
    ),
    "an agent with a session": "subprocess.Popen(hangs, start_new_session=True); time.sleep(100)",
    "an agent with an empty environment": (
        "subprocess.Popen(hangs, env={'PATH': os.environ['PATH']}, start_new_session=True)\n"
        "time.sleep(100)"
    ),
}
HOOKS = {
    "a hook": '. "$TEST_OF_INTERRUPTION/hang"',
    "a hook with a session": 'setsid sh "$TEST_OF_INTERRUPTION/hang" & wait',
}
VERBS = {
    "the host at a mutation": "start-implementation",
    "the host at a read": "mission-state",
}
WORKS = "import os\nopen('work.py', 'w').write('# work')\nprint('done')\n"


@define
class Scene:
    """A repository, a host, an agent, and runs of the command line."""

    folder: Path
    env: dict[str, str]
    started: list["subprocess.Popen[bytes]"] = field(factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "repo"

    def orchestrate(self, out: int | None = None) -> "subprocess.Popen[bytes]":
        """Start a run, and return when it hangs."""
        agent = "script:" + shlex.join([sys.executable, "-I", str(self.folder / "agent.py")])
        agents = (f"--impl-agent={agent}", f"--review-agent={agent}")
        run = self.command("orchestrate", "--mission=demo", *agents, out=out)
        assert eventually(lambda: (self.folder / "hangs").exists() or run.poll() is not None)
        assert run.poll() is None, self.said()
        return run

    def command(self, *words: str, out: int | None = None) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-m", "spec_kitty_orchestrator", *words]
        with (self.folder / "said").open("ab") as said:
            process = subprocess.Popen(
                argv,
                cwd=self.root,
                env=self.env,
                stdout=said if out is None else out,
                stderr=said,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def processes(self) -> list[str]:
        """Return the processes of the test that are alive."""
        return [" ".join(process.cmdline()) for process in self._alive()]

    def _alive(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                mine = process.environ().get(PLACE) == str(self.folder)
                mine = mine or str(self.folder) in process.cmdline()
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    yield process
            except psutil.Error:
                continue

    def end(self) -> None:
        for process in self._alive():
            process.kill()
        for started in self.started:
            started.wait()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[[str], Scene]]:
    """Return a function that makes a scene in which an agent, a host or git hangs."""
    made: list[Scene] = []

    def build(what: str) -> Scene:
        spec_kitty = make(
            tmp_path / "host", {"WP01": []}, release="3.2.7", slug="demo", root=tmp_path / "repo"
        )
        source = str(Path(spec_kitty_orchestrator.__file__).parents[1])
        path = f"{spec_kitty.parent}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": source, PLACE: str(tmp_path)}
        _prepare(tmp_path, spec_kitty, what)
        made.append(Scene(tmp_path, env))
        return made[0]

    yield build
    for each in made:
        each.end()


def _prepare(folder: Path, spec_kitty: Path, what: str) -> None:
    (folder / "hang").write_text(f'set -- "$TEST_OF_INTERRUPTION"\n{_inline()}\n')
    hangs = AGENTS.get(what)
    agent = AGENT.replace("HANGS", repr(HANGS)) + hangs if hangs else WORKS
    (folder / "agent.py").write_text(agent)
    if hook := HOOKS.get(what):
        path = folder / "repo" / ".git" / "hooks" / "pre-commit"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{hook}\n")
        path.chmod(0o755)
    if verb := VERBS.get(what):
        first, rest = spec_kitty.read_text().split("\n", 1)
        hang = f'case "$2" in {verb}) . "$TEST_OF_INTERRUPTION/hang";; esac'
        spec_kitty.write_text(f"{first}\n{hang}\n{rest}")


def _inline() -> str:
    return HANGS[2].replace("$0", "$1")


_IN_CI = {
    ("an agent", "abort"),
    ("an agent that ignores signals", "SIGINT"),
    ("an agent with a session", "SIGTERM"),
    (next(iter(HOOKS)), "SIGINT"),
    (next(iter(VERBS)), "SIGTERM"),
}
_EVERY = [
    (what, how) for what in (*AGENTS, *HOOKS, *VERBS) for how in ("SIGINT", "SIGTERM", "abort")
]


@pytest.mark.parametrize(
    ("what", "how"),
    [pytest.param(*each, marks=() if each in _IN_CI else pytest.mark.long) for each in _EVERY],
)
def test_everything_is_gone_in_ten_seconds(
    scene: Callable[[str], Scene], what: str, how: str
) -> None:
    """A signal or an abort ends the run and all its processes in time, wherever the run hangs."""
    here = scene(what)
    run = here.orchestrate()
    begin = time.monotonic()
    if how == "abort":
        aborted = here.command("abort", "--json")
        assert eventually(lambda: "Ending the agents" in here.said())
        begin = time.monotonic()  # without the imports of another command
        assert aborted.wait(timeout=60) == ExitCode.DONE, here.said()
    else:
        run.send_signal(getattr(signal, how))
    code = run.wait(timeout=60)
    assert eventually(lambda: here.processes() == [])
    assert time.monotonic() - begin < LIMIT, here.said()
    assert code == ExitCode.INTERRUPTED
    assert "Traceback" not in here.said()
    if what not in VERBS:
        (end,) = [e for e in read(StateFiles(here.root).journal) if isinstance(e, RunEnded)]
        assert end.outcome == "interrupted"


@pytest.mark.parametrize(
    "what",
    [
        "an agent that ignores signals",
        pytest.param("an agent that forks twice", marks=pytest.mark.long),
        pytest.param("a hook with a session", marks=pytest.mark.long),
        "the host at a mutation",
        pytest.param("the host at a read", marks=pytest.mark.long),
    ],
)
def test_a_second_signal_ends_everything_at_once(scene: Callable[[str], Scene], what: str) -> None:
    """The second Ctrl-C ends the run at once, and leaves no process."""
    here = scene(what)
    run = here.orchestrate()
    run.send_signal(signal.SIGINT)
    time.sleep(0.5)
    begin = time.monotonic()
    run.send_signal(signal.SIGINT)
    code = run.wait(timeout=60)
    took = time.monotonic() - begin
    assert eventually(lambda: here.processes() == []), here.processes()
    assert took < AT_ONCE
    assert code == ExitCode.INTERRUPTED


def test_a_run_whose_output_nobody_reads_can_be_interrupted(
    scene: Callable[[str], Scene],
) -> None:
    """A pipe that is full blocks the event loop; a signal ends the run all the same."""
    here = scene("an agent that ignores signals")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    run = here.orchestrate(writer)
    with suppress(BlockingIOError):
        while os.write(writer, b"x" * 512):
            pass
    os.set_blocking(writer, True)  # for the run as well, which shares the open file
    begin = time.monotonic()
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=60) == ExitCode.INTERRUPTED
    took = time.monotonic() - begin
    assert eventually(lambda: here.processes() == []), here.processes()
    assert took < LIMIT
    os.close(reader)
    os.close(writer)


def test_an_interrupted_run_goes_on(scene: Callable[[str], Scene]) -> None:
    """After an agent was ended by a signal, resume starts it again and finishes."""
    here = scene("an agent")
    run = here.orchestrate()
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=60) == ExitCode.INTERRUPTED
    events = list(read(StateFiles(here.root).journal))
    assert [e.reason for e in events if isinstance(e, AttemptStopped)] == ["stopped"]
    verdict = json.dumps({"verdict": "approved", "summary": "fine", "findings": []})
    works = f"print({verdict!r}) if os.environ['SPEC_KITTY_ROLE'] == 'review' else None\n"
    (here.folder / "agent.py").write_text(WORKS + works)
    assert here.command("resume").wait(timeout=60) == ExitCode.DONE, here.said()


def test_an_abort_names_agents_of_a_dead_run(scene: Callable[[str], Scene]) -> None:
    """Abort ends what a killed orchestrator and killed keepers have left."""
    here = scene("an agent with a session")
    run = here.orchestrate()
    keepers = [p for p in psutil.Process(run.pid).children() if "keeper.py" in str(p.cmdline())]
    run.kill()
    for keeper in keepers:
        keeper.kill()
    run.wait()
    assert here.processes() != []
    assert here.command("abort").wait(timeout=60) == ExitCode.DONE
    assert here.processes() == []
    assert "Stopped the agent of " in here.said()


def test_a_signal_outside_the_loop_is_an_interrupt() -> None:
    """SIGTERM during the checks before a run ends them as Ctrl-C does; handlers are restored."""
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert interruption.received
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_ignored_signal_stays_ignored() -> None:
    """A run under nohup survives a closed terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not interruption.received
    finally:
        signal.signal(signal.SIGHUP, before)
