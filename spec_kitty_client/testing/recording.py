"""Transports that pass calls on, and write down what came of them."""

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
    Completed,
    GitTransport,
    Kept,
    Transport,
)

__all__ = ["AsyncRecording", "Recording"]


class _Recorder:
    """Writes each call as soon as it has ended, so that a crash loses those under way alone."""

    def __init__(
        self, path: Path, placeholders: Placeholders, transport: object, *, overwrite: bool
    ) -> None:
        self._path, self._placeholders, self._ids = path, placeholders, Ids()
        self._lock = Lock()
        git = isinstance(transport, GitTransport | AsyncGitTransport)
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(header(placeholders.names, git=git))
        if isinstance(transport, Kept):
            self.prepare: Callable[[], None] = transport.prepare
            self.close: Callable[[], None] = transport.close

    @contextmanager
    def _call(
        self, program: str, args: Sequence[str], folder: str | None = None
    ) -> Generator[Callable[[Completed], Completed]]:
        """Hand out what has to be told of the end, and passes it on."""
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
    """Passes calls on and writes them down; see `Tape.record`.

    It is a `GitTransport` and `Kept` if the other one is. It is never `Identified`, so that each
    client asks what the host is, as the one will that gets the replay.
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
    """The same for an `AsyncTransport`."""

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
