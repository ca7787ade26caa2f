"""The client: negotiate once, then one method per verb, and the workflow verbs above them.

`async_client` is made of this file by ``python -m tests.asyncify``; change this one.
"""

from __future__ import annotations  # the verbs of design are loaded when they are called

import time
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from spec_kitty_client._core import Core, Git, HostCall, Negotiate, Retry, Steps
from spec_kitty_client.api import commands, replies
from spec_kitty_client.api.commands import (
    Command,
    Evidence,
    MergeStrategy,
    OriginCheck,
    ReviewResult,
)
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.lanes import AnyLane, Lane
from spec_kitty_client.errors import GitUnavailable, InvalidCall, SpecKittyError
from spec_kitty_client.policy import Policy
from spec_kitty_client.transports import Completed, GitTransport, Kept, Transport
from spec_kitty_client.workflow import claim as claiming
from spec_kitty_client.workflow import merge as merging
from spec_kitty_client.workflow import steps as missions
from spec_kitty_client.workflow import verbs as workflow
from spec_kitty_client.workflow.layout import MissionLayout
from spec_kitty_client.workflow.steps import Package
from spec_kitty_client.workflow.verbs import Moved, Review, Subtasks
from spec_kitty_client.workflow.watch import AcceptanceSeen, MissionEvent, Watcher

if TYPE_CHECKING:
    from spec_kitty_client.api import design, design_replies

__all__ = ["Client"]

R = TypeVar("R", bound=replies.Reply)
T = TypeVar("T")


