"""The orchestrator in virtual time on a simulated host: how it grows, and how it orders."""

from typing import Any

from tests.bench import answers, order, scale

__all__ = ["measure"]


def measure(runs: int) -> dict[str, Any]:
    """Return all; the order of work is the same however often it is found out."""
    return {
        "answers": answers.measure(runs),
        "scale": scale.measure(runs),
        "order": order.measure(),
    }
