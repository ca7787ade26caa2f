"""A call that a warm host makes: one child of it, and what is told of that.

Run by the host's own interpreter; see `warm_server`.
"""

import contextlib
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator

__all__ = ["Call", "files_of", "line_of"]

CHUNK = 64 * 1024  # bytes of output in one reply, so that calls take turns
GRACE = 5.0  # seconds between two steps of ending a call


class Call:
    """One child, from its fork to the last byte of what it has written."""

    def __init__(self, number: int, folder: str, then: Callable[["Call", int], None]) -> None:
        self.number = number
        self.pid = 0
        self.then = then
        """What is done with it and its exit code."""
        self.out, self.err, self.news = (
            tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed when it has been told
            for _ in range(3)
        )
        self.next_step: float | None = None
        self.steps = [signal.SIGTERM, signal.SIGKILL]

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

    def has_ended(self) -> int | None:
        """Return its exit code, once it has one; who was asked to end leaves nothing."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        if self.next_step is not None or not self.steps:
            self.signal(signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def replies(self, code: int, largest: int) -> Iterator[bytes]:
        """Yield what the child has written, and then how it ended."""
        for name, file in (("out", self.out), ("err", self.err)):
            left = os.fstat(file.fileno()).st_size
            at = max(0, left - largest)
            while at < left:
                part = os.pread(file.fileno(), min(CHUNK, left - at), at)
                if not part:
                    break
                at += len(part)
                yield line_of(id=self.number, stream=name, length=len(part)) + part
        yield line_of(id=self.number, code=code)

    def modules(self) -> dict[str, str | None]:
        """Return the names that the child has imported and we have not, with their files."""
        self.news.seek(0)
        told: dict[str, str | None] = {}
        with contextlib.suppress(ValueError):  # there is none of who was killed
            told = json.loads(self.news.read())
        return told

    def tell_modules(self, before: int) -> None:
        """Remember what was imported in the child."""
        # From the end, because to touch what is shared with the parent copies it.
        new = [*itertools.islice(reversed(sys.modules), max(0, len(sys.modules) - before))]
        os.pwrite(self.news.fileno(), json.dumps(files_of(reversed(new))).encode(), 0)

    def has_written(self) -> bool:
        """Tell whether there is any output of it."""
        return any(os.fstat(file.fileno()).st_size for file in (self.out, self.err))

    def close(self) -> None:
        """Forget what it has written."""
        for file in (self.out, self.err, self.news):
            file.close()


def files_of(names: Iterable[str]) -> dict[str, str | None]:
    """Return where modules are from."""
    about = {name: getattr(sys.modules.get(name), "__dict__", {}).get("__file__") for name in names}
    return {name: file if isinstance(file, str) else None for name, file in about.items()}


def line_of(**fields: object) -> bytes:
    """Return a reply."""
    return json.dumps(fields).encode() + b"\n"
