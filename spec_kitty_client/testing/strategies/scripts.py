"""Strategies for all calls of an orchestrator about one mission, from the first to the last."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from hypothesis import strategies as st

from spec_kitty_client.api.commands import Command, MergeMission
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.testing.strategies import steps
from spec_kitty_client.testing.strategies.boards import Board
from spec_kitty_client.testing.strategies.contracts import contracts
from spec_kitty_client.testing.strategies.missions import missions

__all__ = ["HostScript", "host_scripts"]

_Mission = Mapping[str, list[str]]
_Pick = tuple[steps.Step, int, int]

# A script shrinks to the first; the shares are those of a busy run.
_SENSIBLE = (steps.look, *[steps.forward] * 9, steps.note, *[steps.aside] * 3)
_SENSELESS = (steps.senseless,) * 4
_LONG = 15  # calls, after which a small mission may be merged


@frozen(kw_only=True)
class HostScript:
    """Calls about one mission, in the order in which to send them."""

    contract: Contract
    """The contract of the host for which the calls are."""
    slug: str
    """Slug of the mission; some wrong calls name a mission that does not exist."""
    mission: _Mission
    """Work package ids in plan order, each with the ids of its dependencies."""
    commands: tuple[Command[Any], ...]
    """The calls; all have their actor and policy, except calls that are wrong on purpose."""


def host_scripts(
    host: Dialect | Contract | None = None,
    *,
    mission: st.SearchStrategy[dict[str, list[str]]] | None = None,
    slug: str = "demo",
    max_calls: int = 25,
    unsupported: bool = False,
) -> st.SearchStrategy[HostScript]:
    """Draw a realistic sequence of calls, to test a test double of a host or its callers.

    Most calls continue from the state after the calls before: claim, submit, review, approve or
    request changes, read, add notes, accept when all work is finished, and merge as the last call.
    Some calls are wrong, to reach the host's rules as well: an unknown work package or mission, a
    move that is not allowed, a missing option, another actor's work, no policy, a call that comes
    too early or twice.

    Hosts from 3.2.2 on require a commit before ``for_review``, and a clean checkout before a
    merge. The code that sends the calls must provide these.

    Shrinks to one ``mission-state`` of a mission with one work package, or to few simple calls.

    Args:
        host: The host or dialect for which the calls are; None: any host. Every call can be
            spelled for it.
        mission: Strategy for the mission; None: `missions` of up to four work packages.
        slug: Slug of the mission.
        max_calls: Maximum number of calls, at least 1.
        unsupported: Also draw calls whose verb, option or lane the host does not have, and which
            ``spell`` refuses.
    """
    chosen = st.just(host) if isinstance(host, Contract) else contracts(host)
    kinds = st.sampled_from(_SENSIBLE + _SENSELESS + (steps.unsupported,) * unsupported)
    pick = st.tuples(kinds, st.integers(0, 3), st.integers(0, 95))
    return st.builds(
        _script,
        chosen,
        st.just(slug),
        missions(max_size=4) if mission is None else mission,
        st.lists(pick, min_size=1, max_size=max_calls)
        | st.lists(pick, min_size=min(_LONG, max_calls), max_size=max_calls),
    )


def _script(contract: Contract, slug: str, mission: _Mission, picks: list[_Pick]) -> HostScript:
    """Turn drawn numbers into calls. Drawing them independently of the board shrinks well."""
    board, commands = Board(contract, slug, mission), list[Command[Any]]()
    names = list(mission)
    for step, which, n in picks:
        command = step(board, names[which % len(names)], n)
        board.play(command)
        commands.append(command)
        if isinstance(command, MergeMission):
            break
    return HostScript(contract=contract, slug=slug, mission=mission, commands=tuple(commands))
