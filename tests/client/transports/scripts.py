"""Small programs that act as a host, and helpers to watch them."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PATIENCE = 30.0  # seconds, for machines that are busy with something else


def script(path: Path, body: str, interpreter: str = "/bin/sh") -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{interpreter}\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def hanging(folder: Path, *, on_term: str = "exit 143") -> str:
    """Return a program that never ends, with a child that holds stdout and ignores SIGTERM.

    Both write their process id into the folder.
    """
    return f"""
    sh -c 'trap "" TERM; echo $$ > {folder}/child.pid; while :; do sleep 0.1; done' &
    trap '{on_term}' TERM
    echo begun
    echo $$ > {folder}/host.pid
    while :; do sleep 0.05; done
    """


def eventually(what: Callable[[], bool]) -> bool:
    """Wait until a condition holds; return False if it does not within `PATIENCE` seconds."""
    end = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def written(path: Path) -> bool:
    """Return whether a file exists and is not empty."""
    return path.is_file() and path.stat().st_size > 0


def started(folder: Path) -> bool:
    """Return whether a hanging program and its child are running."""
    return written(folder / "host.pid") and written(folder / "child.pid")


def pids(folder: Path) -> list[int]:
    """Return the process ids of a hanging program and its child, once they are written."""
    assert eventually(lambda: started(folder)), "the program did not start"
    return [int((folder / name).read_text()) for name in ("host.pid", "child.pid")]


def alive(pid: int) -> bool:
    """Return whether a process is alive; a zombie is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pid: int) -> bool:
    """Wait for a process to end, and return whether it did."""
    return eventually(lambda: not alive(pid))


@contextmanager
def ended_at_last(folder: Path) -> Iterator[None]:
    """Kill a hanging program and its child at the end of a test, passed or failed."""
    try:
        yield
    finally:
        for file, kill in ((folder / "host.pid", os.killpg), (folder / "child.pid", os.kill)):
            if written(file):
                with suppress(ProcessLookupError):
                    kill(int(file.read_text()), signal.SIGKILL)


@contextmanager
def interrupted(when: Callable[[], bool], error: type[BaseException]) -> Iterator[None]:
    """Raise an exception in the waiting main thread, as Ctrl-C does."""

    def handler(*_: object) -> None:
        raise error

    def send() -> None:
        if eventually(when):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
