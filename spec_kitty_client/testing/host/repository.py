"""The git repository of a simulated host: its missions, branches, worktrees and event logs."""

import json
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.testing.host import files
from spec_kitty_client.testing.host.board import Mission
from spec_kitty_client.testing.host.checkout import Checkout
from spec_kitty_client.testing.host.merging import MissionMerge
from spec_kitty_client.testing.host.workspace import (
    branch_of,
    cannot_allocate,
    is_in_checkout,
    needed,
)

__all__ = ["Repository"]


@frozen
class Repository(Checkout):
    """A repository that a simulated host changes in the same way as its release."""

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
        merging = MissionMerge(self.release, self.folder)
        return merging.merge(mission, target, strategy, push=push)
