"""A new host process for every call, on another machine.

plumbum starts the ssh client; the other machine needs a POSIX shell and its usual tools,
nothing of ours. What is to be done goes there as a shell script on the client's input,
because a command line would be limited to 128 KiB in sum and could be read by others. That
input is then kept open: its end is how the other side learns that nobody waits any more, so
nothing goes on there whichever way the connection ends. The host writes to unnamed files over
there, whose content is sent at its end, between marks that no host can print.
"""

import math
import os
import re
import secrets
import select
import shlex
import shutil
import tempfile
import threading
from collections.abc import Generator, Hashable, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from subprocess import PIPE
from typing import IO, Any

from attrs import evolve, field, frozen
from attrs.converters import optional
from plumbum import LocalPath
from plumbum.machines.ssh_machine import SshMachine

from spec_kitty_client.errors import HostNotFound, InvalidCall
from spec_kitty_client.transports import Completed
from spec_kitty_client.transports.launchers import HEAD
from spec_kitty_client.transports.process import GIT_REDIRECTS, GIT_SET, SET, UNSET
from spec_kitty_client.transports.program import (
    GRACE,
    LARGEST,
    Program,
    stop,
    stop_now,
    wait,
    wait_at_most,
)
from spec_kitty_client.transports.ssh.script import (
    OTHER_HOME,
    READ,
    Task,
    environment,
    found,
    path,
)

__all__ = ["AsyncSshTransport", "SshTransport"]

_CONNECT = 20  # seconds
_ANSWER = GRACE + 5.0  # seconds for the other side to end a host and to send what it wrote
_LOST = 255  # the exit code of ssh itself


class _NoSession:
    """In place of the interactive session that plumbum would open first, for two questions."""

    def run(self, *_: Any, **__: Any) -> tuple[int, str, str]:
        return 0, "", ""

    def close(self) -> None:
        pass


class _Machine(SshMachine):
    """Another machine, of which nothing is asked but to run what an option of ssh says.

    Before the words of a command plumbum would put an environment and a folder of its own.
    """

    def session(self, *_: Any, **__: Any) -> Any:
        return _NoSession()


class _Lifeline:
    """The input of an ssh client: a script, and then nothing, as long as somebody waits."""

    def __init__(self, script: bytes) -> None:
        self._script = script
        self._over = threading.Event()
        self.end, ours = os.pipe()
        # A thread, because a pipe holds less than a script may have.
        threading.Thread(target=self._feed, args=(ours,), daemon=True).start()

    def _feed(self, ours: int) -> None:
        with suppress(BrokenPipeError), open(ours, "wb", buffering=0) as pipe:
            pipe.writelines(
                self._script[at : at + select.PIPE_BUF]
                for at in range(0, len(self._script), select.PIPE_BUF)
            )
            self._over.wait()

    def let_go(self) -> None:
        """Tell the other side that nobody waits any more."""
        self._over.set()

    def untouched(self) -> bool:
        """Tell whether nothing was taken from it; for after the end of the client, once."""
        self.let_go()
        with open(self.end, "rb", closefd=False) as left:
            return left.read() == self._script

    def close(self) -> None:
        self.let_go()
        os.close(self.end)


