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
    """Run what is async on both event loops."""
    return str(request.param)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Write a program that acts as the host."""
    return partial(script, tmp_path / "host" / "bin" / "spec-kitty")


@pytest.fixture(params=["sync", "asyncio", "trio"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Completed]:
    """Call the host of a test, in each of the ways there are."""

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


# What the environment of a host is.


def test_a_host_is_kept_off_network_prompts_and_daemons() -> None:
    """The variables of the contract are set, also against the user's own."""
    env = host_environment(Path("/h/bin/spec-kitty"), dict.fromkeys(SET, "other"))

    assert env.items() >= SET.items()


def test_what_would_lead_a_host_astray_is_taken_away() -> None:
    """Neither another repository nor another git index gets into the call."""
    env = host_environment(Path("/h/bin/spec-kitty"), {**dict.fromkeys(UNSET, "x"), "LANG": "de"})

    assert not env.keys() & set(UNSET)
    assert env["LANG"] == "de"


@pytest.mark.parametrize(
    ("base", "path"),
    [({"PATH": "/usr/bin"}, "/h/bin:/usr/bin"), ({}, f"/h/bin:{os.defpath}")],
)
def test_the_folder_of_the_host_comes_first_on_path(base: dict[str, str], path: str) -> None:
    """The merge drivers of git call the host by name and have to find this one."""
    assert host_environment(Path("/h/bin/spec-kitty"), base)["PATH"] == path


@pytest.mark.parametrize(("base", "command"), [({}, "ssh -oBatchMode=yes"), ({"X": "1"}, None)])
def test_ssh_does_not_ask(base: dict[str, str], command: str | None) -> None:
    """No password prompt can stall a call, and a command of the user's own is kept."""
    own = {"GIT_SSH_COMMAND": "ssh -i id"} if base else {}
    env = host_environment(Path("/h/bin/spec-kitty"), own)

    assert env["GIT_SSH_COMMAND"] == (command or "ssh -i id")


def test_the_home_of_the_user_is_kept() -> None:
    """Without a choice nothing is moved."""
    env = host_environment(Path("/h/bin/spec-kitty"), {"HOME": "/home/ada"})

    assert env["HOME"] == "/home/ada"
    assert not env.keys() & {"SPEC_KITTY_HOME", "GIT_CONFIG_GLOBAL"}


def test_a_home_for_the_host_alone() -> None:
    """What hosts write into HOME goes elsewhere, and git's settings stay the user's."""
    env = host_environment(Path("/h/bin/spec-kitty"), {"HOME": "/home/ada"}, Path("/private"))

    assert env["HOME"] == "/private"
    assert env["SPEC_KITTY_HOME"].startswith("/private/")
    assert env["GIT_CONFIG_GLOBAL"] == "/home/ada/.gitconfig"


def test_git_settings_that_were_chosen_are_kept() -> None:
    """Who has set GIT_CONFIG_GLOBAL meant it."""
    base = {"HOME": "/home/ada", "GIT_CONFIG_GLOBAL": "/etc/mine"}
    env = host_environment(Path("/h/bin/spec-kitty"), base, Path("/private"))

    assert env["GIT_CONFIG_GLOBAL"] == "/etc/mine"


def test_the_environment_that_was_given_is_not_changed() -> None:
    """A caller's mapping is only read."""
    base = {"GIT_DIR": "x"}
    host_environment(Path("/h/bin/spec-kitty"), base, Path("/private"))

    assert base == {"GIT_DIR": "x"}


