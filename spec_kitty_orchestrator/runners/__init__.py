"""Where an agent's process runs."""
