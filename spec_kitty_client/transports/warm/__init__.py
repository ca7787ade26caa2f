"""A host that is kept warm: imported once, and forked for every call.

A host takes seconds to be imported and hundredths of one to answer. One process of the host's
own interpreter imports it, and its children are the calls; see `server` for that side.
Wherever that cannot be done, a transport starts a process for every call, as ever.

What differs all the same: what a module has made at import of the time, of chance or of the
folder is that of the server (calls in other folders are made by it only for the API, which asks
for its folder each time); limits, priority and ignored signals are those of when it was started; a
process may be older than its call, and still be ending when that was answered, with no file open
and no other thread; modules may be in memory that a call does not import; a file that is edited in
its place is noticed only where it is not installed; variables that a shell sets by the way
(``_``, ``SHLVL``, ``PWD``) are not set where a host is behind a wrapper.
"""

import contextlib
import itertools
import json
import os
import queue
import signal
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, evolve, field

from spec_kitty_client.errors import CannotBeWarm, HostNotFound
from spec_kitty_client.transports import (
    AsyncGitTransport,
    AsyncTransport,
    Completed,
    GitTransport,
    HasIdentity,
    InRepository,
    Transport,
)
from spec_kitty_client.transports.launchers import Launch, NotPython, find
from spec_kitty_client.transports.program import GRACE, LARGEST, LONGEST_WAIT

__all__ = ["AsyncWarmTransport", "Place", "WarmTransport", "Warmable"]

_FOLDER = Path(__file__).parent / "server"
_TEXTS = ("state.py", "program.py", "pages.py", "call.py", "main.py")
# Read as text from the input, so that they need not be there where the host is; each text can
# import those before it. What is in the current folder must not be taken for a module.
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
texts, told = eval(line)
for name, size in texts:
    module = sys.modules[name] = type(sys)(name)
    exec(compile(take(size), "<warm>", "exec"), module.__dict__)
