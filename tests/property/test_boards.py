"""Properties of a mission's board, for any sequence of verbs and any lost answers."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec_kitty_client import Client, Lane, Moved, Review
from spec_kitty_client.errors import HostError, SpecKittyError
from spec_kitty_client.testing import Fault
from tests.client.answers import POLICY
from tests.client.releases import EDGES, OPTIONLESS, RELEASES
from tests.client.simulated import LOST, SLUG, Simulated

HOSTS = ("1.0.3", "3.0.3", "3.1.0", "3.1.10", "3.2.1", "3.2.5", "3.2.7", "4.0.0rc7")
"""One release of each dialect."""
REVIEW = Review(reviewer="rev", reference="r1")

Verb = Callable[[Client, Lane | None], object]
Sequence = list[tuple[str, str, Lane | None, list[Fault | None]]]
"""Verbs, each with its actor, the lane that the caller expects, and the faults of its calls."""
VERBS: dict[str, Verb] = {
    "start": lambda c, _: c.start_implementation(SLUG, "WP01"),
    "submit": lambda c, _: c.mission(SLUG).work_package("WP01").submit_for_review(note="n"),
    "begin": lambda c, lane: c.mission(SLUG).work_package("WP01").begin_review(lane=lane),
    "approve": lambda c, _: c.mission(SLUG).work_package("WP01").approve(REVIEW),
    "reject": lambda c, lane: (
        c.mission(SLUG).work_package("WP01").request_changes(REVIEW, lane=lane)
    ),
    "finish": lambda c, lane: c.mission(SLUG).work_package("WP01").finish(REVIEW, lane=lane),
    "block": lambda c, lane: c.mission(SLUG).work_package("WP01").block("no disk", lane=lane),
}
faults = st.none() | st.sampled_from(LOST)
lanes = st.none() | st.sampled_from(Lane)
"""The lane that the caller expects, rightly or wrongly."""
steps = st.tuples(
    st.sampled_from(sorted(VERBS)),
    st.sampled_from(["ada", "bob"]),
    lanes,
    st.lists(faults, max_size=3),
)
every_host = pytest.mark.parametrize("release", HOSTS)
sequences = st.lists(steps, max_size=10)
likely = st.lists(
    st.tuples(
        st.sampled_from(["start", "submit", "begin", "approve", "reject", "finish"]),
        st.just("ada"),
        st.none(),
        st.lists(faults, max_size=2),
    ),
    min_size=4,
    max_size=12,
)


def play(release: str, sequence: Sequence) -> Simulated:
    """Call verb after verb, some of which lose their answers, and return the host."""
    host = Simulated(release)
    for verb, actor, lane, lost in sequence:
        for name in ("start-implementation", "start-review", "transition"):
            host.faults[name] = list(lost)
        with suppress(SpecKittyError):
            VERBS[verb](Client(actor=actor, policy=POLICY, transport=host), lane)
    return host


@every_host
@settings(max_examples=40)
@given(sequences | likely)
def test_no_sequence_of_verbs_leaves_the_rules_of_the_board(
    release: str, sequence: Sequence
) -> None:
    """The host makes only moves that its dialect allows, also when the SDK sends --force."""
    dialect = RELEASES[release]
    for _, before, after, _ in play(release, sequence).moves:
        assert (before, after) in EDGES[dialect]


@every_host
@settings(max_examples=40)
@given(sequences | likely)
def test_force_is_sent_only_where_there_is_no_option(release: str, sequence: Sequence) -> None:
    """The SDK sends --force only for a rule whose option the host lacks, and with a note."""
    dialect = RELEASES[release]
    host = play(release, sequence)
    optionless = OPTIONLESS.get(dialect, set())
    for options in host.sent("transition"):
        if "force" in options:
            ways = {guard for (_, after), guard in EDGES[dialect].items() if after == options["to"]}
            assert optionless & ways
            assert "forced, because" in options["note"]
    for _, before, after, forced in host.moves:
        assert not forced or EDGES[dialect][before, after] in optionless


@every_host
@settings(max_examples=40)
@given(likely, st.sampled_from(["submit", "begin", "approve", "reject", "finish", "block"]))
def test_what_a_verb_says_is_so(release: str, sequence: Sequence, verb: str) -> None:
    """After a verb without an error, the board shows its result, by at most one move."""
    host = play(release, sequence)
    host.faults.clear()
    moves = len(host.moves)
    try:
        moved = VERBS[verb](Client(actor="ada", policy=POLICY, transport=host), None)
    except HostError:
        assert len(host.moves) == moves
    else:
        assert isinstance(moved, Moved)
        assert host.lanes["WP01"] == moved.lane
        assert len(host.moves) == moves + moved.changed


@every_host
@settings(max_examples=40)
@given(likely, st.sampled_from(["submit", "begin", "approve", "reject", "finish", "block"]), faults)
def test_a_lost_answer_makes_no_difference(
    release: str,
    sequence: Sequence,
    verb: str,
    fault: Fault | None,
) -> None:
    """A verb with one lost answer ends in the same state as without."""
    ends = []
    for lost in ([], [fault]):
        host = play(release, sequence)
        for name in ("start-review", "transition"):
            host.faults[name] = list(lost)
        try:
            VERBS[verb](Client(actor="ada", policy=POLICY, transport=host), None)
        except HostError as e:
            ends.append((host.lanes, host.moves, e.code))
        else:
            ends.append((host.lanes, host.moves, None))
    assert ends[0] == ends[1]
