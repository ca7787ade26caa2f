"""One call: a forked child with its output files, and the socket that brings its request."""

import contextlib
import json
import os
import signal
import socket
import tempfile
import time
from typing import IO, Any

__all__ = ["GRACE", "ForkedCall"]

GRACE = 4.0  # seconds from a hang-up to SIGTERM, and from SIGTERM to SIGKILL
BEGUN = b"\n"


class ForkedCall:
    """A child of the fork server, which may be forked before its request arrives."""

    def __init__(self, folder: str) -> None:
        self.number: int = 0
        """The number of the request; 0: it has none yet."""
        self.pid = 0
        self.out: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self.err: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self.socket: socket.socket
        self.socket_of_child: socket.socket
        self.socket, self.socket_of_child = socket.socketpair()
        self.socket.settimeout(GRACE)
        self.socket_of_child.settimeout(None)  # the host may have changed the default
        self.signals: list[signal.Signals] = [signal.SIGKILL]
        """The signals that are still to be sent to end it."""
        self.next_signal_at: float | None = None

    def close(self) -> None:
        """Close its files."""
        for file in (self.out, self.err, self.socket, self.socket_of_child):
            file.close()

    # In the server

    def send(self, request: dict[str, Any]) -> None:
        """Send the child its request.

        Raises:
            OSError: If the child is gone. The host has done nothing.
        """
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        self.number, self.signals = request["id"], [signal.SIGTERM, signal.SIGKILL]

    def end(self, *, at_once: bool = False) -> None:
        """Send the next signal: SIGTERM, later SIGKILL; at once: SIGKILL only."""
        if at_once:
            self.signals = [signal.SIGKILL]
        if self.signals:
            self.kill(self.signals.pop(0))
        self.next_signal_at = time.monotonic() + GRACE if self.signals else None

    def kill(self, number: int) -> None:
        """Signal the process group of the call."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    @property
    def is_ending(self) -> bool:
        """Whether it has to end, so that none of its processes may remain."""
        return self.next_signal_at is not None or not self.signals

    def exit_code(self) -> int | None:
        """Reap the child if it has ended, and return its exit code."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        if self.is_ending:  # before the reaping, because the system may reuse its id then
            self.kill(signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def rejection(self) -> str | None:
        """Return the reason that an ended child has not run the host; None: it has."""
        self.socket.setblocking(False)
        answer = b""
        with contextlib.suppress(OSError):
            answer = self.socket.recv(4096)
        if answer == BEGUN:
            return None
        return answer.decode(errors="replace") or "its process was killed before it began"

    def output(self, most: int) -> tuple[bytes, bytes]:
        """Return the last bytes of stdout and of stderr."""
        return _tail(self.out, most), _tail(self.err, most)

    # In the child

    def receive(self) -> dict[str, Any] | None:
        """Wait for the request; None: the server has ended or has no request."""
        with self.socket_of_child.makefile("rb") as file:
            line = file.readline()
        request: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return request

    def answer(self, rejection: str | None) -> None:
        """Report to the server that the host begins, or why it does not; close the files."""
        self.socket_of_child.sendall(BEGUN if rejection is None else rejection.encode()[:4096])
        os.dup2(self.out.fileno(), 1)
        os.dup2(self.err.fileno(), 2)
        self.close()


def _tail(file: IO[bytes], most: int) -> bytes:
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), most, max(0, size - most))
