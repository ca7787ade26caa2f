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


def failure_with(**data: Any) -> Failure:
    """Return the `Failure` of a call whose answer had this data."""
    return failure(ErrorCode.PREFLIGHT_FAILED, data=data)


def test_the_inner_codes_of_a_refusal_are_codes() -> None:
    """The inner codes of a refusal are known or unknown error codes, like the code itself."""
    known = failure_with(
        preflight_error_code="LANE_MOVED_AFTER_APPROVAL",
        preflight_error_codes=["LANE_MOVED_AFTER_APPROVAL", "STATUS_LOCK_HELD"],
        teardown_error_code="COORD_MOVED_AFTER_LANDING",
    )

    assert known.preflight_error_code == "LANE_MOVED_AFTER_APPROVAL"
    assert type(known.preflight_error_code) is UnknownErrorCode
    assert known.preflight_error_codes[1] is ErrorCode.STATUS_LOCK_HELD
    assert known.teardown_error_code == "COORD_MOVED_AFTER_LANDING"


def test_older_hosts_tell_no_inner_codes() -> None:
    """Without inner codes in the answer, the SDK gives None and empty tuples."""
    known = failure_with(message="no")

    assert known.preflight_error_code is known.teardown_error_code is None
    assert known.preflight_error_codes == known.origin_freshness == ()


def test_the_branches_of_a_refusal_are_told_with_their_types() -> None:
    """The SDK reads each row of origin_freshness; optional fields that are missing are None."""
    short = {k: v for k, v in ROW.items() if k not in ("scope", "detail")} | {"remote": None}
    known = failure_with(origin_freshness=[ROW | {"newer": 1}, short])

    assert known.origin_freshness == (
        OriginFreshness(branch="work", remote="origin", state="behind", behind=2, ahead=0),
        OriginFreshness(branch="work", remote=None, state="behind", behind=2, ahead=0),
    )


@pytest.mark.parametrize("name", ROW)
@pytest.mark.parametrize("value", [True, 1.5, [], {}])
def test_a_malformed_row_is_left_out(name: str, value: object) -> None:
    """The SDK leaves out a malformed row, and keeps a well-formed one beside it."""
    known = failure_with(origin_freshness=[ROW | {name: value}, ROW, "work", None])

    assert [attrs.asdict(row) for row in known.origin_freshness] == [ROW]


@pytest.mark.parametrize("name", [n for n in ROW if n not in ("scope", "detail")])
def test_a_row_without_a_field_is_left_out(name: str) -> None:
    """The SDK leaves out a row that lacks a required field."""
    known = failure_with(origin_freshness=[{k: v for k, v in ROW.items() if k != name}])

    assert known.origin_freshness == ()


@pytest.mark.parametrize("value", [None, 1, True, "", [], {}, ["X"], {"a": 1}])
def test_a_malformed_code_counts_as_none(value: object) -> None:
    """The SDK reads a value that is not a non-empty string as no code."""
    known = failure_with(preflight_error_code=value, teardown_error_code=value)

    assert known.preflight_error_code is known.teardown_error_code is None


@pytest.mark.parametrize("value", [None, 1, "ORIGIN_UNREACHABLE", {"ORIGIN_UNREACHABLE": 1}])
def test_a_text_is_no_list_of_codes(value: object) -> None:
    """The SDK reads inner codes only from a list, not from the letters of a string."""
    assert failure_with(preflight_error_codes=value).preflight_error_codes == ()
    assert failure_with(preflight_error_codes=[value, "X"]).preflight_error_codes[-1] == "X"


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
    """The properties of `Failure` raise nothing, whatever data the host sent."""
    known = failure_with(**data)

    for code in (known.preflight_error_code, known.teardown_error_code):
        assert code is None or code.family
    assert all(code.family for code in known.preflight_error_codes)
    assert all(row.behind is not True for row in known.origin_freshness)


def test_a_real_host_tells_them() -> None:
    """The SDK reads the codes and rows of 4.0.0rc7's refusal of a merge to a bad remote."""
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
