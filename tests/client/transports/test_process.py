"""Tests of `spec_kitty_client.transports.process`, with real processes."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from spec_kitty_client import AsyncClient, Client
from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.errors import (
    EnvironmentProblem,
    HostNotFound,
    HostTimeout,
    InvalidCall,
    NotFound,
    ProtocolError,
    SpecKittyError,
    UsageRejected,
)
from spec_kitty_client.transports import Completed
from spec_kitty_client.transports.process import (
    AsyncProcessTransport,
    ProcessTransport,
    host_environment,
)
from tests.client.answers import POLICY, line
from tests.client.transports.scripts import (
    PATIENCE,
    ended_at_last,
    gone,
    hanging,
    interrupted,
    pids,
    script,
    started,
)

Host = Callable[..., Path]
SET = {
    "SPEC_KITTY_ENABLE_SAAS_SYNC": "0",
    "SPEC_KITTY_SYNC_DISABLE": "1",
    "SPEC_KITTY_NO_UPGRADE_CHECK": "1",
    "SPEC_KITTY_NO_NAG": "1",
    "SPEC_KITTY_NON_INTERACTIVE": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "PYTHONUTF8": "1",
}
UNSET = ["SPECIFY_REPO_ROOT", "SPEC_KITTY_TEST_MODE", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"]
TELL = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each async test on both event loops."""
    return str(request.param)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Write a program that acts as the host."""
    return partial(script, tmp_path / "host" / "bin" / "spec-kitty")


@pytest.fixture(params=["sync", "asyncio", "trio"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Completed]:
    """Call the host of a test, blocking and on both event loops."""

    def call(*args: str, time_limit: float = PATIENCE, **given: Any) -> Completed:
        options = {"executable": str(tmp_path / "host/bin/spec-kitty"), "repo": tmp_path, **given}
        if request.param == "sync":
            return ProcessTransport(**options).run(args, time_limit=time_limit)
        transport = AsyncProcessTransport(**options)
        waiting = partial(transport.run, args, time_limit=time_limit)
        return anyio.run(waiting, backend=request.param)

    return call


def client(executable: Path, **given: Any) -> Client:
    """Return a client of a host in a file."""
    transport = ProcessTransport(executable=str(executable), repo=executable.parent)
    return Client(actor="ada", policy=POLICY, transport=transport, **given)


def answers(folder: Path, *verbs: str) -> str:
    """Return a program that answers each verb with an envelope of its own."""
    for verb in verbs:
        (folder / verb).write_bytes(line(verb))
    return f'exec cat "{folder}/$2"'


# The environment of a host.


def test_a_host_is_kept_off_network_prompts_and_daemons() -> None:
    """The SDK sets the variables of the contract, also where the user has set others."""
    env = host_environment(Path("/h/bin/spec-kitty"), dict.fromkeys(SET, "other"))

    assert env.items() >= SET.items()


def test_what_would_lead_a_host_astray_is_taken_away() -> None:
    """The SDK removes variables that would lead the host to another repository or index."""
    env = host_environment(Path("/h/bin/spec-kitty"), {**dict.fromkeys(UNSET, "x"), "LANG": "de"})

    assert not env.keys() & set(UNSET)
    assert env["LANG"] == "de"


@pytest.mark.parametrize(
    ("base", "path"),
    [({"PATH": "/usr/bin"}, "/h/bin:/usr/bin"), ({}, f"/h/bin:{os.defpath}")],
)
def test_the_folder_of_the_host_comes_first_on_path(base: dict[str, str], path: str) -> None:
    """The SDK puts the host's folder first on PATH, where git's merge drivers find the host."""
    assert host_environment(Path("/h/bin/spec-kitty"), base)["PATH"] == path


@pytest.mark.parametrize(("base", "command"), [({}, "ssh -oBatchMode=yes"), ({"X": "1"}, None)])
def test_ssh_does_not_ask(base: dict[str, str], command: str | None) -> None:
    """The SDK sets ssh to batch mode, but keeps a GIT_SSH_COMMAND of the user."""
    own = {"GIT_SSH_COMMAND": "ssh -i id"} if base else {}
    env = host_environment(Path("/h/bin/spec-kitty"), own)

    assert env["GIT_SSH_COMMAND"] == (command or "ssh -i id")


def test_the_home_of_the_user_is_kept() -> None:
    """Without `home` the host has the user's HOME."""
    env = host_environment(Path("/h/bin/spec-kitty"), {"HOME": "/home/ada"})

    assert env["HOME"] == "/home/ada"
    assert not env.keys() & {"SPEC_KITTY_HOME", "GIT_CONFIG_GLOBAL"}


