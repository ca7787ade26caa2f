"""Tests of `tests.mutants`: that rules are really switched off, and that none is forgotten."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.contract.lanes import moves
from spec_kitty_client.policy.errors import PolicyRule
from spec_kitty_client.testing.host import guards, verbs
from tests.mutants.rules import mutants
from tests.mutants.statements import refusals

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "tests" / "mutants" / "TABLE.md"


def group(name: str) -> set[str]:
    return {m.name for m in mutants() if m.group == name}


def test_no_two_mutants_have_one_name() -> None:
    """No two mutants have the same group and name."""
    names = [(m.group, m.name) for m in mutants()]
    assert len(set(names)) == len(names) > 200


def test_every_rule_for_policies_has_a_mutant() -> None:
    """Every PolicyRule has a mutant."""
    known = group("The rules for policies")
    assert known >= {f"rule {rule} is switched off" for rule in PolicyRule}


def test_every_guard_has_a_mutant() -> None:
    """Every guard has a mutant, those in `GUARDS` and three others."""
    known = group("The rules for transitions")
    assert known >= {guard.__name__ for guard in guards.GUARDS}
    assert known >= {"force_is_explained", "evidence_is_whole", "work_is_committed"}


@pytest.mark.parametrize("dialect", list(Dialect))
def test_every_need_has_a_mutant(dialect: Dialect) -> None:
    """Every need of every move has a mutant, and two more remove and add a move."""
    known = group(f"The ways of {dialect}")
    needs = [n for (a, b), wanted in moves(dialect).items() for n in wanted if a != b]
    assert len(known) == len(needs) + 2


def test_every_raise_is_found() -> None:
    """Every raise in the source is found, with its function and condition."""
    found = list(refusals(verbs, ast.Raise))
    assert len(found) == sum(
        line.split()[:1] == ["raise"] for line in inspect.getsource(verbs).splitlines()
    )
    claimed = next(r for r in found if r.where == "_check_claim" and "_claimed(" in r.what)
    assert "package.actor not in" in claimed.why


def test_the_tests_of_a_mutant_are_there() -> None:
    """Every file that the mutants name as their tests exists."""
    names = {name.partition("::")[0] for mutant in mutants() for name in mutant.tests}
    assert {name for name in names if not (ROOT / name).is_file()} == set()


def test_a_mutant_that_is_noticed(tmp_path: Path) -> None:
    """The command names the test that failed with the mutant, and has exit code 0."""
    done = run("--only=transitions: note_is_given", f"--table={tmp_path / 'table.md'}")
    assert done.returncode == 0, done.stderr
    assert "note_is_given: tests/client/testing/test_host_corpus.py::" in done.stdout
    assert "1 of 1 mutants" in (tmp_path / "table.md").read_text()


def test_a_mutant_that_survives() -> None:
    """The command names a mutant that survived, and has exit code 1."""
    code = (
        "from tests.mutants import __main__ as m, mutant;"
        "tests = ('tests/client/contract/test_lanes.py::test_doing_is_in_progress',);"
        "m.mutants = lambda: [mutant.Mutant('G', 'nothing', lambda: None, tests)];"
        "raise SystemExit(m.main([]))"
    )
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "G: nothing: SURVIVED" in done.stdout


def test_a_test_that_fails_anyway_notices_nothing() -> None:
    """The command tries no mutant with a test that fails without it."""
    code = (
        "from tests.mutants import __main__ as m, mutant;"
        "tests = ('tests/client/no_such_test.py',);"
        "m.mutants = lambda: [mutant.Mutant('G', 'nothing', lambda: None, tests)];"
        "raise SystemExit(m.main([]))"
    )
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the tests cannot be run" in done.stderr
    assert "SURVIVED" not in done.stdout


def run(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tests.mutants", "--jobs=1", *args]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_page_tells_of_every_rule() -> None:
    """tests/mutants/TABLE.md has every rule, and no mutant that survived."""
    page = PAGE.read_text(encoding="utf-8")
    assert "SURVIVED" not in page
    for name in ("The rules for policies", "The rules for transitions"):
        for rule in group(name):
            assert f"| {rule} |" in page, "run nox -s mutants"
