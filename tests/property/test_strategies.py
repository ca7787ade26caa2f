"""Properties of the examples that the SDK's strategies draw."""

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec_kitty_client import Completed, HostError, HostRejected, UnsupportedByHost
from spec_kitty_client.api.commands import (
    Command,
    ContractVersion,
    MergeMission,
    MissionState,
    Transition,
)
from spec_kitty_client.api.envelope import Envelope, conclude, find
from spec_kitty_client.api.spelling import names_of, spell, to_newest_names
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.codes import parse_code
from spec_kitty_client.contract import Contract, recognise
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.contract.lanes import Lane, UnknownLane, lanes_of
from spec_kitty_client.testing import strategies
from spec_kitty_client.testing.strategies import HostScript, Move, Printed, Shape
from tests.client.releases import EDGES

from .values import attempt

every_dialect = pytest.mark.parametrize("dialect", Dialect)


def ended(printed: Printed) -> Completed:
    """Return an ended call with this output."""
    return Completed(
        argv=("spec-kitty",),
        exit_code=printed.exit_code,
        stdout=printed.stdout,
        stderr=b"",
        time_limit=1.0,
    )


def answered(kind: type[Command[Any]]) -> Command[Any]:
    """Return a command with the verb and reply type of a kind, and no arguments."""
    about = {"verb": kind.verb, "reply_type": kind.reply_type, "mutates": kind.mutates}
    call = type("Asked", (Command,), about)()
    assert isinstance(call, Command)
    return call


@given(strategies.contracts())
def test_a_host_is_one_that_a_client_recognises(host: Contract) -> None:
    """The SDK recognises each drawn host by its contract version and release."""
    found = recognise(str(host.version), host.release)

    assert found is not None
    assert found.version == host.version
    assert found.dialect is host.dialect


@every_dialect
@given(st.data())
def test_a_known_lane_is_one_of_the_dialect(dialect: Dialect, data: st.DataObject) -> None:
    """Without `unknown=True`, `lanes()` draws only lanes of the dialect."""
    assert data.draw(strategies.lanes(dialect)) in lanes_of(dialect)


@given(strategies.lanes(unknown=True))
def test_an_unknown_lane_is_typed_as_such(lane: Lane | UnknownLane) -> None:
    """`lanes(unknown=True)` draws no lane of the contract as an `UnknownLane`."""
    assert isinstance(lane, Lane) or (type(lane) is UnknownLane and lane not in {*Lane, "doing"})


@given(strategies.transitions())
def test_an_allowed_move_is_in_the_table(move: Move) -> None:
    """An allowed move has needs exactly where the hand-copied table has a rule."""
    guard = EDGES[move.dialect][move.before, move.after]

    assert move.needs is not None
    assert bool(move.needs) is bool(guard)


@given(strategies.transitions(allowed=False))
def test_a_refused_move_is_not_in_the_table(move: Move) -> None:
    """A refused move is between lanes of the dialect, and not in the hand-copied table."""
    assert (move.before, move.after) not in EDGES[move.dialect]
    assert move.needs is None
    assert {move.before, move.after} <= lanes_of(move.dialect)


@given(strategies.envelopes() | strategies.near_envelopes())
def test_what_was_printed_is_read_as_it_says(printed: Printed) -> None:
    """`find` returns the envelope that a drawn output names, or None where it names none."""
    found, _ = find(printed.stdout.decode("utf-8", "backslashreplace"))

    assert found == printed.envelope


def kind_of(envelope: Envelope) -> type[Command[Any]]:
    """Return the command that an envelope answers."""
    verb = envelope.command.removeprefix("orchestrator-api.")
    return next((c for name, c in VERBS.items() if verb in names_of(name)), ContractVersion)


@given(strategies.envelopes().filter(lambda p: p.exit_code != 0))
def test_a_refusal_is_concluded_with_its_code(printed: Printed) -> None:
    """The SDK raises HostRejected with the envelope's code, whatever output surrounds it."""
    assert printed.envelope is not None
    envelope = printed.envelope
    error = attempt(HostError, lambda: conclude(answered(kind_of(envelope)), ended(printed)))

    assert isinstance(error, HostRejected)
    assert error.code == (envelope.error_code or None)
    if envelope.error_code:
        assert error.code == parse_code(envelope.error_code)
    assert error.failure.correlation_id == envelope.correlation_id


