"""The keeper: a small process per agent run, which outlives the orchestrator.

It starts the agent in a session of its own, gives it the prompt from a file, copies its output to
files of a bounded size, enforces the time limit, and writes an exit record. When the agent ends,
the keeper ends every process that the agent started. It runs as a script and imports the standard
library only:

    keeper.py DIRECTORY LOCK_FD

``DIRECTORY/spec.json`` is the agent process to run, and the keeper's own environment is the
agent's. The keeper inherits the locked file descriptor LOCK_FD and holds the lock until it dies,
which proves to others that it is alive. SIGTERM ends the agent, SIGQUIT ends it without a grace
period.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

SPEC, STARTED, SEEN, EXIT = "spec.json", "keeper.json", "processes.json", "exit.json"
PROMPT, OUTPUT, ERRORS = "prompt.md", "output.log", "errors.log"
LOCK, KEEPER_ERRORS = "lock", "keeper.log"

GRACE = 4.0  # seconds between SIGTERM and SIGKILL
KILL_LIMIT = 1.0  # seconds for processes to end after SIGKILL
MAX_LOG = 256 * 1024 * 1024  # bytes of an output file
PRIVATE = 0o600

_LONGEST_WAIT = 3600.0  # seconds; select() rejects very large timeouts
_POLL = 0.5  # seconds; no signal announces the end of a grandchild
_LOOK = 5.0  # seconds between two looks at the agent's processes, which read all of /proc
_CHUNK, _PIPE_SIZE = 64 * 1024, 1024 * 1024
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def write_private(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file that only its owner can read, and have it on the disk unless told otherwise."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(path, flags, PRIVATE), "wb") as file:
        file.write(content)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def write_record(path: Path, record: Mapping[str, object]) -> None:
    """Write a JSON file atomically: a reader sees all of it or none."""
    draft = path.with_suffix(".tmp")
    write_private(draft, json.dumps(record).encode())
    draft.replace(path)


def start_of(pid: int) -> int | None:
    """Return when a process was started, in ticks since the boot; None if it has ended (Linux)."""
    with suppress(OSError):
        return int(_stat(str(pid))[2][19])
    return None


def _stat(pid: str) -> tuple[int, str, list[str]]:
    """Return the id, the program and the other fields of ``/proc/PID/stat``, from the state on."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        text = file.read()  # a Path takes twice as long, and this is done very often
    begin, end = text.index("("), text.rindex(")")
    return int(pid), text[begin + 1 : end], text[end + 2 :].split()


def pieces_of(log: Path) -> list[Path]:
    """Return the files that hold the newest output of a log whose head is full, oldest first."""
    numbers = [path.name.rpartition(".")[2] for path in log.parent.glob(f"{log.name}.*")]
    return [_piece(log, number) for number in sorted(int(n) for n in numbers if n.isdigit())]


