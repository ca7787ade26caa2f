"""The clients: negotiate once, then one method per verb.

`Client` and `AsyncClient` have the same methods with the same signatures. Everything they
know is in `_Core`; they differ only in how they wait.
"""

from contextlib import suppress
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import attrs

from spec_kitty_client import commands, replies
from spec_kitty_client.commands import Command, Evidence, MergeStrategy, ReviewResult
from spec_kitty_client.contract import Contract, Dialect, recognise
from spec_kitty_client.envelope import conclude
from spec_kitty_client.errors import HostError, InvalidCall, ProtocolError, UsageRejected
from spec_kitty_client.lanes import Lane
from spec_kitty_client.policy import Policy
from spec_kitty_client.transports import AsyncTransport, Completed, Transport

__all__ = ["AsyncClient", "Client"]

R = TypeVar("R", bound=replies.Reply)

_HELLO = commands.ContractVersion()


class _Core:
    """What a client knows, without any waiting."""

    def __init__(self, actor: str | None, policy: Policy | None, time_limit: float | None) -> None:
        self.actor = actor
        self.policy = policy
        self.time_limit = time_limit
        self.contract: Contract | None = None

    def prepare(self, command: Command[Any]) -> tuple[tuple[str, ...], float]:
        """Return the arguments and the time limit of a call."""
        names = {a.name for a in attrs.fields(type(command))}
        if "actor" in names:
            command = self._fill(command, "actor", self.actor, needed=True)
        if "policy" in names:
            needed = command.needs_policy
            command = self._fill(command, "policy", self.policy, needed=needed)
        dialect = self.contract.dialect if self.contract else Dialect.M4
        return dialect.spell(command), self.time_limit or command.time_limit

    @staticmethod
    def _fill(command: Command[Any], name: str, own: object, *, needed: bool) -> Command[Any]:
        if getattr(command, name) is not None:
            return command
        if own is None and needed:
            msg = f"{command.verb} needs {name}=, in the call or in the client"
            raise InvalidCall(msg)
        return attrs.evolve(command, **{name: own}) if needed else command

    def must_negotiate(self, command: Command[Any]) -> bool:
        """Reads need no negotiation: the envelope of the first answer names the contract."""
        return self.contract is None and command.mutates

    def agreed(self, hello: replies.HostContract) -> Contract:
        """Return the contract; `conclude` has taken it from the envelope already."""
        return self.contract or recognise(hello.api_version)

    def conclude(self, command: Command[R], completed: Completed) -> R:
        try:
            reply, envelope = conclude(command, completed)
        except HostError as e:
            self._notice(e.failure.contract_version)
            raise
        self._notice(envelope.contract_version)
        return reply

    def _notice(self, version: str | None) -> None:
        """Every envelope names its contract: a host that was replaced is noticed for free."""
        if version and (self.contract is None or str(self.contract.version) != version):
            self.contract = recognise(version)


