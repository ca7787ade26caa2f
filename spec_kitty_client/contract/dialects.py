"""The dialects of the contract, the features, and the first host release of each.

The contract version alone is not enough: five dialects share version 1.0.0. So every feature is
dated by the host's release (``spec-kitty-cli`` on PyPI). From contract 1.1.0 on the release
follows from the contract version.

Source: every release from 1.0.0 to 3.2.7, and the pre-release 4.0.0rc7.
"""

from enum import StrEnum
from itertools import takewhile

from packaging.version import Version

__all__ = ["Dialect", "Feature", "contract_of", "dialect_of", "oldest_release"]


class Dialect(StrEnum):
    """A group of host releases with the same verbs, options and lanes."""

    F1 = "F1"
    """1.0.0 to 1.0.3. Calls a mission a *feature*; has six lanes."""
    F2 = "F2"
    """2.1.0 to 3.0.3. Adds the lanes claimed and approved."""
    M0 = "M0"
    """3.1.0. Calls a mission a *mission*; accepts evidence."""
    M1 = "M1"
    """3.1.1 to 3.1.10. Adds the lane in_review; ``start-review`` now begins a review."""
    M2 = "M2"
    """3.2.0 and 3.2.1. Checks dependencies; approved is enough for dependents."""
    M3 = "M3"
    """3.2.2 to 3.2.5. ``start-implementation`` makes the worktree."""
    M4 = "M4"
    """3.2.6 to 4.0.0rc4. Accepts review results; has the design verbs."""
    M5 = "M5"
    """4.0.0rc5 and later. Calls ``merge-mission`` ``consolidate-mission``."""

    @property
    def first_release(self) -> Version:
        """The oldest host release with this dialect."""
        return _FIRST[self]

    def has(self, feature: "Feature") -> bool:
        """Return whether every host of this dialect has a feature."""
        return feature.since <= self.first_release


_FIRST = {
    Dialect.F1: Version("1.0.0"),
    Dialect.F2: Version("2.1.0"),
    Dialect.M0: Version("3.1.0"),
    Dialect.M1: Version("3.1.1"),
    Dialect.M2: Version("3.2.0"),
    Dialect.M3: Version("3.2.2"),
    Dialect.M4: Version("3.2.6"),
    Dialect.M5: Version("4.0.0rc5"),
}

_OLDEST_WITH = {  # contract version: the oldest host that speaks it
    Version("1.1.0"): Version("3.2.2"),
    Version("1.2.0"): Version("3.2.4"),
    Version("1.4.0"): Version("3.2.6"),
    Version("1.5.0"): Version("3.2.7"),
    Version("1.6.0"): Version("4.0.0rc4"),
    Version("1.8.0"): Version("4.0.0rc5"),
    Version("1.14.0"): Version("4.0.0rc6"),
    Version("1.16.0"): Version("4.0.0rc7"),
}


class Feature(StrEnum):
    """A capability that not every host release has."""

    APPROVED_LANE = "approved lane"
    CLAIMED_LANE = "claimed lane"
    IN_REVIEW_LANE = "in_review lane"
    EVIDENCE = "evidence with a transition"
    REVIEW_RESULT = "review result with a transition"
    WORKTREES = "worktrees made by start-implementation"
    LANES = "execution lanes, which several work packages may share"
    REPEATABLE_REVIEW = "start-review may be repeated by the same reviewer"
    DEPENDENCY_CHECK = "start-implementation refuses while dependencies are open"
    PROTECTED_BRANCHES = "no commits on main and master"
    APPROVED_IS_ENOUGH = "approved is enough for dependents, accept and merge"
    CANCELED_IS_ENOUGH = "what was canceled for a reason is enough for dependents"
    CLEAN_TARGET = "merge-mission refuses while the checkout of the target has changes"
    MISSION_IDS = "missions selected by id as well as by slug"
    MERGE_TARGET = "merge_target_branch in meta.json"
    SUBTASK_GATE = "for_review refused while subtasks are open"
    SUBTASK_EVENTS = "subtasks counted by the event log, not by boxes in tasks.md"
    COORD_ACCEPT = "accept-mission under a topology with a coordination branch"
    MERGE_NEEDS_CHECKOUT = (
        "merge-mission refuses while another branch than the target is checked out"
    )
    PLANNING_IN_CHECKOUT = "planning work committed in the primary checkout, and nowhere else"

    @property
    def since(self) -> Version:
        """The oldest host release with this feature."""
        return _SINCE[self]


_SINCE = {
    Feature.CLAIMED_LANE: Version("2.1.0"),
    Feature.APPROVED_LANE: Version("2.1.0"),
    Feature.EVIDENCE: Version("3.1.0"),
    Feature.LANES: Version("3.1.0"),
    Feature.IN_REVIEW_LANE: Version("3.1.1"),
    Feature.DEPENDENCY_CHECK: Version("3.2.0"),
    Feature.REPEATABLE_REVIEW: Version("3.2.0"),
    Feature.APPROVED_IS_ENOUGH: Version("3.2.0"),
    Feature.PROTECTED_BRANCHES: Version("3.2.0"),
    Feature.CLEAN_TARGET: Version("3.2.0"),
    Feature.WORKTREES: Version("3.2.2"),
    Feature.MERGE_TARGET: Version("3.2.2"),
    Feature.SUBTASK_GATE: Version("2.1.0"),
    Feature.SUBTASK_EVENTS: Version("3.2.6"),
    Feature.COORD_ACCEPT: Version("4.0.0rc5"),
    Feature.MERGE_NEEDS_CHECKOUT: Version("4.0.0rc5"),
    Feature.PLANNING_IN_CHECKOUT: Version("4.0.0rc5"),
    Feature.CANCELED_IS_ENOUGH: Version("3.2.6"),
    Feature.MISSION_IDS: Version("3.2.6"),
    Feature.REVIEW_RESULT: Version("3.2.6"),
}


def dialect_of(release: Version) -> Dialect:
    """Return the dialect of a host release."""
    return list(takewhile(lambda d: d.first_release <= release, Dialect))[-1]


def oldest_release(contract: Version) -> Version | None:
    """Return the oldest host release with a contract version; None for contract 1.0.0."""
    known = [host for version, host in _OLDEST_WITH.items() if version <= contract]
    return known[-1] if known else None


def contract_of(release: Version) -> Version:
    """Return the contract version of a host release."""
    known = [version for version, host in _OLDEST_WITH.items() if host <= release]
    return known[-1] if known else Version("1.0.0")
