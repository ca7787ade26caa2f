"""Runs the tests against mutants, each in a forked process that has imported everything."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from time import monotonic

import pytest
from attrs import define, frozen

from tests.mutants.mutant import Mutant

__all__ = ["Outcome", "outcomes"]

_FORK = multiprocessing.get_context("fork")
_LIMIT = 300.0  # seconds for the tests of one mutant
# What has been imported already cannot be rewritten, and nobody reads why a test fails.
_PLAIN = "--assert=plain"
_OPTIONS = ("--exitfirst", "--quiet", _PLAIN, "-p", "no:cacheprovider", "-p", "no:xdist")


@frozen
class Outcome:
    """What has become of a mutant.

    Attributes:
        killer: The first test that failed; None: it survived.
    """

    mutant: Mutant
    killer: str | None


class _First:
    """Remembers the first test that failed, or the first module that cannot be imported."""

    def __init__(self) -> None:
        self.failed: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid


def outcomes(mutants: Sequence[Mutant], jobs: int) -> Iterator[Outcome]:
    """Yield what has become of each, as they end.

    Raises:
        RuntimeError: If tests could not be run.
    """
    todo, running = list(reversed(mutants)), dict[Connection, _Running]()
    try:
        while todo or running:
            while todo and len(running) < jobs:
                one = _start(todo.pop())
                running[one.answer] = one
            for ready in _ended(running):
                yield running.pop(ready).outcome()
    finally:
        for one in running.values():
            one.process.kill()


@define(eq=False)
class _Running:
    mutant: Mutant
    process: ForkProcess
    answer: Connection
    until: float

    def outcome(self) -> Outcome:
        if not self.answer.poll():
            self.process.kill()
            return Outcome(self.mutant, "(no end)")
        try:
            code, failed = self.answer.recv()
        except EOFError:
            code, failed = None, None
        self.process.join()
        if code == pytest.ExitCode.OK:
            return Outcome(self.mutant, None)
        if failed is None:
            msg = f"{self.mutant.name}: the tests cannot be run ({code}): {self.mutant.tests}"
            raise RuntimeError(msg)
        return Outcome(self.mutant, failed)


def _start(mutant: Mutant) -> _Running:
    here, there = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_try, args=(mutant, there))
    process.start()
    there.close()
    return _Running(mutant, process, here, monotonic() + _LIMIT)


def _ended(running: dict[Connection, _Running]) -> list[Connection]:
    """Wait until some have answered, or have had their time."""
    first = min(one.until for one in running.values())
    ready = wait(list(running), timeout=max(0.0, first - monotonic()))
    late = [answer for answer, one in running.items() if one.until <= monotonic()]
    return [answer for answer in running if answer in ready or answer in late]


def _try(mutant: Mutant, answer: Connection) -> None:
    """Be the mutant, and tell which test failed first."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    mutant.apply()
    first = _First()
    code = pytest.main([*_OPTIONS, *mutant.tests], plugins=[first])
    answer.send((int(code), first.failed))
    answer.close()
