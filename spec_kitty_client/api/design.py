"""What can be asked of a host about the making of a mission: from its name to its work packages.

Source of every option: host 3.2.6 and 3.2.7, and 4.0.0rc7 for what is dated so. The verbs of
a mission's work are in `spec_kitty_client.api.commands`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

from attrs import field, frozen, validators

from spec_kitty_client.api import design_replies as replies
from spec_kitty_client.api.commands import ACTOR, MISSION, POLICY, Command, R_co, name_only, one_of
from spec_kitty_client.api.replies import Reply
from spec_kitty_client.policy import Policy

__all__ = [
    "AnswerDecision",
    "ArtifactRead",
    "ArtifactSubmit",
    "CancelDecision",
    "CheckPrerequisites",
    "DeferDecision",
    "DesignContext",
    "DesignStatus",
    "DesignValidate",
    "InterviewRecord",
    "Next",
    "OpenDecision",
    "Origin",
    "Plan",
    "RecordAnalysis",
    "ResolveDecision",
    "Specify",
    "StepResult",
    "Tasks",
    "Topology",
]

_DECISION = {"option": "--decision-id"}
_RATIONALE = {"option": "--rationale"}
_RESOLVED_BY = {"option": "--resolved-by"}
_STAGE = {"option": "--stage"}
_CHECKOUT = {"option": "--owned-checkout", "since": "4.0.0rc7"}


def _listed(options: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if options is None else tuple(options)


class Topology(StrEnum):
    """Where the work of a mission lives."""

    SINGLE_BRANCH = "single_branch"
    LANES = "lanes"
    COORD = "coord"
    LANES_WITH_COORD = "lanes_with_coord"


class Origin(StrEnum):
    """In which phase a decision came up."""

    CHARTER = "charter"
    SPECIFY = "specify"
    PLAN = "plan"


class StepResult(StrEnum):
    """How a step that an agent was given has ended."""

    SUCCESS = "success"
    FAILED = "failed"
    BLOCKED = "blocked"


def _topology(value: Topology | str | None) -> Topology | None:
    return None if value is None else one_of(Topology, value)


def _origin(value: Origin | str) -> Origin:
    return one_of(Origin, value)


def _result(value: StepResult | str) -> StepResult:
    return one_of(StepResult, value)


def _maybe_result(value: StepResult | str | None) -> StepResult | None:
    return None if value is None else _result(value)


@frozen(kw_only=True)
class DesignCommand(Command[R_co]):
    """A verb of design."""

    since: ClassVar[str] = "3.2.6"


@frozen(kw_only=True)
class DesignChange(Command[R_co]):
    """A verb of design that changes something, for which the host wants a policy."""

    mutates: ClassVar[bool] = True
    since: ClassVar[str] = "3.2.6"

    policy: Policy | None = field(default=None, metadata=POLICY)

    @property
    def needs_policy(self) -> bool:
        """Always."""
        return True


@frozen(kw_only=True)
class Specify(DesignChange[replies.MissionSpecified]):
    """Make a mission. The same name again makes another one."""

    verb: ClassVar[str] = "specify"
    reply_type: ClassVar[type[Reply]] = replies.MissionSpecified

    name: str = field(metadata=MISSION, validator=name_only)
    """What humans call it; the slug is in the answer."""
    mission_type: str = field(metadata={"option": "--mission-type"})
    """For example ``software-dev``."""
    topology: Topology | None = field(
        default=None, metadata={"option": "--topology"}, converter=_topology
    )
    """None: ``coord``, under which hosts up to 3.2.7 cannot accept a mission."""


@frozen(kw_only=True)
class Plan(DesignChange[replies.PlanStep]):
    """Begin the plan of a mission, or take note that it is written: look at the answer.

    Success does not mean done: see `design_replies.PlanStep`.
    """

    verb: ClassVar[str] = "plan"
    reply_type: ClassVar[type[Reply]] = replies.PlanStep

    mission: str = field(metadata=MISSION, validator=name_only)


@frozen(kw_only=True)
class Tasks(DesignChange[replies.TasksFinalized]):
    """Finalise the work packages of a mission; from then on they can be worked on."""

    verb: ClassVar[str] = "tasks"
    reply_type: ClassVar[type[Reply]] = replies.TasksFinalized

    mission: str = field(metadata=MISSION, validator=name_only)


@frozen(kw_only=True)
class CheckPrerequisites(DesignCommand[replies.Prerequisites]):
    """Ask which documents of a mission are there. Success does not mean valid."""

    verb: ClassVar[str] = "check-prerequisites"
    reply_type: ClassVar[type[Reply]] = replies.Prerequisites

    mission: str = field(metadata=MISSION, validator=name_only)
    include_tasks: bool = field(default=False, metadata={"option": "--include-tasks"})


@frozen(kw_only=True)
class RecordAnalysis(DesignChange[replies.AnalysisRecorded]):
    """Record what an analysis of the mission has found. Needs a clean work tree."""

    verb: ClassVar[str] = "record-analysis"
    reply_type: ClassVar[type[Reply]] = replies.AnalysisRecorded

    mission: str = field(metadata=MISSION, validator=name_only)
    input_file: str = field(metadata={"option": "--input-file"})
    """Where the host runs: Markdown with a head of YAML, ``schema: analysis-findings/v1`` and
    ``findings: []``."""
    agent: str | None = field(default=None, metadata={"option": "--agent"})


@frozen(kw_only=True)
class OpenDecision(DesignChange[replies.Decision]):
    """Put a question that somebody has to decide. Can be repeated."""

    verb: ClassVar[str] = "open-decision"
    reply_type: ClassVar[type[Reply]] = replies.Decision

    mission: str = field(metadata=MISSION, validator=name_only)
    origin: Origin = field(metadata={"option": "--origin"}, converter=_origin)
    input_key: str = field(metadata={"option": "--input-key"})
    question: str = field(metadata={"option": "--question"})
    step_id: str | None = field(default=None, metadata={"option": "--step-id"})
    """This or ``slot_key`` has to be given."""
    slot_key: str | None = field(default=None, metadata={"option": "--slot-key"})
    options: Sequence[str] | None = field(
        default=None,
        metadata={"option": "--options", "json": True},
        converter=_listed,
    )
    """The answers to choose from."""
    actor: str | None = field(default=None, metadata=ACTOR)
    owned_checkout: str | None = field(default=None, metadata=_CHECKOUT)


@frozen(kw_only=True)
class ResolveDecision(DesignChange[replies.Decision]):
    """Decide a question."""

    verb: ClassVar[str] = "resolve-decision"
    reply_type: ClassVar[type[Reply]] = replies.Decision

    mission: str = field(metadata=MISSION, validator=name_only)
    decision_id: str = field(metadata=_DECISION)
    final_answer: str = field(metadata={"option": "--final-answer"})
    other_answer: bool = field(default=False, metadata={"option": "--other-answer"})
    """Whether the answer is none of the options."""
    rationale: str | None = field(default=None, metadata=_RATIONALE)
    resolved_by: str | None = field(default=None, metadata=_RESOLVED_BY)
    actor: str | None = field(default=None, metadata=ACTOR)
    owned_checkout: str | None = field(default=None, metadata=_CHECKOUT)


@frozen(kw_only=True)
class DeferDecision(DesignChange[replies.Decision]):
    """Put a question off."""

    verb: ClassVar[str] = "defer-decision"
    reply_type: ClassVar[type[Reply]] = replies.Decision

    mission: str = field(metadata=MISSION, validator=name_only)
    decision_id: str = field(metadata=_DECISION)
    rationale: str = field(metadata=_RATIONALE)
    resolved_by: str | None = field(default=None, metadata=_RESOLVED_BY)
    actor: str | None = field(default=None, metadata=ACTOR)
    owned_checkout: str | None = field(default=None, metadata=_CHECKOUT)


@frozen(kw_only=True)
class CancelDecision(DesignChange[replies.Decision]):
    """Take a question back."""

    verb: ClassVar[str] = "cancel-decision"
    reply_type: ClassVar[type[Reply]] = replies.Decision

    mission: str = field(metadata=MISSION, validator=name_only)
    decision_id: str = field(metadata=_DECISION)
    rationale: str = field(metadata=_RATIONALE)
    resolved_by: str | None = field(default=None, metadata=_RESOLVED_BY)
    actor: str | None = field(default=None, metadata=ACTOR)
    owned_checkout: str | None = field(default=None, metadata=_CHECKOUT)


@frozen(kw_only=True)
class AnswerDecision(DesignChange[replies.NextStep]):
    """Answer the question that a step of the host's own loop waits for."""

    verb: ClassVar[str] = "answer-decision"
    reply_type: ClassVar[type[Reply]] = replies.NextStep

    mission: str = field(metadata=MISSION, validator=name_only)
    agent: str = field(metadata={"option": "--agent"})
    answer: str = field(metadata={"option": "--answer"})
    result: StepResult = field(metadata={"option": "--result"}, converter=_result)
    """How the step that asked has ended."""
    decision_id: str | None = field(default=None, metadata=_DECISION)


