"""Properties of a client under faults: it repeats no effect and denies none."""

from collections.abc import Callable
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from spec_kitty_client import Client, Retry, Review
from spec_kitty_client.errors import HostError, SpecKittyError
from spec_kitty_client.testing.faults import Fault, FaultyTransport, by_chance
from spec_kitty_client.testing.host import SimulatedHost
from tests.client.answers import POLICY
from tests.client.releases import RELEASES, SAMPLE
from tests.client.simulated import SLUG, Simulated

REVIEW = Review(reviewer="rev", reference="r1")
VERBS = ("contract-version", "--version", "mission-state", "start-review", "transition")
Script = dict[str, list[Fault | None]]

one_fault = st.none() | st.sampled_from(Fault)
scripts = st.dictionaries(st.sampled_from(VERBS), st.lists(one_fault, max_size=6))
releases = st.sampled_from(SAMPLE)


def host_in_progress(release: str) -> Simulated:
    """Return a host whose only work package is in progress."""
    host = Simulated(release)
    host.put("WP01", "in_progress", "ada")
    return host


def client(host: Simulated, script: Script, retry: Retry | None = None) -> Client:
    """Return a client of a host with faults."""
    faulty = FaultyTransport(host, script, noise=2_000, sleep=lambda _: None)
    return Client(actor="ada", policy=POLICY, transport=faulty, retry=retry)


def repeat_until_done(step: Callable[[], object], script: Script) -> None:
    """Repeat a step until it succeeds; each failure uses up a fault."""
    for _ in range(1 + sum(map(len, script.values()))):
        try:
            step()
        except SpecKittyError:
            continue
        return
    step()


@given(release=releases, script=scripts)
def test_a_work_package_gets_to_its_end(release: str, script: Script) -> None:
    """Verbs that are called until they succeed take each step of the board once."""
    host = host_in_progress(release)
    mine = client(host, script)
    repeat_until_done(lambda: mine.mission(SLUG).work_package("WP01").submit_for_review(), script)
    repeat_until_done(lambda: mine.mission(SLUG).work_package("WP01").begin_review(), script)
    repeat_until_done(lambda: mine.mission(SLUG).work_package("WP01").finish(REVIEW), script)

    review = ["in_review"] if RELEASES[release] not in ("F1", "F2", "M0") else []
    assert [to for _, _, to, _ in host.moves] == ["for_review", *review, "done"]


@given(release=releases, script=scripts, retried=st.booleans())
def test_a_call_is_honest_about_its_effect(release: str, script: Script, retried: bool) -> None:
    """The SDK never says `not_applied` of a move that the host made, with or without retries."""
    host = host_in_progress(release)
    retry = Retry(attempts=4, wait_initial=0, wait_max=0, wait_jitter=0) if retried else None
    mine = client(host, script, retry)
    for lane in ("for_review", "blocked", "canceled"):
        before, outcome = len(host.moves), "unknown"
        try:
            mine.transition(SLUG, "WP01", lane)
        except HostError as e:
            outcome = e.outcome
        except SpecKittyError:
            outcome = "unknown"
        assert len(host.moves) - before <= (outcome == "unknown")


@given(
    release=st.sampled_from(["3.2.3", "3.2.5", "3.2.7", "4.0.0rc7"]),
    random=st.randoms(use_true_random=False),
    rate=st.floats(0, 0.5),
)
def test_each_step_is_taken_once_despite_faults(release: str, random: Random, rate: float) -> None:
    """A work package takes each step once from claim to end, despite faults."""
    host = SimulatedHost(release=release)
    chance = by_chance(random, rate)
    faulty = FaultyTransport(
        host,
        lambda verb, calls: chance(verb, calls) if len(faulty.happened) < 20 else None,
        noise=2_000,
        sleep=lambda _: None,
    )
    mine = Client(actor="ada", policy=POLICY, transport=faulty)
    most: Script = {"transition": [None] * 20}
    repeat_until_done(lambda: mine.mission(host.mission.slug).work_package("WP01").claim(), most)
    repeat_until_done(
        lambda: mine.mission(host.mission.slug).work_package("WP01").submit_for_review(), most
    )
    repeat_until_done(
        lambda: mine.mission(host.mission.slug).work_package("WP01").begin_review(), most
    )
    repeat_until_done(
        lambda: mine.mission(host.mission.slug).work_package("WP01").finish(REVIEW), most
    )
    steps = ["claimed", "in_progress", "for_review", "in_review", "done"]
    assert [move.after for move in host.mission.moves] == steps


@given(faults=st.lists(one_fault, max_size=6))
def test_a_retry_repeats_no_effect(faults: list[Fault | None]) -> None:
    """The SDK never sends a note again that the host may have written, whatever retry allows."""
    host = host_in_progress("3.2.7")
    retry = Retry(attempts=None, timeout=None, wait_initial=0, wait_max=0, wait_jitter=0)
    mine = client(host, {"append-history": faults}, retry)
    try:
        mine.append_history(SLUG, "WP01", "a note")
        assert host.verbs.count("append-history") == 1
    except SpecKittyError:
        assert host.verbs.count("append-history") <= 1
