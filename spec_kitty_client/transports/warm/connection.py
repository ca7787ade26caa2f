"""The connection to a fork server: one thread writes, one thread reads, and callers wait."""

import contextlib
import itertools
import json
import os
import queue
import threading
import weakref
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field

from spec_kitty_client.transports import call_variables
from spec_kitty_client.transports.launchers import Launch
from spec_kitty_client.transports.program import GRACE, LARGEST

__all__ = ["LONGEST_END", "PendingCall", "ServerConnection", "ServerLocation", "connections"]

LONGEST_END = 2 * GRACE + 1.0  # seconds for a server to end a call

_FOLDER = Path(__file__).parent / "server"
_TEXTS = ("state.py", "program.py", "call.py", "forkserver.py")
# The server is sent as text, so that it need not be installed where the host is. Each text can
# import those before it, and nothing in the current folder is taken for a module.
_BOOT = """\
import sys
first = sys.path[:1] == [""]
if first: sys.path.pop(0)
import os
os.write(1, b"\\n")
def take(n):
    taken = b""
    while len(taken) < n:
        part = os.read(0, n - len(taken))
        if not part: os._exit(0)
        taken += part
    return taken
line = b""
while not line.endswith(b"\\n"): line += take(1)
texts, options = eval(line)
for name, size in texts:
    module = sys.modules[name] = type(sys)(name)
    exec(compile(take(size), "<warm>", "exec"), module.__dict__)
for name, _ in texts: del sys.modules[name]
module.main({**eval(take(options)), "first_on_path": first})
"""


class ServerLocation(Protocol):
    """A place where a server can be started."""

    @property
    def words(self) -> tuple[str, ...]:
        """The command of the host: its absolute path, and its first arguments."""
        ...

    @property
    def key(self) -> Hashable:
        """Equal for all locations that one server can serve."""
        ...

    @property
    def folder(self) -> str | None:
        """The folder of calls; None: that in which the server was started."""
        ...

    @property
    def umask(self) -> int | None:
        """The umask of calls; None: that with which the server was started."""
        ...

    def head(self, path: str) -> bytes:
        """Read the beginning of a file."""
        ...

    def start(self, argv: Sequence[str]) -> Any:
        """Start a program with pipes for input and all output, in a session of its own."""
        ...

    def lost(self, proc: Any) -> tuple[int, bytes]:
        """Clean up after a server; return exit code and stderr of calls that died with it."""
        ...


@define(eq=False)
class PendingCall:
    """A call that was requested from a server."""

    number: int
    connection: "ServerConnection"
    done: threading.Event = field(factory=threading.Event)
    sent: bool = False
    code: int | None = None
    out: bytes = b""
    err: bytes = b""
    not_made: str | None = None
    """Why the host was not run."""
    rejected: bool = False
    """Whether no server can make it, so that it needs a process of its own."""

    def end(self, *, at_once: bool = False) -> None:
        """Ask the server to end the call with all its children; drop an unsent call."""
        if not self.connection.withdraw(self):
            self.connection.ask(end=self.number, at_once=at_once)


