"""The clients and handles for anyio event loops, made of the ones that block."""
