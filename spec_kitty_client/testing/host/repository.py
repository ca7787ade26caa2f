"""The git repository of a simulated host: branches, worktrees, and merges that can fail."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.testing.host import files
from spec_kitty_client.testing.host.answers import Crashed, Refused
from spec_kitty_client.testing.host.board import Mission
from spec_kitty_client.testing.host.releases import Release
from spec_kitty_client.testing.host.workspace import (
    begin_merge,
    branch_of,
    cannot_allocate,
    cannot_merge,
    failed_merge,
    is_in_checkout,
    is_passed_over,
    is_stale,
    needed,
    units,
)
from spec_kitty_client.transports import Completed
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.values import encodable

__all__ = ["Repository"]

_LIMIT = 120.0  # seconds for one call of git
_SIMULATED = (
    ("user.name", "Simulated host"),
    ("user.email", "host@simulated.invalid"),
    ("commit.gpgSign", "false"),
)


@frozen
class Repository:
    """A repository that a simulated host changes as its release does.

    Args:
        release: The simulated release.
        folder: The primary checkout. Existing files in it stay; nothing outside is changed.
    """

    release: Release
    folder: Path

    @property
    def root(self) -> str:
        """The primary checkout."""
        return str(self.folder)

    def prepare(self, mission: Mission) -> None:
        """Write and commit the files of a planned mission; make the repository if needed.

        Raises:
            GitFailed: If git fails, or the mission exists already.
        """
        folder = self._folder_of(mission)
        if folder.exists():
            msg = f"{folder} exists already. Use another folder or another slug."
            raise GitFailed(msg)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / ".git").exists():
            self._git("init", "--quiet", f"--initial-branch={mission.target}")
        self._ignore("/.worktrees/", "/.kittify/")
        if mission.coordinated:
            self._coordinate(mission)
        self._write_plan(mission)
        if self.release.has(Feature.LANES):
            commit = self._git("rev-parse", "HEAD")
            self._write(folder / "lanes.json", files.lanes_json(mission, commit))
            self._git("add", "--", f"kitty-specs/{mission.slug}/lanes.json")
            self._commit(f"Lay out {mission.slug}", self.folder)
        if mission.merge_target and not self._has(mission.merge_target):
            self._git("branch", mission.merge_target)

    def _coordinate(self, mission: Mission) -> None:
        """Make the coordination branch, with a worktree and an event log of its own."""
        if not self._succeeds("rev-parse", "--verify", "--quiet", "HEAD"):
            self._git("commit", "--quiet", "--allow-empty", "--message=Begin")
        place = self._status_folder(mission).parent.parent
        self._git("worktree", "add", "--quiet", "-b", mission.branch, str(place))
        self.moved(mission)

    def _write_plan(self, mission: Mission) -> None:
        folder = self._folder_of(mission)
        (folder / "tasks").mkdir(parents=True)
        for wp in mission.packages:
            text = files.prompt(mission, wp)
            (folder / "tasks" / f"{wp}-part.md").write_text(text, encoding="utf-8")
        tasks = files.tasks_md(self.release, mission)
        (folder / "tasks.md").write_text(tasks, encoding="utf-8")
        self._write(folder / "meta.json", files.meta_json(self.release, mission))
        self._git("add", "--all", "--", f"kitty-specs/{mission.slug}")
        self._commit(f"Plan {mission.slug}", self.folder)

    def _ignore(self, *lines: str) -> None:
        """Make git ignore the host's own folders, without a file in the checkout."""
        path = self.folder / self._git("rev-parse", "--git-path", "info/exclude")
        path.parent.mkdir(exist_ok=True)
        known = path.read_bytes().splitlines() if path.exists() else []
        new = [line for line in lines if line.encode() not in known]
        with path.open("a", encoding="utf-8") as file:
            # The file's last line may have no newline.
            file.write("".join(f"\n{line}" for line in new) + "\n")

    def start(self, mission: Mission, wp: str) -> None:
        """See `WorkspaceBackend.start`; the worktree exists already."""
        package = mission.packages[wp]
        if is_in_checkout(self.release, mission, wp) and package.lane != Lane.IN_PROGRESS:
            package.claimed_at = self._git("rev-parse", mission.target)

    def allocate(self, mission: Mission, wp: str) -> None:
        """See `WorkspaceBackend.allocate`; merges the lane's dependencies into the worktree."""
        path = self._worktree(mission, wp)
        if is_in_checkout(self.release, mission, wp):
            return
        try:
            if not path.exists():
                self._make_worktree(mission, wp, path)
            self._check_clean(path)
            self._catch_up(mission, wp, path)
        except GitFailed as e:
            raise cannot_allocate(self.release, mission, wp, str(e)) from e

    def _check_clean(self, path: Path) -> None:
        if self._dirty(path):
            msg = f"{path} has uncommitted changes"
            raise GitFailed(msg)

    def _make_worktree(self, mission: Mission, wp: str, path: Path) -> None:
        """Make the worktree of a lane. Only hosts from 3.2.6 on use an existing branch."""
        branch = branch_of(self.release, mission, wp)
        if self._has(branch) and self.release.since("3.2.6"):
            self._git("worktree", "prune")
            self._git("worktree", "add", "--quiet", str(path), branch)
            return
        if not self._has(mission.branch):
            self._git("branch", mission.branch, mission.target)
        self._git("worktree", "add", "--quiet", "-b", branch, str(path), mission.branch)

    def _catch_up(self, mission: Mission, wp: str, path: Path) -> None:
        """Merge a lane's dependencies; from 3.2.6 on, first the last commit of the planning."""
        others = [name for name in needed(self.release, mission, wp) if self._has(name)]
        if self.release.since("3.2.6"):
            others.insert(0, self._lanes(mission)["planning_commit_sha"])
        before = self._git("rev-parse", "HEAD", folder=path)
        for other in others:
            try:
                self._git("merge", "--quiet", "--no-edit", other, folder=path)
            except GitFailed:
                self._git("reset", "--quiet", "--merge", before, folder=path)
                raise

    def is_worked_on(self, mission: Mission, wp: str) -> bool:
        """See `WorkspaceBackend.is_worked_on`."""
        if is_in_checkout(self.release, mission, wp):
            return self._is_worked_on_here(mission, mission.packages[wp].claimed_at)
        path = self._worktree(mission, wp)
        return path.exists() and bool(
            self._git("rev-list", "-1", f"{mission.base}..HEAD", folder=path)
        )

    def _is_worked_on_here(self, mission: Mission, since: str) -> bool:
        """Return whether the primary checkout has commits beyond the mission's status files."""
        own = f"kitty-specs/{mission.slug}"
        but = (f":(exclude,glob){own}/status.*", f":(exclude){own}/meta.json")
        return bool(since and self._git("rev-list", "-1", f"{since}..HEAD", "--", ".", *but))

    def has_open_subtasks(self, mission: Mission, wp: str) -> bool:
        """See `WorkspaceBackend.has_open_subtasks`; up to 3.2.5 read from ``tasks.md``."""
        if self.release.since(files.COUNTED):
            return not all(mission.packages[wp].subtasks.values())
        path = self._folder_of(mission) / "tasks.md"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return files.has_open_box(self.release, text, wp)

    def marked(self, mission: Mission, subtasks: Sequence[str], *, done: bool) -> None:
        """Tick the boxes and commit (up to 3.2.5), or write events without a commit (3.2.6)."""
        if self.release.since(files.COUNTED):
            self._write_events(mission)
            return
        path = self._folder_of(mission) / "tasks.md"
        text = path.read_text(encoding="utf-8")
        for subtask in subtasks:
            text = files.ticked(text, subtask, done=done)
        path.write_text(text, encoding="utf-8")
        tasks = f"kitty-specs/{mission.slug}/tasks.md"
        self._git("add", "--", tasks)
        self._commit(f"Mark {', '.join(subtasks)}", self.folder, tasks)

    def moved(self, mission: Mission) -> None:
        """Write the event log of a mission, and commit it (up to 1.0.3, and from 3.2.0 on)."""
        folder = self._write_events(mission)
        if self.release.dialect not in (Dialect.F2, Dialect.M0, Dialect.M1):
            self._git("add", "--", "status.events.jsonl", folder=folder)
            self._commit("Move work packages", folder, "status.events.jsonl")

    def _write_events(self, mission: Mission) -> Path:
        folder = self._status_folder(mission)
        folder.mkdir(parents=True, exist_ok=True)
        text = files.events(self.release, mission)
        (folder / "status.events.jsonl").write_text(text, encoding="utf-8")
        return folder

    def accepted(self, mission: Mission) -> None:
        """Write the acceptance without a commit, like every host."""
        path = self._status_folder(mission) / "meta.json"
        facts = json.loads(path.read_text(encoding="utf-8"))
        self._write(path, {**facts, "accepted_at": mission.accepted_at})

    def merge(self, mission: Mission, target: str, strategy: str, *, push: bool) -> list[str]:
        """See `WorkspaceBackend.merge`."""
        self._look(mission, target)
        if self.release.has(Feature.LANES):
            merged = self._merge_aside(mission, target, strategy)
        else:
            merged = self._merge_here(mission, target, strategy)
        if push:
            self._push(target, merged)
        return merged

    def _look(self, mission: Mission, target: str) -> None:
        """Check that a merge may begin."""
        release, every = self.release, units(self.release, mission)
        there = self._there(mission)
        passed = [n for n, wp in every.items() if is_passed_over(release, mission, wp)]
        missing = [name for name in every if name not in (*there, *passed)]
        if self._has(target):
            begin_merge(release, mission, there)
        if missing:
            raise cannot_merge(release, mission, target, *(f"there is no {n}" for n in missing))
        if release.has(Feature.LANES) and not self._is_laid_out(mission):
            raise cannot_merge(release, mission, target, "lanes.json is missing or damaged")
        if is_stale(release, mission) and not self._is_in(target, mission.branch):
            raise cannot_merge(release, mission, target, "the planning lane is stale")
        if release.has(Feature.LANES) and not self._has(target):
            raise cannot_merge(release, mission, target, f"there is no branch {target}")
        dirty = [name for name, wp in there.items() if self._dirty(self._worktree(mission, wp))]
        careful = not release.has(Feature.LANES) or release.since("4.0.0rc5")
        if dirty and careful:
            raise cannot_merge(release, mission, target, *(f"{n} has changes" for n in dirty))

    def _is_laid_out(self, mission: Mission) -> bool:
        try:
            self._lanes(mission)
        except (OSError, ValueError):
            return False
        return True

    def _lanes(self, mission: Mission) -> Any:
        return json.loads((self._folder_of(mission) / "lanes.json").read_text(encoding="utf-8"))

    def _there(self, mission: Mission) -> dict[str, str]:
        """Return the branches that can be merged; up to 3.0.3 only those with a worktree."""
        every = units(self.release, mission)
        if self.release.has(Feature.LANES):
            return {name: wp for name, wp in every.items() if self._has(name)}
        return {name: wp for name, wp in every.items() if self._worktree(mission, wp).exists()}

    def _merge_here(self, mission: Mission, target: str, strategy: str) -> list[str]:
        """Merge in the primary checkout; a failure leaves it half-merged (up to 3.0.3)."""
        done: list[str] = []
        squash = strategy == "squash"
        how = ("--squash",) if squash else ("--no-ff", "--no-edit")
        for branch, wp in self._there(mission).items():
            try:
                if strategy == "rebase":  # of what is checked out in a worktree
                    self._git("rebase", target, branch)
                self._git("checkout", "--quiet", target)
                self._git("merge", "--quiet", *how, branch)
                if squash and self.release.since("2.1.0"):
                    self._commit(f"Squash {branch}", self.folder)
            except GitFailed as e:
                raise failed_merge(done, wp) from e
            done.append(wp)
        return done

    def _merge_aside(self, mission: Mission, target: str, strategy: str) -> list[str]:
        """Merge in a temporary worktree, then move the target (3.1.0 and later)."""
        release = self.release
        if release.since("3.2.6"):  # resets an acceptance that is not committed
            self._git("checkout", "--quiet", "HEAD", "--", f"kitty-specs/{mission.slug}/meta.json")
        with self._aside(target) as aside:
            try:
                self._bring(mission, strategy if release.since("3.2.0") else "squash", aside)
            except GitFailed as e:
                raise cannot_merge(release, mission, target, str(e)) from e
            self._advance(mission, target, self._git("rev-parse", "HEAD", folder=aside))
        self._clean_up(mission)
        if mission.coordinated:
            place = self._status_folder(mission)
            self._git("merge", "--quiet", "--no-edit", target, folder=place)
        return list(mission.packages)

    def _is_in(self, old: str, new: str, folder: Path | None = None) -> bool:
        """Return whether one commit is an ancestor of another one, or the same."""
        try:
            self._git("merge-base", "--is-ancestor", old, new, folder=folder)
        except GitFailed:
            return False
        return True

    def _bring(self, mission: Mission, strategy: str, aside: Path) -> None:
        for branch in [*units(self.release, mission), mission.branch]:
            if not self._has(branch) or self._is_in(branch, "HEAD", aside):
                continue
            if strategy == "squash":
                self._git("merge", "--quiet", "--squash", branch, folder=aside)
                self._commit(f"Squash {branch}", aside)
            elif strategy == "rebase":
                self._replay(branch, aside)
            else:
                self._git("merge", "--quiet", "--no-ff", "--no-edit", branch, folder=aside)

    def _replay(self, branch: str, aside: Path) -> None:
        """Cherry-pick the commits of a branch that are not there already."""
        new = ("--reverse", "--no-merges", "--cherry-pick", "--right-only", f"HEAD...{branch}")
        if commits := self._git("rev-list", *new, folder=aside).split():
            self._git("cherry-pick", *commits, folder=aside)

    def _advance(self, mission: Mission, target: str, commit: str) -> None:
        """Move the target to a commit; up to 3.1.10 without updating its checkout."""
        here = self._git("branch", "--show-current") == target
        if not here or not self.release.has(Feature.CLEAN_TARGET):
            self._git("update-ref", f"refs/heads/{target}", commit)
            return
        if self._git("status", "--porcelain", "--untracked-files=no"):
            why = "the checkout of the target has changes"
            raise cannot_merge(self.release, mission, target, why)
        try:
            self._git("merge", "--quiet", "--ff-only", commit)
        except GitFailed as e:
            raise cannot_merge(self.release, mission, target, str(e)) from e

    def _clean_up(self, mission: Mission) -> None:
        """Remove the lanes with all their uncommitted files; the coordination branch stays."""
        for wp in mission.packages:
            if (path := self._worktree(mission, wp)).exists():
                self._git("worktree", "remove", "--force", str(path))
        top = [] if mission.coordinated else [mission.branch]
        for branch in [*units(self.release, mission), *top]:
            if self._has(branch):
                self._git("branch", "-D", branch)

    def _push(self, target: str, merged: list[str]) -> None:
        has_remote = bool(self._git("remote"))
        if not has_remote and self.release.has(Feature.LANES):
            return
        try:
            self._git("push", "origin", target)
        except GitFailed as e:
            if self.release.has(Feature.LANES):
                raise Crashed(str(e)) from e
            code = ErrorCode.PUSH_FAILED
            raise Refused(code, str(e), {"merged_wps": merged}) from e

    @contextmanager
    def _aside(self, target: str) -> Generator[Path]:
        path = self.folder / ".worktrees" / "merge"
        self._git("worktree", "add", "--quiet", "--detach", str(path), target)
        try:
            yield path
        finally:
            self._git("worktree", "remove", "--force", str(path))

    def _folder_of(self, mission: Mission) -> Path:
        return self.folder / "kitty-specs" / mission.slug

    def _status_folder(self, mission: Mission) -> Path:
        """Return the folder of the event log: on the coordination branch, if there is one."""
        place = self.folder / ".worktrees" / f"{mission.slug}-coord"
        return (place if mission.coordinated else self.folder) / "kitty-specs" / mission.slug

    def _worktree(self, mission: Mission, wp: str) -> Path:
        name = mission.lanes[wp] if self.release.has(Feature.LANES) else wp
        return self.folder / ".worktrees" / f"{mission.slug}-{name}"

    def _has(self, branch: str) -> bool:
        return bool(self._git("branch", "--list", branch))

    def _dirty(self, folder: Path) -> bool:
        return folder.exists() and bool(self._git("status", "--porcelain", folder=folder))

    def _write(self, path: Path, facts: object) -> None:
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    def _commit(self, message: str, folder: Path, *only: str) -> None:
        """Commit the staged changes, if there are any."""
        if self._git("diff", "--cached", "--name-only", "--", *only, folder=folder):
            self._git("commit", "--quiet", f"--message={message}", "--", *only, folder=folder)

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git in the repository; see `GitTransport.git`."""
        return ProcessTransport(repo=self.folder).git(args, folder=folder, time_limit=time_limit)

    def _succeeds(self, *args: str) -> bool:
        try:
            self._git(*args)
        except GitFailed:
            return False
        return True

    def _git(self, *args: str, folder: Path | None = None) -> str:
        said = [word for name, value in _SIMULATED for word in ("-c", f"{name}={value}")]
        where = str(folder or self.folder)
        done = self.git((*said, *map(encodable, args)), folder=where, time_limit=_LIMIT)
        if done.exit_code != 0:
            words = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip()
            raise GitFailed(f"git {args[0]} in {where}: {words}")
        return done.stdout.decode("utf-8", "backslashreplace").strip()
