"""Tests of `spec_kitty_client.testing.faults` and `damage`, and of the SDK under every fault."""

import pickle
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from random import Random
from threading import Thread
from time import process_time

import anyio
import anyio.lowlevel
import pytest

from spec_kitty_client import AsyncClient, Client, Completed
from spec_kitty_client.errors import (
    Conflict,
    HostCrashed,
    HostError,
    HostNotFound,
    HostTimeout,
    ProtocolError,
    SpecKittyError,
)
from spec_kitty_client.testing.damage import Kind
from spec_kitty_client.testing.faults import (
    AsyncFaultyTransport,
    Fault,
    Faults,
    FaultyTransport,
    Happened,
    by_chance,
)
from spec_kitty_client.transports import (
    AsyncGitTransport,
    Closeable,
    GitTransport,
    HasIdentity,
    Transport,
)
from tests.client.answers import POLICY, Scripted, completed, success
from tests.client.releases import RELEASES, SAMPLE
from tests.client.simulated import SLUG, AsyncWithGit, Simulated, WithGit
from tests.client.workflow.test_verbs import CASES, prepared

every_fault = pytest.mark.parametrize("fault", Fault)
every_host = pytest.mark.parametrize("release", SAMPLE)

ERRORS: dict[Kind, tuple[type[SpecKittyError] | None, type[SpecKittyError] | None]] = {
    Kind.LOST: (ProtocolError, ProtocolError),
    Kind.CRASH: (HostCrashed, HostCrashed),
    Kind.TIMEOUT: (HostTimeout, HostTimeout),
    Kind.HANG: (HostTimeout, HostTimeout),
    Kind.TRUNCATED: (ProtocolError, ProtocolError),
    Kind.EXIT_1: (ProtocolError, ProtocolError),
    Kind.NO_HOST: (HostNotFound, HostNotFound),
    Kind.BANNER: (Conflict, None),
    Kind.NOISE: (Conflict, None),
    Kind.NOT_UTF8: (Conflict, None),
    Kind.TWO_ANSWERS: (Conflict, None),
    Kind.SLOW: (Conflict, None),
    Kind.STALE: (None, None),
}
"""The error of each kind, before and after the effect; None if the reply is right."""


def never(seconds: float) -> None:
    """Do not wait."""


async def never_async(seconds: float) -> None:
    """Do not wait, but let other tasks run."""
    await anyio.lowlevel.checkpoint()


def faulty(host: Transport, faults: Faults) -> FaultyTransport:
    """Return a transport that does not wait, and makes little noise."""
    return FaultyTransport(host, faults, noise=10_000, sleep=never)


def client(transport: Transport, actor: str = "ada") -> Client:
    """Return a client with an actor and a policy."""
    return Client(actor=actor, policy=POLICY, transport=transport)


def seeded() -> Random:
    """Return a random generator with a fixed seed."""
    return Random(7)  # noqa: S311 - not for secrets


def at(release: str, lane: str) -> Simulated:
    """Return a host whose only work package is in a lane."""
    host = Simulated(release)
    host.put("WP01", lane)
    return host


def seen(fault: Fault) -> AbstractContextManager[pytest.ExceptionInfo[SpecKittyError] | None]:
    """Expect the error that a client raises for a fault."""
    error = ERRORS[fault.kind][fault.after]
    return pytest.raises(error) if error else nullcontext()


def check(fault: Fault, host: Simulated, e: pytest.ExceptionInfo[SpecKittyError] | None) -> None:
    """Check that there was one effect or none, and that the error does not deny it."""
    assert len(host.moves) == (fault.after or fault.kind is Kind.STALE)
    if e is not None:
        assert type(e.value) is ERRORS[fault.kind][fault.after]
        assert not host.moves or getattr(e.value, "outcome", "unknown") == "unknown"


@every_fault
def test_a_call_that_changes_something(fault: Fault) -> None:
    """Every fault of a mutation is a typed error or harmless, and its outcome is honest."""
    host = at("3.2.7", "in_progress")
    mine = client(faulty(host, {"transition": [fault]}))
    with seen(fault) as e:
        assert mine.transition(SLUG, "WP01", "for_review").to_lane == "for_review"
    check(fault, host, e)


