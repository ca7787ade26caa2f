"""Strategies for missions: work packages and their dependencies."""

from collections.abc import Callable
from enum import StrEnum

from hypothesis import strategies as st

__all__ = ["Shape", "missions"]

_Edges = list[set[int]]  # the dependencies of each work package, in a topological order


class Shape(StrEnum):
    """How the work packages of a mission depend on each other."""

    CHAIN = "one after the other"
    SPARSE = "each depends on two of the three before it at most"
    DENSE = "each depends on all before it but two at most"
    WIDE = "all others depend on one"
    LAYERED = "layers, each of which depends on some of the one before"
    DIAMOND = "one, then several side by side, then one that joins them"
    DISCONNECTED = "groups without dependencies between them"


def missions(
    *, shape: Shape | None = None, min_size: int = 1, max_size: int = 8
) -> st.SearchStrategy[dict[str, list[str]]]:
    """Draw a mission: work package ids in plan order, each with the ids of its dependencies.

    Use it to test schedulers, hosts, and other code that follows dependencies. There are no
    cycles. In some examples work packages depend only on earlier ones of the plan, in others only
    on later ones or on both, as in real plans.

    Shrinks to ``{"WP01": []}``, or to few work packages in plan order.

    Args:
        shape: The shape of the dependencies; None: any shape. A mission that is too small for its
            shape is a chain.
        min_size: Minimum number of work packages.
        max_size: Maximum number of work packages.
    """
    return _missions(list(Shape) if shape is None else [shape], st.integers(min_size, max_size))


@st.composite
def _missions(
    draw: st.DrawFn, shapes: list[Shape], sizes: st.SearchStrategy[int]
) -> dict[str, list[str]]:
    size = draw(sizes)
    edges = _EDGES[draw(st.sampled_from(shapes))](draw, size)
    ids = [f"WP{i:02}" for i in range(1, size + 1)]
    order = draw(st.just(ids) | st.just(ids[::-1]) | st.permutations(ids))
    needs = {order[i]: sorted(order[k] for k in before) for i, before in enumerate(edges)}
    return {wp: needs[wp] for wp in ids}


def _two(draw: st.DrawFn, i: int) -> set[int]:
    """Draw at most two of the three indexes before one, with a single draw."""
    n = draw(st.integers(0, 15))
    return {i - back for back in divmod(n, 4) if 0 < back <= i}


def _sparse(draw: st.DrawFn, size: int) -> _Edges:
    return [_two(draw, i) for i in range(size)]


def _dense(draw: st.DrawFn, size: int) -> _Edges:
    return [set(range(i)) - _two(draw, i) for i in range(size)]


def _chain(_draw: st.DrawFn, size: int) -> _Edges:
    return [{i - 1} if i else set() for i in range(size)]


def _wide(_draw: st.DrawFn, size: int) -> _Edges:
    return [{0} if i else set() for i in range(size)]


def _layered(draw: st.DrawFn, size: int) -> _Edges:
    edges: _Edges = [set() for _ in range(draw(st.integers(1, min(_WIDEST, size))))]
    above = range(len(edges))
    while len(edges) < size:
        start = len(edges)
        width = draw(st.integers(1, min(_WIDEST, size - start)))
        edges += [_some(draw, above) for _ in range(width)]
        above = range(start, start + width)
    return edges


_WIDEST = 4  # work packages in a layer


def _some(draw: st.DrawFn, above: range) -> set[int]:
    """Draw one or more of a range, with a single draw: one bit for each."""
    bits = draw(st.integers(1, 2 ** len(above) - 1))
    return {above[i] for i in range(len(above)) if bits >> i & 1}


def _diamond(_draw: st.DrawFn, size: int) -> _Edges:
    last = size - 1
    inner = set(range(1, last))
    return [inner or {0} if i == last > 0 else {0} if i else set() for i in range(size)]


def _disconnected(draw: st.DrawFn, size: int) -> _Edges:
    """Return groups of one to three, whose later members depend on the first."""
    edges: _Edges = []
    while len(edges) < size:
        start = len(edges)
        left = size - start
        # At least two groups, if there are two work packages.
        most = min(3, left if start or left == 1 else left - 1)
        edges += [{start} if i else set() for i in range(draw(st.integers(1, most)))]
    return edges


_EDGES: dict[Shape, Callable[[st.DrawFn, int], _Edges]] = {
    Shape.CHAIN: _chain,
    Shape.SPARSE: _sparse,
    Shape.DENSE: _dense,
    Shape.WIDE: _wide,
    Shape.LAYERED: _layered,
    Shape.DIAMOND: _diamond,
    Shape.DISCONNECTED: _disconnected,
}