for name, _ in texts: del sys.modules[name]
module.main({**eval(take(told)), "first_on_path": first})
"""
_LONGEST = 100_000  # bytes of arguments; more may be too many for the operating system to start
_STRIKES = 3  # servers that were of no use, one after the other
_ENOUGH = 2 * GRACE + 1.0  # seconds for a server to end a call
_PATIENCE = 60.0  # seconds for a host to be imported, when somebody has waited in vain


class Place(Protocol):
    """Where a server can be started: what a transport knows about its host."""

    @property
    def words(self) -> tuple[str, ...]:
        """The host as it is called: its absolute path, and words of its own."""
        ...

    @property
    def key(self) -> Hashable:
        """The same for everything that one server can serve."""
        ...

    @property
    def folder(self) -> str | None:
        """Where calls run; None: where the server was started."""
        ...

    @property
    def umask(self) -> int | None:
        """What calls must not let others do with their files; None: as the server was started."""
        ...

    def head(self, path: str) -> bytes:
        """Read the beginning of a file."""
        ...

    def start(self, argv: Sequence[str]) -> Any:
        """Start a program with pipes for input and all output, in a session of its own."""
        ...

    def lost(self, proc: Any) -> tuple[int, bytes]:
        """Clean up after a server; return exit code and stderr of a call that it took along."""
        ...


class Warmable(Protocol):
    """A transport whose host can be kept warm."""

    def place(self) -> Place | None:
        """Return where the host is; None: there is none. May take as long as a call."""
        ...


class _ColdTransport(Warmable, Transport, GitTransport, Protocol):
    pass


class _AsyncColdTransport(Warmable, AsyncTransport, AsyncGitTransport, Protocol):
    pass


@define(eq=False)
class _Call:
    """A call on its way."""

    number: int
    line: "_Line"
    done: threading.Event = field(factory=threading.Event)
    sent: bool = False
    out: list[bytes] = field(factory=list)
    err: list[bytes] = field(factory=list)
    code: int | None = None
    unfit: str | None = None
    """Why it was not made."""
    cold: bool = False
    """Whether it can be made nowhere but in a process of its own."""

    def end(self, *, at_once: bool = False) -> None:
        """Ask that it be ended, with all its children; it is never begun after that."""
        if not self.line.withdraw(self):
            self.line.ask(end=self.number, at_once=at_once)


class _Line:
    """The connection to a server. One thread writes, one reads, and callers wait."""

    def __init__(self, place: Place, launch: Launch) -> None:
        self.place = place
        self.proc = place.start([*launch.interpreter, "-c", _BOOT])
        self.owner, self.began = os.getpid(), time.monotonic()
        self.over: str | None = None
        """Why it takes no calls any more."""
        self.again = False
        """Whether another server may do better."""
        self.ready = False
        """Whether the host is imported; nothing is sent before that."""
        self._listening, self._go = threading.Event(), threading.Event()
        self._calls: dict[int, _Call] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._requests: queue.SimpleQueue[tuple[_Call | None, bytes] | None]
        self._requests = queue.SimpleQueue()
        self._first = _first_words(launch)
        self._threads = [
            threading.Thread(target=job, name="spec-kitty-warm", daemon=True)
            for job in (self._write, self._read)
        ]
        _lines.add(self)
        for thread in self._threads:
            thread.start()

    @property
    def usable(self) -> bool:
        """Whether it takes calls of this process."""
        return self.over is None and self.owner == os.getpid()

    def send(self, args: Sequence[str], place: Place) -> _Call:
        """Ask for a call; what becomes of it is told by the call."""
        call = _Call(next(self._numbers), self)
        words = [os.fsencode(word).decode("utf-8", "surrogateescape") for word in args]
        with self._lock:
            call.unfit = self.over
            if call.unfit is None:
                self._calls[call.number] = call
        if call.unfit is None:
            self.ask(call, id=call.number, argv=words, cwd=place.folder, umask=place.umask)
        else:
            call.done.set()
        return call

    def ask(self, call: _Call | None = None, /, **request: object) -> None:
        """Send something, without waiting until it is read."""
        self._requests.put((call, json.dumps(request).encode() + b"\n"))

    def withdraw(self, call: _Call) -> bool:
        """Take back what was not sent yet, and tell whether it was that."""
        with self._lock:
            if call.sent or self._calls.pop(call.number, None) is None:
                return False
        if not self.ready and time.monotonic() - self.began > _PATIENCE:
            self.over = f"it takes longer than {_PATIENCE:.0f} seconds to be imported"
            self.kill()
        call.done.set()
        return True

    def kill(self) -> None:
        """End a server that does not answer."""
        with contextlib.suppress(ProcessLookupError):
            self.proc.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Let the server end, and wait for that; what it still does is over soon."""
        if self.owner != os.getpid():
            return
        self._hang_up("it was closed")
        if not self.ready:
            self.kill()  # while it imports, it does not listen
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_ENOUGH)

    def _hang_up(self, why: str) -> None:
        self.over = self.over or why
        self._requests.put(None)
        self._listening.set()
        self._go.set()

    def let_go(self) -> None:
        """Forget the server of another process, of which this one is a fork."""
        self._lock = threading.Lock()
        self.over = "it belongs to another process"
        self.proc.returncode = 0
        for pipe in (self.proc.stdin, self.proc.stdout):
            with contextlib.suppress(OSError, ValueError):
                os.close(pipe.fileno())

    # The two threads

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.wait()
            if self.over is None:
                self._put(self._first)
            self._go.wait()
            while (request := self._requests.get()) is not None:
                if self._may_send(request[0]):
                    self._put(request[1])
        self.proc.stdin.close()

    def _may_send(self, call: _Call | None) -> bool:
        if call is None:
            return True
        with self._lock:
            call.sent = self.ready and call.number in self._calls
        return call.sent

    def _put(self, text: bytes) -> None:
        while text:
            text = text[os.write(self.proc.stdin.fileno(), text) :]

    def _read(self) -> None:
        # Whatever cannot be understood is not of our server.
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            if (first := self.proc.stdout.readline(500)) not in (b"", b"\n"):
                self.over = f"its interpreter prints when it starts: {first!r}"
            self._listening.set()
            while self.over is None or (self.ready and self._calls):
                line = self.proc.stdout.readline()
                if not line:
                    break
                self._take(json.loads(line))
        self._hang_up("its server has died")
        code, words = self.place.lost(self.proc)
        self.proc.stdout.close()
        with self._lock:
            left = [*self._calls.values()]
            self._calls.clear()
        for call in left:
            if call.sent:
                call.code, call.out, call.err = code, [], [words]
            else:
                call.unfit = self.over
            call.done.set()

    def _take(self, reply: dict[str, Any]) -> None:
        if "ready" in reply:
            self.ready = self.again = True
            self._go.set()
        if "unfit" in reply:
            with self._lock:
                self.again, self.over = reply["again"], reply["unfit"]
        if "length" in reply:
            part = self.proc.stdout.read(reply["length"])
            call = self._calls[reply["id"]]
            (call.out if reply["stream"] == "out" else call.err).append(part)
        elif "id" in reply:
            with self._lock:
                call = self._calls.pop(reply["id"])
            call.cold = "declined" in reply
            call.code, call.unfit = reply.get("code"), reply.get("unfit")
            call.done.set()


