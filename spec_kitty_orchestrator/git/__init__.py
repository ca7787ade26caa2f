"""The orchestrator's use of git: lane worktrees, their commits, and refs that keep work."""
