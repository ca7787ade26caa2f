"""A real host behind a real sshd."""

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from spec_kitty_client import AsyncClient, Client, Lane, NotFound, Review
from spec_kitty_client.transports.ssh import AsyncSshTransport, SshTransport
from spec_kitty_client.transports.warm import AsyncWarmTransport, WarmTransport
from tests.client.transports.ssh.sshd import serving

from .conftest import POLICY, Scene

IDENTITY = {
    f"GIT_{who}_{what}": text
    for who in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "Far"), ("EMAIL", "far@example.invalid"))
}


@pytest.mark.once
@pytest.mark.parametrize("warm", [True, False])
def test_a_work_package_is_done_and_merged_on_another_machine(
    scene: Callable[..., Scene], tmp_path: Path, warm: bool
) -> None:
    """The workflow verbs and their git work over ssh as on this machine, errors included."""
    here = scene(1)
    (tmp_path / "sshd").mkdir()
    with serving(tmp_path / "sshd") as server:
        login = server.login(
            repo=here.root, executable=os.environ["E2E_HOST"], env=IDENTITY, home=str(tmp_path)
        )
        cold = SshTransport(**login)
        transport = WarmTransport(cold, only=True) if warm else cold
        client = Client(transport=transport, actor="e2e", policy=POLICY)
        with pytest.raises(NotFound):
            client.mission_state("no-such-mission")
        claimed = client.mission(here.mission).work_package("WP01").claim()
        here.work(claimed.workspace_path, "WP01")
        client.mission(here.mission).work_package("WP01").submit_for_review()
        client.mission(here.mission).work_package("WP01").begin_review()
        review = Review(reviewer="ada", reference="reviews/1")
        assert client.mission(here.mission).work_package("WP01").finish(review).lane == Lane.DONE
        client.mission(here.mission).accept()
        assert client.mission(here.mission).merge().changed

        async def state() -> dict[str, object]:
            cold = AsyncSshTransport(**login)
            transport = AsyncWarmTransport(cold, only=True) if warm else cold
            async with AsyncClient(transport=transport) as reader:
                mission = await reader.mission_state(here.mission)
            return dict(mission.lanes())

        assert anyio.run(state) == {"WP01": Lane.DONE}
        client.close()
    assert here.files["WP01"] in here.merged_files()
