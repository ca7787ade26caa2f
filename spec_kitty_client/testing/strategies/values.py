"""Strategies for the smallest parts of an answer, shared by the other modules."""

from typing import Any

from hypothesis import strategies as st

__all__ = ["JSON_OBJECTS", "JSON_VALUES", "TEXTS"]

# A path that is not UTF-8 appears in a host's message as a lone surrogate.
_STRANGE = ["", "ok", '"', "\\", "\n", "é", "\U0001f408", "\u2028", "\udcff", "{}", "null"]

TEXTS: st.SearchStrategy[str] = st.sampled_from(_STRANGE) | st.text(max_size=12)
"""Any short string that JSON can represent. Shrinks to the empty one."""

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    TEXTS,
    st.floats(allow_nan=False, allow_infinity=False),
)

JSON_VALUES: st.SearchStrategy[Any] = st.one_of(
    _scalars,
    st.lists(_scalars, max_size=2),
    st.dictionaries(TEXTS, _scalars | st.lists(_scalars, max_size=2), max_size=2),
)
"""Any JSON value, small: there is one host call per example. Shrinks to null."""

JSON_OBJECTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(TEXTS, JSON_VALUES, max_size=2)
"""Any JSON object, small. Shrinks to the empty one."""
