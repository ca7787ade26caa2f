"""What can be asked of a host, and what it answers."""
