"""Call a host: one method per verb of the contract, mission handles and design verbs.

``python -m tests.asyncify`` generates ``aio/client.py`` from ``client.py``; edit the latter.
"""

from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from spec_kitty_client._engine.core import Core, Retry
from spec_kitty_client._engine.driver import Driver
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
from spec_kitty_client.mission import MissionHandle
from spec_kitty_client.observe import Observer
from spec_kitty_client.policy import Policy
from spec_kitty_client.transports import Transport

if TYPE_CHECKING:
    from spec_kitty_client.design_client import DesignClient

__all__ = ["Client"]

R = TypeVar("R", bound=replies.Reply)


class Client:
    """A client of one host. Each call blocks until the host has answered.

    The methods are the verbs of the contract, exactly as the host understands them. `mission`
    returns a handle with the workflow verbs: they are the same on every host release, make checks
    that the host does not make, and are safe to repeat. `design` has the verbs that make a mission.

    A client can be used by several threads. Calls that change something in one repository
    take turns, whichever client of this process sends them; reads run beside them.

    Args:
        repo: A repository, or any folder inside one. None: the current folder.
        actor: The name under which the host records calls; each call can override it.
        policy: The permissions of agents; sent with the calls that require a policy.
        transport: The way calls reach the host. None: a process of the ``spec-kitty`` on PATH.
        time_limit: Seconds for every call, more than 0. None: 120, and 900 for a merge.
        retry: How often the client repeats a call that had no effect. None: never.
        warm: Whether the host is loaded once and forked for every call, which takes a tenth of the
            time and gives the same answers. ``"auto"``: if possible; True: always, or raise
            `CannotBeWarm`; False: never, each call starts a new host process.
        on_call: Gets a `CallStarted` before and a `CallEnded` after every call to the host, in
            the thread or task that makes it. It must not wait, and must not call the client.

    Raises:
        InvalidCall: If an argument is invalid, or two exclude each other.

    Every method raises `HostNotFound`, `UnsupportedHost`, `UnsupportedByHost`, `InvalidCall`
    or a `HostError`.
    """

    def __init__(
        self,
        repo: str | PathLike[str] | None = None,
        *,
        actor: str | None = None,
        policy: Policy | None = None,
        transport: Transport | None = None,
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
            msg = "warm=True is for a client's own transport; give it WarmTransport(transport)"
            raise InvalidCall(msg)
        core = Core(actor, policy, time_limit, transport, on_call)
        self._driver = Driver(core, transport, retry)

    def prepare(self) -> None:
        """Start to load the warm host, and return at once."""
        self._driver.prepare()

    def close(self) -> None:
        """End the warm host. The next call of this client starts a new one."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        core = self._driver.core
        return f"<Client actor={core.actor!r} transport={self._driver.transport!r}>"

    @property
    def contract(self) -> Contract | None:
        """The host's contract and release; None before the first answer, see `negotiate`."""
        return self._driver.core.contract

    @cached_property
    def design(self) -> "DesignClient":
        """The verbs that make a mission (host 3.2.6 and later)."""
        from spec_kitty_client.design_client import DesignClient

        return DesignClient(self._driver)

    def mission(self, mission: str) -> MissionHandle:
        """Return a handle on a mission, with the workflow verbs. No call is made.

        Args:
            mission: Its slug, such as ``034-payment``, or an id.
        """
        return MissionHandle(self._driver, mission)

    def negotiate(self) -> Contract:
        """Return the host's contract and release, and ask for them the first time.

        One call, or two if the contract version does not determine the release (up to 3.2.1).
        """
        return self._driver.negotiate()

    def call(self, command: Command[R]) -> R:
        """Send a command and return its reply.

        Args:
            command: The call as a value, for example ``MissionState(mission="034-payment")``.
        """
        return self._driver.call(command)

    def contract_version(
        self, *, provider_version: str | None = None, require_capability: str | None = None
    ) -> replies.HostContract:
        """Return the contract version of the host (every host).

        Args:
            provider_version: Version of the caller; the host refuses a version that is too old.
            require_capability: The name of a verb; the host refuses if it lacks the verb
                (4.0.0rc6).
        """
        return self.call(
            commands.ContractVersion(
                provider_version=provider_version, require_capability=require_capability
            )
        )

    def mission_state(self, mission: str) -> replies.Mission:
        """Return the lane of every work package (every host).

        Args:
            mission: Slug or id of the mission.

        Raises:
            NotFound: If there is no such mission.
        """
        return self.call(commands.MissionState(mission=mission))

    def list_ready(self, mission: str) -> replies.ReadyList:
        """Return the work packages that may be started now (every host).

        Args:
            mission: Slug or id of the mission.

        Raises:
            NotFound: If there is no such mission.
        """
        return self.call(commands.ListReady(mission=mission))

    def resolve_workspace(self, mission: str, wp: str) -> replies.Workspace:
        """Return the worktree of a work package, which need not exist yet (host 3.2.4).

        Args:
            mission: Slug or id of the mission.
            wp: Id of the work package, such as ``WP01``.

        Raises:
            NotFound: If there is no such mission or work package.
        """
        return self.call(commands.ResolveWorkspace(mission=mission, wp=wp))

    def start_implementation(
        self,
        mission: str,
        wp: str,
        *,
        actor: str | None = None,
        policy: Policy | None = None,
    ) -> replies.ImplementationStarted:
        """Claim a work package (every host). Idempotent for the same actor.

        Hosts from 3.2.2 on make the worktree; `WorkPackageHandle.claim` does it on all hosts.

        Args:
            mission: Slug or id of the mission.
            wp: Id of the work package.
            actor: The actor that claims it. None: the client's actor.
            policy: The permissions of its agent. None: the client's policy.

        Raises:
            Conflict: If another actor has claimed it.
            NotReady: If a work package that it depends on is not done (from 3.2.0 on).
        """
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
        """Begin a review (3.1.1 and later), or request changes (up to 3.1.0).

        From 3.1.1 on the host moves the work package from ``for_review`` to ``in_review``. Up to
        3.1.0 it moves it back to ``in_progress``.

        Args:
            mission: Slug or id of the mission.
            wp: Id of the work package.
            actor: The reviewing actor. None: the client's actor.
            policy: The permissions of the reviewing agent. None: the client's policy.
            review_ref: A pointer to the review: a path, a URL, a commit; required up to 3.1.0.

        Raises:
            TransitionRejected: If it is not in ``for_review``.
        """
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
        subtasks_complete: bool = False,
        implementation_evidence_present: bool = False,
        force: bool = False,
    ) -> replies.Transitioned:
        """Move a work package to another lane (every host). Not idempotent.

        Args:
            mission: Slug or id of the mission.
            wp: Id of the work package.
            to: The target lane; `needs` returns the arguments that a move requires.
            actor: The actor that moves it. None: the client's actor.
            policy: The permissions of its agent, for some lanes. None: the client's policy.
            note: Text for the history.
            review_ref: A pointer to the review: a path, a URL, a commit.
            review_result: Result of a review; every move out of ``in_review`` needs it (3.2.6).
            evidence: Evidence of an approval, for ``approved`` and ``done`` (3.1.0).
            subtasks_complete: Skip the host's check of open subtasks (3.1.0 to 3.2.5).
            implementation_evidence_present: State that there is an implementation (3.1.0).
            force: Skip the host's rules. Needs a note from 2.1.0 on.

        Raises:
            TransitionRejected: If the host does not allow the move.
        """
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
                subtasks_complete=subtasks_complete,
                implementation_evidence_present=implementation_evidence_present,
                force=force,
            )
        )

    def append_history(
        self, mission: str, wp: str, note: str, *, actor: str | None = None
    ) -> replies.HistoryAppended:
        """Add a note to a work package (every host). A repetition adds a second one.

        Args:
            mission: Slug or id of the mission.
            wp: Id of the work package.
            note: The text.
            actor: The author of the note. None: the client's actor.
        """
        return self.call(commands.AppendHistory(mission=mission, wp=wp, note=note, actor=actor))

    def accept_mission(
        self,
        mission: str,
        *,
        actor: str | None = None,
        origin_check: OriginCheck | str | None = None,
    ) -> replies.MissionAccepted:
        """Accept a finished mission (every host).

        The host writes ``meta.json`` and does not commit it; `MissionHandle.accept` does.

        Args:
            mission: Slug or id of the mission.
            actor: The actor that accepts it. None: the client's actor.
            origin_check: ``enforce``: refuse if a branch at origin is newer; ``warn``; ``off``
                (4.0.0rc6). None: ``enforce``, which needs the network if there is a remote
                ``origin``.

        Raises:
            NotReady: If a work package is not finished.
        """
        return self.call(
            commands.AcceptMission(mission=mission, actor=actor, origin_check=origin_check)
        )

    def merge_mission(
        self,
        mission: str,
        *,
        target: str | None = None,
        strategy: MergeStrategy | str = MergeStrategy.MERGE,
        push: bool = False,
        origin_check: OriginCheck | str | None = None,
    ) -> replies.MissionMerged:
        """Merge a mission into its target branch (every host), without any check.

        Hosts from 3.1.0 on delete uncommitted files in the worktrees that they remove, and some
        report a success although the target is unchanged; `MissionHandle.merge` checks both.

        Args:
            mission: Slug or id of the mission.
            target: The branch to merge into. None: the mission's own target.
            strategy: ``merge``, ``squash`` or ``rebase``.
            push: Whether the host pushes the target afterwards.
            origin_check: See `accept_mission`.

        Raises:
            IntegrationFailed: If the host could not merge.
        """
        return self.call(
            commands.MergeMission(
                mission=mission,
                target=target,
                strategy=strategy,
                push=push,
                origin_check=origin_check,
            )
        )


def _transport(repo: str | PathLike[str] | None, warm: Literal["auto"] | bool) -> Transport:
    """Return the default transport: the host on this machine, warm or not."""
    from spec_kitty_client.transports.process import ProcessTransport

    cold = ProcessTransport(repo=Path(repo or "."))
    if not warm:
        return cold
    from spec_kitty_client.transports.warm import WarmTransport

    return WarmTransport(cold, only=warm is True)
