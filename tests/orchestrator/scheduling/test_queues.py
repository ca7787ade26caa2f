"""Tests of `spec_kitty_orchestrator.scheduling.queues`."""

from spec_kitty_orchestrator.scheduling.queues import Queue


def drained(queue: Queue) -> list[str]:
    """Take everything out."""
    found = []
    while name := queue.pop():
        found.append(name)
    return found


def test_the_least_key_comes_first() -> None:
    """Names come out in the order of their keys, whenever they were put in."""
    queue = Queue()
    for name, key in (("b", 2), ("c", 3), ("a", 1)):
        queue.put(name, key)
    assert queue.first() == "a"
    assert drained(queue) == ["a", "b", "c"]
    assert queue.first() is None


def test_the_last_key_counts() -> None:
    """A name that is put in again has moved, and comes out once."""
    queue = Queue()
    for name, key in (("a", 1), ("b", 2), ("a", 3), ("b", 2)):
        queue.put(name, key)
    assert drained(queue) == ["b", "a"]


def test_what_is_removed_is_gone_until_it_is_put_in_again() -> None:
    """Old entries of a name do not come to life with it."""
    queue = Queue()
    queue.put("a", 1)
    queue.put("b", 2)
    queue.remove("a")
    queue.remove("nobody")
    assert queue.first() == "b"
    queue.put("a", 3)
    queue.put("a", 1)
    queue.remove("a")
    queue.put("a", 1)
    assert drained(queue) == ["a", "b"]
