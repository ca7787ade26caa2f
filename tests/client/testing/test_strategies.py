"""Tests of the strategies: the kinds of examples that they draw, and the simplest ones."""

import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from random import Random
from typing import TypeVar

import attrs
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from spec_kitty_client.api.commands import (
    MergeMission,
    MissionState,
    StartImplementation,
    Transition,
)
from spec_kitty_client.api.envelope import find as find_envelope
from spec_kitty_client.api.spelling import spell, to_newest_names
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.codes import Family, parse_code
from spec_kitty_client.contract.dialects import Dialect, dialect_of
from spec_kitty_client.contract.lanes import Lane, UnknownLane, lanes_of, moves
from spec_kitty_client.testing import strategies
from spec_kitty_client.testing.host import SimulatedHost
from spec_kitty_client.testing.strategies import Flaw, HostScript, Shape
from spec_kitty_client.testing.strategies.contracts import hosts
from spec_kitty_client.transports import Completed
from tests.client.api.test_corpus import RELEASES, call_of, recorded

T = TypeVar("T")
LIFECYCLE = tuple(VERBS)[:10]
every_dialect = pytest.mark.parametrize("dialect", Dialect)
every_shape = pytest.mark.parametrize("shape", Shape)


def examples(strategy: st.SearchStrategy[T], most: int = 300) -> list[T]:
    """Return examples that are the same in every run."""
    drawn: list[T] = []

    @settings(
        max_examples=most,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: T) -> None:
        drawn.append(value)

    draw()
    return drawn


def simplest(strategy: st.SearchStrategy[T], wanted: Callable[[T], bool] = lambda _: True) -> T:
    """Return the simplest example for which a condition holds."""
    quiet = settings(max_examples=2000, database=None, deadline=None)
    return find(strategy, wanted, settings=quiet, random=Random(7))  # noqa: S311 - a fixed seed


# Hosts and their boards


def test_every_dialect_is_reached() -> None:
    """`dialects` and `contracts` draw every dialect and every host."""
    assert set(examples(strategies.dialects(), 100)) == set(Dialect)
    assert set(examples(strategies.contracts(), 300)) == set(hosts())
    assert {host.dialect for host in hosts()} == set(Dialect)


@every_dialect
def test_a_host_speaks_the_dialect_that_was_asked_for(dialect: Dialect) -> None:
    """The hosts of a dialect are of no other, and the oldest is its first release."""
    assert {host.dialect for host in hosts(dialect)} == {dialect}
    assert min(host.release for host in hosts(dialect)) == dialect.first_release


@every_dialect
def test_every_lane_is_reached(dialect: Dialect) -> None:
    """`lanes` draws every lane of a dialect."""
    assert set(examples(strategies.lanes(dialect), 100)) == lanes_of(dialect)


def test_lanes_without_a_dialect_are_all_lanes() -> None:
    """`lanes` without a dialect draws every lane, and unknown ones only if asked to."""
    assert set(examples(strategies.lanes(), 100)) == set(Lane)
    kinds = Counter(type(lane) for lane in examples(strategies.lanes(unknown=True)))
    assert kinds[Lane] == len(Lane)
    assert kinds[UnknownLane] > 50


@every_dialect
def test_every_pair_of_lanes_is_reached_once_as_a_move(dialect: Dialect) -> None:
    """`transitions` draws every pair of lanes, either as allowed or as forbidden."""
    pairs = {
        allowed: {
            (m.before, m.after) for m in examples(strategies.transitions(dialect, allowed=allowed))
        }
        for allowed in (True, False)
    }
    lanes = lanes_of(dialect)

    assert pairs[True] == moves(dialect).keys()
    assert pairs[False] == {(a, b) for a in lanes for b in lanes} - pairs[True]


def test_boards_shrink_to_their_beginning() -> None:
    """The simplest lane, dialect and move are the first ones."""
    assert simplest(strategies.lanes(unknown=True)) is Lane.PLANNED
    assert simplest(strategies.dialects()) is Dialect.F1
    assert str(simplest(strategies.contracts()).release) == "1.0.0"
    move = simplest(strategies.transitions(Dialect.M4))
    assert (move.before, move.after) == (Lane.PLANNED, Lane.CLAIMED)


