"""Test doubles for people who build on this SDK.

`SimulatedHost` is a host of any release in memory, `FaultyTransport` lets calls fail in every
way that a call can, and `Tape` records a real host and plays it back. They need nothing but
the SDK. Two modules need Hypothesis, which ``pip install spec-kitty-client[testing]`` brings:
`strategies`, and `differential`, which compares a simulated host with a real one.
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
