"""Writes reference.md and loop.md from the code: ``python docs/reference.py``."""  # noqa: INP001

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
from attrs import NOTHING, Attribute, fields
from packaging.version import Version

from spec_kitty_client import errors
from spec_kitty_client.api import commands, design
from spec_kitty_client.api.commands import Command
from spec_kitty_client.api.spelling import spell
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.codes import ErrorCode, Family
from spec_kitty_client.contract import NEWEST_TESTED, OLDEST, Contract
from spec_kitty_client.contract.dialects import Dialect, Feature, contract_of, oldest_release
from spec_kitty_client.contract.lanes import POLICY_LANES, Lane, Need, lanes_of, moves
from spec_kitty_client.errors import Failure, HostError, rejection
from spec_kitty_orchestrator import loop

__all__ = ["loop_page", "page"]

_AT = Path(__file__).with_name("reference.md")
_EXAMPLES: dict[str, Any] = {
    "origin_check": "off",  # values of the options for which not any text will do
    "to": "done",
    "strategy": "merge",
    "topology": "lanes",
    "origin": "plan",
    "result": "success",
    "request": {},
    "answers": {},
}
_INTRO = """\
# Reference

What each release of the host understands and how the SDK says it, written by
`python docs/reference.py` from the code itself. Releases are those of `spec-kitty-cli` on
PyPI. Where hosts behave otherwise than one would think: [known host quirks](quirks.md).
"""


_LOOP = """\
# The reference loop

This is the module with which `spec-kitty-orchestrator` runs a mission, as it is
(`spec_kitty_orchestrator/loop.py`). Read it before you write a loop of your own; a program of one
page on the SDK alone is in [The SDK](sdk.md). It shows in which order things have to happen:

- Each work package has a task of its own, and an agent's turn takes a slot.
- After an approval, others start before the host is told, so that no agent waits for it.
- One work package that fails does not stop the others.
- The mission is read again only if something may have changed that this program did not do.
"""


def page() -> str:
    """Return the text of reference.md."""
    parts = [_INTRO, *_verbs(), *_features(), *_lanes(), *_codes()]
    return "\n".join(parts)


def loop_page() -> str:
    """Return the text of loop.md."""
    source = Path(inspect.getfile(loop)).read_text(encoding="utf-8")
    return f"{_LOOP}\n```python\n{source}```\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _code(words: Iterable[object]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _span(first: Dialect, last: Dialect) -> str:
    return first.value if first is last else f"{first.value} to {last.value}"


def _spans(says: Callable[[Dialect], object]) -> Iterator[tuple[Dialect, Dialect]]:
    """Yield the first and the last of all dialects in a row of which the same is true."""
    for _, group in groupby(Dialect, says):
        every = list(group)
        yield every[0], every[-1]


# Verbs


def _verbs() -> Iterator[str]:
    yield "## Verbs\n"
    yield (
        "The class is the call as a value, for `client.call(...)`; the method of `Client` and\n"
        "`AsyncClient` has the verb's name with underscores, `mission_state(...)`. *Actor* and\n"
        "*policy* are filled in by the client. Options in brackets may be left out.\n"
    )
    for title, module in (("Work", commands), ("Design", design)):
        found = [c for c in VERBS.values() if c.__module__ == module.__name__]
        yield f"### {title}\n"
        head = ("Verb", "Since", "Changes something", "Needs a policy", "Class", "Reply")
        yield _table(head, map(_verb, found))
        yield _table(("Verb", "Options"), ((f"`{c.verb}`", _options(c)) for c in found))
    yield "### Other names\n"
    yield _table(("Name", "On", "Is called"), _other_names())


def _verb(command: type[Command[Any]]) -> tuple[str, ...]:
    changes = "yes" if command.mutates else ""
    names = (f"`{command.__name__}`", f"`{command.reply_type.__name__}`")
    return (f"`{command.verb}`", command.since, changes, _policy(command), *names)


def _policy(command: type[Command[Any]]) -> str:
    """Tell when a call needs a policy: always, with some option, or for some lanes."""
    if command is commands.Transition:
        lanes = [lane for lane in Lane if _sample(command, to=lane).needs_policy]
        return f"to {_code(lanes)}"
    if _sample(command).needs_policy:
        return "yes"
    with_it = [a for a in _attributes(command) if _sample(command, a).needs_policy]
    return f"with {_code(a.metadata['option'] for a in with_it)}" if with_it else ""


