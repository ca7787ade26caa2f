"""A new host process for every call, on this machine."""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

from attrs import converters, field, frozen

from spec_kitty_client.errors import HostNotFound, InvalidCall
from spec_kitty_client.transports import Completed, call_variables, program
from spec_kitty_client.transports.git import GIT_REDIRECTS, git_environment, git_words
from spec_kitty_client.transports.launchers import HEAD
from spec_kitty_client.transports.program import GRACE

__all__ = [
    "SET",
    "UNSET",
    "AsyncProcessTransport",
    "ProcessTransport",
    "host_environment",
]

SET = {
    "SPEC_KITTY_ENABLE_SAAS_SYNC": "0",
    "SPEC_KITTY_SYNC_DISABLE": "1",
    "SPEC_KITTY_NO_UPGRADE_CHECK": "1",
    "SPEC_KITTY_NO_NAG": "1",
    "SPEC_KITTY_NO_BANNER": "1",
    "SPEC_KITTY_NON_INTERACTIVE": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "PYTHONUTF8": "1",
}
UNSET = (
    "SPECIFY_REPO_ROOT",
    "SPEC_KITTY_TEST_MODE",
    "SPEC_KITTY_CLI_VERSION",
    "SPEC_KITTY_FORCE_INTERACTIVE",
    *GIT_REDIRECTS,
)


def host_environment(
    executable: Path, base: Mapping[str, str], home: Path | None = None
) -> dict[str, str]:
    """Return the environment of a host call: no network, no prompt, no daemon.

    Args:
        executable: The host. Its folder comes first on PATH, because git's merge drivers
            call ``spec-kitty`` by name.
        base: The environment to start from.
        home: A HOME for the host alone, because hosts from 3.1 on write agent files into
            it. The user's own git settings stay in force.
    """
    env = {k: v for k, v in base.items() if k not in UNSET} | SET
    env.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
    env["PATH"] = os.pathsep.join([str(executable.parent), env.get("PATH", os.defpath)])
    if home is not None:
        env.setdefault("GIT_CONFIG_GLOBAL", str(_git_settings(env)))
        env |= {"HOME": str(home), "SPEC_KITTY_HOME": str(home / ".spec-kitty")}
    return env


def _git_settings(env: Mapping[str, str]) -> Path:
    """Return the user's own settings of git, at the first of the two places that has any."""
    home = Path(env.get("HOME", "/"))
    beside = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "git" / "config"
    usual = home / ".gitconfig"
    return usual if usual.exists() or not beside.exists() else beside