# Envelopes


@cache
def printed() -> list[strategies.Printed]:
    """Return a thousand drawn outputs of hosts."""
    return examples(strategies.envelopes(), 1000)


def test_every_family_of_codes_is_reached() -> None:
    """`envelopes` draws refusals with codes of every family, and successes."""
    codes = [p.envelope.error_code for p in printed() if p.envelope and p.envelope.error_code]
    families = Counter(parse_code(code).family for code in codes)

    assert families.keys() == set(Family)
    assert min(families.values()) >= 10
    assert sum(p.exit_code == 0 for p in printed()) > 100


def test_every_contract_and_verb_is_reached() -> None:
    """`envelopes` draws all contract versions and further ones, and all verbs and "unknown"."""
    envelopes = [p.envelope for p in printed() if p.envelope]
    versions = {e.contract_version for e in envelopes}
    names = {e.command.removeprefix("orchestrator-api.") for e in envelopes}

    assert versions > {str(host.version) for host in hosts()}
    assert names > {*VERBS, "unknown", "feature-state", "consolidate-mission"}


@pytest.mark.parametrize(
    "has",
    [
        lambda out: not out.strip().startswith(b"{"),  # something before
        lambda out: not out.strip().endswith(b"}"),  # something after
        lambda out: out.count(b"\n") == 1,  # nothing but the envelope
        lambda out: b"\\u" in out,  # escapes
        lambda out: "é".encode() in out,  # none
        lambda out: b"\\udcff" in out,  # half a character
        lambda out: b"\xff" in out,  # no text
        lambda out: b"\r\n" in out,
    ],
    ids=["before", "after", "alone", "escapes", "utf-8", "surrogate", "no text", "crlf"],
)
def test_every_way_to_print_is_reached(has: Callable[[bytes], bool]) -> None:
    """`envelopes` draws each kind of output at least 20 times in a thousand."""
    assert sum(has(p.stdout) for p in printed()) >= 20


def test_unknown_fields_are_reached() -> None:
    """`envelopes` draws envelopes with further keys."""
    seven = {"contract_version", "command", "timestamp", "correlation_id", "success"}
    seven |= {"error_code", "data"}
    more = 0
    for p in printed():
        lines = [line.strip() for line in p.stdout.split(b"\n") if b'"correlation_id"' in line]
        whole = [line for line in lines if line.startswith(b"{")]  # not spread over several
        more += any(json.loads(line).keys() > seven for line in whole)
    assert more > 100


def test_every_flaw_is_reached_with_and_without_an_answer() -> None:
    """`near_envelopes` draws each flaw alone, and beside a valid envelope."""
    near = examples(strategies.near_envelopes(), 700)
    alone = Counter(p.flaw for p in near if p.envelope is None)
    beside = Counter(p.flaw for p in near if p.envelope is not None)

    assert alone.keys() == set(Flaw) - {Flaw.SUPERSEDED, Flaw.SPREAD}
    assert beside.keys() == set(Flaw)
    assert all(p.flaw is None for p in printed())


def test_envelopes_shrink_to_one_plain_line() -> None:
    """The simplest envelope is an empty success on one line; the simplest refusal has no data."""
    plain = simplest(strategies.envelopes())
    assert plain.stdout.endswith(b'"success": true, "error_code": null, "data": {}}\n')
    assert plain.stdout.startswith(
        b'{"contract_version": "1.0.0", "command": "orchestrator-api.con'
    )
    assert simplest(strategies.envelopes(), lambda p: b"\n{" in p.stdout).stdout[1:] == plain.stdout
    refused = simplest(strategies.envelopes(), lambda p: p.exit_code == 1)
    assert refused.envelope is not None
    assert refused.envelope.data == {}
    assert refused.stdout.count(b"\n") == 1


