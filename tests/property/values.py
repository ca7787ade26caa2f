"""Strategies that the property tests share."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from hypothesis import strategies as st

from spec_kitty_client.policy.rules import SECRET_WORDS

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")

names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\\\0"), min_size=1, max_size=40
).filter(lambda n: n.strip() and ".." not in n)
"""Names of missions and work packages, of any characters that are allowed."""

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.sampled_from(["--force", "-h", "--", "=", "--note=x", "a=b=c", "", " ", "\n", "\u2028"]),
    st.builds(
        str.__mul__, st.sampled_from(["x", "é", "\U0001f408", "-", "=\n"]), st.integers(0, 20_000)
    ),
)
"""Texts of any kind that a program can be given as an argument."""

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
"""Any JSON value."""


def attempt(kind: type[E], call: Callable[[], T]) -> T | E:
    """Return what a call returns, or the error of this kind that it raises."""
    try:
        return call()
    except kind as error:
        return error


def strings(value: object) -> Iterator[str]:
    """Yield every string value at every depth, without the names of fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner)


def secret(value: object) -> bool:
    """Return whether a host would find a secret, without the SDK's regular expressions."""
    return any(word in text.lower() for text in strings(value) for word in SECRET_WORDS)