@every_fault
@pytest.mark.anyio
async def test_a_call_that_changes_something_without_blocking(fault: Fault) -> None:
    """Every fault of an async mutation is a typed error or harmless, with an honest outcome."""
    host = WithGit("3.2.7")
    host.put("WP01", "in_progress")
    transport = AsyncFaultyTransport(
        AsyncWithGit(host), {"transition": [fault]}, noise=10_000, sleep=never_async
    )
    mine = AsyncClient(actor="ada", policy=POLICY, transport=transport)
    with seen(fault) as e:
        assert (await mine.transition(SLUG, "WP01", "for_review")).to_lane == "for_review"
    check(fault, host, e)
    assert [h.fault for h in transport.happened] == [fault] * (fault.kind is not Kind.STALE)


@every_fault
@every_host
def test_a_read(fault: Fault, release: str) -> None:
    """A failed read can be retried, and the retry is correct."""
    host = at(release, "in_progress")
    mine = client(faulty(host, {"mission-state": [None, fault]}))
    mine.negotiate()
    mine.mission_state(SLUG)
    host.put("WP01", "for_review")
    right = "in_progress" if fault.kind is Kind.STALE else "for_review"
    with seen(fault) as e:
        assert mine.mission_state(SLUG).lanes() == {"WP01": right}
    assert e is None or not isinstance(e.value, HostError) or e.value.outcome == "not_applied"
    assert mine.mission_state(SLUG).lanes() == {"WP01": "for_review"}


@every_fault
@pytest.mark.parametrize("word", ["contract-version", "--version"])
@pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.7"])
def test_a_question_about_the_host(fault: Fault, word: str, release: str) -> None:
    """A damaged answer never gives a client a wrong contract for later calls."""
    host = at(release, "in_progress")
    mine = client(faulty(host, {word: [fault]}))
    with suppress(SpecKittyError):
        mine.negotiate()
    assert str(mine.negotiate().dialect) == RELEASES[release]
    assert mine.transition(SLUG, "WP01", "for_review").to_lane == "for_review"


@every_fault
@pytest.mark.parametrize("word", ["transition", "start-review", "mission-state"])
def test_a_workflow_verb_that_is_called_again(fault: Fault, word: str) -> None:
    """A verb that is called again after a fault leads to its lane, with one move at most."""
    for verb, release in CASES:
        call, host, after = prepared(verb, release)
        before = host.lanes["WP01"]
        mine = client(faulty(host, {word: [None, fault] if word == "mission-state" else [fault]}))
        mine.negotiate()
        mine.mission_state(SLUG)
        try:
            moved = call(mine)
        except SpecKittyError:
            moved = call(mine)
        assert (moved.lane, host.lanes["WP01"]) == (after, after), (verb, release)
        assert len(host.moves) == (after != before), (verb, release)


@every_fault
@pytest.mark.parametrize("release", ["3.2.3", "3.2.7", "4.0.0rc7"])
def test_a_claim_that_is_called_again(fault: Fault, release: str) -> None:
    """A claim that is called again after a fault is made once."""
    host = Simulated(release)
    mine = client(faulty(host, {"start-implementation": [fault]}))
    try:
        started = mine.mission(SLUG).work_package("WP01").claim()
    except SpecKittyError:
        started = mine.mission(SLUG).work_package("WP01").claim()
    assert started.to_lane == "in_progress"
    assert [move[:3] for move in host.moves] == [
        ("WP01", "planned", "claimed"),
        ("WP01", "claimed", "in_progress"),
    ]


def test_a_lost_answer_and_a_lost_look() -> None:
    """The outcome is unknown if the answer is lost and the state cannot be read."""
    host = at("3.2.7", "in_progress")
    faults = {"transition": [Fault.TIMEOUT_AFTER], "mission-state": [Fault.LOST_BEFORE]}
    with pytest.raises(HostError) as e:
        client(faulty(host, faults)).mission(SLUG).work_package("WP01").submit_for_review()
    assert host.lanes["WP01"] == "for_review"
    assert e.value.outcome == "unknown"