def _from_here(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path, so that a later `os.chdir` of the program changes nothing."""
    try:
        return Path(path).absolute()  # not resolved: links may change
    except FileNotFoundError:  # the current folder is gone; the call reports it
        return Path(path)


def _program_from_here(words: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Return the words of the host, with a relative path made absolute; names stay names."""
    first, *rest = (words,) if isinstance(words, str) else words
    first = str(_from_here(first)) if os.sep in first else first
    return first if isinstance(words, str) else (first, *rest)


@frozen(kw_only=True)
class _Host:
    """The host and its environment, for both transports."""

    repo: Path = field(default=Path(), converter=_from_here)
    """The folder in which the host runs: a repository, or a folder inside one. A relative path
    starts from the folder that is current when the transport is made.
    """
    executable: str | tuple[str, ...] = field(default="spec-kitty", converter=_program_from_here)
    """A path, or a name that is searched on PATH, then beside this interpreter. With arguments: a
    tuple such as ``("python3", "-m", "specify_cli")``.
    """
    env: Mapping[str, str] = field(factory=dict, repr=False)
    """Variables added to the environment of this process."""
    home: Path | None = field(default=None, converter=converters.optional(_from_here))
    """A HOME for the host alone; None: the user's."""

    def locate(self) -> Path:
        """Return the absolute path of the host.

        Raises:
            HostNotFound: If there is no such program.
        """
        program_name, *_ = self._words
        path = self.env.get("PATH", os.environ.get("PATH"))
        beside = os.path.dirname(sys.executable)  # noqa: PTH120 - of a link, not its target
        found = shutil.which(program_name, path=path) or shutil.which(program_name, path=beside)
        if found is None:
            raise HostNotFound(_not_found(program_name, path or os.defpath))
        return Path(found).absolute()  # not resolved: a link's folder is the host's bin

    def identity(self) -> tuple[object, ...] | None:
        """Return a value that changes when the program changes; None: there is no program."""
        try:
            host = self.locate()
            about = host.stat()
        except (HostNotFound, OSError):
            return None
        return (str(host), *self._words[1:], about.st_ino, about.st_mtime_ns, about.st_size)

    def repository(self) -> Hashable:
        """Return the git folder that all worktrees of the repository share."""
        return ("local", str(_shared_git_folder(self.repo)))

    def location(self) -> "LocalServer | None":
        """See `Warmable.location`."""
        identity = self.identity()
        if identity is None or not self.repo.is_dir():
            return None  # a cold call reports the problem
        with self._ready() as (words, env), suppress(FileNotFoundError):  # a folder that is gone
            folder = str(_from_here(self.repo))
            return LocalServer(
                words=words, env=env, folder=folder, umask=_umask(), identity=identity
            )
        return None

    @property
    def _words(self) -> tuple[str, ...]:
        return (self.executable,) if isinstance(self.executable, str) else self.executable

    @contextmanager
    def _ready(self) -> Generator[tuple[tuple[str, ...], dict[str, str]]]:
        host = self.locate()
        argv = (str(host), *self._words[1:])
        try:
            yield argv, host_environment(host, {**os.environ, **self.env}, self.home)
        except program.CannotStart as e:
            if isinstance(e.__cause__, OSError) and e.__cause__.errno == errno.E2BIG:
                msg = "All options together are too long for the operating system. Shorten them."
                raise InvalidCall(msg) from e
            msg = f"No host: {e}."
            advice = "Check `repo`." if not self.repo.is_dir() else "Install it again."
            raise HostNotFound(f"{msg} {advice}") from e

    @contextmanager
    def _git_ready(self, folder: str | None) -> Generator[tuple[str, Path, dict[str, str]]]:
        env = git_environment({**os.environ, **self.env})
        where = shutil.which("git", path=env.get("PATH"))
        if where is None:
            msg = "There is no git on PATH."
            raise HostNotFound(msg)
        try:
            yield where, Path(folder) if folder else self.repo, env
        except program.CannotStart as e:
            msg = f"No git: {e}."
            raise HostNotFound(msg) from e


def _shared_git_folder(folder: Path) -> Path:
    """Return the git folder of a repository's main checkout; without one, the folder itself."""
    for top in (folder, *folder.parents):
        git = top / ".git"
        if git.is_file():  # of a worktree or a submodule: it names the git folder
            own = top / _text_of(git).removeprefix("gitdir: ")
            return (own / _text_of(own / "commondir")).resolve()
        if git.is_dir():
            return git.resolve()
    return folder.resolve()


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _not_found(name: str, path: str) -> str:
    """Say why a program cannot be run: it does not exist, or is not executable."""
    folders = [""] if os.sep in name else path.split(os.pathsep)
    for candidate in (Path(folder, name) for folder in folders):
        if candidate.is_file():
            return f"The host {candidate} is not executable. Run: chmod +x {candidate}"
    where = "" if os.sep in name else " on PATH"
    return f"There is no program {name!r}{where}. Install the host: pip install spec-kitty-cli"


def _umask() -> int | None:
    """Return the umask of this process, where the system shows it (Linux)."""
    with suppress(OSError), Path("/proc/self/status").open() as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return None


@frozen(kw_only=True)
class LocalServer:
    """The place on this machine where a fork server of the host can be started."""

    words: tuple[str, ...]
    env: dict[str, str]
    folder: str
    umask: int | None
    identity: tuple[object, ...]

    @property
    def key(self) -> Hashable:
        """Equal for the same program in the same environment."""
        # `python -m` may find another module in another folder; a script has one path.
        folder = self.folder if len(self.words) > 1 else None
        return (*self.identity, folder, frozenset(self.env.items()))

    def head(self, path: str) -> bytes:
        """Read the beginning of a file."""
        with Path(path).open("rb") as file:
            return file.read(HEAD)

    def start(self, argv: Sequence[str]) -> Any:
        """Start a program with pipes for input and all output, in a session of its own."""
        return program.start(
            argv, cwd=Path(self.folder), env=self.env, given=PIPE, out=PIPE, err=STDOUT
        )

    def lost(self, proc: Any) -> tuple[int, bytes]:
        """Kill the calls that a killed server has left, which are in its session."""
        if program.wait_at_most(proc, GRACE) is None:
            proc.kill()
        if proc.wait() != 0:
            import psutil

            for pid in psutil.pids():
                with suppress(ProcessLookupError, PermissionError):
                    if os.getsid(pid) == proc.pid:
                        os.kill(pid, signal.SIGKILL)
        return -signal.SIGKILL, b""


@frozen(kw_only=True)
class ProcessTransport(_Host):
    """Starts a host process for every call and waits for it."""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`. Ctrl-C ends the host with all its children."""
        with self._ready() as (host, env):
            env.update(call_variables())
            return program.run((*host, *args), cwd=self.repo, env=env, time_limit=time_limit)

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        with self._git_ready(folder) as (git, cwd, env):
            return program.run((git, *git_words(args)), cwd=cwd, env=env, time_limit=time_limit)


@frozen(kw_only=True)
class AsyncProcessTransport(_Host):
    """Starts a host process for every call, under any anyio event loop."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `AsyncTransport.run`."""
        with self._ready() as (host, env):
            env.update(call_variables())
            return await program.run_async(
                (*host, *args), cwd=self.repo, env=env, time_limit=time_limit
            )

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        with self._git_ready(folder) as (git, cwd, env):
            argv = (git, *git_words(args))
            return await program.run_async(argv, cwd=cwd, env=env, time_limit=time_limit)
