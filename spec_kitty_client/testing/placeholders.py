"""Replace values that differ from run to run by placeholders, and put values back.

A value known in both runs, such as the root of the repository, becomes ``{root}``. Times and ids,
which a host makes up, become ``{time:1}``, ``{ulid:1}`` and so on, numbered in order of
appearance. Text that looks like a placeholder is escaped: ``{=root}``.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

__all__ = ["Ids", "Placeholders"]

_LITERAL = "_"
_HEX = "[0-9a-f]"
_MADE_UP = {
    "time": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?",
    "uuid": rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}",
    "ulid": r"[0-7][0-9A-HJKMNP-TV-Z]{25}",
    "digest": rf"{_HEX}{{64}}",
    "commit": rf"{_HEX}{{40}}",
    "hex": rf"{_HEX}{{32}}",  # behind corr- and hist-
}
_FAKES: dict[str, Callable[[int], str]] = {
    "time": lambda n: (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n)).isoformat(),
    "uuid": "00000000-0000-4000-8000-{:012x}".format,
    "ulid": "01K{:023d}".format,
    "digest": "{:064x}".format,
    "commit": "{:040x}".format,
    "hex": "{:032x}".format,
}


class Ids:
    """The values of the numbered placeholders in one run."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._counts = Counter[str]()

    def name(self, value: str) -> str | None:
        """Return the placeholder of a value, or None for a new value."""
        return self._names.get(value)

    def value(self, name: str) -> str | None:
        """Return the value of a placeholder, or None if it has none yet."""
        return self._values.get(name)

    def add(self, kind: str, value: str) -> str:
        """Return a new placeholder for a value, with the next number of its kind."""
        self._counts[kind] += 1
        name = f"{kind}:{self._counts[kind]}"
        self.bind(name, value)
        return name

    def bind(self, name: str, value: str) -> None:
        """Set the value of a placeholder."""
        self._values[name], self._names[value] = value, name


class Placeholders:
    """Replaces values by placeholders, and placeholders by the values of this run.

    Args:
        known: Values by placeholder name. A value that starts with a slash is a path, and matches
            only whole file names.
        patterns: Regular expressions of further values to number, by placeholder name.

    Raises:
        ValueError: If a name is not an identifier, or is used twice.
        re.error: If a pattern is not a regular expression.
    """

    def __init__(self, known: Mapping[str, str], patterns: Mapping[str, str]) -> None:
        kinds = [*known, *patterns, *_MADE_UP]
        self.names: tuple[str, ...] = tuple(sorted(set(kinds)))
        """The names of all placeholders."""
        for kind in self.names:
            if not kind.isidentifier() or kinds.count(kind) > 1:
                msg = f"{kind!r} cannot name a placeholder: not an identifier, or used already"
                raise ValueError(msg)
        self._known = dict(sorted(known.items(), key=lambda k: -len(k[1])))
        guarded = {k: rf"(?<![0-9A-Za-z])(?:{p})(?![0-9A-Za-z])" for k, p in _MADE_UP.items()}
        self._patterns = {**patterns, **guarded}
        name = rf"(?:{'|'.join(self.names)})(?::\d+)?"
        self._placeholder = re.compile(rf"\{{(=*)({name})\}}")
        groups = {_LITERAL: rf"\{{=*{name}\}}"}
        groups |= {k: _alternatives(v) for k, v in self._known.items() if len(v) > 1}
        groups |= self._patterns
        self._hidden = re.compile("|".join(f"(?P<{k}>{p})" for k, p in groups.items()))

    def hide(self, text: str, ids: Ids, *, number: bool = True) -> str:
        """Return a text with placeholders instead of values.

        Args:
            text: Text of a call or an answer.
            ids: The values seen before.
            number: Whether new values get a number; otherwise they stay unchanged.
        """

        def placeholder(found: re.Match[str]) -> str:
            kind, value = str(found.lastgroup), found[0]
            if kind == _LITERAL:
                return "{=" + value[1:]
            if kind in self._known:
                return f"{{{kind}}}"
            name = ids.name(value) or (ids.add(kind, value) if number else None)
            return f"{{{name}}}" if name else value

        return self._hidden.sub(placeholder, text)

    def show(self, text: str, ids: Ids) -> str:
        """Return a text with the values of this run instead of placeholders.

        Unknown values are made up. In lines of JSON, values are escaped as in JSON.
        """
        if _is_json(text):
            return self._shown(text, ids, _in_json)
        lines = text.split("\n")
        return "\n".join(
            self._shown(line, ids, _in_json if _is_json(line) else str) for line in lines
        )

    def _shown(self, text: str, ids: Ids, spell: Callable[[str], str]) -> str:
        def value(found: re.Match[str]) -> str:
            marks, name = found.groups()
            return f"{{{marks[1:]}{name}}}" if marks else spell(self._value(name, ids))

        return self._placeholder.sub(value, text)

    def _value(self, name: str, ids: Ids) -> str:
        if name in self._known:
            return self._known[name]
        value = ids.value(name)
        if value is None:
            kind, _, number = name.partition(":")
            value = _FAKES.get(kind, f"{kind}-{{}}".format)(int(number or 0))
            ids.bind(name, value)
        return value

    def match(self, hidden: tuple[str, ...], texts: tuple[str, ...], ids: Ids) -> bool:
        """Return whether texts of this run are equal to texts with placeholders.

        New values in ``texts`` become the values of the new placeholders in ``hidden``.
        """
        if len(hidden) != len(texts):
            return False
        new: dict[str, str] = {}
        pattern = "\0".join("".join(self._expected(text, ids, new)) for text in hidden)
        found = re.fullmatch(pattern, "\0".join(texts), re.DOTALL)
        values = [found[group] for group in new] if found else []
        if found is None or len(set(values)) < len(values) or any(map(ids.name, values)):
            return False
        for name, value in zip(new.values(), values, strict=True):
            ids.bind(name, value)
        return True

    def _expected(self, text: str, ids: Ids, new: dict[str, str]) -> Iterator[str]:
        """Yield a pattern for a text with placeholders; collect new placeholders by group."""
        at = 0
        for found in self._placeholder.finditer(text):
            yield re.escape(text[at : found.start()])
            at = found.end()
            marks, name = found.groups()
            kind, _, number = name.partition(":")
            group = f"{kind}__{number}"
            if marks:
                yield re.escape(f"{{{marks[1:]}{name}}}")
            elif kind in self._known:
                yield _either(self._known[kind])
            elif (value := ids.value(name)) is not None:
                yield re.escape(value)
            elif group in new:
                yield f"(?P={group})"
            else:
                new[group] = name
                yield f"(?P<{group}>{self._patterns[kind]})"
        yield re.escape(text[at:])


def _alternatives(value: str) -> str:
    """Return a pattern for a known value; a path does not match the start of a longer name."""
    either = _either(value)
    return rf"(?<![\w.-]){either}(?![\w-]|\.\w)" if value.startswith("/") else either


def _either(value: str) -> str:
    return f"(?:{re.escape(value)}|{re.escape(_in_json(value))})"


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
