"""Tests of `spec_kitty_orchestrator`."""