def test_a_lost_answer_and_an_old_look() -> None:
    """After a stale read and a refusal, a second read settles a lost answer."""
    host = at("3.2.7", "in_progress")
    faults = {"transition": [Fault.TIMEOUT_AFTER], "mission-state": [None, Fault.STALE_AFTER]}
    mine = client(faulty(host, faults))
    mine.mission_state(SLUG)
    moved = mine.mission(SLUG).work_package("WP01").submit_for_review()
    assert (moved.lane, moved.changed) == ("for_review", False)
    assert host.lanes["WP01"] == "for_review"


def test_a_lost_answer_and_a_refused_repetition() -> None:
    """A busy host's refusal of the second claim says nothing about the lost first answer."""
    host = at("3.2.7", "planned")
    faults = {"start-implementation": [Fault.TIMEOUT_AFTER, Fault.BANNER_BEFORE]}
    with pytest.raises(HostError) as e:
        client(faulty(host, faults)).mission(SLUG).work_package("WP01").claim()
    assert host.lanes["WP01"] == "in_progress"
    assert e.value.outcome == "unknown"


# The transport itself


def test_a_script_is_used_up() -> None:
    """Each call takes the next fault of its verb's script, and none after the end."""
    host = at("3.2.7", "in_progress")
    script = {"list-ready": [None, Fault.LOST_BEFORE, None], "mission-state": [Fault.CRASH_AFTER]}
    transport = faulty(host, script)
    mine = client(transport)
    seen = [_goes_well(lambda: mine.list_ready(SLUG)) for _ in range(4)]

    assert seen == [True, False, True, True]
    assert not _goes_well(lambda: mine.mission_state(SLUG))
    words = ("orchestrator-api", "list-ready", f"--mission={SLUG}")
    assert transport.happened[0] == Happened("list-ready", Fault.LOST_BEFORE, words)
    assert str(transport.happened[0]) == f"lost before: {' '.join(words)}"
    assert [h.fault for h in transport.happened] == [Fault.LOST_BEFORE, Fault.CRASH_AFTER]
    assert host.verbs.count("list-ready") == 3


def _goes_well(call: Callable[[], object]) -> bool:
    try:
        call()
    except HostError:
        return False
    return True


def test_a_function_as_a_script() -> None:
    """A function as a script gets the verb and the number of its calls so far."""
    asked: list[tuple[str, int]] = []

    def choose(verb: str, calls: int) -> Fault | None:
        asked.append((verb, calls))
        return Fault.TIMEOUT_BEFORE if calls == 1 else None

    mine = client(faulty(at("3.2.7", "planned"), choose))
    seen = [_goes_well(lambda: mine.list_ready(SLUG)) for _ in range(3)]
    assert seen == [True, False, True]
    assert asked == [("list-ready", n) for n in range(3)]


@pytest.mark.parametrize("name", ["mission-state", "feature-state"])
def test_verbs_go_by_any_of_their_names(name: str) -> None:
    """A script may name a verb by any of its names."""
    transport = faulty(at("1.0.3", "planned"), {name: [None, Fault.LOST_AFTER]})
    mine = client(transport)
    mine.negotiate()
    mine.mission_state(SLUG)
    with pytest.raises(ProtocolError):
        mine.mission_state(SLUG)
    assert transport.happened[0].verb == "mission-state"


def test_a_word_that_is_no_verb() -> None:
    """A script with an unknown verb is refused."""
    with pytest.raises(ValueError, match=r"no verb 'transitoin'\. Use one of: contract-version"):
        faulty(Scripted(), {"transitoin": [Fault.LOST_AFTER]})
    with pytest.raises(ValueError, match="no verb 'claim'"):
        by_chance(seeded(), 0.5, verbs=["claim"])


def test_chance_is_the_same_for_the_same_seed() -> None:
    """The same seed gives the same faults, at about the rate that is given."""
    first, second = (by_chance(seeded(), 0.25) for _ in range(2))
    drawn = [first("transition", n) for n in range(4000)]
    assert drawn == [second("transition", n) for n in range(4000)]
    assert 900 < sum(fault is not None for fault in drawn) < 1100
    assert set(drawn) == {None, *Fault}


def test_chance_is_narrowed() -> None:
    """Random faults are limited to the given faults and verbs."""
    chosen = (Fault.LOST_AFTER, Fault.CRASH_BEFORE)
    narrow = by_chance(seeded(), 0.5, faults=chosen, verbs=["transition", "feature-state"])
    drawn = {v: {narrow(v, n) for n in range(100)} for v in ("transition", "list-ready")}
    assert drawn == {"transition": {None, *chosen}, "list-ready": {None}}
    assert {narrow("mission-state", n) for n in range(100)} == {None, *chosen}