class ServerConnection:
    """A started server, and the calls that were requested from it."""

    def __init__(self, location: ServerLocation, launch: Launch) -> None:
        self.location = location
        self.proc: Any = location.start([*launch.interpreter, "-c", _BOOT])
        self.owner: int = os.getpid()
        self.over: str | None = None
        """The reason that it accepts no more calls."""
        self.again: bool = False
        """Whether a new server may succeed."""
        self.ready: bool = False
        """Whether the host is imported. The client sends no call before, so an earlier failure has
        had no effect."""
        self._go = threading.Event()
        self._calls: dict[int, PendingCall] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._requests = queue.SimpleQueue[tuple[PendingCall | None, bytes] | None]()
        self._first = _first_input(launch)
        self._threads = [
            threading.Thread(target=job, name="spec-kitty-warm", daemon=True)
            for job in (self._write, self._read)
        ]
        connections.add(self)
        for thread in self._threads:
            thread.start()

    @property
    def usable(self) -> bool:
        """Whether it accepts calls of this process."""
        return self.over is None and self.owner == os.getpid()

    def send(self, args: Sequence[str], location: ServerLocation) -> PendingCall:
        """Request a call."""
        call = PendingCall(next(self._numbers), self)
        words = [os.fsencode(word).decode("utf-8", "surrogateescape") for word in args]
        with self._lock:
            if self.over is not None:
                call.not_made = self.over
                call.done.set()
                return call
            self._calls[call.number] = call
        env, cwd = dict(call_variables()), location.folder
        self.ask(call, id=call.number, argv=words, env=env, cwd=cwd, umask=location.umask)
        return call

    def ask(self, call: PendingCall | None = None, /, **request: object) -> None:
        """Queue a request."""
        self._requests.put((call, json.dumps(request).encode() + b"\n"))

    def withdraw(self, call: PendingCall) -> bool:
        """Withdraw a call, and return whether it was still unsent."""
        with self._lock:
            if call.sent or self._calls.pop(call.number, None) is None:
                return False
        call.done.set()
        return True

    def kill(self) -> None:
        """Kill a server that does not answer."""
        self.proc.kill()

    def close(self) -> None:
        """End the server, and wait for that."""
        if self.owner != os.getpid():
            return
        self._hang_up("it was closed")
        if not self.ready:
            self.kill()  # it does not read its input while it imports
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(LONGEST_END)

    def _hang_up(self, why: str) -> None:
        self.over = self.over or why
        self._requests.put(None)
        self._go.set()

    def disown(self) -> None:
        """Leave the server to the process that started it; this process is a fork of that one."""
        self._lock = threading.Lock()
        self.over = "it belongs to another process"
        self.proc.returncode = 0
        for pipe in (self.proc.stdin, self.proc.stdout):
            with contextlib.suppress(OSError, ValueError):
                os.close(pipe.fileno())

    # The two threads

    def _write(self) -> None:
        self._go.wait()
        with contextlib.suppress(OSError):
            while (request := self._requests.get()) is not None:
                call, text = request
                if call is None or self._may_send(call):
                    self._put(text)
        self.proc.stdin.close()

    def _may_send(self, call: PendingCall) -> bool:
        with self._lock:
            call.sent = self.ready and call.number in self._calls
        return call.sent

    def _put(self, text: bytes) -> None:
        while text:
            text = text[os.write(self.proc.stdin.fileno(), text) :]

    def _read(self) -> None:
        # An unreadable reply is not from our server.
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            if (first := self.proc.stdout.readline(500)) not in (b"", b"\n"):
                self.over = f"its interpreter prints when it starts: {first!r}"
            elif self.over is None:
                self._put(self._first)
            while self.over is None or (self.ready and self._calls):
                line = self.proc.stdout.readline()
                if not line:
                    break
                self._receive(json.loads(line))
        self._hang_up("its server has died")
        code, words = self.location.lost(self.proc)
        self.proc.stdout.close()
        with self._lock:
            left = [*self._calls.values()]
            self._calls.clear()
        for call in left:
            if call.sent:
                call.code, call.err = code, words
            else:
                call.not_made = self.over
            call.done.set()

    def _receive(self, reply: dict[str, Any]) -> None:
        if "ready" in reply:
            self.ready = self.again = True
            self._go.set()
        if "cannot_fork" in reply:
            with self._lock:
                self.again, self.over = reply["again"], reply["cannot_fork"]
        if "id" in reply:
            out, err = (self.proc.stdout.read(reply.get(name, 0)) for name in ("out", "err"))
            with self._lock:
                call = self._calls.pop(reply["id"])
            call.out, call.err, call.code = out, err, reply.get("code")
            call.not_made = reply.get("rejected", reply.get("cannot_fork"))
            call.rejected = "rejected" in reply
            call.done.set()


def _first_input(launch: Launch) -> bytes:
    paths = [_FOLDER / name for name in _TEXTS]
    texts = {f"{__package__}.server.{path.stem}": path.read_bytes() for path in paths}
    options = ascii({"script": launch.script, "module": launch.module, "largest": LARGEST}).encode()
    sizes = [(name, len(text)) for name, text in texts.items()], len(options)
    return b"".join([ascii(sizes).encode() + b"\n", *texts.values(), options])


connections: weakref.WeakSet[ServerConnection] = weakref.WeakSet()
