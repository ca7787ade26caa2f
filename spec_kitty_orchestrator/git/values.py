"""The position and status of a worktree, and the errors of its work."""

from attrs import frozen

__all__ = ["CommitRefused", "OffBranch", "Position", "Status"]


class OffBranch(Exception):
    """The work in a worktree cannot be brought onto its branch without losing commits of it.

    Args:
        where: The branch or commit that is checked out, in words.
    """

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


class CommitRefused(Exception):
    """A hook of the repository refused a commit. The message has the hook's own words."""


@frozen
class Position:
    """The commit and branch that are checked out."""

    head: str
    """The commit."""
    branch: str | None
    """None: a detached HEAD."""

    def __str__(self) -> str:
        at = self.head[:12]
        return f"the branch {self.branch} at {at}" if self.branch else f"a detached HEAD at {at}"


@frozen(kw_only=True)
class Status:
    """The uncommitted files of a worktree."""

    files: tuple[str, ...] = ()
    """Changed, new and removed files, submodules with changes among them."""
    conflicts: tuple[str, ...] = ()
    """Files of a merge or rebase that is not finished."""
    repositories: tuple[str, ...] = ()
    """Folders that are git repositories of their own and that git does not know as submodules."""

    untouched: tuple[str, ...] = ()
    """Files whose bytes are those in the index; git lists them because of line-end settings."""

    def __bool__(self) -> bool:
        return bool(self.files or self.conflicts or self.repositories)
