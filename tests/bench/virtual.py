"""The orchestrator in virtual time on a simulated host: its growth and its order of work."""

from typing import Any

from tests.bench import answers, order, scale

__all__ = ["measure"]


def measure(runs: int) -> dict[str, Any]:
    """Return all results; the order of work needs no repetition, because it is deterministic."""
    return {
        "answers": answers.measure(runs),
        "scale": scale.measure(runs),
        "order": order.measure(),
    }
