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
    """Run each async test on both event loops."""
    return str(request.param)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run a shell script to its end, blocking and on both event loops."""

    def call(body: str, *args: str, **given: Any) -> Completed:
        argv = (str(script(tmp_path / "program", body)), *args)
        options = {"cwd": tmp_path, "env": ENV, "time_limit": PATIENCE, **given}
        if request.param == "sync":
            return program.run(argv, **options)
        return anyio.run(partial(program.run_async, argv, **options), backend=request.param)

    return call


def late(run: Run, folder: Path, body: str) -> Completed:
    """Run a hanging program into its time limit, and a longer one on a slow machine."""
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
    """A program that a signal killed has a negative exit code, not None as after a timeout."""
    assert run("kill -9 $$").exit_code == -9


def test_arguments_arrive_as_they_are(run: Run) -> None:
    """The program gets its arguments unchanged; no shell expands, splits or drops one."""
    args = ["--note=two\nlines", "", "*", "$HOME", "a b", "'\"\\", "--", "naïve 漢字 \U0001f408"]
    done = run("""printf '%s\\0' "$@" """, *args)

    assert done.stdout.decode().split("\0")[:-1] == args


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is specific to Linux")
def test_the_longest_argument_arrives(run: Run) -> None:
    """An argument of 131071 bytes arrives, and one byte more raises CannotStart."""
    longest = "x" * (128 * 1024 - 1)

    assert run('printf %s "$1" | wc -c', longest).stdout.split() == [b"131071"]
    with pytest.raises(program.CannotStart, match="Argument list too long"):
        run("true", longest + "x")


def test_bytes_come_back_as_they_are(run: Run) -> None:
    """Bytes that are not text come back unchanged."""
    done = run(r"printf '\377\376\000\r\nx'; printf '\351' >&2")

    assert done.stdout == b"\xff\xfe\x00\r\nx"
    assert done.stderr == b"\xe9"


def test_a_large_output_does_not_stall(run: Run) -> None:
    """A program that writes 20 MB to both outputs does not block, and all of it comes back."""
    done = run("head -c 20971520 /dev/zero; head -c 20971520 /dev/zero >&2; echo end")

    assert len(done.stdout) == 20 * 1024 * 1024 + 4
    assert len(done.stderr) == 20 * 1024 * 1024
    assert done.stdout.endswith(b"\0end\n")


def test_the_end_of_an_output_without_end_is_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too much output the SDK keeps the end, because the answer is there."""
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
    """`wait_at_most` returns the exit code of a program that was reaped before."""
    with (tmp_path / "out").open("w+b") as out:
        proc = program.start(("sh", "-c", "exit 3"), cwd=tmp_path, env={}, out=out, err=out)
        proc.wait()

        assert program.wait_at_most(proc, 1) == 3


