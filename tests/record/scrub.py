"""Replace the values in recordings that differ between runs."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Scrubber", "lighten", "shorten", "stable_paths"]

_ULID = re.compile(r"\b01[0-9A-HJKMNP-TV-Z]{24}\b")
_COMMIT = re.compile(r"\b[0-9a-f]{40}\b")
_SHORT = re.compile(r"\b[0-9a-f]{7,12}\b")
_MOMENT = re.compile(
    r"\b20\d\d-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?|\b20\d\d-\d\d-\d\d\b"
)
_HEX = re.compile(r"(?<![0-9a-f])([0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{12})(?![0-9a-f])")
_CONSTANT = {
    re.compile(r"\b[0-9a-f]{8}-([0-9a-f]{4}-){3}"): "0" * 8 + "-0000" * 3 + "-",
    re.compile(r"\(was [0-9a-f]{7,}\)"): "(was 0000000)",
    re.compile(r"\b[0-9a-f]{7,}\.\.[0-9a-f]{7,}\b"): "0000000..0000000",
}
_RULE = re.compile("─{4,}")  # the frames that rich draws
_LONGEST = 4000  # characters of stderr
_TEXT = 200  # characters of a text inside a heavy answer
_HEAVY = 6000  # characters of an answer


class Scrubber:
    """Replaces identifiers by stable ones, in the order of their appearance.

    Args:
        paths: Folders, each with its replacement.
    """

    def __init__(self, paths: Mapping[Path, str]) -> None:
        self._paths = sorted(
            ((str(path), stable) for path, stable in paths.items()), key=lambda p: -len(p[0])
        )
        self._known: dict[str, str] = {}
        self._missions: dict[str, str] = {}
        self._earlier: list[str] = []

    def forget(self) -> None:
        """Restart the numbering, so that a change of one group changes no other."""
        self._known.clear()
        self._missions.clear()

    def remember(self) -> None:
        """Register all earlier missions again, because files that are left may name them."""
        for ulid in self._earlier:
            self.mission(ulid)

    def mission(self, ulid: str) -> None:
        """Register a mission, whose slug ends in the first eight characters of its id."""
        self._missions[ulid[:8]] = self._ulid(ulid)[:8]
        if ulid not in self._earlier:
            self._earlier.append(ulid)

    def __call__(self, text: str) -> str:
        for path, stable in self._paths:
            text = text.replace(path, stable)
        text = _ULID.sub(lambda m: self._ulid(m[0]), text)
        for prefix, stable in self._missions.items():
            text = re.sub(rf"(?<![0-9A-Za-z]){prefix}(?![0-9A-Za-z])", stable, text)
        for pattern, stable in _CONSTANT.items():
            text = pattern.sub(stable, text)
        text = _HEX.sub(lambda m: "0" * len(m[0]), text)
        text = _COMMIT.sub(lambda m: self._commit(m[0]), text)
        text = _SHORT.sub(lambda m: self._short(m[0]), text)
        return _MOMENT.sub(_moment, text)

    def _ulid(self, found: str) -> str:
        if found in self._known.values():
            return found
        return self._known.setdefault(found, f"01K{len(self._known) + 1:05d}" + "0" * 18)

    def _commit(self, found: str) -> str:
        if found in self._known.values():
            return found
        return self._known.setdefault(found, f"{len(self._known) + 1:07d}" + "0" * 33)

    def _short(self, found: str) -> str:
        whole = (stable for full, stable in self._known.items() if full.startswith(found))
        return next(whole, found)[: len(found)]


def stable_paths(spec_kitty: Path, base: Path) -> dict[Path, str]:
    """Return the replacements for the host's path and the working folder."""
    return {base: "/record", spec_kitty.parent: "/host/bin", spec_kitty.parents[1]: "/host"}


def _moment(found: re.Match[str]) -> str:
    between, fraction, zone = found.groups()
    if between is None:
        return "2026-01-01"
    return f"2026-01-01{between}00:00:00{'.000000' if fraction else ''}{zone or ''}"


def lighten(text: str) -> tuple[str, bool]:
    """Cut long texts and lists in a large answer of 4.0, and return whether it was cut."""
    if len(text) <= _HEAVY or not text.startswith("{"):
        return text, False
    return json.dumps(_light(json.loads(text))) + "\n", True


def _light(value: object) -> object:
    if isinstance(value, str) and len(value) > _TEXT:
        return f"{value[: _TEXT // 2]} [... {len(value) - _TEXT // 2} characters cut ...]"
    if isinstance(value, list):
        return [_light(item) for item in value[:3]]
    if isinstance(value, dict):
        return {name: _light(item) for name, item in value.items()}
    return value


def shorten(text: str) -> str:
    """Cut the frames of a traceback and the middle of a long text.

    The first line of a traceback and the exception at its end stay.
    """
    text = _RULE.sub(lambda m: m[0][:4], text)
    lines = text.splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if "Traceback (most recent call last)" in line]
    kept: list[str] = []
    at = 0
    for start in starts:
        end = next((i for i in range(start + 1, len(lines)) if _ends(lines[i])), len(lines))
        kept += [*lines[at : start + 1], f"[... {end - start - 1} lines cut ...]\n"]
        at = end
    text = "".join([*kept, *lines[at:]])
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters cut ...]\n{text[-half:]}"


def _ends(line: str) -> bool:
    """Return whether a line ends the frames of a traceback: rich's box, or the exception."""
    return line.startswith("╰") or not line.startswith((" ", "│", "\n", "╭"))
