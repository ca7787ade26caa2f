"""Measures how fast this is: calls, whole missions, and the start of the commands.

``python -m tests.bench --help`` says how, ``RESULTS.md`` how to read what comes out.
"""
