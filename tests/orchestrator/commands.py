"""The command line in this process, as a function of its words."""

from collections.abc import Callable

import pytest
from attrs import frozen

from spec_kitty_orchestrator.cli import _main

__all__ = ["Command", "Ended", "run"]


@frozen
class Ended:
    """The result of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return the command line, as a function of its words."""

    def call(*words: str) -> Ended:
        try:
            code = _main(list(words))
        except SystemExit as e:
            code = int(e.code or 0)
        return Ended(code, *capsys.readouterr())

    return call
