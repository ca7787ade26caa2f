"""Tests of `spec_kitty_client._engine.core`: which calls a client makes, and how often."""

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import stamina
from packaging.version import Version

from spec_kitty_client import AsyncClient, Client, Dialect, Retry, Review, ReviewVerdict
from spec_kitty_client._engine import core
from spec_kitty_client.errors import (
    Conflict,
    HostTimeout,
    InvalidCall,
    SpecKittyError,
    TransitionRejected,
    UnsupportedByHost,
    UnsupportedHost,
    UsageRejected,
)
from spec_kitty_client.transports import Completed
from tests.client.answers import POLICY, Scripted, completed, line, refusal, success
from tests.client.releases import RELEASES, SAMPLE
from tests.client.simulated import SLUG, AsyncWithGit, Fault, Simulated, WithGit

every_host = pytest.mark.parametrize("release", SAMPLE)
REVIEW = Review(reviewer="rev", reference="r1")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the hosts that this process has recognised."""
    monkeypatch.setattr(core, "_known", {})


class Named(Simulated):
    """A host with an identity, which is that of its program."""

    program: Hashable = "/bin/spec-kitty"

    def identity(self) -> Hashable:
        """Return the identity of the program."""
        return self.program


def client(host: Simulated) -> Client:
    """Return a client with an actor and a policy."""
    return Client(actor="ada", policy=POLICY, transport=host)


def contract_suffices(release: str) -> bool:
    """Return whether a host can be recognised by its contract version alone."""
    return Version(release) >= Version("3.2.2")


def recognition(release: str) -> list[str]:
    """Return the calls that a client makes to recognise a host."""
    return ["contract-version"] if contract_suffices(release) else ["contract-version", "--version"]


# How a host is recognised.


@every_host
def test_negotiating_takes_two_calls_at_most(release: str) -> None:
    """Negotiation takes one call from 3.2.2 on, two before, and none the second time."""
    host = Simulated(release)
    mine = client(host)
    contract = mine.negotiate()

    assert contract.dialect == RELEASES[release]
    assert contract.release <= Version(release)
    assert host.verbs == recognition(release)
    assert mine.negotiate() == mine.contract == contract
    assert host.verbs == recognition(release)


@every_host
def test_a_release_that_was_asked_for_is_kept_exactly(release: str) -> None:
    """From 3.2.2 on the release is the oldest one with that contract; before, the exact one."""
    contract = client(Simulated(release)).negotiate()

    assert (str(contract.release) == release) is (release not in ("3.2.3", "3.2.5"))


@every_host
@pytest.mark.parametrize("verb", ["append_history", "start_implementation"])
def test_beginning_with_a_mutation_asks_first(verb: str, release: str) -> None:
    """A client sends no mutation before it knows the host's contract."""
    host = Simulated(release)
    mine = client(host)
    note = ["n"] if verb == "append_history" else []
    for _ in range(2):
        getattr(mine, verb)(SLUG, "WP01", *note)

    assert host.verbs == [*recognition(release), *[verb.replace("_", "-")] * 2]


@every_host
def test_beginning_with_a_workflow_verb_asks_first(release: str) -> None:
    """A client recognises the host before the first workflow verb, and not again."""
    host = Simulated(release)
    host.put("WP01", "in_progress")
    mine = client(host)
    mine.mission(SLUG).work_package("WP01").block("no disk")
    mine.mission(SLUG).work_package("WP01").block("no disk")
    rest = [v for v in host.verbs if v not in recognition(release)]

    assert host.verbs[: len(recognition(release))] == recognition(release)
    assert rest == ["mission-state", "transition", "mission-state"]


@pytest.mark.parametrize("release", [r for r in SAMPLE if contract_suffices(r)])
@pytest.mark.parametrize("read", ["mission_state", "list_ready"])
def test_beginning_with_a_read_asks_nothing(read: str, release: str) -> None:
    """A client that starts with a read learns the contract from the answer."""
    host = Simulated(release)
    mine = client(host)
    getattr(mine, read)(SLUG)

    assert host.verbs == [read.replace("_", "-")]
    assert mine.negotiate().dialect == RELEASES[release]
    assert host.verbs == [read.replace("_", "-")]