@frozen(kw_only=True)
class DesignStatus(DesignCommand[replies.DesignState]):
    """Ask how far the making of a mission is."""

    verb: ClassVar[str] = "design-status"
    reply_type: ClassVar[type[Reply]] = replies.DesignState

    mission: str = field(metadata=MISSION, validator=name_only)


@frozen(kw_only=True)
class ArtifactRead(DesignCommand[replies.Artifact]):
    """Read a document of a mission, with the checksum that a change of it has to name."""

    verb: ClassVar[str] = "artifact-read"
    reply_type: ClassVar[type[Reply]] = replies.Artifact
    since: ClassVar[str] = "4.0.0rc6"

    mission: str = field(metadata=MISSION, validator=name_only)
    kind: str = field(metadata={"option": "--kind"})
    """For example ``specification``, ``plan``, ``outline`` or ``work_package``."""
    artifact_id: str | None = field(default=None, metadata={"option": "--artifact-id"})
    """Which one, where there are several: ``WP01``, or a base name."""


@frozen(kw_only=True)
class ArtifactSubmit(DesignChange[replies.ArtifactsSubmitted]):
    """Hand in documents of a mission; the host checks, writes and commits them."""

    verb: ClassVar[str] = "artifact-submit"
    reply_type: ClassVar[type[Reply]] = replies.ArtifactsSubmitted
    since: ClassVar[str] = "4.0.0rc6"

    mission: str = field(metadata=MISSION, validator=name_only)
    request: Mapping[str, Any] = field(metadata={"option": "--request-json", "json": True})
    """``artifacts`` (each with kind, artifact_id, content and expected_sha256), ``parents``
    and ``context_sha256``."""
    actor: str | None = field(default=None, metadata=ACTOR)


