"""Git in memory: commits, branches, refs and worktrees, with as much of git as agents can misuse.

`test_repository` compares it with real git. `Worktree.adopt` and `Worktree.keep`, which decide
what becomes of an agent's work, are the orchestrator's own code here.
"""

import errno
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from spec_kitty_client.workflow.nested import NewLinks
from spec_kitty_orchestrator.git.calls import GitError
from spec_kitty_orchestrator.git.changes import Changes
from spec_kitty_orchestrator.git.values import CommitRefused, Position, Status
from spec_kitty_orchestrator.git.worktree import Worktree

__all__ = ["Checkout", "Commit", "ModelWorktree", "Repository"]

ROOT = f"{0:012x}"
"""The commit from which every branch starts."""


@frozen
class Commit:
    """A commit. A file's name stands for its content too: no file is ever changed."""

    name: str
    parents: tuple[str, ...]
    files: frozenset[str]
    at: float = 0.0


@define
class Checkout:
    """The content and the HEAD of one worktree."""

    branch: str | None
    """None: a detached HEAD."""
    detached: str = ROOT
    files: set[str] = field(factory=set)
    repositories: set[str] = field(factory=set)
    conflicts: set[str] = field(factory=set)
    exists: bool = True
    linked: bool = True
    """Whether ``.git`` leads to the repository."""
    replaced: bool = False
    """Whether another repository is in the place of ``.git``."""


@define
class Repository:
    """A repository with its worktrees.

    Args:
        root: The primary checkout, in which a file locks the index.
    """

    root: Path
    commits: dict[str, Commit] = field(factory=lambda: {ROOT: Commit(ROOT, (), frozenset())})
    branches: dict[str, str] = field(factory=dict)
    refs: dict[str, str] = field(factory=dict)
    checkouts: dict[Path, Checkout] = field(factory=dict)
    aside: set[str] = field(factory=set)
    """What was moved out of worktrees."""
    refuses: bool = False
    """Whether the pre-commit hook refuses."""
    full: bool = False
    """Whether the disk is full."""

    @property
    def lock(self) -> Path:
        """The file that locks the index while it exists."""
        return self.root / "index.lock"

    def checkout(self, path: Path, branch: str | None = None) -> Checkout:
        """Return a worktree; it is made when it is asked for first."""
        name = branch or path.name
        self.branches.setdefault(name, ROOT)
        if path not in self.checkouts:
            self.checkouts[path] = Checkout(name, files=set(self._files(self.branches[name])))
        return self.checkouts[path]

    def remake(self, path: Path, branch: str) -> None:
        """Make a removed worktree again, from its branch."""
        commit = self.branches.setdefault(branch, ROOT)
        self.checkouts[path] = Checkout(branch, files=set(self._files(commit)))

    def head(self, checkout: Checkout) -> str:
        """Return the commit of HEAD."""
        return self.branches[checkout.branch] if checkout.branch else checkout.detached

    def commit(self, checkout: Checkout, at: float = 0.0) -> str:
        """Commit everything that is in a worktree, where it is, and return the commit."""
        made = self.add([self.head(checkout)], checkout.files, at)
        checkout.conflicts.clear()
        if checkout.branch:
            self.branches[checkout.branch] = made
        else:
            checkout.detached = made
        return made

    def add(self, parents: Sequence[str], files: set[str], at: float = 0.0) -> str:
        """Add a commit that is on no branch."""
        name = f"{len(self.commits):012x}"
        self.commits[name] = Commit(name, tuple(parents), frozenset(files), at)
        return name

    def switch(self, checkout: Checkout, branch: str | None, commit: str | None = None) -> None:
        """Check out a branch, or with None a detached HEAD, at a commit or where it is."""
        before = self.head(checkout)
        new = checkout.files - self._files(before)
        goal = commit or (self.branches.get(branch, before) if branch else before)
        if branch:
            self.branches[branch] = goal
        checkout.branch, checkout.detached = branch, goal
        checkout.files = set(self._files(goal)) | new

    def ancestors(self, commit: str) -> set[str]:
        """Return a commit with all that it is made from."""
        found, left = set[str](), [commit]
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                left += self.commits[name].parents
        return found

    def reachable(self) -> set[str]:
        """Return every commit that a branch, a ref or a worktree leads to."""
        heads = {self.head(c) for c in self.checkouts.values() if c.exists}
        names = {*self.branches.values(), *self.refs.values(), *heads}
        return set().union(*map(self.ancestors, names)) if names else set()

    def contents(self) -> set[str]:
        """Return the files that still exist somewhere."""
        found = set(self.aside)
        for commit in self.reachable():
            found |= self._files(commit)
        for checkout in self.checkouts.values():
            found |= checkout.files | checkout.repositories
        return found

    def dirty(self, checkout: Checkout) -> set[str]:
        """Return the files that differ from those of HEAD."""
        return checkout.files ^ self._files(self.head(checkout))

    def _files(self, commit: str) -> frozenset[str]:
        return self.commits[commit].files