class Client:
    """Calls a host and waits for its answer. Safe to use from several threads.

    Args:
        repo: A repository, or any folder inside one.
        actor: Who is calling, for the verbs that record it.
        policy: What agents may do, for the verbs that need it.
        transport: How calls reach the host; None: a process of ``spec-kitty`` on PATH.
        time_limit: Seconds for every call; None: what suits each verb.
        retry: When a call is repeated that cannot have had an effect; None: never.
        warm: Whether the host is imported once and forked for every call, which takes a
            fiftieth of the time and gives the same answers. "auto": where that can be done;
            True: or else `CannotBeWarm` is raised; False: a process of its own for every call.
            A transport that is given decides for itself: see `WarmTransport`.

    With a host that is kept warm there is a process, which ends with this one, with the client,
    or by `close`; clients of the same host share it.

    Every method raises `HostNotFound`, `UnsupportedHost`, `UnsupportedByHost`, `InvalidCall`
    or a `HostError`; the workflow verbs also `GitFailed`, `WouldLoseWork` and `MergeDamaged`.
    """

    def __init__(
        self,
        repo: str | PathLike[str] = ".",
        *,
        actor: str | None = None,
        policy: Policy | None = None,
        transport: Transport | None = None,
        time_limit: float | None = None,
        retry: Retry | None = None,
        warm: Literal["auto"] | bool = "auto",
    ) -> None:
        if transport is None:
            from spec_kitty_client.transports.process import ProcessTransport

            transport = cold = ProcessTransport(repo=Path(repo))
            if warm:
                from spec_kitty_client.transports.warm import WarmTransport

                transport = WarmTransport(cold, only=warm is True)
        elif warm is True:
            msg = "warm=True is for a client's own transport; give it WarmTransport(transport)"
            raise InvalidCall(msg)
        self._transport = transport
        self._core = Core(actor, policy, time_limit, transport)
        self._retry = retry
        self._negotiation = Lock()

    def prepare(self) -> None:
        """Have a host that is kept warm loaded while the program does something else."""
        if isinstance(self._transport, Kept):
            self._transport.prepare()

    def close(self) -> None:
        """Let a host that was kept warm end. The client can still be used, and starts it again."""
        if isinstance(self._transport, Kept):
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def contract(self) -> Contract | None:
        """What the host speaks; None while that is not known. `negotiate` asks."""
        return self._core.contract

    def negotiate(self) -> Contract:
        """Return what the host speaks. Asks it, the first time: two calls at most."""
        with self._negotiation:
            if known := self._core.contract:
                return known
            return self._drive(self._core.negotiation())

    def call(self, command: Command[R]) -> R:
        """Send a command and return its reply. All other methods are made of this one."""
        if self._retry is None:
            return self._call(command)
        return self._retry.caller()(Retry.helps, self._call, command)

    def _call(self, command: Command[R]) -> R:
        return self._drive(self._core.call(command))

    def _drive(self, steps: Steps[T]) -> T:
        """Do step after step, and hand each what came of it."""
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._do(step)
                except SpecKittyError as e:
                    step = steps.throw(e)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def _do(self, step: Any) -> Any:
        if isinstance(step, Command):
            return self.call(step)
        if isinstance(step, HostCall):
            return self._transport.run(step.args, time_limit=step.time_limit)
        if isinstance(step, Negotiate):
            return self.negotiate()
        return self._git(step)

    def _git(self, step: Git) -> Completed:
        if not isinstance(self._transport, GitTransport):
            msg = f"{type(self._transport).__name__} has no method `git`, and this takes git"
            raise GitUnavailable(msg)
        return self._transport.git(step.args, folder=step.folder, time_limit=step.time_limit)

    # The verbs of the contract

    def contract_version(
        self, *, provider_version: str | None = None, require_capability: str | None = None
    ) -> replies.HostContract:
        """Ask which contract the host speaks; see `commands.ContractVersion`."""
        return self.call(
            commands.ContractVersion(
                provider_version=provider_version, require_capability=require_capability
            )
        )

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
        """Begin a review, or (up to 3.1.0) end one; see `commands.StartReview`."""
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
                subtasks_complete=subtasks_complete,
                implementation_evidence_present=implementation_evidence_present,
                force=force,
            )
        )

    def append_history(
        self, mission: str, wp: str, note: str, *, actor: str | None = None
    ) -> replies.HistoryAppended:
        """Add a note to a work package; see `commands.AppendHistory`."""
        return self.call(commands.AppendHistory(mission=mission, wp=wp, note=note, actor=actor))

    def accept_mission(
        self,
        mission: str,
        *,
        actor: str | None = None,
        origin_check: OriginCheck | str | None = None,
    ) -> replies.MissionAccepted:
        """Accept a finished mission; see `commands.AcceptMission`."""
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
        """Merge a mission into its target branch; see `commands.MergeMission`."""
        return self.call(
            commands.MergeMission(
                mission=mission,
                target=target,
                strategy=strategy,
                push=push,
                origin_check=origin_check,
            )
        )

    # The verbs of design: hosts 3.2.6 and later

    def specify(
        self,
        name: str,
        mission_type: str,
        *,
        policy: Policy | None = None,
        topology: design.Topology | str | None = None,
    ) -> design_replies.MissionSpecified:
        """Make a mission; see `design.Specify`."""
        from spec_kitty_client.api import design

        return self.call(
            design.Specify(policy=policy, name=name, mission_type=mission_type, topology=topology)
        )

    def plan(self, mission: str, *, policy: Policy | None = None) -> design_replies.PlanStep:
        """Begin the plan of a mission, or take note that it is written; see `design.Plan`."""
        from spec_kitty_client.api import design

        return self.call(design.Plan(policy=policy, mission=mission))

    def tasks(self, mission: str, *, policy: Policy | None = None) -> design_replies.TasksFinalized:
        """Finalise the work packages of a mission; see `design.Tasks`."""
        from spec_kitty_client.api import design

        return self.call(design.Tasks(policy=policy, mission=mission))

    def check_prerequisites(
        self, mission: str, *, include_tasks: bool = False
    ) -> design_replies.Prerequisites:
        """Ask which documents of a mission are there; see `design.CheckPrerequisites`."""
        from spec_kitty_client.api import design

        return self.call(design.CheckPrerequisites(mission=mission, include_tasks=include_tasks))

    def record_analysis(
        self,
        mission: str,
        input_file: str,
        *,
        policy: Policy | None = None,
        agent: str | None = None,
    ) -> design_replies.AnalysisRecorded:
        """Record what an analysis of the mission has found; see `design.RecordAnalysis`."""
        from spec_kitty_client.api import design

        return self.call(
            design.RecordAnalysis(
                policy=policy, mission=mission, input_file=input_file, agent=agent
            )
        )

    def open_decision(
        self,
        mission: str,
        question: str,
        *,
        policy: Policy | None = None,
        origin: design.Origin | str,
        input_key: str,
        step_id: str | None = None,
        slot_key: str | None = None,
        options: Sequence[str] | None = None,
        actor: str | None = None,
        owned_checkout: str | None = None,
    ) -> design_replies.Decision:
        """Put a question that somebody has to decide; see `design.OpenDecision`."""
        from spec_kitty_client.api import design

        return self.call(
            design.OpenDecision(
                policy=policy,
                mission=mission,
                origin=origin,
                input_key=input_key,
                question=question,
                step_id=step_id,
                slot_key=slot_key,
                options=options,
                actor=actor,
                owned_checkout=owned_checkout,
            )
        )

    def resolve_decision(
        self,
        mission: str,
        decision_id: str,
        final_answer: str,
        *,
        policy: Policy | None = None,
        other_answer: bool = False,
        rationale: str | None = None,
        resolved_by: str | None = None,
        actor: str | None = None,
        owned_checkout: str | None = None,
    ) -> design_replies.Decision:
        """Decide a question; see `design.ResolveDecision`."""
        from spec_kitty_client.api import design

        return self.call(
            design.ResolveDecision(
                policy=policy,
                mission=mission,
                decision_id=decision_id,
                final_answer=final_answer,
                other_answer=other_answer,
                rationale=rationale,
                resolved_by=resolved_by,
                actor=actor,
                owned_checkout=owned_checkout,
            )
        )

    def defer_decision(
        self,
        mission: str,
        decision_id: str,
        rationale: str,
        *,
        policy: Policy | None = None,
        resolved_by: str | None = None,
        actor: str | None = None,
        owned_checkout: str | None = None,
    ) -> design_replies.Decision:
        """Put a question off; see `design.DeferDecision`."""
        from spec_kitty_client.api import design

        return self.call(
            design.DeferDecision(
                policy=policy,
                mission=mission,
                decision_id=decision_id,
                rationale=rationale,
                resolved_by=resolved_by,
                actor=actor,
                owned_checkout=owned_checkout,
            )
        )

    def cancel_decision(
        self,
        mission: str,
        decision_id: str,
        rationale: str,
        *,
        policy: Policy | None = None,
        resolved_by: str | None = None,
        actor: str | None = None,
        owned_checkout: str | None = None,
    ) -> design_replies.Decision:
        """Take a question back; see `design.CancelDecision`."""
        from spec_kitty_client.api import design

        return self.call(
            design.CancelDecision(
                policy=policy,
                mission=mission,
                decision_id=decision_id,
                rationale=rationale,
                resolved_by=resolved_by,
                actor=actor,
                owned_checkout=owned_checkout,
            )
        )

    def answer_decision(
        self,
        mission: str,
        answer: str,
        *,
        policy: Policy | None = None,
        agent: str,
        result: design.StepResult | str,
        decision_id: str | None = None,
    ) -> design_replies.NextStep:
        """Answer what a step of the host's own loop waits for; see `design.AnswerDecision`."""
        from spec_kitty_client.api import design

        return self.call(
            design.AnswerDecision(
                policy=policy,
                mission=mission,
                agent=agent,
                answer=answer,
                result=result,
                decision_id=decision_id,
            )
        )

    def design_status(self, mission: str) -> design_replies.DesignState:
        """Ask how far the making of a mission is; see `design.DesignStatus`."""
        from spec_kitty_client.api import design

        return self.call(design.DesignStatus(mission=mission))

    def artifact_read(
        self, mission: str, kind: str, *, artifact_id: str | None = None
    ) -> design_replies.Artifact:
        """Read a document of a mission; see `design.ArtifactRead`."""
        from spec_kitty_client.api import design

        return self.call(design.ArtifactRead(mission=mission, kind=kind, artifact_id=artifact_id))

    def artifact_submit(
        self,
        mission: str,
        request: Mapping[str, Any],
        *,
        policy: Policy | None = None,
        actor: str | None = None,
    ) -> design_replies.ArtifactsSubmitted:
        """Hand in documents of a mission; see `design.ArtifactSubmit`."""
        from spec_kitty_client.api import design

        return self.call(
            design.ArtifactSubmit(policy=policy, mission=mission, request=request, actor=actor)
        )

    def design_validate(self, mission: str, stage: str) -> design_replies.DesignValidated:
        """Ask whether a stage is complete; see `design.DesignValidate`."""
        from spec_kitty_client.api import design

        return self.call(design.DesignValidate(mission=mission, stage=stage))

    def design_context(
        self, mission: str | None = None, *, stage: str = "specify", mission_type: str | None = None
    ) -> design_replies.DesignBasis:
        """Ask for all that a stage is to be written from; see `design.DesignContext`."""
        from spec_kitty_client.api import design

        return self.call(
            design.DesignContext(mission=mission, stage=stage, mission_type=mission_type)
        )

    def interview_record(
        self,
        mission: str,
        stage: str,
        answers: Mapping[str, str],
        *,
        policy: Policy | None = None,
        actor: str | None = None,
    ) -> design_replies.InterviewRecorded:
        """Record the answers to the questions of a stage; see `design.InterviewRecord`."""
        from spec_kitty_client.api import design

        return self.call(
            design.InterviewRecord(
                policy=policy, mission=mission, stage=stage, answers=answers, actor=actor
            )
        )

    def next(
        self,
        mission: str,
        *,
        policy: Policy | None = None,
        agent: str | None = None,
        result: design.StepResult | str | None = None,
        answer: str | None = None,
        decision_id: str | None = None,
    ) -> design_replies.NextStep:
        """Ask what the host's own loop wants next; see `design.Next`."""
        from spec_kitty_client.api import design

        return self.call(
            design.Next(
                policy=policy,
                mission=mission,
                agent=agent,
                result=result,
                answer=answer,
                decision_id=decision_id,
            )
        )

    # The verbs of the workflow: the same on every host, and safe to repeat

    def layout(self, mission: str | replies.Mission) -> MissionLayout:
        """Tell how a mission is laid out: topology, target, and what each work package needs.

        Args:
            mission: The mission, or its state where that was read already, which saves a call.

        Raises:
            NotFound: If there is no such mission.
            GitFailed: If one of the mission's files is damaged.
        """
        return self._drive(missions.layout(mission))

    def claim(
        self, mission: str, wp: str, *, actor: str | None = None
    ) -> replies.ImplementationStarted:
        """Claim a work package whose dependencies are done, and give it a worktree.

        The worktree is there afterwards on every host, on the branch that the merge of this
        release takes, with the work of its dependencies in it. Planning work gets a branch and
        a worktree of its own as well, up to 3.2.7; `merge` brings it into the target.

        Raises:
            WouldLoseWork: For planning work on 4.0.0rc5 and later, which the host takes from the
                primary checkout alone.
        """
        return self._drive(claiming.claim(self._package(mission, wp, actor)))

    def locate(self, mission: str, wp: str) -> replies.Workspace:
        """Tell where a work package is worked on, without claiming it."""
        return self._drive(claiming.locate(mission, wp))

    def submit_for_review(
        self,
        mission: str,
        wp: str,
        *,
        actor: str | None = None,
        note: str | None = None,
        subtasks: Subtasks = "refuse",
    ) -> Moved:
        """Hand in the implementation. Hosts from 3.2.2 on want a commit in the worktree.

        Args:
            mission: The mission.
            wp: The work package.
            actor: Who hands it in; None: the client's.
            note: Goes into the history.
            subtasks: Hosts from 2.1.0 on refuse while subtasks are open. ``"refuse"`` leaves
                that to the host, and the error names them; ``"complete"`` marks them done first,
                with the host's own ``agent tasks mark-status``, for which the API has no verb.

        Raises:
            TransitionRejected: If the host does not take it.
            ProtocolError: If the host could not mark the subtasks.
        """
        package = self._package(mission, wp, actor)
        return self._drive(workflow.submit_for_review(package, note, subtasks))

    def begin_review(
        self,
        mission: str,
        wp: str,
        *,
        actor: str | None = None,
        lane: AnyLane | None = None,
    ) -> Moved:
        """Begin a review. Up to 3.1.0 a review has no lane: it stays in ``for_review``.

        Args:
            mission: The mission.
            wp: The work package.
            actor: Who reviews; None: the client's.
            lane: Where it is, if that is known; it may save a read.
        """
        return self._drive(workflow.begin_review(self._package(mission, wp, actor, lane)))

    def approve(
        self,
        mission: str,
        wp: str,
        review: Review,
        *,
        actor: str | None = None,
        note: str | None = None,
        lane: AnyLane | None = None,
    ) -> Moved:
        """Record that a review approved the work. On 1.0.x that makes it ``done``.

        Args:
            mission: The mission.
            wp: The work package.
            review: Who has approved it.
            actor: Who says so; None: the client's.
            note: Goes into the history.
            lane: Where it is, if that is known; it may save a read.
        """
        return self._drive(workflow.approve(self._package(mission, wp, actor, lane), review, note))

    def request_changes(
        self,
        mission: str,
        wp: str,
        review: Review,
        *,
        actor: str | None = None,
        note: str | None = None,
        lane: AnyLane | None = None,
    ) -> Moved:
        """Record that a review wants changes: back to ``in_progress``.

        Args:
            mission: The mission.
            wp: The work package.
            review: Who has judged.
            actor: Who says so; None: the client's.
            note: Goes into the history.
            lane: Where it is, if that is known; it may save a read.
        """
        return self._drive(
            workflow.request_changes(self._package(mission, wp, actor, lane), review, note)
        )

    def finish(
        self,
        mission: str,
        wp: str,
        review: Review,
        *,
        actor: str | None = None,
        note: str | None = None,
        lane: AnyLane | None = None,
    ) -> Moved:
        """Bring approved work to ``done``, from ``approved`` or straight from the review.

        Args:
            mission: The mission.
            wp: The work package.
            review: Who has approved it.
            actor: Who says so; None: the client's.
            note: Goes into the history.
            lane: Where it is, if that is known; it may save a read.
        """
        return self._drive(workflow.finish(self._package(mission, wp, actor, lane), review, note))

    def block(
        self,
        mission: str,
        wp: str,
        reason: str,
        *,
        review: Review | None = None,
        actor: str | None = None,
        lane: AnyLane | None = None,
    ) -> Moved:
        """Take a work package off the board until a human has looked.

        Args:
            mission: The mission.
            wp: The work package.
            reason: Why; it goes into the history.
            review: Who has judged, where it is in review; None: the actor.
            actor: Who says so; None: the client's.
            lane: Where it is, if that is known; it may save a read.
        """
        at = self._package(mission, wp, actor, lane)
        judged = review or Review(reviewer=at.actor or "nobody", reference=f"{wp} blocked")
        return self._drive(workflow.block(at, reason, judged))

    def accept(self, mission: str, *, actor: str | None = None) -> replies.MissionAccepted:
        """Accept a mission and commit what the host wrote about it, which a merge may reset.

        Raises:
            AcceptanceUnavailable: If the API of this host cannot accept a mission of this
                topology (3.2.0 to 3.2.7 with a coordination branch); nothing was sent.
        """
        return self._drive(workflow.accept(mission, actor))

    def merge(
        self,
        mission: str,
        *,
        target: str | None = None,
        strategy: MergeStrategy | str = MergeStrategy.MERGE,
        push: bool = False,
        commits: Sequence[str] = (),
    ) -> merging.Merged:
        """Merge a mission, and see that nothing is lost by it.

        Refuses while a worktree has something uncommitted, or where the host would not merge
        over it (3.2.0 and later) the checkout of the target; commits the mission's folder
        first; brings planning work along; compares the target before and after; and leaves its
        checkout up to date. A mission counts as merged already only with proof: its branches,
        the record of an earlier merge, or ``commits`` are in the target.

        Args:
            mission: The mission.
            target: The branch to merge into; None: what the mission names, by the host's order
                (``merge_target_branch`` from 3.2.2 on, ``target_branch``, the primary branch).
            strategy: How the work comes into the target.
            push: Whether the host pushes the target afterwards.
            commits: Commits that were handed in, which have to be in what is merged.

        Raises:
            WouldLoseWork: If something would be lost; nothing was merged.
            IntegrationFailed: If the host could not merge.
            MergeDamaged: If the target does not have afterwards what it should.
        """
        call = commands.MergeMission(mission=mission, target=target, strategy=strategy, push=push)
        return self._drive(merging.merge(call, tuple(commits)))

    def watch(self, mission: str, *, interval: float = 30.0) -> Iterator[MissionEvent]:
        """Tell what happens to a mission until it is accepted, by one read per interval.

        Args:
            mission: The mission.
            interval: Seconds between two reads.
        """
        watcher = Watcher(mission)
        while True:
            for event in self._drive(watcher.look()):
                yield event
                if isinstance(event, AcceptanceSeen):
                    return
            self._sleep(interval)

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def _package(
        self, mission: str, wp: str, actor: str | None, lane: AnyLane | None = None
    ) -> Package:
        return Package(mission=mission, wp=wp, actor=actor or self._core.actor, lane=lane)
