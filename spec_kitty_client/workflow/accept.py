"""Accept a mission, unless the API of its host cannot."""

from contextlib import suppress

from spec_kitty_client._engine.core import Negotiate, Steps
from spec_kitty_client.api import replies
from spec_kitty_client.api.commands import AcceptMission
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.errors import AcceptanceUnavailable, GitUnavailable
from spec_kitty_client.workflow.common import retry_idempotent, slug_of
from spec_kitty_client.workflow.git import commit_folder, root
from spec_kitty_client.workflow.layout import read_files
from spec_kitty_client.workflow.worktrees import folder_of

__all__ = ["accept"]


def accept(mission: str, actor: str | None) -> Steps[replies.MissionAccepted]:
    """Accept a mission, and commit the host's record of it, which a merge would reset.

    Args:
        mission: Slug or id of the mission.
        actor: Name that the host records; None: the client's actor.

    Raises:
        AcceptanceUnavailable: If the host cannot accept a mission of this topology (3.2.0 to
            3.2.7 with a coordination branch). The SDK sends nothing.
    """
    contract: Contract = yield Negotiate()
    if not contract.supports(Feature.COORD_ACCEPT) and contract.supports(Feature.CLEAN_TARGET):
        with suppress(GitUnavailable):  # without this check the host crashes, which also raises
            yield from _refuse_coordinated(contract, mission)
    accepted = yield from retry_idempotent(AcceptMission(mission=mission, actor=actor))
    slug, top = accepted.mission_slug, (yield from root())
    yield from commit_folder(top, folder_of(slug), f"chore({slug}): record acceptance")
    return accepted


def _refuse_coordinated(contract: Contract, mission: str) -> Steps[None]:
    top = yield from root()
    slug = yield from slug_of(contract, mission)
    meta = (yield from read_files(slug, top)).meta
    if meta.get("coordination_branch"):
        raise AcceptanceUnavailable(
            slug, topology=str(meta.get("topology", "coord")), release=str(contract.release)
        )