def _attributes(command: type[Command[Any]]) -> list["Attribute[Any]"]:
    named = [a for a in fields(command) if "option" in a.metadata]
    last = ("actor", "policy")
    return sorted(named, key=lambda a: (a.default is not NOTHING, a.name in last))


def _sample(command: type[Command[Any]], *given: "Attribute[Any]", **values: Any) -> Command[Any]:
    """Return a call with what it cannot do without, and what is given."""
    needed = [a for a in fields(command) if a.default is NOTHING and a.init]
    named = {a.name: _EXAMPLES.get(a.name, "x") for a in (*needed, *given) if a.name != "policy"}
    return command(**{**named, **values})


def _options(command: type[Command[Any]]) -> str:
    return " ".join(map(_option, _attributes(command))) or "none"


def _option(attribute: "Attribute[Any]") -> str:
    name = attribute.metadata["option"]
    if attribute.default is not NOTHING and attribute.name not in ("actor", "policy"):
        name = f"[{name}]"
    since = attribute.metadata.get("since")
    return f"`{name}`" + (f" (since {since})" if since else "")


def _other_names() -> Iterator[tuple[str, ...]]:
    selector = _code(["--mission"])
    for first, last in _spans(lambda d: _spelled(commands.MissionState, d)[1]):
        name = _spelled(commands.MissionState, first)[1]
        if name != selector[1:-1]:
            yield (selector, _span(first, last), f"`{name}`")
    for command in VERBS.values():
        has = [d for d in Dialect if Version(command.since) <= d.first_release]
        for first, last in _spans(lambda d, c=command, h=has: d in h and _spelled(c, d)[0]):
            if first in has and (name := _spelled(command, first)[0]) != command.verb:
                yield (f"`{command.verb}`", _span(first, last), f"`{name}`")


def _spelled(command: type[Command[Any]], dialect: Dialect) -> tuple[str, str]:
    """Return what a dialect calls a verb, and the option that names the mission."""
    contract = Contract(OLDEST, dialect.first_release)
    _, verb, *words = spell(_sample(command), contract)
    return verb, words[0].partition("=")[0] if words else ""


# Dialects and features


def _features() -> Iterator[str]:
    yield "## Dialects\n"
    yield "A dialect is a way in which some releases understand the calls: `Contract.dialect`.\n"
    yield _table(("Dialect", "Releases", "Contract", "What is new"), _dialects())
    yield "## Features\n"
    yield "`client.negotiate().supports(Feature.EVIDENCE)` tells whether a host has one.\n"
    rows = ((f"`{f.name}`", str(f.since), f.value) for f in sorted(Feature, key=lambda f: f.since))
    yield _table(("Feature", "Since", "What it is"), rows)


def _dialects() -> Iterator[tuple[str, ...]]:
    texts = _docs(Dialect)
    contracts = _contracts()
    for dialect in Dialect:
        releases, new = texts[dialect.name].split(". ", 1)
        spoken = [v for v, d in contracts if d is dialect] or [OLDEST]
        yield (dialect.value, releases, ", ".join(map(str, spoken)), new)


def _contracts() -> list[tuple[Version, Dialect]]:
    """Return every version that a release has brought, with the dialect of that release."""
    every = [Version(f"1.{i}.0") for i in range(1, NEWEST_TESTED.minor + 1)]
    found = []
    for _, group in groupby(every, oldest_release):
        version = next(group)
        release = oldest_release(version)
        dialects = [d for d in Dialect if release and d.first_release <= release]
        found.append((version, dialects[-1]))
    return found


def _docs(enum: type[Any]) -> dict[str, str]:
    """Return what is written below each member of an enumeration."""
    body = ast.parse(inspect.getsource(enum)).body[0]
    found = {}
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - it is the source of a class
    for before, node in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.Assign) and isinstance(node, ast.Expr):
            (target,) = before.targets
            found[ast.unparse(target)] = " ".join(ast.literal_eval(node.value).split())
    return found


# Lanes