@pytest.mark.parametrize("release", ["3.1.0", "3.1.10", "3.2.1"])
def test_beginning_with_a_read_that_an_old_host_understands(release: str) -> None:
    """The client makes the read at once, and asks for the release before a mutation."""
    host = Simulated(release)
    mine = client(host)

    assert mine.mission_state(SLUG).lanes() == {"WP01": "planned"}
    assert host.verbs == ["mission-state"]
    mine.append_history(SLUG, "WP01", "n")
    mine.mission_state(SLUG)
    assert host.verbs[1:] == ["--version", "append-history", "mission-state"]


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3"])
@pytest.mark.parametrize("read", ["mission_state", "list_ready"])
def test_beginning_with_a_read_that_an_old_host_does_not_understand(
    read: str, release: str
) -> None:
    """After the refusal the client asks for the release, and repeats the read in its names."""
    host = Simulated(release)
    mine = client(host)

    assert getattr(mine, read)(SLUG).mission_slug == SLUG
    assert len(host.calls) == 3
    assert "--version" in host.verbs
    getattr(mine, read)(SLUG)
    mine.append_history(SLUG, "WP01", "n")
    assert host.verbs[3:] == [read.replace("_", "-"), "append-history"]


@pytest.mark.anyio
@every_host
async def test_an_async_client_asks_the_same(release: str) -> None:
    """The async client makes the same calls to recognise a host."""
    host = WithGit(release)
    mine = AsyncClient(actor="ada", policy=POLICY, transport=AsyncWithGit(host))
    await mine.append_history(SLUG, "WP01", "n")
    await mine.mission_state(SLUG)

    assert host.verbs == [*recognition(release), "append-history", "mission-state"]
    assert mine.contract == await mine.negotiate()
    assert mine.contract.dialect == RELEASES[release]


def test_asking_for_the_contract_tells_half_on_old_hosts() -> None:
    """After contract-version, a client asks an old host only for its release."""
    host = Simulated("3.1.10")
    mine = client(host)
    mine.contract_version()

    assert mine.contract is None
    assert mine.negotiate().dialect is Dialect.M1
    assert host.verbs == ["contract-version", "--version"]


# Contracts that clients share.


@every_host
def test_a_second_client_of_the_same_program_asks_nothing(release: str) -> None:
    """A second client of the same host program makes no call to recognise it."""
    host = Named(release)
    first = client(host).negotiate()
    asked = len(host.calls)
    second = client(host)

    assert second.contract == second.negotiate() == first
    second.append_history(SLUG, "WP01", "n")
    assert host.verbs[asked:] == ["append-history"]


def test_another_program_is_asked_for_itself() -> None:
    """The contract of one host program is not used for another one."""
    one, other = Named("3.2.7"), Named("1.0.3")
    other.program = "/other/spec-kitty"
    client(one).negotiate()

    assert client(other).negotiate().dialect is Dialect.F1


def test_a_host_without_an_identity_is_asked_by_every_client() -> None:
    """Clients share a contract only between transports with the same identity."""
    host = Simulated("3.2.7")
    client(host).negotiate()
    client(host).negotiate()

    assert host.verbs == ["contract-version"] * 2


@pytest.mark.parametrize("now", ["1.0.3", "3.0.3", "4.0.0rc7"])
def test_what_was_remembered_wrongly_is_asked_again(now: str) -> None:
    """A client recognises the new host if a program now runs another one."""
    host = Named("3.2.7")
    client(host).negotiate()
    host.become(now)
    asked = len(host.calls)
    second = client(host)

    assert second.mission_state(SLUG).mission_slug == SLUG
    assert second.negotiate().dialect == RELEASES[now]
    assert len(host.calls) - asked <= 3


