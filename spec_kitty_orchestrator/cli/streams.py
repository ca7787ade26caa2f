"""Make stdout and stderr safe for a run that lasts all night.

A character that a stream cannot encode is printed as an escape. When the reader of a pipe has
gone (``orchestrate | head``), the rest of the output is dropped: the run continues, and its exit
code is the same as with a reader. A run does not wait for a reader that has stopped reading either,
such as a terminal after Ctrl-S.
"""

import contextlib
import errno
import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Generator
from functools import partial

__all__ = ["DurableStream", "failed_output", "repair_streams", "unblocked"]

_MOST_PENDING = 4 * 2**20  # bytes that wait for a reader; more are dropped
_PATIENCE = 3.0  # seconds without progress after which the end of the output is dropped


class Outlet(io.BufferedIOBase):
    """A writer of bytes to a file descriptor. Writing never fails.

    Args:
        fd: The file descriptor.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.name = str(fd)
        self.error: OSError | None = None
        """The last error; a reader that is gone is not counted as one."""
        self.feeder: Feeder | None = None
        """The thread that takes the bytes while a run must not wait for the reader."""

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._fd)

    def write(self, data: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]
        """Write all bytes, give them to the feeder, or drop them."""
        if self.feeder is None:
            self.send(bytes(data))
        else:
            self.feeder.put(bytes(data))
        return len(data)

    def finish(self) -> None:
        """Wait for the feeder. If the reader has stopped reading, drop all further output."""
        if self.feeder and self.feeder.close():
            self.feeder = None

    def send(self, data: bytes) -> None:
        """Write all bytes, or drop them; wait for the reader."""
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # another program made the terminal non-blocking
                select.select([], [self._fd], [])
            except OSError as e:
                if e.errno != errno.EPIPE:
                    self.error = e
                return


class Feeder:
    """A thread that gives bytes to an outlet.

    Args:
        outlet: The outlet that gets the bytes.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._texts: deque[bytes] = deque()
        self._pending = 0
        self._dropped = False
        self._closed = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._feed, daemon=True, name="output")
        self._thread.start()

    def put(self, data: bytes) -> None:
        """Take bytes, unless too many wait already."""
        with self._news:
            if self._pending > _MOST_PENDING:
                self._dropped = True
                return
            if self._dropped:
                self._dropped = False
                data = b"\n... output was dropped; the journal has all of it ...\n" + data
            self._texts.append(data)
            self._pending += len(data)
            self._news.notify_all()

    def _feed(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._texts or self._closed)
                if not self._texts:
                    return
                data = self._texts.popleft()
            self._outlet.send(data)
            with self._news:
                self._pending -= len(data)
                self._news.notify_all()

    def close(self) -> bool:
        """Wait until all is written, or the reader has stopped reading; return whether all is."""
        with self._news:
            self._closed = True
            self._news.notify_all()
            left = self._pending + 1
            while self._pending and self._pending < left:
                left = self._pending
                self._news.wait_for(partial(self._is_below, left), _PATIENCE)
            return not self._pending

    def _is_below(self, size: int) -> bool:
        return self._pending < size


class DurableStream(io.TextIOWrapper):
    """A text stream that drops the output that it cannot write."""

    def __init__(self, outlet: Outlet, *, encoding: str, line_buffering: bool) -> None:
        super().__init__(
            outlet, encoding=encoding, errors="backslashreplace", line_buffering=line_buffering
        )
        self.outlet = outlet


def repair_streams() -> None:
    """Replace `sys.stdout` and `sys.stderr` by streams that never fail."""
    for fd in range(3):  # a file that is opened later must not get the number of stdout
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for fd, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # the descriptor was closed by the shell: `>&-`
            setattr(sys, name, DurableStream(Outlet(fd), encoding="utf-8", line_buffering=True))
        elif isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _durable(stream))


def _durable(stream: io.TextIOWrapper) -> DurableStream:
    encoding, lines, fd = stream.encoding, stream.line_buffering, stream.fileno()
    with contextlib.suppress(OSError):
        stream.flush()
    stream.detach()
    return DurableStream(Outlet(fd), encoding=encoding, line_buffering=lines)


@contextlib.contextmanager
def unblocked() -> Generator[None]:
    """Do not wait for the readers of stdout and stderr, until the end of the block."""
    streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, DurableStream)]
    for stream in streams:
        stream.flush()
        stream.outlet.feeder = Feeder(stream.outlet)
    try:
        yield
    finally:
        for stream in streams:
            stream.flush()
            stream.outlet.finish()


def failed_output() -> OSError | None:
    """Return why output to stdout was lost; None if all was written, or its reader is gone."""
    sys.stdout.flush()
    return sys.stdout.outlet.error if isinstance(sys.stdout, DurableStream) else None
