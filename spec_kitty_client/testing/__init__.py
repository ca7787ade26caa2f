"""Test doubles for programs that use this SDK.

`SimulatedHost` is a host of any release in memory. `FaultyTransport` makes calls fail in every
way in which real calls fail. `Tape` records a real host and replays it. These need only the SDK.
Two modules need Hypothesis, from ``pip install spec-kitty-client[testing]``: `strategies`, and
`differential`, which compares a simulated host with a real one.
"""

from spec_kitty_client.testing.faults import (
    AsyncFaultyTransport,
    Fault,
    FaultyTransport,
    Happened,
    by_chance,
)
from spec_kitty_client.testing.host import (
    AsyncSimulatedHost,
    AsyncSimulatedRepository,
    NotSimulated,
    PackagePlan,
    SimulatedHost,
    SimulatedRepository,
    ticking,
)
from spec_kitty_client.testing.tape import (
    AsyncRecording,
    AsyncReplay,
    Recording,
    Replay,
    Tape,
    TapeDamaged,
    TapeMismatch,
)

__all__ = [
    "AsyncFaultyTransport",
    "AsyncRecording",
    "AsyncReplay",
    "AsyncSimulatedHost",
    "AsyncSimulatedRepository",
    "Fault",
    "FaultyTransport",
    "Happened",
    "NotSimulated",
    "PackagePlan",
    "Recording",
    "Replay",
    "SimulatedHost",
    "SimulatedRepository",
    "Tape",
    "TapeDamaged",
    "TapeMismatch",
    "by_chance",
    "ticking",
]
