"""A typed client for ``spec-kitty orchestrator-api``."""

from spec_kitty_client._engine.core import Retry
from spec_kitty_client.aio.client import AsyncClient
from spec_kitty_client.aio.mission import AsyncMissionHandle, AsyncWorkPackageHandle
from spec_kitty_client.api.commands import (
    AcceptMission,
    AppendHistory,
    Command,
    ContractVersion,
    ListReady,
    MergeMission,
    MergeStrategy,
    MissionState,
    OriginCheck,
    ResolveWorkspace,
    StartImplementation,
    StartReview,
    Transition,
)
from spec_kitty_client.api.replies import (
    HistoryAppended,
    HostContract,
    ImplementationStarted,
    Mission,
    MissionAccepted,
    MissionMerged,
    ReadyList,
    ReadyWorkPackage,
    Reply,
    ReviewStarted,
    Transitioned,
    WorkPackage,
    Workspace,
)
from spec_kitty_client.api.reviews import Evidence, ReviewResult, ReviewVerdict
from spec_kitty_client.client import Client
from spec_kitty_client.codes import AnyErrorCode, ErrorCode, Family, UnknownErrorCode
from spec_kitty_client.contract import Contract, UntestedHostWarning
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import (
    POLICY_LANES,
    AnyLane,
    Lane,
    Need,
    UnknownLane,
    allowed,
    lanes_of,
    needs,
)
from spec_kitty_client.errors import (
    AcceptanceUnavailable,
    CannotBeWarm,
    Conflict,
    EnvironmentProblem,
    GitFailed,
    GitUnavailable,
    HostCannotStart,
    HostCrashed,
    HostError,
    HostNotFound,
    HostRejected,
    HostTimeout,
    IntegrationFailed,
    InvalidCall,
    MergeConflict,
    MergeDamaged,
    NotFound,
    NotReady,
    PolicyRejected,
    ProtocolError,
    SpecKittyError,
    TransitionRejected,
    UnsupportedByHost,
    UnsupportedHost,
    UsageRejected,
    WouldLoseWork,
)
from spec_kitty_client.failure import Failure, OriginFreshness
from spec_kitty_client.mission import MissionHandle, WorkPackageHandle
from spec_kitty_client.observe import CallEnded, CallStarted, Observer, trace_calls
from spec_kitty_client.policy import ApprovalMode, NetworkMode, Policy, SandboxMode
from spec_kitty_client.policy.errors import PolicyError, PolicyProblem, PolicyRule
from spec_kitty_client.policy.rules import policy_problems
from spec_kitty_client.transports import (
    AsyncGitTransport,
    AsyncTransport,
    Closeable,
    Completed,
    GitTransport,
    HasIdentity,
    InRepository,
    Transport,
)
from spec_kitty_client.workflow.layout import MissionLayout, PackageLayout
from spec_kitty_client.workflow.merge import Merged
from spec_kitty_client.workflow.verbs import Moved, Review, Subtasks
from spec_kitty_client.workflow.watch import (
    AcceptanceSeen,
    LaneChanged,
    MissionEvent,
    WaitTimeout,
    WorkPackageAdded,
)

__all__ = [
    "POLICY_LANES",
    "AcceptMission",
    "AcceptanceSeen",
    "AcceptanceUnavailable",
    "AnyErrorCode",
    "AnyLane",
    "AppendHistory",
    "ApprovalMode",
    "AsyncClient",
    "AsyncGitTransport",
    "AsyncMissionHandle",
    "AsyncTransport",
    "AsyncWorkPackageHandle",
    "CallEnded",
    "CallStarted",
    "CannotBeWarm",
    "Client",
    "Closeable",
    "Command",
    "Completed",
    "Conflict",
    "Contract",
    "ContractVersion",
    "Dialect",
    "EnvironmentProblem",
    "ErrorCode",
    "Evidence",
    "Failure",
    "Family",
    "Feature",
    "GitFailed",
    "GitTransport",
    "GitUnavailable",
    "HasIdentity",
    "HistoryAppended",
    "HostCannotStart",
    "HostContract",
    "HostCrashed",
    "HostError",
    "HostNotFound",
    "HostRejected",
    "HostTimeout",
    "ImplementationStarted",
    "InRepository",
    "IntegrationFailed",
    "InvalidCall",
    "Lane",
    "LaneChanged",
    "ListReady",
    "MergeConflict",
    "MergeDamaged",
    "MergeMission",
    "MergeStrategy",
    "Merged",
    "Mission",
    "MissionAccepted",
    "MissionEvent",
    "MissionHandle",
    "MissionLayout",
    "MissionMerged",
    "MissionState",
    "Moved",
    "Need",
    "NetworkMode",
    "NotFound",
    "NotReady",
    "Observer",
    "OriginCheck",
    "OriginFreshness",
    "PackageLayout",
    "Policy",
    "PolicyError",
    "PolicyProblem",
    "PolicyRejected",
    "PolicyRule",
    "ProtocolError",
    "ReadyList",
    "ReadyWorkPackage",
    "Reply",
    "ResolveWorkspace",
    "Retry",
    "Review",
    "ReviewResult",
    "ReviewStarted",
    "ReviewVerdict",
    "SandboxMode",
    "SpecKittyError",
    "StartImplementation",
    "StartReview",
    "Subtasks",
    "Transition",
    "TransitionRejected",
    "Transitioned",
    "Transport",
    "UnknownErrorCode",
    "UnknownLane",
    "UnsupportedByHost",
    "UnsupportedHost",
    "UntestedHostWarning",
    "UsageRejected",
    "WaitTimeout",
    "WorkPackage",
    "WorkPackageAdded",
    "WorkPackageHandle",
    "Workspace",
    "WouldLoseWork",
    "__version__",
    "allowed",
    "lanes_of",
    "needs",
    "policy_problems",
    "trace_calls",
]

__version__: str
"""The version of the distribution."""


def __getattr__(name: str) -> str:
    # On access only, because importing importlib.metadata takes 18 ms.
    if name == "__version__":
        from importlib.metadata import version

        return version("spec-kitty-client")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
