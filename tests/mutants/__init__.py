"""Rules that are switched off, one at a time, to see that some test fails.

``python -m tests.mutants`` does it; `tests.mutants.rules` has the list.
"""
