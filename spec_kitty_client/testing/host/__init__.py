"""A simulated host of any release, for tests."""

from spec_kitty_client.testing.host.arguments import NotSimulated
from spec_kitty_client.testing.host.board import Mission, Move, Package, PackagePlan
from spec_kitty_client.testing.host.releases import Release
from spec_kitty_client.testing.host.simulated import (
    AsyncSimulatedHost,
    AsyncSimulatedRepository,
    SimulatedHost,
    SimulatedRepository,
    ticking,
)

__all__ = [
    "AsyncSimulatedHost",
    "AsyncSimulatedRepository",
    "Mission",
    "Move",
    "NotSimulated",
    "Package",
    "PackagePlan",
    "Release",
    "SimulatedHost",
    "SimulatedRepository",
    "ticking",
]
