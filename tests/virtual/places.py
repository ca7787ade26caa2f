"""Worktrees that are numbers, and the git commands that the SDK sends."""

import json
from collections.abc import Sequence
from pathlib import Path

import anyio.lowlevel
from attrs import define, field, frozen

from spec_kitty_client.testing.host import SimulatedHost
from spec_kitty_client.transports import Completed
from spec_kitty_client.workflow.nested import NewLinks
from spec_kitty_orchestrator.git.changes import Changes
from spec_kitty_orchestrator.git.values import Position, Status
from spec_kitty_orchestrator.git.worktree import Worktree

__all__ = ["AgentCheckouts", "Checkout", "in_memory_git"]


@define
class AgentCheckouts:
    """Every worktree of a mission: how many commits it has, and whether files are not committed."""

    commits: dict[Path, int] = field(factory=dict)
    dirty: set[Path] = field(factory=set)

    def checkout(self, path: Path, root: Path, branch: str | None) -> "Checkout":
        """Return what the orchestrator looks at a worktree with."""
        return Checkout(path, root, branch, checkouts=self)


@frozen
class Checkout(Worktree):
    """A worktree in which a commit is a number."""

    checkouts: AgentCheckouts = field(kw_only=True)

    async def is_there(self) -> bool:
        await anyio.lowlevel.checkpoint()
        return True

    async def relink(self, aside: Path) -> Path | None:
        return None

    async def linked_inside(self) -> set[str]:
        return set()

    async def position(self) -> Position:
        await anyio.lowlevel.checkpoint()
        return Position(str(self.checkouts.commits.get(self.path, 0)), self.branch)

    async def branch_head(self) -> str | None:
        return await self.head()

    async def contains(self, commit: str, ancestor: str) -> bool:
        return int(ancestor) <= int(commit)

    async def adopt(self, floor: str) -> str:
        return await self.head()

    async def restore(self, commit: str) -> None:
        self.checkouts.dirty.discard(self.path)
        self.checkouts.commits[self.path] = int(commit)

    async def status(self) -> Status:
        await anyio.lowlevel.checkpoint()
        return Status(files=("work.py",)) if self.path in self.checkouts.dirty else Status()

    async def keep(self, folder: str, message: str, stays: str | None = None) -> str | None:
        return f"{folder}/1" if await self.status() else None

    async def changes(self, spans: Sequence[tuple[str, str]], limit: int) -> Changes:
        await anyio.lowlevel.checkpoint()
        return Changes(files=("work.py",), diff="+ work")

    async def keep_ignored(self, files: Sequence[str], folder: str, message: str) -> list[str]:
        return []

    async def strays(self, since: float) -> list[str]:
        return []

    async def changes_to_undo(
        self, inside: str, *, before: str, target: str | None, owned: Sequence[str]
    ) -> tuple[str, list[str]]:
        return before, []

    async def links(self, before: str) -> NewLinks:
        return NewLinks()

    async def commit(self, message: str) -> str:
        if await self.status():
            self.checkouts.dirty.discard(self.path)
            self.checkouts.commits[self.path] = self.checkouts.commits.get(self.path, 0) + 1
        return await self.head()

    async def base(self, ref: str | None) -> str:
        return await self.head()


def in_memory_git(host: SimulatedHost, args: Sequence[str], time_limit: float) -> Completed:
    """Answer what a client asks of git to know or make a worktree, and nothing else.

    Every branch is there already, checked out where it belongs, with all that it needs.
    """
    known = _answer(host, list(args))
    return Completed(
        argv=("git", *args),
        exit_code=1 if known is None else 0,
        stdout=(known or "").encode(),
        stderr=b"",
        time_limit=time_limit,
    )


def _files(host: SimulatedHost, paths: list[str]) -> str | None:
    """Return the mission's files among these, each line after the name of its file."""
    texts = {"meta.json": json.dumps({"target_branch": host.mission.target})}
    if host.release.since("3.1.0"):
        texts["lanes.json"] = _lanes_json(host)
    named = ((path, texts.get(path.rpartition("/")[2])) for path in paths)
    return "".join(f"{path}\0{text}\n" for path, text in named if text) or None


def _answer(host: SimulatedHost, args: list[str]) -> str | None:
    root = host.workspace.root
    said: str | None
    match args:
        case ["rev-parse", "--path-format=absolute", *_]:
            said = f"{root}/.git\n{root}/.git\n{root}\n"
        case ["rev-parse" | "merge-base", *_]:
            said = "0\n"
        case ["grep", *words]:
            said = _files(host, words[words.index("--") + 1 :])
        case ["worktree", "list", *_] | ["status", *_]:
            said = ""
        case ["for-each-ref", _, *refs]:
            said = "".join(_ref(root, ref.removeprefix("refs/heads/")) for ref in refs)
        case ["ls-files", *_, path]:
            said = path.replace("*", "-part") + "\0"
        case _:
            msg = f"git {' '.join(args)} is not simulated"
            raise NotImplementedError(msg)
    return said


def _ref(root: str, branch: str) -> str:
    return f"{branch}\0{root}/.worktrees/{branch.removeprefix('kitty/mission-')}\n"


def _lanes_json(host: SimulatedHost) -> str:
    mission = host.mission
    lanes: dict[str, list[str]] = {}
    for wp, lane in mission.lanes.items():
        lanes.setdefault(lane, []).append(wp)
    told = [
        {"lane_id": lane, "wp_ids": wps, "depends_on_lanes": list[str]()}
        for lane, wps in lanes.items()
    ]
    return json.dumps({"mission_branch": f"kitty/mission-{mission.slug}", "lanes": told})
