"""Strategies for policies: valid ones, those that break one rule, and text that is nearly one.

Examples shrink to the smallest policy that shows the problem: all fields are there, each as short
as possible, and one rule is broken.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen
from hypothesis import strategies as st

from spec_kitty_client.policy import ApprovalMode, NetworkMode, Policy, SandboxMode
from spec_kitty_client.policy.errors import PolicyRule
from spec_kitty_client.policy.rules import (
    BANNED_FLAGS,
    DEEPEST,
    REQUIRED_FIELDS,
    SECRET_WORDS,
    TEXT_FIELDS,
)

__all__ = ["invalid_policies", "policies", "policy_json"]

_HOPELESS = 59_000  # levels that no Python parses; little more fits into an argument
_LONGEST = 120_000  # bytes that every system accepts as an argument


@frozen
class _Literal:
    """A JSON value with its exact spelling, which `json.dumps` might not produce."""

    text: str


@frozen
class _Object:
    """A JSON object in which a name may occur twice."""

    pairs: Sequence[tuple[str, Any]]


def policies() -> st.SearchStrategy[Policy]:
    """Draw policies that every host accepts, for code that sends, stores or shows them.

    Modes are known ones or any other word. There may be further fields, also nested ones. Shrinks
    to a policy with empty texts and the first known modes.
    """
    return _policies


def invalid_policies(rule: PolicyRule | None = None) -> st.SearchStrategy[tuple[Any, PolicyRule]]:
    """Draw a policy as it is sent, and the one rule that it breaks.

    Use it to test code that makes policies from user input, or that explains refusals. Each rule is
    broken in every place where it applies. `PolicyRule.JSON` is not drawn, because only text can
    break it; see `policy_json`. Shrinks to an otherwise empty policy.

    Args:
        rule: The rule to break; None: any rule.

    Raises:
        ValueError: If no object breaks the rule.
    """
    if rule is PolicyRule.JSON:
        msg = f"no object can break the rule {rule}, only text can. Use policy_json."
        raise ValueError(msg)
    some = _BREAKS if rule is None else {rule: _BREAKS[rule]}
    return st.one_of([st.tuples(broken, st.just(name)) for name, broken in some.items()])


def policy_json() -> st.SearchStrategy[str]:
    """Draw text that is a policy or nearly one, for code that reads policies of other people.

    It has wrong types, repeated names, nesting, escapes, very long strings and numbers, ``NaN``,
    and text that is cut off or has other text around it. About a third of the texts are accepted
    by some host releases and refused by others. Every text fits on a command line: no null
    character, and less than 120,000 bytes. It is at most 100 levels deep, or tens of thousands:
    in between, the answer depends on the host's Python. Shrinks to the shortest text of the
    simplest kind.
    """
    return _texts().filter(lambda text: len(text.encode()) < _LONGEST)


def _harmless(text: str) -> bool:
    """Return whether no host finds a secret. Upper, then lower: U+017F is lower case only."""
    return not any(word in text.upper().lower() for word in SECRET_WORDS)


_characters = st.characters(exclude_categories=["Cs"])
_harmless_texts = st.one_of(
    st.text(_characters, max_size=12),
    st.sampled_from(["claude", "1.0", "ke y", "toke", "Passwort", "--force", "\u212a", "\u017f"]),
).filter(_harmless)
_spelled = st.sampled_from(SECRET_WORDS).flatmap(
    lambda word: st.sampled_from(
        [word, word.upper(), word.title(), word.replace("k", "\u212a").replace("s", "\u017f")]
    )
)
_secrets = st.builds("{}{}{}".format, _harmless_texts, _spelled, _harmless_texts)
_names = st.text(_characters, max_size=6).filter(
    lambda name: name not in (*REQUIRED_FIELDS, "tool_restrictions")
)
_numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)


def _json_of(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | _numbers | texts,
        lambda inner: (
            st.lists(inner, max_size=3)
            # Hosts do not look at names, so these may be secrets.
            | st.dictionaries(_names | st.sampled_from(SECRET_WORDS), inner, max_size=3)
        ),
        max_leaves=6,
    )


_harmless_json = _json_of(_harmless_texts)
_no_text = _harmless_json.filter(lambda value: not isinstance(value, str))
_flags = st.lists(_harmless_texts.filter(lambda flag: flag not in BANNED_FLAGS), max_size=2)
_policies: st.SearchStrategy[Policy] = st.builds(
    Policy,
    orchestrator_id=_harmless_texts,
    orchestrator_version=_harmless_texts,
    agent_family=_harmless_texts,
    approval_mode=st.sampled_from(ApprovalMode) | _harmless_texts,
    sandbox_mode=st.sampled_from(SandboxMode) | _harmless_texts,
    network_mode=st.sampled_from(NetworkMode) | _harmless_texts,
    dangerous_flags=_flags,
    tool_restrictions=st.none() | _harmless_texts,
    extra=st.dictionaries(_names, _harmless_json, max_size=2),
)


def _objects() -> st.SearchStrategy[dict[str, Any]]:
    return _policies.map(Policy.to_dict)


def _with(changes: st.SearchStrategy[Mapping[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda raw, changed: {**raw, **changed}, _objects(), changes)


def _field(
    names: st.SearchStrategy[str], values: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda name, value: {name: value}, names, values)


def _among(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Draw a list of harmless flags with one more value, anywhere in it."""
    return st.builds(lambda left, value, right: [*left, value, *right], _flags, values, _flags)


