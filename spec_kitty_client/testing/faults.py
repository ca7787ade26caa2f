"""A host that fails as hosts, machines and networks do, when a test wants it to.

    faulty = FaultyTransport(host, {"transition": [None, Fault.TIMEOUT_AFTER]})
    client = Client(actor="ada", policy=policy, transport=faulty)

Here the second ``transition`` has its effect and no answer. What happened is in
`FaultyTransport.happened`; print it when a test fails.
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

_OPTIONAL = ("git", "identity", "prepare", "close")  # of the other protocols of transports
_WAITING = (Kind.HANG, Kind.SLOW)


class Fault(StrEnum):
    """What goes wrong with a call, ``_AFTER`` its effect or ``_BEFORE`` the host was asked.

    In both forms a client sees the same as far as that is possible:

    * ``LOST``: the host was killed; no output, exit code -9.
    * ``CRASH``: a traceback on stderr and exit code 1, no answer.
    * ``TIMEOUT``: no answer within the time limit (exit code None), without any waiting.
    * ``HANG``: the same after waiting for the whole time limit.
    * ``TRUNCATED``: the first half of the answer, with its exit code; before: of a success.
    * ``EXIT_1``: the answer is a success, and the exit code is 1.
    * ``NO_HOST``: the transport raises `HostNotFound`; after: as one does that takes a lost
      connection for a host that is not there.

    What follows is harmless to a client that looks for the last envelope: it gets the answer.
    Before, that is a refusal (``STATUS_LOCK_HELD``: nothing was done, a retry can help), because
    nothing could tell a success without effect from a true one.

    * ``BANNER``: with 28 lines of prose before it and after it.
    * ``NOISE``: with log lines before and after, 50 MB if the transport is told nothing else.
    * ``NOT_UTF8``: with bytes before and after that are no UTF-8.
    * ``TWO_ANSWERS``: after another envelope that says the contrary; the last one is true.
    * ``SLOW``: after some waiting.

    And one more for reads only; to a mutating call, and a read without an earlier answer,
    nothing happens:

    * ``STALE``: what the same read answered the last time; after: the host is asked as well.
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
        """What goes wrong, without when."""
        return Kind(self.rpartition(" ")[0])

    @property
    def after(self) -> bool:
        """Whether the host is asked, so that the call has its effect."""
        return self.endswith(" after")


Faults = Mapping[str, Sequence[Fault | None]] | Callable[[str, int], Fault | None]
"""What is to go wrong: by verb, one for each call until they are used up; or what tells it of
a verb and how many calls of that verb there were before. Verbs have their newest names
(``mission-state``, also where a host says ``feature-state``); one more is ``--version``."""


@frozen
class Happened:
    """A fault that a call met with."""

    verb: str
    fault: Fault
    args: tuple[str, ...]
    """What the client sent."""

    def __str__(self) -> str:
        return f"{self.fault}: {' '.join(self.args)}"


def by_chance(
    random: Random,
    rate: float,
    *,
    faults: Sequence[Fault] = tuple(Fault),
    verbs: Sequence[str] = tuple(NEWEST.values()),
) -> Callable[[str, int], Fault | None]:
    """Return `Faults` that are drawn by lot, the same for the same seed and calls.

    Args:
        random: What draws.
        rate: The share of calls with a fault, from 0 to 1.
        faults: Which faults there are to draw from.
        verbs: Which verbs meet with them; what is drawn for others does not depend on it.

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
        msg = f"there is no verb {name!r}; there are {', '.join(VERBS)} and {VERSION}"
        raise ValueError(msg)
    return NEWEST[name]


class _Faulty:
    """What happens to a call, without any waiting: see `_steps`."""

    def __init__(self, wrapped: object, faults: Faults, delay: float, noise: int) -> None:
        self.happened: list[Happened] = []
        """Every fault there was, in the order in which their calls began."""
        self._choose = faults if callable(faults) else _script(faults)
        self._delay, self._noise = delay, noise
        self._calls = Counter[str]()
        self._earlier: dict[tuple[str, ...], Completed] = {}
        self._contract = "1.0.0"  # it leaves most open; a client asks on
        self._lock = Lock()
        for name in _OPTIONAL:  # set here, so that isinstance answers as for what is wrapped
            if hasattr(wrapped, name):
                setattr(self, name, getattr(wrapped, name))

    def _steps(
        self, args: Sequence[str], time_limit: float
    ) -> Generator[float | None, Any, Completed]:
        """Yield None where the host is to be asked, else seconds to wait; return the end."""
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
            msg = "There is no host that could be called: a fault of the test."
            raise HostNotFound(msg)
        if fault.kind is Kind.STALE and earlier is not None:
            return earlier
        call = FaultyCall(args=sent, time_limit=time_limit, contract=self._contract)
        return damaged(fault.kind, call, real, self._noise)

    def _begin(self, args: tuple[str, ...]) -> tuple[Fault | None, Completed | None]:
        """Choose a fault, and return it with what the same read answered the last time."""
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
        """Remember what stale reads answer, and which contract the host speaks."""
        contract, verb = contract_in(real), verb_in(args)
        with self._lock:
            self._contract = contract or self._contract
            if verb in READS:
                self._earlier[args] = real


class FaultyTransport(_Faulty):
    """A transport whose calls go wrong. Safe to use from several threads.

    It has the same optional methods as the wrapped transport (`GitTransport`, `HasIdentity`,
    `Closeable`). Faults happen only in `run`, never in git.

    Args:
        wrapped: What the calls are passed on to.
        faults: What is to go wrong; see `Faults` and `by_chance`.
        delay: Seconds that a ``SLOW`` call waits, never longer than its time limit.
        noise: Bytes that ``NOISE`` adds.
        sleep: What waits for so many seconds.

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
    """The same for an `AsyncTransport`; what waits can be cancelled.

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