def test_near_envelopes_shrink_to_a_missing_key() -> None:
    """The simplest near-envelope is one line without its first key, or only a brace if cut."""
    near = simplest(strategies.near_envelopes())
    assert (near.flaw, near.envelope) == (Flaw.MISSING_KEY, None)
    assert near.stdout.startswith(b'{"command": "orchestrator-api.contract-version"')
    cut = simplest(strategies.near_envelopes(), lambda p: p.flaw is Flaw.TRUNCATED)
    assert cut.stdout == b"{\n"


# Replies


def answer_fields(completed: Completed) -> tuple[str, frozenset[str]]:
    """Return the host's name for the verb of an answer, and the fields of its data."""
    envelope, _ = find_envelope(completed.stdout.decode())
    assert envelope is not None
    name = envelope.command.removeprefix("orchestrator-api.")
    return name, frozenset(envelope.data)


def recorded_fields(verb: str, dialect: Dialect) -> set[tuple[str, frozenset[str]]]:
    """Return the same of the recorded answers, without fields that the SDK does not name."""
    kind = VERBS[verb]
    ours = {a.name for a in attrs.fields(kind.reply_type)} | {"feature_slug"}
    found = set()
    for release in RELEASES:
        for entry in recorded(release) if dialect_of(Version(release)) is dialect else ():
            envelope, _ = find_envelope(entry["stdout"])
            if envelope and envelope.success and call_of(entry) is kind:
                name = envelope.command.removeprefix("orchestrator-api.")
                found.add((name, frozenset(envelope.data.keys() & ours)))
    return found


ANSWERED = [(v, d) for v in LIFECYCLE for d in Dialect if recorded_fields(v, d)]


def test_hosts_answer_each_verb_in_nearly_every_dialect() -> None:
    """The recorded corpus has answers of nearly every dialect to each verb."""
    missing = {(v, d) for v in LIFECYCLE for d in Dialect} - {*ANSWERED}
    assert {v for v, _ in missing} == {"resolve-workspace"}
    assert len(missing) == 5


@pytest.mark.parametrize(("verb", "dialect"), ANSWERED)
def test_answers_have_the_fields_of_real_ones(verb: str, dialect: Dialect) -> None:
    """Drawn replies have the names of verbs and the fields that real hosts answered."""
    real = recorded_fields(verb, dialect)
    kind = VERBS[verb]
    ours = {a.name for a in attrs.fields(kind.reply_type)} | {"feature_slug"}
    ours -= {"origin_warnings"}  # only where a host did not compare with the remote
    drawn = {answer_fields(c) for c in examples(strategies.replies(kind, dialect), 40)}

    assert {(name, fields & ours) for name, fields in drawn} == real


def nested(completed: Completed) -> frozenset[frozenset[str]]:
    """Return the sets of fields that the work packages of an answer have."""
    envelope, _ = find_envelope(completed.stdout.decode())
    assert envelope is not None
    lists = [envelope.data.get(n, []) for n in ("work_packages", "ready_work_packages")]
    return frozenset(frozenset(wp) for wps in lists for wp in wps)


@pytest.mark.parametrize("release", RELEASES)
def test_boards_have_the_fields_of_real_ones(release: str) -> None:
    """Drawn boards, lists and summaries have the same fields as real ones."""
    dialect = dialect_of(Version(release))
    for verb in ("mission-state", "list-ready"):
        real: set[frozenset[str]] = set()
        counted: set[tuple[str, ...]] = set()
        for entry in recorded(release):
            envelope, _ = find_envelope(entry["stdout"])
            if envelope and envelope.success and call_of(entry) is VERBS[verb]:
                lists = [envelope.data.get(n, []) for n in ("work_packages", "ready_work_packages")]
                real |= {frozenset(wp) for wps in lists for wp in wps}
                counted.add(tuple(envelope.data.get("summary", ())))
        drawn = examples(strategies.replies(VERBS[verb], dialect), 60)
        assert set().union(*map(nested, drawn)) == real
        summaries = {tuple(json.loads(c.stdout)["data"].get("summary", ())) for c in drawn}
        assert {frozenset(s) for s in summaries} == {frozenset(s) for s in counted}


