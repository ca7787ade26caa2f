"""The list of mutants: every rule for policies, every guard, every need, every refusal."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from types import ModuleType
from typing import Any

from attrs import evolve

from spec_kitty_client.contract import lanes
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import Lane, Need
from spec_kitty_client.policy import errors as policy_errors
from spec_kitty_client.policy import rules as policy_rules
from spec_kitty_client.policy.errors import PolicyError, PolicyRule
from spec_kitty_client.testing.host import (
    admission,
    arguments,
    board,
    checkout,
    files,
    guards,
    marking,
    merging,
    releases,
    repository,
    simulated,
    store,
    verbs,
    workspace,
)
from tests.mutants.mutant import Mutant, replace, returning
from tests.mutants.statements import refusals

__all__ = ["mutants"]

_TESTS = "tests/client/testing"
_PLAYED = f"{_TESTS}/test_host_corpus.py::test_the_host_in_memory_answers_as_the_real_one"
_POLICY_TESTS = tuple(f"tests/client/policy/test_{name}.py" for name in ("rules", "policy"))
_HOST_TESTS = (
    _PLAYED,
    *(f"{_TESTS}/test_{n}.py" for n in ("guards", "arguments", "board", "host", "files")),
)
_MARKING_TESTS = (f"{_TESTS}/test_marking.py",)
_GIT_TESTS = (f"{_TESTS}/test_repository.py",)
_PLAN_TESTS = (
    *(f"{_TESTS}/test_{n}.py" for n in ("files", "board", "marking", "guards")),
    *_GIT_TESTS,
)
_STORE_TESTS = (f"{_TESTS}/test_store.py",)
_RECORDED = {
    Dialect.F1: "1.0.3",
    Dialect.F2: "2.1.3",
    Dialect.M0: "3.1.0",
    Dialect.M1: "3.1.10",
    Dialect.M2: "3.2.1",
    Dialect.M3: "3.2.5",
    Dialect.M4: "3.2.7",
    Dialect.M5: "4.0.0rc7",
}
_HOST = (admission, guards, verbs, arguments, board, files, releases, simulated, workspace)
_GOOD = dict.fromkeys(policy_rules.TEXT_FIELDS, "x") | {"dangerous_flags": []}


def mutants() -> list[Mutant]:
    """Return all of them, group by group."""
    return [*_policies(), *_guards(), *_ways(), *_hosts(), *_plans(), *_statements()]


# Policies


def _policies() -> Iterator[Mutant]:
    def one(name: str, apply: Callable[[], object]) -> Mutant:
        return Mutant("The rules for policies", name, apply, _POLICY_TESTS)

    for rule in PolicyRule:
        yield one(f"rule {rule} is switched off", partial(_without_rule, rule))
        if rule.since:
            yield one(f"rule {rule} on every host", partial(policy_errors._SINCE.pop, rule))
    for word in policy_rules.SECRET_WORDS:
        yield one(f"the word {word} is no secret", partial(_without_word, word))
    for name in ("BANNED_FLAGS", "REQUIRED_FIELDS", "TEXT_FIELDS"):
        for item in sorted(getattr(policy_rules, name)):
            yield one(f"{item} is not in {name}", partial(_without_item, name, item))


def _without_rule(rule: PolicyRule) -> None:
    problems, parse = policy_rules.object_problems, policy_rules.parse_policy

    def object_problems(raw: object, release: policy_rules.Version | None) -> tuple[object, ...]:
        return tuple(p for p in problems(raw, release) if p.rule is not rule)

    def parse_policy(text: str | bytes) -> object:
        try:
            return parse(text)
        except PolicyError as e:
            if e.problems[0].rule is rule:
                return _GOOD
            raise

    replace(problems, object_problems)
    replace(parse, parse_policy)


def _without_word(word: str) -> None:
    rest = [w for w in policy_rules.SECRET_WORDS if w != word]
    policy_rules._SECRET = re.compile("|".join(rest), re.IGNORECASE)


def _without_item(name: str, item: str) -> None:
    """Take it out of the rule, and not out of what tests take from there."""
    known = getattr(policy_rules, name)
    setattr(policy_rules, name, type(known)(i for i in known if i != item))


# Transitions


def _guards() -> Iterator[Mutant]:
    group = "The rules for transitions"
    for guard in guards.GUARDS:
        yield Mutant(group, guard.__name__, partial(_without_guard, guard), _HOST_TESTS)
    beside = (guards.work_is_committed, guards.evidence_is_whole, guards.force_is_explained)
    for rule in beside:
        yield Mutant(group, rule.__name__, returning(rule, None), _HOST_TESTS)


def _without_guard(guard: guards.Guard) -> None:
    guards.GUARDS = tuple(g for g in guards.GUARDS if g is not guard)


def _ways() -> Iterator[Mutant]:
    for dialect in Dialect:
        known = lanes.moves(dialect)
        every = product(sorted(lanes.lanes_of(dialect)), repeat=2)
        # To stay where one is is another matter: verbs.transition, on 1.0.x
        joined = sorted(way for way in known if way[0] != way[1])
        strangers = sorted(way for way in every if way not in known and way[0] != way[1])
        yield _table(dialect, f"{_named(joined[0])} is no way", {joined[0]: None})
        yield _table(dialect, f"{_named(strangers[0])} is one", {strangers[0]: frozenset()})
        for way in joined:
            for need in sorted(known[way]):
                rest = known[way] - {need}
                yield _table(dialect, f"{_named(way)} needs no {need}", {way: rest})


_Move = tuple[Lane, Lane]


def _named(move: _Move) -> str:
    return f"{move[0]} to {move[1]}"


def _table(dialect: Dialect, what: str, changes: dict[_Move, frozenset[Need] | None]) -> Mutant:
    tests = (f"{_PLAYED}[{_RECORDED[dialect]}]", "tests/client/contract/test_lanes.py")
    group = f"The ways of {dialect}"
    return Mutant(group, what, partial(_change_moves, dialect, changes), tests)


def _change_moves(dialect: Dialect, changes: dict[_Move, frozenset[Need] | None]) -> None:
    known = lanes.moves
    changed = {w: n for w, n in (dict(known(dialect)) | changes).items() if n is not None}
    replace(known, lambda d: changed if d is dialect else known(d))


# What a host does


def _hosts() -> Iterator[Mutant]:
    def one(name: str, apply: Callable[[], object]) -> Mutant:
        return Mutant("What a host does", name, apply, _HOST_TESTS)

    for lane in (Lane.DONE, Lane.APPROVED):
        yield one(f"{lane} is not enough for dependents", partial(_not_enough, lane))
    for lane in sorted(lanes.POLICY_LANES):
        yield one(f"{lane} takes no policy", partial(_takes_no_policy, lane))
    yield one("canceled is not enough for dependents", returning(verbs._is_dropped, False))
    yield one("canceled is enough without a reason", partial(_dropped_for, "anything"))
    yield one("a reason is one, whoever wrote it", partial(_dropped_for, "a reason"))
    yield one("nothing is passed over by a merge", returning(workspace.is_passed_over, False))
    yield one("any name of a mission is safe", returning(admission._is_safe, True))
    yield one("a review is never under way", returning(verbs._is_in_review, False))
    yield one("lanes are not looked at first", returning(admission.check_lane, None))
    yield one("JSON is not looked at first", returning(admission.check_json, None))
    for feature in filter(_is_asked_for, Feature):
        yield one(f"no host has: {feature}", partial(_without_feature, feature))


def _plans() -> Iterator[Mutant]:
    def one(name: str, apply: Callable[[], object]) -> Mutant:
        return Mutant("What a host makes of a plan", name, apply, _PLAN_TESTS)

    yield one("no heading hides a box", partial(_sees_boxes_as, "3.1.0"))
    yield one("a heading hides every box", partial(_sees_boxes_as, "3.1.1"))
    yield one("no box is ever open", returning(files.has_open_box, False))
    yield one("owners of the same files share no lane", partial(_planned, "owns", ()))
    yield one("planning is code", partial(_planned, "planning", False))
    yield one("nothing is on a coordination branch", _uncoordinated)
    yield one("no lane depends on another", returning(workspace.needed, []))
    yield one("the planning lane is never stale", returning(workspace.is_stale, False))
    yield one("planning is never in the checkout", returning(workspace.is_in_checkout, False))
    yield one("subtasks may be there twice", returning(board._check_subtasks, None))
    yield one("a mark is told, and not written", _unwritten)


def _sees_boxes_as(release: str) -> None:
    known = files.has_open_box
    replace(known, lambda _, text, wp: known(releases.Release(release), text, wp))


def _planned(name: str, value: object) -> None:
    """Let every plan say this about its work packages."""
    known = board.PackagePlan.of

    def of(_: type, planned: Any) -> board.PackagePlan:
        return evolve(known(planned), **{name: value})

    board.PackagePlan.of = classmethod(of)  # type: ignore[method-assign, assignment]


def _uncoordinated() -> None:
    board.Mission.coordinated = property(lambda self: False)  # type: ignore[method-assign, assignment]


def _unwritten() -> None:
    marking.Marking._write = lambda *_: None  # type: ignore[method-assign]


def _not_enough(lane: Lane) -> None:
    known = verbs._enough
    replace(known, lambda release: known(release) - {lane})


def _dropped_for(reason: str) -> None:
    """Let this stand for whatever was said; for nothing said, only if it is ``anything``."""
    known = verbs._is_dropped

    def is_dropped(release: releases.Release, package: board.Package) -> bool:
        said = package.reason or reason == "anything"
        return known(release, evolve(package, reason=reason if said else ""))

    replace(known, is_dropped)


def _takes_no_policy(lane: Lane) -> None:
    known = admission._takes_policy
    replace(known, lambda options, release: options.get("to") != lane and known(options, release))


def _is_asked_for(feature: Feature) -> bool:
    """Return whether a simulated host looks at it; others come with the lanes of a dialect."""
    return any(f"Feature.{feature.name}" in inspect.getsource(module) for module in _HOST)


def _without_feature(feature: Feature) -> None:
    """Let simulated hosts lack it, and not the client, whose tests are others."""
    known = releases.Release.has
    releases.Release.has = lambda self, asked: asked is not feature and known(self, asked)  # type: ignore[method-assign]


# Refusals


def _statements() -> Iterator[Mutant]:
    yield from _refusals(policy_rules, ast.Yield, _POLICY_TESTS)
    for module in _HOST:
        yield from _refusals(module, ast.Raise, _HOST_TESTS)
    yield from _refusals(marking, ast.Raise, _MARKING_TESTS)
    for module in (repository, merging, checkout):
        yield from _refusals(module, ast.Raise, _GIT_TESTS)
    yield from _refusals(store, ast.Raise, _STORE_TESTS)


def _refusals(
    module: ModuleType, kind: type[ast.Raise] | type[ast.Yield], tests: tuple[str, ...]
) -> Iterator[Mutant]:
    name = module.__name__.removeprefix("spec_kitty_client.")
    for refusal in refusals(module, kind):
        what = f"{refusal.where}: not `{refusal.what}` if `{refusal.why}`"
        yield Mutant(f"The refusals of {name}", what, refusal.drop, tests)
