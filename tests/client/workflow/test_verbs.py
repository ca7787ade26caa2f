"""Tests of `spec_kitty_client.workflow.verbs`: the verbs that move a work package over the board.

The tests of verbs that need git are in `test_worktrees` and `test_merge`.
"""

import json
from collections.abc import Callable
from contextlib import suppress

import pytest

from spec_kitty_client import AsyncClient, Client, Lane, Moved, Review
from spec_kitty_client.errors import (
    Conflict,
    GitUnavailable,
    HostError,
    HostTimeout,
    NotFound,
    NotReady,
    TransitionRejected,
)
from spec_kitty_client.testing import SimulatedHost
from tests.client.answers import POLICY, Scripted, success
from tests.client.releases import EDGES, OPTIONLESS, RELEASES, SAMPLE
from tests.client.simulated import LOST, SLUG, AsyncWithGit, Fault, Simulated, WithGit

REVIEW = Review(reviewer="rev", reference="r1")
NO_REVIEW_LANE = ("F1", "F2", "M0")

MAKES_WORKTREES = ("3.2.2", "3.2.5", "3.2.7", "4.0.0rc7")
"""Releases that make the worktree, so that a claim needs no git of the SDK."""

every_host = pytest.mark.parametrize("release", SAMPLE)
every_fault = pytest.mark.parametrize("fault", LOST)


def client(host: Simulated, actor: str = "ada") -> Client:
    """Return a client with an actor and a policy."""
    return Client(actor=actor, policy=POLICY, transport=host)


def at(release: str, lane: str, actor: str = "ada") -> Simulated:
    """Return a host whose only work package is in a lane."""
    host = Simulated(release)
    host.put("WP01", lane, actor)
    return host


def in_review(release: str) -> str:
    """Return the lane in which this host has a work package while it is reviewed."""
    return "for_review" if RELEASES[release] in NO_REVIEW_LANE else "in_review"


Verb = Callable[[Client], Moved]
VERBS: dict[str, tuple[Verb, str, str]] = {
    "submit_for_review": (
        lambda c: c.mission(SLUG).work_package("WP01").submit_for_review(),
        "in_progress",
        "for_review",
    ),
    "begin_review": (
        lambda c: c.mission(SLUG).work_package("WP01").begin_review(),
        "for_review",
        "REVIEW",
    ),
    "approve": (
        lambda c: c.mission(SLUG).work_package("WP01").approve(REVIEW),
        "REVIEW",
        "approved",
    ),
    "request_changes": (
        lambda c: c.mission(SLUG).work_package("WP01").request_changes(REVIEW),
        "REVIEW",
        "in_progress",
    ),
    "finish": (lambda c: c.mission(SLUG).work_package("WP01").finish(REVIEW), "REVIEW", "done"),
    "finish approved": (
        lambda c: c.mission(SLUG).work_package("WP01").finish(REVIEW),
        "approved",
        "done",
    ),
    "block": (
        lambda c: c.mission(SLUG).work_package("WP01").block("no disk"),
        "in_progress",
        "blocked",
    ),
    "block in review": (
        lambda c: c.mission(SLUG).work_package("WP01").block("odd"),
        "REVIEW",
        "blocked",
    ),
}
"""Each verb, with the lane of its work package before and after it."""

F1 = tuple(r for r in SAMPLE if RELEASES[r] == "F1")
LATER = tuple(r for r in SAMPLE if r not in F1)
REVIEWED = tuple(r for r in SAMPLE if RELEASES[r] not in NO_REVIEW_LANE)
"""Releases with the lane in_review; those of LATER have the lane approved."""
CASES = [(v, r) for v in VERBS for r in SAMPLE if r in LATER or v != "finish approved"]
CHANGING = [(v, r) for v, r in CASES if r in REVIEWED or v != "begin_review"]
every_case = pytest.mark.parametrize(("verb", "release"), CASES)
changing_case = pytest.mark.parametrize(("verb", "release"), CHANGING)


def prepared(verb: str, release: str) -> tuple[Verb, Simulated, str]:
    """Return a verb, a host on which it may be called, and the lane it leads to."""
    call, before, after = VERBS[verb]
    words = {"REVIEW": in_review(release)}
    if release in F1:
        words["approved"] = "done"
    host = at(release, words.get(before, before))
    if host.lanes["WP01"] == "in_review":
        host.put("WP01", "in_review", "rev")
    return call, host, words.get(after, after)


