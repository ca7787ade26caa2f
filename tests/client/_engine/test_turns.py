"""Tests of `spec_kitty_client._engine.turns`: mutations of one repository take turns."""

import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from spec_kitty_client import AsyncClient, Client, Completed, InvalidCall
from spec_kitty_client._engine import driver
from spec_kitty_client._engine.turns import Turn, turn_of
from spec_kitty_client.transports.process import AsyncProcessTransport, ProcessTransport
from spec_kitty_client.transports.ssh import SshTransport
from spec_kitty_client.transports.warm import WarmTransport
from tests.client.answers import POLICY, success

pytestmark = pytest.mark.anyio


class Slow:
    """A slow host that counts its calls, and how many it had at once."""

    def __init__(self, repository: str = "one") -> None:
        self.now = self.most = self.calls = 0
        self.name = repository
        self._lock = threading.Lock()

    def repository(self) -> str:
        return self.name

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.calls += 1
        time.sleep(0.02)
        with self._lock:
            self.now -= 1
        return success(args[1])


class AsyncSlow(Slow):
    """The async form of `Slow`."""

    async def run(  # type: ignore[override]
        self, args: Sequence[str], *, time_limit: float
    ) -> Completed:
        return await anyio.to_thread.run_sync(lambda: Slow.run(self, args, time_limit=time_limit))


def note(client: Client) -> None:
    client.append_history("m", "WP01", "n", actor="ada")


def side_by_side(*jobs: object) -> None:
    threads = [threading.Thread(target=job) for job in jobs]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_mutations_of_threads_take_turns() -> None:
    """Mutations of one repository run one after another, over threads and clients."""
    host = Slow()
    clients = [Client(transport=host, policy=POLICY) for _ in range(2)]
    for client in clients:
        client.negotiate()
    host.calls = host.most = 0

    side_by_side(*(lambda c=c: note(c) for c in clients * 3))

    assert host.calls == 6
    assert host.most == 1


def test_without_turns_they_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host of these tests notices when mutations run at the same time."""

    class NoTurn:
        def hold(self) -> nullcontext[None]:
            return nullcontext()

    monkeypatch.setattr(driver, "turn_of", lambda _: NoTurn())
    host = Slow()
    client = Client(transport=host, policy=POLICY)
    client.negotiate()

    side_by_side(*[lambda: note(client)] * 3)

    assert host.most > 1


def test_reads_run_beside_mutations() -> None:
    """A read does not wait for a mutation."""
    host = Slow()
    client = Client(transport=host, policy=POLICY)
    client.negotiate()

    with turn_of(host).hold():
        assert client.mission_state("034-pay").mission_slug


async def test_tasks_and_threads_share_the_turn() -> None:
    """An async client and a blocking one in a thread change one repository in turn."""
    host = AsyncSlow()
    blocking = Slow()
    blocking.__dict__ = host.__dict__  # one host, called in both ways
    waiting = AsyncClient(transport=host, actor="ada", policy=POLICY)
    client = Client(transport=blocking, policy=POLICY)
    await waiting.negotiate()
    client.negotiate()
    host.calls = host.most = 0

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(waiting.append_history, "m", "WP01", "n")
            tasks.start_soon(anyio.to_thread.run_sync, note, client)

    assert host.calls == 6
    assert host.most == 1


async def test_a_call_that_waits_for_its_turn_can_be_cancelled() -> None:
    """A task that is cancelled while it waits gets no turn, and the next one can have it."""
    turn, had = Turn(), []

    async def other() -> None:
        with anyio.move_on_after(0.05) as scope:
            async with turn.hold_async():
                had.append("turn")
        had.append(scope.cancelled_caught)

    async with turn.hold_async(), anyio.create_task_group() as tasks:
        tasks.start_soon(other)
    assert had == [True]
    async with turn.hold_async():
        pass


async def test_a_blocking_call_in_the_event_loop_does_not_hang() -> None:
    """A blocking mutation while a task of this loop has the turn is refused with advice."""
    host = Slow()
    client = Client(transport=host, policy=POLICY)
    client.negotiate()

    async with turn_of(host).hold_async():
        with pytest.raises(InvalidCall, match="In an event loop use AsyncClient"):
            note(client)
    note(client)


def test_a_turn_is_free_after_an_error() -> None:
    """A call that fails gives its turn back."""
    turn = Turn()
    with pytest.raises(ZeroDivisionError), turn.hold():
        _ = 1 / 0
    with turn.hold():
        pass


def test_every_checkout_of_a_repository_has_its_turn(tmp_path: Path) -> None:
    """Folders, worktrees and transports of one repository share a turn; another has its own."""
    repo, tree, other = tmp_path / "repo", tmp_path / "tree", tmp_path / "other"
    for folder in (repo, other):
        subprocess.run(["git", "init", "--quiet", folder], check=True)
    inside = repo / "src" / "deep"
    inside.mkdir(parents=True)
    commit = ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "--allow-empty"]
    subprocess.run(["git", "-C", repo, *commit, "--message=m"], check=True)
    subprocess.run(["git", "-C", repo, "worktree", "add", "-q", tree], check=True)

    turn = turn_of(ProcessTransport(repo=repo))
    assert turn_of(ProcessTransport(repo=inside)) is turn
    assert turn_of(ProcessTransport(repo=tree)) is turn
    assert turn_of(AsyncProcessTransport(repo=repo)) is turn
    assert turn_of(WarmTransport(ProcessTransport(repo=tree))) is turn
    assert turn_of(ProcessTransport(repo=other)) is not turn


def test_a_submodule_is_a_repository_of_its_own(tmp_path: Path) -> None:
    """A submodule has its own git folder, and so another turn than the repository around it."""
    (tmp_path / ".git" / "modules" / "sub").mkdir(parents=True)
    sub = tmp_path / "sub"
    sub.mkdir()
    (sub / ".git").write_text("gitdir: ../.git/modules/sub\n")

    around, own = ProcessTransport(repo=tmp_path), ProcessTransport(repo=sub)

    assert own.repository() == ("local", str(tmp_path / ".git" / "modules" / "sub"))
    assert around.repository() == ("local", str(tmp_path / ".git"))


def test_a_repository_over_there_is_another_one() -> None:
    """A folder on two machines is two repositories, and on one machine it is one."""
    one = SshTransport("user@box", repo="work")

    assert one.repository() == SshTransport("user@box", repo="work").repository()
    assert one.repository() != SshTransport("user@other", repo="work").repository()
