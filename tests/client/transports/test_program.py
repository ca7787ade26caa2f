"""Tests of `spec_kitty_client.transports.program`, with real processes."""

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from spec_kitty_client.transports import Completed, program
from tests.client.transports.scripts import (
    PATIENCE,
    ended_at_last,
    eventually,
    gone,
    hanging,
    interrupted,
    pids,
    script,
    started,
    written,
)

Run = Callable[..., Completed]
ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run what is async on both event loops."""
    return str(request.param)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run a shell script to its end, in each of the ways there are."""

    def call(body: str, *args: str, **given: Any) -> Completed:
        argv = (str(script(tmp_path / "program", body)), *args)
        options = {"cwd": tmp_path, "env": ENV, "time_limit": PATIENCE, **given}
        if request.param == "sync":
            return program.run(argv, **options)
        return anyio.run(partial(program.run_async, argv, **options), backend=request.param)

    return call


def late(run: Run, folder: Path, body: str) -> Completed:
    """Run a program that hangs; give it longer on a machine that is too slow to start it."""
    for time_limit in (0.4, 2.0, 10.0):
        done = run(body, time_limit=time_limit)
        if started(folder):
            return done
    pytest.fail("the program did not start")


def test_a_program_is_run_to_its_end(run: Run) -> None:
    """Both outputs and the exit code come back with the whole command line."""
    done = run("echo out; echo err >&2; exit 3", "a", "b")

    assert (done.exit_code, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert done.argv[1:] == ("a", "b")
    assert Path(done.argv[0]).name == "program"
    assert done.time_limit == PATIENCE


def test_a_signal_is_a_negative_exit_code(run: Run) -> None:
    """A program that was killed by somebody else did not run into its time limit."""
    assert run("kill -9 $$").exit_code == -9


def test_arguments_arrive_as_they_are(run: Run) -> None:
    """No shell looks at them, and none is split, joined or dropped."""
    args = ["--note=two\nlines", "", "*", "$HOME", "a b", "'\"\\", "--", "naïve 漢字 \U0001f408"]
    done = run("""printf '%s\\0' "$@" """, *args)

    assert done.stdout.decode().split("\0")[:-1] == args


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
def test_the_longest_argument_arrives(run: Run) -> None:
    """The limit that commands keep to is the system's own: one byte more cannot be sent."""
    longest = "x" * (128 * 1024 - 1)

    assert run('printf %s "$1" | wc -c', longest).stdout.split() == [b"131071"]
    with pytest.raises(program.CannotStart, match="Argument list too long"):
        run("true", longest + "x")


def test_bytes_come_back_as_they_are(run: Run) -> None:
    """What is no text is not lost and not replaced."""
    done = run(r"printf '\377\376\000\r\nx'; printf '\351' >&2")

    assert done.stdout == b"\xff\xfe\x00\r\nx"
    assert done.stderr == b"\xe9"


def test_a_large_output_does_not_stall(run: Run) -> None:
    """No pipe fills up: 20 MB on both outputs come back whole."""
    done = run("head -c 20971520 /dev/zero; head -c 20971520 /dev/zero >&2; echo end")

    assert len(done.stdout) == 20 * 1024 * 1024 + 4
    assert len(done.stderr) == 20 * 1024 * 1024
    assert done.stdout.endswith(b"\0end\n")


def test_the_end_of_an_output_without_end_is_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is at the end, so the beginning is what a flood loses."""
    monkeypatch.setattr(program, "LARGEST", 10)

    assert run("echo 0123456789; echo the end").stdout == b"9\nthe end\n"


def test_a_caller_with_many_open_files_can_wait(tmp_path: Path) -> None:
    """An orchestrator that holds a thousand files and sockets can still call its host."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("this system does not allow so many open files")
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
        for _ in range(1100):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        argv = [str(script(tmp_path / "program", "exit 3"))]

        assert program.run(argv, cwd=tmp_path, env=ENV, time_limit=PATIENCE).exit_code == 3


def test_the_end_of_a_program_may_have_been_seen_already(tmp_path: Path) -> None:
    """Who waits gets the exit code also when another thread has signalled it, and reaped it."""
    with (tmp_path / "out").open("w+b") as out:
        proc = program.start(("sh", "-c", "exit 3"), cwd=tmp_path, env={}, out=out, err=out)
        proc.wait()

        assert program.wait_at_most(proc, 1) == 3


def test_the_end_of_a_program_may_be_told_to_a_debugger_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under strace a program that has ended is not taken for one that takes too long."""
    with (tmp_path / "out").open("w+b") as out:
        proc = program.start(("sh", "-c", "exit 3"), cwd=tmp_path, env={}, out=out, err=out)
        monkeypatch.setattr(proc, "poll", lambda: None)

        assert program.wait_at_most(proc, 10) == 3


def test_there_is_no_input(run: Run) -> None:
    """A program that asks a question gets the end of the file and not the user's keyboard."""
    assert run("wc -c; read answer || echo none").stdout.split() == [b"0", b"none"]


def test_a_program_has_a_session_of_its_own(run: Run) -> None:
    """Ctrl-C at the terminal does not reach it, and it can be ended with its children."""
    code = "import os; print(os.getpid() == os.getsid(0) == os.getpgid(0))"

    assert run(f'exec {sys.executable} -c "{code}"').stdout == b"True\n"


def test_a_program_runs_where_it_is_told(run: Run, tmp_path: Path) -> None:
    """The folder is the caller's choice, not where the caller runs."""
    (tmp_path / "inner").mkdir()

    assert run("pwd -P", cwd=tmp_path / "inner").stdout == (
        f"{(tmp_path / 'inner').resolve()}\n".encode()
    )


def test_a_program_has_exactly_the_environment_it_is_given(run: Run) -> None:
    """Nothing of this process's own environment gets in, whenever it was set."""
    code = "import os; print(*sorted(os.environ))"
    done = run(f'exec {sys.executable} -c "{code}"', env={**ENV, "GIVEN": "1"})
    of_shell_and_python = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE", "__CF_USER_TEXT_ENCODING"}

    assert set(done.stdout.decode().split()) - of_shell_and_python == {"GIVEN", "PATH"}


def test_what_was_set_before_plumbum_was_imported_can_be_left_out(tmp_path: Path) -> None:
    """What plumbum remembers of the environment it was imported in is not brought back."""
    echo = script(tmp_path / "echo", 'echo "${EARLY-unset} ${LATE-unset} ${GIVEN-unset}"')
    code = f"""
import os
from pathlib import Path
from spec_kitty_client.transports import program
os.environ["LATE"] = "1"
env = {{"PATH": os.environ["PATH"], "GIVEN": "1"}}
print(program.run([{str(echo)!r}], cwd=Path(), env=env, time_limit=30).stdout.decode())
"""
    said = subprocess.check_output(
        [sys.executable, "-c", code], env={**os.environ, "EARLY": "1"}, text=True
    )

    assert said.split() == ["unset", "unset", "1"]


def test_the_time_limit_ends_a_program_with_its_children(run: Run, tmp_path: Path) -> None:
    """A grandchild that ignores SIGTERM and holds the output open neither stalls nor survives."""
    with ended_at_last(tmp_path):
        done = late(run, tmp_path, hanging(tmp_path))

        assert done.exit_code is None
        assert done.stdout == b"begun\n"
        assert all(map(gone, pids(tmp_path)))


def test_a_program_that_ignores_the_request_is_ended(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a moment between asking and ending, and then it is over."""
    monkeypatch.setattr(program, "GRACE", 0.3)
    with ended_at_last(tmp_path):
        done = late(run, tmp_path, hanging(tmp_path, on_term=f"echo asked > {tmp_path}/asked"))

        assert done.exit_code is None
        assert written(tmp_path / "asked")
        assert all(map(gone, pids(tmp_path)))


def test_a_program_may_tidy_up_in_its_last_moment(run: Run, tmp_path: Path) -> None:
    """Ending begins with SIGTERM, so a host can release its locks; it is late all the same."""
    tidy = f"echo tidied > {tmp_path}/tidied; exit 0"
    with ended_at_last(tmp_path):
        done = late(run, tmp_path, hanging(tmp_path, on_term=tidy))

        assert done.exit_code is None
        assert written(tmp_path / "tidied")


def test_a_child_that_holds_the_output_does_not_keep_anybody_waiting(
    run: Run, tmp_path: Path
) -> None:
    """The end of the program itself is what is waited for, and what it leaves goes on."""
    child = f"sh -c 'echo $$ > {tmp_path}/child.pid; exec sleep 60' &"
    with ended_at_last(tmp_path):
        done = run(f"{child} while [ ! -s {tmp_path}/child.pid ]; do sleep 0.02; done; echo done")

        assert (done.exit_code, done.stdout) == (0, b"done\n")
        os.kill(int((tmp_path / "child.pid").read_text()), 0)  # raises if it were gone


@pytest.mark.parametrize("place", ["none", "file"])
def test_a_folder_that_is_none_is_named(run: Run, tmp_path: Path, place: str) -> None:
    """Nothing was started, and the text is about the folder and not about the program."""
    (tmp_path / "file").touch()

    with pytest.raises(program.CannotStart) as e:
        run("true", cwd=tmp_path / place)
    assert str(tmp_path / place) in str(e.value)
    assert str(tmp_path / "program") not in str(e.value)


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    """What the system says about it is in the text."""
    with pytest.raises(program.CannotStart, match="none cannot be started: No such file"):
        program.run([str(tmp_path / "none")], cwd=tmp_path, env=ENV, time_limit=PATIENCE)


def test_ctrl_c_ends_a_program_with_its_children(tmp_path: Path) -> None:
    """An interrupted caller leaves nothing behind and is still interrupted."""
    argv = [str(script(tmp_path / "program", hanging(tmp_path)))]

    with ended_at_last(tmp_path):
        with (
            interrupted(lambda: started(tmp_path), KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            program.run(argv, cwd=tmp_path, env=ENV, time_limit=PATIENCE)

        assert all(map(gone, pids(tmp_path)))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the wait begins otherwise there")
def test_ctrl_c_while_a_program_is_being_ended(tmp_path: Path) -> None:
    """Impatience with a host that takes its time to end shortens it, and leaves nothing behind."""
    body = hanging(tmp_path, on_term=f"echo asked > {tmp_path}/asked")
    argv = [str(script(tmp_path / "program", body))]

    with ended_at_last(tmp_path):
        with (
            interrupted(lambda: written(tmp_path / "asked"), KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            program.run(argv, cwd=tmp_path, env=ENV, time_limit=0.4)

        assert all(map(gone, pids(tmp_path)))


@pytest.mark.anyio
async def test_cancellation_ends_a_program_with_its_children(tmp_path: Path) -> None:
    """A cancelled task leaves nothing behind, and its cancellation is not swallowed."""
    argv = [str(script(tmp_path / "program", hanging(tmp_path)))]
    with ended_at_last(tmp_path):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    partial(program.run_async, argv, cwd=tmp_path, env=ENV, time_limit=PATIENCE)
                )
                running = await anyio.to_thread.run_sync(pids, tmp_path)
                scope.cancel()

        assert scope.cancelled_caught
        assert all(map(gone, running))


@pytest.mark.anyio
async def test_a_stubborn_program_is_ended_by_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancellation waits for the end of what it cancels, but not for ever."""
    monkeypatch.setattr(program, "GRACE", 0.3)
    body = hanging(tmp_path, on_term=f"echo asked > {tmp_path}/asked")
    argv = [str(script(tmp_path / "program", body))]
    with ended_at_last(tmp_path):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                partial(program.run_async, argv, cwd=tmp_path, env=ENV, time_limit=PATIENCE)
            )
            running = await anyio.to_thread.run_sync(pids, tmp_path)
            tasks.cancel_scope.cancel()

        assert written(tmp_path / "asked")
        assert all(map(gone, running))


@pytest.mark.anyio
async def test_other_tasks_run_meanwhile(tmp_path: Path) -> None:
    """The program ends only when another task lets it: the event loop is not blocked."""
    body = f"echo > {tmp_path}/started; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
    argv = [str(script(tmp_path / "program", body))]
    ended: list[Completed] = []

    async def call() -> None:
        ended.append(await program.run_async(argv, cwd=tmp_path, env=ENV, time_limit=PATIENCE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        while not (tmp_path / "started").exists():  # noqa: ASYNC110
            await anyio.sleep(0.01)
        (tmp_path / "go").touch()

    assert [e.exit_code for e in ended] == [0]


@pytest.mark.anyio
async def test_many_programs_run_at_once(tmp_path: Path) -> None:
    """More calls than an event loop has worker threads do not wait for one another."""
    number = 45  # anyio has 40 threads
    (tmp_path / "started").mkdir()
    os.mkfifo(tmp_path / "go")
    body = f": > {tmp_path}/started/$$; read x < {tmp_path}/go; exit 0"
    argv = [str(script(tmp_path / "program", body))]
    ended: list[int | None] = []

    async def call() -> None:
        done = await program.run_async(argv, cwd=tmp_path, env=ENV, time_limit=PATIENCE)
        ended.append(done.exit_code)

    def all_started() -> bool:
        return len(list((tmp_path / "started").iterdir())) == number

    async with anyio.create_task_group() as tasks:
        for _ in range(number):
            tasks.start_soon(call)
        together = await anyio.to_thread.run_sync(eventually, all_started)
        (tmp_path / "go").write_text("\n" * number)

    assert together
    assert ended == [0] * number
