"""A small reference orchestrator: agents through implement, review, rework and done."""

__all__ = ["__version__"]

__version__: str
"""The version of the distribution."""


def __getattr__(name: str) -> str:
    """Look the version up for whoever asks: that takes longer than all the rest of an import."""
    if name == "__version__":
        from importlib.metadata import version

        return version("spec-kitty-client")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
