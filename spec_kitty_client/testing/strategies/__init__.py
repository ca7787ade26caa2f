"""Hypothesis strategies for hosts, lanes, answers, policies, missions and calls.

They need the extra ``testing``. Each docstring has the purpose of the strategy, and the simplest
value that it shrinks to.
"""

from spec_kitty_client.testing.strategies.contracts import contracts, dialects
from spec_kitty_client.testing.strategies.envelopes import Flaw, Printed, envelopes, near_envelopes
from spec_kitty_client.testing.strategies.lanes import Move, lanes, transitions
from spec_kitty_client.testing.strategies.missions import Shape, missions
from spec_kitty_client.testing.strategies.policies import invalid_policies, policies, policy_json
from spec_kitty_client.testing.strategies.replies import replies
from spec_kitty_client.testing.strategies.scripts import HostScript, host_scripts

__all__ = [
    "Flaw",
    "HostScript",
    "Move",
    "Printed",
    "Shape",
    "contracts",
    "dialects",
    "envelopes",
    "host_scripts",
    "invalid_policies",
    "lanes",
    "missions",
    "near_envelopes",
    "policies",
    "policy_json",
    "replies",
    "transitions",
]