def test_unknown_fields_and_noise_are_reached_in_answers() -> None:
    """Some drawn merge replies have unknown fields, and some have git's output before them."""
    merges = examples(strategies.replies(MergeMission), 200)
    ours = {a.name for a in attrs.fields(MergeMission.reply_type)}
    known = [set(to_newest_names(dict.fromkeys(answer_fields(c)[1]))) <= ours for c in merges]

    assert 20 < known.count(True) < 180
    assert 20 < sum(c.stdout.startswith(b"Deleted branch") for c in merges) < 180


def test_answers_shrink_to_the_oldest_host_and_one_work_package() -> None:
    """The simplest board is that of 1.0.0 with one planned work package."""
    answer = simplest(strategies.replies(MissionState))
    envelope, _ = find_envelope(answer.stdout.decode())

    assert answer.argv == ("spec-kitty", "orchestrator-api", "feature-state", "--feature=demo")
    assert envelope is not None
    assert envelope.data == {
        "feature_slug": "demo",
        "summary": {
            "total_work_packages": 1, "planned": 1, "in_progress": 0, "for_review": 0, "done": 0
        },
        "work_packages": [
            {"wp_id": "WP01", "lane": "planned", "dependencies": [], "last_actor": None}
        ],
    }  # fmt: skip


# Missions


def is_in_order(mission: dict[str, list[str]]) -> bool:
    """Return whether each work package comes after its dependencies in the plan."""
    names = list(mission)
    return all(names.index(n) < i for i, wp in enumerate(names) for n in mission[wp])


@every_shape
def test_a_shape_is_drawn_in_every_size_and_order(shape: Shape) -> None:
    """Each shape is drawn in every size, with dependencies on earlier and on later packages."""
    drawn = examples(strategies.missions(shape=shape, max_size=6))
    orders = Counter(is_in_order(mission) for mission in drawn)

    assert {len(mission) for mission in drawn} == {1, 2, 3, 4, 5, 6}
    assert min(orders[True], orders[False]) >= 5


def test_missions_without_a_shape_have_them_all() -> None:
    """`missions` without a shape draws chains, fans, disconnected and dense missions."""
    counts = [
        tuple(sorted(map(len, mission.values())))
        for mission in examples(strategies.missions(min_size=5, max_size=5), 500)
    ]

    assert {(0, 1, 1, 1, 1), (0, 1, 2, 3, 4), (0, 1, 1, 1, 3), (0, 0, 0, 0, 0)} <= set(counts)
    assert len(set(counts)) > 15


@every_shape
def test_missions_shrink_to_one_work_package(shape: Shape) -> None:
    """The simplest mission has one work package; the simplest out of order has one dependency."""
    assert simplest(strategies.missions(shape=shape)) == {"WP01": []}
    odd = simplest(strategies.missions(shape=shape), lambda mission: not is_in_order(mission))
    needs = [needs for needs in odd.values() if needs]
    assert len(odd) == (3 if shape is Shape.DISCONNECTED else 2)
    assert len(needs) == 1


# Scripts


Moves = set[tuple[str, str]]
Answers = list[tuple[str, str | None]]


def play(script: HostScript) -> tuple[Answers, Moves]:
    """Run a script on a simulated host; return the code of each answer, and the moves."""
    release = str(script.contract.release)
    host = SimulatedHost(dict(script.mission), release=release, slug=script.slug)
    answered: Answers = []
    made: Moves = set()
    for command in script.commands:
        before = host.lanes()
        completed = host.run(spell(command, script.contract), time_limit=1)
        envelope, _ = find_envelope(completed.stdout.decode())
        assert envelope is not None, (command, completed)
        answered.append((command.verb, envelope.error_code))
        made |= {(before[wp], lane) for wp, lane in host.lanes().items()}
    return answered, made


