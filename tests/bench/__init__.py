"""Measure the speed of calls, whole missions, and the start of the commands.

``python -m tests.bench --help`` shows the options; ``RESULTS.md`` explains the results.
"""
