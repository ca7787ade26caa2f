"""The values that all work packages of a run share."""

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import field, frozen

from spec_kitty_client import Policy
from spec_kitty_orchestrator.agents import Agent
from spec_kitty_orchestrator.git.worktree import Worktree
from spec_kitty_orchestrator.mission import MissionClient
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.runners import Runner, local
from spec_kitty_orchestrator.scheduling.priority import Durations
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.state.history import History
from spec_kitty_orchestrator.state.journal import Journal
from spec_kitty_orchestrator.state.spans import Spans

__all__ = ["Run"]


@frozen(kw_only=True)
class Run:
    """One run of a mission."""

    settings: Settings
    policy: Policy
    host: MissionClient
    journal: Journal
    history: History
    """Kept up to date by the journal, event by event."""
    durations: Durations
    """Kept up to date by the journal, event by event."""
    logs: Path
    """The folder of the mission's attempts."""
    agents: Mapping[Role, Agent]
    lanes: Mapping[str, str] = field(factory=dict)
    """The execution lane of each work package that shares its worktree with others."""
    left_to_people: Mapping[str, str] = field(factory=dict)
    """The work packages that no agent can be started on, each with the reason."""
    runner: Runner = local
    """The place where agents run, such as this machine."""
    spans: Spans = field(factory=Spans)
    """Makes OpenTelemetry spans, if the program has loaded OpenTelemetry."""
    owned: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """The files and patterns that each work package is meant to change; empty: it names none."""
    open_worktree: Callable[[Path, Path, str | None], Worktree] = Worktree
    """Returns the worktree for its folder, the primary checkout, and its own branch."""

    def worktree(self, path: Path, branch: str | None) -> Worktree:
        """Return the worktree in a folder, with the branch that belongs there."""
        return self.open_worktree(path, self.settings.repo_root, branch)

    @property
    def agent_names(self) -> dict[Role, str]:
        """The name of the agent in each role."""
        return {role: agent.name for role, agent in self.agents.items()}