@frozen
class ModelWorktree(Worktree):
    """A worktree of a repository in memory."""

    repository: Repository = field(kw_only=True)

    @property
    def _state(self) -> Checkout:
        """The worktree, as git can use it.

        Raises:
            FileNotFoundError: If the folder is gone.
            GitError: If git would go to another repository.
        """
        found = self.repository.checkout(self.path, self.branch)
        if not found.exists:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self.path))
        if not found.linked:
            msg = f"{self.path} is not linked to its repository"
            raise GitError(msg)
        return found

    async def is_there(self) -> bool:
        await anyio.lowlevel.checkpoint()
        return self.repository.checkout(self.path, self.branch).exists

    async def remake(self, commit: str | None) -> None:
        await anyio.lowlevel.checkpoint()
        self.repository.remake(self.path, self.branch or self.path.name)

    async def relink(self, aside: Path) -> Path | None:
        await anyio.lowlevel.checkpoint()
        found = self.repository.checkout(self.path, self.branch)
        if not found.exists:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self.path))
        replaced, found.replaced, found.linked = found.replaced, False, True
        return aside if replaced else None

    async def linked_inside(self) -> set[str]:
        return set()

    async def position(self) -> Position:
        await anyio.lowlevel.checkpoint()
        return Position(self.repository.head(self._state), self._state.branch)

    async def branch_head(self) -> str | None:
        await anyio.lowlevel.checkpoint()
        return self.repository.branches.get(self.branch or self.path.name)

    async def contains(self, commit: str, ancestor: str) -> bool:
        await anyio.lowlevel.checkpoint()
        return ancestor in self.repository.ancestors(commit)

    async def restore(self, commit: str) -> None:
        await self._checkout_as_is(commit)
        self._state.files = set(self.repository.commits[commit].files)
        self._state.conflicts.clear()

    async def _checkout_as_is(self, commit: str, before: str | None = None) -> None:
        await anyio.lowlevel.checkpoint()
        name = self.branch or self.path.name
        self.repository.branches[name] = commit
        self._state.branch = name

    async def status(self) -> Status:
        await anyio.lowlevel.checkpoint()
        return Status(
            files=tuple(sorted(self.repository.dirty(self._state))),
            conflicts=tuple(sorted(self._state.conflicts)),
            repositories=tuple(sorted(self._state.repositories)),
        )

    async def _snapshot(self, add: Sequence[str], head: str, message: str) -> str:
        self._fail_if_full()
        return self.repository.add([head], self._state.files, anyio.current_time())

    async def _name(self, commit: str, folder: str) -> str:
        numbers = [int(n.rpartition("/")[2]) for n in self.repository.refs if n.startswith(folder)]
        name = f"{folder}/{1 + max(numbers, default=0)}"
        self.repository.refs[name] = commit
        return name

    async def keep_ignored(self, files: Sequence[str], folder: str, message: str) -> list[str]:
        return []

    async def changes(self, spans: Sequence[tuple[str, str]], limit: int) -> Changes:
        await anyio.lowlevel.checkpoint()
        files = {f for a, b in spans for f in self._files(b) ^ self._files(a)}
        return Changes(files=tuple(sorted(files)), diff="+ work")

    async def changes_to_undo(
        self, inside: str, *, before: str, target: str | None, owned: Sequence[str]
    ) -> tuple[str, list[str]]:
        await anyio.lowlevel.checkpoint()
        changed = self._state.files ^ self._files(before)
        return before, sorted(path for path in changed if path.startswith(inside))

    async def put_back(self, commit: str, files: Sequence[str]) -> None:
        await anyio.lowlevel.checkpoint()
        self._state.files -= set(files)
        self._state.files |= self._files(commit) & set(files)

    async def links(self, before: str) -> NewLinks:
        return NewLinks()

    async def strays(self, since: float) -> list[str]:
        await anyio.lowlevel.checkpoint()
        known = self.repository.ancestors(self.repository.head(self._state))
        tips = self.repository.branches.items()
        return [n for n, c in tips if c not in known and self.repository.commits[c].at >= since]

    async def commit(self, message: str) -> str:
        if self.repository.dirty(self._state):
            self._fail_if_full()
            if self.repository.lock.exists():
                msg = f"Unable to create '{self.repository.lock}': File exists."
                raise GitError(msg)
            if self.repository.refuses:
                msg = "the hook refuses"
                raise CommitRefused(msg)
            self.repository.commit(self._state, anyio.current_time())
        return await self.head()

    async def refusal_of(self, message: str) -> str | None:
        return None

    async def lock(self) -> Path:
        return self.repository.lock

    async def base(self, ref: str | None) -> str:
        return ROOT if ref and self.branch else await self.head()

    def _files(self, commit: str) -> frozenset[str]:
        return self.repository.commits[commit].files

    def _fail_if_full(self) -> None:
        if self.repository.full:
            msg = "No space left on device"
            raise GitError(msg)
