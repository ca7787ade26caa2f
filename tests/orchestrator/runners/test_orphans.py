"""Tests of `spec_kitty_orchestrator.runners.orphans`: killed keepers and unrelated processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from spec_kitty_orchestrator.runners import keeper, local, orphans
from spec_kitty_orchestrator.runners.orphans import MARK, Orphans, add_mark
from tests.orchestrator.processes import eventually, gone, number_in
from tests.orchestrator.runners.agents import OWN_PID, Launch, keeper_of, wait

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

CHILD = """\
import os, signal, subprocess, sys, time
code = "import os, time; file = open('child.pid', 'w'); file.write(f'{os.getpid()}\\\\n'); "
code += "file.close(); time.sleep(100)"
child = [sys.executable, "-I", "-S", "-c", code]
def daemonize(**options):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    null = subprocess.DEVNULL
    subprocess.run(child, stdin=null, stdout=null, stderr=null, **options)
    os._exit(0)
"""

KINDS = {
    "child": "subprocess.Popen(child)",
    "session": "subprocess.Popen(child, start_new_session=True)",
    "ignores SIGTERM": "signal.signal(15, signal.SIG_IGN); subprocess.Popen(child)",
    "daemon": "daemonize()",
    "daemon without environment": "daemonize(env={})",
    "no environment": "subprocess.Popen(child, env={})",
    "no environment, but output": "subprocess.Popen(child, env={}, start_new_session=True)",
    "silent in our session": (
        "null = subprocess.DEVNULL\n"
        "subprocess.Popen(child, env={}, stdout=null, stderr=null)\n"
        "subprocess.Popen(child[:-1] + ['import time; time.sleep(100)'])"
    ),
    "in the foreground": "subprocess.run(child, env={})",
    "of a parent that ends first": (
        "null = subprocess.DEVNULL\n"
        "if os.fork() == 0:\n"
        "    os.setsid(); signal.signal(15, signal.SIG_IGN)\n"
        "    subprocess.Popen(child, env={}, stdout=null, stderr=null, start_new_session=True)\n"
        "    signal.signal(15, signal.SIG_DFL); time.sleep(100)"
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_outlives_a_killed_keeper(
    launch: Launch, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All processes of an agent end when its keeper is found dead, daemons included."""
    monkeypatch.setattr(keeper, "GRACE", 0.3)
    folder = launch(f"{CHILD}{KINDS[kind]}\ntime.sleep(100)")
    child = number_in(tmp_path / "child.pid")
    os.kill(keeper_of(folder), signal.SIGKILL)
    ended = wait(folder)
    assert (ended.reason, ended.left) == ("lost", ())
    assert eventually(partial(gone, child))
    assert Orphans(folder).find() == {}


UNMARKED = {
    "its parent ends": (
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    subprocess.Popen(child, env={}, stdout=null, stderr=null, start_new_session=True)\n"
        "    os._exit(0)"
    ),
    "it is no child of Python": (
        'shell = \'env -i setsid "$0" "$@" >/dev/null 2>&1 </dev/null &\'\n'
        "subprocess.run(['sh', '-c', shell, *child])"
    ),
    "it has a child in its session": (
        "code = 'import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(100)'\n"
        "python = [*child[:-1], code, *child]\n"
        "if os.fork() == 0:\n"
        "    subprocess.Popen(python, env={}, stdout=null, stderr=null, start_new_session=True)\n"
        "    os._exit(0)"
    ),
}


