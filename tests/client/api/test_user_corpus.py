"""Recorded answers of real hosts, in missions as users have them (tests/record)."""

from functools import cache

import pytest
from packaging.version import Version

from spec_kitty_client import (
    Conflict,
    EnvironmentProblem,
    ErrorCode,
    HostCrashed,
    HostError,
    IntegrationFailed,
    NotFound,
    NotReady,
    Reply,
    TransitionRejected,
    UsageRejected,
)
from tests.client.api.test_corpus import RELEASES, answer_to, recorded
from tests.record.user_scenarios import PREFIXES

_BOXES = ", boxes below the heading"
_SINCE = {
    "subtasks: ": "1.0",
    "planning: ": "3.1",
    "sharing: ": "3.1",
    "topologies: ": "3.2",
    "endings: ": "2.1",
    "protection: ": "3.2",
}


@cache
def answers(release: str) -> dict[str, Reply | HostError]:
    """Return the answers to calls in missions as users have them, by scenario."""
    return {
        entry["scenario"].removesuffix(" (cut)"): answer_to(entry)[0]
        for entry in recorded(release)
        if entry["scenario"].startswith(PREFIXES)
    }


def since(first: str, end: str = "99") -> list[str]:
    """Return the recorded releases from one on, up to another."""
    return [r for r in RELEASES if Version(first) <= Version(r) < Version(end)]


@pytest.mark.parametrize("release", RELEASES)
def test_every_kind_of_mission_has_been_recorded(release: str) -> None:
    """Every release has recordings of each kind of mission that it supports."""
    for prefix, first in _SINCE.items():
        found = [name for name in answers(release) if name.startswith(prefix)]
        assert bool(found) == (release in since(first)), prefix


@pytest.mark.parametrize("release", since("2.1"))
def test_open_subtasks_are_refused_until_all_are_marked(release: str) -> None:
    """Hosts from 2.1 on refuse work with one open subtask, unless it is forced."""
    by_name = answers(release)
    where = _BOXES if f"subtasks: for_review{_BOXES}" in by_name else ""
    for what in ("", " with one of two marked"):
        assert isinstance(by_name[f"subtasks: for_review{what}{where}"], TransitionRejected), what
    for what in (" with all marked", " by force"):
        assert isinstance(by_name[f"subtasks: for_review{what}{where}"], Reply), what


def test_the_oldest_releases_do_not_look_at_subtasks() -> None:
    """1.0.x takes a work package for review although its boxes are open."""
    for release in since("1.0", "2.1"):
        assert isinstance(answers(release)["subtasks: for_review"], Reply)


@pytest.mark.parametrize("release", since("3.1.1", "3.2.6"))
def test_boxes_where_the_template_has_them_are_not_seen(release: str) -> None:
    """3.1.1 to 3.2.5 do not see the template's boxes, which are below another heading."""
    assert isinstance(answers(release)["subtasks: for_review"], Reply)


@pytest.mark.parametrize("release", since("2.1"))
def test_subtasks_complete_is_heeded_on_some_releases(release: str) -> None:
    """--subtasks-complete came with 3.1.0, and has had no effect since 3.2.6."""
    by_name = answers(release)
    where = _BOXES if f"subtasks: for_review{_BOXES}" in by_name else ""
    answer = by_name[f"subtasks: for_review with --subtasks-complete{where}"]
    if release in since("3.1", "3.2.6"):
        assert isinstance(answer, Reply)
    else:
        refusal = UsageRejected if release in since("2.1", "3.1") else TransitionRejected
        assert isinstance(answer, refusal)


@pytest.mark.parametrize("release", since("3.2.6"))
def test_a_work_package_without_the_key_subtasks_crashes_the_host(release: str) -> None:
    """3.2.6 and later crash without the key subtasks, and accept an empty list."""
    by_name = answers(release)
    assert isinstance(by_name["subtasks: for_review with no key subtasks"], HostCrashed)
    assert isinstance(by_name["subtasks: for_review with an empty list"], Reply)


