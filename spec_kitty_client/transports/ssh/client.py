"""The ssh client: its start, its stdin, and the result of the host in its output."""

import os
import re
import select
import threading
from contextlib import suppress
from typing import IO, Any

from attrs import frozen
from plumbum.machines.ssh_machine import SshMachine

from spec_kitty_client.errors import HostNotFound
from spec_kitty_client.transports import Completed
from spec_kitty_client.transports.program import GRACE, LARGEST

__all__ = ["LOST", "Machine", "SshProcess", "StdinPipe", "words_of"]

LOST = 255  # the exit code of ssh itself
_ANSWER = GRACE + 5.0  # seconds for the other machine to end a host and to send its output


class _NoSession:
    """Replaces the interactive session that plumbum would open to ask two questions."""

    def run(self, *_: Any, **__: Any) -> tuple[int, str, str]:
        return 0, "", ""

    def close(self) -> None:
        pass


class Machine(SshMachine):
    """Another machine. The command is an option of ssh.

    plumbum would put an environment and a folder of its own before a command.
    """

    def session(self, *_: Any, **__: Any) -> Any:
        """Open no session."""
        return _NoSession()


class StdinPipe:
    """The stdin of an ssh client: a script, then open and silent until the caller is gone."""

    def __init__(self, script: bytes) -> None:
        self._script = script
        self._over = threading.Event()
        self.end: int
        self.end, ours = os.pipe()
        # A thread, because a script may be longer than a pipe's buffer.
        threading.Thread(target=self._feed, args=(ours,), daemon=True).start()

    def _feed(self, ours: int) -> None:
        with suppress(BrokenPipeError), open(ours, "wb", buffering=0) as pipe:
            pipe.writelines(
                self._script[at : at + select.PIPE_BUF]
                for at in range(0, len(self._script), select.PIPE_BUF)
            )
            self._over.wait()

    def let_go(self) -> None:
        """End the input, so that the other machine ends the host."""
        self._over.set()

    def untouched(self) -> bool:
        """Return whether an ssh client that has ended has read nothing. Call it once."""
        self.let_go()
        with open(self.end, "rb", closefd=False) as left:
            return left.read() == self._script

    def close(self) -> None:
        """End the input, and close its end."""
        self.let_go()
        os.close(self.end)


@frozen(kw_only=True)
class SshProcess:
    """An ssh client with its task and its output."""

    host: str
    argv: tuple[str, ...]
    mark: str
    time_limit: float
    stdin: StdinPipe
    out: IO[bytes]
    err: IO[bytes]
    proc: Any

    def patience(self) -> float:
        """End the input; return the seconds that the other machine may take to end the host."""
        self.stdin.let_go()
        # pread, because the client shares the offset of the file.
        so_far = os.pread(self.err.fileno(), LARGEST, 0)
        return _ANSWER if f"{self.mark}begun;".encode() in so_far else 0.0

    def _told(self, file: IO[bytes]) -> dict[bytes, bytes]:
        """Return the output after each mark by the mark's name; ``b""``: before the first mark."""
        file.seek(0)
        parts = re.split(self.mark.encode() + rb"(\w+);", file.read())
        return {b"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}

    def completed(self, code: int | None) -> Completed:
        """Return exit code and output of the host.

        Raises:
            HostNotFound: If it could not be started, or ssh could not connect.
        """
        out, err = self._told(self.out), self._told(self.err)
        if b"refused" in err:
            raise HostNotFound(words_of(err[b"refused"]))
        if b"end" in out and b"code" in err and b"end" in err:
            written = err.get(b"host", err[b"begun"])
            # A flood of output may have pushed out the first mark; the second comes last.
            if b"failed" in err or (b"host" not in err and len(written) < LARGEST):
                why = f"{words_of(written)}\nInstall it again."
                raise HostNotFound(f"The host cannot be started on {self.host}: {why}")
            ended = None if code is None else int(err[b"code"])
            return self._completed(ended, out[b"begun"], written)
        if b"begun" not in err and code is not None:
            self._check_connection(code, words_of(err[b""]))
        words = b"".join(list(err.values())[1:] or err.values())
        return self._completed(None if code is None else LOST, b"", words)

    def _check_connection(self, code: int, words: str) -> None:
        if code not in range(LOST):  # of ssh, or it was killed
            if self.stdin.untouched():
                advice = (
                    f"`ssh -o BatchMode=yes {self.host} true` must work without a prompt: "
                    "check the name, port, keyfile and known_hosts."
                )
                raise HostNotFound(f"ssh to {self.host} failed: {words}\n{advice}")
        else:
            advice = "The login shell must run the command that ssh sends."
            raise HostNotFound(f"The shell on {self.host} did not start: {words}\n{advice}")

    def _completed(self, code: int | None, out: bytes, err: bytes) -> Completed:
        return Completed(
            argv=self.argv, exit_code=code, stdout=out, stderr=err, time_limit=self.time_limit
        )


def words_of(words: bytes) -> str:
    """Return an output as text for people."""
    return words.decode(errors="backslashreplace").strip() or "it said nothing"
