"""Tests of `spec_kitty_orchestrator.scheduling.slots`."""

from pathlib import Path
from typing import Any

from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.scheduling.slots import Slots, limits_of
from spec_kitty_orchestrator.settings import Settings

TWO: dict[Role, str] = {"implement": "claude-code", "review": "codex"}
ONE: dict[Role, str] = {"implement": "claude-code", "review": "claude-code"}


def slots(agents: dict[Role, str], **given: Any) -> Slots:
    """Return the slots of a run with some settings."""
    settings = Settings(
        mission="m", repo_root=Path("/r"), impl_agent="a", review_agent="b", **given
    )
    return Slots(limits_of(settings, agents))


def take(made: Slots, role: Role, count: int) -> None:
    """Let work packages take slots in a role."""
    for i in range(count):
        made.take(f"WP{i}", role)


def free(made: Slots) -> tuple[int, int]:
    """Return the free slots for implementers and for reviewers."""
    return made.free("implement"), made.free("review")


def test_all_have_one_limit() -> None:
    """Without other limits, a role may take all slots."""
    made = slots(TWO, max_concurrent=3)
    assert free(made) == (3, 3)
    take(made, "review", 2)
    assert free(made) == (1, 1)


def test_a_role_has_its_own_limit() -> None:
    """A role that is full leaves its slots to the other."""
    made = slots(TWO, max_concurrent=3, max_implementing=2, max_reviewing=1)
    assert free(made) == (2, 1)
    take(made, "review", 1)
    assert free(made) == (2, 0)


def test_an_agent_has_one_limit_in_all_its_roles() -> None:
    """An agent that implements and reviews uses one set of slots for both."""
    made = slots(ONE, max_per_agent={"claude-code": 2})
    take(made, "implement", 1)
    assert free(made) == (1, 1)


def test_the_limit_of_an_agent_is_not_the_others() -> None:
    """The limit of an agent applies to its roles only."""
    assert free(slots(TWO, max_per_agent={"codex": 1, "opencode": 1})) == (4, 1)


def test_there_is_never_less_than_nothing_free() -> None:
    """More agents than a limit allows, as after a restart, leave no slot and raise no error."""
    made = slots(TWO, max_concurrent=1)
    take(made, "review", 3)
    assert free(made) == (0, 0)


def test_a_slot_is_released_once() -> None:
    """A second release of the same work package frees nothing."""
    made = slots(TWO, max_concurrent=2)
    take(made, "review", 2)
    assert made.release("WP0")
    assert not made.release("WP0")
    assert free(made) == (1, 1)
