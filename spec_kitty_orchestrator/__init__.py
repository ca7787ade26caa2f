"""A small reference orchestrator: agents through implement, review, rework and done."""
