"""Tests of `spec_kitty_client.contract`."""

import warnings

import pytest
from packaging.version import Version

from spec_kitty_client.commands import AppendHistory, ContractVersion
from spec_kitty_client.contract import (
    NEWEST_TESTED,
    OLDEST,
    Dialect,
    UntestedHostWarning,
    recognise,
)
from spec_kitty_client.errors import UnsupportedHost

QUIET = "SPEC_KITTY_CLIENT_NO_VERSION_WARNING"


@pytest.mark.parametrize("version", ["1.4.0", "1.4.7", "1.5.0"])
def test_a_tested_contract_is_recognised_without_a_word(version: str) -> None:
    """Hosts 3.2.6 and 3.2.7 are spoken to in their dialect; a warning would fail this test."""
    contract = recognise(version)

    assert contract.version == Version(version)
    assert contract.dialect is Dialect.M4


def test_the_range_that_is_tested() -> None:
    """The bounds are contract versions of hosts that this SDK is tested with."""
    assert (str(OLDEST), str(NEWEST_TESTED)) == ("1.4.0", "1.5.0")


@pytest.mark.parametrize("version", ["1.0.0", "1.2.0", "1.4.0rc1"])
def test_an_older_contract_is_refused_with_the_way_out(version: str) -> None:
    """Who has too old a host is told which one to install."""
    with pytest.raises(UnsupportedHost, match=r"spec-kitty-cli>=3\.2\.6") as e:
        recognise(version)

    assert version in str(e.value)


@pytest.mark.parametrize("version", ["", "banana", "1.5.0-final-final", "vv1"])
def test_what_is_no_version_is_refused(version: str) -> None:
    """A program that only looks like a host is not talked to."""
    with pytest.raises(UnsupportedHost) as e:
        recognise(version)

    assert repr(version) in str(e.value)


def test_what_is_no_version_is_refused_with_the_way_out() -> None:
    """Who called some other program is told what to look at."""
    with pytest.raises(UnsupportedHost, match=r"spec-kitty( |-cli)"):
        recognise("banana")


def test_a_version_with_thousands_of_digits_is_refused() -> None:
    """A hostile number ends in the error of this SDK, not in one of the interpreter."""
    with pytest.raises(UnsupportedHost):
        recognise("1." + "9" * 5000)


@pytest.mark.parametrize("version", ["1.5.1", "1.16.0", "2.0.0"])
def test_a_newer_contract_works_with_a_warning(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new host can be used at once, and the user knows that nobody tested it."""
    monkeypatch.delenv(QUIET, raising=False)

    with pytest.warns(UntestedHostWarning, match=QUIET):
        contract = recognise(version)

    assert contract.dialect is Dialect.M4


def test_the_warning_can_be_silenced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that the warning names does what it says."""
    monkeypatch.setenv(QUIET, "1")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert recognise("1.99.0").version == Version("1.99.0")


def test_a_command_is_spelled_below_the_group_of_the_api() -> None:
    """The arguments are group, verb, options, in this order."""
    note = AppendHistory(mission="pay", wp="WP01", note="it works", actor="ada")

    assert Dialect.M4.spell(ContractVersion()) == ("orchestrator-api", "contract-version")
    assert Dialect.M4.spell(note) == (
        "orchestrator-api",
        "append-history",
        "--mission=pay",
        "--wp=WP01",
        "--note=it works",
        "--actor=ada",
    )
