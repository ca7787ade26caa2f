"""Transports that pass calls on and record the results on a tape."""

from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from attrs import evolve

from spec_kitty_client.errors import HostNotFound
from spec_kitty_client.testing.placeholders import Ids, Placeholders
from spec_kitty_client.testing.taped import GIT, HOST, Taped, header, line
from spec_kitty_client.transports import (
    AsyncGitTransport,
    AsyncTransport,
    Closeable,
    Completed,
    GitTransport,
    Transport,
)

__all__ = ["AsyncRecording", "Recording"]


class _Recorder:
    """Writes each call as soon as it ends, so that a crash loses only the running calls."""

    def __init__(
        self, path: Path, placeholders: Placeholders, transport: object, *, overwrite: bool
    ) -> None:
        self._path, self._placeholders, self._ids = path, placeholders, Ids()
        self._lock = Lock()
        git = isinstance(transport, GitTransport | AsyncGitTransport)
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(header(placeholders.names, git=git))
        if isinstance(transport, Closeable):
            self.prepare: Callable[[], None] = transport.prepare
            self.close: Callable[[], None] = transport.close

    @contextmanager
    def _call(
        self, program: str, args: Sequence[str], folder: str | None = None
    ) -> Generator[Callable[[Completed], Completed]]:
        """Yield a function that records the result of a call and returns it unchanged."""
        taped = Taped(program=program, args=tuple(args), folder=folder)

        def ended(done: Completed) -> Completed:
            out, err = (b.decode("utf-8", "surrogateescape") for b in (done.stdout, done.stderr))
            self._write(evolve(taped, exit_code=done.exit_code, stdout=out, stderr=err))
            return done

        try:
            yield ended
        except HostNotFound as e:
            self._write(evolve(taped, not_found=str(e)))
            raise

    def _write(self, taped: Taped) -> None:
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line(self._hidden(taped)))

    def _hidden(self, taped: Taped) -> Taped:
        def hide(text: str) -> str:
            return self._placeholders.hide(text, self._ids)

        return Taped(
            program=taped.program,
            args=tuple(map(hide, taped.args)),
            folder=taped.folder and hide(taped.folder),
            exit_code=taped.exit_code,
            stdout=hide(taped.stdout),
            stderr=hide(taped.stderr),
            not_found=taped.not_found and hide(taped.not_found),
        )


class Recording(_Recorder):
    """A transport that passes calls on and records them; see `Tape.record`.

    It is a `GitTransport` and `Closeable` if the wrapped transport is. It is never `HasIdentity`:
    each client then asks the host for its version, as it will on replay.
    """

    def __init__(
        self, path: Path, placeholders: Placeholders, transport: Transport, *, overwrite: bool
    ) -> None:
        super().__init__(path, placeholders, transport, overwrite=overwrite)
        self._transport: Any = transport
        if isinstance(transport, GitTransport):
            self.git: Callable[..., Completed] = self._git

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`."""
        with self._call(HOST, args) as ended:
            return ended(self._transport.run(args, time_limit=time_limit))

    def _git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        with self._call(GIT, args, folder) as ended:
            return ended(self._transport.git(args, folder=folder, time_limit=time_limit))


class AsyncRecording(_Recorder):
    """An `AsyncTransport` that passes calls on and records them; see `Tape.record_async`."""

    def __init__(
        self, path: Path, placeholders: Placeholders, transport: AsyncTransport, *, overwrite: bool
    ) -> None:
        super().__init__(path, placeholders, transport, overwrite=overwrite)
        self._transport: Any = transport
        if isinstance(transport, AsyncGitTransport):
            self.git: Callable[..., Coroutine[Any, Any, Completed]] = self._git

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `AsyncTransport.run`."""
        with self._call(HOST, args) as ended:
            return ended(await self._transport.run(args, time_limit=time_limit))

    async def _git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        with self._call(GIT, args, folder) as ended:
            return ended(await self._transport.git(args, folder=folder, time_limit=time_limit))
