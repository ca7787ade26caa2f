"""Where a repository keeps what belongs to this program, all of it unseen by git."""

from pathlib import Path

from attrs import frozen

__all__ = ["Places"]


@frozen
class Places:
    """The files below ``.kittify/`` of one repository."""

    root: Path
    """The primary checkout."""

    @property
    def journal(self) -> Path:
        """What all runs did."""
        return self._own / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held while a run is alive."""
        return self._own / "run.lock"

    @property
    def live(self) -> Path:
        """Which process that run is."""
        return self._own / "run.json"

    @property
    def logs(self) -> Path:
        """Prompts, output and exit records of the agents, by mission and work package."""
        return self.root / ".kittify" / "logs"

    @property
    def _own(self) -> Path:
        return self.root / ".kittify" / "orchestrator"

    def make(self) -> None:
        """Make the folders; each tells git to ignore it."""
        for folder in (self._own, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
            ignore = folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