def _lanes() -> Iterator[str]:
    yield "## Lanes\n"
    yield _table(("Lane", "Dialects", "A transition there needs a policy"), map(_lane, Lane))
    yield "## Transitions\n"
    yield (
        "What a move has to bring along beside the actor; an empty cell: there is no such move.\n"
        "`allowed` and `needs` of `spec_kitty_client` tell the same. *force* stands where\n"
        "the host's rule asks for something that its command line has no option for; the workflow\n"
        "verbs then send `--force` with a note. On F1, `for_review` to `planned` came with 1.0.2.\n"
    )
    groups = list(_spans(moves))
    head = ("From", "To", *(_span(first, last) for first, last in groups))
    yield _table(head, _moves([first for first, _ in groups]))


def _lane(lane: Lane) -> tuple[str, ...]:
    (has,) = [(a, b) for a, b in _spans(lambda d: lane in lanes_of(d)) if lane in lanes_of(a)]
    return (f"`{lane}`", _span(*has), "yes" if lane in POLICY_LANES else "")


def _moves(groups: list[Dialect]) -> Iterator[tuple[str, ...]]:
    """Yield a row for all lanes that can be reached from one in the same way."""
    for before in Lane:
        rows: dict[tuple[str, ...], list[Lane]] = {}
        for after in Lane:
            cells = tuple(_needed(d, before, after) for d in groups)
            rows.setdefault(cells, []).append(after)
        for cells, lanes in rows.items():
            if any(cells):
                yield (f"`{before}`", _code(lanes), *cells)


def _needed(dialect: Dialect, before: Lane, after: Lane) -> str:
    wanted = moves(dialect).get((before, after))
    if wanted is None:
        return ""
    if Need.FORCE in wanted:
        return "*force*"
    return ", ".join(need for need in Need if need in wanted) or "nothing"


# Error codes


def _codes() -> Iterator[str]:
    yield "## Errors without a code\n"
    yield "The host did not answer.\n"
    silent = (errors.HostTimeout, errors.ProtocolError, errors.HostCrashed, errors.HostCannotStart)
    head = ("Exception", "What has happened", "What to do")
    yield _table(head, ((f"`{e.__name__}`", _summary(e), e.advice) for e in silent))
    yield "## Error codes\n"
    yield (
        "`ErrorCode`, by family. *Retry*: the same call can succeed later without anybody\n"
        "changing it, on all hosts or those of the dialects. *Effect*: a call that changes\n"
        "something may have done so all the same; read mission-state before anything else.\n"
        "Codes that the SDK does not know are kept as they came, as an `UnknownErrorCode` in a\n"
        "plain `HostRejected`, for which an effect is possible and a retry is not.\n"
    )
    for family in Family:
        every = [code for code in ErrorCode if code.family is family]
        if every:
            yield from _family(family, every)


def _family(family: Family, codes: list[ErrorCode]) -> Iterator[str]:
    kind = type(_error(codes[0]))
    yield f"### {kind.__name__}: family {family}\n"
    yield f"{_summary(kind)} *What to do:* {kind.advice}\n"
    rows: dict[tuple[str, ...], list[ErrorCode]] = {}
    for code in codes:
        rows.setdefault(_facts(code, kind), []).append(code)
    head = ("Codes", "Retry", "Effect", "What to do instead")
    yield _table(head, ((_code(same), *facts) for facts, same in rows.items()))


def _facts(code: ErrorCode, kind: type[HostError]) -> tuple[str, ...]:
    step = _error(code).next_step
    effect = "yes" if code.effect_possible else ""
    return (_retry(code), effect, "" if step == kind.advice else step)


def _retry(code: ErrorCode) -> str:
    """Return the dialects on which a retry can help, or ``yes`` for all."""
    if len({_error(code, d).retryable for d in Dialect}) == 1:
        return "yes" if code.retryable else ""
    spans = _spans(lambda d: _error(code, d).retryable)
    return ", ".join(_span(*span) for span in spans if _error(code, span[0]).retryable)


def _error(code: ErrorCode, dialect: Dialect | None = None) -> HostError:
    """Return what a read raises which a host, of any or of one dialect, answers with a code."""
    blank = {a.name: "" for a in attrs.fields(Failure) if a.default is NOTHING}
    version = str(contract_of(dialect.first_release)) if dialect else None
    about = {"mutates": False, "argv": (), "code": code, "contract_version": version}
    return rejection(Failure(**{**blank, **about}))


def _summary(kind: type[Any]) -> str:
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


if __name__ == "__main__":
    _AT.write_text(page(), encoding="utf-8")
    _AT.with_name("loop.md").write_text(loop_page(), encoding="utf-8")