@pytest.mark.parametrize("release", since("3.2.2"))
def test_a_dirty_lane_is_a_typed_refusal(release: str) -> None:
    """A claim is refused while the lane's worktree has another work package's changes."""
    by_name = answers(release)
    for what in ("start beside, dirty", "start the next, dirty", "start the next, untracked file"):
        answer = by_name[f"sharing: {what}"]
        assert isinstance(answer, IntegrationFailed), (what, answer)
        assert answer.code is ErrorCode.LANE_ALLOCATION_FAILED
    assert isinstance(by_name["sharing: start WP02 in its turn"], Reply)


@pytest.mark.parametrize(
    ("what", "error", "code"),
    [
        ("start another", Conflict, ErrorCode.WRITE_CHECKOUT_OCCUPIED),
        ("start, dirty checkout", NotReady, ErrorCode.WRITE_CHECKOUT_DIRTY),
        ("start, another branch", EnvironmentProblem, ErrorCode.WRITE_CHECKOUT_WRONG_BRANCH),
    ],
)
def test_a_primary_checkout_that_is_not_free_is_a_typed_refusal(
    what: str, error: type[HostError], code: ErrorCode
) -> None:
    """4.0.0rc7 has a code of its own for each reason against a claim under single_branch."""
    answer = answers("4.0.0rc7")[f"topologies: single_branch: {what}"]
    assert isinstance(answer, error)
    assert answer.code is code


@pytest.mark.parametrize("release", since("3.2.2"))
def test_planning_without_a_commit_is_refused(release: str) -> None:
    """3.2.2 and later refuse planning work for review before it is committed."""
    by_name = answers(release)
    assert isinstance(by_name["planning: for_review without a commit"], TransitionRejected)
    assert isinstance(by_name["planning: for_review"], Reply)


@pytest.mark.parametrize("release", [*since("3.2", "3.2.2"), *since("3.2.3", "3.3")])
def test_accept_dies_under_coord_when_all_is_finished(release: str) -> None:
    """These hosts crash at the acceptance of a coord mission, and the SDK raises HostCrashed."""
    by_name = answers(release)
    assert isinstance(by_name["topologies: coord: accept not ready"], NotReady)
    assert isinstance(by_name["topologies: coord: accept"], HostCrashed)


@pytest.mark.parametrize(
    ("release", "error"),
    [("3.2.1", HostCrashed), ("3.2.2", NotFound), ("3.2.6.2", IntegrationFailed)],
)
def test_nothing_starts_under_coord_on_some_releases(release: str, error: type[HostError]) -> None:
    """These hosts cannot start work under coord, and the SDK raises a typed error."""
    assert type(answers(release)["topologies: coord: start"]) is error


@pytest.mark.parametrize("release", ["3.2.5", "3.2.7"])
def test_a_status_that_was_committed_on_the_target_is_in_the_way(release: str) -> None:
    """The host refuses to merge a coord mission whose status is committed on the target."""
    by_name = answers(release)
    refused = by_name["topologies: coord, status on the target: merge"]
    assert isinstance(refused, IntegrationFailed)
    assert "CONFLICT" in str(refused.failure.data)
    assert isinstance(by_name["topologies: coord: merge"], Reply)


@pytest.mark.parametrize("release", since("2.1"))
def test_a_target_in_meta_json_is_gone_by_from_3_2_2_on(release: str) -> None:
    """Only hosts from 3.2.2 on merge into the merge_target_branch of meta.json."""
    by_name = answers(release)
    heeded = release in since("3.2.2")
    answer = by_name["endings: merge with merge_target_branch of no branch"]
    assert isinstance(answer, IntegrationFailed) == heeded
    answer = by_name["endings: merge with merge_target_branch and a target"]
    assert isinstance(answer, Reply)
