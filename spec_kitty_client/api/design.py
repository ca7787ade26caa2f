"""The commands that make a mission, from its name to its work packages: one class per verb.

Source of every option: hosts 3.2.6 and 3.2.7, or 4.0.0rc7 if the option says so. The commands
about a mission's work are in `spec_kitty_client.api.commands`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

from attrs import field, frozen, validators

from spec_kitty_client.api import design_replies as replies
from spec_kitty_client.api.commands import Command, R_co
from spec_kitty_client.api.options import ACTOR, MISSION, POLICY, name_only, one_of
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
    """The branches on which the work and status of a mission are kept."""

    SINGLE_BRANCH = "single_branch"
    """One branch for everything."""
    LANES = "lanes"
    """A branch and worktree for each execution lane; status on the target."""
    COORD = "coord"
    """Status on a coordination branch."""
    LANES_WITH_COORD = "lanes_with_coord"
    """A branch and worktree for each execution lane; status on a coordination branch."""


class Origin(StrEnum):
    """The phase that a decision belongs to."""

    CHARTER = "charter"
    SPECIFY = "specify"
    PLAN = "plan"


class StepResult(StrEnum):
    """The result of a step that an agent has worked on."""

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
    """The base class of design verbs that only read."""

    since: ClassVar[str] = "3.2.6"


@frozen(kw_only=True)
class DesignChange(Command[R_co]):
    """The base class of design verbs that change something; hosts require a policy for them."""

    mutates: ClassVar[bool] = True
    since: ClassVar[str] = "3.2.6"

    policy: Policy | None = field(default=None, metadata=POLICY)

    @property
    def needs_policy(self) -> bool:
        """Always."""
        return True


@frozen(kw_only=True)
class Specify(DesignChange[replies.MissionSpecified]):
    """Make a mission. Not idempotent: the same name again makes another mission."""

    verb: ClassVar[str] = "specify"
    reply_type: ClassVar[type[Reply]] = replies.MissionSpecified

    name: str = field(metadata=MISSION, validator=name_only)
    """Name of the mission for people; the reply has the slug."""
    mission_type: str = field(metadata={"option": "--mission-type"})
    """A mission type of the host, such as ``software-dev``."""
    topology: Topology | None = field(
        default=None, metadata={"option": "--topology"}, converter=_topology
    )
    """None: ``coord``. Hosts up to 3.2.7 cannot accept a ``coord`` mission through the API."""


@frozen(kw_only=True)
class Plan(DesignChange[replies.PlanStep]):
    """Make the plan file of a mission, or record that the plan is written.

    A successful reply does not mean that the plan is complete; see `design_replies.PlanStep`.
    """

    verb: ClassVar[str] = "plan"
    reply_type: ClassVar[type[Reply]] = replies.PlanStep

    mission: str = field(metadata=MISSION, validator=name_only)


@frozen(kw_only=True)
class Tasks(DesignChange[replies.TasksFinalized]):
    """Finalise the work packages of a mission, so that they can be started."""

    verb: ClassVar[str] = "tasks"
    reply_type: ClassVar[type[Reply]] = replies.TasksFinalized

    mission: str = field(metadata=MISSION, validator=name_only)


@frozen(kw_only=True)
class CheckPrerequisites(DesignCommand[replies.Prerequisites]):
    """Check which documents of a mission exist; the reply's ``valid`` has the result."""

    verb: ClassVar[str] = "check-prerequisites"
    reply_type: ClassVar[type[Reply]] = replies.Prerequisites

    mission: str = field(metadata=MISSION, validator=name_only)
    include_tasks: bool = field(default=False, metadata={"option": "--include-tasks"})


@frozen(kw_only=True)
class RecordAnalysis(DesignChange[replies.AnalysisRecorded]):
    """Record the findings of an analysis of the mission. Needs a clean worktree."""

    verb: ClassVar[str] = "record-analysis"
    reply_type: ClassVar[type[Reply]] = replies.AnalysisRecorded

    mission: str = field(metadata=MISSION, validator=name_only)
    input_file: str = field(metadata={"option": "--input-file"})
    """Path on the host's machine of a Markdown file. Its YAML front matter has ``schema:
    analysis-findings/v1`` and ``findings: []``."""
    agent: str | None = field(default=None, metadata={"option": "--agent"})


@frozen(kw_only=True)
class OpenDecision(DesignChange[replies.Decision]):
    """Open a decision: a question for a person to answer. Idempotent."""

    verb: ClassVar[str] = "open-decision"
    reply_type: ClassVar[type[Reply]] = replies.Decision

    mission: str = field(metadata=MISSION, validator=name_only)
    origin: Origin = field(metadata={"option": "--origin"}, converter=_origin)
    input_key: str = field(metadata={"option": "--input-key"})
    question: str = field(metadata={"option": "--question"})
    step_id: str | None = field(default=None, metadata={"option": "--step-id"})
    """Either this or ``slot_key`` is required."""
    slot_key: str | None = field(default=None, metadata={"option": "--slot-key"})
    options: Sequence[str] | None = field(
        default=None,
        metadata={"option": "--options", "json": True},
        converter=_listed,
    )
    """Possible answers."""
    actor: str | None = field(default=None, metadata=ACTOR)
    owned_checkout: str | None = field(default=None, metadata=_CHECKOUT)


