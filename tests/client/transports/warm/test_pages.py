"""Tests of `transports.warm.server.pages`, in processes that are forked for it."""

import ctypes
import mmap
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

from spec_kitty_client.transports.warm.server.pages import ENOUGH, POPULATE_WRITE, Pages

SIZE = os.sysconf("SC_PAGE_SIZE")
COUNT = 64


def _can_be_asked_to() -> bool:
    with mmap.mmap(-1, SIZE) as memory:
        try:
            memory.madvise(POPULATE_WRITE)
        except (AttributeError, OSError):
            return False
    return True


pytestmark = pytest.mark.skipif(
    not _can_be_asked_to() or sys.platform != "linux", reason="the system copies when it must"
)


class Memory:
    """Pages that a parent has written to, and their numbers."""

    def __init__(self) -> None:
        self.bytes = mmap.mmap(-1, COUNT * SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.write(range(COUNT))
        self.first = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes)) // SIZE

    def write(self, some: range) -> None:
        """Write to some of them."""
        for n in some:
            self.bytes[n * SIZE] = self.bytes[n * SIZE] + 1

    def those(self, numbers: list[int]) -> list[int]:
        """Return which of them are among pages of a process."""
        return [n - self.first for n in numbers if 0 <= n - self.first < COUNT]


def in_a_fork(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a fork of this process."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(send, pickle.dumps(function()))
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        value = pickle.loads(pipe.read())  # noqa: S301 - it is our own
    os.waitpid(pid, 0)
    return value


@pytest.fixture
def memory() -> Memory:
    """Have some memory."""
    return Memory()


def test_what_a_fork_writes_to_is_its_own(memory: Memory) -> None:
    """Only what a call has written to is copied for later ones."""
    pages = Pages()

    def writes() -> list[int]:
        memory.write(range(10, 20))
        return memory.those(pages.own())

    assert in_a_fork(lambda: memory.those(pages.own())) == []
    assert in_a_fork(writes) == list(range(10, 20))


def test_what_others_have_written_to_is_copied_beforehand(memory: Memory) -> None:
    """A fork that has not written yet has for itself what it will write to, and nothing more."""
    pages = Pages()
    written = [memory.first + n for n in (3, 5, 6, 7, 40)]
    pages.learn(written[:3])
    pages.learn(written[2:])

    def copies() -> tuple[list[int], bytes]:
        pages.copy()
        return memory.those(pages.own()), memory.bytes[:]

    own, content = in_a_fork(copies)
    assert own == [3, 5, 6, 7, 40]
    assert content == memory.bytes[:]


def test_what_is_not_there_is_left_out(memory: Memory) -> None:
    """Memory that a call had beyond that of its server does not trouble the next one."""
    pages = Pages()
    memory_of_nobody = 2**34 - 1
    pages.learn([memory_of_nobody, memory.first])

    def copies() -> list[int]:
        pages.copy()
        return memory.those(pages.own())

    assert in_a_fork(copies) == [0]


def test_some_calls_are_enough() -> None:
    """To find out takes time, and later calls write to the same."""
    pages = Pages()
    for _ in range(ENOUGH):
        assert pages.wanted()
        pages.learn([1])

    assert not pages.wanted()


def test_without_the_systems_help_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that cannot call the system has its calls as fast as before."""
    monkeypatch.setitem(sys.modules, "ctypes", None)
    pages = Pages()

    assert not pages.wanted()
    pages.copy()
