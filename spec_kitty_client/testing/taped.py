"""The file format of tapes: JSON Lines, a header and then one line per call."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen
from attrs.validators import deep_iterable, in_, instance_of, optional

from spec_kitty_client.errors import SpecKittyError
from spec_kitty_client.values import encodable

__all__ = ["GIT", "HOST", "TapeDamaged", "Taped", "header", "line", "read"]

HOST, GIT = "spec-kitty", "git"
_FORMAT = 1


class TapeDamaged(SpecKittyError, ValueError):
    """A file is not a tape, or one of its lines is damaged.

    Attributes:
        path: The file.
        line: Line number, starting at 1.
        what: The damage, in words.
    """

    def __init__(self, path: str, line: int, what: str) -> None:
        super().__init__(path, line, what)
        self.path = path
        self.line = line
        self.what = what

    def __str__(self) -> str:
        return encodable(f"{self.path}, line {self.line}: {self.what}. Record the tape again.")


def _words(value: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        msg = f"args are a list, not {type(value).__name__}"
        raise TypeError(msg)
    return tuple(value)


@frozen(kw_only=True)
class Taped:
    """One recorded call, with placeholders. Bytes that are not UTF-8 become lone surrogates."""

    program: str = field(validator=in_((HOST, GIT)))
    args: tuple[str, ...] = field(converter=_words, validator=deep_iterable(instance_of(str)))
    folder: str | None = field(default=None, validator=optional(instance_of(str)))
    """The folder in which git ran; None: the transport's folder."""
    exit_code: int | None = field(default=None, validator=optional(instance_of(int)))
    stdout: str = field(default="", validator=instance_of(str))
    stderr: str = field(default="", validator=instance_of(str))
    not_found: str | None = field(default=None, validator=optional(instance_of(str)))
    """The message of `HostNotFound`, if the transport raised it."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words by which a replay compares calls."""
        return (self.program, self.folder or "", *self.args)

    @property
    def title(self) -> str:
        """The program, and its folder if known."""
        return f"{self.program} (in {self.folder})" if self.folder else self.program


def header(placeholders: Iterable[str], *, git: bool) -> str:
    """Return the first line: the placeholder names, and whether the tape may have git calls."""
    about = {"tape": _FORMAT, "git": git, "placeholders": list(placeholders)}
    return json.dumps(about) + "\n"


def line(taped: Taped) -> str:
    """Return the line of a call, without empty fields."""
    return json.dumps(asdict(taped, filter=lambda _, value: value not in (None, ""))) + "\n"


def read(path: Path, placeholders: Iterable[str]) -> tuple[bool, tuple[Taped, ...]]:
    """Return whether a tape may have git calls, and all its calls.

    Args:
        path: The tape.
        placeholders: The placeholder names of the caller; the tape must have the same.

    Raises:
        FileNotFoundError: If there is no such file.
        TapeDamaged: If it is not a tape, or a damaged one.
        ValueError: If it was recorded with other placeholders.
    """
    lines = _objects(path)
    _, about = next(lines, (1, {}))
    if about.get("tape") != _FORMAT:
        raise TapeDamaged(str(path), 1, f"this is not the header of a tape of format {_FORMAT}")
    here = list(placeholders)
    if about.get("placeholders") != here:
        msg = (
            f"{path} was recorded with the placeholders {about.get('placeholders')}, but is "
            f"replayed with {here}. Give the tape the same `known` and `patterns`."
        )
        raise ValueError(msg)
    return bool(about.get("git")), tuple(_call(path, number, raw) for number, raw in lines)


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise TapeDamaged(str(path), number, f"this is not JSON ({e})") from e
        if not isinstance(raw, dict):
            raise TapeDamaged(str(path), number, "this is not a JSON object")
        yield number, raw


def _call(path: Path, number: int, raw: dict[str, Any]) -> Taped:
    try:
        return Taped(**raw)
    except (TypeError, ValueError) as e:
        raise TapeDamaged(str(path), number, f"this is not a call ({e.args[0]})") from e
