"""Tests of `spec_kitty_orchestrator.runners.local` and its keeper, with real processes."""

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest
from attrs import asdict

import spec_kitty_orchestrator
from spec_kitty_orchestrator.runners import keeper, local
from spec_kitty_orchestrator.runners.local import AgentProcessSpec, ExitRecord
from tests.orchestrator.processes import eventually, gone, number_in
from tests.orchestrator.runners.agents import OWN_PID, Changed, Launch, keeper_of, wait

STUBBORN = """\
import os, subprocess, sys, time
child = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n"
child += "with open('child.pid', 'w') as file: file.write(f'{os.getpid()}\\\\n')\\n"
child += "time.sleep(100)"
subprocess.Popen([sys.executable, "-I", "-S", "-c", child], start_new_session=True)
while not os.path.exists("child.pid") or not os.path.getsize("child.pid"):
    time.sleep(0.01)
"""
"""An agent with a child in a session of its own that ignores SIGTERM."""

SLOW_START = """\
import subprocess
class _Slow(subprocess.Popen):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        time.sleep(0.5)
subprocess.Popen = _Slow
"""


def test_output_goes_to_files(launch: Launch) -> None:
    """An agent's stdout and stderr are written to two files without a reader."""
    folder = launch("import sys; print('words'); print('trouble', file=sys.stderr)")
    ended = wait(folder)
    assert (ended.reason, ended.exit_code, ended.error) == ("exited", 0, None)
    assert (folder / "output.log").read_text() == "words\n"
    assert (folder / "errors.log").read_text() == "trouble\n"
    assert 0 < ended.started_at <= ended.ended_at


def test_the_prompt_comes_on_stdin_which_then_ends(launch: Launch) -> None:
    """An agent gets the whole prompt on stdin, and then the end of its input."""
    prompt = "do it\n" + "ä" * 200_000 + "\ud800\0"
    folder = launch("import os, sys; os.write(1, sys.stdin.buffer.read())", prompt=prompt)
    assert wait(folder).exit_code == 0
    assert (folder / "output.log").read_bytes() == prompt.encode("utf-8", "backslashreplace")


