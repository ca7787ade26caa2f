"""Fixtures of the tests of runners."""

from tests.orchestrator.runners.agents import changed, hasty, launch

__all__ = ["changed", "hasty", "launch"]