@frozen(kw_only=True)
class _Call:
    """One ssh client, what it was given to do, and what came back."""

    host: str
    argv: tuple[str, ...]
    mark: str
    time_limit: float
    lifeline: _Lifeline
    out: IO[bytes]
    err: IO[bytes]
    proc: Any

    def patience(self) -> float:
        """Let go, and return how long the other side may take to end the host, in seconds."""
        self.lifeline.let_go()
        # The client shares its place in the file, so that must not be moved.
        so_far = os.pread(self.err.fileno(), LARGEST, 0)
        return _ANSWER if f"{self.mark}begun;".encode() in so_far else 0.0

    def _told(self, file: IO[bytes]) -> dict[bytes, bytes]:
        """Return what came after each mark; before the first, under an empty name."""
        file.seek(0)
        parts = re.split(self.mark.encode() + rb"(\w+);", file.read())
        return {b"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}

    def completed(self, code: int | None) -> Completed:
        """Return what the host did, if it could be started and was heard of."""
        out, err = self._told(self.out), self._told(self.err)
        if b"refused" in err:
            raise HostNotFound(_text(err[b"refused"]))
        if b"end" in out and b"code" in err and b"end" in err:
            written = err.get(b"host", err[b"begun"])
            # The first mark may have been lost in a flood; the second one comes last.
            if b"failed" in err or (b"host" not in err and len(written) < LARGEST):
                why = f"{_text(written)}\nInstall it anew."
                raise HostNotFound(f"It cannot be started on {self.host}: {why}")
            ended = None if code is None else int(err[b"code"])
            return self._completed(ended, out[b"begun"], written)
        if b"begun" not in err and code is not None:
            self._check_connection(code, _text(err[b""]))
        words = b"".join(list(err.values())[1:] or err.values())
        return self._completed(None if code is None else _LOST, b"", words)

    def _check_connection(self, code: int, words: str) -> None:
        if code not in range(_LOST):  # of ssh, or it was killed
            if self.lifeline.untouched():
                advice = (
                    f"`ssh -o BatchMode=yes {self.host} true` has to work without a question: "
                    "check the name, port, keyfile and known_hosts."
                )
                raise HostNotFound(f"ssh to {self.host} failed: {words}\n{advice}")
        else:
            advice = "It has to be one that runs what it is given."
            raise HostNotFound(f"The shell on {self.host} did not start: {words}\n{advice}")

    def _completed(self, code: int | None, out: bytes, err: bytes) -> Completed:
        return Completed(
            argv=self.argv, exit_code=code, stdout=out, stderr=err, time_limit=self.time_limit
        )


def _text(words: bytes) -> str:
    return words.decode(errors="backslashreplace").strip() or "it said nothing"


def _words(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _names(_: object, __: object, env: Mapping[str, str]) -> None:
    for name in env:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII):
            raise InvalidCall(f"env: a shell cannot set a variable with the name {name!r}")


@frozen
class _Far:
    """Where the host is and what it runs in. What both transports are made of."""

    host: str
    """As for ssh: ``user@box``, a name from its configuration, or ``ssh://user@box:2222``."""
    repo: str = field(default=".", converter=str, kw_only=True)
    """The folder there in which the host runs; a relative one begins at the login folder."""
    executable: tuple[str, ...] = field(default=("spec-kitty",), converter=_words, kw_only=True)
    """A path there, or a name to be found on the PATH there. With words of its own: a tuple
    such as ``("python3", "-m", "specify_cli")``."""
    port: int | None = field(default=None, kw_only=True)
    """None: what ssh is configured to use; likewise `keyfile`."""
    keyfile: str | None = field(default=None, converter=optional(str), kw_only=True)
    """The private key to log in with; ssh then tries no other."""
    ssh_options: tuple[str, ...] = field(default=(), converter=_words, kw_only=True)
    """What ssh gets after ``-o``, for example ``("ProxyJump=bastion",)``."""
    env: Mapping[str, str] = field(factory=dict, validator=_names, kw_only=True, repr=False)
    """Set on top of the environment there. It does not show in any list of processes."""
    home: str | None = field(default=None, converter=optional(str), kw_only=True)
    """A HOME there for the host alone; None: the user's."""

    def repository(self) -> Hashable:
        """Return machine and folder; two names of one machine or folder are not recognised."""
        return ("ssh", self.host, self.port, self.repo)

    def place(self) -> "FarPlace | None":
        """See `Warmable.place`."""
        return FarPlace(self)

    def _host_call(self, args: Sequence[str]) -> Task:
        name = self.executable[0]
        missing = f"There is no program {name!r} on {self.host}. Install the host there, or "
        return Task(
            words=(*self.executable, *args),
            folder=self.repo,
            nowhere=f"There is no folder {self.repo} on {self.host}. Check `repo`.",
            steps=[
                *environment(self.env, UNSET, SET),
                ': "${GIT_SSH_COMMAND=ssh -oBatchMode=yes}"; export GIT_SSH_COMMAND',
                *([] if self.home is None else [OTHER_HOME.replace("@", path(self.home))]),
                *found(name, missing + "give its full path with executable=."),
                "PATH=${k_host%/*}:$PATH; export PATH",
            ],
        )

    def head_call(self, program: str | None) -> Task:
        """Return what tells the whole path of a program, or the host's, and its beginning."""
        host = self._host_call(())
        name = '"$k_host"' if program is None else shlex.quote(program)
        return evolve(
            host,
            words=("sh", "-c", f'printf "%s\\n" "$k_head"; exec head -c {HEAD} "$k_head"'),
            steps=[*host.steps, f"export k_head={name}", *found("sh", "There is no sh.")],
        )

    def server_script(self, argv: Sequence[str]) -> bytes:
        """Return what starts a server over there; its input is what follows."""
        call = self._host_call(())
        refuse = 'k_refuse() { printf %s "$1" >&2; exit 1; }'
        cd = f"cd {path(call.folder)} || k_refuse {shlex.quote(call.nowhere)}"
        # Whoever kills it leaves calls behind, which are all in its session.
        sweep = '[ "$k_code" = 0 ] || pkill -KILL -s 0; exit "$k_code"'
        run = f"{shlex.join(argv)} 2>&1; k_code=$?"
        lines = ("{ " + refuse, *call.steps, cd, run, sweep, "}")
        return os.fsencode("\n".join(lines))

    def _git_call(self, args: Sequence[str], folder: str | None) -> Task:
        where = self.repo if folder is None else folder
        return Task(
            words=("git", *args),
            folder=where,
            nowhere=f"There is no folder {where} on {self.host}. Check it, or `repo`.",
            steps=[
                *environment(self.env, GIT_REDIRECTS, GIT_SET),
                *found("git", f"There is no git on {self.host}. Install it there."),
            ],
        )

    @contextmanager
    def started(self, task: Task, time_limit: float) -> Generator[_Call]:
        mark = secrets.token_hex(16)
        script = task.script(mark, time_limit)
        with (
            closing(_Lifeline(script)) as lifeline,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            yield _Call(
                host=self.host,
                argv=self._shown(task),
                mark=mark,
                time_limit=time_limit,
                lifeline=lifeline,
                out=out,
                err=err,
                proc=self.client(script, time_limit, stdin=lifeline.end, stdout=out, stderr=err),
            )

    def client(self, script: bytes, time_limit: float, **files: Any) -> Any:
        """Start an ssh client, whose input begins with a script."""
        command = f"RemoteCommand={READ.format(len(script))}"
        return self._machine(time_limit).popen(
            (), ssh_opts=["-o", command, "--"], new_session=True, **files
        )

    def _machine(self, time_limit: float) -> _Machine:
        client_path = shutil.which("ssh")
        if client_path is None:
            raise HostNotFound("There is no ssh on PATH. Install it: apt install openssh-client")
        # The environment of this moment; plumbum has that of its import.
        client: Any = Program(LocalPath(client_path)).with_env(**os.environ)
        options = self._options(time_limit)
        return _Machine(
            self.host,
            port=self.port,
            keyfile=self.keyfile,
            ssh_command=client,
            scp_command=client,
            ssh_opts=["-T", *(word for option in options for word in ("-o", option))],
        )

    def _options(self, time_limit: float) -> list[str]:
        """Return options in an order in which the first one of a name counts."""
        return [
            "BatchMode=yes",
            *self.ssh_options,
            f"ConnectTimeout={math.ceil(max(1, min(time_limit, _CONNECT)))}",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=3",
            # What a configuration may have for people would be in the way of programs.
            "ClearAllForwardings=yes",
            *([] if self.keyfile is None else ["IdentitiesOnly=yes"]),
        ]

    def _shown(self, task: Task) -> tuple[str, ...]:
        """Return what a person would type."""
        port = () if self.port is None else ("-p", str(self.port))
        key = () if self.keyfile is None else ("-i", self.keyfile)
        folder = shlex.quote(task.folder.removeprefix("~/"))
        return ("ssh", *port, *key, self.host, f"cd {folder} && {shlex.join(task.words)}")


class SshTransport(_Far):
    """Starts a host process on another machine for every call and waits for it.

    ssh has to get there without a question. A host that was killed by signal n has the exit
    code 128+n, as shells say it. If the connection is lost during a call, the exit code is 255,
    there is no output but what ssh said, and the host has been ended.
    """

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`. Ctrl-C ends the host with all its children."""
        return _run(self, self._host_call(args), time_limit)

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        return _run(self, self._git_call(args, folder), time_limit)


def _run(far: _Far, task: Task, time_limit: float) -> Completed:
    with far.started(task, time_limit) as call:
        code: int | None = None
        try:
            code = wait_at_most(call.proc, time_limit)
        finally:
            if code is None:
                _hang_up(call)
        return call.completed(code)


def _hang_up(call: _Call) -> None:
    """Have the host ended, then the connection; an interruption only shortens the grace."""
    try:
        wait_at_most(call.proc, call.patience())
    finally:
        if call.proc.poll() is None:
            stop_now(call.proc)


class AsyncSshTransport(_Far):
    """The same, under any anyio event loop."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `AsyncTransport.run`."""
        return await self._run(self._host_call(args), time_limit)

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `AsyncGitTransport.git`."""
        return await self._run(self._git_call(args, folder), time_limit)

    async def _run(self, task: Task, time_limit: float) -> Completed:
        import anyio

        with self.started(task, time_limit) as call:
            code: int | None = None
            try:
                with anyio.move_on_after(time_limit):
                    code = await wait(call.proc)
            finally:
                if code is None:
                    await _hang_up_async(call)
            return call.completed(code)


async def _hang_up_async(call: _Call) -> None:
    import anyio

    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(call.patience()):
            await wait(call.proc)
        if call.proc.poll() is None:
            await stop(call.proc)


class FarPlace:
    """A host on another machine, as a server of `warm` needs to know it."""

    folder = None
    umask = None

    def __init__(self, far: _Far) -> None:
        self._far = far

    @property
    def key(self) -> Hashable:
        """A server has one connection, which is that of one transport."""
        return id(self._far)

    @property
    def words(self) -> tuple[str, ...]:
        """The host as it is called."""
        return (self._found[0], *self._far.executable[1:])

    @cached_property
    def _found(self) -> tuple[str, bytes]:
        return self._look(None)

    def _look(self, program: str | None) -> tuple[str, bytes]:
        looked = _run(self._far, self._far.head_call(program), _CONNECT)
        where, _, head = looked.stdout.partition(b"\n")
        if looked.exit_code != 0 or not where:
            raise OSError(None, _text(looked.stderr))
        return os.fsdecode(where), head

    def head(self, path: str) -> bytes:
        """Read the beginning of a file."""
        where, head = self._found
        return head if path == where else self._look(path)[1]

    def start(self, argv: Sequence[str]) -> Any:
        """Start a program with pipes for input and all output."""
        script = self._far.server_script(argv)
        with tempfile.TemporaryFile() as err:
            proc = self._far.client(script, _CONNECT, stdin=PIPE, stdout=PIPE, stderr=err)
            self._said = os.dup(err.fileno())
        os.write(proc.stdin.fileno(), script)  # which is less than a pipe takes
        return proc

    def lost(self, proc: Any) -> tuple[int, bytes]:
        """End the connection, and with it what runs at its other end."""
        if wait_at_most(proc, GRACE) is None:
            stop_now(proc)
        with open(self._said, "rb") as said:  # noqa: PTH123 - a descriptor
            said.seek(0)
            return proc.returncode or _LOST, said.read(LARGEST)
