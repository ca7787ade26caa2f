"""How a user names a mission: as MISSION or --mission, and what is said if there is none."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, ArgumentCollection, Parameter, Token

from spec_kitty_orchestrator.errors import UsageProblem, suggest

__all__ = ["MissionFlag", "MissionWord", "join_mission", "missions_here", "unknown_mission"]

_MOST_LISTED = 20

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


def missions_here(root: Path) -> str:
    """Return which missions there are, as a sentence."""
    slugs = _list(root)
    if not slugs:
        return f"There is no mission in {root / 'kitty-specs'}; check out the branch that has one."
    more = f" and {len(slugs) - _MOST_LISTED} more" if len(slugs) > _MOST_LISTED else ""
    return f"Missions here: {', '.join(slugs[:_MOST_LISTED])}{more}"


def unknown_mission(root: Path, mission: str) -> str:
    """Return that a mission does not exist, and which ones do."""
    from spec_kitty_orchestrator.preflight.plan import where_it_is  # it loads the SDK

    slugs = _list(root)
    here = suggest(mission, slugs[:_MOST_LISTED]) if slugs else missions_here(root)
    advice = where_it_is(root, mission) or here
    return (
        f"Mission {mission!r} does not exist in kitty-specs/ on the branch that is checked out. "
        f"{advice}"
    )
