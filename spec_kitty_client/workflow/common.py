"""Steps that several workflow verbs share: read a mission's state, layout and slug; retry."""

import re
from typing import Any, TypeVar

from attrs import frozen

from spec_kitty_client._engine.core import Negotiate, Steps
from spec_kitty_client.api import replies
from spec_kitty_client.api.commands import Command, MissionState
from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.contract.lanes import AnyLane
from spec_kitty_client.errors import Failure, HostError, NotReady, rejection
from spec_kitty_client.workflow.git import root
from spec_kitty_client.workflow.layout import MissionLayout, layout_of, read_files

__all__ = ["WorkPackageFacts", "layout", "refusal", "retry_idempotent", "slug_of", "state"]

R = TypeVar("R", bound=replies.Reply)

_SLUG = re.compile(r".+-[0-9A-HJKMNP-TV-Z]{8}")  # as missions are named from 3.1.1 on


@frozen(kw_only=True)
class WorkPackageFacts:
    """The facts that a verb starts from: the work package, who calls, and its lane if known."""

    mission: str
    wp: str
    actor: str | None = None
    lane: AnyLane | None = None
    """The present lane, if the caller knows it; saves one host call."""


def state(mission: str) -> Steps[replies.Mission]:
    """Read a mission's work packages and their lanes.

    Raises:
        NotFound: If there is no such mission, or the host's reply cannot be trusted; see
            `replies.Mission.problem`.
    """
    found: replies.Mission = yield MissionState(mission=mission)
    if found.problem:
        msg = f"mission {found.mission_slug} {found.problem}"
        raise refusal(MissionState(mission=mission), ErrorCode.MISSION_NOT_FOUND, msg)
    return found


def layout(mission: str | replies.Mission) -> Steps[MissionLayout]:
    """Return a mission's layout: topology, target branch, and what each work package needs.

    Raises:
        NotFound: If there is no such mission.
        GitFailed: If one of its files is damaged.
    """
    contract: Contract = yield Negotiate()
    found = (yield from state(mission)) if isinstance(mission, str) else mission
    top = yield from root()
    files = yield from read_files(found.mission_slug, top)
    return (yield from layout_of(contract, files, tuple(found.lanes()), top))


def slug_of(contract: Contract, mission: str) -> Steps[str]:
    """Return the slug of a mission, given its slug or id.

    Hosts from 3.2.2 on name branches and worktrees after the name in the call, which may be the
    id. Their merge looks for branches named after the slug.
    """
    if not contract.supports(Feature.WORKTREES) or _SLUG.fullmatch(mission):
        return mission
    return (yield from state(mission)).mission_slug


def retry_idempotent(command: Command[R]) -> Steps[R]:
    """Send an idempotent command; if its answer was lost, send it once more."""
    try:
        reply: R = yield command
    except HostError as e:
        if e.outcome == "not_applied":
            raise
        try:
            reply = yield command
        except HostError as later:
            # These errors do not say whether the first call took effect.
            if later.retryable or isinstance(later, NotReady):
                raise e from later
            raise
    return reply


def refusal(call: Command[Any], code: ErrorCode, msg: str, **data: object) -> HostError:
    """Return the error that a newer host would give here; nothing was sent."""
    return rejection(
        Failure(
            verb=call.verb,
            mutates=False,
            message=msg,
            argv=(),
            exit_code=None,
            stdout="",
            stderr="",
            code=code,
            data={"message": msg, **data},
        )
    )
