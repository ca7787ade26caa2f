"""Drive calls: what a client knows, how it waits, and whose turn it is. Not for users."""
