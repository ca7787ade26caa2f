"""Handles on a mission and on its work packages: the workflow verbs, the same on every host.

Each verb does what the host's release needs for it, and can be repeated safely: if an answer is
lost or a refusal may be late, it reads the state, and an effect that is there counts as a success.

``python -m tests.asyncify`` generates ``aio/mission.py`` from ``mission.py``; edit the latter.
"""

from collections.abc import Callable, Iterator, Sequence
from math import inf
from time import monotonic

from spec_kitty_client._engine.driver import Driver
from spec_kitty_client.api import replies
from spec_kitty_client.api.commands import AppendHistory, ListReady, MergeMission, MergeStrategy
from spec_kitty_client.contract.lanes import AnyLane
from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.workflow import accept, claim, common, merge, verbs
from spec_kitty_client.workflow.common import WorkPackageFacts
from spec_kitty_client.workflow.layout import MissionLayout
from spec_kitty_client.workflow.merge import Merged
from spec_kitty_client.workflow.verbs import Moved, Review, Subtasks
from spec_kitty_client.workflow.watch import AcceptanceSeen, MissionEvent, WaitTimeout, Watcher

__all__ = ["MissionHandle", "WorkPackageHandle"]


class MissionHandle:
    """A handle on a mission, without any state of the host. Made by `Client.mission`.

    Attributes:
        name: The slug or id with which it was made.
    """

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver = driver
        self.name: str = name

    def __repr__(self) -> str:
        return f"MissionHandle({self.name!r})"

    def work_package(
        self, wp: str | replies.WorkPackage | replies.ReadyWorkPackage
    ) -> "WorkPackageHandle":
        """Return a handle on one of its work packages. No call is made.

        Args:
            wp: Its id, such as ``WP01``, or its entry in a reply of `state` or `ready`.
        """
        return WorkPackageHandle(self._driver, self, wp if isinstance(wp, str) else wp.wp_id)

    def __iter__(self) -> "Iterator[WorkPackageHandle]":
        """Read the state and yield a handle on every work package, in the host's order."""
        state = self.state()
        for wp in state.work_packages:
            yield self.work_package(wp)

    def state(self) -> replies.Mission:
        """Return the lane of every work package.

        Raises:
            NotFound: If there is no such mission, or the host's reply cannot be trusted; see
                `Mission.problem`.
        """
        return self._driver.read(common.state(self.name))

    def ready(self) -> tuple[replies.ReadyWorkPackage, ...]:
        """Return the work packages that may be started now, in the host's order.

        Raises:
            NotFound: If there is no such mission.
        """
        reply = self._driver.call(ListReady(mission=self.name))
        return reply.ready_work_packages

    def layout(self, state: replies.Mission | None = None) -> MissionLayout:
        """Return the topology, the merge target, and the needs of each work package.

        Args:
            state: The state, if it was read already, which saves a call.

        Raises:
            NotFound: If there is no such mission.
            GitFailed: If one of the mission's files is damaged.
        """
        return self._driver.read(common.layout(state or self.name))

    def watch(self, *, interval: float = 30.0) -> Iterator[MissionEvent]:
        """Yield the events of the mission until it is accepted, with one read per interval.

        Several moves between two reads are one event. A read that fails ends the iteration with
        its error; a new `watch` starts with all work packages as they are then.

        Args:
            interval: Seconds between two reads.
        """
        watcher = Watcher(self.name)
        while True:
            events = self._driver.read(watcher.look())
            for event in events:
                yield event
                if isinstance(event, AcceptanceSeen):
                    return
            self._driver.sleep(interval)

    def wait_until(
        self,
        condition: Callable[[replies.Mission], bool],
        *,
        timeout: float | None = None,
        interval: float = 10.0,
    ) -> replies.Mission:
        """Read the state until a condition holds, and return the state in which it does.

        Args:
            condition: Called with each state, for example
                ``lambda state: state.lanes()["WP01"] == Lane.DONE``.
            timeout: Seconds to wait at most, at least one read. None: for ever.
            interval: Seconds between two reads.

        Raises:
            WaitTimeout: If the condition did not hold in time. It has the last state.
        """
        end = monotonic() + (inf if timeout is None else timeout)
        while not condition(state := self.state()):
            left = end - monotonic()
            if timeout is not None and left <= 0:
                raise WaitTimeout(self.name, timeout, state)
            self._driver.sleep(min(interval, left))
        return state

    def accept(self, *, actor: str | None = None) -> replies.MissionAccepted:
        """Accept the mission, and commit what the host wrote about it. Idempotent.

        Args:
            actor: The actor that accepts it. None: the client's actor.

        Raises:
            AcceptanceUnavailable: If the host's API cannot accept a mission of this topology
                (3.2.0 to 3.2.7 with a coordination branch). Nothing was sent.
            NotReady: If a work package is not finished.
        """
        return self._driver.change(accept.accept(self.name, actor or self._driver.core.actor))

    def merge(
        self,
        *,
        target: str | None = None,
        strategy: MergeStrategy | str = MergeStrategy.MERGE,
        push: bool = False,
        commits: Sequence[str] = (),
    ) -> Merged:
        """Merge the mission, and prove that no work is lost. Idempotent.

        The SDK refuses while a worktree has uncommitted changes, or the checkout of the target has
        some over which the host would not merge (3.2.0). It commits the mission's folder first,
        merges planning work as well, compares the target before and after, and updates the checkout
        of the target. A mission counts as merged already only with proof: its branches, the record
        of an earlier merge, or ``commits`` are in the target.

        Args:
            target: The branch to merge into. None: the target that the mission names, in the host's
                order (``merge_target_branch`` from 3.2.2 on, ``target_branch``, the primary
                branch).
            strategy: ``merge``, ``squash`` or ``rebase``.
            push: Whether the host pushes the target afterwards.
            commits: Submitted commits, which must be in the target after the merge.

        Raises:
            WouldLoseWork: If work would be lost. Nothing was merged.
            MergeConflict: If branches have merge conflicts; it has the commands that help.
            IntegrationFailed: If the host could not merge.
            MergeDamaged: If files or commits are missing in the target after the merge, or files
                changed that no work package touched.
        """
        call = MergeMission(mission=self.name, target=target, strategy=strategy, push=push)
        return self._driver.change(merge.merge(call, tuple(commits)))

    def merge_obstacles(
        self,
        *,
        target: str | None = None,
        strategy: MergeStrategy | str = MergeStrategy.MERGE,
        commits: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """Return the obstacles to `merge` that no work package can remove, as sentences.

        Call it before the work begins: a missing target, a strategy that this host does not have,
        a tag named like a branch, uncommitted files of the user where the target is checked out,
        and branches of finished work that are gone without a proof that they were merged. Only
        reads.

        Args:
            target: The branch to merge into; see `merge`.
            strategy: ``merge``, ``squash`` or ``rebase``.
            commits: Submitted commits; see `merge`.

        Raises:
            NotFound: If there is no such mission.
        """
        call = MergeMission(mission=self.name, target=target, strategy=strategy)
        return self._driver.read(merge.find_obstacles(call, tuple(commits)))


class WorkPackageHandle:
    """A handle on a work package. Made by `MissionHandle.work_package`.

    Attributes:
        mission: The handle on its mission.
        wp_id: Its id, such as ``WP01``.
    """

    def __init__(self, driver: Driver, mission: MissionHandle, wp_id: str) -> None:
        self._driver = driver
        self.mission: MissionHandle = mission
        self.wp_id: str = wp_id

    def __repr__(self) -> str:
        return f"WorkPackageHandle({self.mission.name!r}, {self.wp_id!r})"

    def lane(self) -> AnyLane:
        """Return its lane, by one read of the mission's state.

        Raises:
            NotFound: If the mission has no such work package.
        """
        return self._driver.read(verbs.lane_of(self._at(None, None)))

    def claim(self, *, actor: str | None = None) -> replies.ImplementationStarted:
        """Claim it, if its dependencies are done, and give it a worktree. Idempotent.

        On every host the worktree then exists, on the branch that this release merges, with the
        work of its dependencies in it. Up to 3.2.7 planning work gets a branch and a worktree of
        its own as well, and `MissionHandle.merge` merges it.

        Args:
            actor: The actor that claims it. None: the client's actor.

        Raises:
            Conflict: If another actor has claimed it.
            NotReady: If a work package that it depends on is not done.
            WouldLoseWork: For planning work on 4.0.0rc5 and later, which the host accepts from the
                primary checkout only.
        """
        return self._driver.change(claim.claim(self._at(actor, None)))

    def locate(self) -> replies.Workspace:
        """Return its worktree and branch, claimed or not.

        Raises:
            NotFound: If there is no such mission or work package.
        """
        return self._driver.read(claim.locate(self.mission.name, self.wp_id))

    def submit_for_review(
        self,
        *,
        actor: str | None = None,
        note: str | None = None,
        subtasks: Subtasks = "refuse",
    ) -> Moved:
        """Submit the implementation. Hosts from 3.2.2 on require a commit in the worktree.

        Args:
            actor: The actor that submits it. None: the client's actor.
            note: Text for the history.
            subtasks: Hosts from 2.1.0 on refuse while subtasks are open. ``"refuse"`` leaves
                that to the host, and the error names them; ``"complete"`` marks them done first,
                with the host's own ``agent tasks mark-status``, for which the API has no verb.

        Raises:
            TransitionRejected: If the host refuses it.
            ProtocolError: If the host could not mark the subtasks.
        """
        at = self._at(actor, None)
        return self._driver.change(verbs.submit_for_review(at, note, subtasks))

    def begin_review(self, *, actor: str | None = None, lane: AnyLane | None = None) -> Moved:
        """Begin a review. Up to 3.1.0 a review has no lane: it stays in ``for_review``.

        Args:
            actor: The reviewing actor. None: the client's actor.
            lane: Its current lane, if known, which may save a read.

        Raises:
            TransitionRejected: If it is not in ``for_review``.
        """
        return self._driver.change(verbs.begin_review(self._at(actor, lane)))

    def approve(
        self,
        review: Review,
        *,
        actor: str | None = None,
        note: str | None = None,
        lane: AnyLane | None = None,
    ) -> Moved:
        """Record that a review approved the work. On 1.0.x that makes it ``done``.

        Args:
            review: The reviewer, and a pointer to the review.
            actor: The actor that records it. None: the client's actor.
            note: Text for the history.
            lane: Its current lane, if known, which may save a read.

        Raises:
            TransitionRejected: If it is not in review.
        """
        at = self._at(actor, lane)
        return self._driver.change(verbs.approve(at, _review(review), note))

    def request_changes(
        self,
        review: Review,
        *,
        actor: str | None = None,
        note: str | None = None,
        lane: AnyLane | None = None,
    ) -> Moved:
        """Record that a review asks for changes, and move it to ``in_progress``.

        Args:
            review: The reviewer, and a pointer to the review.
            actor: The actor that records it. None: the client's actor.
            note: Text for the history.
            lane: Its current lane, if known, which may save a read.

        Raises:
            TransitionRejected: If it is neither in review nor approved.
        """
        at = self._at(actor, lane)
        return self._driver.change(verbs.request_changes(at, _review(review), note))

    def finish(
        self,
        review: Review,
        *,
        actor: str | None = None,
        note: str | None = None,
        lane: AnyLane | None = None,
    ) -> Moved:
        """Move approved work to ``done``, from ``approved`` or directly from the review.

        Args:
            review: The reviewer, and a pointer to the review.
            actor: The actor that records it. None: the client's actor.
            note: Text for the history.
            lane: Its current lane, if known, which may save a read.

        Raises:
            TransitionRejected: If it is neither in review nor approved.
        """
        return self._driver.change(verbs.finish(self._at(actor, lane), _review(review), note))

    def block(
        self,
        reason: str,
        *,
        review: Review | None = None,
        actor: str | None = None,
        lane: AnyLane | None = None,
    ) -> Moved:
        """Move it to ``blocked``, for a person to look at.

        Args:
            reason: The reason; it goes into the history.
            review: The review, if it is in review. None: the actor is the reviewer.
            actor: The actor that records it. None: the client's actor.
            lane: Its current lane, if known, which may save a read.

        Raises:
            TransitionRejected: If it is done or canceled.
        """
        at = self._at(actor, lane)
        judged = review or Review(at.actor or "nobody", f"{self.wp_id} blocked")
        return self._driver.change(verbs.block(at, reason, _review(judged)))

    def append_history(self, note: str, *, actor: str | None = None) -> replies.HistoryAppended:
        """Add a note to its history. A repetition adds a second one.

        Args:
            note: The text.
            actor: The author of the note. None: the client's actor.
        """
        call = AppendHistory(mission=self.mission.name, wp=self.wp_id, note=note, actor=actor)
        return self._driver.call(call)

    def _at(self, actor: str | None, lane: AnyLane | None) -> WorkPackageFacts:
        who = actor or self._driver.core.actor
        return WorkPackageFacts(mission=self.mission.name, wp=self.wp_id, actor=who, lane=lane)


def _review(review: Review) -> Review:
    if isinstance(review, Review):
        return review
    msg = f"review={review!r} is not a Review; write Review(reviewer, reference)"
    raise InvalidCall(msg)
