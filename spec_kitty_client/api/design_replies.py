"""The replies to the design verbs, one frozen class per verb.

Source of every field: hosts 3.2.6 and 3.2.7, or 4.0.0rc7 if the field says so. Hosts send more
fields, some of them twice in capitals; these are kept in `Reply.extra`.
"""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from spec_kitty_client.api.replies import MissionReply, Reply

__all__ = [
    "AnalysisRecorded",
    "Artifact",
    "ArtifactsSubmitted",
    "Decision",
    "DesignBasis",
    "DesignState",
    "DesignValidated",
    "InterviewRecorded",
    "MissionSpecified",
    "NextStep",
    "OpenQuestion",
    "PlanStep",
    "Prerequisites",
    "SubmittedArtifact",
    "TasksFinalized",
]


@frozen(kw_only=True)
class MissionSpecified(MissionReply):
    """Reply to ``specify``: the new mission. The next step is to write its specification."""

    mission_id: str
    """The mission's id, a ULID."""
    spec_file: str
    meta_file: str
    created_files: tuple[str, ...]
    feature_dir: str
    created_at: str
    """Date and time in ISO 8601."""
    topology: str | None = None
    coordination_branch: str | None = None
    next_step: str | None = None
    """The next step for a person or agent, in words."""


@frozen(kw_only=True)
class PlanStep(Reply):
    """Reply to ``plan``. The first call makes the file; a later call records that it is written."""

    mission_slug: str
    result: str
    """``success``, or ``blocked`` while the specification is not written and committed. Hosts
    from 4.0.0rc6 on answer with the error PLAN_SETUP_FAILED instead of ``blocked``."""
    phase_complete: bool
    """Whether the plan is written. If so, continue with ``tasks``."""
    plan_file: str | None = None
    spec_file: str | None = None
    plan_substantive: bool | None = None
    scaffold_only: bool = False
    blocked_reason: str | None = None
    error_code: str | None = None


@frozen(kw_only=True)
class TasksFinalized(Reply):
    """Reply to ``tasks``: the work packages are final and can be started."""

    mission_slug: str
    result: str
    wp_count: int
    tasks_dir: str
    commit_created: bool
    commit_hash: str | None = None
    modified_wps: tuple[str, ...] = ()
    unchanged_wps: tuple[str, ...] = ()
    files_committed: tuple[str, ...] = ()
    ownership_warnings: tuple[str, ...] = ()
    dependencies_parsed: Mapping[str, Any] = field(factory=dict)
    """The dependencies of each work package, by id."""


@frozen(kw_only=True)
class Prerequisites(Reply):
    """Reply to ``check-prerequisites``."""

    mission_slug: str
    valid: bool
    errors: tuple[str, ...]
    warnings: tuple[Any, ...] = ()
    paths: Mapping[str, Any] = field(factory=dict)
    available_docs: tuple[str, ...] = ()


@frozen(kw_only=True)
class AnalysisRecorded(MissionReply):
    """Reply to ``record-analysis``. The host has committed the report."""

    path: str
    verdict: str
    """``ready``, or ``blocked`` by a finding of high or critical severity."""
    generated_at: str


@frozen(kw_only=True)
class Decision(MissionReply):
    """Reply to the four verbs that open, resolve, defer or cancel a decision."""

    decision_id: str
    """The decision's id, a ULID."""
    status: str
    """``open``, ``resolved``, ``deferred`` or ``canceled``."""
    idempotent: bool
    """Whether the decision had this status already."""
    event_lamport: int | None = None
    terminal_outcome: str | None = None
    artifact_path: str | None = None
    """Path of the decision's file; sent for a newly opened decision."""


@frozen(kw_only=True)
class OpenQuestion(Reply):
    """An open decision."""

    decision_id: str
    origin: str | None = None


@frozen(kw_only=True)
class DesignState(MissionReply):
    """Reply to ``design-status``."""

    current_phase: str
    """``specify``, ``plan``, ``tasks`` or ``analyze``."""
    next_action: str | None
    """The next verb to call; None: nothing is left to do."""
    open_decisions: tuple[OpenQuestion, ...]


@frozen(kw_only=True)
class NextStep(MissionReply):
    """Reply to ``next`` and ``answer-decision``: the next step of the host's own loop."""

    kind: str
    """``query``, ``step``, ``decision_required`` or ``terminal``."""
    agent: str | None = None
    mission_state: str | None = None
    action: str | None = None
    wp_id: str | None = None
    workspace_path: str | None = None
    reason: str | None = None
    run_id: str | None = None
    step_id: str | None = None
    decision_id: str | None = None
    input_key: str | None = None
    question: str | None = None
    options: tuple[Any, ...] | None = None
    prompt: Mapping[str, Any] | None = None
    """The prompt for the agent: content, sha256 and bytes (4.0.0rc6 and later)."""
    prompt_file: str | None = None
    guard_failures: tuple[str, ...] = ()
    answered_decision_id: str | None = None


@frozen(kw_only=True)
class Artifact(MissionReply):
    """Reply to ``artifact-read``."""

    kind: str
    artifact_id: str | None
    sha256: str
    """Hash of the file's bytes, in hexadecimal; ``absent`` if there is no file."""
    content: str | None


@frozen(kw_only=True)
class SubmittedArtifact(Reply):
    """One document that the host has stored."""

    kind: str
    artifact_id: str | None
    sha256: str


@frozen(kw_only=True)
class ArtifactsSubmitted(MissionReply):
    """Reply to ``artifact-submit``."""

    artifacts: tuple[SubmittedArtifact, ...]
    commit_status: str
    """``committed`` or ``unchanged``."""
    commit_hash: str | None = None


@frozen(kw_only=True)
class DesignValidated(MissionReply):
    """Reply to ``design-validate``. If something is missing, the host answers with an error."""

    stage: str
    prerequisites_satisfied: bool


@frozen(kw_only=True)
class DesignBasis(Reply):
    """Reply to ``design-context``: all material for writing one stage. It is large."""

    stage: str
    mission_type: str
    context_sha256: str
    """Hash of this material; ``artifact-submit`` requires it."""
    mission_slug: str | None = None
    questions: tuple[Mapping[str, Any], ...] = ()
    interview: Mapping[str, Any] = field(factory=dict)
    templates: Mapping[str, Any] = field(factory=dict, repr=False)
    governance: Mapping[str, Any] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class InterviewRecorded(Reply):
    """Reply to ``interview-record``. The host does not commit the interview."""

    mission_slug: str
    stage: str
    decision_ids: Mapping[str, str]
    """The decision id of each question that this call has answered."""
    interview: Mapping[str, Any]
    """All questions and whether they are answered."""
