"""What a client knows, without any waiting.

Everything here is a generator of steps: a step says what to do, the client that drives it
does so in its own way of waiting, and sends back what came of it. `Client` and
`AsyncClient` differ in nothing else.
"""

from collections.abc import Callable, Generator, Hashable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from attrs import frozen

from spec_kitty_client import observe
from spec_kitty_client.api import commands, replies
from spec_kitty_client.api.commands import Command
from spec_kitty_client.api.envelope import conclude
from spec_kitty_client.api.spelling import spell
from spec_kitty_client.contract import Contract, recognise, release_in
from spec_kitty_client.errors import (
    HostCrashed,
    HostError,
    InvalidCall,
    NotReady,
    ProtocolError,
    UsageRejected,
)
from spec_kitty_client.observe import Observer
from spec_kitty_client.policy import Policy
from spec_kitty_client.transports import Completed, Identified

if TYPE_CHECKING:
    import stamina

__all__ = ["Core", "Git", "HostCall", "Negotiate", "Retry", "Steps"]

R = TypeVar("R", bound=replies.Reply)
T = TypeVar("T")


@frozen
class HostCall:
    """A step: run ``spec-kitty`` with these arguments; what comes back is a `Completed`."""

    args: tuple[str, ...]
    time_limit: float
    env: Mapping[str, str] | None = None
    """Variables for this call alone."""


@frozen
class Git:
    """A step: run git where the host's repository is; what comes back is a `Completed`."""

    args: tuple[str, ...]
    folder: str | None = None
    time_limit: float = 600.0


@frozen
class Negotiate:
    """A step: find out about the host, unless that is known; only one at a time."""


Steps = Generator[Any, Any, T]
"""What a client drives: steps and commands go out, answers come in, or a `SpecKittyError`."""


@frozen(kw_only=True)
class Retry:
    """When and how often a call is repeated, in the terms of `stamina`.

    Only what cannot have had an effect and needs nobody's help is repeated: reads that failed
    on the way, and codes that say "not now". What waits for other work to be done
    (`NotReady`) is for the caller to repeat when it is.
    """

    attempts: int | None = 3
    """Calls at most; None: no limit."""
    timeout: float | None = None
    """Seconds at most for all of them together; None: no limit."""
    wait_initial: float = 0.5
    wait_max: float = 15.0
    """Seconds between two calls, growing from the one to the other."""

    wait_jitter: float = 1.0
    """Seconds at most, drawn by lot and added to each wait."""

    def caller(self) -> "stamina.RetryingCaller":
        """Return what repeats a call: ``caller(Retry.helps, function, ...)``."""
        import stamina

        return stamina.RetryingCaller(**attrs.asdict(self))

    def async_caller(self) -> "stamina.AsyncRetryingCaller":
        """Return the same for coroutine functions."""
        import stamina

        return stamina.AsyncRetryingCaller(**attrs.asdict(self))

    @staticmethod
    def helps(error: Exception) -> bool:
        """Return whether the same call may be sent again."""
        if not isinstance(error, HostError) or isinstance(error, NotReady):
            return False
        return error.retryable and error.outcome == "not_applied"


_HELLO = commands.ContractVersion()
_EVERYWHERE = {c.verb for c in (_HELLO, commands.MissionState, commands.ListReady)}
_OLD = "1.0.0"  # the contract of all hosts whose release has to be asked for
_known: dict[Hashable, Contract] = {}  # by host executable, for all clients of this process


