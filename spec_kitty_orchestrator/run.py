"""What all work packages of a run share, made once and passed on."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import anyio
from attrs import field, frozen

from spec_kitty_client import Policy
from spec_kitty_orchestrator.agents import Agent
from spec_kitty_orchestrator.config import Settings
from spec_kitty_orchestrator.durations import Durations
from spec_kitty_orchestrator.history import History, Role
from spec_kitty_orchestrator.host import Host
from spec_kitty_orchestrator.journal import Journal
from spec_kitty_orchestrator.runners import Runner, local
from spec_kitty_orchestrator.workspace import Worktree

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
    runner: Runner = local
    """Where agents run."""
    worktree: Callable[[Path], Worktree] = Worktree
    """What the checkout in a folder is looked at with."""
    turns: defaultdict[str, anyio.Lock] = field(factory=lambda: defaultdict(anyio.Lock))
    """One lock per worktree, because work packages may share one."""
