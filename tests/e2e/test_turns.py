"""Two threads and two tasks change one mission at the same time, and nothing is lost.

``ROUNDS`` in the environment is the number of rounds (default 3). ``TURNS=off`` switches the
turn-taking of the SDK off, to see that this test then fails.
"""

import os
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest
from anyio import to_thread

from spec_kitty_client import AsyncClient, Client, Lane
from spec_kitty_client._engine.turns import Turn

from .conftest import POLICY, Scene

ROUNDS = int(os.environ.get("ROUNDS", "3"))


@pytest.fixture(autouse=True)
def _turns(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.environ.get("TURNS") == "off":

        @contextmanager
        def at_once(_: Turn):  # type: ignore[no-untyped-def]  # noqa: ANN202
            yield

        @asynccontextmanager
        async def at_once_async(_: Turn):  # type: ignore[no-untyped-def]  # noqa: ANN202
            yield

        monkeypatch.setattr(Turn, "hold", at_once)
        monkeypatch.setattr(Turn, "hold_async", at_once_async)


def recorded(scene: Scene) -> str:
    """Return every file of the mission in one text."""
    files = sorted((scene.root / "kitty-specs").rglob("*"))
    return "".join(f.read_text(encoding="utf-8") for f in files if f.is_file())


def test_calls_of_threads_and_tasks_take_turns(scene: Callable[..., Scene]) -> None:
    """Every claim and note that the host has accepted is recorded, from any thread or task."""
    here = scene(4)
    blocking = [Client(here.root, actor=f"thread{n}", policy=POLICY) for n in (1, 2)]
    waiting = [AsyncClient(here.root, actor=f"task{n}", policy=POLICY) for n in (1, 2)]
    ones = [c.mission(here.mission).work_package(f"WP0{n}") for n, c in enumerate(blocking, 1)]
    others = [c.mission(here.mission).work_package(f"WP0{n}") for n, c in enumerate(waiting, 3)]
    sent = [f"note {n} of {i}." for n in range(ROUNDS) for i in range(4)]

    async def claims() -> None:
        async with anyio.create_task_group() as tasks:
            for one, other in zip(ones, others, strict=True):
                tasks.start_soon(to_thread.run_sync, one.claim)
                tasks.start_soon(other.claim)

    async def notes(number: int) -> None:
        texts = iter(sent[4 * number : 4 * number + 4])
        async with anyio.create_task_group() as tasks:
            for one, other in zip(ones, others, strict=True):
                tasks.start_soon(to_thread.run_sync, one.append_history, next(texts))
                tasks.start_soon(other.append_history, next(texts))

    async def rounds() -> None:
        await claims()
        for number in range(ROUNDS):
            await notes(number)
        for client in waiting:
            await client.aclose()

    anyio.run(rounds)
    lanes = blocking[0].mission(here.mission).state().lanes()
    for client in blocking:
        client.close()

    found = recorded(here)
    assert [text for text in sent if text not in found] == []
    assert set(lanes.values()) == {Lane.IN_PROGRESS}
