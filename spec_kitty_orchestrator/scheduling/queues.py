"""A queue whose entries may change their place."""

from heapq import heappop, heappush
from typing import Any

__all__ = ["Queue"]


class Queue:
    """Names in the order of their keys; each is in it at most once, by its last key.

    What has been removed or put elsewhere stays in the heap until it comes up, so no change
    costs more than the logarithm of what is there.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[Any, str]] = []
        self._keys: dict[str, Any] = {}

    def put(self, name: str, key: Any) -> None:
        """Put a name where its key belongs, wherever it was."""
        if self._keys.get(name) != key:
            self._keys[name] = key
            heappush(self._heap, (key, name))

    def remove(self, name: str) -> None:
        """Take a name out, if it is there."""
        self._keys.pop(name, None)

    def first(self) -> str | None:
        """Return the name that comes first; None: there is none."""
        while self._heap:
            key, name = self._heap[0]
            if self._keys.get(name) == key:
                return name
            heappop(self._heap)
        return None

    def pop(self) -> str | None:
        """Take out the name that comes first, and return it."""
        name = self.first()
        if name is not None:
            heappop(self._heap)
            del self._keys[name]
        return name
