"""A new host process for every call, on another machine.

plumbum starts the ssh client. The other machine needs a POSIX shell and its usual tools, and no
part of the SDK. The SDK sends the task as a shell script on the client's stdin, because a command
line is limited to 128 KiB and other users can read it. The SDK then keeps that stdin open: when it
ends, the other machine knows that the caller is gone, and ends the host, however the connection was
lost. The host writes to unnamed files on the other machine, which are sent when it has ended,
between random marks.
"""

import math
import os
import re
import secrets
import shlex
import shutil
import tempfile
from collections.abc import Generator, Hashable, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from subprocess import PIPE
from typing import Any

from attrs import evolve, field, frozen
from attrs.converters import optional
from plumbum import LocalPath

from spec_kitty_client.errors import HostNotFound, InvalidCall
from spec_kitty_client.transports import Completed, call_variables
from spec_kitty_client.transports.git import GIT_SET, GIT_UNSET, git_words
from spec_kitty_client.transports.launchers import HEAD
from spec_kitty_client.transports.process import SET, UNSET
from spec_kitty_client.transports.program import (
    GRACE,
    LARGEST,
    Program,
    stop,
    stop_now,
    wait,
    wait_at_most,
)
from spec_kitty_client.transports.ssh.client import (
    LOST,
    Machine,
    SshProcess,
    StdinPipe,
    words_of,
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


def _words(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _names(_: object, __: object, env: Mapping[str, str]) -> None:
    for name in env:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII):
            raise InvalidCall(f"env: a shell cannot set a variable with the name {name!r}")


@frozen
class _SshOptions:
    """The host and its environment, for both transports."""

    host: str
    """The machine, as for ssh: ``user@box``, a name from its configuration, or ``ssh://user@box:2222``."""
    repo: str = field(default=".", converter=str, kw_only=True)
    """The folder there in which the host runs; a relative path starts from the login folder."""
    executable: tuple[str, ...] = field(default=("spec-kitty",), converter=_words, kw_only=True)
    """A path there, or a name that is searched on the PATH there. With arguments: a tuple such as
    ``("python3", "-m", "specify_cli")``.
    """
    port: int | None = field(default=None, kw_only=True)
    """None: the port of ssh's configuration; likewise `keyfile`."""
    keyfile: str | None = field(default=None, converter=optional(str), kw_only=True)
    """The private key to log in with; ssh then tries no other."""
    ssh_options: tuple[str, ...] = field(default=(), converter=_words, kw_only=True)
    """Options for ``ssh -o``, for example ``("ProxyJump=bastion",)``."""
    env: Mapping[str, str] = field(factory=dict, validator=_names, kw_only=True, repr=False)
    """Variables set on top of the environment there. No list of processes shows them."""
    home: str | None = field(default=None, converter=optional(str), kw_only=True)
    """A HOME there for the host alone; None: the user's."""

    def identity(self) -> Hashable:
        """Return None, because only a call shows whether the host is still the same."""
        return None

    def repository(self) -> Hashable:
        """Return machine and folder. Two names of one machine or folder count as different."""
        return ("ssh", self.host, self.port, self.repo)

    def location(self) -> "SshServer | None":
        """See `Warmable.location`."""
        return SshServer(self)

    def _host_call(self, args: Sequence[str]) -> Task:
        name = self.executable[0]
        missing = f"There is no program {name!r} on {self.host}. Install the host there, or "
        return Task(
            words=(*self.executable, *args),
            folder=self.repo,
            nowhere=f"There is no folder {self.repo} on {self.host}. Check `repo`.",
            steps=[
                *environment({**self.env, **call_variables()}, UNSET, SET),
                ': "${GIT_SSH_COMMAND=ssh -oBatchMode=yes}"; export GIT_SSH_COMMAND',
                *([] if self.home is None else [OTHER_HOME.replace("@", path(self.home))]),
                *found(name, missing + "give its full path with executable=."),
                "PATH=${k_host%/*}:$PATH; export PATH",
            ],
        )

    def head_call(self, program: str | None) -> Task:
        """Return the task that prints the path and the first bytes of a program; None: the host."""
        host = self._host_call(())
        name = '"$k_host"' if program is None else shlex.quote(program)
        return evolve(
            host,
            words=("sh", "-c", f'printf "%s\\n" "$k_head"; exec head -c {HEAD} "$k_head"'),
            steps=[*host.steps, f"export k_head={name}", *found("sh", "There is no sh.")],
        )

    def server_script(self, argv: Sequence[str]) -> bytes:
        """Return the script that starts a server there, which reads the rest of stdin."""
        call = self._host_call(())
        refuse = 'k_refuse() { printf %s "$1" >&2; exit 1; }'
        cd = f"cd {path(call.folder)} || k_refuse {shlex.quote(call.nowhere)}"
        # A server that is killed leaves its calls behind, in its session.
        sweep = '[ "$k_code" = 0 ] || pkill -KILL -s 0; exit "$k_code"'
        run = f"{shlex.join(argv)} 2>&1; k_code=$?"
        lines = ("{ " + refuse, *call.steps, cd, run, sweep, "}")
        return os.fsencode("\n".join(lines))

    def _git_call(self, args: Sequence[str], folder: str | None) -> Task:
        where = self.repo if folder is None else folder
        return Task(
            words=("git", *git_words(args)),
            folder=where,
            nowhere=f"There is no folder {where} on {self.host}. Check it, or `repo`.",
            steps=[
                *environment(self.env, GIT_UNSET, GIT_SET),
                *found("git", f"There is no git on {self.host}. Install it there."),
            ],
        )

    @contextmanager
    def started(self, task: Task, time_limit: float) -> Generator[SshProcess]:
        mark = secrets.token_hex(16)
        script = task.script(mark, time_limit)
        with (
            closing(StdinPipe(script)) as stdin,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            yield SshProcess(
                host=self.host,
                argv=self._shown(task),
                mark=mark,
                time_limit=time_limit,
                stdin=stdin,
                out=out,
                err=err,
                proc=self.client(script, time_limit, stdin=stdin.end, stdout=out, stderr=err),
            )

    def client(self, script: bytes, time_limit: float, **files: Any) -> Any:
        """Start an ssh client, whose input begins with a script."""
        command = f"RemoteCommand={READ.format(len(script))}"
        return self._machine(time_limit).popen(
            (), ssh_opts=["-o", command, "--"], new_session=True, **files
        )

    def _machine(self, time_limit: float) -> Machine:
        client_path = shutil.which("ssh")
        if client_path is None:
            raise HostNotFound("There is no ssh on PATH. Install it: apt install openssh-client")
        # The present environment, because plumbum uses the one at its import.
        client: Any = Program(LocalPath(client_path)).with_env(**os.environ)
        options = self._options(time_limit)
        return Machine(
            self.host,
            port=self.port,
            keyfile=self.keyfile,
            ssh_command=client,
            scp_command=client,
            ssh_opts=["-T", *(word for option in options for word in ("-o", option))],
        )

    def _options(self, time_limit: float) -> list[str]:
        """Return options in order: of two with the same name, ssh uses the first."""
        return [
            "BatchMode=yes",
            *self.ssh_options,
            f"ConnectTimeout={math.ceil(max(1, min(time_limit, _CONNECT)))}",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=3",
            # A forwarding in the user's configuration would fail while another session has it.
            "ClearAllForwardings=yes",
            *([] if self.keyfile is None else ["IdentitiesOnly=yes"]),
        ]

    def _shown(self, task: Task) -> tuple[str, ...]:
        """Return the command as a user would type it."""
        port = () if self.port is None else ("-p", str(self.port))
        key = () if self.keyfile is None else ("-i", self.keyfile)
        folder = shlex.quote(task.folder.removeprefix("~/"))
        return ("ssh", *port, *key, self.host, f"cd {folder} && {shlex.join(task.words)}")


class SshTransport(_SshOptions):
    """Starts a host process on another machine for every call and waits for it.

    ssh must connect without a prompt. A host that was killed by signal n has the exit code 128+n,
    as in a shell. If the connection is lost during a call, the other machine ends the host, the
    exit code is 255, and the only output is that of ssh.
    """

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`. Ctrl-C ends the host with all its children."""
        return _run(self, self._host_call(args), time_limit)

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        return _run(self, self._git_call(args, folder), time_limit)


def _run(options: _SshOptions, task: Task, time_limit: float) -> Completed:
    with options.started(task, time_limit) as call:
        code: int | None = None
        try:
            code = wait_at_most(call.proc, time_limit)
        finally:
            if code is None:
                _hang_up(call)
        return call.completed(code)


def _hang_up(call: SshProcess) -> None:
    """End the host, then the connection; an interruption only shortens the grace period."""
    try:
        wait_at_most(call.proc, call.patience())
    finally:
        if call.proc.poll() is None:
            stop_now(call.proc)


class AsyncSshTransport(_SshOptions):
    """Starts a host process on another machine for every call, under any anyio event loop."""

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


async def _hang_up_async(call: SshProcess) -> None:
    import anyio

    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(call.patience()):
            await wait(call.proc)
        if call.proc.poll() is None:
            await stop(call.proc)


class SshServer:
    """The place on another machine where a fork server of the host can be started."""

    folder = None
    umask = None

    def __init__(self, options: _SshOptions) -> None:
        self._options = options

    @property
    def key(self) -> Hashable:
        """A server belongs to one transport, because it has one connection."""
        return id(self._options)

    @property
    def words(self) -> tuple[str, ...]:
        """The command of the host."""
        return (self._found[0], *self._options.executable[1:])

    @cached_property
    def _found(self) -> tuple[str, bytes]:
        return self._look(None)

    def _look(self, program: str | None) -> tuple[str, bytes]:
        looked = _run(self._options, self._options.head_call(program), _CONNECT)
        where, _, head = looked.stdout.partition(b"\n")
        if looked.exit_code != 0 or not where:
            raise OSError(None, words_of(looked.stderr))
        return os.fsdecode(where), head

    def head(self, path: str) -> bytes:
        """Read the beginning of a file."""
        where, head = self._found
        return head if path == where else self._look(path)[1]

    def start(self, argv: Sequence[str]) -> Any:
        """Start a program with pipes for input and all output."""
        script = self._options.server_script(argv)
        with tempfile.TemporaryFile() as err:
            proc = self._options.client(script, _CONNECT, stdin=PIPE, stdout=PIPE, stderr=err)
            self._said = os.dup(err.fileno())
        os.write(proc.stdin.fileno(), script)  # it is shorter than a pipe's buffer
        return proc

    def lost(self, proc: Any) -> tuple[int, bytes]:
        """End the connection, and with it the processes on the other machine."""
        if wait_at_most(proc, GRACE) is None:
            stop_now(proc)
        with open(self._said, "rb") as said:  # noqa: PTH123 - a descriptor
            said.seek(0)
            return proc.returncode or LOST, said.read(LARGEST)