@pytest.mark.parametrize("kind", UNMARKED)
def test_a_daemon_without_a_mark_was_seen_by_the_keeper(
    launch: Launch, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No environment, no output, a session of its own, no parent: the keeper wrote it down."""
    monkeypatch.setattr(keeper, "GRACE", 0.3)
    code = f"{CHILD}null = subprocess.DEVNULL\n{UNMARKED[kind]}\ntime.sleep(100)"
    folder = launch(code)
    child = number_in(tmp_path / "child.pid")
    assert eventually(lambda: f'"{child}"' in text_of(folder / keeper.SEEN))
    os.kill(keeper_of(folder), signal.SIGKILL)
    ended = wait(folder)
    assert (ended.reason, ended.left) == ("lost", ())
    assert eventually(partial(gone, child))


def text_of(file: Path) -> str:
    """Return what is in a file, if there is one."""
    return file.read_text() if file.exists() else ""


@pytest.mark.parametrize(
    "wrong", [{"boot": "another"}, {"boot": None}, {"start": 1}, {"pid": 1}, {"pid": "x"}]
)
def test_a_process_id_alone_is_no_proof(
    tmp_path: Path, stranger: int, wrong: dict[str, object]
) -> None:
    """A process that has the id of an earlier one, or had it before a boot, is a stranger."""
    facts = {"boot": keeper.boot_id(), "pid": stranger, "start": keeper.start_of(stranger)}
    folder = a_run(tmp_path / "run", "m" * 32)
    for about, found in ((facts, {stranger}), ({**facts, **wrong}, set[int]())):
        seen = {"boot": about["boot"], "processes": {about["pid"]: about["start"]}}
        (folder / keeper.SEEN).write_text(json.dumps(seen))
        assert set(Orphans(folder).find()) == found


def without_keeper(folder: Path) -> None:
    """Kill the keeper, then remove the folder."""
    os.kill(keeper_of(folder), signal.SIGKILL)
    assert eventually(lambda: not local.is_alive(folder))
    shutil.rmtree(folder)


def with_keeper(folder: Path) -> None:
    """Remove the folder while the keeper lives."""
    shutil.rmtree(folder)


def with_an_empty_folder(folder: Path) -> None:
    """Kill the keeper, and leave the folder without its files."""
    without_keeper(folder)
    folder.mkdir()


@pytest.mark.parametrize("kind", ["session", "daemon", "ignores SIGTERM"])
@pytest.mark.parametrize("accident", [without_keeper, with_keeper, with_an_empty_folder])
def test_the_repository_finds_processes_of_which_nothing_else_tells(
    launch: Launch,
    tmp_path: Path,
    kind: str,
    accident: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After `git clean -fdx`, agents and their children are found by the repository's mark."""
    monkeypatch.setattr(keeper, "GRACE", 0.3)
    folder = launch(f"{CHILD}{KINDS[kind]}\n{OWN_PID}time.sleep(100)", repository=tmp_path)
    pids = [number_in(tmp_path / name) for name in ("own.pid", "child.pid")]
    assert local.end_strays(tmp_path / "another") == ({}, [])
    assert local.end_strays(tmp_path, [folder]) == ({}, [])
    accident(folder)
    ended, left = local.end_strays(tmp_path, [folder] if folder.exists() else [])
    assert left == []
    assert ended
    assert all(eventually(partial(gone, pid)) for pid in pids)


@pytest.mark.parametrize("how", ["stop", "result"])
def test_whoever_finds_a_dead_keeper_ends_the_rest(
    launch: Launch, tmp_path: Path, how: str
) -> None:
    """Stopping a run with a dead keeper, or reading its result, ends its processes."""
    folder = launch(f"{CHILD}{KINDS['session']}\ntime.sleep(100)")
    child = number_in(tmp_path / "child.pid")
    os.kill(keeper_of(folder), signal.SIGKILL)
    assert eventually(lambda: not local.is_alive(folder))
    record = anyio.run(local.stop, folder) if how == "stop" else local.result(folder)
    assert record.reason == "lost"
    assert eventually(partial(gone, child))


def test_processes_that_start_others_in_the_meantime_end(launch: Launch, tmp_path: Path) -> None:
    """A process that keeps forking is ended with all its children."""
    # For 20 s at most, and slowly, so that no process outlives the test for long.
    forks = (
        "\nend = time.monotonic() + 20\nwhile time.monotonic() < end:\n"
        "    if os.fork(): time.sleep(0.02); os._exit(0)\n    os.setsid(); time.sleep(0.02)\n"
    )
    folder = launch(f"{CHILD}signal.signal(15, signal.SIG_IGN)\nos.fork()\n{OWN_PID}{forks}")
    number_in(tmp_path / "own.pid")
    os.kill(keeper_of(folder), signal.SIGKILL)
    assert eventually(lambda: not local.is_alive(folder))
    Orphans(folder).end(grace=0.0)
    assert eventually(lambda: Orphans(folder).find() == {})


def test_the_processes_of_a_live_keeper_are_not_touched(launch: Launch, tmp_path: Path) -> None:
    """The processes of a suspended keeper are left alone."""
    folder = launch(OWN_PID + "time.sleep(100)")
    agent = number_in(tmp_path / "own.pid")
    os.kill(keeper_of(folder), signal.SIGSTOP)

    async def briefly() -> None:
        with anyio.move_on_after(0.3):
            await local.wait(folder)
        os.kill(keeper_of(folder), signal.SIGCONT)

    anyio.run(briefly)
    assert not gone(agent)
    assert local.is_alive(folder)


@pytest.fixture
def stranger() -> Iterator[int]:
    """Return a process that belongs to no run."""
    with subprocess.Popen(["sleep", "100"], start_new_session=True) as process:
        yield process.pid
        process.kill()


def a_run(folder: Path, mark: str, **started: object) -> Path:
    """Write the files of a run."""
    folder.mkdir()
    (folder / keeper.SPEC).write_text(json.dumps({"mark": mark}))
    (folder / keeper.STARTED).write_text(json.dumps(started))
    return folder


@pytest.mark.parametrize("mark", ["abcd", "abcdefg", "xabcdef", "ABCDEF", "abcde:f", ""])
def test_a_mark_that_is_not_the_same_is_another_run(tmp_path: Path, mark: str) -> None:
    """A process with a similar mark, or with the mark among its arguments, is left alone."""
    folder = a_run(tmp_path / "run", "abcdef")
    env = {**os.environ, MARK: mark, "OTHER": "abcdef"}
    argv = ["sleep", "100"]
    with subprocess.Popen(argv, env=env, start_new_session=True) as process:
        assert process.pid not in Orphans(folder).find()
        assert Orphans(folder).end(grace=0.0) == []
        assert process.poll() is None
        process.kill()


@pytest.mark.parametrize("spec", ["", "[]", "{}", '{"mark": ""}', '{"mark": null}'])
@pytest.mark.usefixtures("stranger")
def test_a_run_without_a_mark_has_no_processes(tmp_path: Path, spec: str) -> None:
    """Damaged files of a run identify no process."""
    folder = a_run(tmp_path / "run", "x")
    (folder / keeper.SPEC).write_text(spec)
    assert Orphans(folder).find() == {}


def test_pipes_of_an_earlier_boot_are_not_looked_for(tmp_path: Path) -> None:
    """Pipe numbers from an earlier boot are ignored."""
    reader, writer = os.pipe()
    about = os.fstat(reader)
    outputs = [[about.st_dev, about.st_ino]]
    now = a_run(tmp_path / "now", "m" * 32, boot=keeper.boot_id(), outputs=outputs)
    earlier = a_run(tmp_path / "earlier", "m" * 32, boot="another", outputs=outputs)
    with subprocess.Popen(["sleep", "100"], stdout=writer) as process:
        assert set(Orphans(now).find()) == {process.pid}
        assert Orphans(earlier).find() == {}
        process.kill()
    os.close(reader)
    os.close(writer)


def test_a_run_inside_a_run_has_both_marks(launch: Launch, tmp_path: Path) -> None:
    """The processes of a run inside a run belong to both."""
    inner = a_run(tmp_path / "inner", "inner-mark")
    code = f"""\
import os, subprocess, time
env = {{**os.environ, {MARK!r}: os.environ[{MARK!r}] + ":inner-mark"}}
subprocess.Popen(["sleep", "100"], env=env, start_new_session=True)
"""
    assert add_mark({MARK: "outer"}, "inner") == "outer:inner"
    assert add_mark({}, "inner") == "inner"
    outer = launch(code + OWN_PID + "time.sleep(100)")
    number_in(tmp_path / "own.pid")
    assert eventually(lambda: len(Orphans(inner).find()) == 1)
    assert set(Orphans(inner).find()) < set(Orphans(outer).find())


def test_the_one_who_asks_is_never_found(tmp_path: Path) -> None:
    """The calling process and its parents are never found, also inside an agent."""
    folder = a_run(tmp_path / "run", "own-mark")
    code = f"""\
from pathlib import Path
from spec_kitty_orchestrator.runners.orphans import Orphans
print(Orphans(Path({str(folder)!r})).find())
"""
    source = str(Path(orphans.__file__).parents[2])
    env = {**os.environ, MARK: "own-mark", "PYTHONPATH": source}
    argv = ["sh", "-c", f'{sys.executable} -c "$0"; true', code]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "{}\n"


def test_an_orphan_is_asked_before_it_is_killed(launch: Launch, tmp_path: Path) -> None:
    """An orphan gets SIGTERM before SIGKILL, so that git can remove its lock files."""
    handler = "signal.signal(15, lambda *_: (open('asked', 'w').close(), os._exit(0)))"
    code = f"{CHILD}os.setsid() if os.fork() == 0 else time.sleep(100)\n{handler}\n{OWN_PID}"
    folder = launch(code + "time.sleep(100)")
    number_in(tmp_path / "own.pid")
    os.kill(keeper_of(folder), signal.SIGKILL)
    begin = time.monotonic()
    wait(folder)
    assert (tmp_path / "asked").exists()
    assert time.monotonic() - begin < keeper.GRACE
