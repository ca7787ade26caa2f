"""Real git behind a simulated host: branches, worktrees, and merges that can fail."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import asdict, frozen

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.dialects import Dialect, Feature
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.testing.host.answers import Crashed, Refused
from spec_kitty_client.testing.host.board import Mission
from spec_kitty_client.testing.host.land import (
    branch_of,
    cannot_merge,
    failed_merge,
    is_passed_over,
    units,
)
from spec_kitty_client.testing.host.releases import Release
from spec_kitty_client.texts import encodable
from spec_kitty_client.transports import Completed
from spec_kitty_client.transports.process import ProcessTransport

__all__ = ["Repository"]

_LIMIT = 120.0  # seconds for one call of git
_SIMULATED = (
    ("user.name", "Simulated host"),
    ("user.email", "host@simulated.invalid"),
    ("commit.gpgSign", "false"),
)


@frozen
class Repository:
    """A repository that a simulated host works in, as its release does.

    Args:
        release: Whose ways it has.
        folder: The primary checkout. What is in there stays; nothing else is touched.
    """

    release: Release
    folder: Path

    @property
    def root(self) -> str:
        """The primary checkout."""
        return str(self.folder)

    def prepare(self, mission: Mission) -> None:
        """Write and commit what planning leaves behind, in a new repository if there is none.

        Raises:
            GitFailed: If git fails, or the mission is there already.
        """
        folder = self._folder_of(mission)
        if folder.exists():
            msg = f"{folder} is there already; name another folder or another slug"
            raise GitFailed(msg)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / ".git").exists():
            self._git("init", "--quiet", f"--initial-branch={mission.target}")
        self._ignore("/.worktrees/", "/.kittify/")
        (folder / "tasks").mkdir(parents=True)
        for wp, package in mission.packages.items():
            text = f"# {wp}\n\nDepends on: {', '.join(package.dependencies) or 'nothing'}.\n"
            (folder / "tasks" / f"{wp}-part.md").write_text(text, encoding="utf-8")
        self._write(folder / "meta.json", {"slug": mission.slug, "target_branch": mission.target})
        if self.release.has(Feature.LANES):
            self._write(folder / "lanes.json", _lanes_json(mission))
        self._git("add", "--all", "--", f"kitty-specs/{mission.slug}")
        self._commit(f"Plan {mission.slug}", self.folder)

    def _ignore(self, *lines: str) -> None:
        """Let git pass over what hosts write beside the work, without a file in the work."""
        path = self.folder / self._git("rev-parse", "--git-path", "info/exclude")
        path.parent.mkdir(exist_ok=True)
        known = path.read_bytes().splitlines() if path.exists() else []
        new = [line for line in lines if line.encode() not in known]
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(f"\n{line}" for line in new) + "\n")  # whatever its last line is

    def start(self, mission: Mission, wp: str) -> None:
        """See `Land.start`."""
        if self.release.has(Feature.WORKTREES):
            self.allocate(mission, wp)

    def allocate(self, mission: Mission, wp: str) -> None:
        """See `Land.allocate`; what the work package depends on is merged into the worktree."""
        branch, top = branch_of(self.release, mission, wp), f"kitty/mission-{mission.slug}"
        path = self._worktree(branch)
        if path.exists():
            return
        if not self._has(top):
            self._git("branch", top, mission.target)
        new = () if self._has(branch) else ("-b", branch)
        self._git("worktree", "add", "--quiet", *new, str(path), top if new else branch)
        for name in mission.packages[wp].dependencies:
            other = branch_of(self.release, mission, name)
            if other != branch and self._has(other):
                self._git("merge", "--quiet", "--no-edit", other, folder=path)

    def is_worked_on(self, mission: Mission, wp: str) -> bool:
        """See `Land.is_worked_on`."""
        branch = branch_of(self.release, mission, wp)
        return self._has(branch) and bool(
            self._git("rev-list", "-1", f"{mission.target}..{branch}")
        )

    def moved(self, mission: Mission) -> None:
        """Write the events of a mission; from 3.2.0 on, and up to 1.0.3, commit them."""
        folder = self._folder_of(mission)
        lines = (json.dumps(asdict(move)) + "\n" for move in mission.moves)
        (folder / "status.events.jsonl").write_text("".join(lines), encoding="utf-8")
        if self.release.dialect not in (Dialect.F2, Dialect.M0, Dialect.M1):
            events = f"kitty-specs/{mission.slug}/status.events.jsonl"
            self._git("add", "--", events)
            self._commit("Move work packages", self.folder, events)

    def accepted(self, mission: Mission) -> None:
        """Write the acceptance, and do not commit it, as no host does."""
        path = self._folder_of(mission) / "meta.json"
        facts = json.loads(path.read_text(encoding="utf-8"))
        self._write(path, {**facts, "accepted_at": mission.accepted_at})

    def merge(self, mission: Mission, target: str, strategy: str, *, push: bool) -> list[str]:
        """See `Land.merge`."""
        self._look(mission, target)
        if self.release.has(Feature.LANES):
            merged = self._merge_aside(mission, target, strategy)
        else:
            merged = self._merge_here(mission, target, strategy)
        if push:
            self._push(target, merged)
        return merged

    def _look(self, mission: Mission, target: str) -> None:
        """See that a merge may begin."""
        release, every = self.release, units(self.release, mission)
        there = self._there(mission)
        passed = [n for n, wp in every.items() if is_passed_over(release, mission, wp)]
        missing = [name for name in every if name not in (*there, *passed)]
        if missing:
            raise cannot_merge(release, mission, target, *(f"there is no {n}" for n in missing))
        if release.has(Feature.LANES) and not self._is_laid_out(mission):
            raise cannot_merge(release, mission, target, "lanes.json is missing or damaged")
        if release.has(Feature.LANES) and not self._has(target):
            raise cannot_merge(release, mission, target, f"there is no branch {target}")
        dirty = [name for name in there if self._dirty(self._worktree(name))]
        careful = not release.has(Feature.LANES) or release.since("4.0.0rc5")
        if dirty and careful:
            raise cannot_merge(release, mission, target, *(f"{n} has changes" for n in dirty))

    def _is_laid_out(self, mission: Mission) -> bool:
        try:
            json.loads((self._folder_of(mission) / "lanes.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return True

    def _there(self, mission: Mission) -> dict[str, str]:
        """Return what can be merged: branches; up to 3.0.3 those with a worktree."""
        every = units(self.release, mission)
        if self.release.has(Feature.LANES):
            return {name: wp for name, wp in every.items() if self._has(name)}
        return {name: wp for name, wp in every.items() if self._worktree(name).exists()}

    def _merge_here(self, mission: Mission, target: str, strategy: str) -> list[str]:
        """Merge in the primary checkout, and leave it half-merged when that fails (to 3.0.3)."""
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
        """Merge where a failure harms nobody, then move the target (3.1.0 and later)."""
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
        return list(mission.packages)

    def _bring(self, mission: Mission, strategy: str, aside: Path) -> None:
        for branch in units(self.release, mission):
            if strategy == "squash":
                self._git("merge", "--quiet", "--squash", branch, folder=aside)
                self._commit(f"Squash {branch}", aside)
            elif strategy == "rebase":
                self._replay(branch, aside)
            else:
                self._git("merge", "--quiet", "--no-ff", "--no-edit", branch, folder=aside)

    def _replay(self, branch: str, aside: Path) -> None:
        """Bring the commits of a branch, but not those that came with another one."""
        new = ("--reverse", "--no-merges", "--cherry-pick", "--right-only", f"HEAD...{branch}")
        if commits := self._git("rev-list", *new, folder=aside).split():
            self._git("cherry-pick", *commits, folder=aside)

    def _advance(self, mission: Mission, target: str, commit: str) -> None:
        """Move the target to a commit; up to 3.1.10 behind the back of its checkout."""
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
        """Remove the lanes with all that is uncommitted in them."""
        top = f"kitty/mission-{mission.slug}"
        for branch in [*units(self.release, mission), *([top] if self._has(top) else [])]:
            if self._worktree(branch).exists():
                self._git("worktree", "remove", "--force", str(self._worktree(branch)))
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

    def _worktree(self, branch: str) -> Path:
        return self.folder / ".worktrees" / branch.removeprefix("kitty/mission-")

    def _has(self, branch: str) -> bool:
        return bool(self._git("branch", "--list", branch))

    def _dirty(self, folder: Path) -> bool:
        return folder.exists() and bool(self._git("status", "--porcelain", folder=folder))

    def _write(self, path: Path, facts: object) -> None:
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    def _commit(self, message: str, folder: Path, *only: str) -> None:
        """Commit what is staged, if there is anything."""
        if self._git("diff", "--cached", "--name-only", "--", *only, folder=folder):
            self._git("commit", "--quiet", f"--message={message}", "--", *only, folder=folder)

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git in the repository; see `GitTransport.git`."""
        return ProcessTransport(repo=self.folder).git(args, folder=folder, time_limit=time_limit)

    def _git(self, *args: str, folder: Path | None = None) -> str:
        said = [word for name, value in _SIMULATED for word in ("-c", f"{name}={value}")]
        where = str(folder or self.folder)
        done = self.git((*said, *map(encodable, args)), folder=where, time_limit=_LIMIT)
        if done.exit_code != 0:
            words = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip()
            raise GitFailed(f"git {args[0]} in {where}: {words}")
        return done.stdout.decode("utf-8", "backslashreplace").strip()


def _lanes_json(mission: Mission) -> dict[str, object]:
    """Return what finalising the tasks writes, from 3.1.0 on."""
    lanes: dict[str, dict[str, list[str]]] = {}
    for wp, package in mission.packages.items():
        own = mission.lanes[wp]
        lane = lanes.setdefault(own, {"wp_ids": [], "depends_on_lanes": []})
        lane["wp_ids"].append(wp)
        others = dict.fromkeys(mission.lanes[name] for name in package.dependencies)
        lane["depends_on_lanes"] += [o for o in others if o != own]
    return {
        "target_branch": mission.target,
        "mission_branch": f"kitty/mission-{mission.slug}",
        "lanes": [{"lane_id": name, **lane} for name, lane in lanes.items()],
    }
