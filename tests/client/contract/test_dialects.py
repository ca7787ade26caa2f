"""Tests of `spec_kitty_client.contract.dialects`."""

import pytest
from packaging.version import Version

from spec_kitty_client.contract.dialects import Dialect, Feature, dialect_of, oldest_release
from tests.client.releases import CONTRACTS, RELEASES, RELEASES_OF


@pytest.mark.parametrize(("release", "dialect"), RELEASES.items())
def test_every_release_has_its_dialect(release: str, dialect: str) -> None:
    """The SDK gives every release its dialect."""
    assert dialect_of(Version(release)) is Dialect(dialect)


@pytest.mark.parametrize("dialect", Dialect)
def test_a_dialect_begins_with_its_oldest_release(dialect: Dialect) -> None:
    """`first_release` is the oldest release of a dialect."""
    assert str(dialect.first_release) == RELEASES_OF[dialect].split()[0]


@pytest.mark.parametrize(
    ("release", "dialect"),
    [("3.1.3", "M1"), ("3.2.8", "M4"), ("4.0.0", "M5"), ("5.1", "M5"), ("3.2.7.dev1", "M4")],
)
def test_a_release_that_was_never_seen_has_the_dialect_of_the_one_before(
    release: str, dialect: str
) -> None:
    """The SDK gives an unknown release the dialect of the known one before it."""
    assert dialect_of(Version(release)) is Dialect(dialect)


@pytest.mark.parametrize(("contract", "release"), CONTRACTS.items())
def test_a_contract_stands_for_the_oldest_release_that_has_it(contract: str, release: str) -> None:
    """A contract supports only what every release with that version supports."""
    assert oldest_release(Version(contract)) == Version(release)


@pytest.mark.parametrize("contract", ["1.0.0", "1.0.9", "0.1"])
def test_the_oldest_contract_stands_for_no_release(contract: str) -> None:
    """Contract 1.0.0 gives no release, because five dialects share it."""
    assert oldest_release(Version(contract)) is None


@pytest.mark.parametrize("dialect", Dialect)
def test_a_dialect_has_what_all_its_hosts_have(dialect: Dialect) -> None:
    """A dialect has a feature exactly if all its releases have it."""
    own = [Version(r) for r in RELEASES_OF[dialect].split()]

    for feature in Feature:
        assert dialect.has(feature) is all(feature.since <= release for release in own)
