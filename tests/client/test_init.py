"""Tests of the public names of `spec_kitty_client`."""

import subprocess
import sys

import pytest

import spec_kitty_client
from spec_kitty_client import (
    client,
    codes,
    contract,
    design_client,
    errors,
    failure,
    mission,
    policy,
    transports,
)
from spec_kitty_client._engine import core, driver, turns
from spec_kitty_client.aio import client as aio_client
from spec_kitty_client.aio import design_client as aio_design_client
from spec_kitty_client.aio import mission as aio_mission
from spec_kitty_client.api import commands, replies, reviews
from spec_kitty_client.contract import dialects, lanes
from spec_kitty_client.policy import errors as policy_errors
from spec_kitty_client.policy import rules as policy_rules
from spec_kitty_client.workflow import accept as accepting
from spec_kitty_client.workflow import claim as claiming
from spec_kitty_client.workflow import common as missions
from spec_kitty_client.workflow import layout
from spec_kitty_client.workflow import merge as merging
from spec_kitty_client.workflow import verbs as workflow
from spec_kitty_client.workflow import watch as watching

MODULES = (
    accepting,
    aio_client,
    aio_design_client,
    aio_mission,
    claiming,
    client,
    codes,
    commands,
    contract,
    core,
    design_client,
    driver,
    dialects,
    errors,
    failure,
    lanes,
    layout,
    merging,
    mission,
    missions,
    policy,
    policy_errors,
    policy_rules,
    replies,
    reviews,
    transports,
    turns,
    watching,
    workflow,
)
INNER = {
    "find_obstacles",
    "ADVICE",
    "call_environment",
    "call_variables",
    "AsyncDesignClient",
    "AsyncDriver",
    "DesignClient",
    "Driver",
    "Turn",
    "lane_of",
    "turn_of",
    "BANNED_FLAGS",
    "Core",
    "DEEPEST",
    "Git",
    "HostCall",
    "MissionFiles",
    "MissionReply",
    "NEWEST_TESTED",
    "Negotiate",
    "OLDEST",
    "PLANNING_LANE",
    "WorkPackageFacts",
    "REQUIRED_FIELDS",
    "SECRET_WORDS",
    "Steps",
    "TEXT_FIELDS",
    "WHOLE",
    "Watcher",
    "accept",
    "approve",
    "begin_review",
    "block",
    "claim",
    "contract_of",
    "dialect_of",
    "finish",
    "to_newest_names",
    "retry_idempotent",
    "layout",
    "locate",
    "names_in",
    "merge",
    "names_of",
    "object_problems",
    "oldest_release",
    "parse_code",
    "parse_lane",
    "parse_policy",
    "read_files",
    "recognise",
    "refusal",
    "rejection",
    "release_in",
    "request_changes",
    "slug_of",
    "spell",
    "state",
    "submit_for_review",
}


def test_the_public_names_are_sorted() -> None:
    """`__all__` is sorted and has no name twice."""
    names = spec_kitty_client.__all__
    by_kind = sorted(names, key=lambda n: (not n.isupper(), n))

    assert names == by_kind
    assert len(set(names)) == len(names)


def test_every_public_name_is_there() -> None:
    """Every name in `__all__` can be imported."""
    assert not [n for n in spec_kitty_client.__all__ if not hasattr(spec_kitty_client, n)]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_what_a_module_offers_is_public(module: object) -> None:
    """Each name that a module exports is public, or listed here as internal."""
    offered = set(getattr(module, "__all__"))  # noqa: B009

    assert offered - INNER <= set(spec_kitty_client.__all__)


HEAVY = {
    "anyio",
    "asyncio",
    "cattrs",
    "hypothesis",
    "plumbum",
    "stamina",
    "trio",
    "spec_kitty_client.transports.process",
    "spec_kitty_client.transports.program",
    "spec_kitty_client.transports.ssh",
}


def loaded(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after running some code."""
    program = f"import sys\n{code}\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())


def test_importing_is_cheap() -> None:
    """Importing the SDK loads neither the heavy libraries nor a transport."""
    modules = loaded("import spec_kitty_client")

    assert "spec_kitty_client.client" in modules
    assert not HEAVY & modules


def test_making_a_client_with_a_transport_of_ones_own_is_cheap() -> None:
    """A client that is given a transport does not load the SDK's own transports."""
    made = loaded("import spec_kitty_client as s; s.Client(transport=object())")

    assert not HEAVY & made
