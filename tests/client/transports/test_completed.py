"""Tests of `spec_kitty_client.transports`."""

import pickle

from spec_kitty_client.transports import Completed

ENDED = Completed(
    argv=("spec-kitty", "x"), exit_code=0, stdout=b"SENTINEL", stderr=b"SENTINEL", time_limit=1.5
)


def test_output_is_not_in_the_repr() -> None:
    """Megabytes of output do not flood a traceback."""
    assert "SENTINEL" not in repr(ENDED)


def test_a_call_that_has_ended_is_a_value() -> None:
    """A transport may hand it over from another process."""
    assert pickle.loads(pickle.dumps(ENDED)) == ENDED  # noqa: S301
