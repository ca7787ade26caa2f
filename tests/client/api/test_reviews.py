"""Tests of `spec_kitty_client.api.reviews`."""

import json

import attrs

from spec_kitty_client.api.reviews import Evidence, ReviewResult, ReviewVerdict

APPROVED = ReviewResult(reviewer="rev", verdict=ReviewVerdict.APPROVED, reference="r2")


def test_a_review_result_is_sent_as_the_host_wants_it() -> None:
    """A review result has three fields, and feedback_path only if it is given."""
    with_path = attrs.evolve(APPROVED, feedback_path="notes.md")
    plain = {"reviewer": "rev", "verdict": "approved", "reference": "r2"}

    assert json.loads(APPROVED.to_json()) == plain
    assert json.loads(with_path.to_json()) == {**plain, "feedback_path": "notes.md"}


def test_evidence_agrees_with_the_review_result_it_is_made_of() -> None:
    """`Evidence.of` has the review of its result, because hosts refuse a difference."""
    evidence = json.loads(Evidence.of(APPROVED).to_json())

    assert evidence["review"] == json.loads(APPROVED.to_json())
    assert evidence["repos"] == evidence["verification"] == []


def test_evidence_keeps_what_was_verified() -> None:
    """Evidence sends its two lists unchanged."""
    evidence = attrs.evolve(
        Evidence.of(APPROVED), repos=({"commit": "abc"},), verification=({"ran": "tests"},)
    )
    sent = json.loads(evidence.to_json())

    assert sent["repos"] == [{"commit": "abc"}]
    assert sent["verification"] == [{"ran": "tests"}]
