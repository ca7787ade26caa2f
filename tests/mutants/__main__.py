"""Switch every rule off, one at a time, and tell which test fails."""

import argparse
import os
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.mutants.rules import mutants
from tests.mutants.run import Outcome, outcomes

_NOTHING = "nothing is changed"
_HEAD = """\
# Mutants

Every rule for policies, every guard and every refusal of the simulated host, and every need of
every transition is switched off here, one at a time, and a test has to fail. `nox -s mutants`
does it and ends with exit code 1 if a mutant survives. This page is what it has found:
{killed} of {all} mutants were noticed.

The rules of a host are in one place for the client and for the simulated host where both need
them (`contract.lanes`, `policy.rules`), so that a mutant of them is one of both. The test is
the first that failed, below `tests/client/`; others may fail as well.
"""


def main(args: Sequence[str]) -> int:
    """Run them all and return the exit code: 1 if some have survived."""
    given = _options().parse_args(args)
    every = [m for m in mutants() if given.only in f"{m.group}: {m.name}"]
    _see_that_tests_pass(every, given.jobs)
    found: dict[str, Outcome] = {}
    for outcome in outcomes(every, given.jobs):
        found[_key(outcome.mutant)] = outcome
        print(f"{_key(outcome.mutant)}: {outcome.killer or 'SURVIVED'}", flush=True)  # noqa: T201
    told = [found[_key(m)] for m in every]
    if given.table:
        given.table.write_text(_page(told), encoding="utf-8")
    survived = [o for o in told if o.killer is None]
    print(f"{len(told) - len(survived)} of {len(told)} mutants were noticed")  # noqa: T201
    return 1 if survived else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="those with this in their name")
    parser.add_argument("--table", type=Path, help="where to write the list, as Markdown")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="at a time (default: %(default)s)"
    )
    return parser


def _see_that_tests_pass(every: Sequence[Mutant], jobs: int) -> None:
    """Fail early: where a test fails anyway, it has noticed nothing."""
    tests = dict.fromkeys(test for mutant in every for test in mutant.tests)
    alone = [Mutant("", _NOTHING, lambda: None, (test,)) for test in tests]
    for outcome in outcomes(alone, jobs):
        if outcome.killer is not None:
            raise SystemExit(f"{outcome.killer} fails although {_NOTHING}")


def _key(mutant: Mutant) -> str:
    return f"{mutant.group}: {mutant.name}"


def _page(told: Sequence[Outcome]) -> str:
    killed = sum(o.killer is not None for o in told)
    parts = [_HEAD.format(killed=killed, all=len(told))]
    for group, members in groupby(told, key=lambda o: o.mutant.group):
        rows = [f"| {_cell(o.mutant.name)} | {_killer(o)} |" for o in members]
        parts.append("\n".join([f"## {group}\n", "| Mutant | Test |", "| --- | --- |", *rows, ""]))
    return "\n".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _killer(outcome: Outcome) -> str:
    if outcome.killer is None:
        return "SURVIVED"
    return f"`{_cell(outcome.killer.removeprefix('tests/client/'))}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
