"""Tests of `spec_kitty_client.transports`."""
