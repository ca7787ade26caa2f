"""A run that could be started: the settings, checked against this machine and repository."""

import contextlib
import os
from pathlib import Path

from attrs import frozen

from spec_kitty_client import ApprovalMode, NetworkMode, Policy, PolicyError, SandboxMode
from spec_kitty_orchestrator import __version__, agents
from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.worktree import GitError, git

__all__ = [
    "PROTECTION_OFF",
    "Plan",
    "checked_out",
    "default_policy",
    "make_plan",
    "protected_branch",
    "protects",
    "read_policy",
]

PROTECTION_OFF = "SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS"
"""The variable with which hosts commit on any branch."""

_PROTECTED = ("main", "master")


@frozen(kw_only=True)
class Plan:
    """A run that could be started: everything about it has been checked."""

    settings: Settings
    policy: Policy
    implementer: agents.Agent
    reviewer: agents.Agent
    warnings: tuple[str, ...]
    """What the policy declares and an agent cannot be held to."""

    @property
    def agents(self) -> dict[Role, agents.Agent]:
        """The agent of each role."""
        return {"implement": self.implementer, "review": self.reviewer}


def make_plan(settings: Settings) -> Plan:
    """Check the settings against this machine and this repository.

    Raises:
        UsageProblem: If something has to be corrected first.
    """
    implementer = agents.find(settings.impl_agent)
    reviewer = agents.find(settings.review_agent)
    policy = read_policy(settings.policy) if settings.policy else default_policy(implementer)
    _check_limits(settings)
    _check_repository(settings.repo_root)
    loose = {agent.name: agent.unenforced(policy) for agent in (implementer, reviewer)}
    warnings = tuple(
        f"the policy says {', '.join(modes)}, which {name} cannot be held to"
        for name, modes in loose.items()
        if modes
    )
    return Plan(
        settings=settings,
        policy=policy,
        implementer=implementer,
        reviewer=reviewer,
        warnings=warnings,
    )


def default_policy(implementer: agents.Agent) -> Policy:
    """Return the policy of a run that names none: what the agents are in fact given."""
    shut = SandboxMode.WORKSPACE_WRITE in implementer.enforces["sandbox_mode"]
    return Policy(
        orchestrator_id="spec-kitty-orchestrator",
        orchestrator_version=__version__,
        agent_family=implementer.family,
        approval_mode=ApprovalMode.FULL_AUTO,
        sandbox_mode=SandboxMode.WORKSPACE_WRITE if shut else SandboxMode.NONE,
        network_mode=NetworkMode.OPEN,
    )


def read_policy(path: Path) -> Policy:
    """Return the policy in a file that a user has named.

    Raises:
        UsageProblem: If it cannot be read, or a host would refuse it.
    """
    try:
        return Policy.from_file(path)
    except PolicyError as e:
        msg = f"{path}: {e}. Correct the file, or leave --policy out for the default."
        raise UsageProblem(msg) from e
    except OSError as e:
        msg = f"The policy {path} cannot be read: {e.strerror}"
        raise UsageProblem(msg) from e


def _check_limits(settings: Settings) -> None:
    for name in settings.max_per_agent:
        if name not in agents.NAMES:
            msg = f"max_per_agent: there is no agent {name!r}. There are: {', '.join(agents.NAMES)}"
            raise UsageProblem(msg)


def _check_repository(root: Path) -> None:
    try:
        git(root, "var", "GIT_COMMITTER_IDENT")
    except GitError as e:
        msg = (
            "Git does not know who you are, and nothing could be committed. Tell it: git config "
            "--global user.name 'Your Name' && git config --global user.email you@example.com"
        )
        raise UsageProblem(msg) from e


def protected_branch(root: Path) -> str | None:
    """Return the branch that is checked out, if hosts refuse to commit on it (3.2.0+)."""
    branch = checked_out(root)
    return branch if protects(root, branch) else None


def checked_out(root: Path) -> str:
    """Return the branch that is checked out; empty if there is none."""
    return git(root, "branch", "--show-current").strip()


def protects(root: Path, branch: str) -> bool:
    """Return whether hosts refuse to commit on a branch, as far as their defaults go (3.2.0+)."""
    if os.environ.get(PROTECTION_OFF):
        return False
    settings = root / ".kittify" / "config.yaml"
    with contextlib.suppress(OSError):
        if "protected_branches" in settings.read_text(encoding="utf-8", errors="replace"):
            return False  # the host reads the list from there
    return branch in _PROTECTED