def test_a_host_gets_that_environment(
    run: Callable[..., Completed], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was computed is what the process sees, with the caller's additions."""
    executable = host(TELL, sys.executable)
    for name in (*UNSET, *SET):
        monkeypatch.setenv(name, "from this process")
    env = json.loads(run(env={"GIVEN": "1", "GIT_DIR": "given"}).stdout)

    assert env.items() >= SET.items()
    assert not env.keys() & set(UNSET)
    assert env["GIVEN"] == "1"
    assert env["PATH"].split(os.pathsep)[0] == str(executable.parent)


def test_what_was_there_before_the_import_is_taken_away_too(host: Host) -> None:
    """A program that is started inside a git hook does not send the host to its repository."""
    executable = host(TELL, sys.executable)
    code = f"""
import os
from spec_kitty_client.transports.process import ProcessTransport
del os.environ["EARLY"]
transport = ProcessTransport(executable={str(executable)!r})
print(transport.run((), time_limit=30).stdout.decode())
"""
    early = dict.fromkeys([*UNSET, "EARLY"], "from before")
    said = subprocess.check_output([sys.executable, "-c", code], env={**os.environ, **early})

    assert not json.loads(said).keys() & early.keys()


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
    """The real git finds the identity of the user when HOME is somewhere else."""
    host(ASK)
    (user / ".gitconfig").write_text("[user]\n\temail = ada@example.org\n")
    done = run(home=tmp_path / "private")

    assert done.stdout.decode().split() == [str(tmp_path / "private"), "ada@example.org"]


def test_git_settings_below_config_are_the_users_too(
    run: Callable[..., Completed], host: Host, user: Path, tmp_path: Path
) -> None:
    """The other place where git keeps settings, ~/.config/git/config, stays in force."""
    host(ASK)
    (user / ".config/git").mkdir(parents=True)
    (user / ".config/git/config").write_text("[user]\n\temail = ada@example.org\n")
    done = run(home=tmp_path / "private")

    assert done.stdout.decode().split() == [str(tmp_path / "private"), "ada@example.org"]


# Where the host is.


def test_a_host_is_found_on_path(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual host needs no configuration."""
    executable = host("echo here")
    monkeypatch.setenv("PATH", str(executable.parent), prepend=os.pathsep)

    assert ProcessTransport().locate() == executable
    assert ProcessTransport().run((), time_limit=PATIENCE).stdout == b"here\n"


def test_a_host_is_found_on_the_path_that_is_given(host: Host) -> None:
    """A PATH for the host is also where the host is looked for."""
    executable = host("true")
    transport = ProcessTransport(env={"PATH": f"{executable.parent}:{os.defpath}"})

    assert transport.locate() == executable


def test_a_host_is_found_beside_the_interpreter(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a virtual environment that is not activated, its own host is the one that is meant."""
    executable = host("true")
    monkeypatch.setattr(sys, "executable", str(executable.with_name("python")))
    elsewhere = script(tmp_path / "elsewhere" / "spec-kitty", "true")

    assert ProcessTransport(env={"PATH": os.defpath}).locate() == executable
    assert ProcessTransport(env={"PATH": str(elsewhere.parent)}).locate() == elsewhere


def test_a_relative_path_becomes_absolute(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts from the caller's folder, also when the host runs in another."""
    executable = host("pwd -P")
    monkeypatch.chdir(executable.parent.parent)
    transport = ProcessTransport(executable="bin/spec-kitty", repo="bin")

    assert transport.locate() == executable
    assert transport.run((), time_limit=PATIENCE).stdout == f"{executable.parent}\n".encode()


@pytest.mark.parametrize("word", ["bin", "./bin", "bin/../bin"])
def test_a_program_that_changes_its_folder_keeps_its_repository(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str
) -> None:
    """Repository, host and HOME are those of the moment when the transport was made."""
    executable = host('pwd -P; echo "$HOME"')
    monkeypatch.chdir(executable.parent.parent)
    transport = ProcessTransport(executable="bin/spec-kitty", repo=word, home=Path("home"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    told = transport.run((), time_limit=PATIENCE).stdout.decode().splitlines()
    assert told == [str(executable.parent), str(executable.parent.parent / "home")]
    done = transport.git(("rev-parse", "--show-prefix"), time_limit=PATIENCE)
    assert b"not a git repository" in done.stderr  # and not: no such folder


def test_a_link_is_not_resolved(host: Host, tmp_path: Path) -> None:
    """Its folder is the one that other programs of the host are in."""
    link = tmp_path / "elsewhere" / "spec-kitty"
    link.parent.mkdir()
    link.symlink_to(host("true"))

    assert ProcessTransport(executable=str(link)).locate() == link


@pytest.mark.parametrize("executable", ["no-such-kitty", "/none/spec-kitty", "./spec-kitty"])
def test_a_missing_host_says_how_to_install_it(
    run: Callable[..., Completed], executable: str
) -> None:
    """The first error of a new user is also the way to go on."""
    with pytest.raises(HostNotFound, match="pip install spec-kitty-cli") as e:
        run(executable=executable)

    named = str(Path(executable).absolute()) if "/" in executable else executable
    assert repr(named) in str(e.value)
    assert ("PATH" in str(e.value)) is ("/" not in executable)


def test_a_file_that_is_not_executable_is_no_host(
    run: Callable[..., Completed], host: Host
) -> None:
    """The file is named, with the command that helps."""
    program = host("true")
    program.chmod(0o644)

    with pytest.raises(HostNotFound, match=f"{program} is not executable. Run: chmod"):
        run()


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_folder_that_is_none_is_named(
    run: Callable[..., Completed], host: Host, tmp_path: Path, kind: str
) -> None:
    """Nobody looks for an error in the host when the repository's path is mistyped."""
    host("true")
    (tmp_path / "file").touch()

    with pytest.raises(HostNotFound) as e:
        run(repo=tmp_path / kind)
    assert str(tmp_path / kind) in str(e.value)
    assert re.search("directory|folder", str(e.value))


def test_a_folder_that_is_none_is_told_as_such(
    run: Callable[..., Completed], host: Host, tmp_path: Path
) -> None:
    """The text is about the folder, not about a host that cannot be started."""
    executable = host("true")

    with pytest.raises(HostNotFound) as e:
        run(repo=tmp_path / "missing")
    assert str(executable) not in str(e.value)
    assert "repo" in str(e.value)


def test_a_host_whose_interpreter_is_gone_cannot_be_started(
    run: Callable[..., Completed], host: Host
) -> None:
    """A virtual environment that was moved is told as such, not as a bad answer."""
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
    """The error does not depend on the environment of the caller."""
    said = subprocess.check_output(
        [sys.executable, "-c", STARTS, str(host("true", "/none/python"))],
        env={**os.environ, "GIT_DIR": "x"},
        text=True,
    )

    assert said.startswith("HostNotFound")


def test_a_short_path_inside_a_git_hook(host: Host) -> None:
    """A host that is given by its path runs whatever PATH is."""
    executable = host("exit 0")
    said = subprocess.run(
        [sys.executable, "-c", STARTS, str(executable)],
        env={**os.environ, "GIT_DIR": "x", "PATH": str(executable.parent)},
        text=True,
        capture_output=True,
        check=False,
    )

    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_what_happens_while_a_host_runs_is_not_a_missing_host(host: Host, tmp_path: Path) -> None:
    """A call that was started may have had its effect, so it is not told as never begun."""
    executable = host(hanging(tmp_path))

    with (
        ended_at_last(tmp_path),
        interrupted(lambda: started(tmp_path), TimeoutError),
        pytest.raises(TimeoutError),
    ):
        ProcessTransport(executable=str(executable)).run((), time_limit=PATIENCE)


# A whole call.


def test_a_call_from_end_to_end(host: Host, tmp_path: Path) -> None:
    """A client, a process and an envelope make a reply."""
    executable = host(answers(tmp_path, "contract-version", "start-implementation"))
    started = client(executable).start_implementation("m", "WP01")

    assert started.lane_branch == "kitty/mission-pay-01ABCDEF-lane-a"


@pytest.mark.anyio
async def test_a_call_from_end_to_end_async(host: Host, tmp_path: Path) -> None:
    """The same without blocking."""
    executable = host(answers(tmp_path, "mission-state"))
    transport = AsyncProcessTransport(executable=str(executable), repo=tmp_path)
    mission = await AsyncClient(transport=transport).mission_state("m")

    assert list(mission.lanes()) == ["WP01", "WP02"]


def test_an_answer_below_much_noise_is_found(host: Host, tmp_path: Path) -> None:
    """20 MB of other output, some of it no text, do not hide an envelope."""
    flood = r"head -c 20971520 /dev/zero | tr '\0' 'x'; printf '\377\n'; echo '{not json'"
    reply = client(host(f"{flood}; {answers(tmp_path, 'mission-state')}")).mission_state("m")

    assert reply.mission_slug == "pay-01ABCDEF"


def test_what_is_no_text_stays_readable_in_an_error(host: Host) -> None:
    """A byte that cannot be decoded is shown as what it is."""
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
    """The exception is in the text, also when it is wrapped, and the rest is kept."""
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
    """An option parser that prints no envelope is understood all the same."""
    with pytest.raises(UsageRejected, match="No such command 'mission-state'") as e:
        client(host(USAGE)).mission_state("m")
    assert e.value.code is ErrorCode.USAGE_ERROR


@pytest.mark.parametrize(
    ("exit_code", "advice"), [(4, "spec-kitty upgrade"), (5, "spec-kitty-cli"), (6, ".kittify")]
)
def test_a_gate_of_the_project_says_what_to_do(
    host: Host, tmp_path: Path, exit_code: int, advice: str
) -> None:
    """A mutation that the gate stopped is no riddle."""
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
    """A client with a time limit never waits longer, whoever holds the output."""
    with ended_at_last(tmp_path):
        for time_limit in (0.4, 2.0, 10.0):
            with pytest.raises(HostTimeout, match=f"within {time_limit:g} s") as e:
                client(host(hanging(tmp_path)), time_limit=time_limit).mission_state("m")
            if started(tmp_path):
                break

        assert all(map(gone, pids(tmp_path)))
        assert e.value.retryable


def test_a_call_without_a_host_fails_the_same_for_every_verb(tmp_path: Path) -> None:
    """Nothing but an error of this SDK comes out of a client."""
    nobody = client(tmp_path / "none")

    for call in (nobody.contract_version, nobody.negotiate):
        with pytest.raises(SpecKittyError):
            call()


def test_more_than_the_system_takes_is_the_callers_to_shorten(tmp_path: Path) -> None:
    """Each option may be short enough and all of them too long; the host is not to blame."""
    transport = ProcessTransport(repo=tmp_path, executable="/bin/true")
    with pytest.raises(InvalidCall, match="too long"):
        transport.run(["x" * 100_000] * 100, time_limit=10)