class Client:
    """Calls a host and waits for its answer. Safe to use from several threads.

    Args:
        repo: A repository, or any folder inside one.
        actor: Who is calling, for the verbs that record it.
        policy: What agents may do, for the verbs that need it.
        transport: How calls reach the host; None: a process of ``spec-kitty`` on PATH.
        time_limit: Seconds for every call; None: what suits each verb.

    Every method raises `HostNotFound`, `UnsupportedHost`, `InvalidCall` or a `HostError`.
    """

    def __init__(
        self,
        repo: str | PathLike[str] = ".",
        *,
        actor: str | None = None,
        policy: Policy | None = None,
        transport: Transport | None = None,
        time_limit: float | None = None,
    ) -> None:
        if transport is None:
            from spec_kitty_client.transports.process import ProcessTransport

            transport = ProcessTransport(repo=Path(repo))
        self._transport = transport
        self._core = _Core(actor, policy, time_limit)
        self._negotiation = Lock()

    @property
    def contract(self) -> Contract | None:
        """What the host speaks; None before the first call."""
        return self._core.contract

    def negotiate(self) -> Contract:
        """Return what the host speaks. Asks it, the first time."""
        with self._negotiation:
            return self._core.contract or self._core.agreed(self._send(_HELLO))

    def call(self, command: Command[R]) -> R:
        """Send a command and return its reply. All other methods are made of this one."""
        if self._core.must_negotiate(command):
            self._core.prepare(command)  # what is wrong with the call is told at once
            self.negotiate()
        try:
            return self._send(command)
        except (ProtocolError, UsageRejected):
            if self._core.contract is None:  # perhaps a host that is too old for this verb
                with suppress(HostError):
                    self.negotiate()
            raise

    def _send(self, command: Command[R]) -> R:
        args, limit = self._core.prepare(command)
        return self._core.conclude(command, self._transport.run(args, time_limit=limit))

    def contract_version(self, *, provider_version: str | None = None) -> replies.HostContract:
        """Ask which contract the host speaks; see `commands.ContractVersion`."""
        return self.call(commands.ContractVersion(provider_version=provider_version))

    def mission_state(self, mission: str) -> replies.Mission:
        """Ask where every work package stands; see `commands.MissionState`."""
        return self.call(commands.MissionState(mission=mission))

    def list_ready(self, mission: str) -> replies.ReadyList:
        """Ask which work packages may be started now; see `commands.ListReady`."""
        return self.call(commands.ListReady(mission=mission))

    def resolve_workspace(self, mission: str, wp: str) -> replies.Workspace:
        """Ask where a work package is worked on; see `commands.ResolveWorkspace`."""
        return self.call(commands.ResolveWorkspace(mission=mission, wp=wp))

    def start_implementation(
        self,
        mission: str,
        wp: str,
        *,
        actor: str | None = None,
        policy: Policy | None = None,
    ) -> replies.ImplementationStarted:
        """Claim a work package; see `commands.StartImplementation`."""
        return self.call(
            commands.StartImplementation(mission=mission, wp=wp, actor=actor, policy=policy)
        )

    def start_review(
        self,
        mission: str,
        wp: str,
        *,
        actor: str | None = None,
        policy: Policy | None = None,
        review_ref: str | None = None,
    ) -> replies.ReviewStarted:
        """Move a work package into review; see `commands.StartReview`."""
        return self.call(
            commands.StartReview(
                mission=mission, wp=wp, actor=actor, policy=policy, review_ref=review_ref
            )
        )

    def transition(
        self,
        mission: str,
        wp: str,
        to: Lane | str,
        *,
        actor: str | None = None,
        policy: Policy | None = None,
        note: str | None = None,
        review_ref: str | None = None,
        review_result: ReviewResult | None = None,
        evidence: Evidence | None = None,
        force: bool = False,
    ) -> replies.Transitioned:
        """Move a work package to another lane; see `commands.Transition`."""
        return self.call(
            commands.Transition(
                mission=mission,
                wp=wp,
                to=to,
                actor=actor,
                policy=policy,
                note=note,
                review_ref=review_ref,
                review_result=review_result,
                evidence=evidence,
                force=force,
            )
        )

    def append_history(
        self, mission: str, wp: str, note: str, *, actor: str | None = None
    ) -> replies.HistoryAppended:
        """Add a note to a work package; see `commands.AppendHistory`."""
        return self.call(commands.AppendHistory(mission=mission, wp=wp, note=note, actor=actor))

    def accept_mission(self, mission: str, *, actor: str | None = None) -> replies.MissionAccepted:
        """Accept a finished mission; see `commands.AcceptMission`."""
        return self.call(commands.AcceptMission(mission=mission, actor=actor))

    def merge_mission(
        self,
        mission: str,
        *,
        target: str | None = None,
        strategy: MergeStrategy | str = MergeStrategy.MERGE,
        push: bool = False,
    ) -> replies.MissionMerged:
        """Merge a mission into its target branch; see `commands.MergeMission`."""
        return self.call(
            commands.MergeMission(mission=mission, target=target, strategy=strategy, push=push)
        )


