"""Helpers to watch processes."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil

PATIENCE = 30.0  # seconds, enough for a busy machine


def eventually(what: Callable[[], bool]) -> bool:
    """Wait until something is true; false when it does not become true."""
    end = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def number_in(file: Path) -> int:
    """Return the number that a process writes into a file, once it is there."""
    assert eventually(lambda: file.is_file() and file.read_text().endswith("\n")), file
    return int(file.read_text())


def gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
