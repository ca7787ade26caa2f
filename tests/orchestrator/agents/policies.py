"""Policies for tests of agents."""

from spec_kitty_client import Policy


def policy(sandbox: str = "workspace_write", network: str = "open") -> Policy:
    """Return a policy with modes that agents' command lines can enforce."""
    return Policy(
        orchestrator_id="tests",
        orchestrator_version="0",
        agent_family="any",
        approval_mode="full_auto",
        sandbox_mode=sandbox,
        network_mode=network,
    )
