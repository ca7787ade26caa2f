"""Tests of `spec_kitty_client.values`: every value becomes JSON, pickles and can be matched."""

import json
import pickle
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

import spec_kitty_client
from spec_kitty_client import (
    Contract,
    Evidence,
    Failure,
    GitFailed,
    HostError,
    HostRejected,
    InvalidCall,
    Lane,
    LaneChanged,
    Merged,
    Mission,
    Moved,
    Policy,
    PolicyError,
    Review,
    ReviewVerdict,
    SpecKittyError,
    WorkPackage,
)
from spec_kitty_client.api.envelope import conclude
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.testing import strategies
from spec_kitty_client.values import Value, encodable, plain
from tests.client.answers import POLICY, failure

REVIEW = Review("ada", "r1")


@pytest.mark.parametrize("verb", VERBS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_every_reply_is_ready_for_json(verb: str, data: st.DataObject) -> None:
    """A reply becomes JSON under the names of its fields, and pickles."""
    command = SimpleNamespace(verb=verb, reply_type=VERBS[verb].reply_type, mutates=False)
    completed = data.draw(strategies.replies(VERBS[verb]))
    reply, _ = conclude(command, completed)  # type: ignore[arg-type]

    found = json.loads(json.dumps(reply.to_dict()))

    assert {a.name for a in attrs.fields(type(reply))} - {"extra"} <= set(found)
    assert {encodable(name) for name in reply.extra} <= set(found)
    assert pickle.loads(pickle.dumps(reply)) == reply  # noqa: S301 - our own


VALUES = [
    (Moved(wp_id="WP01", lane=Lane.DONE, changed=True), {"wp_id": "WP01", "lane": "done"}),
    (LaneChanged(wp_id="WP01", before=Lane.PLANNED, after=Lane.DONE, actor=None), {"actor": None}),
    (Contract(Version("1.5.0"), Version("3.2.7")), {"version": "1.5.0", "release": "3.2.7"}),
    (REVIEW, {"reviewer": "ada", "reference": "r1", "feedback_path": None}),
    (Evidence.of(REVIEW.result(ReviewVerdict.APPROVED)), {"verdict": "approved", "repos": []}),
    (failure(), {"stderr": failure().stderr}),
]


@pytest.mark.parametrize(("value", "part"), VALUES, ids=lambda v: type(v).__name__)
def test_values_are_ready_for_json(value: Any, part: dict[str, Any]) -> None:
    """Events, verdicts and facts have stable names and plain values, and pickle."""
    found = json.loads(json.dumps(value.to_dict()))

    assert {key: found[key] for key in part} == part
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own


def test_every_public_value_has_it() -> None:
    """Each public frozen class that is no command or protocol can become JSON."""
    public = [getattr(spec_kitty_client, name) for name in spec_kitty_client.__all__]
    classes = [c for c in public if isinstance(c, type) and attrs.has(c)]
    rest = {c.__name__ for c in classes if not issubclass(c, Value)}

    commands = {c.__name__ for c in VERBS.values()} | {"Command"}
    assert rest - commands == {"Completed", "Policy", "Retry"}
    assert callable(Policy.to_dict)
    assert {Merged, Mission, WorkPackage, Failure} <= set(classes)


def test_an_error_becomes_json() -> None:
    """An error's dict has class, message, retryable, outcome, and the call without its policy."""
    error = HostRejected(
        attrs.evolve(failure(), argv=("spec-kitty", f"--policy={POLICY.to_json()}"))
    )

    found = json.loads(json.dumps(error.to_dict()))

    assert found["error"] == "HostRejected"
    assert found["message"] == str(error)
    assert (found["retryable"], found["outcome"]) == (error.retryable, error.outcome)
    assert found["failure"]["argv"] == ["spec-kitty", "--policy=***"]
    assert POLICY.orchestrator_id not in repr(error)


def test_a_policy_error_becomes_json() -> None:
    """A policy error's dict has the path, rule and message of each problem."""
    with pytest.raises(PolicyError) as e:
        Policy.from_dict({"dangerous_flags": "--yolo"})

    problems = json.loads(json.dumps(e.value.to_dict()))["problems"]

    assert len(problems) == len(e.value.problems)
    assert {"path", "rule", "message"} <= set(problems[0])


@pytest.mark.parametrize("error", [InvalidCall("m"), GitFailed("m")])
def test_plain_errors_become_json(error: SpecKittyError) -> None:
    """The dict of an error without further facts has its class and its message."""
    assert error.to_dict() == {"error": type(error).__name__, "message": "m"}


def test_values_can_be_matched() -> None:
    """Errors and values work in ``match``, down to the data of the host."""
    match HostError(attrs.evolve(failure(), verb="transition", data={"from_lane": "done"})):
        case HostError(failure=Failure(verb="transition", data={"from_lane": lane})):
            assert lane == "done"
        case other:
            pytest.fail(repr(other))


def test_what_json_has_no_form_for_is_text() -> None:
    """`plain` makes JSON values of lone surrogates, bytes and sets, and raises nothing."""
    assert plain({"a\udc80": b"x", 1: {2}}) == {"a\\udc80": "b'x'", "1": [2]}


def test_the_repr_of_a_mission_is_short() -> None:
    """A mission's repr has the number of its work packages, not each of them."""
    packages = tuple(WorkPackage(wp_id=f"WP{n}", lane=Lane.DONE) for n in range(300))
    state = Mission(mission_slug="034-pay", summary={"done": 300}, work_packages=packages)

    assert len(repr(state)) < 200
    assert "work_packages=<300>" in repr(state)
