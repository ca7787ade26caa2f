"""Transports that inject the faults of hosts, machines and networks into a test.

    faulty = FaultyTransport(host, {"transition": [None, Fault.TIMEOUT_AFTER]})
    client = Client(actor="ada", policy=policy, transport=faulty)

Here the second ``transition`` takes effect, but its answer is lost. `FaultyTransport.happened`
lists the injected faults; print it when a test fails.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from enum import StrEnum
from random import Random
from threading import Lock
from typing import Any

import anyio
from attrs import frozen

from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.errors import HostNotFound
from spec_kitty_client.testing.calls import NEWEST, READS, VERSION, verb_in
from spec_kitty_client.testing.damage import FaultyCall, Kind, contract_in, damaged
from spec_kitty_client.transports import AsyncTransport, Completed, Transport

__all__ = [
    "AsyncFaultyTransport",
    "Fault",
    "Faults",
    "FaultyTransport",
    "Happened",
    "by_chance",
]

_OPTIONAL = ("git", "identity", "prepare", "close")  # methods that a transport may have
_WAITING = (Kind.HANG, Kind.SLOW)


class Fault(StrEnum):
    """A fault of one call, injected ``_AFTER`` its effect or ``_BEFORE`` the host is called.

    As far as possible, a client sees the same in both forms:

    * ``LOST``: the host was killed; no output, exit code -9.
    * ``CRASH``: a traceback on stderr and exit code 1, no answer.
    * ``TIMEOUT``: no answer within the time limit (exit code None), without any waiting.
    * ``HANG``: like ``TIMEOUT``, after waiting for the whole time limit.
    * ``TRUNCATED``: the first half of the answer, with its exit code; before: half a success.
    * ``EXIT_1``: the answer is a success, but the exit code is 1.
    * ``NO_HOST``: the transport raises `HostNotFound`; after: as if a transport took a lost
      connection for a missing host.

    The following faults are harmless to a client that reads the last envelope. After the effect,
    the client gets the host's answer. Before, it gets a refusal (``STATUS_LOCK_HELD``: nothing
    was done, a retry can help), because a success without effect would be false.

    * ``BANNER``: 28 lines of prose before and after the answer.
    * ``NOISE``: log lines before and after the answer, 50 MB by default.
    * ``NOT_UTF8``: bytes that are not UTF-8 before and after the answer.
    * ``TWO_ANSWERS``: an envelope with the opposite result before the answer.
    * ``SLOW``: a delay before the answer.

    One fault affects only reads, and only if the same read was answered before:

    * ``STALE``: the previous answer of the same read; after: the host is called as well.
    """

    LOST_BEFORE = "lost before"
    LOST_AFTER = "lost after"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    TIMEOUT_BEFORE = "time-out before"
    TIMEOUT_AFTER = "time-out after"
    HANG_BEFORE = "hang before"
    HANG_AFTER = "hang after"
    TRUNCATED_BEFORE = "truncated before"
    TRUNCATED_AFTER = "truncated after"
    EXIT_1_BEFORE = "exit 1 before"
    EXIT_1_AFTER = "exit 1 after"
    NO_HOST_BEFORE = "no host before"
    NO_HOST_AFTER = "no host after"
    BANNER_BEFORE = "banner before"
    BANNER_AFTER = "banner after"
    NOISE_BEFORE = "noise before"
    NOISE_AFTER = "noise after"
    NOT_UTF8_BEFORE = "not UTF-8 before"
    NOT_UTF8_AFTER = "not UTF-8 after"
    TWO_ANSWERS_BEFORE = "two answers before"
    TWO_ANSWERS_AFTER = "two answers after"
    SLOW_BEFORE = "slow before"
    SLOW_AFTER = "slow after"
    STALE_BEFORE = "stale before"
    STALE_AFTER = "stale after"

    @property
    def kind(self) -> Kind:
        """The kind of fault, without before or after."""
        return Kind(self.rpartition(" ")[0])

    @property
    def after(self) -> bool:
        """Whether the host is called first, so that the call takes effect."""
        return self.endswith(" after")


Faults = Mapping[str, Sequence[Fault | None]] | Callable[[str, int], Fault | None]
"""The faults to inject. Either a list for each verb, with one entry per call until it is used up;
or a function that gets a verb and the number of earlier calls of that verb. Verbs have their
newest names (``mission-state``, never ``feature-state``). ``--version`` counts as a verb."""


@frozen
class Happened:
    """One injected fault."""

    verb: str
    fault: Fault
    args: tuple[str, ...]
    """The arguments of the call."""

    def __str__(self) -> str:
        return f"{self.fault}: {' '.join(self.args)}"


def by_chance(
    random: Random,
    rate: float,
    *,
    faults: Sequence[Fault] = tuple(Fault),
    verbs: Sequence[str] = tuple(NEWEST.values()),
) -> Callable[[str, int], Fault | None]:
    """Return random `Faults`, the same for the same seed and calls.

    Args:
        random: The random number generator.
        rate: Share of calls with a fault, from 0 to 1.
        faults: The faults to choose from.
        verbs: The verbs that get faults. The choice for one verb does not depend on the others.

    Raises:
        ValueError: If there is no such verb.
    """
    met = set(map(_verb, verbs))

    def draw(verb: str, _: int) -> Fault | None:
        hit, fault = random.random() < rate, random.choice(faults)
        return fault if hit and verb in met else None

    return draw


def _script(faults: Mapping[str, Sequence[Fault | None]]) -> Callable[[str, int], Fault | None]:
    script = {_verb(name): tuple(each) for name, each in faults.items()}

    def next_one(verb: str, calls: int) -> Fault | None:
        each = script.get(verb, ())
        return each[calls] if calls < len(each) else None

    return next_one


def _verb(name: str) -> str:
    if name not in NEWEST:
        msg = f"there is no verb {name!r}. Use one of: {', '.join(VERBS)}, {VERSION}"
        raise ValueError(msg)
    return NEWEST[name]


class _Faulty:
    """The logic of both faulty transports, as a generator without I/O: see `_steps`."""

    def __init__(self, wrapped: object, faults: Faults, delay: float, noise: int) -> None:
        self.happened: list[Happened] = []
        """All injected faults, in the order in which their calls started."""
        self._choose = faults if callable(faults) else _script(faults)
        self._delay, self._noise = delay, noise
        self._calls = Counter[str]()
        self._earlier: dict[tuple[str, ...], Completed] = {}
        self._contract = "1.0.0"  # ambiguous, so that a client asks for the release as well
        self._lock = Lock()
        for name in _OPTIONAL:  # so that isinstance() gives the same as for the wrapped transport
            if hasattr(wrapped, name):
                setattr(self, name, getattr(wrapped, name))

    def _steps(
        self, args: Sequence[str], time_limit: float
    ) -> Generator[float | None, Any, Completed]:
        """Yield None to call the host, or a number of seconds to wait; return the result."""
        sent = tuple(args)
        fault, earlier = self._begin(sent)
        real: Completed | None = None
        if fault is None or fault.after:
            answer: Completed = yield None
            self._learn(sent, answer)
            if fault is None:
                return answer
            real = answer
        if fault.kind in _WAITING:
            yield time_limit if fault.kind is Kind.HANG else min(self._delay, time_limit)
        if fault.kind is Kind.NO_HOST:
            msg = "There is no host: a fault that the test injects."
            raise HostNotFound(msg)
        if fault.kind is Kind.STALE and earlier is not None:
            return earlier
        call = FaultyCall(args=sent, time_limit=time_limit, contract=self._contract)
        return damaged(fault.kind, call, real, self._noise)

    def _begin(self, args: tuple[str, ...]) -> tuple[Fault | None, Completed | None]:
        """Choose a fault, and return it with the previous answer of the same read."""
        verb = verb_in(args)
        with self._lock:
            earlier = self._earlier.get(args)
            fault = self._choose(verb, self._calls[verb])
            self._calls[verb] += 1
            if fault is None or (fault.kind is Kind.STALE and earlier is None):
                return None, earlier
            self.happened.append(Happened(verb, fault, args))
            return fault, earlier

    def _learn(self, args: tuple[str, ...], real: Completed) -> None:
        """Keep an answer for stale reads, and the host's contract version."""
        contract, verb = contract_in(real), verb_in(args)
        with self._lock:
            self._contract = contract or self._contract
            if verb in READS:
                self._earlier[args] = real


