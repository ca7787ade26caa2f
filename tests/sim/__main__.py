"""Simulate many missions, each decided by a seed, and print those that break a rule.

python -m tests.sim --seeds 20000
python -m tests.sim --first 4711 --seeds 1 --trace
python -m tests.sim --planted "a worktree is not brought back onto its branch"
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import stamina.instrumentation

from tests.sim.nemesis import scenario
from tests.sim.planted import PLANTED, simulate_with
from tests.sim.world import Outcome

_TOLD_EVERY = 10.0  # seconds


def main(args: Sequence[str]) -> int:
    """Return the exit code: 1 if a rule was broken, with --planted if none was."""
    options = _options().parse_args(args)
    stamina.instrumentation.set_on_retry_hooks([])  # its log would be all that is seen
    bad = 0
    begun = told = time.monotonic()
    for done, outcome in enumerate(_outcomes(options), 1):
        if options.trace:
            _print_trace(outcome)
        if outcome.violation:
            bad += 1
            planted = f" --planted {options.planted!r}" if options.planted else ""
            print(f"seed {outcome.seed}: {outcome.violation}")  # noqa: T201
            print(f"  replay: {outcome.replay()}{planted}")  # noqa: T201
        if time.monotonic() - told > _TOLD_EVERY:
            told = time.monotonic()
            print(f"{done} of {options.seeds} seeds, {bad} with a violation", flush=True)  # noqa: T201
    seconds = time.monotonic() - begun
    print(f"{options.seeds} seeds in {seconds:.0f} s: {bad} with a violation")  # noqa: T201
    return int(bad == 0) if options.planted else int(bad > 0)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seeds", type=int, default=1000, help="how many (default: %(default)s)")
    add("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="at a time (default: %(default)s)")
    add("--trace", action="store_true", help="print the scenario and the journal of each seed")
    add("--planted", choices=PLANTED, help="switch this part of the orchestrator off")
    return parser


def _outcomes(options: argparse.Namespace) -> Iterator[Outcome]:
    seeds = range(options.first, options.first + options.seeds)
    play = partial(simulate_with, planted=options.planted)
    if options.jobs == 1 or options.seeds == 1:
        yield from map(play, seeds)
        return
    with ProcessPoolExecutor(options.jobs) as pool:
        yield from pool.map(play, seeds, chunksize=20)


def _print_trace(outcome: Outcome) -> None:
    print(scenario(outcome.seed))  # noqa: T201
    for event in outcome.events:
        print(f"  {event.at:9.1f} {event}")  # noqa: T201
    for trouble in outcome.troubles:
        print(f"  {trouble}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