class AsyncClient:
    """Calls a host without blocking an anyio event loop. See `Client` for the arguments."""

    def __init__(
        self,
        repo: str | PathLike[str] = ".",
        *,
        actor: str | None = None,
        policy: Policy | None = None,
        transport: AsyncTransport | None = None,
        time_limit: float | None = None,
    ) -> None:
        import anyio

        if transport is None:
            from spec_kitty_client.transports.process import AsyncProcessTransport

            transport = AsyncProcessTransport(repo=Path(repo))
        self._transport = transport
        self._core = _Core(actor, policy, time_limit)
        self._negotiation = anyio.Lock()

    @property
    def contract(self) -> Contract | None:
        """What the host speaks; None before the first call."""
        return self._core.contract

    async def negotiate(self) -> Contract:
        """Return what the host speaks. Asks it, the first time."""
        async with self._negotiation:
            return self._core.contract or self._core.agreed(await self._send(_HELLO))

    async def call(self, command: Command[R]) -> R:
        """Send a command and return its reply. All other methods are made of this one."""
        if self._core.must_negotiate(command):
            self._core.prepare(command)  # what is wrong with the call is told at once
            await self.negotiate()
        try:
            return await self._send(command)
        except (ProtocolError, UsageRejected):
            if self._core.contract is None:  # perhaps a host that is too old for this verb
                with suppress(HostError):
                    await self.negotiate()
            raise

    async def _send(self, command: Command[R]) -> R:
        args, limit = self._core.prepare(command)
        return self._core.conclude(command, await self._transport.run(args, time_limit=limit))

    async def contract_version(
        self, *, provider_version: str | None = None
    ) -> replies.HostContract:
        """Ask which contract the host speaks; see `commands.ContractVersion`."""
        return await self.call(commands.ContractVersion(provider_version=provider_version))

    async def mission_state(self, mission: str) -> replies.Mission:
        """Ask where every work package stands; see `commands.MissionState`."""
        return await self.call(commands.MissionState(mission=mission))

    async def list_ready(self, mission: str) -> replies.ReadyList:
        """Ask which work packages may be started now; see `commands.ListReady`."""
        return await self.call(commands.ListReady(mission=mission))

    async def resolve_workspace(self, mission: str, wp: str) -> replies.Workspace:
        """Ask where a work package is worked on; see `commands.ResolveWorkspace`."""
        return await self.call(commands.ResolveWorkspace(mission=mission, wp=wp))

    async def start_implementation(
        self,
        mission: str,
        wp: str,
        *,
        actor: str | None = None,
        policy: Policy | None = None,
    ) -> replies.ImplementationStarted:
        """Claim a work package; see `commands.StartImplementation`."""
        return await self.call(
            commands.StartImplementation(mission=mission, wp=wp, actor=actor, policy=policy)
        )

    async def start_review(
        self,
        mission: str,
        wp: str,
        *,
        actor: str | None = None,
        policy: Policy | None = None,
        review_ref: str | None = None,
    ) -> replies.ReviewStarted:
        """Move a work package into review; see `commands.StartReview`."""
        return await self.call(
            commands.StartReview(
                mission=mission, wp=wp, actor=actor, policy=policy, review_ref=review_ref
            )
        )

    async def transition(
        self,
        mission: str,
        wp: str,
        to: Lane | str,
        *,
        actor: str | None = None,
        policy: Policy | None = None,
        note: str | None = None,
        review_ref: str | None = None,
        review_result: ReviewResult | None = None,
        evidence: Evidence | None = None,
        force: bool = False,
    ) -> replies.Transitioned:
        """Move a work package to another lane; see `commands.Transition`."""
        return await self.call(
            commands.Transition(
                mission=mission,
                wp=wp,
                to=to,
                actor=actor,
                policy=policy,
                note=note,
                review_ref=review_ref,
                review_result=review_result,
                evidence=evidence,
                force=force,
            )
        )

    async def append_history(
        self, mission: str, wp: str, note: str, *, actor: str | None = None
    ) -> replies.HistoryAppended:
        """Add a note to a work package; see `commands.AppendHistory`."""
        return await self.call(
            commands.AppendHistory(mission=mission, wp=wp, note=note, actor=actor)
        )

    async def accept_mission(
        self, mission: str, *, actor: str | None = None
    ) -> replies.MissionAccepted:
        """Accept a finished mission; see `commands.AcceptMission`."""
        return await self.call(commands.AcceptMission(mission=mission, actor=actor))

    async def merge_mission(
        self,
        mission: str,
        *,
        target: str | None = None,
        strategy: MergeStrategy | str = MergeStrategy.MERGE,
        push: bool = False,
    ) -> replies.MissionMerged:
        """Merge a mission into its target branch; see `commands.MergeMission`."""
        return await self.call(
            commands.MergeMission(mission=mission, target=target, strategy=strategy, push=push)
        )
