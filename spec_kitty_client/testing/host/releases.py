"""A release of the host, with its contract and features."""

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
        UnsupportedHost: If it has no orchestrator-api, or the name is not a version.
    """

    name: str

    def __attrs_post_init__(self) -> None:
        if self.version < Dialect.F1.first_release:
            msg = f"Host {self.name} has no orchestrator-api. Use 1.0.0 or later."
            raise UnsupportedHost(msg)

    @cached_property
    def version(self) -> Version:
        """The release as a version, for comparisons."""
        try:
            return Version(self.name)
        except ValueError:
            msg = f"{self.name!r} is not a release of the host. Use a version such as 3.2.7."
            raise UnsupportedHost(msg) from None

    @cached_property
    def contract(self) -> Contract:
        """The contract that a client sees."""
        return Contract(contract_of(self.version), self.version)

    @cached_property
    def dialect(self) -> Dialect:
        """The dialect of this release."""
        return dialect_of(self.version)

    @cached_property
    def says_feature(self) -> bool:
        """Whether it calls a mission a feature (up to 3.0.3)."""
        return self.dialect in (Dialect.F1, Dialect.F2)

    def since(self, release: str) -> bool:
        """Return whether this is the named release or a later one."""
        return self.version >= _version(release)

    def has(self, feature: Feature) -> bool:
        """Return whether this release has a feature."""
        return feature.since <= self.version