@cache
def played(dialect: Dialect) -> tuple[Answers, Moves]:
    """Return the answers to 250 drawn scripts, and the moves that they made."""
    plays = [play(script) for script in examples(strategies.host_scripts(dialect), 250)]
    return [answer for answered, _ in plays for answer in answered], set().union(
        *(w for _, w in plays)
    )


@every_dialect
def test_scripts_make_sense(dialect: Dialect) -> None:
    """The host refuses 10 to 33 % of the drawn calls, and every verb succeeds some times."""
    answers, _ = played(dialect)
    done = Counter(verb for verb, code in answers if code is None)
    verbs = {v for v in LIFECYCLE if any(host.supports(VERBS[v]) for host in hosts(dialect))}

    assert 0.10 < 1 - done.total() / len(answers) < 0.33
    assert done.keys() == verbs
    assert min(done.values()) >= 5


@every_dialect
def test_scripts_reach_the_rules(dialect: Dialect) -> None:
    """Drawn scripts get each refusal three times or more, and make most of the allowed moves."""
    answers, made = played(dialect)
    codes = Counter(code for _, code in answers)
    name = "FEATURE" if dialect in (Dialect.F1, Dialect.F2) else "MISSION"
    wanted = {"POLICY_METADATA_REQUIRED", "WP_NOT_FOUND", "TRANSITION_REJECTED"}
    wanted |= {"WP_ALREADY_CLAIMED", f"{name}_NOT_FOUND", f"{name}_NOT_READY"}
    if dialect in (Dialect.M2, Dialect.M3, Dialect.M4, Dialect.M5):
        wanted.add("DEPENDENCIES_NOT_SATISFIED")
    allowed = {(before, after) for before, after in moves(dialect) if before != after}

    assert min(codes[code] for code in wanted) >= 3
    assert {after for _, after in made} == lanes_of(dialect)
    assert len(allowed & made) >= 0.65 * len(allowed)


def test_what_a_host_does_not_have_is_said_where_that_is_asked_for() -> None:
    """With `unsupported=True` scripts have verbs, options and lanes that the host lacks."""
    drawn = examples(strategies.host_scripts(Dialect.M0, unsupported=True))
    missing = [c for s in drawn for c in s.commands if not s.contract.supports(c)]

    assert {"resolve-workspace", "transition", "accept-mission"} <= {c.verb for c in missing}
    assert any(isinstance(c, Transition) and c.to is Lane.IN_REVIEW for c in missing)
    assert any(isinstance(c, Transition) and c.review_result for c in missing)


def test_a_script_for_a_host_is_for_that_host() -> None:
    """`host_scripts` of a contract draws scripts for it alone, with the verbs of its release."""
    (host,) = (h for h in hosts() if str(h.release) == "3.2.4")
    drawn = examples(strategies.host_scripts(host), 100)

    assert {s.contract for s in drawn} == {host}
    assert any(c.verb == "resolve-workspace" for s in drawn for c in s.commands)
    assert min(len(s.commands) for s in drawn) == 1
    assert 20 <= max(len(s.commands) for s in drawn) <= 25


def reaches(verb: str) -> Callable[[HostScript], bool]:
    """Return a function that says whether a verb succeeds in a script."""
    return lambda script: (verb, None) in play(script)[0]


def test_scripts_shrink_to_a_look_at_the_board() -> None:
    """The simplest script reads the state of a mission with one work package."""
    script = simplest(strategies.host_scripts())

    assert script.commands == (MissionState(mission="demo"),)
    assert script.mission == {"WP01": []}
    assert str(script.contract.release) == "1.0.0"


def test_a_merge_shrinks_to_the_shortest_way() -> None:
    """The simplest script with a merge has only the calls that a merge needs."""
    script = simplest(strategies.host_scripts(Dialect.M4), reaches("merge-mission"))

    assert [type(c).__name__ for c in script.commands] == [
        StartImplementation.__name__, "Transition", "StartReview", "Transition", "AcceptMission",
        "MergeMission",
    ]  # fmt: skip