class IdentifiedHost(Simulated):
    """A host that has an identity and can be closed."""

    closed = False

    def identity(self) -> str:
        return "host"

    def prepare(self) -> None:
        """Start nothing."""

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "wrapped",
    [Simulated("3.2.7"), WithGit("3.2.7"), IdentifiedHost("3.2.7"), AsyncWithGit(WithGit("1.0.0"))],
)
@pytest.mark.parametrize("kind", [FaultyTransport, AsyncFaultyTransport])
def test_it_can_do_what_the_wrapped_one_can(wrapped: object, kind: Callable[..., object]) -> None:
    """The faulty transport has the same optional methods as the wrapped one."""
    transport = kind(wrapped, {})
    for protocol in (GitTransport, AsyncGitTransport, HasIdentity, Closeable):
        assert isinstance(transport, protocol) == isinstance(wrapped, protocol)


def test_what_is_passed_on_reaches_the_wrapped_one() -> None:
    """Closing the faulty transport closes the wrapped one."""
    host = IdentifiedHost("3.2.7")
    with client(faulty(host, {})) as mine:
        mine.list_ready(SLUG)
    assert host.closed


@pytest.mark.parametrize(
    ("fault", "limit", "waits"),
    [
        (Fault.HANG_BEFORE, 30.0, [30.0]),
        (Fault.HANG_AFTER, 30.0, [30.0]),
        (Fault.SLOW_AFTER, 30.0, [5.0]),
        (Fault.SLOW_BEFORE, 2.0, [2.0]),
        (Fault.TIMEOUT_AFTER, 30.0, []),
    ],
)
def test_waiting_is_left_to_the_test(fault: Fault, limit: float, waits: list[float]) -> None:
    """A fault waits by the given `sleep`, and never longer than the time limit."""
    slept: list[float] = []
    transport = FaultyTransport(
        at("3.2.7", "planned"), lambda *_: fault, delay=5.0, sleep=slept.append
    )
    args = ("orchestrator-api", "mission-state", f"--mission={SLUG}")
    assert transport.run(args, time_limit=limit).time_limit in (limit, 1.0)  # 1.0: the host's own
    assert slept == waits


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE, Fault.HANG_AFTER])
async def test_a_hanging_call_can_be_cancelled(fault: Fault) -> None:
    """A cancelled call does not wait for its time limit."""
    host = WithGit("3.2.7")
    transport = AsyncFaultyTransport(AsyncWithGit(host), {"list-ready": [fault]})
    with anyio.move_on_after(0.05) as scope:
        await transport.run(
            ("orchestrator-api", "list-ready", f"--mission={SLUG}"), time_limit=3600.0
        )
    assert scope.cancelled_caught
    assert host.verbs == ["list-ready"] * fault.after