def test_a_home_for_the_host_alone() -> None:
    """With `home` the host has another HOME, and git keeps the user's settings."""
    env = host_environment(Path("/h/bin/spec-kitty"), {"HOME": "/home/ada"}, Path("/private"))

    assert env["HOME"] == "/private"
    assert env["SPEC_KITTY_HOME"].startswith("/private/")
    assert env["GIT_CONFIG_GLOBAL"] == "/home/ada/.gitconfig"


def test_git_settings_that_were_chosen_are_kept() -> None:
    """The SDK keeps a GIT_CONFIG_GLOBAL that the user has set."""
    base = {"HOME": "/home/ada", "GIT_CONFIG_GLOBAL": "/etc/mine"}
    env = host_environment(Path("/h/bin/spec-kitty"), base, Path("/private"))

    assert env["GIT_CONFIG_GLOBAL"] == "/etc/mine"


def test_the_environment_that_was_given_is_not_changed() -> None:
    """`host_environment` does not change the mapping that it is given."""
    base = {"GIT_DIR": "x"}
    host_environment(Path("/h/bin/spec-kitty"), base, Path("/private"))

    assert base == {"GIT_DIR": "x"}


def test_a_host_gets_that_environment(
    run: Callable[..., Completed], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host process gets the computed environment with the caller's additions."""
    executable = host(TELL, sys.executable)
    for name in (*UNSET, *SET):
        monkeypatch.setenv(name, "from this process")
    env = json.loads(run(env={"GIVEN": "1", "GIT_DIR": "given"}).stdout)

    assert env.items() >= SET.items()
    assert not env.keys() & set(UNSET)
    assert env["GIVEN"] == "1"
    assert env["PATH"].split(os.pathsep)[0] == str(executable.parent)


def test_what_was_there_before_the_import_is_taken_away_too(host: Host) -> None:
    """Variables from before the import of the SDK, as in a git hook, do not reach the host."""
    executable = host(TELL, sys.executable)
    code = f"""
import os
from spec_kitty_client.transports.process import ProcessTransport
del os.environ["EARLY"]
transport = ProcessTransport(executable={str(executable)!r})
print(transport.run((), time_limit=30).stdout.decode())
"""
    early = dict.fromkeys([*UNSET, "EARLY"], "from before")
    output = subprocess.check_output([sys.executable, "-c", code], env={**os.environ, **early})

    assert not json.loads(output).keys() & early.keys()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the user a HOME without any settings of git."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for name in [n for n in os.environ if n.startswith(("GIT_", "XDG_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


ASK = 'echo "$HOME"; git config user.email'


def test_a_host_with_its_own_home_commits_as_the_user(
    run: Callable[..., Completed], host: Host, user: Path, tmp_path: Path
) -> None:
    """With `home` set, git finds the user's identity in ~/.gitconfig."""
    host(ASK)
    (user / ".gitconfig").write_text("[user]\n\temail = ada@example.org\n")
    done = run(home=tmp_path / "private")

    assert done.stdout.decode().split() == [str(tmp_path / "private"), "ada@example.org"]


def test_git_settings_below_config_are_the_users_too(
    run: Callable[..., Completed], host: Host, user: Path, tmp_path: Path
) -> None:
    """With `home` set, git finds the user's identity in ~/.config/git/config."""
    host(ASK)
    (user / ".config/git").mkdir(parents=True)
    (user / ".config/git/config").write_text("[user]\n\temail = ada@example.org\n")
    done = run(home=tmp_path / "private")

    assert done.stdout.decode().split() == [str(tmp_path / "private"), "ada@example.org"]


# Finding the host.


def test_a_host_is_found_on_path(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK finds a host on PATH without configuration."""
    executable = host("echo here")
    monkeypatch.setenv("PATH", str(executable.parent), prepend=os.pathsep)

    assert ProcessTransport().locate() == executable
    assert ProcessTransport().run((), time_limit=PATIENCE).stdout == b"here\n"


def test_a_host_is_found_on_the_path_that_is_given(host: Host) -> None:
    """The SDK looks for the host on the PATH in `env`."""
    executable = host("true")
    transport = ProcessTransport(env={"PATH": f"{executable.parent}:{os.defpath}"})

    assert transport.locate() == executable


def test_a_host_is_found_beside_the_interpreter(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a host on PATH the SDK takes the one beside the interpreter."""
    executable = host("true")
    monkeypatch.setattr(sys, "executable", str(executable.with_name("python")))
    elsewhere = script(tmp_path / "elsewhere" / "spec-kitty", "true")

    assert ProcessTransport(env={"PATH": os.defpath}).locate() == executable
    assert ProcessTransport(env={"PATH": str(elsewhere.parent)}).locate() == elsewhere


def test_a_relative_path_becomes_absolute(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative executable counts from the caller's folder, not from `repo`."""
    executable = host("pwd -P")
    monkeypatch.chdir(executable.parent.parent)
    transport = ProcessTransport(executable="bin/spec-kitty", repo="bin")

    assert transport.locate() == executable
    assert transport.run((), time_limit=PATIENCE).stdout == f"{executable.parent}\n".encode()


@pytest.mark.parametrize("word", ["bin", "./bin", "bin/../bin"])
def test_a_program_that_changes_its_folder_keeps_its_repository(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str
) -> None:
    """A transport fixes its repository, host and HOME when it is made."""
    executable = host('pwd -P; echo "$HOME"')
    monkeypatch.chdir(executable.parent.parent)
    transport = ProcessTransport(executable="bin/spec-kitty", repo=word, home=Path("home"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    output = transport.run((), time_limit=PATIENCE).stdout.decode().splitlines()
    assert output == [str(executable.parent), str(executable.parent.parent / "home")]
    done = transport.git(("rev-parse", "--show-prefix"), time_limit=PATIENCE)
    assert b"not a git repository" in done.stderr  # and not: no such folder


def test_a_link_is_not_resolved(host: Host, tmp_path: Path) -> None:
    """The SDK calls the host by its link, and does not resolve that."""
    link = tmp_path / "elsewhere" / "spec-kitty"
    link.parent.mkdir()
    link.symlink_to(host("true"))

    assert ProcessTransport(executable=str(link)).locate() == link


@pytest.mark.parametrize("executable", ["no-such-kitty", "/none/spec-kitty", "./spec-kitty"])
def test_a_missing_host_says_how_to_install_it(
    run: Callable[..., Completed], executable: str
) -> None:
    """HostNotFound names the missing host, and says how to install one."""
    with pytest.raises(HostNotFound, match="pip install spec-kitty-cli") as e:
        run(executable=executable)

    named = str(Path(executable).absolute()) if "/" in executable else executable
    assert repr(named) in str(e.value)
    assert ("PATH" in str(e.value)) is ("/" not in executable)


def test_a_file_that_is_not_executable_is_no_host(
    run: Callable[..., Completed], host: Host
) -> None:
    """HostNotFound for a file that is not executable names it, with the chmod that helps."""
    program = host("true")
    program.chmod(0o644)

    with pytest.raises(HostNotFound, match=f"{program} is not executable. Run: chmod"):
        run()


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_folder_that_is_none_is_named(
    run: Callable[..., Completed], host: Host, tmp_path: Path, kind: str
) -> None:
    """HostNotFound names the repository's folder if that is missing or a file."""
    host("true")
    (tmp_path / "file").touch()

    with pytest.raises(HostNotFound) as e:
        run(repo=tmp_path / kind)
    assert str(tmp_path / kind) in str(e.value)
    assert re.search("directory|folder", str(e.value))


def test_a_folder_that_is_none_is_told_as_such(
    run: Callable[..., Completed], host: Host, tmp_path: Path
) -> None:
    """HostNotFound for a missing folder names `repo`, and not the executable."""
    executable = host("true")

    with pytest.raises(HostNotFound) as e:
        run(repo=tmp_path / "missing")
    assert str(executable) not in str(e.value)
    assert "repo" in str(e.value)


def test_a_host_whose_interpreter_is_gone_cannot_be_started(
    run: Callable[..., Completed], host: Host
) -> None:
    """A host whose interpreter is missing raises HostNotFound, not an error about its answer."""
    executable = host("true", "/none/python")

    with pytest.raises(HostNotFound, match="cannot be started") as e:
        run()
    assert str(executable) in str(e.value)


STARTS = """
import sys
from spec_kitty_client.errors import HostNotFound
from spec_kitty_client.transports.process import ProcessTransport
try:
    ProcessTransport(executable=sys.argv[1]).run((), time_limit=30)
except HostNotFound as e:
    print("HostNotFound", e)
"""


def test_the_same_inside_a_git_hook(host: Host) -> None:
    """A host that cannot be started raises HostNotFound inside a git hook, too."""
    output = subprocess.check_output(
        [sys.executable, "-c", STARTS, str(host("true", "/none/python"))],
        env={**os.environ, "GIT_DIR": "x"},
        text=True,
    )

    assert output.startswith("HostNotFound")


def test_a_short_path_inside_a_git_hook(host: Host) -> None:
    """A host that is given by its path runs inside a git hook with another PATH."""
    executable = host("exit 0")
    output = subprocess.run(
        [sys.executable, "-c", STARTS, str(executable)],
        env={**os.environ, "GIT_DIR": "x", "PATH": str(executable.parent)},
        text=True,
        capture_output=True,
        check=False,
    )

    assert (output.returncode, output.stdout, output.stderr) == (0, "", "")


def test_what_happens_while_a_host_runs_is_not_a_missing_host(host: Host, tmp_path: Path) -> None:
    """The SDK does not turn an error during a call into HostNotFound."""
    executable = host(hanging(tmp_path))

    with (
        ended_at_last(tmp_path),
        interrupted(lambda: started(tmp_path), TimeoutError),
        pytest.raises(TimeoutError),
    ):
        ProcessTransport(executable=str(executable)).run((), time_limit=PATIENCE)


# A whole call.


def test_a_call_from_end_to_end(host: Host, tmp_path: Path) -> None:
    """A client gets its reply from a host process."""
    executable = host(answers(tmp_path, "contract-version", "start-implementation"))
    started = client(executable).start_implementation("m", "WP01")

    assert started.lane_branch == "kitty/mission-pay-01ABCDEF-lane-a"


@pytest.mark.anyio
async def test_a_call_from_end_to_end_async(host: Host, tmp_path: Path) -> None:
    """An async client gets its reply from a host process."""
    executable = host(answers(tmp_path, "mission-state"))
    transport = AsyncProcessTransport(executable=str(executable), repo=tmp_path)
    mission = await AsyncClient(transport=transport).mission_state("m")

    assert list(mission.lanes()) == ["WP01", "WP02"]


def test_an_answer_below_much_noise_is_found(host: Host, tmp_path: Path) -> None:
    """The SDK finds an envelope after 20 MB of other output."""
    flood = r"head -c 20971520 /dev/zero | tr '\0' 'x'; printf '\377\n'; echo '{not json'"
    reply = client(host(f"{flood}; {answers(tmp_path, 'mission-state')}")).mission_state("m")

    assert reply.mission_slug == "pay-01ABCDEF"


def test_what_is_no_text_stays_readable_in_an_error(host: Host) -> None:
    """The SDK shows a byte that it cannot decode as an escape."""
    with pytest.raises(ProtocolError, match=r"caf\\xe9") as e:
        client(host(r"printf 'a\377b'; printf 'caf\351\n' >&2; exit 1")).mission_state("m")

    assert e.value.failure.stdout == "a\\xffb"
    assert e.value.failure.stderr == "caf\\xe9\n"


TRACEBACK = r"""
cat >&2 <<'END'
╭───────────── Traceback (most recent call last) ─────────────╮
│ in transition                                               │
╰─────────────────────────────────────────────────────────────╯
BookkeepingCommitFailed: failed to stage requested files in
the repository
END
exit 1
"""


def test_a_traceback_is_told_by_its_last_words(host: Host) -> None:
    """The error's text has a traceback's exception, joined from its lines; stderr has the rest."""
    with pytest.raises(ProtocolError) as e:
        client(host(TRACEBACK)).mission_state("m")

    assert "BookkeepingCommitFailed: failed to stage requested files in the repo" in str(e.value)
    assert "╰──" not in str(e.value)
    assert "in transition" in e.value.failure.stderr
    assert e.value.failure.exit_code == 1


USAGE = r"""
cat >&2 <<'END'
Usage: spec-kitty orchestrator-api [OPTIONS] COMMAND [ARGS]...
╭─ Error ─────────────────────────────────────────────────────╮
│ No such command 'mission-state'.                            │
╰─────────────────────────────────────────────────────────────╯
END
exit 2
"""


def test_usage_text_is_told_by_what_is_in_its_box(host: Host) -> None:
    """The SDK reads the option parser's output without an envelope as USAGE_ERROR."""
    with pytest.raises(UsageRejected, match="No such command 'mission-state'") as e:
        client(host(USAGE)).mission_state("m")
    assert e.value.code is ErrorCode.USAGE_ERROR


@pytest.mark.parametrize(
    ("exit_code", "advice"), [(4, "spec-kitty upgrade"), (5, "spec-kitty-cli"), (6, ".kittify")]
)
def test_a_gate_of_the_project_says_what_to_do(
    host: Host, tmp_path: Path, exit_code: int, advice: str
) -> None:
    """A mutation that the project's gate stopped raises an error that says what to do."""
    gate = f'[ "$2" = merge-mission ] && {{ echo "This project ..." >&2; exit {exit_code}; }}'
    executable = host(f"{gate}; {answers(tmp_path, 'contract-version')}")

    with pytest.raises(EnvironmentProblem) as e:
        client(executable).merge_mission("m")
    assert advice in str(e.value)
    assert e.value.failure.exit_code == exit_code


def test_a_refusal_from_end_to_end(host: Host, tmp_path: Path) -> None:
    """An error code in an envelope becomes its exception, with the call as it was made."""
    (tmp_path / "no").write_bytes(line("mission-state", code="MISSION_NOT_FOUND"))
    executable = host(f"cat {tmp_path}/no; exit 1")

    with pytest.raises(NotFound) as e:
        client(executable).mission_state("m")
    assert e.value.code is ErrorCode.MISSION_NOT_FOUND
    assert e.value.failure.argv == (
        str(executable),
        "orchestrator-api",
        "mission-state",
        "--mission=m",
    )


def test_a_host_that_hangs_is_a_timeout(host: Host, tmp_path: Path) -> None:
    """A client's time limit ends a hanging host with its children, and raises HostTimeout."""
    with ended_at_last(tmp_path):
        for time_limit in (0.4, 2.0, 10.0):
            with pytest.raises(HostTimeout, match=f"within {time_limit:g} s") as e:
                client(host(hanging(tmp_path)), time_limit=time_limit).mission_state("m")
            if started(tmp_path):
                break

        assert all(map(gone, pids(tmp_path)))
        assert e.value.retryable


def test_a_call_without_a_host_fails_the_same_for_every_verb(tmp_path: Path) -> None:
    """A client without a host raises only errors of the SDK."""
    hostless = client(tmp_path / "none")

    for call in (hostless.contract_version, hostless.negotiate):
        with pytest.raises(SpecKittyError):
            call()


def test_more_than_the_system_takes_is_the_callers_to_shorten(tmp_path: Path) -> None:
    """Arguments that are too long together raise InvalidCall, not HostNotFound."""
    transport = ProcessTransport(repo=tmp_path, executable="/bin/true")
    with pytest.raises(InvalidCall, match="too long"):
        transport.run(["x" * 100_000] * 100, time_limit=10)
