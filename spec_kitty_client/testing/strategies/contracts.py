"""Strategies for hosts: dialects, releases and contracts."""

from hypothesis import strategies as st
from packaging.version import Version

from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect, contract_of

__all__ = ["contracts", "dialects", "hosts"]

# Each release that changed an answer, and the oldest and the newest of each dialect.
_RELEASES = (
    "1.0.0 1.0.3 2.1.0 2.1.3 3.0.3 3.1.0 3.1.1 3.1.10 3.2.0 3.2.1 3.2.2 3.2.3 3.2.4 3.2.5 3.2.6 "
    "3.2.6.2 3.2.7 4.0.0rc4 4.0.0rc5 4.0.0rc6 4.0.0rc7"
)
_HOSTS = tuple(Contract(contract_of(r), r) for r in map(Version, _RELEASES.split()))


def hosts(dialect: Dialect | None = None) -> tuple[Contract, ...]:
    """Return the hosts that `contracts` chooses from, oldest first.

    Args:
        dialect: Only hosts of this dialect; None: all hosts.
    """
    return tuple(host for host in _HOSTS if dialect in (None, host.dialect))


def dialects() -> st.SearchStrategy[Dialect]:
    """Draw a dialect, for a test of every host. Shrinks to the oldest."""
    return st.sampled_from(Dialect)


def contracts(dialect: Dialect | None = None) -> st.SearchStrategy[Contract]:
    """Draw a host's contract, with its release. Shrinks to the oldest.

    Use it if a dialect is not precise enough. For example, ``resolve-workspace`` is new in a
    release in the middle of M3.

    Args:
        dialect: Only hosts of this dialect; None: all hosts.
    """
    return st.sampled_from(hosts(dialect))
