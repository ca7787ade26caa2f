"""Tests of `spec_kitty_client.failure`."""

from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spec_kitty_client.codes import ErrorCode, UnknownErrorCode
from spec_kitty_client.errors import HostError
from spec_kitty_client.failure import Failure, OriginFreshness
from tests.client.answers import failure
from tests.client.api.test_corpus import answer_to, recorded

ROW: dict[str, Any] = {
    "branch": "work",
    "remote": "origin",
    "state": "behind",
    "behind": 2,
    "ahead": 0,
    "scope": None,
    "detail": None,
}
NAMES = (
    "preflight_error_code",
    "preflight_error_codes",
    "teardown_error_code",
    "origin_freshness",
)


def told(**data: Any) -> Failure:
    """Return what is known about a call whose answer had this data."""
    return failure(ErrorCode.PREFLIGHT_FAILED, data=data)


def test_the_inner_codes_of_a_refusal_are_codes() -> None:
    """A program decides on the inner code as on that of the answer, without a text in between."""
    known = told(
        preflight_error_code="LANE_MOVED_AFTER_APPROVAL",
        preflight_error_codes=["LANE_MOVED_AFTER_APPROVAL", "STATUS_LOCK_HELD"],
        teardown_error_code="COORD_MOVED_AFTER_LANDING",
    )

    assert known.preflight_error_code == "LANE_MOVED_AFTER_APPROVAL"
    assert type(known.preflight_error_code) is UnknownErrorCode
    assert known.preflight_error_codes[1] is ErrorCode.STATUS_LOCK_HELD
    assert known.teardown_error_code == "COORD_MOVED_AFTER_LANDING"


def test_older_hosts_tell_no_inner_codes() -> None:
    """Where nothing is told there is no code, and no list to be guessed at."""
    known = told(message="no")

    assert known.preflight_error_code is known.teardown_error_code is None
    assert known.preflight_error_codes == known.origin_freshness == ()


def test_the_branches_of_a_refusal_are_told_with_their_types() -> None:
    """Each row that the host tells has its fields, the optional ones with their defaults."""
    short = {k: v for k, v in ROW.items() if k not in ("scope", "detail")} | {"remote": None}
    known = told(origin_freshness=[ROW | {"newer": 1}, short])

    assert known.origin_freshness == (
        OriginFreshness(branch="work", remote="origin", state="behind", behind=2, ahead=0),
        OriginFreshness(branch="work", remote=None, state="behind", behind=2, ahead=0),
    )


@pytest.mark.parametrize("name", ROW)
@pytest.mark.parametrize("value", [True, 1.5, [], {}])
def test_a_malformed_row_is_left_out(name: str, value: object) -> None:
    """A row of another shape is not half understood; the sound one beside it is kept."""
    known = told(origin_freshness=[ROW | {name: value}, ROW, "work", None])

    assert [attrs.asdict(row) for row in known.origin_freshness] == [ROW]


@pytest.mark.parametrize("name", [n for n in ROW if n not in ("scope", "detail")])
def test_a_row_without_a_field_is_left_out(name: str) -> None:
    """Nothing is made up for what the host did not tell."""
    known = told(origin_freshness=[{k: v for k, v in ROW.items() if k != name}])

    assert known.origin_freshness == ()


@pytest.mark.parametrize("value", [None, 1, True, "", [], {}, ["X"], {"a": 1}])
def test_a_malformed_code_counts_as_none(value: object) -> None:
    """A value of another type is not turned into a code."""
    known = told(preflight_error_code=value, teardown_error_code=value)

    assert known.preflight_error_code is known.teardown_error_code is None


@pytest.mark.parametrize("value", [None, 1, "ORIGIN_UNREACHABLE", {"ORIGIN_UNREACHABLE": 1}])
def test_a_text_is_no_list_of_codes(value: object) -> None:
    """The letters of a code are not codes."""
    assert told(preflight_error_codes=value).preflight_error_codes == ()
    assert told(preflight_error_codes=[value, "X"]).preflight_error_codes[-1] == "X"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*ROW, "x"]), inner, max_size=8)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(NAMES), json_values))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first draw of text
def test_no_value_makes_a_property_raise(data: dict[str, Any]) -> None:
    """Whoever handles an error gets no second one out of it."""
    known = told(**data)

    for code in (known.preflight_error_code, known.teardown_error_code):
        assert code is None or code.family
    assert all(code.family for code in known.preflight_error_codes)
    assert all(row.behind is not True for row in known.origin_freshness)


def test_a_real_host_tells_them() -> None:
    """4.0.0rc7 refused a merge whose remote is not there; all that it told has its type."""
    (entry,) = [e for e in recorded("4.0.0rc7") if e["scenario"] == "merge push to a bad remote"]
    error, _ = answer_to(entry)

    assert isinstance(error, HostError)
    assert error.code is ErrorCode.PREFLIGHT_FAILED
    assert error.failure.preflight_error_code == "ORIGIN_UNREACHABLE"
    assert error.failure.preflight_error_codes == ("ORIGIN_UNREACHABLE",)
    assert error.failure.teardown_error_code is None
    rows = error.failure.origin_freshness
    assert len(rows) == len(error.failure.data["origin_freshness"]) > 1
    assert {row.state for row in rows} == {"unreachable"}
    assert rows[0].branch == "work"
