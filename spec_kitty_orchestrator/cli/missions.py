"""The ways to name a mission, MISSION and --mission, and the messages about an unknown one."""

import contextlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import App, ArgumentCollection, Parameter, Token

from spec_kitty_orchestrator.errors import UsageProblem, suggest

__all__ = [
    "MissionFlag",
    "MissionWord",
    "join_mission",
    "missions_here",
    "named",
    "unknown_mission",
]

_MOST_LISTED = 20
_MID8 = 8  # characters of a mission's id

MissionWord = Annotated[
    str | None, Parameter(name="MISSION", help="Slug, mid8 or id of the mission.")
]
MissionFlag = Annotated[
    str | None, Parameter(name=["--mission", "--feature"], help="Same as MISSION.")
]


def join_mission(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take MISSION as --mission, before any other source of settings is read.

    Raises:
        UsageProblem: If both are given and differ.
    """
    word, flag = (
        next(a for a in arguments if name in a.names) for name in ("MISSION", "--mission")
    )
    if not word.tokens:
        return
    mission = word.tokens[0].value
    for token in flag.tokens:
        if token.value != mission:
            msg = f"Two missions are given: {mission} and {token.keyword} {token.value}. Name one."
            raise UsageProblem(msg)
    if not flag.tokens:
        flag.append(Token(keyword="MISSION", value=mission))


def _list(root: Path) -> list[str]:
    """Return the slugs of the missions on the branch that is checked out."""
    return sorted(path.name for path in root.glob("kitty-specs/*") if path.is_dir())


def named(root: Path, slugs: Iterable[str], word: str) -> list[str]:
    """Return the missions that a user can mean by a word: an exact slug, else all that match.

    Args:
        root: The primary checkout.
        slugs: The missions to choose from.
        word: A slug, or the number, mid8 or id of a mission. A part of a slug names nothing.
    """
    slugs = list(slugs)
    if word in slugs:
        return [word]
    return [slug for slug in slugs if word.lower() in _names(root, slug)]


def _names(root: Path, slug: str) -> set[str]:
    """Return the names of a mission beside its slug, in lower case."""
    number, mid8 = slug.partition("-")[0], slug.rpartition("-")[2]
    names = {number} if number.isdecimal() else set()
    names |= {mid8} if re.fullmatch(r"01[0-9A-Za-z]{6}", mid8) else set()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        meta = json.loads((root / "kitty-specs" / slug / "meta.json").read_bytes())
        if isinstance(known := meta.get("mission_id"), str) and known:
            names |= {known, known[:_MID8]}
    return {name.lower() for name in names}


def missions_here(root: Path) -> str:
    """Return a sentence that lists the missions, or says that there is none."""
    slugs = _list(root)
    if not slugs:
        return f"There is no mission in {root / 'kitty-specs'}; check out the branch that has one."
    more = f" and {len(slugs) - _MOST_LISTED} more" if len(slugs) > _MOST_LISTED else ""
    return f"Missions here: {', '.join(slugs[:_MOST_LISTED])}{more}"


def unknown_mission(root: Path, mission: str) -> str:
    """Return the message about an unknown mission: where it is, or which missions there are."""
    from spec_kitty_orchestrator.preflight.plan import where_it_is  # here, because it loads the SDK

    slugs = _list(root)
    here = suggest(mission, slugs[:_MOST_LISTED]) if slugs else missions_here(root)
    advice = where_it_is(root, mission) or here
    return (
        f"Mission {mission!r} does not exist in kitty-specs/ on the branch that is checked out. "
        f"{advice}"
    )
