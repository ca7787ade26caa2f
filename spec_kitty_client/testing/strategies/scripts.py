"""Strategies for what an orchestrator says to a host about one mission, from first call to last."""

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

# The first is what a script shrinks to; the share of each is that of a lively run.
_SENSIBLE = (steps.look, *[steps.forward] * 9, steps.note, *[steps.aside] * 3)
_SENSELESS = (steps.senseless,) * 4
_LONG = 15  # calls, after which a small mission may be merged


@frozen(kw_only=True)
class HostScript:
    """Calls about one mission, in the order in which a host is to get them."""

    contract: Contract
    """The host whom the calls are for."""
    slug: str
    """The mission; some senseless calls are about another one, which there is not."""
    mission: _Mission
    """The work packages in plan order, each with those that it depends on."""
    commands: tuple[Command[Any], ...]
    """With actor and policy, where they are meant to have them."""


def host_scripts(
    host: Dialect | Contract | None = None,
    *,
    mission: st.SearchStrategy[dict[str, list[str]]] | None = None,
    slug: str = "demo",
    max_calls: int = 25,
    unsupported: bool = False,
) -> st.SearchStrategy[HostScript]:
    """Draw calls that make sense on a mission: for whatever stands in for a host, or drives one.

    Most of them go on from the state that the ones before have led to: claim, submit, review,
    approve or send back, read, leave notes, accept when all is finished, and merge, which is
    always the last. In between is a share of calls that hosts refuse, so that their rules are
    reached as well: a work package or mission that there is not, lanes out of order, what a
    move needs left out, somebody else's work, no policy, too early, twice.

    Where a host wants a commit before ``for_review`` (3.2.2 and later), and a clean checkout
    before a merge, whoever plays the script has to see to that.

    Shrinks to a single ``mission-state`` of a mission with one work package, and otherwise to
    few and simple calls.

    Args:
        host: Whom the calls are for; None: any host. Each can be spelled for it.
        mission: What there is to work on; None: `missions` of up to four work packages.
        slug: What it is called.
        max_calls: Calls at most, 1 or more.
        unsupported: Also draw calls that the host has no verb, option or lane for, which
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
    """Turn numbers into calls. That they are drawn without a look at the board shrinks well."""
    board, commands = Board(contract, slug, mission), list[Command[Any]]()
    names = list(mission)
    for step, which, n in picks:
        command = step(board, names[which % len(names)], n)
        board.play(command)
        commands.append(command)
        if isinstance(command, MergeMission):
            break
    return HostScript(contract=contract, slug=slug, mission=mission, commands=tuple(commands))
