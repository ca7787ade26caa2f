"""Records what real hosts answer, into ``tests/corpus``.

``python -m tests.record --host PATH/TO/spec-kitty --release 3.2.7`` makes missions in folders
of its own, provokes everything that can be provoked, and writes one JSON object per call.
"""
