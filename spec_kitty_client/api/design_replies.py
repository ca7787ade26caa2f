"""What the host answers to the verbs of design, one frozen class per success payload.

Source of every field: host 3.2.6 and 3.2.7, and 4.0.0rc7 for what is dated so. Hosts send more
(some of it twice, in capitals); it is kept in `Reply.extra`.
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
    """Answer to ``specify``: the mission is there, and its specification has to be written."""

    mission_id: str
    """ULID."""
    spec_file: str
    meta_file: str
    created_files: tuple[str, ...]
    feature_dir: str
    created_at: str
    """ISO 8601."""
    topology: str | None = None
    coordination_branch: str | None = None
    next_step: str | None = None
    """What to do next, in words."""


@frozen(kw_only=True)
class PlanStep(Reply):
    """Answer to ``plan``. The first call makes the file, one more takes note that it is written."""

    mission_slug: str
    result: str
    """``success``, or ``blocked`` while the specification is not written and committed. On
    4.0.0rc6 and later that is an error, PLAN_SETUP_FAILED."""
    phase_complete: bool
    """Whether the plan is written; only then go on to ``tasks``."""
    plan_file: str | None = None
    spec_file: str | None = None
    plan_substantive: bool | None = None
    scaffold_only: bool = False
    blocked_reason: str | None = None
    error_code: str | None = None


@frozen(kw_only=True)
class TasksFinalized(Reply):
    """Answer to ``tasks``: the work packages can be worked on."""

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
    """What each work package depends on."""


@frozen(kw_only=True)
class Prerequisites(Reply):
    """Answer to ``check-prerequisites``."""

    mission_slug: str
    valid: bool
    errors: tuple[str, ...]
    warnings: tuple[Any, ...] = ()
    paths: Mapping[str, Any] = field(factory=dict)
    available_docs: tuple[str, ...] = ()


@frozen(kw_only=True)
class AnalysisRecorded(MissionReply):
    """Answer to ``record-analysis``. The host has committed the report."""

    path: str
    verdict: str
    """``ready``, or ``blocked`` by a finding of high or critical severity."""
    generated_at: str


@frozen(kw_only=True)
class Decision(MissionReply):
    """Answer to the four verbs about a decision."""

    decision_id: str
    """ULID."""
    status: str
    """``open``, ``resolved``, ``deferred`` or ``canceled``."""
    idempotent: bool
    """Whether it was so already."""
    event_lamport: int | None = None
    terminal_outcome: str | None = None
    artifact_path: str | None = None
    """Of one that was opened."""


@frozen(kw_only=True)
class OpenQuestion(Reply):
    """A decision that nobody has taken yet."""

    decision_id: str
    origin: str | None = None


@frozen(kw_only=True)
class DesignState(MissionReply):
    """Answer to ``design-status``."""

    current_phase: str
    """``specify``, ``plan``, ``tasks`` or ``analyze``."""
    next_action: str | None
    """The verb to go on with; None: nothing is left to do."""
    open_decisions: tuple[OpenQuestion, ...]


@frozen(kw_only=True)
class NextStep(MissionReply):
    """Answer to ``next`` and ``answer-decision``: what the host's own loop wants next."""

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
    """What to tell the agent: content, sha256 and bytes (4.0.0rc6 and later)."""
    prompt_file: str | None = None
    guard_failures: tuple[str, ...] = ()
    answered_decision_id: str | None = None


@frozen(kw_only=True)
class Artifact(MissionReply):
    """Answer to ``artifact-read``."""

    kind: str
    artifact_id: str | None
    sha256: str
    """Of the file's bytes, in hexadecimal; ``absent`` where there is no file."""
    content: str | None


@frozen(kw_only=True)
class SubmittedArtifact(Reply):
    """One document that was handed in."""

    kind: str
    artifact_id: str | None
    sha256: str


@frozen(kw_only=True)
class ArtifactsSubmitted(MissionReply):
    """Answer to ``artifact-submit``."""

    artifacts: tuple[SubmittedArtifact, ...]
    commit_status: str
    """``committed`` or ``unchanged``."""
    commit_hash: str | None = None


@frozen(kw_only=True)
class DesignValidated(MissionReply):
    """Answer to ``design-validate``; what is missing is told as an error."""

    stage: str
    prerequisites_satisfied: bool


@frozen(kw_only=True)
class DesignBasis(Reply):
    """Answer to ``design-context``: all that a stage is to be written from. It is large."""

    stage: str
    mission_type: str
    context_sha256: str
    """What ``artifact-submit`` wants to hear."""
    mission_slug: str | None = None
    questions: tuple[Mapping[str, Any], ...] = ()
    interview: Mapping[str, Any] = field(factory=dict)
    templates: Mapping[str, Any] = field(factory=dict, repr=False)
    governance: Mapping[str, Any] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class InterviewRecorded(Reply):
    """Answer to ``interview-record``. The host does not commit it."""

    mission_slug: str
    stage: str
    decision_ids: Mapping[str, str]
    """The decision of each question that this call has answered."""
    interview: Mapping[str, Any]
    """All questions, and whether they are answered."""
