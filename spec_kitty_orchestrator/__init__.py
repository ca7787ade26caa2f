"""A small reference orchestrator: agents through implement, review, rework and done."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("spec-kitty-client")