@every_case
def test_a_verb_leads_to_its_lane(verb: str, release: str) -> None:
    """A verb leads to the same lane on every host, with at most one mutation."""
    call, host, after = prepared(verb, release)
    before = host.lanes["WP01"]
    moved = call(client(host))

    assert host.lanes["WP01"] == after
    assert moved == Moved(wp_id="WP01", lane=Lane(after), changed=after != before)
    assert len(host.mutations) == (after != before)


@every_case
def test_a_verb_that_is_repeated_changes_nothing(verb: str, release: str) -> None:
    """Every verb is idempotent."""
    call, host, after = prepared(verb, release)
    mine = client(host)
    call(mine)
    moves = list(host.moves)
    again = call(mine)

    assert host.moves == moves
    assert again == Moved(wp_id="WP01", lane=Lane(after), changed=False)


@every_case
@every_fault
def test_a_lost_answer_ends_in_the_same_state(verb: str, release: str, fault: Fault) -> None:
    """A lost answer at any call leads to the same state, and nothing is done twice."""
    call, host, after = prepared(verb, release)
    before = host.lanes["WP01"]
    for name in ("transition", "start-review"):
        host.faults[name] = [fault]
    moved = call(client(host))

    assert host.lanes["WP01"] == after
    assert moved.lane == after
    assert len(host.moves) == (after != before)
    assert moved.changed is (after != before and "before" in fault)


@changing_case
def test_a_host_that_stays_silent_is_an_error(verb: str, release: str) -> None:
    """A verb calls the host twice at most, and the outcome of its error is unknown."""
    call, host, _ = prepared(verb, release)
    for name in ("transition", "start-review"):
        host.faults[name] = [Fault.TIMEOUT_BEFORE] * 3

    with pytest.raises(HostTimeout) as e:
        call(client(host))
    assert e.value.outcome == "unknown"
    assert len(host.mutations) == 2


@every_case
def test_force_goes_out_only_where_there_is_no_option(verb: str, release: str) -> None:
    """A verb sends --force only where the host lacks an option, with a note that says so."""
    call, host, after = prepared(verb, release)
    before = host.lanes["WP01"]
    call(client(host))
    guard = EDGES[RELEASES[release]].get((before, after), "")
    forced = [o for o in host.sent("transition") if "force" in o]

    assert bool(forced) is (guard in OPTIONLESS.get(RELEASES[release], ()))
    for options in forced:
        assert "forced" in options["note"]
        assert (options["review-ref"] in options["note"]) or verb.startswith("block")


@every_case
def test_no_verb_leaves_the_rules_of_the_board(verb: str, release: str) -> None:
    """From any lane a verb makes only moves that its host allows, by force or without."""
    rules = EDGES[RELEASES[release]]
    for lane in {before for before, _ in rules}:
        host = at(release, lane)
        with suppress(TransitionRejected):
            VERBS[verb][0](client(host))
        assert len(host.moves) <= 1
        for _, before, after, forced in host.moves:
            assert rules[before, after] in OPTIONLESS.get(RELEASES[release], ()) or not forced


WRONG = {
    "begin_review": ("planned", "in_progress", "done", "blocked", "canceled"),
    "approve": ("planned", "blocked", "canceled"),
    "request_changes": ("planned", "done", "canceled"),
    "finish": ("planned", "in_progress", "blocked", "canceled"),
    "block": ("done", "canceled"),
    "submit_for_review": ("planned", "blocked", "canceled"),
}


@every_host
@pytest.mark.parametrize(("verb", "lane"), [(v, lane) for v in WRONG for lane in WRONG[v]])
def test_a_verb_from_a_wrong_lane_is_refused(verb: str, lane: str, release: str) -> None:
    """A verb from a wrong lane raises TransitionRejected, and moves nothing."""
    host = at(release, lane)

    with pytest.raises(TransitionRejected):
        VERBS[verb][0](client(host))
    assert host.moves == []


@pytest.mark.parametrize("release", REVIEWED)
@pytest.mark.parametrize("verb", ["approve", "finish", "request_changes"])
def test_nothing_is_judged_before_its_review_has_begun(verb: str, release: str) -> None:
    """A work package that waits for its review is never judged or forced."""
    host = at(release, "for_review")

    with pytest.raises(TransitionRejected):
        VERBS[verb][0](client(host))
    assert host.moves == []
    assert not [o for o in host.sent("transition") if "force" in o]


