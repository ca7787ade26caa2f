"""The base class of the SDK's values, with their form for JSON, and printable text."""

import json
from collections.abc import Collection, Mapping
from typing import Any

import attrs
from packaging.version import Version

__all__ = ["Value", "compact_json", "encodable", "plain"]

_HIDDEN = "--policy="


def encodable(text: str) -> str:
    """Return a text with each lone surrogate spelled out: a backslash, u and four digits.

    File names that are not UTF-8 and escapes in JSON make lone surrogates, which UTF-8 cannot
    encode.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def compact_json(value: object) -> str:
    """Return the shortest JSON text of a value, with sorted keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Value:
    """The base of replies, events, verdicts and facts: frozen, comparable, and ready for JSON."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name, as values that `json.dumps` takes.

        Fields of a host's reply that this SDK does not know are included.
        """
        fields = attrs.fields(type(self))  # type: ignore[arg-type]  # every subclass is of attrs
        found = {a.name: plain(getattr(self, a.name)) for a in fields}
        extra = found.pop("extra", {})
        return {**extra, **found}


def plain(value: object) -> Any:
    """Return a value in JSON types: text, numbers, lists and dicts; policies are masked."""
    if callable(to_dict := getattr(value, "to_dict", None)):
        return to_dict()
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {encodable(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str | bytes | bytearray):
        return [plain(v) for v in value]
    text = str(value) if isinstance(value, str | Version) else repr(value)
    return f"{_HIDDEN}***" if text.startswith(_HIDDEN) else encodable(text)
