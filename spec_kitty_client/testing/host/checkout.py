"""The checkout of a simulated host: where the files of a mission are, and its calls of git."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.testing.host.board import Mission
from spec_kitty_client.testing.host.releases import Release
from spec_kitty_client.transports import Completed
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.values import encodable

__all__ = ["Checkout"]

_LIMIT = 120.0  # seconds for one call of git
_SIMULATED = (
    ("user.name", "Simulated host"),
    ("user.email", "host@simulated.invalid"),
    ("commit.gpgSign", "false"),
)


@frozen
class Checkout:
    """A primary checkout, with the worktrees of its missions.

    Args:
        release: The simulated release.
        folder: The primary checkout. Existing files in it stay; nothing outside is changed.
    """

    release: Release
    folder: Path

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Run git in the repository; see `GitTransport.git`."""
        return ProcessTransport(repo=self.folder).git(args, folder=folder, time_limit=time_limit)

    def _folder_of(self, mission: Mission) -> Path:
        return self.folder / "kitty-specs" / mission.slug

    def _status_folder(self, mission: Mission) -> Path:
        """Return the folder of the event log: on the coordination branch, if there is one."""
        place = self.folder / ".worktrees" / f"{mission.slug}-coord"
        return (place if mission.coordinated else self.folder) / "kitty-specs" / mission.slug

    def _worktree(self, mission: Mission, wp: str) -> Path:
        name = mission.lanes[wp] if self.release.has(Feature.LANES) else wp
        return self.folder / ".worktrees" / f"{mission.slug}-{name}"

    def _lanes(self, mission: Mission) -> Any:
        return json.loads((self._folder_of(mission) / "lanes.json").read_text(encoding="utf-8"))

    def _has(self, branch: str) -> bool:
        return bool(self._git("branch", "--list", branch))

    def _is_in(self, old: str, new: str, folder: Path | None = None) -> bool:
        """Return whether one commit is an ancestor of another one, or the same."""
        try:
            self._git("merge-base", "--is-ancestor", old, new, folder=folder)
        except GitFailed:
            return False
        return True

    def _dirty(self, folder: Path) -> bool:
        return folder.exists() and bool(self._git("status", "--porcelain", folder=folder))

    def _write(self, path: Path, facts: object) -> None:
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    def _commit(self, message: str, folder: Path, *only: str) -> None:
        """Commit the staged changes, if there are any."""
        if self._git("diff", "--cached", "--name-only", "--", *only, folder=folder):
            self._git("commit", "--quiet", f"--message={message}", "--", *only, folder=folder)

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
