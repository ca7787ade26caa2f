"""The options of a command: their names, their checks, and their spelling as arguments."""

from enum import StrEnum
from typing import Any, TypeVar

from attrs import Attribute

from spec_kitty_client.api.reviews import Evidence, ReviewResult
from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.policy import Policy
from spec_kitty_client.values import compact_json

__all__ = [
    "ACTOR",
    "MISSION",
    "POLICY",
    "REVIEW_REF",
    "WP",
    "name_only",
    "one_of",
    "spell_option",
]

E = TypeVar("E", bound=StrEnum)

_LONGEST_ARGUMENT = 128 * 1024 - 1  # bytes of one argument, Linux MAX_ARG_STRLEN

MISSION = {"option": "--mission"}
WP = {"option": "--wp"}
ACTOR = {"option": "--actor"}
POLICY = {"option": "--policy"}
REVIEW_REF = {"option": "--review-ref"}


def name_only(_: object, attribute: "Attribute[str]", value: str) -> None:
    """Refuse an empty name and a path, which hosts answer with a traceback (3.2.7)."""
    if not value.strip() or "/" in value or "\\" in value or ".." in value:
        msg = f"{attribute.name}={value!r} is not a name. Use a slug or an id."
        raise InvalidCall(msg)


def one_of(kind: type[E], value: E | str) -> E:
    """Return the enum member for a word.

    Raises:
        InvalidCall: If there is none; the message has all choices.
    """
    try:
        return kind(value)
    except ValueError:
        msg = f"{value!r} is not a {kind.__name__}. Use one of: {', '.join(kind)}"
        raise InvalidCall(msg) from None


def spell_option(attribute: "Attribute[Any]", value: object) -> tuple[str, ...]:
    """Return one option as it is on the command line.

    Raises:
        InvalidCall: If its value cannot be passed on a command line.
    """
    name: str = attribute.metadata["option"]
    if value is True:
        return (name,)
    if isinstance(value, Policy | Evidence | ReviewResult):
        text = value.to_json()
    else:
        text = compact_json(value) if "json" in attribute.metadata else str(value)
    try:
        size = len(text.encode()) + len(name) + 1
    except UnicodeEncodeError as e:
        msg = f"{name} cannot be passed on a command line: {e.reason}. Remove the character."
        raise InvalidCall(msg) from None
    if size > _LONGEST_ARGUMENT or "\0" in text:
        long = f"it has {size} bytes, {_LONGEST_ARGUMENT} are allowed. Shorten it."
        why = "it has a NUL character. Remove it." if "\0" in text else long
        msg = f"{name} cannot be passed on a command line: {why}"
        raise InvalidCall(msg)
    return (f"{name}={text}",)
