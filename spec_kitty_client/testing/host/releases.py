"""A release of the host, as far as it matters what it does and says."""

from functools import cache, cached_property

from attrs import frozen
from packaging.version import Version

from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect, Feature, contract_of, dialect_of
from spec_kitty_client.errors import UnsupportedHost

__all__ = ["Release"]

_version = cache(Version)


@frozen(slots=False)
class Release:
    """A release of ``spec-kitty-cli``, such as 3.2.7.

    Args:
        name: Its version on PyPI.

    Raises:
        UnsupportedHost: If it has no orchestrator-api, or is no version.
    """

    name: str

    def __attrs_post_init__(self) -> None:
        if self.version < Dialect.F1.first_release:
            msg = f"Host {self.name} has no orchestrator-api; the first that has is 1.0.0."
            raise UnsupportedHost(msg)

    @cached_property
    def version(self) -> Version:
        """Its version, to be compared."""
        try:
            return Version(self.name)
        except ValueError:
            msg = f"{self.name!r} is no release of the host; name one such as 3.2.7."
            raise UnsupportedHost(msg) from None

    @cached_property
    def contract(self) -> Contract:
        """What a client knows about it."""
        return Contract(contract_of(self.version), self.version)

    @cached_property
    def dialect(self) -> Dialect:
        """How it understands calls."""
        return dialect_of(self.version)

    @cached_property
    def says_feature(self) -> bool:
        """Whether a mission is still called a feature (up to 3.0.3)."""
        return self.dialect in (Dialect.F1, Dialect.F2)

    def since(self, release: str) -> bool:
        """Return whether it is a release or a later one."""
        return self.version >= _version(release)

    def has(self, feature: Feature) -> bool:
        """Return whether it has a feature."""
        return feature.since <= self.version