def _first_words(launch: Launch) -> bytes:
    told = {"script": launch.script, "module": launch.module, "largest": LARGEST}
    paths = [_FOLDER / name for name in _TEXTS]
    texts = {f"{__package__}.server.{path.stem}": path.read_bytes() for path in paths}
    about = ascii(told).encode()
    sizes = [(name, len(text)) for name, text in texts.items()], len(about)
    return b"".join([ascii(sizes).encode() + b"\n", *texts.values(), about])


class _Server:
    """A server in use. It ends when nobody has it any more, or with this process."""

    def __init__(self, place: Place, launch: Launch) -> None:
        self.key = place.key
        self.line = _Line(place, launch)
        self.close = weakref.finalize(self, self.line.close)


_lines: weakref.WeakSet[_Line] = weakref.WeakSet()
_servers: weakref.WeakValueDictionary[Hashable, _Server] = weakref.WeakValueDictionary()
_transports: "weakref.WeakSet[_Warm[Any]]" = weakref.WeakSet()
_looking = [threading.Lock()]
"""Held by who looks for a server, so that nobody starts another meanwhile."""


def _forget() -> None:
    """In a fork of this process: forget its servers, and locks of threads that are not here."""
    _looking[:] = [threading.Lock()]
    for transport in tuple(_transports):
        transport.let_go()
    for line in tuple(_lines):
        line.let_go()
    _servers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


R = TypeVar("R")
T = TypeVar("T", bound=Warmable)
S = TypeVar("S", bound=_ColdTransport)
A = TypeVar("A", bound=_AsyncColdTransport)


@define(eq=False)
class _Warm(Generic[T]):
    """What both transports are made of."""

    cold: T
    """What makes the calls that cannot be made warm, and runs git."""
    only: bool = field(default=False, kw_only=True)
    """Raise `CannotBeWarm` instead."""
    _server: _Server | None = field(default=None, init=False)
    _dead: set[_Line] = field(factory=set, init=False)
    """Those since the last call that was answered."""
    _given_up: tuple[Hashable, str] | None = field(default=None, init=False)
    _starting: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        _transports.add(self)

    def let_go(self) -> None:
        """Forget what another process has, of which this one is a fork."""
        self._starting, self._server = threading.Lock(), None

    @property
    def why_cold(self) -> str | None:
        """Why calls are not made warm; None: they are, as far as is known."""
        return self._given_up and self._given_up[1]

    def identity(self) -> Hashable:
        """See `HasIdentity.identity`."""
        cold: object = self.cold
        return cold.identity() if isinstance(cold, HasIdentity) else None

    def repository(self) -> Hashable:
        """See `InRepository.repository`."""
        cold: object = self.cold
        return cold.repository() if isinstance(cold, InRepository) else id(cold)

    def prepare(self) -> None:
        """Start the server now, without waiting for it."""
        with contextlib.suppress(HostNotFound, CannotBeWarm):
            if (place := self.cold.place()) is not None:
                self._find(place)

    def close(self) -> None:
        """Let the server end, unless others use it. The next call starts one again."""
        self._server = None

    def _begin(self, args: Sequence[str]) -> tuple[_Server, _Call] | None:
        """Ask for a call, if it can be made warm. Its server ends if it is not kept."""
        size = sum(len(os.fsencode(word)) for word in args)
        if size > _LONGEST or any("\0" in word for word in args):
            return None  # the operating system is to say what it thinks of that
        place = self.cold.place()
        if place is None or (server := self._find(place)) is None:
            return None
        return server, server.line.send(args, place)

    def _find(self, place: Place) -> _Server | None:
        with self._starting:
            server = self._running(place) or self._started(place)
        if server is None and self.only:
            msg = f"The host cannot be kept warm: {self.why_cold}"
            raise CannotBeWarm(msg)
        return server

    def _running(self, place: Place) -> _Server | None:
        for server in (self._server, _servers.get(place.key)):
            if server is not None and server.key == place.key and server.line.usable:
                self._server, self._given_up = server, None
                return server
        return None

    def _started(self, place: Place) -> _Server | None:
        if self._given_up is not None and self._given_up[0] == place.key:
            return None
        try:
            launch = find(place.words, place.head)
            with _looking[0]:
                if (server := self._running(place)) is None:
                    server = self._server = _servers[place.key] = _Server(place, launch)
        except (NotPython, OSError) as e:
            self._given_up = (place.key, str(e))
            return None
        self._given_up = None
        return server

    def _conclude(
        self, call: _Call, args: Sequence[str], time_limit: float, *, in_time: bool
    ) -> Completed | None:
        """Return how a call ended; None: it was not made, and may be made in another way."""
        line = call.line
        if line.usable:
            self._dead.clear()
        else:
            self._dead.add(line)
            if not line.again or len(self._dead) >= _STRIKES:
                self._given_up = (line.place.key, line.over or "")
        if in_time and (call.cold or call.unfit is not None):
            return None
        return Completed(
            argv=(*line.place.words, *args),
            exit_code=call.code if in_time else None,
            stdout=b"".join(call.out),
            stderr=b"".join(call.err),
            time_limit=time_limit,
        )


