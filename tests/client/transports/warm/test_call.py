"""Tests of `transports.warm.server.call`: the child that the server forks before its call."""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from attrs import evolve

from tests.client.transports.scripts import eventually
from tests.client.transports.warm.warmhost import Caller, install

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the test reads /proc of Linux")


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    """Install a host and keep it warm."""
    (tmp_path / "repo").mkdir()
    caller = Caller(install(tmp_path / "host"), tmp_path / "repo")
    yield caller
    caller.warm.close()


def waiting(server: int) -> psutil.Process:
    """Return the child that waits for the next call, once it does."""
    children: list[psutil.Process] = []

    def one() -> bool:
        children[:] = psutil.Process(server).children()
        with suppress(psutil.NoSuchProcess):
            return len(children) == 1 and children[0].status() == psutil.STATUS_SLEEPING
        return False

    assert eventually(one), children
    return children[0]


def test_the_next_call_is_there_before_it_is_asked_for(caller: Caller) -> None:
    """The server forks one child, and no more, before each call."""
    server = caller.server()
    for _ in range(5):
        child = waiting(server)

        assert caller.ask("os.getpid()") == child.pid
        assert eventually(partial(_has_ended, child))


def _has_ended(child: psutil.Process) -> bool:
    return not child.is_running()


def test_a_child_that_dies_while_it_waits_is_no_loss(caller: Caller) -> None:
    """No call is lost or made twice when the waiting child is killed."""
    server, caller = caller.server(), evolve(caller, only=False)
    for n in range(10):
        os.kill(waiting(server).pid, signal.SIGKILL)

        assert caller.ask("(len(os.listdir()), open('done', 'a').write('x'))") == (n > 0, 1)
        caller.ask("1")  # lets the server fork the next child
    assert Path(caller.repo, "done").read_text() == "x" * 10


def test_a_child_that_dies_at_once_is_not_made_again_and_again(caller: Caller) -> None:
    """The server forks no new child in a loop when its waiting child dies at once."""
    server = caller.server()
    waiting(server).kill()
    assert eventually(lambda: not psutil.Process(server).children())
    time.sleep(0.3)  # enough for another fork

    assert not psutil.Process(server).children()
    assert caller.ask("os.getppid()") == server
    assert waiting(server)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_waits_ends_with_its_server(caller: Caller, how: int) -> None:
    """The waiting child ends when its server is killed or terminated."""
    server = caller.server()
    child = waiting(server)
    os.kill(server, how)

    assert eventually(lambda: not child.is_running())
    assert caller.do("print(1)").stdout == b"1\n"


def test_a_child_that_waits_ends_when_a_client_closes(caller: Caller) -> None:
    """The waiting child ends when the client closes."""
    child = waiting(caller.server())
    caller.warm.close()

    assert not child.is_running()


def test_what_a_call_has_locked_is_free_when_it_was_answered(caller: Caller) -> None:
    """A call's file locks are free once the client has the answer."""
    take = """
        import fcntl, madeup
        madeup.held = open("lock", "w"), bytearray(100_000_000)
        fcntl.flock(madeup.held[0], fcntl.LOCK_EX)
        fcntl.lockf(madeup.held[0], fcntl.LOCK_EX)
    """
    with Path(caller.repo, "lock").open("w") as file:
        for _ in range(20):
            assert caller.do(take).exit_code == 0
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(file, fcntl.LOCK_UN)
            fcntl.flock(file, fcntl.LOCK_UN)


def test_what_other_threads_do_is_over_when_a_call_was_answered(caller: Caller) -> None:
    """A call's daemon threads do nothing more once the client has the answer."""
    count = """
        import madeup, threading
        madeup.held = bytearray(100_000_000)
        def count():
            while True:
                with open("count", "a") as file: file.write("x")
        threading.Thread(target=count, daemon=True).start()
    """
    path = Path(caller.repo, "count")
    path.touch()
    for _ in range(20):
        caller.do(count)
        then = path.stat().st_size
        time.sleep(0.02)

        assert path.stat().st_size == then


def test_a_call_of_any_size_gets_to_the_child(caller: Caller) -> None:
    """Arguments that are larger than a pipe's buffer reach the waiting child."""
    words = ["x" * 90_000]
    waiting(caller.server())

    assert caller.ask("len(sys.argv[-1])", *words) == 90_000
