"""Call a host: one method per verb of the contract, and the way to handles and design verbs.

Made of `client`; change that one.
"""

from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from spec_kitty_client._engine.core import Core, Retry
from spec_kitty_client._engine.driver import AsyncDriver
from spec_kitty_client.aio.mission import AsyncMissionHandle
from spec_kitty_client.api import commands, replies
from spec_kitty_client.api.commands import (
    Command,
    MergeStrategy,
    OriginCheck,
)
from spec_kitty_client.api.reviews import Evidence, ReviewResult
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.observe import Observer
from spec_kitty_client.policy import Policy
from spec_kitty_client.transports import AsyncTransport

if TYPE_CHECKING:
    from spec_kitty_client.aio.design_client import AsyncDesignClient

__all__ = ["AsyncClient"]

R = TypeVar("R", bound=replies.Reply)


class AsyncClient:
    """Calls a host without blocking an event loop.

    The methods here are the verbs of the contract, exactly as the host understands them.
    `mission` returns a handle with the workflow verbs, which are the same on every host
    release, check what the host does not, and can be repeated safely. `design` has the verbs
    that make a mission.

    A client can be used by several tasks. Calls that change something in one repository
    take turns, whichever client of this process sends them; reads run beside them.

    Args:
        repo: A repository, or any folder inside one. None: the current folder.
        actor: Name under which the host records calls; each call can name another.
        policy: What agents may do; sent with the calls for which the host wants a policy.
        transport: How calls reach the host. None: a process of the ``spec-kitty`` on PATH.
        time_limit: Seconds for every call, more than 0. None: 120, and 900 for a merge.
        retry: When a call is repeated that cannot have had an effect. None: never.
        warm: Whether the host is loaded once and forked for every call, which takes a tenth of
            the time and gives the same answers. ``"auto"``: if that is possible; True: or else
            `CannotBeWarm` is raised; False: each call starts the host anew.
        on_call: Gets a `CallStarted` before and a `CallEnded` after every call to the host, in
            the thread or task that makes it. It must not wait, and must not call the client.

    Raises:
        InvalidCall: If an argument makes no sense, or two exclude each other.

    Every method raises `HostNotFound`, `UnsupportedHost`, `UnsupportedByHost`, `InvalidCall`
    or a `HostError`.
    """

    def __init__(
        self,
        repo: str | PathLike[str] | None = None,
        *,
        actor: str | None = None,
        policy: Policy | None = None,
        transport: AsyncTransport | None = None,
        time_limit: float | None = None,
        retry: Retry | None = None,
        warm: Literal["auto"] | bool = "auto",
        on_call: Observer | None = None,
    ) -> None:
        if transport is None:
            transport = _transport(repo, warm)
        elif repo is not None:
            msg = "repo= and transport= exclude each other: the transport knows its repository"
            raise InvalidCall(msg)
        elif warm is True:
            msg = "warm=True is for a client's own transport; give it AsyncWarmTransport(transport)"
            raise InvalidCall(msg)
        core = Core(actor, policy, time_limit, transport, on_call)
        self._driver = AsyncDriver(core, transport, retry)

    def prepare(self) -> None:
        """Load a host that is kept warm while the program does something else."""
        self._driver.prepare()

    async def aclose(self) -> None:
        """End a host that was kept warm. The client can still be used, and starts it again."""
        await self._driver.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        core = self._driver.core
        return f"<AsyncClient actor={core.actor!r} transport={self._driver.transport!r}>"

    @property
    def contract(self) -> Contract | None:
        """The host's contract and release; None while no answer has told. `negotiate` asks."""
        return self._driver.core.contract

    @cached_property
    def design(self) -> "AsyncDesignClient":
        """The verbs that make a mission (host 3.2.6 and later)."""
        from spec_kitty_client.aio.design_client import AsyncDesignClient

        return AsyncDesignClient(self._driver)

    def mission(self, mission: str) -> AsyncMissionHandle:
        """Return a handle on a mission, with the workflow verbs. No call is made.

        Args:
            mission: Its slug, such as ``034-payment``, or an id.
        """
        return AsyncMissionHandle(self._driver, mission)

    async def negotiate(self) -> Contract:
        """Return the host's contract and release, and ask for them the first time.

        One call, or two where the contract version does not tell the release (up to 3.2.1).
        """
        return await self._driver.negotiate()

    async def call(self, command: Command[R]) -> R:
        """Send a command and return its reply.

        Args:
            command: The call as a value, for example ``MissionState(mission="034-payment")``.
        """
        return await self._driver.call(command)

    async def contract_version(
        self, *, provider_version: str | None = None, require_capability: str | None = None
    ) -> replies.HostContract:
        """Return the contract that the host speaks (every host).

        Args:
            provider_version: Version of the caller; the host refuses one that is too old.
            require_capability: A verb; the host refuses if it does not have it (4.0.0rc6).
        """
        return await self.call(
            commands.ContractVersion(
                provider_version=provider_version, require_capability=require_capability
            )
        )

    async def mission_state(self, mission: str) -> replies.Mission:
        """Return the lane of every work package (every host).

        Args:
            mission: Slug or id of the mission.

        Raises:
            NotFound: If there is no such mission.
        """
        return await self.call(commands.MissionState(mission=mission))

    async def list_ready(self, mission: str) -> replies.ReadyList:
        """Return the work packages that may be started now (every host).

        Args:
            mission: Slug or id of the mission.

        Raises:
            NotFound: If there is no such mission.
        """
        return await self.call(commands.ListReady(mission=mission))

    async def resolve_workspace(self, mission: str, wp: str) -> replies.Workspace:
        """Return the worktree of a work package, which need not exist yet (host 3.2.4).

        Args:
            mission: Slug or id of the mission.
            wp: Id of the work package, such as ``WP01``.

        Raises:
            NotFound: If there is no such mission or work package.
        """
        return await self.call(commands.ResolveWorkspace(mission=mission, wp=wp))

    async def start_implementation(
        self,
        mission: str,
        wp: str,
        *,
        actor: str | None = None,
        policy: Policy | None = None,
    ) -> replies.ImplementationStarted:
        """Claim a work package (every host). Idempotent for the same actor.

        Makes the worktree from 3.2.2 on; `AsyncWorkPackageHandle.claim` does everywhere.

        Args:
            mission: Slug or id of the mission.
            wp: Id of the work package.
            actor: Who claims it. None: the client's actor.
            policy: What its agent may do. None: the client's policy.

        Raises:
            Conflict: If another actor has claimed it.
            NotReady: If a work package that it depends on is not done (from 3.2.0 on).
        """
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
        """Begin a review, or end one: the verb has changed its meaning.

        From 3.1.1 on it moves the work package from ``for_review`` to ``in_review``. Up to
        3.1.0 it is a reviewer's request for changes, back to ``in_progress``.

        Args:
            mission: Slug or id of the mission.
            wp: Id of the work package.
            actor: Who reviews. None: the client's actor.
            policy: What the reviewing agent may do. None: the client's policy.
            review_ref: Where the review can be read; needed up to 3.1.0.

        Raises:
            TransitionRejected: If it is not in ``for_review``.
        """
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
        subtasks_complete: bool = False,
        implementation_evidence_present: bool = False,
        force: bool = False,
    ) -> replies.Transitioned:
        """Move a work package to another lane (every host). Not idempotent.

        Args:
            mission: Slug or id of the mission.
            wp: Id of the work package.
            to: The lane; `needs` tells what a move has to bring along.
            actor: Who moves it. None: the client's actor.
            policy: What its agent may do, for some lanes. None: the client's policy.
            note: Goes into the history.
            review_ref: Where the review can be read.
            review_result: Outcome of a review; every way out of ``in_review`` needs it (3.2.6).
            evidence: Proof of an approval, for ``approved`` and ``done`` (3.1.0).
            subtasks_complete: Claim that no subtask is open; hosts 3.1.0 to 3.2.5 believe it.
            implementation_evidence_present: Claim that there is a commit (3.1.0).
            force: Skip the host's rules. Needs a note from 2.1.0 on.

        Raises:
            TransitionRejected: If the host does not allow the move.
        """
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
                subtasks_complete=subtasks_complete,
                implementation_evidence_present=implementation_evidence_present,
                force=force,
            )
        )

    async def append_history(
        self, mission: str, wp: str, note: str, *, actor: str | None = None
    ) -> replies.HistoryAppended:
        """Add a note to a work package (every host). A repetition adds a second one.

        Args:
            mission: Slug or id of the mission.
            wp: Id of the work package.
            note: The text.
            actor: Who writes it. None: the client's actor.
        """
        return await self.call(
            commands.AppendHistory(mission=mission, wp=wp, note=note, actor=actor)
        )

    async def accept_mission(
        self,
        mission: str,
        *,
        actor: str | None = None,
        origin_check: OriginCheck | str | None = None,
    ) -> replies.MissionAccepted:
        """Accept a finished mission (every host).

        The host writes ``meta.json`` and does not commit it; `AsyncMissionHandle.accept` does.

        Args:
            mission: Slug or id of the mission.
            actor: Who accepts it. None: the client's actor.
            origin_check: If branches at origin may be newer (4.0.0rc6). None: ``enforce``,
                which needs the network where there is an origin.

        Raises:
            NotReady: If a work package is not finished.
        """
        return await self.call(
            commands.AcceptMission(mission=mission, actor=actor, origin_check=origin_check)
        )

    async def merge_mission(
        self,
        mission: str,
        *,
        target: str | None = None,
        strategy: MergeStrategy | str = MergeStrategy.MERGE,
        push: bool = False,
        origin_check: OriginCheck | str | None = None,
    ) -> replies.MissionMerged:
        """Merge a mission into its target branch (every host), without any check.

        Hosts from 3.1.0 on throw away what is uncommitted in the worktrees that they remove, and
        some report a merge that brought nothing; `AsyncMissionHandle.merge` checks both.

        Args:
            mission: Slug or id of the mission.
            target: The branch to merge into. None: the host takes the mission's own.
            strategy: ``merge``, ``squash`` or ``rebase``.
            push: Whether the host pushes the target afterwards.
            origin_check: See `accept_mission`.

        Raises:
            IntegrationFailed: If the host could not merge.
        """
        return await self.call(
            commands.MergeMission(
                mission=mission,
                target=target,
                strategy=strategy,
                push=push,
                origin_check=origin_check,
            )
        )


def _transport(repo: str | PathLike[str] | None, warm: Literal["auto"] | bool) -> AsyncTransport:
    """Return a client's own transport: the host on this machine, kept warm if wanted."""
    from spec_kitty_client.transports.process import AsyncProcessTransport

    cold = AsyncProcessTransport(repo=Path(repo or "."))
    if not warm:
        return cold
    from spec_kitty_client.transports.warm import AsyncWarmTransport

    return AsyncWarmTransport(cold, only=warm is True)
