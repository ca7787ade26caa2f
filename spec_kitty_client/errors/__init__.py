"""The errors of the SDK, as one tree of exceptions.

    SpecKittyError
      InvalidCall                 an invalid call, found before anything was sent
        PolicyError               a group of PolicyProblem; both are in `policy_errors`
      HostNotFound                there is no host to call
      CannotBeWarm                the host cannot be kept warm, and the caller requires it
      UnsupportedHost             not a host, or one with an unknown contract
      UnsupportedByHost           this host cannot do that; nothing was sent
        AcceptanceUnavailable     its API cannot accept a mission of this topology
      GitFailed                   git failed during a workflow verb
        GitUnavailable            the transport cannot run git where the host runs
      WouldLoseWork               a workflow verb stopped before it would lose work
      MergeDamaged                a merge lost something; says where the target was
      HostError                   a call of the host failed
        HostTimeout
        ProtocolError             no valid answer
          HostCrashed             a traceback instead of an answer
            HostCannotStart       it cannot start
        HostRejected              an answer with an error code, or the equivalent
          UsageRejected, PolicyRejected, NotFound, Conflict, TransitionRejected,
          NotReady, IntegrationFailed, EnvironmentProblem
            MergeConflict           below IntegrationFailed; has the commands that resolve it

Take decisions on `HostError.code`, `HostError.retryable` and `HostError.outcome`, never on
the text. The text of every exception says what to do next; every exception can be pickled, and its
text can be encoded as UTF-8, even if a host or a file name put invalid characters into it.
"""

from spec_kitty_client.errors.host import (
    Conflict,
    EnvironmentProblem,
    HostCannotStart,
    HostCrashed,
    HostError,
    HostRejected,
    HostTimeout,
    IntegrationFailed,
    MergeConflict,
    NotFound,
    NotReady,
    PolicyRejected,
    ProtocolError,
    TransitionRejected,
    UsageRejected,
    rejection,
)
from spec_kitty_client.errors.sdk import (
    AcceptanceUnavailable,
    CannotBeWarm,
    GitFailed,
    GitUnavailable,
    HostNotFound,
    InvalidCall,
    MergeDamaged,
    SpecKittyError,
    UnsupportedByHost,
    UnsupportedHost,
    WouldLoseWork,
)
from spec_kitty_client.failure import Failure

__all__ = [
    "AcceptanceUnavailable",
    "CannotBeWarm",
    "Conflict",
    "EnvironmentProblem",
    "Failure",
    "GitFailed",
    "GitUnavailable",
    "HostCannotStart",
    "HostCrashed",
    "HostError",
    "HostNotFound",
    "HostRejected",
    "HostTimeout",
    "IntegrationFailed",
    "InvalidCall",
    "MergeConflict",
    "MergeDamaged",
    "NotFound",
    "NotReady",
    "PolicyRejected",
    "ProtocolError",
    "SpecKittyError",
    "TransitionRejected",
    "UnsupportedByHost",
    "UnsupportedHost",
    "UsageRejected",
    "WouldLoseWork",
    "rejection",
]