@given(strategies.near_envelopes().filter(lambda p: p.envelope is None))
def test_a_near_envelope_is_no_answer(printed: Printed) -> None:
    """Output that is nearly an envelope gives neither an answer nor a code."""
    error = attempt(HostError, lambda: conclude(ContractVersion(), ended(printed)))

    assert isinstance(error, HostError)
    assert error.code is None


def payload_of(completed: Completed) -> dict[str, Any]:
    """Return the payload of an answer, under the newest field names."""
    line = completed.stdout.decode().splitlines()[-1]
    return dict(to_newest_names(json.loads(line)["data"]))


@pytest.mark.parametrize("kind", VERBS.values(), ids=str)
@settings(max_examples=30)
@given(st.data())
def test_an_answer_becomes_the_reply_of_its_verb(
    kind: type[Command[Any]], data: st.DataObject
) -> None:
    """The reply has each drawn field with its value, and only unknown fields in `extra`."""
    completed = data.draw(strategies.replies(kind))
    reply, envelope = conclude(answered(kind), completed)
    payload = payload_of(completed)
    known = {a.name for a in attrs.fields(kind.reply_type)} - {"extra"}

    assert type(reply) is kind.reply_type
    assert envelope.command == f"orchestrator-api.{completed.argv[2]}"
    assert reply.extra == {k: v for k, v in payload.items() if k not in known}
    for name in known & payload.keys():
        value = getattr(reply, name)
        if not isinstance(value, tuple):
            assert value == payload[name]
        else:
            assert len(value) == len(payload[name])


@every_dialect
@given(st.data())
def test_an_answer_is_about_what_was_asked(dialect: Dialect, data: st.DataObject) -> None:
    """An answer names the mission, work package and lane of the call."""
    lane = data.draw(strategies.lanes(dialect))
    command = Transition(mission="pay", wp="WP07", to=lane, actor="ada")
    reply, _ = conclude(command, data.draw(strategies.replies(command, dialect)))

    assert (reply.mission_slug, reply.wp_id, reply.to_lane) == ("pay", "WP07", lane)


@every_dialect
@given(st.data())
def test_a_board_counts_its_work_packages(dialect: Dialect, data: st.DataObject) -> None:
    """A drawn board has unique ids, existing dependencies and a summary that counts its lanes."""
    command = MissionState(mission="pay")
    state, _ = conclude(command, data.draw(strategies.replies(command, dialect)))
    lanes = list(state.lanes().values())

    assert len(state.lanes()) == len(state.work_packages)
    assert all(set(wp.dependencies) <= state.lanes().keys() for wp in state.work_packages)
    assert set(lanes) <= lanes_of(dialect)
    assert all(lanes.count(Lane(lane)) == n for lane, n in state.summary.items())


def test_a_call_that_a_dialect_does_not_have_has_no_answer() -> None:
    """`replies` raises UnsupportedByHost, with the missing verb or lane, before any draw."""
    with pytest.raises(UnsupportedByHost, match=r"resolve-workspace.*3\.2\.4"):
        strategies.replies(VERBS["resolve-workspace"], Dialect.M2)
    with pytest.raises(UnsupportedByHost, match="lane in_review"):
        strategies.replies(Transition(mission="m", wp="WP01", to=Lane.IN_REVIEW), Dialect.F2)


def walk(mission: dict[str, list[str]]) -> Iterator[str]:
    """Yield each work package after all its dependencies."""
    done: set[str] = set()
    while free := [wp for wp, needs in mission.items() if wp not in done and done >= set(needs)]:
        yield from free
        done.update(free)


@given(st.data(), st.none() | st.sampled_from(Shape), st.integers(1, 6), st.integers(0, 8))
def test_a_mission_can_be_worked_through(
    data: st.DataObject, shape: Shape | None, least: int, more: int
) -> None:
    """A drawn mission has no cycle, no unknown id, and a size within its bounds."""
    mission = data.draw(strategies.missions(shape=shape, min_size=least, max_size=least + more))

    assert list(mission) == [f"WP{i:02}" for i in range(1, len(mission) + 1)]
    assert least <= len(mission) <= least + more
    assert sorted(walk(mission)) == list(mission)
    assert all(len(set(needs)) == len(needs) for needs in mission.values())


