"""Find nested repositories, whose content git does not merge and whose folder a merge removes.

Git commits a repository inside another one as a bare commit id (a gitlink). Its files are only in
the worktree, and are removed with it.
"""

import shlex

from attrs import frozen

from spec_kitty_client._engine.core import Git, Steps
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.transports import Completed
from spec_kitty_client.values import Value
from spec_kitty_client.workflow.git import git

__all__ = ["NewLinks", "how_to_keep", "nested_repositories", "new_links"]

_GITLINK = "160000"
_INDEX = ("diff-index", "--cached", "-z", "--ignore-submodules=none", "--end-of-options")
_BRANCHES = ("--branches", "--tags", "--remotes")


def nested_repositories(folder: str, base: str) -> Steps[tuple[str, ...]]:
    """Return the nested repositories in a worktree with content that exists nowhere else.

    These are gitlinks that neither the base nor ``.gitmodules`` knows; submodules with commits on
    no remote; and repositories that are untracked or ignored, such as a worktree that an agent made
    inside its own, with uncommitted files, or with commits on no branch or no remote.

    Args:
        folder: Path of the worktree.
        base: The commit or full ref at which the work in it began.

    Returns:
        Their paths, relative to the folder.

    Raises:
        GitFailed: If git cannot tell.
    """
    links = yield from new_links(folder, base)
    found = {*links.foreign, *links.unpublished}
    for path in (yield from _untracked(folder)):
        if (yield from _holds_more(f"{folder}/{path}")):
            found.add(path)
    return tuple(sorted(found))


@frozen(kw_only=True)
class NewLinks(Value):
    """The new gitlinks of a checkout that no other checkout could resolve, as relative paths."""

    foreign: tuple[str, ...] = ()
    """Repositories without an entry in ``.gitmodules``. Git has their commit, not their files."""
    unpublished: tuple[str, ...] = ()
    """Submodules with uncommitted files, or with commits that no remote is known to have."""


def new_links(folder: str, base: str) -> Steps[NewLinks]:
    """Return the gitlinks in the index that differ from the base and must not be merged.

    Args:
        folder: Path of the checkout.
        base: The commit or full ref at which the work in it began.

    Raises:
        GitFailed: If git cannot tell.
    """
    links = yield from _changed_links(folder, base)
    known = (yield from _submodules(folder)) if links else set[str]()
    unpublished = set[str]()
    for path in links & known:
        if (yield from _holds_more(f"{folder}/{path}")):
            unpublished.add(path)
    return NewLinks(foreign=tuple(sorted(links - known)), unpublished=tuple(sorted(unpublished)))


def how_to_keep(folder: str, path: str) -> str:
    """Return the commands that keep the content of a nested repository, as sentences.

    Args:
        folder: Path of the worktree.
        path: The nested repository, relative to the folder.
    """
    inside, whole, top = shlex.quote(path), shlex.quote(f"{folder}/{path}"), shlex.quote(folder)
    return (
        f"To make its files part of this repository: mv {whole}/.git $(mktemp -d) && git -C {top} "
        f"rm -r -q --cached --ignore-unmatch {inside} && git -C {top} add --force {inside} && "
        f"git -C {top} commit -m files. To keep it apart, push its commits, or move it elsewhere."
    )


def _changed_links(folder: str, base: str) -> Steps[set[str]]:
    """Return the gitlinks in the index that the base does not have, or has at another commit."""
    fields = (yield from git(*_INDEX, base, folder=folder)).split("\0")
    pairs = zip(fields[::2], fields[1::2], strict=False)
    return {path for about, path in pairs if about.split(" ")[1] == _GITLINK}


def _submodules(folder: str) -> Steps[set[str]]:
    """Return the paths that ``.gitmodules`` names."""
    args = ("config", "--file", ".gitmodules", "-z", "--get-regexp", r"^submodule\..*\.path$")
    done: Completed = yield Git(args, folder)
    if done.exit_code != 0:
        return set()  # there is no such file, or it is damaged
    entries = done.stdout.decode("utf-8", "backslashreplace").split("\0")
    return {entry.partition("\n")[2] for entry in entries if entry}


def _untracked(folder: str) -> Steps[tuple[str, ...]]:
    """Return the nested repositories that are not in the index, ignored ones included."""
    # Git lists a nested repository as one folder, and everything else file by file.
    listed = yield from git("ls-files", "--others", "-z", folder=folder)
    return tuple(path.rstrip("/") for path in listed.split("\0") if path.endswith("/"))


def _holds_more(path: str) -> Steps[bool]:
    """Return whether a repository has uncommitted files, or commits that nothing else keeps."""
    asked = (
        "rev-parse",
        "--path-format=absolute",
        "--show-prefix",
        "--git-dir",
        "--git-common-dir",
    )
    try:
        prefix, own, common = (yield from git(*asked, folder=path)).split("\n")[:3]
        if prefix:
            return False  # an empty folder of a submodule: git has climbed out of it
        if (yield from git("status", "--porcelain", "--ignore-submodules=none", folder=path)):
            return True
        # The branches of a linked worktree are those of the repository around it.
        kept = _BRANCHES if own != common else ("--remotes",)
        every = ("HEAD",) if own != common else ("HEAD", "--branches", "--tags")
        args = ("rev-list", "--max-count=1", *every, "--not", *kept)
        return bool((yield from git(*args, folder=path)).strip())
    except GitFailed:  # no commit yet, or damaged: its content exists nowhere else
        return True