@pytest.mark.parametrize(("before", "now"), [("3.2.7", "4.0.0rc7"), ("3.2.3", "3.2.7")])
def test_a_replaced_host_is_noticed_by_its_envelope(before: str, now: str) -> None:
    """The client takes a replaced host's contract from its next envelope, without a call."""
    host = Named(before)
    mine = client(host)
    mine.negotiate()
    host.become(now)
    mine.mission_state(SLUG)

    assert mine.contract is not None
    assert mine.contract.dialect == RELEASES[now]
    assert host.verbs == ["contract-version", "mission-state"]
    assert client(host).contract == mine.contract


@pytest.mark.parametrize(
    "program",
    [
        None,
        "/bin/spec-kitty",
    ],
)
def test_a_replaced_host_that_does_not_tell_is_asked(program: str | None) -> None:
    """After a downgrade to contract 1.0.0 the client asks for the release before a mutation."""
    host = Named("3.2.7")
    host.program = program
    mine = client(host)
    mine.negotiate()
    host.become("3.1.10")
    mine.mission_state(SLUG)
    asked = len(host.calls)
    mine.append_history(SLUG, "WP01", "n")

    assert host.verbs[asked:] == ["--version", "append-history"]
    assert mine.contract is not None
    assert mine.contract.dialect is Dialect.M1


def test_a_mutation_that_a_replaced_host_does_not_understand_is_said_again() -> None:
    """The client repeats a mutation that a replaced host's option parser has refused."""
    host = Named("3.2.7")
    client(host).negotiate()
    host.become("3.0.3")
    mine = client(host)
    mine.append_history(SLUG, "WP01", "n")

    assert host.verbs[-1] == "append-history"
    assert len(host.sent("append-history")) == 2
    assert [o.get("note") for o in host.sent("append-history")] == [None, "n"]


def test_a_usage_error_of_a_host_that_is_known_is_just_that() -> None:
    """A usage error of a recognised host is raised, and nothing is sent again."""
    host = Scripted(
        success("contract-version"),
        completed(line("unknown", code="USAGE_ERROR"), exit_code=2),
    )
    mine = Client(transport=host)
    mine.negotiate()

    with pytest.raises(UsageRejected):
        mine.mission_state("m")
    assert host.verbs == ["contract-version", "mission-state"]


class Wrapped(Simulated):
    """A host behind a script that swallows --version."""

    says = ""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer calls, and hide the version."""
        answer = super().run(args, time_limit=time_limit)
        return completed(self.says.encode()) if tuple(args) == ("--version",) else answer


@pytest.mark.parametrize("says", ["", "my-wrapper 2.0\n"])
def test_a_wrapper_that_hides_the_version_is_told(says: str) -> None:
    """The error for a wrapper around an old host names the option that it must pass on."""
    host = Wrapped("3.1.10")
    host.says = says

    with pytest.raises(UnsupportedHost, match="make that pass --version on"):
        client(host).append_history(SLUG, "WP01", "n")
    assert host.mutations == []


def test_a_wrapper_that_hides_the_version_of_a_new_host_does_no_harm() -> None:
    """From 3.2.2 on the client does not ask for the release."""
    host = Wrapped("3.2.7")
    client(host).append_history(SLUG, "WP01", "n")

    assert host.verbs == ["contract-version", "append-history"]


@pytest.mark.parametrize("exit_code", [None, 1])
def test_a_version_that_does_not_come_is_an_error_of_the_host(exit_code: int | None) -> None:
    """A failed --version raises a HostError, and the next call asks again."""
    lost = completed(exit_code=exit_code)
    old = success("contract-version", version="1.0.0")
    host = Scripted(old, lost, completed(b"spec-kitty-cli version 3.1.10\n"))
    mine = Client(transport=host)

    with pytest.raises(SpecKittyError) as e:
        mine.negotiate()
    assert not isinstance(e.value, UnsupportedHost)
    assert mine.negotiate().dialect is Dialect.M1
    assert len(host.calls) == 3


def test_a_lock_that_is_held_while_the_release_is_asked_for_is_told() -> None:
    """The SDK raises the error of the call for the release, not that of the first refusal."""
    words = line("unknown", {"message": "No such command"}, code="USAGE_ERROR", version="1.0.0")
    locked = line("unknown", {"message": "locked"}, code="STATUS_LOCK_HELD", version="1.0.0")
    host = Scripted(completed(words, exit_code=2), completed(locked, exit_code=1))
    mine = Client(transport=host)
    with pytest.raises(Conflict) as e:
        mine.mission_state("034-payment")
    assert e.value.code == "STATUS_LOCK_HELD"
    assert e.value.retryable


# Threads and tasks.


class Slow(Simulated):
    """A host that takes a moment for every answer."""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer after a while, from any number of threads."""
        threading.Event().wait(0.02)
        return super().run(args, time_limit=time_limit)


@pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.7"])
def test_twenty_threads_ask_once(release: str) -> None:
    """Twenty threads that share a new client recognise the host once."""
    host = Slow(release)
    mine = client(host)
    ready = threading.Barrier(20)
    failures: list[BaseException] = []

    def note() -> None:
        try:
            ready.wait(10)
            mine.append_history(SLUG, "WP01", "n")
        except BaseException as e:  # noqa: BLE001
            failures.append(e)

    threads = [threading.Thread(target=note) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert not failures
    assert host.verbs[: len(recognition(release))] == recognition(release)
    assert host.verbs[len(recognition(release)) :] == ["append-history"] * 20


@pytest.mark.anyio
@pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.7"])
async def test_twenty_tasks_ask_once(release: str) -> None:
    """Twenty tasks that share a new client recognise the host once."""
    host = WithGit(release)
    mine = AsyncClient(actor="ada", policy=POLICY, transport=AsyncWithGit(host))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(mine.append_history, SLUG, "WP01", "n")

    assert host.verbs == [*recognition(release), *["append-history"] * 20]


# Calls that a host does not have.

NEWER: list[tuple[str, dict[str, Any], str, str]] = [
    ("resolve_workspace", {}, "resolve-workspace", "3.2.4"),
    ("transition", {"to": "in_review"}, "lane in_review", "3.1.1"),
    ("transition", {"to": "approved"}, "lane approved", "2.1.0"),
    (
        "transition",
        {"to": "done", "review_result": REVIEW.result(ReviewVerdict.APPROVED)},
        "--review-result-json of transition",
        "3.2.6",
    ),
]


@every_host
@pytest.mark.parametrize(("verb", "given", "what", "since"), NEWER)
def test_what_a_host_cannot_do_is_not_sent(
    verb: str, given: dict[str, Any], what: str, since: str, release: str
) -> None:
    """The error names the verb, option or lane and the first release; nothing is sent."""
    host = Simulated(release)
    call = getattr(client(host), verb)
    if Version(release) >= Version(since):
        with suppress(TransitionRejected):
            call(SLUG, "WP01", **given)
        assert verb.replace("_", "-") in host.verbs
        return
    with pytest.raises(UnsupportedByHost, match=f"has no {what}; {since} is the first") as e:
        call(SLUG, "WP01", **given)

    assert RELEASES[e.value.release] == RELEASES[release]
    assert set(host.verbs) <= set(recognition(release))


def test_an_invalid_call_is_found_before_the_host_is_asked_anything() -> None:
    """A value that no command line can carry is refused without any host call."""
    host = Simulated("3.2.7")

    with pytest.raises(InvalidCall, match="NUL"):
        client(host).append_history(SLUG, "WP01", "a\0b")
    assert host.calls == []


# Retries.


@pytest.fixture
def no_wait() -> Iterator[None]:
    """Retry without waiting."""
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


def retrying(host: Scripted, **how: Any) -> Client:
    """Return a client that retries."""
    return Client(actor="ada", policy=POLICY, transport=host, retry=Retry(**how))


LOST = completed(exit_code=None)
HELLO = success("contract-version")
BUSY = refusal("start-implementation", "STATUS_LOCK_HELD")


@pytest.mark.usefixtures("no_wait")
def test_a_read_that_was_lost_is_repeated() -> None:
    """A read without an answer is retried."""
    host = Scripted(LOST, LOST, success("mission-state"))

    assert retrying(host).mission_state("m").work_packages


@pytest.mark.usefixtures("no_wait")
@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_a_read_is_repeated_as_often_as_was_said(attempts: int) -> None:
    """After the last attempt the last error is raised."""
    host = Scripted(*[LOST] * 9)

    with pytest.raises(HostTimeout):
        retrying(host, attempts=attempts).mission_state("m")
    assert host.verbs == ["mission-state"] * attempts


def test_nothing_is_repeated_unless_it_was_asked_for() -> None:
    """A client without a `Retry` raises the first error."""
    host = Scripted(LOST, success("mission-state"))

    with pytest.raises(HostTimeout):
        Client(transport=host).mission_state("m")
    assert len(host.calls) == 1


@pytest.mark.usefixtures("no_wait")
@pytest.mark.parametrize("lost", [LOST, completed(exit_code=1), completed(exit_code=-9)])
def test_what_may_have_had_an_effect_is_never_repeated(lost: Completed) -> None:
    """A mutation with an unknown outcome is not retried."""
    host = Scripted(HELLO, lost, success("append-history"))

    with pytest.raises(SpecKittyError):
        retrying(host).append_history("m", "WP01", "n")
    assert host.verbs == ["contract-version", "append-history"]


@pytest.mark.usefixtures("no_wait")
def test_a_not_now_is_repeated() -> None:
    """A refusal because of a held lock is retried."""
    host = Scripted(HELLO, BUSY, BUSY, success("start-implementation"))

    assert retrying(host).start_implementation("m", "WP01").to_lane == "in_progress"
    assert host.verbs == ["contract-version", *["start-implementation"] * 3]


@pytest.mark.usefixtures("no_wait")
def test_a_not_now_that_stays_is_raised() -> None:
    """If the lock stays held, the error has the code of the last answer."""
    host = Scripted(HELLO, *[BUSY] * 9)

    with pytest.raises(Conflict):
        retrying(host, attempts=4).start_implementation("m", "WP01")
    assert len(host.calls) == 5


@pytest.mark.usefixtures("no_wait")
@pytest.mark.parametrize(
    "code",
    ["WP_ALREADY_CLAIMED", "TRANSITION_REJECTED", "WP_ON_FIRE", "DEPENDENCIES_NOT_SATISFIED"],
)
def test_a_no_is_not_repeated(code: str) -> None:
    """A refusal that a retry cannot change is not retried."""
    host = Scripted(HELLO, refusal("start-implementation", code))

    with pytest.raises(SpecKittyError):
        retrying(host).start_implementation("m", "WP01")
    assert len(host.calls) == 2


@pytest.mark.usefixtures("no_wait")
def test_the_reads_of_a_workflow_verb_are_repeated() -> None:
    """A lost read inside a workflow verb is retried."""
    host = Simulated("3.2.7")
    host.put("WP01", "in_progress")
    host.faults["mission-state"] = [Fault.TIMEOUT_BEFORE, Fault.CRASH_BEFORE]
    mine = Client(actor="ada", policy=POLICY, transport=host, retry=Retry())

    assert mine.mission(SLUG).work_package("WP01").block("no disk").changed
    assert len(host.moves) == 1


@pytest.mark.anyio
@pytest.mark.usefixtures("no_wait")
async def test_a_read_that_was_lost_is_repeated_async() -> None:
    """The async client retries a lost read on both event loops."""
    host = WithGit("3.2.7")
    host.faults["mission-state"] = [Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER]
    mine = AsyncClient(transport=AsyncWithGit(host), retry=Retry())

    assert (await mine.mission_state(SLUG)).work_packages
    assert host.verbs == ["mission-state"] * 3


@pytest.mark.anyio
@pytest.mark.usefixtures("no_wait")
async def test_what_may_have_had_an_effect_is_never_repeated_async() -> None:
    """The async client does not retry a mutation with an unknown outcome."""
    host = WithGit("3.2.7")
    host.faults["append-history"] = [Fault.TIMEOUT_AFTER]
    mine = AsyncClient(actor="ada", transport=AsyncWithGit(host), retry=Retry())

    with pytest.raises(HostTimeout):
        await mine.append_history(SLUG, "WP01", "n")
    assert host.mutations == ["append-history"]