def test_it_runs_where_and_with_what_it_is_told(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent has its folder, its own variables and this environment, but no redirected git."""
    monkeypatch.setenv("OUTER", "outer")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    code = "import os; e = os.environ.get; print(os.getcwd(), e('OUTER'), e('MINE'), e('GIT_DIR'))"
    folder = launch(code, env={"MINE": "mine"})
    wait(folder)
    assert local.tail(folder).split() == [str(tmp_path), "outer", "mine", "None"]


@pytest.mark.parametrize("code", [0, 1, 77])
def test_exit_codes_are_kept(launch: Launch, code: int) -> None:
    """The exit code is the agent's own."""
    assert wait(launch(f"raise SystemExit({code})")).exit_code == code


def test_death_by_a_signal_is_kept(launch: Launch) -> None:
    """An agent that was killed by a signal has its negative number."""
    ended = wait(launch("import os; os.kill(os.getpid(), 9)"))
    assert (ended.reason, ended.exit_code) == ("exited", -9)


def test_a_program_that_is_not_there_is_not_started(launch: Launch) -> None:
    """A missing program is a run that was not started, with the program's name."""
    ended = wait(launch("", argv=("/no/such/agent",)))
    assert (ended.reason, ended.exit_code) == ("not_started", None)
    assert ended.error == "No such file or directory: /no/such/agent"


def test_a_folder_that_is_not_there_is_told(launch: Launch, tmp_path: Path) -> None:
    """The error names a worktree that is gone."""
    ended = wait(launch("", cwd=tmp_path / "vanished"))
    assert ended.reason == "not_started"
    assert str(tmp_path / "vanished") in (ended.error or "")


def test_a_run_has_a_folder_of_its_own(launch: Launch, tmp_path: Path) -> None:
    """Two runs never write into the same files."""
    (tmp_path / "run").mkdir()
    with pytest.raises(FileExistsError):
        launch("")
    assert not list((tmp_path / "run").iterdir())


def test_the_deadline_ends_a_run(launch: Launch) -> None:
    """An agent that takes too long is ended, and that is the reason."""
    ended = wait(launch("import time; time.sleep(100)", time_limit=0.3))
    assert ended.reason == "deadline"
    assert 0.29 <= ended.ended_at - ended.started_at < 30


@pytest.mark.parametrize("seconds", [float("inf"), 1e10])
def test_a_run_may_have_all_the_time_there_is(launch: Launch, seconds: float) -> None:
    """A very large time limit works."""
    assert wait(launch("", time_limit=seconds)).reason == "exited"


def test_an_agent_that_ends_at_once_has_ended(launch: Launch, changed: Changed) -> None:
    """An agent that ends at once does not make its keeper wait for the deadline."""
    changed("import subprocess", SLOW_START)
    ended = wait(launch("raise SystemExit(3)", time_limit=5.0))
    assert (ended.reason, ended.exit_code) == ("exited", 3)


def test_a_run_can_be_stopped(launch: Launch, tmp_path: Path) -> None:
    """Stopping ends the agent, and the record says so."""
    folder = launch(OWN_PID + "time.sleep(100)")
    pid = number_in(tmp_path / "own.pid")
    assert local.is_alive(folder)
    assert anyio.run(local.stop, folder).reason == "stopped"
    assert gone(pid)
    assert not local.is_alive(folder)


def test_stopping_what_has_ended_tells_how(launch: Launch) -> None:
    """A run that ended by itself keeps its own result."""
    folder = launch("raise SystemExit(3)")
    wait(folder)
    ended = anyio.run(local.stop, folder)
    assert (ended.reason, ended.exit_code) == ("exited", 3)


@pytest.mark.usefixtures("hasty")
def test_what_an_agent_leaves_behind_ends_with_it(launch: Launch, tmp_path: Path) -> None:
    """A child in its own session that ignores SIGTERM does not outlive the agent's run."""
    folder = launch(STUBBORN)
    assert wait(folder).exit_code == 0
    assert gone(number_in(tmp_path / "child.pid"))


@pytest.mark.usefixtures("hasty")
def test_what_an_agent_started_is_stopped_with_it(launch: Launch, tmp_path: Path) -> None:
    """The same child does not outlive a run that is stopped."""
    folder = launch(STUBBORN + "time.sleep(100)")
    child = number_in(tmp_path / "child.pid")
    assert anyio.run(local.stop, folder).reason == "stopped"
    assert gone(child)


@pytest.mark.usefixtures("hasty")
def test_an_agent_that_ignores_sigterm_is_killed(launch: Launch, tmp_path: Path) -> None:
    """An agent that ignores SIGTERM is killed."""
    ignores = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    folder = launch(ignores + OWN_PID + "time.sleep(100)")
    pid = number_in(tmp_path / "own.pid")
    assert anyio.run(local.stop, folder).reason == "stopped"
    assert gone(pid)


def test_a_keeper_survives_its_orchestrator(tmp_path: Path) -> None:
    """After the launching process is killed, another process gets the result."""
    folder, go = tmp_path / "run", tmp_path / "go"
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\nprint('end')"
    process = AgentProcessSpec(
        directory=folder,
        argv=(sys.executable, "-I", "-S", "-c", code),
        cwd=tmp_path,
        env={},
        prompt="",
        time_limit=60.0,
    )
    launcher = f"""\
import sys, time
from pathlib import Path, PosixPath
from spec_kitty_orchestrator.runners import local
local.launch(local.AgentProcessSpec(**{asdict(process)!r}))
print("launched", flush=True)
time.sleep(100)
"""
    source = str(Path(spec_kitty_orchestrator.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", launcher],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
    ) as orchestrator:
        assert orchestrator.stdout
        assert orchestrator.stdout.readline() == b"launched\n"
        orchestrator.kill()
    assert local.is_alive(folder)
    go.touch()
    assert wait(folder).reason == "exited"
    assert local.tail(folder) == "end\n"


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_an_agent_dies_with_its_keeper(launch: Launch, tmp_path: Path) -> None:
    """The agent dies with its keeper, and the run is lost."""
    folder = launch(OWN_PID + "time.sleep(100)")
    agent = number_in(tmp_path / "own.pid")
    os.kill(keeper_of(folder), signal.SIGKILL)
    assert wait(folder) == ExitRecord(reason="lost")
    assert eventually(partial(gone, agent))
    assert not local.is_alive(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"reason": "exited", "colour": 1}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    """A damaged exit record counts as none."""
    (tmp_path / keeper.EXIT).write_text(text)
    assert local.result(tmp_path) == ExitRecord(reason="lost")


def test_a_folder_without_a_run_is_not_alive(tmp_path: Path) -> None:
    """A run that never started, or ended before its keeper, is lost and can be stopped."""
    assert not local.is_alive(tmp_path / "nothing")
    assert wait(tmp_path / "nothing") == ExitRecord(reason="lost")
    assert anyio.run(local.stop, tmp_path / "nothing") == ExitRecord(reason="lost")
    assert local.tail(tmp_path / "nothing") == ""


def test_several_may_wait(launch: Launch) -> None:
    """Several waits for one process all return."""
    folder = launch("import time; time.sleep(0.3)")
    found: list[ExitRecord] = []

    async def one() -> None:
        found.append(await local.wait(folder))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(one)

    anyio.run(main)
    assert [ended.exit_code for ended in found] == [0, 0, 0]


def test_waiting_can_be_given_up(launch: Launch, tmp_path: Path) -> None:
    """A wait that is cancelled ends at once and leaves the agent running."""
    folder = launch(OWN_PID + "time.sleep(100)")
    pid = number_in(tmp_path / "own.pid")

    async def briefly() -> bool:
        with anyio.move_on_after(0.1) as scope:
            await local.wait(folder)
        alive = local.is_alive(folder)
        await local.stop(folder)  # for the thread that still waits
        return alive and scope.cancelled_caught

    assert anyio.run(briefly)
    assert gone(pid)


def test_no_zombie_stays(launch: Launch) -> None:
    """Keepers are reaped, so that a long run collects no zombies."""
    folder = launch("")
    wait(folder)
    with pytest.raises(ChildProcessError):
        os.waitpid(keeper_of(folder), os.WNOHANG)


def test_only_the_end_of_a_large_output_is_looked_at(tmp_path: Path) -> None:
    """An output of any size costs a bounded amount of memory; no line is cut in half."""
    line = "x" * 999 + "\n"
    with (tmp_path / keeper.OUTPUT).open("w") as file:
        file.writelines([line] * 3000)
        file.write("last\n")
    text = local.tail(tmp_path)
    assert len(text) <= 512 * 1024
    assert text.startswith(line)
    assert text.endswith("x\nlast\n")


def test_bytes_that_are_no_text_are_shown(launch: Launch) -> None:
    """Output that is not UTF-8 is kept, escaped."""
    folder = launch(r"import os; os.write(1, b'a\xff\xfeb\n')")
    wait(folder)
    assert local.tail(folder) == "a\\xff\\xfeb\n"


def test_the_keeper_needs_nothing_installed(tmp_path: Path) -> None:
    """The keeper is a script of the standard library alone, quick to start."""
    copy = shutil.copy(keeper.__file__, tmp_path / "alone.py")
    told = subprocess.run(
        [sys.executable, "-I", "-S", copy], capture_output=True, text=True, check=False
    )
    assert "IndexError" in told.stderr
    assert "ModuleNotFoundError" not in told.stderr


def test_all_that_a_run_makes_is_private(launch: Launch, tmp_path: Path) -> None:
    """Only the owner can read the files of a run, with any umask; the agent keeps its umask."""
    folder = tmp_path / "logs" / "m" / "run"
    before = os.umask(0)
    try:
        launch("import os; print(oct(os.umask(0)))", directory=folder)
    finally:
        os.umask(before)
    wait(folder)
    assert local.tail(folder) == "0o0\n"
    made = [*folder.iterdir()]
    assert {path.name for path in made} >= {keeper.SPEC, keeper.PROMPT, keeper.LOCK, keeper.EXIT}
    assert {oct(path.stat().st_mode & 0o777) for path in made} == {"0o600"}
    folders = [folder, folder.parent, folder.parent.parent]
    assert {oct(path.stat().st_mode & 0o777) for path in folders} == {"0o700"}


def test_no_file_holds_the_environment(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in the environment reaches the agent, and is written to no file."""
    monkeypatch.setenv("OUTER_TOKEN", "sesame-1")
    code = "import os; print(len(os.environ['OUTER_TOKEN'] + os.environ['TOKEN']))"
    folder = launch(code, env={"TOKEN": "sesame-2"})
    wait(folder)
    assert local.tail(folder) == "16\n"
    assert not [path for path in folder.iterdir() if b"sesame" in path.read_bytes()]


def test_a_keeper_that_is_suspended_is_alive(launch: Launch, tmp_path: Path) -> None:
    """A suspended keeper counts as alive: nothing is killed, and its agent's end is recorded."""
    folder = launch(OWN_PID + "time.sleep(0.5)")
    agent = number_in(tmp_path / "own.pid")
    os.kill(keeper_of(folder), signal.SIGSTOP)

    async def watch() -> bool:
        with anyio.move_on_after(0.7):
            await local.wait(folder)
            return False
        return local.is_alive(folder)

    async def both() -> bool:
        alive = await watch()
        os.kill(keeper_of(folder), signal.SIGCONT)
        return alive

    assert anyio.run(both)
    assert wait(folder).exit_code == 0
    assert gone(agent)


def test_an_agent_that_is_suspended_is_alive(launch: Launch, tmp_path: Path) -> None:
    """A suspended agent counts as alive."""
    folder = launch(OWN_PID + "time.sleep(0.3)")
    agent = number_in(tmp_path / "own.pid")
    os.kill(agent, signal.SIGSTOP)

    async def watch() -> None:
        with anyio.move_on_after(0.6):
            await local.wait(folder)
        os.kill(agent, signal.SIGCONT)

    anyio.run(watch)
    assert wait(folder).exit_code == 0


def test_a_suspended_keeper_can_be_stopped(launch: Launch, tmp_path: Path) -> None:
    """Stopping wakes a suspended keeper, which then ends its agent and writes its record."""
    folder = launch(OWN_PID + "time.sleep(100)")
    agent = number_in(tmp_path / "own.pid")
    os.kill(keeper_of(folder), signal.SIGSTOP)
    assert anyio.run(local.stop, folder).reason == "stopped"
    assert gone(agent)


def test_a_keeper_that_does_not_end_is_killed(
    launch: Launch, changed: Changed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopping kills a keeper that does not react, in bounded time, with all its processes."""
    changed("        self._stop_requested = True", "        pass")
    monkeypatch.setattr(local, "_STOP_LIMIT", 0.3)
    folder = launch(STUBBORN + OWN_PID + "time.sleep(100)")
    pids = [number_in(tmp_path / name) for name in ("own.pid", "child.pid")]
    pids.append(keeper_of(folder))
    assert anyio.run(local.stop, folder) == ExitRecord(reason="lost")
    assert all(eventually(partial(gone, pid)) for pid in pids)


def test_an_end_at_once_leaves_no_grace(launch: Launch, tmp_path: Path) -> None:
    """A second signal does not wait for an agent that ignores SIGTERM."""
    folder = launch(STUBBORN + "time.sleep(100)")
    child = number_in(tmp_path / "child.pid")
    took: list[float] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(local.wait, folder)
            await anyio.sleep(0.1)
            begin = anyio.current_time()
            local.end_at_once(5.0)
            took.append(anyio.current_time() - begin)

    anyio.run(main)
    assert took[0] < keeper.GRACE
    assert gone(child)
    assert local.result(folder).reason == "stopped"


def test_the_newest_output_is_read_while_a_long_one_goes_on(launch: Launch, tmp_path: Path) -> None:
    """The tail of an output that is over its limit is right, before and after the agent's end."""
    code = "import os, sys\nfor i in range(20_000): print(f'line {i}', flush=True)\n"
    hold = "open('written', 'w').close()\nwhile not os.path.exists('go'): pass\n"
    folder = launch(code + hold, max_log=40_000)
    assert eventually((tmp_path / "written").exists)
    assert eventually(lambda: local.tail(folder).endswith("line 19999\n"))
    (tmp_path / "go").touch()
    wait(folder)
    text = local.tail(folder)
    assert text.startswith("line 0\n")
    assert text.endswith("line 19999\n")
    assert len(text) < 40_100
    assert "bytes of output were dropped here" in text
    assert sorted(path.name for path in folder.glob("output*")) == ["output.log"]


def test_the_output_of_a_killed_keeper_is_read_to_its_end(launch: Launch, tmp_path: Path) -> None:
    """The newest output is read from the pieces if no keeper has put them together."""
    code = "import os, time\nfor i in range(5000): print(f'line {i}', flush=True)\n"
    folder = launch(code + "time.sleep(0.3)\n" + OWN_PID + "time.sleep(100)", max_log=8_000)
    number_in(tmp_path / "own.pid")
    os.kill(keeper_of(folder), signal.SIGKILL)
    assert wait(folder).reason == "lost"
    assert local.tail(folder).endswith("line 4999\n")


def test_an_agent_does_not_wait_for_a_reader(launch: Launch) -> None:
    """An agent that writes to stderr and stdout in turn never blocks."""
    code = "import os\nfor _ in range(200): os.write(1, b'x' * 99_999); os.write(2, b'y' * 99_999)"
    folder = launch(code)
    assert wait(folder).exit_code == 0
    sizes = [(folder / name).stat().st_size for name in (keeper.OUTPUT, keeper.ERRORS)]
    assert sizes == [200 * 99_999] * 2


def test_what_an_agent_prints_last_is_kept(launch: Launch) -> None:
    """Output that is still in the pipe when an agent ends is kept, its children's included."""
    folder = launch("import os\nif os.fork(): os.write(1, b'z' * 900_000); os._exit(0)")
    wait(folder)
    assert (folder / keeper.OUTPUT).stat().st_size == 900_000
