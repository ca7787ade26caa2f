"""The memory that calls write to, which a child may have for itself before it is needed.

Run by the host's own interpreter; see `main`. What a fork has in common with its parent is
copied page by page when either writes to it: three thousand times in a short call, a quarter of
its time. Calls write to much the same pages, so the first of them tell which these were, and a
child that waits for its request has them copied meanwhile.

Linux tells which pages a process has for itself (pagemap, since 4.2), and copies them if asked
to (since 5.14). Elsewhere nothing of this happens.
"""

import array
import contextlib
import itertools
import os
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Pages"]

POPULATE_WRITE = 23  # of madvise(2)
OWN = 1 << 63 | 1 << 56  # of pagemap: it is in memory, and nobody else has it
ENOUGH = 8  # calls; later ones write to what these have


class Pages:
    """What calls of one server have written to, by page number."""

    def __init__(self) -> None:
        self.size = os.sysconf("SC_PAGE_SIZE")
        self.told_by = 0
        """How many calls have told."""
        self.known: set[int] = set()
        self.ranges: list[tuple[int, int]] = []
        """The same as addresses and lengths."""
        self.advise: Callable[[int, int, int], int] | None = None
        with contextlib.suppress(Exception):  # an interpreter may be built without it
            import ctypes

            advise = ctypes.CDLL(None).madvise
            advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
            if os.path.exists("/proc/self/pagemap"):
                self.advise = advise

    def wanted(self) -> bool:
        """Tell whether a call should tell what it has written to."""
        return self.advise is not None and self.told_by < ENOUGH

    def learn(self, told: Any) -> None:
        """Take note of what a call has written to."""
        self.told_by += 1
        self.known.update(told)
        self.ranges = [(a * self.size, n * self.size) for a, n in _ranges(sorted(self.known))]

    def copy(self) -> None:
        """Have what calls write to for this process alone."""
        if self.advise is not None:
            for address, length in self.ranges:
                self.advise(address, length, POPULATE_WRITE)  # what is not there is left out

    def own(self) -> list[int]:
        """Return what this process has for itself."""
        found: list[int] = []
        with open("/proc/self/pagemap", "rb", 0) as table, open("/proc/self/maps", "rb") as maps:
            for line in maps:
                between, may = line.split(None, 2)[:2]
                if may == b"rw-p":
                    first, end = (int(x, 16) // self.size for x in between.split(b"-"))
                    entries = array.array(
                        "Q", os.pread(table.fileno(), (end - first) * 8, first * 8)
                    )
                    found += [n for n, entry in enumerate(entries, first) if entry & OWN == OWN]
        return found


def _ranges(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Return first and count of numbers that follow each other."""
    for _, group in itertools.groupby(enumerate(numbers), lambda x: x[1] - x[0]):
        together = [number for _, number in group]
        yield together[0], len(together)
