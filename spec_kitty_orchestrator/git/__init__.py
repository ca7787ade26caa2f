"""Git, as the orchestrator uses it: lane worktrees, their commits, and what has to be kept."""
