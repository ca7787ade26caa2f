"""What all work packages of a run share, made once and passed on."""

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import field, frozen

from spec_kitty_client import Policy
from spec_kitty_orchestrator.agents import Agent
from spec_kitty_orchestrator.mission import Host
from spec_kitty_orchestrator.runners import Runner, local
from spec_kitty_orchestrator.scheduling.durations import Durations
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.state.history import History, Role
from spec_kitty_orchestrator.state.journal import Journal
from spec_kitty_orchestrator.worktree import Worktree

__all__ = ["Run"]


@frozen(kw_only=True)
class Run:
    """One run. Its runner and worktrees are this machine's, unless it is told of others."""

    settings: Settings
    policy: Policy
    host: Host
    journal: Journal
    history: History
    durations: Durations
    logs: Path
    """Folder of this mission's attempts."""
    agents: dict[Role, Agent]
    lanes: Mapping[str, str] = field(factory=dict)
    """The execution lane of each work package that shares its worktree with others."""
    left_to_people: Mapping[str, str] = field(factory=dict)
    """The work packages that no agent can be started on, each with the reason."""
    runner: Runner = local
    """Where agents run."""
    worktree: Callable[[Path], Worktree] = Worktree
    """What the checkout in a folder is looked at with."""