def test_the_end_of_a_program_may_be_told_to_a_debugger_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wait_at_most` returns the exit code although poll() sees no end yet, as under strace."""
    with (tmp_path / "out").open("w+b") as out:
        proc = program.start(("sh", "-c", "exit 3"), cwd=tmp_path, env={}, out=out, err=out)
        monkeypatch.setattr(proc, "poll", lambda: None)

        assert program.wait_at_most(proc, 10) == 3


def test_there_is_no_input(run: Run) -> None:
    """A program that reads its input gets an end of file, not the user's keyboard."""
    assert run("wc -c; read answer || echo none").stdout.split() == [b"0", b"none"]


def test_a_program_has_a_session_of_its_own(run: Run) -> None:
    """A program leads its own session, so that Ctrl-C at the terminal does not reach it."""
    code = "import os; print(os.getpid() == os.getsid(0) == os.getpgid(0))"

    assert run(f'exec {sys.executable} -c "{code}"').stdout == b"True\n"


def test_a_program_runs_where_it_is_told(run: Run, tmp_path: Path) -> None:
    """A program runs in the folder that the caller gives, not in the caller's own."""
    (tmp_path / "inner").mkdir()

    assert run("pwd -P", cwd=tmp_path / "inner").stdout == (
        f"{(tmp_path / 'inner').resolve()}\n".encode()
    )


def test_a_program_has_exactly_the_environment_it_is_given(run: Run) -> None:
    """A program gets exactly the variables that it is given, and none of this process."""
    code = "import os; print(*sorted(os.environ))"
    done = run(f'exec {sys.executable} -c "{code}"', env={**ENV, "GIVEN": "1"})
    of_shell_and_python = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE", "__CF_USER_TEXT_ENCODING"}

    assert set(done.stdout.decode().split()) - of_shell_and_python == {"GIVEN", "PATH"}


def test_what_was_set_before_plumbum_was_imported_can_be_left_out(tmp_path: Path) -> None:
    """No variable from before or after the import of plumbum reaches the program."""
    echo = script(tmp_path / "echo", 'echo "${EARLY-unset} ${LATE-unset} ${GIVEN-unset}"')
    code = f"""
import os
from pathlib import Path
from spec_kitty_client.transports import program
os.environ["LATE"] = "1"
env = {{"PATH": os.environ["PATH"], "GIVEN": "1"}}
print(program.run([{str(echo)!r}], cwd=Path(), env=env, time_limit=30).stdout.decode())
"""
    output = subprocess.check_output(
        [sys.executable, "-c", code], env={**os.environ, "EARLY": "1"}, text=True
    )

    assert output.split() == ["unset", "unset", "1"]


def test_the_time_limit_ends_a_program_with_its_children(run: Run, tmp_path: Path) -> None:
    """The time limit also ends a grandchild that ignores SIGTERM and holds the output open."""
    with ended_at_last(tmp_path):
        done = late(run, tmp_path, hanging(tmp_path))

        assert done.exit_code is None
        assert done.stdout == b"begun\n"
        assert all(map(gone, pids(tmp_path)))


def test_a_program_that_ignores_the_request_is_ended(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK sends SIGTERM first, and kills a program that ignores it."""
    monkeypatch.setattr(program, "GRACE", 0.3)
    with ended_at_last(tmp_path):
        done = late(run, tmp_path, hanging(tmp_path, on_term=f"echo asked > {tmp_path}/asked"))

        assert done.exit_code is None
        assert written(tmp_path / "asked")
        assert all(map(gone, pids(tmp_path)))


def test_a_program_may_tidy_up_in_its_last_moment(run: Run, tmp_path: Path) -> None:
    """A program may clean up on SIGTERM, but its call counts as timed out."""
    tidy = f"echo tidied > {tmp_path}/tidied; exit 0"
    with ended_at_last(tmp_path):
        done = late(run, tmp_path, hanging(tmp_path, on_term=tidy))

        assert done.exit_code is None
        assert written(tmp_path / "tidied")


def test_a_child_that_holds_the_output_does_not_keep_anybody_waiting(
    run: Run, tmp_path: Path
) -> None:
    """A call ends with the program itself; a child that holds its output runs on."""
    child = f"sh -c 'echo $$ > {tmp_path}/child.pid; exec sleep 60' &"
    with ended_at_last(tmp_path):
        done = run(f"{child} while [ ! -s {tmp_path}/child.pid ]; do sleep 0.02; done; echo done")

        assert (done.exit_code, done.stdout) == (0, b"done\n")
        os.kill(int((tmp_path / "child.pid").read_text()), 0)  # raises if it were gone


@pytest.mark.parametrize("kind", ["none", "file"])
def test_a_folder_that_is_none_is_named(run: Run, tmp_path: Path, kind: str) -> None:
    """CannotStart for a missing folder names the folder and not the program."""
    (tmp_path / "file").touch()

    with pytest.raises(program.CannotStart) as e:
        run("true", cwd=tmp_path / kind)
    assert str(tmp_path / kind) in str(e.value)
    assert str(tmp_path / "program") not in str(e.value)


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    """CannotStart names the program, and has the system's reason."""
    with pytest.raises(program.CannotStart, match="none cannot be started: No such file"):
        program.run([str(tmp_path / "none")], cwd=tmp_path, env=ENV, time_limit=PATIENCE)


def test_ctrl_c_ends_a_program_with_its_children(tmp_path: Path) -> None:
    """Ctrl-C ends the program with its children, and KeyboardInterrupt reaches the caller."""
    argv = [str(script(tmp_path / "program", hanging(tmp_path)))]

    with ended_at_last(tmp_path):
        with (
            interrupted(lambda: started(tmp_path), KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            program.run(argv, cwd=tmp_path, env=ENV, time_limit=PATIENCE)

        assert all(map(gone, pids(tmp_path)))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the SDK waits differently without pidfd")
def test_ctrl_c_while_a_program_is_being_ended(tmp_path: Path) -> None:
    """Ctrl-C after SIGTERM was sent raises KeyboardInterrupt, and leaves no process behind."""
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
    """A cancelled task ends its program with its children, and the cancellation goes on."""
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
    """A cancelled task kills a program that ignores SIGTERM."""
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
    """Waiting for a program does not block the event loop."""
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
    """45 programs run at once, more than an event loop has worker threads."""
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
