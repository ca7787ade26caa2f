"""The results as Markdown tables, and their insertion into ``RESULTS.md``."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.figures import judge

__all__ = ["insert", "tables"]

_BEGIN, _END = "<!-- bench: begin -->\n", "<!-- bench: end -->\n"
_SCALE = {
    "cpu_s": "processor, s",
    "peak_mb": "peak memory, MB",
    "added_mb": "of it for the mission, MB",
    "events": "events in the journal",
    "agents": "runs of agents",
    "calls": "calls to the host",
    "reads": "of them `mission-state`",
    "moves": "moves on the board",
    "virtual_hours": "hours that passed",
    "ratio_bound": "wall / lower bound",
    "host_cpu_s": "the host: processor, s",
    "host_peak_mb": "the host: peak memory, MB",
}
_LOST = {
    "first_answer_s": "until the host's first answer",
    "first_agent_s": "until the first agent",
    "to_review_s": "implementer to reviewer",
    "done_s": "reviewer to done",
    "next_s": "done to the next implementer",
    "end_s": "after the last agent",
    "order_s": "agents beyond the bound",
}


def tables(results: Any) -> str:
    """Return all results as Markdown."""
    parts = [_where(results)]
    for release, found in results.get("calls", {}).items():
        parts.append(f"### Calls of {release}\n\n{_calls(found)}")
    for release, found in results.get("missions", {}).items():
        parts.append(f"### Missions on {release}\n\n{_missions(found)}")
    if "startup" in results:
        parts.append(f"### Start-up\n\n{_startup(results['startup'])}")
    for release, found in results.get("load", {}).items():
        parts.append(f"### Large runs on {release}\n\n{load.table(found)}")
    if "virtual" in results:
        parts.append(f"### In virtual time\n\n{_virtual(results['virtual'])}")
    goals = list(judge(results))
    if goals:
        rows = [(path, _n(now), _n(most), _met(now, most)) for path, now, most in goals]
        parts.append(f"### Goals\n\n{_table(('', 'measured', 'at most', ''), rows)}")
    return "\n".join(parts)


def _met(now: float, most: float) -> str:
    return "met" if now <= most else "**missed**"


def insert(path: Path, text: str) -> None:
    """Put the tables between the two comments of a page."""
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        msg = f"{path} has no lines {_BEGIN.strip()} and {_END.strip()} to put the tables between"
        raise SystemExit(msg)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def _where(results: Any) -> str:
    machine = results["machine"]
    changed = " and what was not committed" if results["changed_since"] else ""
    return (
        f"{results['date']}, commit {results['commit'][:12]}{changed}. {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['memory_gb']} GB; {machine['os']}; "
        f"Python {machine['python']}; load before: {machine['load_before']}.\n"
    )


def _calls(found: Any) -> str:
    rows = [
        (
            f"`{verb}`",
            _spread(figures["cold_s"]),
            _spread(figures["warm_s"]),
            f"1/{1 / figures['ratio']['median']:.0f}",
            f"1/{1 / figures['ratio']['high']:.0f} to 1/{1 / figures['ratio']['low']:.0f}",
            _spread(figures["first_s"]),
            _spread(figures["alone_s"]),
            f"1/{1 / figures['ratio_alone']['median']:.0f}",
        )
        for verb, figures in found["verbs"].items()
    ]
    head = (
        *("Verb", "cold, s", "warm, s", "warm / cold", "in each run", "new server, s"),
        *("host alone, s", "alone / cold"),
    )
    server, walk = found["server"], found["walk"]
    return (
        f"{_table(head, rows)}\n"
        f"All mutations of one work package together, warm: "
        f"{_spread(found['mutations_of_one_wp_s'])} s. A server gives its first answer after "
        f"{_spread(server['first_answer_s'])} s and holds {_n(server['rss_mb']['median'])} MB "
        f"({_n(server['pss_mb']['median'])} MB with its next call). All calls of a run take "
        f"{_spread(walk['cold_cpu_s'])} s of the processor cold and {_spread(walk['warm_cpu_s'])} "
        f"warm: 1/{1 / walk['ratio_cpu']['median']:.0f}, whatever else the machine does, which "
        f"was {_all(walk['other_load']['runs'])} processors' work.\n"
    )


def _missions(found: Any) -> str:
    every = [(name, shape, one) for name, shapes in found.items() for shape, one in shapes.items()]
    good = [(name, shape, one) for name, shape, one in every if "ratio" in one]
    head = (
        *("", "Mission", "wall, s", "bound, s", "ratio", "after the first answer"),
        *("at once", "idle per WP, s", "to review per WP, s", "mutations per WP"),
        "other load",
    )
    rows = [
        (
            *(name, shape, _spread(one["wall_s"]), _n(one["lower_bound_s"]["median"])),
            *(_spread(one["ratio"]), _spread(one["ratio_after_first_answer"])),
            *(_all(one["at_once"]), _spread(one["idle_per_wp_s"])),
            *(_spread(one["to_review_per_wp_s"]), _n(one["mutations_per_wp"]["median"])),
            _all(one["other_load"]),
        )
        for name, shape, one in good
    ]
    lost_head = ("Seconds beyond the bound", *(f"{name}, {shape}" for name, shape, _ in good))
    lost = [(text, *(_spread(o["lost"][key]) for _, _, o in good)) for key, text in _LOST.items()]
    verbs = sorted({verb for _, _, one in good for verb in one["calls"]})
    calls_head = ("Calls: times x seconds", *lost_head[1:])
    calls = [(f"`{v}`", *(_times(one["calls"].get(v)) for _, _, one in good)) for v in verbs]
    failed = [
        f"- {name}, {shape}: {len(one['failed'])} of its runs failed\n"
        for name, shape, one in every
        if one["failed"]
    ]
    parts = [_table(head, rows), _table(lost_head, lost), _table(calls_head, calls)]
    return "\n".join([*parts, *(["".join(failed)] if failed else [])])


def _times(one: Any) -> str:
    return f"{_n(one['times'])} x {_n(one['each_s']['median'])}" if one else "-"


def _startup(found: Any) -> str:
    rows = [
        (
            f"`{name}`" if "over_ms" in one else name,
            _spread(one.get("over_ms") or one["wall_ms"]),
            _n((one.get("over_ms") or one["wall_ms"])["low"]),
            _spread(one.get("over_cpu_ms") or one["cpu_ms"]),
        )
        for name, one in found.items()
    ]
    return _table(("More than Python itself", "ms", "best, ms", "processor, ms"), rows)


def _virtual(found: Any) -> str:
    sizes = found["scale"]["sizes"]
    growth = found["scale"]["growth"]
    rows = [
        (text, *(_spread(one[key]) for one in sizes.values()), _power(growth.get(key)))
        for key, text in _SCALE.items()
    ]
    head = ("Work packages", *(f"{int(size):,}" for size in sizes), "grows as")
    orders = [
        (
            *(name, str(one["missions"]), _fine(one["ratio_mean"]), _fine(one["ratio_worst"])),
            *(_fine(one["ratio_best"]), str(one["worse_by_1_percent"])),
            *(_fine(one["ratio_bound_mean"]), _fine(one["ratio_bound_worst"])),
            f"{one['plan_bound_mean']:.3f}, {one['plan_bound_worst']:.3f}",
        )
        for name, one in found["order"].items()
    ]
    order_head = (
        *("Agents", "runs", "longest path / plan, mean", "worst", "best"),
        *("worse by more than 1 %", "to the bound, mean", "worst", "plan: mean, worst"),
    )
    calls = found["answers"]
    simulated = (_spread(calls["seconds"]), _power(calls["growth"]))
    answers = _table(("10,000 calls of a simulated host, s", "state grows as"), [simulated])
    return f"{_table(head, rows)}\n{_table(order_head, orders)}\n{answers}"


def _power(figure: Any) -> str:
    return f"n^{figure['median']:.2f}" if figure else ""


def _fine(figure: Any) -> str:
    return f"{figure['median']:.3f}"


def _spread(figure: Any) -> str:
    low, middle, high = (_n(figure[key]) for key in ("low", "median", "high"))
    return middle if low == high else f"{middle} ({low} to {high})"


def _all(values: Iterable[float]) -> str:
    return ", ".join(_n(value) for value in sorted(set(values)))


def _n(value: float) -> str:
    """Return a number with three significant digits."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return (
        f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
        if abs(value) >= 1
        else f"{value:.3f}"
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def lines() -> Iterator[str]:
        yield f"| {' | '.join(head)} |"
        yield f"|{'---|' * len(head)}"
        for row in rows:
            yield f"| {' | '.join(row)} |"

    return "\n".join(lines()) + "\n"
