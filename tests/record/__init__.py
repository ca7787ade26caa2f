"""Record the answers of real hosts in ``tests/corpus``.

``python -m tests.record --host PATH/TO/spec-kitty --release 3.2.7`` makes missions in temporary
folders, makes calls of every kind, and writes one JSON object per call.
"""
