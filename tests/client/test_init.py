"""Tests of the public names of `spec_kitty_client`."""

import subprocess
import sys

import pytest

import spec_kitty_client
from spec_kitty_client import client, codes, commands, contract, errors, lanes, policy, replies

MODULES = (client, codes, commands, contract, errors, lanes, policy, replies)
INNER = {
    "BANNED_FLAGS",
    "MissionReply",
    "NEWEST_TESTED",
    "OLDEST",
    "SECRET_WORDS",
    "parse_code",
    "parse_lane",
    "recognise",
    "rejection",
}


def test_the_public_names_are_sorted() -> None:
    """A name can be found by eye, and two branches that add one do not collide."""
    names = spec_kitty_client.__all__
    by_kind = sorted(names, key=lambda n: (not n.isupper(), n))

    assert names == by_kind
    assert len(set(names)) == len(names)


def test_every_public_name_is_there() -> None:
    """Nothing is promised that cannot be imported."""
    assert not [n for n in spec_kitty_client.__all__ if not hasattr(spec_kitty_client, n)]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_what_a_module_offers_is_public(module: object) -> None:
    """A user never has to import from an inner module; what is inner is listed here."""
    offered = set(getattr(module, "__all__"))  # noqa: B009

    assert offered - INNER <= set(spec_kitty_client.__all__)


def test_importing_is_cheap() -> None:
    """The heavy libraries are loaded by the first call, not by the import."""
    code = "import sys, spec_kitty_client; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()

    assert "spec_kitty_client.client" in loaded
    assert not {"anyio", "cattrs", "plumbum", "trio", "asyncio"} & set(loaded)
