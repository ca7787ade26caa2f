"""A lane worktree: the folder in which agents work on one branch.

An agent can do anything there: remove the link to the repository, leave the branch, make a
repository of its own. So the orchestrator checks the worktree before and after each agent, and
brings it back onto its branch. No work is lost: `Worktree.keep` puts it under a ref first.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from spec_kitty_client.workflow.nested import NewLinks, new_links
from spec_kitty_orchestrator.git.calls import GitError, run_git, run_steps
from spec_kitty_orchestrator.git.changes import Changes, changes, changes_to_undo, put_back
from spec_kitty_orchestrator.git.files import (
    blob_id,
    copy_if_there,
    is_rebasing,
    own_folder,
    relink,
    write_text,
)
from spec_kitty_orchestrator.git.values import CommitRefused, OffBranch, Position, Status

__all__ = ["Worktree"]

_REGULAR = ("100644", "100755")  # the modes of files that hold text
_CONFLICTS = ("DD", "AU", "UD", "UA", "DU", "AA", "UU")  # status codes of files in conflict


@frozen
class Worktree:
    """A linked worktree. Every method runs git, and can be cancelled."""

    path: Path
    root: Path
    """The primary checkout."""
    branch: str | None = None
    """The branch that belongs here; None: the branch that is checked out."""

    # The folder and its link to the repository

    async def is_there(self) -> bool:
        """Return whether the folder exists."""
        import anyio  # here, because `--help` has to start quickly

        return await anyio.Path(self.path).is_dir()

    async def remake(self, commit: str | None) -> None:
        """Make the removed folder again, from its branch.

        Args:
            commit: The commit for a new branch, if the branch is gone as well.

        Raises:
            GitError: If there is neither a branch nor a commit.
        """
        branch = self.branch or ""
        if await self.branch_head() is None:
            await run_git(self.root, "branch", branch, commit or "")
        await run_git(self.root, "worktree", "add", "--quiet", "--force", str(self.path), branch)

    async def relink(self, aside: Path) -> Path | None:
        """Restore the link to the repository if it is gone or leads elsewhere.

        Args:
            aside: Where to move the ``.git`` that is there instead.

        Returns:
            Where that is now; None if there was none.

        Raises:
            GitError: If the repository does not know the worktree any more.
        """
        return relink(self.path, await self._own_folder(), aside)

    async def _own_folder(self) -> Path:
        """Return the folder in which the repository keeps HEAD and index of the worktree."""
        asked = ("rev-parse", "--path-format=absolute", "--git-common-dir")
        common = Path((await run_git(self.root, *asked)).removesuffix("\n"))
        if (found := own_folder(common, self.path)) is None:
            msg = f"{self.path} is not a worktree of {self.root}"
            raise GitError(msg)
        return found

    async def linked_inside(self) -> set[str]:
        """Return the clean worktrees of the same repository that are inside this one.

        Their commits are in the repository. Agents make them for their subagents.
        """
        listed = await run_git(self.root, "worktree", "list", "--porcelain", "-z")
        paths = [Path(e[9:]) for e in listed.split("\0") if e.startswith("worktree ")]
        inside = [path for path in paths if self.path in path.parents]
        return {
            str(path.relative_to(self.path))
            for path in inside
            if not await run_git(path, "status", "--porcelain")
        }

    # The branch

    async def position(self) -> Position:
        """Return what is checked out."""
        found = await self._git("rev-parse", "HEAD", "--symbolic-full-name", "HEAD")
        head, name = found.split("\n")[:2]
        return Position(head, None if name == "HEAD" else name.removeprefix("refs/heads/"))

    async def head(self) -> str:
        """Return the commit of HEAD."""
        return (await self.position()).head

    async def branch_head(self) -> str | None:
        """Return the commit of the branch that belongs here; None if there is no such branch."""
        if self.branch is None:
            return await self.head()
        form = ("for-each-ref", "--format=%(objectname)", f"refs/heads/{self.branch}")
        return (await run_git(self.root, *form)).strip() or None

    async def contains(self, commit: str, ancestor: str) -> bool:
        """Return whether a commit equals another one or has it among its ancestors."""
        return not await self._git("rev-list", "--max-count=1", ancestor, "--not", commit)

    async def adopt(self, floor: str) -> str:
        """Bring HEAD and the branch together if no commit is lost by that, and return HEAD.

        Args:
            floor: A commit that has to be in the work.

        Raises:
            OffBranch: If HEAD is elsewhere and lacks commits of the branch, or lacks `floor`.
        """
        here = await self.position()
        if self.branch is None or here.branch == self.branch:
            if not await self.contains(here.head, floor):
                raise OffBranch(f"{here}, without the commit {floor[:12]} that it started from")
            return here.head
        lane = await self.branch_head()
        if not await self.contains(here.head, lane or floor):
            raise OffBranch(str(here))
        await self._checkout_as_is(here.head, lane)
        return here.head

    async def restore(self, commit: str) -> None:
        """Check out the branch at a commit, and discard uncommitted changes.

        Call `keep` first. Files that git ignores, and repositories inside, stay.
        """
        await self._checkout_as_is(commit)
        await self._git("reset", "--quiet", "--hard", commit)
        await self._git("clean", "--quiet", "-d", "--force")

    async def _checkout_as_is(self, commit: str, before: str | None = None) -> None:
        """Point the branch at a commit and HEAD at the branch; leave index and files alone."""
        if is_rebasing(await self._own_folder()):
            await self._git("rebase", "--quit")
        if self.branch is not None:
            name = f"refs/heads/{self.branch}"
            await self._git("update-ref", name, commit, *([before] if before else []))
            await self._git("symbolic-ref", "HEAD", name)

    # Uncommitted files

    async def status(self) -> Status:
        """Return the uncommitted files."""
        args = ("--porcelain", "-z", "--untracked-files=all", "--no-renames")
        listed = await self._git("status", *args, "--ignore-submodules=untracked")
        entries = [(e[:2], e[3:]) for e in listed.split("\0") if e[2:3] == " "]
        same = await self._same_bytes([path for code, path in entries if code == " M"])
        repositories = tuple(path for code, path in entries if code == "??" and path[-1:] == "/")
        return Status(
            files=tuple(p for _, p in entries if p not in same and p not in repositories),
            conflicts=tuple(path for code, path in entries if code in _CONFLICTS),
            repositories=repositories,
            untouched=tuple(same),
        )

    async def _same_bytes(self, paths: Sequence[str]) -> set[str]:
        """Return the files whose bytes are those in the index.

        Git reports them as changed if they were committed with other line ends than the
        attributes ask for now.
        """
        if not paths:
            return set()
        listed = await self._git("ls-files", "--stage", "-z", "--", *_literal(paths))
        rows = (row.partition("\t") for row in listed.split("\0"))
        known = {path: about.split() for about, _, path in rows if path}
        return {
            path
            for path, (mode, oid, *_) in known.items()
            if mode in _REGULAR and blob_id(self.path / path, len(oid)) == oid
        }

    async def keep(self, folder: str, message: str, stays: str | None = None) -> str | None:
        """Keep HEAD, the branch and all uncommitted files under new refs, and return their names.

        Args:
            folder: The folder of refs. The names of the new refs are the next numbers.
            message: The message of the commit that holds uncommitted files.
            stays: The commit to which the branch will be reset; None: its present head.

        Returns:
            None if everything is in that commit already.
        """
        status, head = await self.status(), await self.head()
        lane = await self.branch_head()
        found = await self._snapshot(_add(status), head, message) if status.files else head
        kept, names = [stays or lane], list[str]()
        for commit in (found, lane):
            if commit and not any([k and await self.contains(k, commit) for k in kept]):
                names.append(await self._name(commit, folder))
                kept.append(commit)
        return " and ".join(names) or None

    async def keep_ignored(self, files: Sequence[str], folder: str, message: str) -> list[str]:
        """Keep the ignored ones of these files under a new ref, and return them.

        Args:
            files: Files, relative to the worktree.
            folder: See `keep`.
            message: The message of the commit.
        """
        args = ("ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--")
        listed = await self._git(*args, *_literal(files)) if files else ""
        ignored = [path for path in listed.split("\0") if path]
        if ignored:
            add = ("add", "--force", "--sparse", "--", *_literal(ignored))
            await self._name(await self._snapshot(add, await self.head(), message), folder)
        return ignored

    async def _name(self, commit: str, folder: str) -> str:
        """Make the next ref in a folder of refs."""
        taken = await run_git(self.root, "for-each-ref", "--format=%(refname:lstrip=-1)", folder)
        number = 1 + max((int(name) for name in taken.split() if name.isdigit()), default=0)
        await run_git(self.root, "update-ref", f"{folder}/{number}", commit, "")
        return f"{folder}/{number}"

    async def would_lose(self) -> str | None:
        """Return the work that would be lost with the folder; None if no work would be lost."""
        status = await self.status()
        if files := (*status.files, *status.repositories):
            return "holds uncommitted work: " + ", ".join(files)
        if await self._git("rev-list", "--max-count=1", "HEAD", "--not", "--branches", "--remotes"):
            return f"holds commits that are on no branch, on {await self.position()}"
        return None

    async def _snapshot(self, add: Sequence[str], head: str, message: str) -> str:
        """Return a commit on top of HEAD with what is added; the index is left alone."""
        with tempfile.TemporaryDirectory(prefix="spec-kitty-orchestrator-") as folder:
            index = Path(folder, "index")
            env = {"GIT_INDEX_FILE": str(index)}
            copy_if_there(await self._own_folder() / "index", index)
            await run_git(self.path, *add, env=env)
            tree = (await run_git(self.path, "write-tree", env=env)).strip()
        return (await self._git("commit-tree", tree, "-p", head, f"-m{message}")).strip()

    # Commits

    async def changes(self, spans: Sequence[tuple[str, str]], limit: int) -> Changes:
        """Return the changes between pairs of commits; see `git.changes.changes`."""
        return await changes(self.path, spans, limit)

    async def changes_to_undo(
        self, inside: str, *, before: str, target: str | None, owned: Sequence[str]
    ) -> tuple[str, list[str]]:
        """Return the changed files in one folder; see `git.changes.changes_to_undo`."""
        return await changes_to_undo(self.path, inside, before=before, target=target, owned=owned)

    async def put_back(self, commit: str, files: Sequence[str]) -> None:
        """Give files the content that a commit has; see `git.changes.put_back`."""
        await put_back(self.path, commit, files)

    async def links(self, before: str) -> NewLinks:
        """Return the links to other repositories, new since a commit, that must not be merged."""
        return await run_steps(self.path, new_links(str(self.path), before))

    async def strays(self, since: float) -> list[str]:
        """Return the branches whose newest commit HEAD lacks and is newer than a time.

        Args:
            since: Seconds since the epoch.
        """
        form = "--format=%(committerdate:unix) %(refname:lstrip=2)"
        listed = await self._git("for-each-ref", "--no-merged=HEAD", form, "refs/heads")
        rows = [row.partition(" ") for row in listed.split("\n") if row]
        return [name for date, _, name in rows if int(date) >= int(since)]

    async def commit(self, message: str) -> str:
        """Commit all changes, if there are any, and return HEAD.

        Repositories inside are left out. If the hooks are files of the repository, git runs those
        of the primary checkout, because an agent may have changed the ones here.

        Raises:
            CommitRefused: If a hook refuses.
            GitError: If git cannot commit, for example because a signature fails.
        """
        status = await self.status()
        if status.files:
            await self._git(*_add(status))
            if await self._git("diff", "--cached", "--name-only", "-z"):
                await self._commit(message)
        return await self.head()

    async def _commit(self, message: str) -> None:
        try:
            await self._git(*await self._own_hooks(), "commit", "--quiet", f"--message={message}")
        except GitError as e:
            if e.exit_code_of_git == 1:  # every failure of git's own has another code
                raise CommitRefused(e.output or str(e)) from e
            raise

    async def refusal_of(self, message: str) -> str | None:
        """Return why the commit-msg hook refuses a message; None if it does not."""
        with tempfile.TemporaryDirectory(prefix="spec-kitty-orchestrator-") as folder:
            file = Path(folder, "COMMIT_EDITMSG")
            write_text(file, f"{message}\n")
            hooks = await self._own_hooks()
            try:
                await self._git(
                    *hooks, "hook", "run", "--ignore-missing", "commit-msg", "--", str(file)
                )
            except GitError as e:
                return (
                    e.output if e.exit_code_of_git == 1 else None
                )  # git before 2.36 has no `hook`
        return None

    async def _own_hooks(self) -> tuple[str, ...]:
        asked = ("rev-parse", "--path-format=absolute", "--git-path", "hooks")
        hooks = Path((await self._git(*asked)).removesuffix("\n"))
        if not hooks.is_relative_to(self.path):
            return ()
        return ("-c", f"core.hooksPath={self.root / hooks.relative_to(self.path)}")

    async def lock(self) -> Path:
        """Return the file that locks the index while it exists."""
        return await self._own_folder() / "index.lock"

    async def base(self, ref: str | None) -> str:
        """Return the commit before the work on the branch.

        That is the fork point from `ref`, if the branch has commits that no other branch has;
        else HEAD, because there is no work yet.

        Args:
            ref: The ref that the branch was made from, if the host named one.
        """
        if ref and self.branch:
            others = (f"--exclude={self.branch}", "--branches")
            if await self._git("rev-list", "--max-count=1", "HEAD", "--not", *others):
                return (await self._git("merge-base", "HEAD", ref)).strip()
        return await self.head()

    async def _git(self, *args: str) -> str:
        return await run_git(self.path, *args)


def _literal(paths: Sequence[str]) -> list[str]:
    return [f":(top,literal){path}" for path in paths]


def _add(status: Status) -> tuple[str, ...]:
    """Return the arguments that add all changed files, without repositories inside."""
    left = (*status.repositories, *status.untouched)
    out = (f":(top,exclude,literal){path.rstrip('/')}" for path in left)
    return ("add", "--all", "--sparse", "--", ":(top)", *out)