def _piece(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")


class CappedLog:
    """A file with the head and the tail of an output.

    When the head is full, the output goes on in pieces, ``output.log.1``, ``output.log.2`` and so
    on, of which the last two are kept. `close` appends them to the head.

    Args:
        path: The file.
        limit: Bytes; half of them for the head, a quarter for each piece.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._room, self._piece_size = limit // 2, limit // 4
        self._pieces = 0
        self._unwritten = 0
        self._head = self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)

    def write(self, data: bytes) -> None:
        """Write output; drop it, and count it, if the disk is full."""
        rest = memoryview(data)
        try:
            while rest:
                if not self._room:
                    self._begin_piece()
                written = os.write(self._file, rest[: self._room])
                self._room -= written
                rest = rest[written:]
        except OSError:
            self._unwritten += len(rest)

    def _begin_piece(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        piece = os.open(_piece(self._path, self._pieces + 1), flags, PRIVATE)
        if self._file != self._head:
            os.close(self._file)
        self._file, self._room = piece, self._piece_size
        self._pieces += 1
        _piece(self._path, self._pieces - 2).unlink(missing_ok=True)

    def close(self) -> None:
        """Append the pieces to the head, with a line that says how many bytes are missing."""
        dropped = self._piece_size * max(0, self._pieces - 2)
        with suppress(OSError):
            if dropped:
                os.write(self._head, b"\n[%d bytes of output were dropped here]\n" % dropped)
            for piece in pieces_of(self._path):
                self._append(piece)
            if self._unwritten:
                os.write(self._head, b"\n[%d bytes could not be written]\n" % self._unwritten)

    def _append(self, piece: Path) -> None:
        with piece.open("rb", buffering=0) as file:
            while data := file.read(_CHUNK):
                while data:
                    data = data[os.write(self._head, data) :]
        piece.unlink()


def end_all(
    find: Callable[[], Mapping[int, str]],
    wait: Callable[[float], None],
    grace: Callable[[], float],
) -> list[dict[str, object]]:
    """End processes: SIGTERM, a grace period, SIGKILL, and a bounded wait.

    Args:
        find: Returns the processes that are alive, each with the name of its program.
        wait: Waits this many seconds, or less if a process has ended.
        grace: Returns the seconds that are left until SIGKILL.

    Returns:
        The processes that are left, each with the reason.
    """
    asked: set[int] = set()
    while (alive := _signal(find(), signal.SIGTERM, asked)) and (left := grace()) > 0:
        asked |= alive
        wait(min(left, _POLL))
    until = time.monotonic() + KILL_LIMIT
    while _signal(find(), signal.SIGKILL) and time.monotonic() < until:
        wait(0.02)
    return _left(find())


def _signal(processes: Mapping[int, str], number: int, done: set[int] | None = None) -> set[int]:
    """Signal all processes but those that are done; return all that may be signalled."""
    alive = set()
    for pid in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, 0 if done and pid in done else number)
            alive.add(pid)
    return alive


def _left(processes: Mapping[int, str]) -> list[dict[str, object]]:
    left: list[dict[str, object]] = []
    for pid, command in processes.items():
        why = "it did not end after SIGKILL"
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        except PermissionError:
            why = "it belongs to another user"
        left.append({"pid": pid, "command": command, "why": why})
    return left


class Keeper:
    """Runs one agent, and ends all its processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spec = json.loads((directory / SPEC).read_text(encoding="utf-8"))
        self._deadline = time.monotonic() + float(self._spec["time_limit"])
        self._pid = 0
        self._code: int | None = None
        self._stop_requested = self._at_once = False
        self._seen: dict[int, int | None] = {}
        self._logs: dict[int, CappedLog] = {}  # by the pipe that is copied to it
        self._pipes = {name: os.pipe() for name in (OUTPUT, ERRORS)}
        self._wakeup, alarm = os.pipe()
        os.set_blocking(alarm, False)
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _stop(self, number: int, _frame: object) -> None:
        self._stop_requested = True
        self._at_once = self._at_once or number == signal.SIGQUIT

    def about(self) -> dict[str, object]:
        """Return the facts that identify this process, and those that write to its pipes."""
        pipes = [os.fstat(reader) for reader, _ in self._pipes.values()]
        outputs = [[pipe.st_dev, pipe.st_ino] for pipe in pipes]
        return {"pid": os.getpid(), "boot": boot_id(), "outputs": outputs}

    def run(self) -> dict[str, object]:
        """Run the agent to its end and return the exit record."""
        started = time.time()
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # become the parent of processes that are orphaned
        try:
            self._start()
        except OSError as e:
            return _record("not_started", None, started, error=f"{e.strerror}: {e.filename}")
        while self._code is None and not self._stop_requested and self._seconds_left() > 0:
            self._wait(min(self._seconds_left(), _LOOK))
            self._write_processes()
        reason = "exited" if self._code is not None else "stopped"
        if self._code is None and not self._stop_requested:
            reason = "deadline"
        left = self._end_all()
        self._close_logs()
        return _record(reason, self._code, started, left=left)

    def _start(self) -> None:
        limit = self._spec.get("max_log", MAX_LOG)
        for name, (reader, writer) in self._pipes.items():
            os.set_blocking(reader, False)
            _widen(writer)
            self._logs[reader] = CappedLog(self._directory / name, limit)
        output, errors = (writer for _, writer in self._pipes.values())
        with (self._directory / PROMPT).open("rb") as prompt:
            # Popen.__del__ would reap an agent that has ended, and lose its exit code.
            self._process = subprocess.Popen(
                self._spec["argv"],
                cwd=self._spec["cwd"],
                stdin=prompt,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._pid = self._process.pid
        for writer in (output, errors):
            os.close(writer)

    def _seconds_left(self) -> float:
        return self._deadline - time.monotonic()

    def _wait(self, seconds: float) -> None:
        """Copy output until a signal arrives or the time is over; reap the children that ended."""
        until = time.monotonic() + min(max(0.0, seconds), _LONGEST_WAIT)
        ready: list[int] = []
        while self._wakeup not in ready:
            left = max(0.0, until - time.monotonic())
            ready = select.select([self._wakeup, *self._logs], [], [], left)[0]
            for pipe in ready:
                self._copy(pipe)
            if not left:
                break
        with suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if ended[0] == self._pid:
                    self._code = os.waitstatus_to_exitcode(ended[1])

    def _write_processes(self) -> None:
        """Write down the agent's processes: if this one is killed, some have no other mark."""
        seen = {pid: start_of(pid) for pid in descendants()} if sys.platform == "linux" else {}
        if seen != self._seen:
            self._seen, about = seen, {"boot": boot_id(), "processes": seen}
            with suppress(OSError):
                write_private(self._directory / SEEN, json.dumps(about).encode(), sync=False)

    def _copy(self, pipe: int) -> None:
        """Copy a part of the output; forget the pipe at its end."""
        if pipe in self._logs:
            if data := os.read(pipe, _CHUNK):
                self._logs[pipe].write(data)
            else:
                self._logs.pop(pipe).close()

    def _end_all(self) -> list[dict[str, object]]:
        """End all descendants and return those that are left."""
        until = time.monotonic() + GRACE
        left = end_all(
            descendants,
            self._wait,
            lambda: 0.0 if self._at_once else until - time.monotonic(),
        )
        self._wait(0.0)  # reap the last ones, so that no zombie is left to init
        return left

    def _close_logs(self) -> None:
        """Write the output that is still in the pipes, and complete the files."""
        for _ in range(_PIPE_SIZE // _CHUNK):  # a process that is left may write for ever
            for pipe in tuple(self._logs):
                with suppress(BlockingIOError):
                    self._copy(pipe)
        for log in self._logs.values():
            log.close()


def _record(reason: str, code: int | None, started: float, **others: object) -> dict[str, object]:
    about = {"reason": reason, "exit_code": code, "started_at": started, "ended_at": time.time()}
    return {"error": None, "left": [], **about, **others}


def boot_id() -> str | None:
    """Return an id of this boot of the machine (Linux)."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return None


def _widen(pipe: int) -> None:
    """Let an agent write 1 MiB before it has to wait for the keeper (Linux)."""
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # the user has too many large pipes
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    """Have the kernel kill the agent when the keeper dies (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants() -> dict[int, str]:
    """Return all living descendants, each with the name of its program."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for pid, parent, name in _processes():
        children.setdefault(parent, []).append(pid)
        names[pid] = name
    found: dict[int, str] = {}
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found.update((pid, names[pid]) for pid in below)
        todo += below
    return found


def _processes() -> list[tuple[int, int, str]]:
    """Return ``(pid, parent, program)`` of every process that is not a zombie."""
    if sys.platform != "linux":
        columns = "pid=,ppid=,stat=,comm="
        ps = subprocess.Popen(["ps", "-axo", columns], stdout=subprocess.PIPE, text=True)
        rows = [row.split(maxsplit=3) for row in ps.communicate()[0].splitlines()]
        living = [(int(pid), int(parent), name) for pid, parent, s, name in rows if s[0] != "Z"]
        return [row for row in living if row[0] != ps.pid]
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                pid, program, (state, parent, *_) = _stat(name)
                if state != "Z":
                    found.append((pid, int(parent), program))
    return found


def main() -> None:
    """Run the agent of a directory and write its exit record."""
    directory, lock = Path(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(lock, False)
    keeper = Keeper(directory)
    # The signal handlers are set: others may stop it from now on.
    write_record(directory / STARTED, keeper.about())
    write_record(directory / EXIT, keeper.run())


if __name__ == "__main__":
    main()
