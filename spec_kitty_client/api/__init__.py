"""The commands that a host takes, the replies that it gives, and their spelling."""