@frozen(kw_only=True)
class ResolveDecision(DesignChange[replies.Decision]):
    """Record the answer to an open decision."""

    verb: ClassVar[str] = "resolve-decision"
    reply_type: ClassVar[type[Reply]] = replies.Decision

    mission: str = field(metadata=MISSION, validator=name_only)
    decision_id: str = field(metadata=_DECISION)
    final_answer: str = field(metadata={"option": "--final-answer"})
    other_answer: bool = field(default=False, metadata={"option": "--other-answer"})
    """Whether the answer is not one of the options."""
    rationale: str | None = field(default=None, metadata=_RATIONALE)
    resolved_by: str | None = field(default=None, metadata=_RESOLVED_BY)
    actor: str | None = field(default=None, metadata=ACTOR)
    owned_checkout: str | None = field(default=None, metadata=_CHECKOUT)


@frozen(kw_only=True)
class DeferDecision(DesignChange[replies.Decision]):
    """Postpone an open decision."""

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
    """Cancel an open decision."""

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
    """Answer the question for which the host's own loop is waiting."""

    verb: ClassVar[str] = "answer-decision"
    reply_type: ClassVar[type[Reply]] = replies.NextStep

    mission: str = field(metadata=MISSION, validator=name_only)
    agent: str = field(metadata={"option": "--agent"})
    answer: str = field(metadata={"option": "--answer"})
    result: StepResult = field(metadata={"option": "--result"}, converter=_result)
    """Result of the step that asked."""
    decision_id: str | None = field(default=None, metadata=_DECISION)


@frozen(kw_only=True)
class DesignStatus(DesignCommand[replies.DesignState]):
    """Read the current design phase of a mission, and the next verb to call."""

    verb: ClassVar[str] = "design-status"
    reply_type: ClassVar[type[Reply]] = replies.DesignState

    mission: str = field(metadata=MISSION, validator=name_only)


@frozen(kw_only=True)
class ArtifactRead(DesignCommand[replies.Artifact]):
    """Read a document of a mission and its checksum, which a change of it must name."""

    verb: ClassVar[str] = "artifact-read"
    reply_type: ClassVar[type[Reply]] = replies.Artifact
    since: ClassVar[str] = "4.0.0rc6"

    mission: str = field(metadata=MISSION, validator=name_only)
    kind: str = field(metadata={"option": "--kind"})
    """For example ``specification``, ``plan``, ``outline`` or ``work_package``."""
    artifact_id: str | None = field(default=None, metadata={"option": "--artifact-id"})
    """The document, if there are several of this kind: ``WP01``, or a base name."""


@frozen(kw_only=True)
class ArtifactSubmit(DesignChange[replies.ArtifactsSubmitted]):
    """Store documents of a mission: the host checks, writes and commits them."""

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
    """Check whether a stage is complete."""

    verb: ClassVar[str] = "design-validate"
    reply_type: ClassVar[type[Reply]] = replies.DesignValidated
    since: ClassVar[str] = "4.0.0rc6"

    mission: str = field(metadata=MISSION, validator=name_only)
    stage: str = field(metadata=_STAGE)
    """``specify``, ``plan`` or ``tasks``."""


@frozen(kw_only=True)
class DesignContext(DesignCommand[replies.DesignBasis]):
    """Read all material for writing a stage. The reply is large."""

    verb: ClassVar[str] = "design-context"
    reply_type: ClassVar[type[Reply]] = replies.DesignBasis
    since: ClassVar[str] = "4.0.0rc6"

    mission: str | None = field(
        default=None, metadata=MISSION, validator=validators.optional(name_only)
    )
    """Slug or id; None: the mission does not exist yet."""
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
    """Answers by question id."""
    actor: str | None = field(default=None, metadata=ACTOR)


@frozen(kw_only=True)
class Next(DesignChange[replies.NextStep]):
    """Read the next step of the host's own loop, or report a result and read the step after."""

    verb: ClassVar[str] = "next"
    reply_type: ClassVar[type[Reply]] = replies.NextStep
    since: ClassVar[str] = "4.0.0rc6"

    mission: str = field(metadata=MISSION, validator=name_only)
    agent: str | None = field(default=None, metadata={"option": "--agent"})
    result: StepResult | None = field(
        default=None, metadata={"option": "--result"}, converter=_maybe_result
    )
    """Result of the last step; None: only read the next step."""
    answer: str | None = field(default=None, metadata={"option": "--answer"})
    decision_id: str | None = field(default=None, metadata=_DECISION)

    @property
    def needs_policy(self) -> bool:
        """Whether the call reports a result."""
        return self.result is not None