def _inside(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw lists and objects with a value somewhere in them, one to four levels deep."""
    steps = st.lists(st.tuples(st.none() | _names, _harmless_json), min_size=1, max_size=4)
    return st.builds(_wrapped, value, steps)


def _wrapped(value: Any, steps: list[tuple[str | None, Any]]) -> Any:
    for name, neighbour in steps:
        value = [neighbour, value] if name is None else {"": neighbour, name: value}
    return value


def _nested(depth: int, innermost: Any = None, name: str | None = None) -> Any:
    """Return this number of nested lists, or of nested objects with one name."""
    value: Any = innermost
    for _ in range(depth):
        value = [value] if name is None else {name: value}
    return value


_FLAGS = st.just("dangerous_flags")
_texts_fields = st.sampled_from(TEXT_FIELDS)
_BREAKS: dict[PolicyRule, st.SearchStrategy[Any]] = {
    PolicyRule.REQUIRED: st.builds(
        lambda raw, name: {k: v for k, v in raw.items() if k != name},
        _objects(),
        st.sampled_from(REQUIRED_FIELDS),
    ),
    PolicyRule.SECRET: _with(
        _field(st.sampled_from([*TEXT_FIELDS, "tool_restrictions", "more"]), _secrets)
    ),
    PolicyRule.TEXT: _with(_field(_texts_fields, _no_text)),
    PolicyRule.FLAG_LIST: _with(
        _field(_FLAGS, _harmless_json.filter(lambda value: not isinstance(value, list)))
    ),
    PolicyRule.FLAG_TEXT: _with(_field(_FLAGS, _among(_no_text))),
    PolicyRule.FLAG_BANNED: _with(_field(_FLAGS, _among(st.sampled_from(sorted(BANNED_FLAGS))))),
    PolicyRule.RESTRICTIONS: _with(
        _field(
            st.just("tool_restrictions"),
            _no_text.filter(lambda restrictions: restrictions is not None),
        )
    ),
    PolicyRule.NESTED_SECRET: _with(
        _field(_FLAGS, _among(_secrets)) | _field(_names, _inside(_secrets))
    ),
    PolicyRule.OBJECT: _no_text.filter(lambda value: not isinstance(value, dict)),
    PolicyRule.NESTING: _with(
        _field(
            _names,
            st.builds(_nested, st.integers(DEEPEST, 2 * DEEPEST), st.none(), st.none() | _names),
        )
    ),
}
_DATED = [rule for rule in _BREAKS if rule.since is not None]


# Strategies for text

_any_json = _json_of(_harmless_texts | _secrets | st.sampled_from(sorted(BANNED_FLAGS)))
_literals = st.sampled_from(
    [
        *("NaN", "Infinity", "-Infinity", "1e999", "-0", "1E-9", "9" * 4300, "-" + "9" * 4300),
        *("9" * 4301, "-" + "9" * 4301, "01", "+1", ".5", "1.", "0x1", "nan", "True", "tru"),
        *(
            "'a'",
            '"\\x41"',
            '"\\u12"',
            '"\t"',
            '"\\ud800"',
            '"\\u0000"',
            '"\\ud83d\\udc08"',
            "",
            "[,]",
        ),
        *('"\\u006bey"', '"k\\u0065y"', '"\\u212aey"', '"ke\\u200by"', '"\\/"', "/* */1", "[1,]"),
    ]
).map(_Literal)
_huge = st.builds(
    str.__mul__,
    st.sampled_from(["x", "\u00e9", "\U0001f408", "ke y", "key"]),
    st.integers(0, 20_000),
)
_deep = st.builds(
    _nested,
    st.integers(1, DEEPEST - 1),
    _secrets | st.none() | st.just(_Literal('"\\u006bey"')),
    st.none() | st.just("a"),
)
_values = st.one_of(_any_json, _literals, _huge, _deep)
_anything = st.dictionaries(
    st.sampled_from([*REQUIRED_FIELDS, "tool_restrictions", "more"]), _values, max_size=9
)
_more: st.SearchStrategy[list[tuple[str, Any]]] = st.lists(
    st.tuples(st.sampled_from([*REQUIRED_FIELDS, "tool_restrictions", "more"]) | _names, _values),
    max_size=2,
)
_BEFORE = ["\ufeff", "\u00a0", "\x0b", ";", "'", "--", "{}", "//\n", " \t\r\n"]
_AFTER = ["x", "}", ",", "{}", "\u00a0", "\x1a", "// end", "\ufeff", "\n \t\r"]
_ODD = [
    *("", " ", "\n", "{}", "[]", "null", "true", '"text"', "0", "-", "{", '{"', '{"a"', '{"a":'),
    *("{'a': 1}", "{a: 1}", "\\", "\u2028", "@policy.json", "%s", "$KEY", "\x7f", "NaN", "{,}"),
]
_TOO_DEEP = ["[" * _HOPELESS, "[" * _HOPELESS + "]" * _HOPELESS, '{"more":' + "[" * _HOPELESS]


@st.composite
def _texts(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(_KINDS))
    return kind(draw)


def _whole(draw: st.DrawFn) -> str:
    """Write a valid policy."""
    return _write(draw, draw(_objects()))


def _dated(draw: st.DrawFn) -> str:
    """Write a policy that only some hosts accept."""
    return _write(draw, draw(st.sampled_from(_DATED).flatmap(_BREAKS.__getitem__)))


def _broken(draw: st.DrawFn) -> str:
    """Write a policy that breaks any rule except nesting."""
    rules = [rule for rule in _BREAKS if rule is not PolicyRule.NESTING]
    return _write(draw, draw(st.sampled_from(rules).flatmap(_BREAKS.__getitem__)))


def _mixed(draw: st.DrawFn) -> str:
    """Write a policy with arbitrary values in some fields, and with further or repeated names."""
    raw = draw(st.one_of(_objects(), _anything))
    pairs = [*raw.items()]
    for pair in draw(_more):
        pairs.insert(draw(st.sampled_from([0, len(pairs)])), pair)
    return _write(draw, _Object(pairs))


def _damaged(draw: st.DrawFn) -> str:
    """Write a valid policy and damage the text."""
    text = _write(draw, draw(_objects()))
    at = draw(st.integers(0, len(text)))
    damaged: str = draw(
        st.one_of(
            st.just(text[:at]),
            st.sampled_from(_BEFORE).map(lambda before: before + text),
            st.sampled_from(_AFTER).map(lambda after: text + after),
            st.sampled_from(["", " ", '"', ",", ":", "{", "]", "\\", "\n", "\x7f"]).map(
                lambda one: text[:at] + one + text[at + 1 :]
            ),
            st.just(text.replace('"', "'")),
            st.just(f"{text[:-1]},}}"),
        )
    )
    return damaged


def _odd(draw: st.DrawFn) -> str:
    """Draw text that is far from a policy."""
    any_text = st.text(st.characters(codec="utf-8", min_codepoint=1))
    return draw(any_text | st.sampled_from(_ODD) | st.sampled_from(_TOO_DEEP))


_KINDS: list[Callable[[st.DrawFn], str]] = [
    *(_whole, _whole, _dated, _dated, _dated),
    *(_broken, _broken, _mixed, _mixed, _damaged, _odd),
]


def _write(draw: st.DrawFn, value: Any) -> str:
    """Write a value as JSON, with random spaces and escapes."""
    plain = draw(st.booleans())
    escaped = draw(
        st.sampled_from(["", "k", "eo", "\u212a\u017f", '"{', "abcdefghijklmnopqrstuvwxyz"])
    )
    space = draw(st.sampled_from(["", " ", "\n", "\t\r "]))
    return _written(value, lambda text: _quoted(text, escaped, plain=plain), space)


def _written(value: Any, quote: Callable[[str], str], space: str) -> str:
    """Return a value as JSON text."""
    if isinstance(value, _Literal):
        return value.text
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict | _Object):
        pairs = value.items() if isinstance(value, dict) else value.pairs
        inner = [f"{quote(k)}{space}:{_written(v, quote, space)}" for k, v in pairs]
        return f"{{{space}{f'{space},'.join(inner)}{space}}}"
    if isinstance(value, list):
        return f"[{f',{space}'.join(_written(v, quote, space) for v in value)}{space}]"
    return json.dumps(value)


def _quoted(text: str, escaped: str, *, plain: bool) -> str:
    """Return a JSON string in which some characters are escaped without need."""
    return '"' + "".join(_spelt(c, escaped, plain=plain) for c in text) + '"'


def _spelt(c: str, escaped: str, *, plain: bool) -> str:
    if c in escaped:
        return f"\\u{ord(c):04x}"
    if plain and c.isprintable() and c not in '"\\':
        return c
    return json.dumps(c)[1:-1]
