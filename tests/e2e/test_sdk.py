"""The SDK against a real host."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from spec_kitty_client import (
    AsyncClient,
    Client,
    Evidence,
    Lane,
    MissionState,
    NotFound,
    NotReady,
    ReviewResult,
    ReviewVerdict,
    TransitionRejected,
)

from .conftest import POLICY, Scene


def commit_work(scene: Scene, workspace: Path) -> None:
    (workspace / "demo").mkdir()
    (workspace / "demo" / "a.py").write_text("A = 1\n", encoding="utf-8")
    scene.git("-C", str(workspace), "add", "--all")
    scene.git("-C", str(workspace), "commit", "--quiet", "--message=work")


def test_ten_verbs_take_a_mission_from_planned_to_merged(
    scene: Callable[[int], Scene],
) -> None:
    """Every verb is understood by the host, and its answer becomes the typed reply."""
    here = scene(1)
    client = Client(here.root, actor="e2e", policy=POLICY)
    mission, wp = here.mission, "WP01"

    assert client.contract_version().api_version.count(".") == 2
    assert client.mission_state(mission).lanes() == {wp: Lane.PLANNED}
    assert [w.wp_id for w in client.list_ready(mission).ready_work_packages] == [wp]
    planned = client.resolve_workspace(mission, wp)
    started = client.start_implementation(mission, wp)
    assert started.workspace_path == planned.workspace_path
    assert (started.from_lane, started.to_lane) == (Lane.PLANNED, Lane.IN_PROGRESS)
    assert client.start_implementation(mission, wp).no_op
    with pytest.raises(NotReady) as not_ready:
        client.accept_mission(mission)
    assert not_ready.value.failure.data["incomplete_wps"] == [wp]

    commit_work(here, Path(started.workspace_path))
    assert client.transition(mission, wp, "for_review").to_lane == Lane.FOR_REVIEW
    assert client.start_review(mission, wp).to_lane == Lane.IN_REVIEW
    assert client.append_history(mission, wp, "a note\nin two lines").history_entry_id
    with pytest.raises(TransitionRejected) as rejected:
        client.transition(mission, wp, Lane.FOR_REVIEW)
    assert rejected.value.outcome == "not_applied"
    review = ReviewResult(reviewer="r", verdict=ReviewVerdict.APPROVED, reference="here")
    done = client.transition(
        mission,
        wp,
        Lane.DONE,
        review_ref="here",
        review_result=review,
        evidence=Evidence.of(review),
    )
    assert done.to_lane == Lane.DONE

    assert client.accept_mission(mission).accepted
    here.git("add", "--all", "kitty-specs")
    here.git("commit", "--quiet", "--message=accepted")
    merged = client.merge_mission(mission, strategy="merge")
    assert (merged.merged, merged.target_branch) == (True, "work")
    assert "demo/a.py" in here.git("ls-tree", "-r", "--name-only", "work")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_client_reads_in_parallel_and_negotiates_for_free(
    scene: Callable[[int], Scene], backend: str
) -> None:
    """Reads of an async client overlap, and the contract is known without a call of its own."""
    here = scene(1)

    async def both() -> AsyncClient:
        client = AsyncClient(here.root)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call, MissionState(mission=here.mission))
            with pytest.raises(NotFound):
                await client.mission_state("no-such-mission")
        return client

    client = anyio.run(both, backend=backend)
    assert client.contract is not None
    assert str(client.contract.dialect) == "M4"