class WarmTransport(_Warm[S]):
    """Makes the calls of another transport by a host that is kept warm, where that can be done.

    No answer tells the difference. A call whose server was killed has the exit code -9, as if
    its own process had been.
    """

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`. Ctrl-C ends the call with all its children."""
        until = time.monotonic() + time_limit
        while begun := self._begin(args):
            (_server, call), in_time = begun, False
            try:
                in_time = call.done.wait(min(_left(until), LONGEST_WAIT))
            finally:
                if not in_time:
                    _end(call)
            if completed := self._conclude(call, args, time_limit, in_time=in_time):
                return completed
            if call.cold:
                break
        return evolve(self.cold.run(args, time_limit=_left(until)), time_limit=time_limit)

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        return self.cold.git(args, folder=folder, time_limit=time_limit)


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())


def _end(call: _Call) -> None:
    """End a call; an interruption only shortens the grace."""
    try:
        call.end()
        call.done.wait(_ENOUGH)
    finally:
        if not call.done.is_set():
            call.end(at_once=True)
            if not call.done.wait(GRACE):
                call.line.kill()
                call.done.wait(GRACE)


class AsyncWarmTransport(_Warm[A]):
    """The same, under any anyio event loop."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `AsyncTransport.run`."""
        import anyio

        until = time.monotonic() + time_limit
        # In a thread, because over ssh it takes a while to find the host.
        while begun := await _in_thread(self._begin, args):
            (_server, call), in_time = begun, False
            try:
                with anyio.move_on_after(_left(until)):
                    in_time = await _wait(call)
            finally:
                if not in_time:
                    await _end_async(call)
            if completed := self._conclude(call, args, time_limit, in_time=in_time):
                return completed
            if call.cold:
                break
        completed = await self.cold.run(args, time_limit=_left(until))
        return evolve(completed, time_limit=time_limit)

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        return await self.cold.git(args, folder=folder, time_limit=time_limit)


async def _wait(call: _Call) -> bool:
    return await _in_thread(call.done.wait, abandon=True)


async def _in_thread(function: Callable[..., R], *args: object, abandon: bool = False) -> R:
    import anyio.to_thread

    # A limiter of its own: calls must never queue for one of a limited number of threads.
    return await anyio.to_thread.run_sync(
        function, *args, abandon_on_cancel=abandon, limiter=anyio.CapacityLimiter(1)
    )


async def _end_async(call: _Call) -> None:
    import anyio

    with anyio.CancelScope(shield=True):
        call.end()
        with anyio.move_on_after(_ENOUGH):
            await _wait(call)
        if not call.done.is_set():
            call.line.kill()
            with anyio.move_on_after(GRACE):
                await _wait(call)