def sizes(mission: dict[str, list[str]]) -> list[int]:
    """Return how many dependencies each work package has, the fewest first."""
    return sorted(map(len, mission.values()))


@given(strategies.missions(shape=Shape.CHAIN), strategies.missions(shape=Shape.WIDE))
def test_chains_and_fans_are_what_they_are_called(
    chain: dict[str, list[str]], wide: dict[str, list[str]]
) -> None:
    """In a chain each later work package needs a different one; in a fan all need the same."""
    for mission in (chain, wide):
        assert sizes(mission) == [0] + [1] * (len(mission) - 1)
    assert len({str(needs) for needs in chain.values()}) == len(chain)
    assert len({str(needs) for needs in wide.values()}) <= 2


@given(strategies.missions(shape=Shape.DIAMOND, min_size=4))
def test_a_diamond_begins_and_ends_with_one(mission: dict[str, list[str]]) -> None:
    """One work package starts alone, the middle depends on it, and the last on the middle."""
    assert sizes(mission) == [0] + [1] * (len(mission) - 2) + [len(mission) - 2]


@given(strategies.missions(shape=Shape.DENSE, min_size=6), strategies.missions(shape=Shape.SPARSE))
def test_dense_and_sparse_differ(dense: dict[str, list[str]], sparse: dict[str, list[str]]) -> None:
    """A dense mission leaves out at most two dependencies each; a sparse one has at most two."""
    assert all(count >= i - 2 for i, count in enumerate(sizes(dense)))
    assert max(sizes(sparse)) <= 2


@given(strategies.missions(shape=Shape.LAYERED, min_size=2))
def test_layers_depend_on_the_one_before(mission: dict[str, list[str]]) -> None:
    """Each dependency of a work package is in the layer before it."""
    depth: dict[str, int] = {}
    for wp in walk(mission):
        depth[wp] = max((depth[name] + 1 for name in mission[wp]), default=0)

    assert all(depth[name] == depth[wp] - 1 for wp in mission for name in mission[wp])


@given(strategies.missions(shape=Shape.DISCONNECTED, min_size=2))
def test_groups_have_nothing_to_do_with_each_other(mission: dict[str, list[str]]) -> None:
    """At least two work packages depend on nothing, and none depends on more than one."""
    assert sizes(mission)[:2] == [0, 0]
    assert max(sizes(mission)) <= 1


@every_dialect
@given(st.data())
def test_a_script_can_be_said(dialect: Dialect, data: st.DataObject) -> None:
    """A script has at most 25 calls, all of which the SDK can spell; a merge comes last."""
    script = data.draw(strategies.host_scripts(dialect))
    words = [spell(command, script.contract) for command in script.commands]

    assert script.contract.dialect is dialect
    assert 1 <= len(words) <= 25
    assert not any(isinstance(command, MergeMission) for command in script.commands[:-1])


@given(strategies.host_scripts(mission=st.just({"A": [], "B": ["A"]}), slug="034-pay", max_calls=6))
def test_a_script_is_about_the_mission_that_is_asked_for(script: HostScript) -> None:
    """A script uses the given mission, slug and length, except for its deliberate mistakes."""
    named = {getattr(command, "mission", "034-pay") for command in script.commands}
    packages = {getattr(command, "wp", "A") for command in script.commands}

    assert script.slug == "034-pay"
    assert script.mission == {"A": [], "B": ["A"]}
    assert named <= {"034-pay", "no-such-mission"}
    assert packages <= {"A", "B", "WP99"}
    assert len(script.commands) <= 6


@given(strategies.host_scripts(Dialect.F1, unsupported=True))
def test_only_what_was_asked_for_is_unsupported(script: HostScript) -> None:
    """The SDK refuses to spell a drawn call exactly where the host does not support it."""
    for command in script.commands:
        words = attempt(UnsupportedByHost, lambda c=command: spell(c, script.contract))  # type: ignore[misc]
        assert isinstance(words, tuple) is script.contract.supports(command)
