"""The result of a review, as an option of a transition."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import asdict, frozen

from spec_kitty_client.values import Value, compact_json

__all__ = ["Evidence", "ReviewResult", "ReviewVerdict"]


class ReviewVerdict(StrEnum):
    """The result of a review."""

    APPROVED = "approved"
    CHANGES_REQUESTED = "changes_requested"


@frozen(kw_only=True)
class ReviewResult(Value):
    """The result of a review; every move out of ``in_review`` needs it (host 3.2.6 and later)."""

    reviewer: str
    """Name of the person or agent who reviewed."""
    verdict: ReviewVerdict
    reference: str
    """A pointer to the review: a path, a URL, a commit. Equal to ``review_ref``."""
    feedback_path: str | None = None
    """Path of a file with the findings."""

    def to_json(self) -> str:
        """Return the JSON text for ``--review-result-json``."""
        return compact_json({k: v for k, v in asdict(self).items() if v is not None})


@frozen(kw_only=True)
class Evidence(Value):
    """The evidence for a move to ``approved`` or ``done`` (host 3.1.0 and later).

    If a call has a `ReviewResult` as well, reviewer, verdict and reference must be the same in
    both (host 3.2.6 and later).
    """

    reviewer: str
    """Name of the person or agent who reviewed."""
    verdict: ReviewVerdict
    reference: str
    """A pointer to the review: a path, a URL, a commit."""
    repos: tuple[Mapping[str, Any], ...] = ()
    """The reviewed repositories and commits, in the host's format."""
    verification: tuple[Mapping[str, Any], ...] = ()
    """The checks that were run, in the host's format."""

    @classmethod
    def of(cls, review: ReviewResult) -> "Evidence":
        """Return the evidence that matches a review result."""
        return cls(reviewer=review.reviewer, verdict=review.verdict, reference=review.reference)

    def to_json(self) -> str:
        """Return the JSON text for ``--evidence-json``."""
        review = {
            "reviewer": self.reviewer,
            "verdict": self.verdict,
            "reference": self.reference,
        }
        lists = {"repos": list(self.repos), "verification": list(self.verification)}
        return compact_json({"review": review, **lists})
