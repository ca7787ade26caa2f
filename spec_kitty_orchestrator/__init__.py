"""A small reference orchestrator: it takes work packages through implement, review and done."""

__all__ = ["__version__"]

__version__: str
"""The version of the distribution."""


def __getattr__(name: str) -> str:
    """Return the version, looked up on access, because that takes longer than the import."""
    if name == "__version__":
        from importlib.metadata import version

        return version("spec-kitty-client")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