class RecordingHost:
    """A host that records its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        self.calls.append(args[1])
        return success("list-ready")


def test_parallel_calls_share_a_script() -> None:
    """Threads share a script, each fault of which happens once."""
    host = RecordingHost()
    script = [Fault.TIMEOUT_BEFORE, None] * 200
    transport = faulty(host, {"list-ready": script})

    def work() -> None:
        for _ in range(50):
            transport.run(("orchestrator-api", "list-ready"), time_limit=1.0)

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(transport.happened) == len(host.calls) == 200


@pytest.mark.parametrize("fault", [Fault.NOISE_BEFORE, Fault.NOISE_AFTER])
def test_noise_is_read_in_linear_time(fault: Fault) -> None:
    """The SDK reads an answer with 5 MB of noise in linear time, and its errors stay small."""
    transport = FaultyTransport(
        at("3.2.7", "planned"), {"list-ready": [None, fault]}, noise=5_000_000
    )
    mine = client(transport)
    mine.list_ready(SLUG)
    start = process_time()
    with seen(fault) as e:
        mine.list_ready(SLUG)
    assert e is None or len(pickle.dumps(e.value)) < 100_000
    assert process_time() - start < 10


@pytest.mark.parametrize(
    ("kind", "exit_codes"),
    [
        (Kind.LOST, (-9, -9)),
        (Kind.CRASH, (1, 1)),
        (Kind.TIMEOUT, (None, None)),
        (Kind.HANG, (None, None)),
        (Kind.TRUNCATED, (0, 0)),
        (Kind.EXIT_1, (1, 1)),
        (Kind.BANNER, (1, 0)),
    ],
)
def test_what_a_host_leaves(kind: Kind, exit_codes: tuple[int | None, int | None]) -> None:
    """Each fault leaves the output and exit code of a real host."""
    for fault, exit_code in zip((f for f in Fault if f.kind is kind), exit_codes, strict=True):
        done = faulty(at("3.2.7", "planned"), lambda *_, fault=fault: fault).run(
            ("orchestrator-api", "list-ready", f"--mission={SLUG}"), time_limit=9.0
        )
        answered = kind in (Kind.TRUNCATED, Kind.EXIT_1, Kind.BANNER)
        assert done.exit_code == exit_code
        assert bool(done.stdout) == answered
        assert (b"Traceback" in done.stderr) == (kind is Kind.CRASH)


def test_a_banner_is_on_both_sides() -> None:
    """A banner is before and after the envelope."""
    done = faulty(at("3.2.7", "planned"), lambda *_: Fault.BANNER_AFTER).run(
        ("orchestrator-api", "list-ready", f"--mission={SLUG}"), time_limit=9.0
    )
    assert [n for n, text in enumerate(done.stdout.splitlines()) if b"success" in text] == [28]
    assert len(done.stdout.splitlines()) == 57


def test_bytes_that_are_no_utf8_are_on_both_sides() -> None:
    """The first and the last line of the output cannot be decoded as UTF-8."""
    done = faulty(at("3.2.7", "planned"), lambda *_: Fault.NOT_UTF8_AFTER).run(
        ("orchestrator-api", "list-ready", f"--mission={SLUG}"), time_limit=9.0
    )
    for text in (done.stdout.splitlines()[0], done.stdout.splitlines()[-1]):
        with pytest.raises(UnicodeDecodeError):
            text.decode()


@pytest.mark.parametrize("fault", [Fault.STALE_BEFORE, Fault.STALE_AFTER])
def test_only_reads_are_stale(fault: Fault) -> None:
    """A mutation never gets a stale answer."""
    host = at("3.2.7", "in_progress")
    transport = faulty(host, {"append-history": [None, fault]})
    mine = client(transport)
    for _ in range(2):
        mine.append_history(SLUG, "WP01", "a note")
    assert host.verbs.count("append-history") == 2
    assert not transport.happened


def test_noise_is_as_much_as_was_asked_for() -> None:
    """The total size of the noise is the wanted one."""
    transport = FaultyTransport(Scripted(completed()), lambda *_: Fault.NOISE_AFTER, noise=100_000)
    done = transport.run(("--version",), time_limit=9.0)
    assert 99_000 < len(done.stdout) <= 100_000


def test_two_answers_contradict_each_other() -> None:
    """The first of two answers has the opposite result."""
    host = at("3.2.7", "for_review")
    mine = faulty(host, lambda *_: Fault.TWO_ANSWERS_AFTER)
    words = ("orchestrator-api", "transition", f"--mission={SLUG}", "--wp=WP01", "--actor=ada")
    good = mine.run((*words, "--to=blocked"), time_limit=1.0)
    bad = mine.run((*words, "--to=approved"), time_limit=1.0)
    assert [b'"success": true' in line for line in good.stdout.splitlines()] == [False, True]
    assert [b'"success": true' in line for line in bad.stdout.splitlines()] == [True, False]
    assert (good.exit_code, bad.exit_code) == (0, 1)


def test_what_is_made_up_speaks_the_contract_of_the_host() -> None:
    """A made-up refusal has the contract version of the wrapped host."""
    mine = client(faulty(at("3.2.3", "in_progress"), {"transition": [Fault.BANNER_BEFORE]}))
    contract = mine.negotiate()
    with pytest.raises(Conflict) as e:
        mine.transition(SLUG, "WP01", "for_review")
    assert e.value.failure.contract_version == "1.1.0"
    assert e.value.retryable
    assert mine.contract == contract