@every_host
@pytest.mark.parametrize("verb", ["approve", "request_changes", "block", "finish"])
def test_a_work_package_that_is_none_is_told(verb: str, release: str) -> None:
    """An unknown work package raises the same error on every host."""
    host = Simulated(release, {"WP02": []})

    with pytest.raises(NotFound):
        VERBS[verb][0](client(host))
    assert host.moves == []


# The calls of each host.


def sent(verb: str, release: str) -> dict[str, str]:
    """Return the options of the one transition or review that a verb sends."""
    call, host, _ = prepared(verb, release)
    call(client(host))
    (options,) = [o for v, o in host.calls if v in host.mutations]
    return options


def verdict_options(options: dict[str, str]) -> set[str]:
    """Return the options of a call that carry a verdict."""
    return options.keys() & {"force", "evidence-json", "review-result-json", "review-ref"}


@pytest.mark.parametrize(
    ("release", "to", "given"),
    [
        ("1.0.3", "done", {"review-ref"}),
        ("3.0.3", "approved", {"review-ref", "force"}),
        ("3.1.0", "approved", {"review-ref", "evidence-json"}),
        ("3.1.10", "approved", {"review-ref", "evidence-json", "force"}),
        ("3.2.1", "approved", {"review-ref", "evidence-json", "force"}),
        ("3.2.5", "approved", {"review-ref", "evidence-json", "force"}),
        ("3.2.7", "approved", {"review-ref", "evidence-json", "review-result-json"}),
        ("4.0.0rc7", "approved", {"review-ref", "evidence-json", "review-result-json"}),
    ],
)
def test_what_an_approval_brings_along(release: str, to: str, given: set[str]) -> None:
    """An approval sends all evidence for which the host has options."""
    options = sent("approve", release)

    assert options["to"] == to
    assert verdict_options(options) == given


@every_host
def test_an_approval_says_who_has_judged(release: str) -> None:
    """An approval sends the same reviewer, verdict and reference in each of its options."""
    options = sent("approve", release)

    assert options["actor"] == "ada"
    assert options["review-ref"] == "r1"
    if "evidence-json" in options:
        assert json.loads(options["evidence-json"])["review"] == {
            "reviewer": "rev",
            "verdict": "approved",
            "reference": "r1",
        }
    if "force" in options:
        assert "approved by rev (r1)" in options["note"]


@pytest.mark.parametrize(
    ("release", "verb", "given"),
    [
        ("1.0.3", "start-review", {"review-ref"}),
        ("3.0.3", "start-review", {"review-ref"}),
        ("3.1.0", "start-review", {"review-ref"}),
        ("3.1.10", "transition", {"review-ref", "force"}),
        ("3.2.1", "transition", {"review-ref", "force"}),
        ("3.2.5", "transition", {"review-ref", "force"}),
        ("3.2.7", "transition", {"review-ref", "review-result-json"}),
        ("4.0.0rc7", "transition", {"review-ref", "review-result-json"}),
    ],
)
def test_how_changes_are_requested(release: str, verb: str, given: set[str]) -> None:
    """Changes are requested with start-review up to 3.1.0, and never with evidence."""
    call, host, _ = prepared("request_changes", release)
    call(client(host))
    (options,) = host.sent(verb)

    assert host.mutations == [verb]
    assert verdict_options(options) == given
    assert options["review-ref"] == "r1"
    if "review-result-json" in options:
        assert json.loads(options["review-result-json"])["verdict"] == "changes_requested"


@every_host
@pytest.mark.parametrize("note", [None, "see the log"])
def test_a_note_of_the_caller_is_kept(release: str, note: str | None) -> None:
    """A note that the SDK adds does not replace the caller's note."""
    _, host, _ = prepared("approve", release)
    client(host).mission(SLUG).work_package("WP01").approve(REVIEW, note=note)
    (options,) = host.sent("transition")

    assert options.get("note", "").startswith(note or "")
    assert ("note" in options) is bool(note or "force" in options)


@every_host
def test_the_path_of_feedback_reaches_the_hosts_that_take_it(release: str) -> None:
    """The SDK sends feedback_path in the review result, from 3.2.6 on."""
    _, host, _ = prepared("request_changes", release)
    review = Review(reviewer="rev", reference="r1", feedback_path="notes.md")
    client(host).mission(SLUG).work_package("WP01").request_changes(review)
    result = (host.sent("transition") or [{}])[0].get("review-result-json")

    assert (result is not None) is host.since("3.2.6")
    if result is not None:
        assert json.loads(result)["feedback_path"] == "notes.md"


