"""A call that a warm host makes: one child of it, and what is told of that.

Run by the host's own interpreter; see `main`. The child is forked before there is anything
to do, so that nobody waits for that, and has told how its call ended before the system takes its
memory apart: either takes a tenth of a short call.
"""

import contextlib
import fcntl
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from spec_kitty_client.transports.warm.server.state import threads

__all__ = ["Call", "files_of", "line_of", "modules_since"]

CHUNK = 64 * 1024  # bytes of output in one reply, so that calls take turns
GRACE = 5.0  # seconds between two steps of ending a call
PLACE = 100  # number of a descriptor that a program does not come to


class Call:
    """One child, from its fork to the last byte of what it has written."""

    def __init__(self, folder: str, then: Callable[["Call", int], None]) -> None:
        self.number = 0
        """Of what was asked for; 0: nobody waits for it."""
        self.pid = 0
        self.then = then
        """What is done with it and its exit code."""
        self.over = False
        """Whether that was done."""
        self.out: IO[bytes]
        self.err: IO[bytes]
        self.news: IO[bytes]
        """What it is asked for, then what it tells of itself, a line each."""
        self.out, self.err, self.news = (
            tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed when it has been told
            for _ in range(3)
        )
        ends = os.pipe()
        self.begins, self.go = os.fdopen(ends[0], "rb", 0), os.fdopen(ends[1], "wb", 0)
        self.next_step: float | None = None
        self.steps = [signal.SIGKILL]

    def begin(self, request: dict[str, Any]) -> None:
        """Have the child do what is asked for.

        Raises:
            OSError: If there is none any more; nothing has happened.
        """
        # As a file it may be of any size, and nobody waits until it is read.
        os.pwrite(self.news.fileno(), line_of(**request), 0)
        os.write(self.go.fileno(), b"\n")
        self.number, self.steps = request["id"], [signal.SIGTERM, signal.SIGKILL]

    def end(self, *, at_once: bool = False) -> None:
        """Ask it to end, then end it: the next of two steps each time."""
        if at_once:
            self.steps = [signal.SIGKILL]
        if self.steps:
            self.signal(self.steps.pop(0))
        self.next_step = time.monotonic() + GRACE if self.steps else None

    def signal(self, number: int) -> None:
        """Signal it and everything that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    @property
    def is_asked_to_end(self) -> bool:
        """Whether nothing that it has started may be left."""
        return self.next_step is not None or not self.steps

    def has_ended(self) -> int | None:
        """Return its exit code, once it has one; who was asked to end leaves nothing."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        if self.is_asked_to_end:
            self.signal(signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def ends(self) -> int | None:
        """Return its exit code, once nothing is left to be done but to end."""
        code: int | None = None if self.over or self.is_asked_to_end else self.told().get("code")
        return code

    def told(self) -> dict[str, Any]:
        """Return what the child has told of itself; there is nothing of who was killed."""
        return self._line(0)

    def told_later(self) -> dict[str, Any]:
        """Return what the child has told after how it ends."""
        return self._line(1)

    def _line(self, number: int) -> dict[str, Any]:
        lines = os.pread(self.news.fileno(), _size(self.news), 0).split(b"\n")
        line: dict[str, Any] = {}
        with contextlib.suppress(ValueError, IndexError):  # it may be half of it
            line = json.loads(lines[number])
        return line

    def replies(self, code: int, largest: int) -> Iterator[bytes]:
        """Yield what the child has written, and then how it ended."""
        for name, file in (("out", self.out), ("err", self.err)):
            left = _size(file)
            at = max(0, left - largest)
            while at < left:
                part = os.pread(file.fileno(), min(CHUNK, left - at), at)
                if not part:
                    break
                at += len(part)
                yield line_of(id=self.number, stream=name, length=len(part)) + part
        yield line_of(id=self.number, code=code)

    def has_written(self) -> bool:
        """Tell whether there is any output of it."""
        return any(_size(file) for file in (self.out, self.err))

    def forget(self) -> None:
        """Forget what it has written."""
        for file in (self.out, self.err):
            file.close()

    def close(self) -> None:
        """Forget all of it."""
        for file in (self.out, self.err, self.news, self.begins, self.go):
            file.close()

    # In the child

    def take_files(self) -> None:
        """Have its files for outputs, and the other one always in the same place."""
        os.dup2(self.out.fileno(), 1)
        os.dup2(self.err.fileno(), 2)
        for file in (self.out, self.err, self.go):
            file.close()
        with contextlib.suppress(OSError):  # so many may not be allowed
            moved = fcntl.fcntl(self.news.fileno(), fcntl.F_DUPFD_CLOEXEC, PLACE)
            self.news.close()
            self.news = os.fdopen(moved, "r+b", 0)

    def request(self) -> dict[str, Any] | None:
        """Wait for what is asked for; None: nobody will ask."""
        if not self.begins.read(1):
            return None
        self.begins.close()
        request = self.told()
        os.ftruncate(self.news.fileno(), 0)
        self.child, self.file = os.getpid(), os.fstat(self.news.fileno())
        return request

    def tell(self, line: bytes) -> None:
        """Tell something about itself."""
        # Whoever closes files that it does not know may have another in its place.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self.news.fileno()), self.file):
                os.pwrite(self.news.fileno(), line, _size(self.news))

    def tell_end(self, code: int, modules: dict[str, str | None], parent: int) -> bool:
        """Tell what is known at the end; and how it ends, if only the system has work left.

        Returns:
            Whether it has told how it ends.
        """
        if os.getpid() != self.child:
            return False  # the host has forked, and this is not the end of what was called
        if threads() > 1:
            self.tell(line_of(modules=modules))
            return False
        with contextlib.suppress(OSError):
            for fd in map(int, os.listdir("/dev/fd")):
                if fd != self.news.fileno():
                    with contextlib.suppress(OSError):
                        os.close(fd)
            self.tell(line_of(modules=modules, code=code))
            if os.getppid() == parent:
                os.kill(parent, signal.SIGCHLD)
        return True


def modules_since(before: int) -> dict[str, str | None]:
    """Return the names of what was imported after so many others, with their files."""
    # From the end, because to touch what is shared with the parent copies it.
    new = [*itertools.islice(reversed(sys.modules), max(0, len(sys.modules) - before))]
    return files_of(reversed(new))


def files_of(names: Iterable[str]) -> dict[str, str | None]:
    """Return where modules are from."""
    about = {name: getattr(sys.modules.get(name), "__dict__", {}).get("__file__") for name in names}
    return {name: file if isinstance(file, str) else None for name, file in about.items()}


def line_of(**fields: object) -> bytes:
    """Return a reply."""
    return json.dumps(fields).encode() + b"\n"


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size
