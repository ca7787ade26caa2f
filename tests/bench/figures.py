"""The figures of a measurement, and the figures that are worse than in another one.

For every figure less is better. Other values in the results are not compared.
"""

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["GOALS", "Goal", "Worse", "every", "figure", "judge", "worse"]

Figure = dict[str, Any]

_NOTICEABLE = {"s": 0.05, "ms": 10.0, "mb": 5.0}
"""The noise by unit, which is the end of a figure's name: smaller differences do not count."""


def figure(values: Iterable[float]) -> Figure:
    """Return the median of some runs, and their range."""
    runs = [round(value, 5) for value in values]
    return {"median": statistics.median(runs), "low": min(runs), "high": max(runs), "runs": runs}


def every(results: Any, path: str = "") -> Iterator[tuple[str, Figure]]:
    """Yield every figure of some results with its path, such as ``startup/--help/over_ms``."""
    if not isinstance(results, dict):
        return
    if "median" in results:
        yield path, results
        return
    for name, inner in results.items():
        yield from every(inner, f"{path}/{name}" if path else name)


@dataclass(frozen=True)
class Worse:
    """A figure that is worse than before."""

    path: str
    now: float
    before: float

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.now:.4g}, was {self.before:.4g} ({self.now / self.before:.2f} x)"
        )


def worse(now: Any, before: Any, factor: float) -> list[Worse]:
    """Return the figures that are worse than before by more than a factor, the worst first.

    For results of another machine, only ratios are compared.
    """
    same = _kind(now) == _kind(before)
    then = dict(every(before))
    found = []
    for path, taken in every(now):
        name = path.rpartition("/")[2]
        if path not in then or not (same or name.startswith("ratio")):
            continue
        old, new = then[path]["median"], taken["median"]
        least = _NOTICEABLE.get(name.rpartition("_")[2], 0.0)
        if new > max(old * factor, old + least) and old > 0:
            found.append(Worse(path, new, old))
    return sorted(found, key=lambda w: w.before / w.now)


def _kind(results: Any) -> tuple[Any, ...]:
    machine = results.get("machine", {})
    return machine.get("cpu"), machine.get("cores")


@dataclass(frozen=True)
class Goal:
    """The maximum of a figure; None: it has no goal."""

    pattern: str
    most: float | None


GOALS = (
    Goal("calls/*/verbs/merge-mission/ratio", None),
    Goal("calls/3.2.7/verbs/contract-version/ratio", 1 / 50),
    Goal("calls/3.2.7/verbs/*/ratio", 1 / 18),
    Goal("calls/3.2.7/mutations_of_one_wp_s", 0.8),
    Goal("calls/1.0.3/verbs/*/ratio", 1 / 8),
    Goal("missions/3.2.7/ours/8 wide/ratio", 1.45),
    Goal("missions/3.2.7/ours/chain of 4/ratio", 1.25),
    Goal("missions/3.2.7/ours/layered 12/ratio", 1.35),
    Goal("missions/3.2.7/ours/*/ratio_after_first_answer", 1.15),
    Goal("missions/3.2.7/ours/*/mutations_per_wp", 4),
    Goal("missions/3.2.7/ours/*/idle_per_wp_s", 0.5),
    Goal("load/*/*/orchestrator_peak_mb", 100),
    Goal("load/*/*/keeper_peak_mb", 100),
    Goal("load/*/*/git_peak_mb", 100),
    Goal("load/*/*/ratio_cpu_last_first", 1.2),
    Goal("startup/--help/over_ms", 250),
    Goal("startup/import spec_kitty_client/over_ms", 150),
    Goal("virtual/scale/growth/host_cpu_s", None),
    Goal("virtual/scale/growth/*", 1.1),
    Goal("virtual/scale/sizes/10000/peak_mb", 200),
    Goal("virtual/order/steady/ratio_worst", 1.01),
    Goal("virtual/order/steady/ratio_mean", 1.0),
    Goal("virtual/order/drawn, mean of 20/ratio_worst", 1.01),
    Goal("virtual/order/drawn, mean of 20/ratio_mean", 1.0),
)
"""The goals; the first that matches a figure counts."""


def judge(results: Any) -> Iterator[tuple[str, float, float]]:
    """Yield path, median and goal of every figure that has a goal."""
    for path, taken in every(results):
        fitting = (goal.most for goal in GOALS if fnmatchcase(path, goal.pattern))
        most = next(fitting, None)
        if most is not None:
            yield path, taken["median"], most
