"""The state and logic of a client, as generators of steps without any I/O.

A generator yields a step, such as "run the host with these arguments". A driver does the I/O and
sends the result back into the generator. `Client` and `AsyncClient` differ only in their drivers.
"""

from collections.abc import Callable, Generator, Hashable, Mapping
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
from spec_kitty_client.transports import Completed, HasIdentity

if TYPE_CHECKING:
    import stamina

__all__ = ["Core", "Git", "HostCall", "Negotiate", "Retry", "Steps"]

R = TypeVar("R", bound=replies.Reply)
T = TypeVar("T")


@frozen
class HostCall:
    """A step: run ``spec-kitty`` with these arguments. Its result is a `Completed`."""

    args: tuple[str, ...]
    time_limit: float
    env: Mapping[str, str] | None = None
    """Variables for this call alone."""


@frozen
class Git:
    """A step: run git on the host's machine. Its result is a `Completed`."""

    args: tuple[str, ...]
    folder: str | None = None
    time_limit: float = 600.0


@frozen
class Negotiate:
    """A step: find out the host's contract, if it is not known. Its result is a `Contract`."""


Steps = Generator[Any, Any, T]
"""A generator that yields steps and commands, receives their results or a `SpecKittyError`, and
returns a ``T``."""


@frozen(kw_only=True)
class Retry:
    """When and how often a client retries a call, with exponential backoff (see `stamina`).

    A client retries only calls that had no effect and may succeed soon: reads without an answer,
    and refusals such as a held lock. It does not retry `NotReady`: the caller should repeat that
    call when the other work packages are done.
    """

    attempts: int | None = 3
    """Maximum number of calls; None: no limit."""
    timeout: float | None = None
    """Maximum time for all calls together, in seconds; None: no limit."""
    wait_initial: float = 0.5
    """Wait before the first retry, in seconds."""
    wait_max: float = 15.0
    """Maximum wait between two calls, in seconds."""

    wait_jitter: float = 1.0
    """Maximum random time added to each wait, in seconds."""

    def caller(self) -> "stamina.RetryingCaller":
        """Return a function that retries: ``caller(Retry.may_repeat, function, ...)``."""
        import stamina

        return stamina.RetryingCaller(**attrs.asdict(self))

    def async_caller(self) -> "stamina.AsyncRetryingCaller":
        """Return the same as `caller`, for coroutine functions."""
        import stamina

        return stamina.AsyncRetryingCaller(**attrs.asdict(self))

    @staticmethod
    def may_repeat(error: Exception) -> bool:
        """Return whether a retry is safe, and may succeed without help."""
        if not isinstance(error, HostError) or isinstance(error, NotReady):
            return False
        return error.retryable and error.outcome == "not_applied"


_HELLO = commands.ContractVersion()
_EVERYWHERE = {c.verb for c in (_HELLO, commands.MissionState, commands.ListReady)}
_OLD = "1.0.0"  # several dialects share this contract version: the release decides
_known: dict[Hashable, Contract] = {}  # by host executable, for all clients of this process


def _checked(policy: object) -> Policy | None:
    """Return a policy unchanged; refuse any other type before a call of the host."""
    if policy is None or isinstance(policy, Policy):
        return policy
    msg = f"policy= must be a Policy, not a {type(policy).__name__}; use Policy.from_dict(...)"
    raise InvalidCall(msg)


class Core:
    """The state of one client: its actor, its policy, and the host's contract.

    Args:
        actor: Default actor of calls.
        policy: Default policy of calls.
        time_limit: Seconds until a host call is stopped; None: each command's own limit.
        transport: The client's transport; its identity is the key of the contract cache.
    """

    def __init__(
        self,
        actor: str | None,
        policy: Policy | None,
        time_limit: float | None,
        transport: object,
        on_call: Observer | None = None,
    ) -> None:
        if time_limit is not None and not time_limit > 0:
            msg = f"time_limit={time_limit!r} must be more than 0 seconds; None: the verb's own"
            raise InvalidCall(msg)
        self.actor: str | None = actor
        self.policy: Policy | None = _checked(policy)
        self.time_limit: float | None = time_limit
        self._on_call = on_call
        self._transport = transport
        self._identify: Callable[[], Hashable] = (
            transport.identity if isinstance(transport, HasIdentity) else lambda: None
        )
        self._contract: Contract | None = None
        self._remembered = False
        self._seen: str | None = None  # the contract version of the last envelope

    @property
    def contract(self) -> Contract | None:
        """The host's contract; None if not known yet."""
        if self._contract is None and (known := _known.get(self._identify())):
            self._contract, self._remembered = known, True
        return self._contract

    def call(self, command: Command[R]) -> Steps[R]:
        """Send a command, and find out the host's contract first if the command depends on it.

        Reads that every host knows are sent at once, because the envelope of their answer names
        the contract. Hosts up to 3.0.3 have other names for them, which the client sends after a
        refusal.

        Raises:
            InvalidCall: If an argument is missing or invalid; nothing was sent.
            UnsupportedByHost: If the host lacks the verb or an option; nothing was sent.
            HostError: If the call failed.
        """
        command = self._complete(command)
        if self.contract is None and command.verb not in _EVERYWHERE:
            spell(command)  # raises InvalidCall before the host is asked anything
            yield Negotiate()
        before, remembered = self.contract, self._remembered
        try:
            return (yield from self._send(command))
        except HostCrashed:
            raise  # a crash says nothing about the contract
        except (ProtocolError, UsageRejected) as e:
            if self.contract in (before, None):  # no other call has updated the contract
                if before is not None and self.contract is before and not remembered:
                    raise
                self._forget()
                if isinstance(e, UsageRejected):  # the host may be older, with other verb names
                    self._seen = e.failure.contract_version or _OLD
                try:
                    yield Negotiate()
                except HostError:
                    if before is None and isinstance(e, UsageRejected):
                        raise  # without the release it is unknown whether the host has this verb
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
        """Ask the host for its contract version, and for its release if that is ambiguous."""
        if self._seen is None:
            yield from self._send(_HELLO)
        if self._contract is None:
            completed = yield from self._ask_version()
            if completed.exit_code != 0:
                conclude(_HELLO, completed)  # raises the matching HostError
            release = release_in(completed.stdout.decode("utf-8", "backslashreplace"))
            self._learn(recognise(self._seen or _OLD, release))
        assert self._contract is not None  # noqa: S101 - set by one of the two calls above
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
        if name == "policy" and given is not None:
            _checked(given)
            return command
        if given is not None and str(given).strip():
            return command
        if given is not None:
            msg = f"{command.verb}: {name} must not be empty"
            raise InvalidCall(msg)
        if own is None and needed:
            msg = f"{command.verb} needs {name}=: pass it to this call or to the client"
            raise InvalidCall(msg)
        return attrs.evolve(command, **{name: own}) if needed else command

    def _notice(self, version: str | None) -> None:
        """Compare an envelope's contract version with the known one, to notice a new host."""
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