class Core:
    """One client's knowledge: actor, policy, and what its host speaks."""

    def __init__(
        self,
        actor: str | None,
        policy: Policy | None,
        time_limit: float | None,
        transport: object,
        on_call: Observer | None = None,
    ) -> None:
        self.actor = actor
        self.policy = policy
        self.time_limit = time_limit
        self._on_call = on_call
        self._transport = transport
        self._identify: Callable[[], Hashable] = (
            transport.identity if isinstance(transport, Identified) else lambda: None
        )
        self._contract: Contract | None = None
        self._remembered = False
        self._seen: str | None = None  # the contract version of the last envelope

    @property
    def contract(self) -> Contract | None:
        """What the host speaks; None while that is not known."""
        if self._contract is None and (known := _known.get(self._identify())):
            self._contract, self._remembered = known, True
        return self._contract

    def call(self, command: Command[R]) -> Steps[R]:
        """Send a command; find out about the host first, where that makes a difference.

        Reads that every host has need no question: the envelope of the answer names the
        contract. Only the old ones, which have another word for them, have to be asked.
        """
        command = self._complete(command)
        if self.contract is None and command.verb not in _EVERYWHERE:
            spell(command)  # what is wrong with the call is told at once
            yield Negotiate()
        before, remembered = self.contract, self._remembered
        try:
            return (yield from self._send(command))
        except HostCrashed:
            raise  # whatever it is, it is a host
        except (ProtocolError, UsageRejected) as e:
            if self.contract in (before, None):  # nobody has found out more in the meantime
                if before is not None and self.contract is before and not remembered:
                    raise
                self._forget()
                if isinstance(e, UsageRejected):  # it has no such verb: a host up to 3.0.3
                    self._seen = e.failure.contract_version or _OLD
                with suppress(HostError):
                    yield Negotiate()
            if self._contract is None or self._same(command, before):
                raise
        return (yield from self._send(command))

    def _same(self, command: Command[Any], before: Contract | None) -> bool:
        return spell(command, self.contract) == spell(command, before)

    def _send(self, command: Command[R]) -> Steps[R]:
        args = spell(command, self.contract)
        limit = self.time_limit or command.time_limit
        with observe.begin(self._on_call, command.verb, args, limit, self._transport) as seen:
            completed: Completed = yield HostCall(args, limit, seen.env)
            seen.warm, seen.exit_code = completed.warm, completed.exit_code
            try:
                reply, envelope = conclude(command, completed)
            except HostError as e:
                self._notice(e.failure.contract_version)
                raise
            seen.correlation_id = envelope.correlation_id
            self._notice(envelope.contract_version)
            return reply

    def negotiation(self) -> Steps[Contract]:
        """Ask the host what it is: its contract, and its release where that does not tell."""
        if self._seen is None:
            yield from self._send(_HELLO)
        if self._contract is None:
            completed = yield from self._ask_version()
            if completed.exit_code != 0:
                conclude(_HELLO, completed)  # raises what that means
            release = release_in(completed.stdout.decode("utf-8", "backslashreplace"))
            self._learn(recognise(self._seen or _OLD, release))
        assert self._contract is not None  # noqa: S101 - one of the two has told
        return self._contract

    def _ask_version(self) -> Steps[Completed]:
        args, limit = ("--version",), self.time_limit or _HELLO.time_limit
        with observe.begin(self._on_call, args[0], args, limit, self._transport) as seen:
            completed: Completed = yield HostCall(args, limit, seen.env)
            seen.warm, seen.exit_code = completed.warm, completed.exit_code
            return completed

    def _complete(self, command: Command[R]) -> Command[R]:
        names = {a.name for a in attrs.fields(type(command))}
        if "actor" in names:
            command = self._fill(command, "actor", self.actor, needed=True)
        if "policy" in names:
            command = self._fill(command, "policy", self.policy, needed=command.needs_policy)
        return command

    @staticmethod
    def _fill(command: Command[R], name: str, own: object, *, needed: bool) -> Command[R]:
        given = getattr(command, name)
        if given is not None and str(given).strip():
            return command
        if given is not None:
            msg = f"{command.verb}: {name}={given!r} is nobody; hosts would record it"
            raise InvalidCall(msg)
        if own is None and needed:
            msg = f"{command.verb} needs {name}=, in the call or in the client"
            raise InvalidCall(msg)
        return attrs.evolve(command, **{name: own}) if needed else command

    def _notice(self, version: str | None) -> None:
        """Every envelope names its contract: a host that was replaced is noticed for free."""
        if version is None or (self._contract and str(self._contract.version) == version):
            return
        self._seen, self._contract = version, None
        self._learn(recognise(version))

    def _learn(self, contract: Contract | None) -> None:
        self._contract, self._remembered = contract, False
        who = self._identify()
        if contract is None:
            _known.pop(who, None)
        elif who is not None:
            _known[who] = contract

    def _forget(self) -> None:
        self._contract, self._seen, self._remembered = None, None, False
        _known.pop(self._identify(), None)
