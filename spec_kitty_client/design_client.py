"""The verbs that make a mission, from its name to its work packages (host 3.2.6 and later).

``python -m tests.asyncify`` generates ``aio/design_client.py`` from ``design_client.py``; edit the
latter.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from spec_kitty_client._engine.driver import Driver
from spec_kitty_client.api import design, design_replies
from spec_kitty_client.policy import Policy

__all__ = ["DesignClient"]


class DesignClient:
    """The design verbs of a client: `Client.design`.

    Every method raises the same exceptions as those of `Client`, and on a host that does not
    have the verb yet `UnsupportedByHost`.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def specify(
        self,
        name: str,
        mission_type: str,
        *,
        policy: Policy | None = None,
        topology: design.Topology | str | None = None,
    ) -> design_replies.MissionSpecified:
        """Create a mission (host 3.2.6). A repeated call creates another one.

        Args:
            name: Name for people; the reply has the slug.
            mission_type: For example ``software-dev``.
            policy: The permissions of agents. None: the client's policy.
            topology: ``coord``, ``lanes``, ``single_branch`` or ``lanes_with_coord``. None:
                ``coord``, under which hosts up to 3.2.7 cannot accept a mission.
        """
        call = design.Specify(
            policy=policy, name=name, mission_type=mission_type, topology=topology
        )
        return self._driver.call(call)

    def plan(self, mission: str, *, policy: Policy | None = None) -> design_replies.PlanStep:
        """Begin the plan of a mission, or record that it is written (host 3.2.6).

        A success does not mean that the plan is done: the reply names the missing parts.

        Args:
            mission: Slug or id of the mission.
            policy: The permissions of agents. None: the client's policy.
        """
        return self._driver.call(design.Plan(policy=policy, mission=mission))

    def tasks(self, mission: str, *, policy: Policy | None = None) -> design_replies.TasksFinalized:
        """Finalise the work packages of a mission, so that they can be claimed (host 3.2.6).

        Args:
            mission: Slug or id of the mission.
            policy: The permissions of agents. None: the client's policy.
        """
        return self._driver.call(design.Tasks(policy=policy, mission=mission))

    def check_prerequisites(
        self, mission: str, *, include_tasks: bool = False
    ) -> design_replies.Prerequisites:
        """Return the existing documents of a mission (host 3.2.6), valid or not.

        Args:
            mission: Slug or id of the mission.
            include_tasks: Whether the host checks the work packages as well.
        """
        call = design.CheckPrerequisites(mission=mission, include_tasks=include_tasks)
        return self._driver.call(call)

    def record_analysis(
        self,
        mission: str,
        input_file: str,
        *,
        policy: Policy | None = None,
        agent: str | None = None,
    ) -> design_replies.AnalysisRecorded:
        """Record the findings of an analysis (host 3.2.6). Needs a clean work tree.

        Args:
            mission: Slug or id of the mission.
            input_file: Path on the host's machine: Markdown with a YAML head that has
                ``schema: analysis-findings/v1`` and ``findings: []``.
            policy: The permissions of agents. None: the client's policy.
            agent: Name of the agent.
        """
        call = design.RecordAnalysis(
            policy=policy, mission=mission, input_file=input_file, agent=agent
        )
        return self._driver.call(call)

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
        """Record a question that a person or agent has to decide (host 3.2.6). Idempotent.

        Args:
            mission: Slug or id of the mission.
            question: The text of the question.
            policy: The permissions of agents. None: the client's policy.
            origin: The phase of the question: ``charter``, ``specify`` or ``plan``.
            input_key: Name of the input that the answer sets.
            step_id: The step that asks; either this or ``slot_key`` is required.
            slot_key: The slot that the answer fills.
            options: The answers to choose from.
            actor: The actor that the host records. None: the client's actor.
            owned_checkout: Folder of a checkout that the caller owns (4.0.0rc7).
        """
        call = design.OpenDecision(
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
        return self._driver.call(call)

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
        """Record the answer to a question (host 3.2.6).

        Args:
            mission: Slug or id of the mission.
            decision_id: Id of the decision.
            final_answer: The answer.
            policy: The permissions of agents. None: the client's policy.
            other_answer: Whether the answer is none of the options.
            rationale: The reason.
            resolved_by: Name of the person or agent that decided.
            actor: The actor that the host records. None: the client's actor.
            owned_checkout: Folder of a checkout that the caller owns (4.0.0rc7).
        """
        call = design.ResolveDecision(
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
        return self._driver.call(call)

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
        """Defer a question (host 3.2.6).

        Args:
            mission: Slug or id of the mission.
            decision_id: Id of the decision.
            rationale: The reason.
            policy: The permissions of agents. None: the client's policy.
            resolved_by: Name of the person or agent that defers it.
            actor: The actor that the host records. None: the client's actor.
            owned_checkout: Folder of a checkout that the caller owns (4.0.0rc7).
        """
        call = design.DeferDecision(
            policy=policy,
            mission=mission,
            decision_id=decision_id,
            rationale=rationale,
            resolved_by=resolved_by,
            actor=actor,
            owned_checkout=owned_checkout,
        )
        return self._driver.call(call)

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
        """Cancel a question (host 3.2.6).

        Args:
            mission: Slug or id of the mission.
            decision_id: Id of the decision.
            rationale: The reason.
            policy: The permissions of agents. None: the client's policy.
            resolved_by: Name of the person or agent that cancels it.
            actor: The actor that the host records. None: the client's actor.
            owned_checkout: Folder of a checkout that the caller owns (4.0.0rc7).
        """
        call = design.CancelDecision(
            policy=policy,
            mission=mission,
            decision_id=decision_id,
            rationale=rationale,
            resolved_by=resolved_by,
            actor=actor,
            owned_checkout=owned_checkout,
        )
        return self._driver.call(call)

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
        """Answer the question that a step of the host's own loop waits for (host 3.2.6).

        Args:
            mission: Slug or id of the mission.
            answer: The answer.
            policy: The permissions of agents. None: the client's policy.
            agent: Name of the agent.
            result: The result of the step: ``success``, ``failed`` or ``blocked``.
            decision_id: Id of the decision. None: the pending decision.
        """
        call = design.AnswerDecision(
            policy=policy,
            mission=mission,
            agent=agent,
            answer=answer,
            result=result,
            decision_id=decision_id,
        )
        return self._driver.call(call)

    def design_status(self, mission: str) -> design_replies.DesignState:
        """Return the progress of a mission's design (host 3.2.6).

        Args:
            mission: Slug or id of the mission.
        """
        return self._driver.call(design.DesignStatus(mission=mission))

    def artifact_read(
        self, mission: str, kind: str, *, artifact_id: str | None = None
    ) -> design_replies.Artifact:
        """Return a document of a mission and its checksum, which a change requires (4.0.0rc6).

        Args:
            mission: Slug or id of the mission.
            kind: For example ``specification``, ``plan``, ``outline`` or ``work_package``.
            artifact_id: The document, if there are several of its kind: ``WP01``, or a base name.
        """
        call = design.ArtifactRead(mission=mission, kind=kind, artifact_id=artifact_id)
        return self._driver.call(call)

    def artifact_submit(
        self,
        mission: str,
        request: Mapping[str, Any],
        *,
        policy: Policy | None = None,
        actor: str | None = None,
    ) -> design_replies.ArtifactsSubmitted:
        """Submit documents of a mission; the host checks, writes and commits them (4.0.0rc6).

        Args:
            mission: Slug or id of the mission.
            request: ``artifacts`` (each with kind, artifact_id, content and expected_sha256),
                ``parents`` and ``context_sha256``.
            policy: The permissions of agents. None: the client's policy.
            actor: The actor that the host records. None: the client's actor.
        """
        call = design.ArtifactSubmit(policy=policy, mission=mission, request=request, actor=actor)
        return self._driver.call(call)

    def design_validate(self, mission: str, stage: str) -> design_replies.DesignValidated:
        """Return whether a stage is complete (host 4.0.0rc6).

        Args:
            mission: Slug or id of the mission.
            stage: ``specify``, ``plan`` or ``tasks``.
        """
        return self._driver.call(design.DesignValidate(mission=mission, stage=stage))

    def design_context(
        self, mission: str | None = None, *, stage: str = "specify", mission_type: str | None = None
    ) -> design_replies.DesignBasis:
        """Return the context for writing a stage, which is large (host 4.0.0rc6).

        Args:
            mission: Slug or id of the mission. None: there is no mission yet.
            stage: ``specify``, ``plan`` or ``tasks``.
            mission_type: For example ``software-dev``.
        """
        call = design.DesignContext(mission=mission, stage=stage, mission_type=mission_type)
        return self._driver.call(call)

    def interview_record(
        self,
        mission: str,
        stage: str,
        answers: Mapping[str, str],
        *,
        policy: Policy | None = None,
        actor: str | None = None,
    ) -> design_replies.InterviewRecorded:
        """Record the answers to the questions of a stage (host 4.0.0rc6).

        Args:
            mission: Slug or id of the mission.
            stage: ``specify``, ``plan`` or ``tasks``.
            answers: Texts by the id of the question.
            policy: The permissions of agents. None: the client's policy.
            actor: The actor that the host records. None: the client's actor.
        """
        call = design.InterviewRecord(
            policy=policy, mission=mission, stage=stage, answers=answers, actor=actor
        )
        return self._driver.call(call)

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
        """Return the next step of the host's own loop (host 4.0.0rc6); it may change the mission.

        With a result it also reports the end of the last step to the host.

        Args:
            mission: Slug or id of the mission.
            policy: The permissions of agents. None: the client's policy.
            agent: Name of the agent.
            result: The result of the last step. None: only read.
            answer: Answer to the question of the last step.
            decision_id: Id of the decision. None: the pending decision.
        """
        call = design.Next(
            policy=policy,
            mission=mission,
            agent=agent,
            result=result,
            answer=answer,
            decision_id=decision_id,
        )
        return self._driver.call(call)
