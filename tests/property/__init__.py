"""Property tests, searched with Hypothesis."""
