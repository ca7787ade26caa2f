"""What becomes of a mission when the orchestrator is killed."""
