"""The merge of a mission as in each release, with its failures."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.testing.host.answers import Crashed, Refused
from spec_kitty_client.testing.host.board import Mission
from spec_kitty_client.testing.host.checkout import Checkout
from spec_kitty_client.testing.host.workspace import (
    begin_merge,
    cannot_merge,
    failed_merge,
    is_passed_over,
    is_stale,
    units,
)

__all__ = ["MissionMerge"]


@frozen
class MissionMerge(Checkout):
    """Merges missions in a checkout."""

    def merge(self, mission: Mission, target: str, strategy: str, *, push: bool) -> list[str]:
        """Merge a mission; see `WorkspaceBackend.merge`."""
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
                if strategy == "rebase":  # fails, because the branch is checked out in a worktree
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
        """Cherry-pick the commits of a branch that HEAD lacks."""
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