class FaultyTransport(_Faulty):
    """A transport that injects faults into calls. Safe to use from several threads.

    It has the same optional methods as the wrapped transport (`GitTransport`, `HasIdentity`,
    `Closeable`). Faults happen only in `run`, never in git.

    Args:
        wrapped: The transport that makes the calls.
        faults: The faults to inject; see `Faults` and `by_chance`.
        delay: Seconds that a ``SLOW`` call waits, at most its time limit.
        noise: Number of bytes that ``NOISE`` adds.
        sleep: A function that waits for a number of seconds.

    Raises:
        ValueError: If there is no such verb.
    """

    def __init__(
        self,
        wrapped: Transport,
        faults: Faults,
        *,
        delay: float = 1.0,
        noise: int = 50_000_000,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(wrapped, faults, delay, noise)
        self._wrapped, self._sleep = wrapped, sleep

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `Transport.run`."""
        steps = self._steps(args, time_limit)
        try:
            step = next(steps)
            while True:
                if step is None:
                    step = steps.send(self._wrapped.run(args, time_limit=time_limit))
                else:
                    self._sleep(step)
                    step = next(steps)
        except StopIteration as end:
            done: Completed = end.value
            return done


class AsyncFaultyTransport(_Faulty):
    """An `AsyncTransport` that injects faults into calls; waits can be cancelled.

    See `FaultyTransport` for the arguments.
    """

    def __init__(
        self,
        wrapped: AsyncTransport,
        faults: Faults,
        *,
        delay: float = 1.0,
        noise: int = 50_000_000,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
    ) -> None:
        super().__init__(wrapped, faults, delay, noise)
        self._wrapped, self._sleep = wrapped, sleep

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `AsyncTransport.run`."""
        steps = self._steps(args, time_limit)
        try:
            step = next(steps)
            while True:
                if step is None:
                    step = steps.send(await self._wrapped.run(args, time_limit=time_limit))
                else:
                    await self._sleep(step)
                    step = next(steps)
        except StopIteration as end:
            done: Completed = end.value
            return done