@pytest.mark.parametrize("release", LATER)
def test_changes_can_be_requested_of_what_was_approved(release: str) -> None:
    """Changes can be requested after an approval."""
    host = at(release, "approved")
    moved = (
        client(host).mission(SLUG).work_package("WP01").request_changes(REVIEW, lane=Lane.APPROVED)
    )

    assert moved.changed
    assert host.moves == [("WP01", "approved", "in_progress", False)]


@every_host
def test_a_known_lane_saves_a_read(release: str) -> None:
    """With a known lane and no force, a verb makes one call."""
    before, after = "for_review" if release in F1 else "approved", "done"
    host = at(release, before)
    mine = client(host)
    mine.negotiate()
    asked = len(host.calls)
    mine.mission(SLUG).work_package("WP01").finish(REVIEW, lane=Lane(before))
    forced = EDGES[RELEASES[release]][before, after] in OPTIONLESS.get(RELEASES[release], ())

    assert host.verbs[asked:] == (["mission-state"] if forced else []) + ["transition"]


@pytest.mark.parametrize("release", LATER)
def test_a_lane_that_is_wrong_forces_nothing(release: str) -> None:
    """Before a forced move the SDK reads the lane, whatever the caller passed."""
    host = at(release, "planned")

    with pytest.raises(TransitionRejected):
        client(host).mission(SLUG).work_package("WP01").finish(REVIEW, lane=Lane.APPROVED)
    assert host.moves == []


@pytest.mark.parametrize(
    ("release", "lane"),
    [
        (r, before)
        for r in SAMPLE
        for before, after in EDGES[RELEASES[r]]
        if after == "blocked" and before not in ("done", "canceled", "blocked")
    ],
)
def test_a_reason_goes_into_the_history(release: str, lane: str) -> None:
    """`block` sends its reason as the note, from every lane."""
    host = at(release, lane)
    client(host).mission(SLUG).work_package("WP01").block("no disk")
    (options,) = host.sent("transition")

    assert options["note"].startswith("no disk")
    assert host.lanes["WP01"] == "blocked"


def test_blocking_in_a_review_names_who_has_judged() -> None:
    """Blocking in a review sends a review result of the actor, with a reference."""
    host = at("3.2.7", "in_review")
    client(host).mission(SLUG).work_package("WP01").block("odd")
    result = json.loads(host.sent("transition")[0]["review-result-json"])

    assert (result["reviewer"], result["verdict"]) == ("ada", "changes_requested")
    assert "WP01" in result["reference"]


# Claims and reviews of other actors.


@pytest.mark.parametrize("release", MAKES_WORKTREES)
def test_a_claim_of_somebody_else_is_not_ours(release: str) -> None:
    """The error of a second claim names the actor who has the work package."""
    host = Simulated(release)
    client(host, "bob").start_implementation(SLUG, "WP01")

    with pytest.raises(Conflict) as e:
        client(host).mission(SLUG).work_package("WP01").claim()
    assert e.value.failure.data["claimed_by"] == "bob"
    assert host.owners == {"WP01": "bob"}


@pytest.mark.parametrize("release", MAKES_WORKTREES)
def test_a_claim_that_was_lost_to_somebody_else_is_not_ours(release: str) -> None:
    """A claim refused at the retry is still another actor's claim."""
    host = Simulated(release)
    host.put("WP01", "in_progress", "bob")
    host.faults["start-implementation"] = [Fault.TIMEOUT_BEFORE]

    with pytest.raises(Conflict):
        client(host).mission(SLUG).work_package("WP01").claim()
    assert host.moves == []


@pytest.mark.parametrize("release", ["1.0.3", "2.1.3", "3.1.10", "3.2.1"])
def test_a_claim_that_needs_git_is_not_made_without_it(release: str) -> None:
    """On hosts that make no worktree the SDK refuses a claim through a transport without git."""
    host = Simulated(release)

    with pytest.raises(GitUnavailable):
        client(host).mission(SLUG).work_package("WP01").claim()
    assert host.mutations == []


@pytest.mark.parametrize("release", ["3.2.1", "3.2.5"])
@pytest.mark.parametrize("fault", [None, Fault.TIMEOUT_BEFORE])
def test_a_review_of_somebody_else_is_not_ours(release: str, fault: Fault | None) -> None:
    """The SDK raises Conflict for another actor's review, where the host knows the actor."""
    host = at(release, "in_review", "bob")
    host.faults["start-review"] = [fault]

    with pytest.raises(Conflict):
        client(host).mission(SLUG).work_package("WP01").begin_review()
    assert host.owners["WP01"] == "bob"


