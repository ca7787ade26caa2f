"""The part of a warm host that runs in the host's own interpreter."""
