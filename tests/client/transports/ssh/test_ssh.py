"""Tests of `spec_kitty_client.transports.ssh`, with a real sshd on this machine."""

import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import anyio
import anyio.to_thread
import psutil
import pytest

from spec_kitty_client.errors import HostNotFound, InvalidCall
from spec_kitty_client.transports import Completed, process, program
from spec_kitty_client.transports.git import GIT_SET
from spec_kitty_client.transports.ssh import AsyncSshTransport, SshTransport
from spec_kitty_client.transports.ssh import client as ssh_client
from spec_kitty_client.transports.ssh import script as remote
from spec_kitty_client.transports.warm import WarmTransport
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
from tests.client.transports.ssh.sshd import Server, free_port, serving
from tests.client.transports.warm.warmhost import install

Run = Callable[..., Completed]
TELL = """
import json, os, sys
print(json.dumps({"args": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}))
"""
UNSET = ["SPECIFY_REPO_ROOT", "SPEC_KITTY_TEST_MODE", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each async test on both event loops."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run an sshd."""
    with serving(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="module")
def without_setsid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run an sshd as on macOS: there is no setsid, and sh is bash."""
    tools = tmp_path_factory.mktemp("tools")
    for name in ("head", "mktemp", "rm", "tail", "sleep", "bash"):
        if (where := shutil.which(name)) is None:
            pytest.skip(f"{name} is not installed")
        (tools / ("sh" if name == "bash" else name)).symlink_to(where)
    folder = tmp_path_factory.mktemp("sshd")
    with serving(folder, {"PATH": str(tools)}) as running:
        yield running


@pytest.fixture(params=["setsid", "job control"])
def either(request: pytest.FixtureRequest) -> Server:
    """Return a server that ends a host with its children by setsid, or by job control."""
    name = "server" if request.param == "setsid" else "without_setsid"
    found: Server = request.getfixturevalue(name)
    return found


@pytest.fixture
def run(server: Server, tmp_path: Path) -> Run:
    """Call the host of a test."""
    return partial(call, "sync", server, tmp_path)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def each(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Run:
    """Call the host of a test, blocking and on both event loops."""
    return partial(call, request.param, server, tmp_path)


@pytest.fixture
def host(tmp_path: Path) -> Callable[..., Path]:
    """Write a program that acts as the host."""
    return partial(script, tmp_path / "bin" / "spec-kitty")


@pytest.fixture
def rc(server: Server) -> Iterator[Path]:
    """Return the file that the login shell reads first."""
    path = server.home / ".bashrc"
    yield path
    path.unlink(missing_ok=True)


def call(
    backend: str,
    server: Server,
    folder: Path,
    *args: str,
    time_limit: float = PATIENCE,
    **given: Any,
) -> Completed:
    """Call the host of a test, blocking or on an event loop."""
    login = server.login(**{"executable": str(folder / "bin/spec-kitty"), "repo": folder, **given})
    if backend == "sync":
        return SshTransport(**login).run(args, time_limit=time_limit)
    waiting = partial(AsyncSshTransport(**login).run, args, time_limit=time_limit)
    return anyio.run(waiting, backend=backend)


def transport_for(server: Server, folder: Path, **given: Any) -> SshTransport:
    """Return a transport to the host of a test."""
    executable = str(folder / "bin/spec-kitty")
    return SshTransport(**server.login(executable=executable, repo=folder, **given))


def clients() -> list[psutil.Process]:
    """Return the ssh clients of this process."""
    return [p for p in psutil.Process().children() if p.name() == "ssh"]


# Arguments and output.


def test_a_host_is_run_to_its_end(each: Run, host: Callable[..., Path]) -> None:
    """The host's exit code and outputs come back, without a byte of ssh or of the shell."""
    host(r"printf 'a\377\376\000\r\nx'; printf 'e\351' >&2; exit 3")
    done = each()

    assert (done.exit_code, done.stdout, done.stderr) == (3, b"a\xff\xfe\0\r\nx", b"e\xe9")
    assert done.time_limit == PATIENCE


@pytest.mark.parametrize("code", [126, 127, 255])
def test_every_exit_code_is_that_of_the_host(
    server: Server, host: Callable[..., Path], tmp_path: Path, code: int
) -> None:
    """A host may end with the exit codes that ssh and shells use for their own errors."""
    host(f"echo here; exit {code}")
    done = transport_for(server, tmp_path).run((), time_limit=PATIENCE)

    assert (done.exit_code, done.stdout) == (code, b"here\n")


def test_a_host_that_was_killed_has_the_code_that_shells_give_it(
    server: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """A host that a signal killed has exit code 128 + 9, not None as after a timeout."""
    host("kill -9 $$")

    assert transport_for(server, tmp_path).run((), time_limit=PATIENCE).exit_code == 128 + 9


def test_arguments_arrive_as_they_are(run: Run, host: Callable[..., Path]) -> None:
    """The host gets its arguments unchanged; no shell expands, splits or drops one."""
    args = ["--note=two\nlines\n", "", "*", "$HOME", "~", "a b", "'\"\\'", "`id`", "--", "-e", "!x"]
    args += ["naïve 漢字 \U0001f408", "tab\tcr\r", "\\n%s"]
    host(TELL, sys.executable)

    assert json.loads(run(*args).stdout)["args"] == args


def test_large_arguments_arrive(each: Run, host: Callable[..., Path]) -> None:
    """Arguments arrive whose sum is above the system's limit for one argument."""
    args = ["'" * 120_000, "é" * 30_000]
    host(TELL, sys.executable)

    assert json.loads(each(*args).stdout)["args"] == args


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is specific to Linux")
def test_an_argument_that_no_program_can_be_given(
    server: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """An argument above the remote system's limit raises HostNotFound with its reason."""
    host("true")

    with pytest.raises(HostNotFound, match="Argument list too long"):
        transport_for(server, tmp_path).run(["x" * 131_072], time_limit=PATIENCE)


def test_a_nul_is_not_lost_on_the_way() -> None:
    """The SDK refuses an argument with a NUL character."""
    with pytest.raises(InvalidCall, match="NUL"):
        SshTransport("box").run(["a\0b"], time_limit=1)


def test_a_large_output_does_not_stall(server: Server, host: Callable[..., Path]) -> None:
    """5 MB on both outputs come back whole."""
    path = host("head -c 5242880 /dev/zero; head -c 5242880 /dev/zero >&2; echo end")
    transport = SshTransport(**server.login(executable=str(path)))
    done = transport.run((), time_limit=PATIENCE)

    assert (len(done.stdout), len(done.stderr)) == (5242884, 5242880)


def test_the_end_of_an_output_without_end_is_kept(
    server: Server, host: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too much output the remote script keeps the end, because the answer is there."""
    monkeypatch.setattr(remote, "LARGEST", 10)
    monkeypatch.setattr(ssh_client, "LARGEST", 10)
    host("echo 0123456789; echo the end; echo 0123456789 >&2; echo no end >&2")
    done = transport_for(server, tmp_path).run((), time_limit=PATIENCE)

    assert (done.stdout, done.stderr) == (b"9\nthe end\n", b"89\nno end\n")


def test_there_is_no_input(run: Run, host: Callable[..., Path]) -> None:
    """A host that reads its input gets an end of file, not the rest of the remote script."""
    host("wc -c; read answer || echo none")

    assert run().stdout.split() == [b"0", b"none"]


def test_a_child_that_holds_the_output_does_not_keep_anybody_waiting(
    run: Run, host: Callable[..., Path], tmp_path: Path
) -> None:
    """A call ends with the host itself; a child that holds its output runs on."""
    child = f"sh -c 'echo $$ > {tmp_path}/child.pid; exec sleep 60' &"
    host(f"{child} while [ ! -s {tmp_path}/child.pid ]; do sleep 0.02; done; echo done")
    with ended_at_last(tmp_path):
        done = run()

        assert (done.exit_code, done.stdout) == (0, b"done\n")
        os.kill(int((tmp_path / "child.pid").read_text()), 0)  # raises if it were gone


def test_what_a_login_shell_says_is_not_part_of_the_answer(
    server: Server, host: Callable[..., Path], tmp_path: Path, rc: Path
) -> None:
    """The output of a .bashrc is not part of the host's answer."""
    rc.write_text("echo hello; echo hello >&2\n")
    host("echo out; echo err >&2")
    done = transport_for(server, tmp_path).run((), time_limit=PATIENCE)

    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_a_person_can_run_the_call_again(
    server: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """The argv of a call is an ssh command line that does the same."""
    host("echo $1; pwd -P")
    transport = transport_for(server, tmp_path)
    done = transport.run(["it's"], time_limit=PATIENCE)
    options = [word for o in transport.ssh_options for word in ("-o", o)]
    again = subprocess.check_output([done.argv[0], *options, *done.argv[1:]])

    assert "cd " in done.argv[-1]
    assert again == done.stdout == f"it's\n{tmp_path.resolve()}\n".encode()


# The environment of a host.


def test_the_environment_of_a_host(run: Run, host: Callable[..., Path]) -> None:
    """The remote host gets the environment of the contract, with the caller's additions."""
    executable = host(TELL, sys.executable)
    given = {"GIVEN": "it's\n$HOME", "NO_COLOR": "0", **dict.fromkeys(UNSET, "x")}
    env = json.loads(run(env=given).stdout)["env"]

    assert env.items() >= process.SET.items()
    assert not env.keys() & set(UNSET)
    assert env["GIVEN"] == given["GIVEN"]
    assert env["GIT_SSH_COMMAND"] == "ssh -oBatchMode=yes"
    assert env["PATH"].split(":")[0] == str(executable.parent)
    assert len(env["PATH"].split(":")) > 1
    assert not [name for name in env if name.startswith("k_")]


def test_nothing_of_the_environment_here_gets_there(
    server: Server, host: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable of this process reaches the remote host."""
    monkeypatch.setenv("FROM_HERE", "1")
    host(TELL, sys.executable)
    done = transport_for(server, tmp_path).run((), time_limit=PATIENCE)

    assert "FROM_HERE" not in json.loads(done.stdout)["env"]


@pytest.mark.parametrize("kind", [".gitconfig", ".config/git/config"])
def test_a_home_for_the_host_alone(
    server: Server, host: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    """With `home` the remote host has another HOME, and git keeps the user's settings."""
    host(TELL, sys.executable)
    settings = server.home / kind
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.touch()
    try:
        done = transport_for(server, tmp_path, home="/pri vate").run((), time_limit=PATIENCE)
    finally:
        settings.unlink()
    env = json.loads(done.stdout)["env"]

    assert env["HOME"] == "/pri vate"
    assert env["SPEC_KITTY_HOME"] == "/pri vate/.spec-kitty"
    assert env["GIT_CONFIG_GLOBAL"] == str(settings)


def test_choices_of_the_user_are_kept(
    server: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """The SDK keeps a GIT_CONFIG_GLOBAL and a GIT_SSH_COMMAND that the caller gives."""
    host(TELL, sys.executable)
    own = {"GIT_CONFIG_GLOBAL": "/etc/mine", "GIT_SSH_COMMAND": "ssh -i id"}
    done = transport_for(server, tmp_path, env=own, home="/private").run((), time_limit=PATIENCE)

    assert json.loads(done.stdout)["env"].items() >= own.items()


@pytest.mark.parametrize("name", ["A B", "", "A=B", "1A", "Ä", "A;id", "A\n"])
def test_a_name_that_no_shell_can_set_is_refused(name: str) -> None:
    """The SDK refuses the name of a variable that a shell cannot set."""
    with pytest.raises(InvalidCall, match="env: a shell cannot set"):
        SshTransport("box", env={name: "x"})


def test_the_environment_cannot_be_read_by_others(server: Server, tmp_path: Path) -> None:
    """The value of a variable is in no command line of a process."""
    executable = script(tmp_path / "bin/spec-kitty", f"{sys.executable} {tmp_path}/look.py")
    (tmp_path / "look.py").write_text(
        "import psutil\nprint([p.info['cmdline'] for p in psutil.process_iter(['cmdline'])])\n"
    )
    env = {"TOKEN": "SENTINEL"}
    transport = SshTransport(**server.login(executable=str(executable), env=env))
    seen = transport.run(["shown"], time_limit=PATIENCE).stdout

    assert b"shown" in seen
    assert b"SENTINEL" not in seen


# Finding the host.


def test_a_host_is_found_on_the_path_there(
    server: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """The SDK looks for the host on the PATH in `env`, also if only the host is there."""
    executable = host("echo here")
    env = {"PATH": str(executable.parent)}
    done = SshTransport(**server.login(env=env)).run((), time_limit=PATIENCE)

    assert done.stdout == b"here\n"


def test_what_is_not_absolute_begins_at_the_login_folder(
    server: Server, host: Callable[..., Path]
) -> None:
    """A relative path, or one with ``~``, begins at the login folder, as with scp."""
    executable = host(TELL, sys.executable)
    home = pwd.getpwuid(os.getuid()).pw_dir  # not HOME, which tests may change
    away = os.path.relpath(executable, home)
    for given in (away, f"~/{away}"):
        login = server.login(executable=given, repo=str(Path(given).parent))
        answer = json.loads(SshTransport(**login).run((), time_limit=PATIENCE).stdout)

        assert answer["cwd"] == str(executable.parent.resolve())


def test_a_host_of_several_words(server: Server, tmp_path: Path) -> None:
    """A host may be a module of an interpreter."""
    (tmp_path / "a_host.py").write_text("import sys; print(sys.argv[1:])")
    executable = (sys.executable, "-m", "a_host")
    transport = SshTransport(**server.login(executable=executable, repo=tmp_path))

    assert transport.run(["x y"], time_limit=PATIENCE).stdout == b"['x y']\n"


@pytest.mark.parametrize("executable", ["no-such-kitty", "/none/spec-kitty", "it's none"])
def test_a_missing_host_says_what_to_do(run: Run, executable: str) -> None:
    """HostNotFound names the missing host and the machine, and advises `executable=`."""
    with pytest.raises(HostNotFound, match="executable=") as e:
        run(executable=executable)

    assert repr(executable) in str(e.value)
    assert "127.0.0.1" in str(e.value)


def test_a_file_that_is_not_executable_is_no_host(run: Run, host: Callable[..., Path]) -> None:
    """A file that is not executable, or a folder, raises HostNotFound like a missing host."""
    host("true").chmod(0o644)

    with pytest.raises(HostNotFound, match="There is no program"):
        run()
    with pytest.raises(HostNotFound, match="There is no program"):
        run(executable="/tmp")


def test_a_folder_that_is_none_is_named(each: Run, host: Callable[..., Path]) -> None:
    """HostNotFound names the repository's folder if that is missing."""
    host("true")

    with pytest.raises(HostNotFound, match=r"no folder /no/such on .* Check `repo`"):
        each(repo="/no/such")


def test_a_host_whose_interpreter_is_gone_cannot_be_started(
    either: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """A host whose interpreter is missing raises HostNotFound, not an error about its answer."""
    executable = host("true", "/none/python")

    with pytest.raises(HostNotFound, match="cannot be started on") as e:
        transport_for(either, tmp_path).run((), time_limit=PATIENCE)
    assert str(executable) in str(e.value)


# The end of a call.


def late(transport: SshTransport, folder: Path) -> Completed:
    """Run a hanging host into its time limit, and a longer one on a slow machine."""
    for time_limit in (1.0, 3.0, 10.0):
        done = transport.run((), time_limit=time_limit)
        if started(folder):
            return done
    pytest.fail("the host did not start")


def test_the_time_limit_ends_a_host_with_its_children(
    either: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """The time limit ends a host with its children, and the call keeps their output."""
    host(hanging(tmp_path))
    with ended_at_last(tmp_path):
        done = late(transport_for(either, tmp_path), tmp_path)

        assert (done.exit_code, done.stdout) == (None, b"begun\n")
        assert all(map(gone, pids(tmp_path)))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_time_limit_on_an_event_loop(
    server: Server, host: Callable[..., Path], tmp_path: Path, backend: str
) -> None:
    """The time limit of an async call ends a host with its children."""
    host(hanging(tmp_path))
    login = server.login(executable=str(tmp_path / "bin/spec-kitty"))
    with ended_at_last(tmp_path):
        waiting = partial(AsyncSshTransport(**login).run, (), time_limit=1.5)
        done = anyio.run(waiting, backend=backend)

        assert (done.exit_code, done.stdout) == (None, b"begun\n")
        assert all(map(gone, pids(tmp_path)))


def test_a_host_that_ignores_the_request_is_ended(
    either: Server, host: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remote script sends SIGTERM first, and kills a host that ignores it."""
    monkeypatch.setattr(remote, "GRACE", 0.3)
    host(hanging(tmp_path, on_term=f"echo asked > {tmp_path}/asked"))
    with ended_at_last(tmp_path):
        done = late(transport_for(either, tmp_path), tmp_path)

        assert (done.exit_code, done.stdout) == (None, b"begun\n")
        assert written(tmp_path / "asked")
        assert all(map(gone, pids(tmp_path)))


def test_nothing_of_ours_is_left_either(
    either: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """A call leaves no shell, no timer and no file on the remote machine."""
    mine = tmp_path / "tmp"
    mine.mkdir()
    host("true")
    limit = 987_654.0
    for _ in range(3):
        transport_for(either, tmp_path, env={"TMPDIR": str(mine)}).run((), time_limit=limit)

    def idle() -> bool:
        clock = str(int(min(limit, program.LONGEST_WAIT)) + remote._ITS_OWN_CLOCK)
        return not any(clock in (p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))

    assert eventually(idle)
    assert eventually(lambda: not either.process.children())
    assert not list(mine.iterdir())


def test_the_other_side_has_a_clock_of_its_own(
    either: Server, host: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remote script ends the host by a timer of its own, also if the client does not."""
    monkeypatch.setattr(remote, "_ITS_OWN_CLOCK", 1 - int(PATIENCE))
    host(hanging(tmp_path))
    with ended_at_last(tmp_path):
        done = transport_for(either, tmp_path).run((), time_limit=PATIENCE)

        assert done.exit_code == 143
        assert all(map(gone, pids(tmp_path)))


def test_ctrl_c_ends_a_host_with_its_children(
    server: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """Ctrl-C ends the remote host with its children, and KeyboardInterrupt goes on."""
    host(hanging(tmp_path))
    with ended_at_last(tmp_path):
        with (
            interrupted(lambda: started(tmp_path), KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            transport_for(server, tmp_path).run((), time_limit=PATIENCE)

        assert all(map(gone, pids(tmp_path)))
        assert not clients()


def test_ctrl_c_while_a_host_is_being_ended(
    server: Server, host: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after SIGTERM was sent ends the ssh client; the remote script ends the host."""
    monkeypatch.setattr(remote, "GRACE", 1.0)
    host(hanging(tmp_path, on_term=f"echo asked > {tmp_path}/asked"))
    with ended_at_last(tmp_path):
        with (
            interrupted(lambda: written(tmp_path / "asked"), KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            late(transport_for(server, tmp_path), tmp_path)

        assert not clients()
        assert all(map(gone, pids(tmp_path)))


@pytest.mark.anyio
async def test_cancellation_ends_a_host_with_its_children(
    server: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """A cancelled task ends the remote host with its children, and the cancellation goes on."""
    transport = AsyncSshTransport(**server.login(executable=str(host(hanging(tmp_path)))))
    with ended_at_last(tmp_path):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(transport.run, (), time_limit=PATIENCE))
                running = await anyio.to_thread.run_sync(pids, tmp_path)
                scope.cancel()

        assert scope.cancelled_caught
        assert all(map(gone, running))
        assert not clients()


def during(folder: Path, what: Callable[[], None]) -> Callable[[], None]:
    """Return a function for a thread: act as soon as the hanging host is running."""

    def work() -> None:
        if eventually(lambda: started(folder)):
            what()

    return work


def kill_client() -> None:
    """Kill the ssh client of this process."""
    for client in clients():
        client.kill()


@pytest.mark.parametrize("how", ["connection", "client"])
def test_a_connection_that_is_lost_is_no_answer(
    either: Server, host: Callable[..., Path], tmp_path: Path, how: str
) -> None:
    """A call whose connection is lost has exit code 255 and no output, and its host ends."""
    from threading import Thread

    host(hanging(tmp_path))
    lose = either.cut if how == "connection" else kill_client
    with ended_at_last(tmp_path):
        thread = Thread(target=during(tmp_path, lose))
        thread.start()
        done = transport_for(either, tmp_path).run((), time_limit=PATIENCE)
        thread.join()

        assert (done.exit_code, done.stdout) == (255, b"")
        assert how == "client" or b"closed" in done.stderr or b"reset" in done.stderr
        assert all(map(gone, pids(tmp_path)))


def test_the_death_of_the_caller_ends_a_host(
    server: Server, host: Callable[..., Path], tmp_path: Path
) -> None:
    """The remote host ends with its children when the caller is killed."""
    executable = str(host(hanging(tmp_path)))
    login = {k: str(v) if k == "keyfile" else v for k, v in server.login().items()}
    code = f"""
from spec_kitty_client.transports.ssh import SshTransport
SshTransport(**{login!r}, executable={executable!r}).run((), time_limit=60)
"""
    with ended_at_last(tmp_path), subprocess.Popen([sys.executable, "-c", code]) as caller:
        running = pids(tmp_path)
        caller.send_signal(signal.SIGKILL)

        assert all(map(gone, running))


def test_a_connection_that_is_lost_before_the_first_word(
    server: Server, host: Callable[..., Path], tmp_path: Path, rc: Path
) -> None:
    """A connection that is lost before any output gives exit code 255, not HostNotFound."""
    host("true")
    rc.write_text("sleep 0.5; kill -9 $PPID\n")
    done = transport_for(server, tmp_path).run((), time_limit=PATIENCE)

    assert (done.exit_code, done.stdout) == (255, b"")


# Failures to connect.


@pytest.fixture
def client() -> None:
    """Skip tests of the ssh client where there is none."""
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh: install the Debian package openssh-client")


def test_a_machine_without_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HostNotFound says that this machine has no ssh on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(HostNotFound, match="no ssh on PATH"):
        SshTransport("box").run((), time_limit=PATIENCE)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("size", [1, 300_000])
def test_a_machine_that_cannot_be_reached(size: int) -> None:
    """HostNotFound for an unreachable machine has ssh's reason and a command to try."""
    transport = SshTransport(
        "nobody@127.0.0.1", port=free_port(), ssh_options="UserKnownHostsFile=x"
    )

    with pytest.raises(HostNotFound, match="refused") as e:
        transport.run(["x" * size], time_limit=PATIENCE)
    assert "ssh -o BatchMode=yes nobody@127.0.0.1" in str(e.value)


@pytest.mark.usefixtures("client")
def test_the_time_limit_is_also_for_the_way_there() -> None:
    """The time limit of a call includes the time to connect."""
    transport = SshTransport("box", ssh_options="ProxyCommand=sleep 60")
    begun = time.monotonic()
    done = transport.run(["x" * 300_000], time_limit=0.5)

    assert (done.exit_code, done.stdout) == (None, b"")
    assert time.monotonic() - begun < ssh_client._ANSWER
    assert not clients()


def test_a_host_key_that_is_not_known(server: Server, tmp_path: Path) -> None:
    """An unknown host key raises HostNotFound; ssh does not ask whether to trust it."""
    options = ("StrictHostKeyChecking=ask", f"UserKnownHostsFile={tmp_path}/none")

    with pytest.raises(HostNotFound, match=r"(?i)host key.*\n.*known_hosts"):
        SshTransport(**server.login(ssh_options=options)).run((), time_limit=PATIENCE)


def test_a_key_that_does_not_fit(server: Server, tmp_path: Path) -> None:
    """A refused key raises HostNotFound; ssh does not ask for a password."""
    keyfile = tmp_path / "other"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keyfile)]
    subprocess.run(argv, check=True)

    with pytest.raises(HostNotFound, match="Permission denied"):
        SshTransport(**server.login(keyfile=keyfile)).run((), time_limit=PATIENCE)


def test_a_login_that_runs_nothing(server: Server, rc: Path) -> None:
    """A login shell that exits before the script raises HostNotFound with its output."""
    rc.write_text("echo not for you >&2; exit 7\n")

    with pytest.raises(HostNotFound, match="did not start: not for you"):
        SshTransport(**server.login()).run((), time_limit=PATIENCE)


def test_a_name_that_looks_like_an_option_is_none(tmp_path: Path) -> None:
    """A host name that looks like an option of ssh does not make ssh run a command."""
    with pytest.raises(HostNotFound):
        SshTransport(f"-oProxyCommand=touch {tmp_path}/run").run((), time_limit=PATIENCE)

    assert not list(tmp_path.iterdir())


def test_ssh_never_asks() -> None:
    """BatchMode=yes comes before the caller's options, because ssh takes the first value."""
    options = SshTransport("box", ssh_options=["BatchMode=no", "Compression=yes"])._options(7)

    assert options[0] == "BatchMode=yes"
    assert "Compression=yes" in options


@pytest.mark.parametrize(("limit", "seconds"), [(0.1, 1), (7, 7), (900, 20), (float("inf"), 20)])
def test_the_time_to_connect_is_bounded(limit: float, seconds: int) -> None:
    """Ssh's time to connect is the time limit, from 1 to 20 seconds; ssh checks the connection."""
    options = SshTransport("box")._options(limit)

    assert f"ConnectTimeout={seconds}" in options
    assert "ServerAliveInterval=15" in options


# Git.


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a repository."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    repository = tmp_path / "re po"
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    (repository / "inner").mkdir()
    return repository


@pytest.mark.parametrize("backend", ["sync", "asyncio", "trio"])
def test_git_runs_there(server: Server, repository: Path, backend: str) -> None:
    """The transport runs git in the repository or in a given folder, without a host."""
    login = server.login(repo=repository, executable="no-such-kitty")
    args = ["rev-parse", "--show-prefix"]

    def git(**given: Any) -> bytes:
        if backend == "sync":
            return SshTransport(**login).git(args, time_limit=PATIENCE, **given).stdout
        waiting = partial(AsyncSshTransport(**login).git, args, time_limit=PATIENCE, **given)
        return anyio.run(waiting, backend=backend).stdout

    assert git() == b"\n"
    assert git(folder=str(repository / "inner")) == b"inner/\n"


def test_the_environment_of_git(server: Server, repository: Path) -> None:
    """Remote git gets the SDK's variables, and none that lead to another repository."""
    given = {**dict.fromkeys(["GIT_DIR", "GIT_INDEX_FILE"], "/none"), "GIT_TERMINAL_PROMPT": "1"}
    tell = f"!{sys.executable} -c {shlex.quote(TELL)}"
    transport = SshTransport(**server.login(repo=repository, env=given))
    done = transport.git(["-c", f"alias.tell={tell}", "tell"], time_limit=PATIENCE)
    env = json.loads(done.stdout)["env"]

    assert env.items() >= GIT_SET.items()
    assert env.get("GIT_INDEX_FILE") != "/none"


def test_a_git_that_is_missing(without_setsid: Server) -> None:
    """HostNotFound says that the remote machine has no git."""
    with pytest.raises(HostNotFound, match="no git on"):
        SshTransport(**without_setsid.login()).git(["status"], time_limit=PATIENCE)


def test_a_folder_of_git_that_is_none(server: Server) -> None:
    """HostNotFound names the folder that was given for this call of git."""
    with pytest.raises(HostNotFound, match="no folder /no/such on"):
        SshTransport(**server.login()).git(["status"], folder="/no/such", time_limit=PATIENCE)


# A host that is kept warm on the remote machine.


@contextmanager
def kept(server: Server, folder: Path) -> Iterator[WarmTransport[SshTransport]]:
    """Keep a made-up host warm over ssh, and check at the end that no process is left."""
    made = install(folder / "made")
    env = {"PYTHONPATH": str(made.site), "MARK": str(folder)}
    cold = SshTransport(**server.login(executable=made.program, repo=folder, env=env))
    transport = WarmTransport(cold, only=True)
    yield transport
    transport.close()
    assert eventually(lambda: not marked(folder))


def marked(folder: Path) -> list[psutil.Process]:
    """Return the processes of the warm host in this folder."""
    return [p for p in psutil.process_iter() if variable_of(p, "MARK") == str(folder)]


def variable_of(process: psutil.Process, name: str) -> str | None:
    """Return a variable of a process that is alive."""
    try:
        dead = process.status() == psutil.STATUS_ZOMBIE
        value: str | None = None if dead else process.environ().get(name)
    except psutil.Error:
        return None
    return value


def ask(transport: Any, code: str) -> bytes:
    """Run code in the host, and return its output."""
    done = transport.run(("do", code), time_limit=PATIENCE)
    assert (done.exit_code, done.stderr) == (0, b"")
    output: bytes = done.stdout
    return output


def test_a_host_over_there_is_kept_warm(server: Server, tmp_path: Path) -> None:
    """Warm calls share a server and a connection, and answer as a cold call does."""
    code = "import os, sys; print(os.getcwd(), sys.argv[0], sorted(os.environ))"
    with kept(server, tmp_path) as transport:
        parents = {ask(transport, "import os; print(os.getppid())") for _ in range(3)}
        connections = clients()

        assert len(parents) == 1
        assert ask(transport, code) == ask(transport.cold, code)
        assert clients() == connections


@pytest.mark.parametrize("how", ["connection", "client"])
def test_a_warm_call_whose_connection_is_lost_is_no_answer(
    server: Server, tmp_path: Path, how: str
) -> None:
    """A warm call whose connection is lost has no answer; the next call gets a new server."""
    from threading import Thread

    lose = server.cut if how == "connection" else kill_client
    hang = """
        import os, time
        for name in ("host.pid", "child.pid"):
            open(name, "w").write(str(os.getpid()))
        time.sleep(600)
    """
    with kept(server, tmp_path) as transport:
        first = ask(transport, "import os; print(os.getppid())")
        thread = Thread(target=during(tmp_path, lose))
        thread.start()
        done = transport.run(("do", dedent(hang)), time_limit=PATIENCE)
        thread.join()

        assert done.exit_code != 0
        assert done.stdout == b""
        assert eventually(lambda: not marked(tmp_path))
        assert ask(transport, "import os; print(os.getppid())") != first
