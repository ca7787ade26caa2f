"""Measure the speed of calls, whole missions and the commands.

Every measurement is repeated, and shown as the median with the minimum and the maximum. No other
program should run on the machine meanwhile.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import calls, lab, load, machine, startup, table, virtual, whole
from tests.bench.figures import judge, worse

_PARTS = ("calls", "missions", "startup", "virtual")
_MORE = ("load",)
_WITHOUT_HOST = {"startup", "virtual"}
_SHAPES = ("8 wide", "chain of 4", "layered 12")
_EXAMPLES = """\
examples:
  python -m tests.bench --host .hosts/3.2.7/bin/spec-kitty --out now.json
  python -m tests.bench --host A/bin/spec-kitty --host B/bin/spec-kitty --only calls --runs 3
  python -m tests.bench --host A/bin/spec-kitty --baseline tests/bench/baseline.json
  python -m tests.bench --only virtual --runs 1
  python -m tests.bench --from now.json --table tests/bench/RESULTS.md
  python -m tests.bench --host A/bin/spec-kitty --only missions --shape '8 wide' \\
      --orchestrator 'other=other-orchestrator run {mission} --root {root} --jobs {slots}'

An orchestrator named "ours" replaces this one. Others find a traced spec-kitty, claude and
codex on PATH; these agents take their role from SPEC_KITTY_ROLE, else from the lane.
"""


def main() -> int:
    """Measure, write, show and compare."""
    options = _options()
    if options.saved:
        results = json.loads(options.saved.read_text(encoding="utf-8"))
    else:
        with tempfile.TemporaryDirectory(prefix="spec-kitty-bench-") as name:
            results = _measure(options, Path(name).resolve())
    if options.out:
        text = json.dumps(results, indent=1) + "\n"
        options.out.write_text(text, encoding="utf-8")
    shown = table.tables(results)
    if options.table:
        table.insert(options.table, shown)
    _print(shown)
    for path, now, most in judge(results):
        if now > most:
            _print(f"missed: {path} is {now:.3g}, and should be {most:.3g} at most")
    return _compare(results, options) or _failures(results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", type=Path, action="append", default=[], help="a spec-kitty; once or more")
    add("--only", default=",".join(_PARTS), help="of calls,missions,startup,virtual, and load")
    add("--runs", type=int, default=5, help="repetitions; 20 x as many of what is quick (5)")
    add("--out", type=Path, help="JSON file for everything that was measured")
    add("--from", type=Path, dest="saved", help="such a file, instead of measuring")
    add("--table", type=Path, help="page whose tables are replaced")
    add("--baseline", type=Path, help="such a JSON file; exit 1 if anything is slower than in it")
    add("--factor", type=float, default=1.25, help="by how much, to count (1.25)")
    group = parser.add_argument_group("missions")
    add = group.add_argument
    add("--mission-hosts", type=int, default=1, help="how many of the hosts (1)")
    add("--shape", action="append", choices=_SHAPES, help="the missions (all three)")
    add("--seed", type=int, default=0, help="of the graph of the layered mission (0)")
    add("--slots", type=int, default=4, help="agents at the same time (4)")
    add("--impl", type=float, default=5.0, help="seconds of an implementer (5)")
    add("--review", type=float, default=2.0, help="seconds of a reviewer (2)")
    add("--orchestrator", action="append", default=[], metavar="NAME=COMMAND",
        help="another one, with {mission} {root} {slots} in its command line")  # fmt: skip
    add("--agents-commit", action="store_true", help="agents commit what they write")
    add("--keep", type=Path, help="folder for the repositories and traces of all runs")
    options = parser.parse_args()
    options.only = options.only.split(",")
    parts = (*_PARTS, *_MORE)
    if unknown := set(options.only) - set(parts):
        parser.error(f"--only: {', '.join(sorted(unknown))}: choose from {', '.join(parts)}")
    if not options.host and not options.saved and not _WITHOUT_HOST.issuperset(options.only):
        parser.error("--host: name a spec-kitty to measure")
    if any("=" not in one for one in options.orchestrator):
        parser.error("--orchestrator: NAME=COMMAND")
    return options


def _measure(options: argparse.Namespace, base: Path) -> dict[str, Any]:
    env = lab.environment(base)
    labs = [lab.Lab.of(host, base, env) for host in options.host]
    results: dict[str, Any] = {**machine.about(), "runs": options.runs}
    if "calls" in options.only:
        results["calls"] = {one.release: calls.measure(one, options.runs) for one in labs}
    if "missions" in options.only:
        some = labs[: options.mission_hosts]
        results["missions"] = {one.release: whole.measure(one, _plan(options)) for one in some}
    if "startup" in options.only:
        asked = labs[0] if labs else None
        results["startup"] = startup.measure(env, 20 * options.runs, asked)
    if "load" in options.only:
        some = labs[: options.mission_hosts]
        results["load"] = {one.release: load.measure(one) for one in some}
    if "virtual" in options.only:
        results["virtual"] = virtual.measure(options.runs)
    return results


def _plan(options: argparse.Namespace) -> whole.Plan:
    named = dict(one.split("=", 1) for one in options.orchestrator)
    return whole.Plan(
        orchestrators={"ours": whole.OURS, **named},
        runs=options.runs,
        shapes=tuple(options.shape or _SHAPES),
        slots=options.slots,
        implement=options.impl,
        review=options.review,
        seed=options.seed,
        commits=options.agents_commit,
        keep=options.keep,
    )


def _compare(results: Any, options: argparse.Namespace) -> int:
    if options.baseline is None:
        return 0
    before = json.loads(options.baseline.read_text(encoding="utf-8"))
    found = worse(results, before, options.factor)
    for one in found:
        _print(f"slower: {one}")
    if not found:
        _print(f"nothing is slower than on {before['date']}, by a factor of {options.factor}")
    return 1 if found else 0


def _failures(results: Any) -> int:
    """Return 1 if a run of this orchestrator did not merge its work."""
    failed = [
        why
        for shapes in results.get("missions", {}).values()
        for one in shapes.get("ours", {}).values()
        for why in one["failed"]
    ]
    for why in failed:
        _print(f"failed: {why}")
    return 1 if failed else 0


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
