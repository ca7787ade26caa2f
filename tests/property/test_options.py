"""Properties of the command lines that the SDK spells, for any values."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec_kitty_client.api.commands import (
    AcceptMission,
    AppendHistory,
    Command,
    ContractVersion,
    ListReady,
    MergeMission,
    MergeStrategy,
    MissionState,
    ResolveWorkspace,
    StartImplementation,
    StartReview,
    Transition,
)
from spec_kitty_client.api.reviews import Evidence, ReviewResult, ReviewVerdict
from spec_kitty_client.api.spelling import spell
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import InvalidCall

from .values import names, texts

maybe = st.none() | texts
work_packages = {"mission": names, "wp": names}
words = st.text(max_size=50)
results = st.builds(
    ReviewResult, reviewer=words, verdict=st.sampled_from(ReviewVerdict), reference=words
)
commands: st.SearchStrategy[Command[Any]] = st.one_of(
    st.builds(ContractVersion, provider_version=maybe),
    st.builds(MissionState, mission=names),
    st.builds(ListReady, mission=names),
    st.builds(ResolveWorkspace, **work_packages),
    st.builds(StartImplementation, **work_packages, actor=maybe),
    st.builds(StartReview, **work_packages, actor=maybe, review_ref=maybe),
    st.builds(
        Transition,
        **work_packages,
        to=st.sampled_from(Lane),
        actor=maybe,
        note=maybe,
        review_ref=maybe,
        review_result=st.none() | results,
        evidence=st.none() | st.builds(Evidence.of, results),
        subtasks_complete=st.booleans(),
        implementation_evidence_present=st.booleans(),
        force=st.booleans(),
    ),
    st.builds(AppendHistory, **work_packages, note=texts, actor=maybe),
    st.builds(AcceptMission, mission=names, actor=maybe),
    st.builds(
        MergeMission,
        mission=names,
        target=maybe,
        strategy=st.sampled_from(MergeStrategy),
        push=st.booleans(),
    ),
)


def sent_as(value: object) -> str:
    """Return the text in which a value is sent."""
    return value.to_json() if isinstance(value, ReviewResult | Evidence) else str(value)


@given(commands)
def test_each_option_is_exactly_one_argument(command: Command[Any]) -> None:
    """Splitting an argument at its first equals sign gives the value back, whatever it is."""
    fields = {a.metadata["option"]: getattr(command, a.name) for a in attrs.fields(type(command))}
    given_values = {name: v for name, v in fields.items() if v is not None and v is not False}
    options = command.spelled()

    assert len(options) == len(given_values)
    for option in options:
        name, equals, value = option.partition("=")
        assert name in given_values
        assert (given_values[name] is True) is (equals == "")
        assert given_values[name] is True or value == sent_as(given_values[name])


@given(commands)
def test_no_value_becomes_an_option(command: Command[Any]) -> None:
    """Every argument begins with the name of an option of this verb."""
    group, verb, *rest = spell(command)
    known = {a.metadata["option"] for a in attrs.fields(type(command))}

    assert (group, verb) == ("orchestrator-api", command.verb)
    assert {argument.partition("=")[0] for argument in rest} <= known


@given(commands)
def test_every_argument_can_be_carried(command: Command[Any]) -> None:
    """Every spelled option has bytes, a limited length and no NUL character."""
    encoded = [argument.encode() for argument in command.spelled()]

    assert all(len(argument) < 128 * 1024 and b"\0" not in argument for argument in encoded)


@given(
    st.text(max_size=5),
    st.sampled_from(["\0", "\ud800", "\udfff", "x" * 131_065, "é" * 65_533]),
    st.text(max_size=5),
)
def test_what_cannot_be_carried_is_an_invalid_call(before: str, bad: str, after: str) -> None:
    """The SDK raises InvalidCall for a note that cannot be an argument of a process."""
    note = AppendHistory(mission="pay", wp="WP01", note=before + bad + after)

    with pytest.raises(InvalidCall, match="--note"):
        note.spelled()


@given(st.text())
def test_a_name_is_accepted_or_refused_as_such(name: str) -> None:
    """A name is accepted or raises InvalidCall, and a path is never accepted."""
    try:
        command = MissionState(mission=name)
    except InvalidCall:
        assert not name.strip() or any(part in name for part in ("/", "\\", ".."))
    else:
        assert command.mission == name


@given(st.text())
def test_a_target_is_a_lane_or_refused(word: str) -> None:
    """The SDK refuses a target that is not a lane of the contract."""
    try:
        command = Transition(mission="pay", wp="WP01", to=word)
    except InvalidCall:
        assert word not in {*Lane, "doing"}
    else:
        assert type(command.to) is Lane
