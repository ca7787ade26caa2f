"""Tests of `spec_kitty_client.transports`."""

import pickle

from spec_kitty_client.transports import Completed

ENDED = Completed(
    argv=("spec-kitty", "x"), exit_code=0, stdout=b"SENTINEL", stderr=b"SENTINEL", time_limit=1.5
)


def test_output_is_not_in_the_repr() -> None:
    """The repr of an ended call has none of its output."""
    assert "SENTINEL" not in repr(ENDED)


def test_a_call_that_has_ended_is_a_value() -> None:
    """An ended call pickles and compares equal, so that another process can return it."""
    assert pickle.loads(pickle.dumps(ENDED)) == ENDED  # noqa: S301