@frozen(kw_only=True)
class DesignValidate(DesignCommand[replies.DesignValidated]):
    """Ask whether a stage is complete."""

    verb: ClassVar[str] = "design-validate"
    reply_type: ClassVar[type[Reply]] = replies.DesignValidated
    since: ClassVar[str] = "4.0.0rc6"

    mission: str = field(metadata=MISSION, validator=name_only)
    stage: str = field(metadata=_STAGE)
    """``specify``, ``plan`` or ``tasks``."""


@frozen(kw_only=True)
class DesignContext(DesignCommand[replies.DesignBasis]):
    """Ask for all that a stage is to be written from. The answer is large."""

    verb: ClassVar[str] = "design-context"
    reply_type: ClassVar[type[Reply]] = replies.DesignBasis
    since: ClassVar[str] = "4.0.0rc6"

    mission: str | None = field(
        default=None, metadata=MISSION, validator=validators.optional(name_only)
    )
    """None: before there is a mission."""
    stage: str = field(default="specify", metadata=_STAGE)
    mission_type: str | None = field(default=None, metadata={"option": "--mission-type"})


@frozen(kw_only=True)
class InterviewRecord(DesignChange[replies.InterviewRecorded]):
    """Record the answers to the questions of a stage."""

    verb: ClassVar[str] = "interview-record"
    reply_type: ClassVar[type[Reply]] = replies.InterviewRecorded
    since: ClassVar[str] = "4.0.0rc6"

    mission: str = field(metadata=MISSION, validator=name_only)
    stage: str = field(metadata=_STAGE)
    answers: Mapping[str, str] = field(metadata={"option": "--answers", "json": True})
    """By the id of the question."""
    actor: str | None = field(default=None, metadata=ACTOR)


@frozen(kw_only=True)
class Next(DesignChange[replies.NextStep]):
    """Ask what the host's own loop wants next; with a result, after telling it of the last."""

    verb: ClassVar[str] = "next"
    reply_type: ClassVar[type[Reply]] = replies.NextStep
    since: ClassVar[str] = "4.0.0rc6"

    mission: str = field(metadata=MISSION, validator=name_only)
    agent: str | None = field(default=None, metadata={"option": "--agent"})
    result: StepResult | None = field(
        default=None, metadata={"option": "--result"}, converter=_maybe_result
    )
    """How the last step has ended; None: only a look."""
    answer: str | None = field(default=None, metadata={"option": "--answer"})
    decision_id: str | None = field(default=None, metadata=_DECISION)

    @property
    def needs_policy(self) -> bool:
        """With a result."""
        return self.result is not None