@pytest.mark.parametrize("release", ["3.1.10", "3.2.7", "4.0.0rc7"])
def test_a_review_that_may_be_somebody_elses_is_no_change(release: str) -> None:
    """Where the host does not name the reviewer, beginning a begun review changes nothing."""
    host = at(release, "in_review", "bob")

    assert client(host).mission(SLUG).work_package("WP01").begin_review().changed is False
    assert host.moves == []


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3", "3.1.10"])
def test_dependencies_are_checked_where_the_host_does_not(release: str) -> None:
    """Up to 3.1.x the SDK refuses open dependencies with the error of newer hosts."""
    host = Simulated(release, {"WP01": [], "WP02": ["WP01"]})
    host.put("WP01", "in_progress")

    with pytest.raises(NotReady) as e:
        client(host).mission(SLUG).work_package("WP02").claim()
    assert e.value.failure.data["unsatisfied_dependencies"] == ["WP01"]
    assert host.mutations == []


@pytest.mark.parametrize("release", MAKES_WORKTREES)
def test_dependencies_are_left_to_the_host_that_checks_them(release: str) -> None:
    """On hosts that check dependencies, a claim makes one call."""
    host = Simulated(release, {"WP01": [], "WP02": ["WP01"]})

    with pytest.raises(NotReady):
        client(host).mission(SLUG).work_package("WP02").claim()
    assert host.mutations == ["start-implementation"]
    assert "mission-state" not in host.verbs


def test_a_mission_without_work_packages_is_not_found() -> None:
    """The SDK raises NotFound for an empty mission, and names the branch as the reason."""
    host = Simulated("3.2.7")
    host.mission.packages.clear()

    with pytest.raises(NotFound, match="is not checked out"):
        client(host).mission(SLUG).work_package("WP01").block("no disk")


@pytest.mark.anyio
@every_host
async def test_a_whole_review_async(release: str) -> None:
    """The async client makes the same calls for a whole review."""
    host = WithGit(release)
    host.put("WP01", "in_progress")
    mine = AsyncClient(actor="ada", policy=POLICY, transport=AsyncWithGit(host))

    assert (await mine.mission(SLUG).work_package("WP01").submit_for_review()).changed
    await mine.mission(SLUG).work_package("WP01").begin_review()
    assert (
        await mine.mission(SLUG).work_package("WP01").request_changes(REVIEW)
    ).lane == "in_progress"
    await mine.mission(SLUG).work_package("WP01").submit_for_review()
    await mine.mission(SLUG).work_package("WP01").begin_review()
    assert (await mine.mission(SLUG).work_package("WP01").approve(REVIEW)).changed
    assert (await mine.mission(SLUG).work_package("WP01").finish(REVIEW)).lane == "done"
    with pytest.raises(HostError):
        await mine.mission(SLUG).work_package("WP01").block("too late")
    assert host.lanes["WP01"] == "done"


def test_a_board_without_events_is_not_believed() -> None:
    """A watch raises NotFound for a board without events, as after a lost event log."""
    summary = dict.fromkeys(("planned", "in_review", "done"), 0)
    packages = [{"wp_id": "WP01", "lane": "planned", "dependencies": [], "last_actor": None}]
    board = {"mission_slug": "m", "summary": summary, "work_packages": packages}
    host = Scripted(success("mission-state", board))
    with pytest.raises(NotFound, match="no events"):
        next(Client(transport=host).mission("m").watch())


@pytest.mark.parametrize("name", ["01K00001", "demo", "01K00001ABCDEFGHJKMNPQRSTV"])
def test_a_claim_by_an_id_works_where_merge_looks(name: str) -> None:
    """A worktree is named after the mission's slug, whatever the mission is called by."""
    host = SimulatedHost(release="3.2.7")
    host.mission.names = (*host.mission.names, "demo")
    mine = Client(transport=host, actor="me", policy=POLICY)
    claimed = mine.mission(name).work_package("WP01").claim()
    assert claimed.lane_branch == f"kitty/mission-{host.mission.slug}-lane-a"
    assert mine.mission(name).work_package("WP01").locate().workspace_path == claimed.workspace_path


def test_a_claim_by_the_slug_takes_one_call() -> None:
    """A claim by slug makes no read."""
    host = SimulatedHost(release="3.2.7")
    Client(transport=host, actor="me", policy=POLICY).mission(host.mission.slug).work_package(
        "WP01"
    ).claim()
    assert [asked.verb for asked in host.calls] == ["contract-version", "start-implementation"]
