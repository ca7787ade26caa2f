"""Check the names in a mission's files before they become branches and folders.

Every committer of the repository can write these files, and a name that begins with ``-`` or
leads out of ``.worktrees`` would become an option of git or another folder.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from spec_kitty_client.errors import GitFailed

__all__ = ["check_names", "is_branch_name"]

_LONGEST = 200  # characters; a branch is also the name of a file
_SHOWN = 60  # characters of a name in a message
_BRANCHES = ("target_branch", "merge_target_branch", "coordination_branch")
_NO_BRANCH = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\]"  # characters with a meaning for git
    r"|\.\.|@\{|//|/\.|\.lock(?:/|\Z)|\A[-./]|[./]\Z|\A@\Z|\AHEAD\Z"
)
_NO_LANE = re.compile(r"/|\A\.")


def is_branch_name(text: str) -> bool:
    """Return whether git accepts a text as the name of a new branch."""
    return bool(text) and not _NO_BRANCH.search(text)


def check_names(folder: str, meta: Mapping[str, Any], lanes: Mapping[str, Any]) -> None:
    """Check every branch and lane that the files of a mission name.

    Args:
        folder: The mission's folder, relative to the root of the repository.
        meta: The contents of ``meta.json``.
        lanes: The contents of ``lanes.json``.

    Raises:
        GitFailed: If one cannot be a branch, or a folder below ``.worktrees``.
    """
    for key in _BRANCHES:
        _check(f"{folder}/meta.json", key, meta.get(key))
    for key in ("mission_branch", "target_branch"):
        _check(f"{folder}/lanes.json", key, lanes.get(key))
    for name in _lane_names(lanes.get("lanes")):
        _check(f"{folder}/lanes.json", "lane", name, lane=True)


def _lane_names(lanes: object) -> Iterator[object]:
    for lane in lanes if isinstance(lanes, list) else ():
        if isinstance(lane, Mapping):
            yield lane.get("lane_id")
            needs = lane.get("depends_on_lanes")
            yield from needs if isinstance(needs, list) else ()


def _check(path: str, key: str, name: object, *, lane: bool = False) -> None:
    if not isinstance(name, str) or not name:
        return  # missing, or no name for hosts either
    if len(name) > _LONGEST or not is_branch_name(name) or (lane and _NO_LANE.search(name)):
        msg = (
            f"{path} has the {key} {name[:_SHOWN]!r}, which cannot be the name of a branch. "
            f"Restore the file: git log -- {path}"
        )
        raise GitFailed(msg)
