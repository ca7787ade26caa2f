"""Tests of `spec_kitty_client`, one module for each of its modules."""
