"""A plan: the settings of a run, checked against this machine and repository."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from spec_kitty_client import ApprovalMode, NetworkMode, Policy, PolicyError, SandboxMode
from spec_kitty_orchestrator import __version__, agents
from spec_kitty_orchestrator.errors import UsageProblem, suggest
from spec_kitty_orchestrator.git.calls import GitError, commit_problem, git
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.state.files import refuse_link

__all__ = [
    "PROTECTION_OFF",
    "Plan",
    "check_limits",
    "check_worktrees",
    "checked_out",
    "default_policy",
    "explain_policy",
    "how_to_leave",
    "make_plan",
    "protected_branch",
    "protects",
    "read_policy",
    "where_it_is",
]

PROTECTION_OFF = "SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS"
"""The variable that lets hosts commit on any branch."""

_PROTECTED = ("main", "master")
_LANES = "kitty/"  # the host's own branches, which hold copies of the missions


@frozen(kw_only=True)
class Plan:
    """The checked settings, policy and agents of a run that can start."""

    settings: Settings
    policy: Policy
    implementer: agents.Agent
    reviewer: agents.Agent
    warnings: tuple[str, ...]
    """The modes of the policy that an agent's command line cannot enforce."""

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
    check_limits(settings)
    _check_repository(settings.repo_root)
    loose = {agent.name: agent.unenforced(policy) for agent in (implementer, reviewer)}
    warnings = tuple(
        f"the policy says {', '.join(modes)}, which cannot be enforced on {name}"
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
    """Return the policy of a run without --policy; it states the rights that the agents have."""
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
        raise UsageProblem(explain_policy(str(path), e)) from e
    except OSError as e:
        msg = (
            f"The policy {path} cannot be read: {e.strerror}. Correct --policy, or write one: "
            "spec-kitty-orchestrator policy init"
        )
        raise UsageProblem(msg) from e


def explain_policy(name: str, error: PolicyError) -> str:
    """Return every problem of a policy, and what helps.

    Args:
        name: The file.
        error: The problems.
    """
    problems = "; ".join(
        str(problem).replace("(policy)", "the policy") for problem in error.problems
    )
    return f"{name}: {problems}. Correct the file, or leave --policy out for the default."


def check_limits(settings: Settings) -> None:
    """Check that each agent with a limit of its own exists.

    Raises:
        UsageProblem: If one does not.
    """
    for name in settings.max_per_agent:
        if name not in agents.NAMES:
            msg = f"--max-per-agent: unknown agent {name!r}. {suggest(name, agents.NAMES)}"
            raise UsageProblem(msg)


def check_worktrees(root: Path) -> None:
    """Check that worktrees are made in the repository, and not wherever a link leads.

    Raises:
        UsageProblem: If there is a symbolic link in their place.
    """
    worktrees = root / ".worktrees"
    refuse_link(worktrees)
    if worktrees.is_dir():
        refuse_link(*worktrees.iterdir())


def _check_repository(root: Path) -> None:
    check_worktrees(root)
    if problem := commit_problem(root):
        raise UsageProblem(problem)


def protected_branch(root: Path) -> str | None:
    """Return the branch that is checked out, if hosts refuse to commit on it (3.2.0+)."""
    branch = checked_out(root)
    return branch if protects(root, branch) else None


def how_to_leave(root: Path, mission: str) -> str:
    """Return how to get from a protected branch to the branch of a mission, as a sentence.

    Args:
        root: The primary checkout.
        mission: The mission's slug, or a part of it.
    """
    return where_it_is(root, mission) or (
        "Move the mission to a branch of its own, or let the host commit here with "
        f"{PROTECTION_OFF}=1."
    )


def where_it_is(root: Path, mission: str) -> str:
    """Return which other branch has a mission, as a sentence; empty if none has.

    Args:
        root: The primary checkout.
        mission: The mission's slug, or a part of it.
    """
    here = checked_out(root)
    found = {b for b in _branches_with(root, mission) if b != here and not protects(root, b)}
    own = " or ".join(sorted(found))
    return f"Check out the branch of the mission: git checkout {own}" if own else ""


def _branches_with(root: Path, mission: str) -> Iterator[str]:
    """Yield the local branches that have a mission, or that its meta.json names as the target."""
    listed = git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads").split("\n")
    for branch in (branch for branch in listed if branch and not branch.startswith(_LANES)):
        paths = git(root, "ls-tree", "-d", "--name-only", branch, "kitty-specs/").split("\n")
        for path in (path for path in paths if mission in path):
            yield from _named_by(root, f"{branch}:{path}/meta.json", listed) or (branch,)


def _named_by(root: Path, meta: str, branches: list[str]) -> tuple[str, ...]:
    """Return the branch that a mission's meta.json names, if it exists."""
    with contextlib.suppress(GitError, ValueError, AttributeError):
        named = json.loads(git(root, "show", meta)).get("target_branch")
        return (named,) if named in branches else ()
    return ()


def checked_out(root: Path) -> str:
    """Return the branch that is checked out; empty if there is none."""
    return git(root, "branch", "--show-current").strip()


def protects(root: Path, branch: str) -> bool:
    """Return whether hosts refuse to commit on a branch with their default list (3.2.0+)."""
    if os.environ.get(PROTECTION_OFF):
        return False
    settings = root / ".kittify" / "config.yaml"
    with contextlib.suppress(OSError):
        if "protected_branches" in settings.read_text(encoding="utf-8", errors="replace"):
            return False  # the host reads the list from there
    return branch in _PROTECTED
