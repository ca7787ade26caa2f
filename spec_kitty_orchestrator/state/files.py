"""The files that the orchestrator keeps in a repository. Git ignores all of them."""

from pathlib import Path

from attrs import frozen

__all__ = ["StateFiles"]


@frozen
class StateFiles:
    """The paths below ``.kittify/`` of one repository."""

    root: Path
    """The primary checkout."""

    @property
    def journal(self) -> Path:
        """The journal of all runs, as JSON Lines."""
        return self._own / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """The lock file that a live run holds."""
        return self._own / "run.lock"

    @property
    def live(self) -> Path:
        """The process id of the live run, as JSON."""
        return self._own / "run.json"

    @property
    def logs(self) -> Path:
        """The prompts, output and exit records of agents, by mission and work package."""
        return self.root / ".kittify" / "logs"

    @property
    def _own(self) -> Path:
        return self.root / ".kittify" / "orchestrator"

    def make(self) -> None:
        """Create the folders, each with a ``.gitignore`` that covers all of it."""
        for folder in (self._own, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
            ignore = folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
