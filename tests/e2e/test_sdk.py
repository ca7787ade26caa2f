"""The SDK against a real host: the same code on every release."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import pytest
from packaging.version import Version

from spec_kitty_client import (
    AcceptanceSeen,
    AsyncClient,
    Client,
    Completed,
    Conflict,
    Feature,
    HostTimeout,
    ImplementationStarted,
    Lane,
    LaneChanged,
    MissionState,
    NotFound,
    NotReady,
    Review,
    TransitionRejected,
    UnsupportedByHost,
    UsageRejected,
    WorkPackageAdded,
)
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.transports.warm import WarmTransport

from .conftest import POLICY, Scene, has

REVIEW = Review(reviewer="ada", reference="reviews/1")
CHAIN = {"WP01": [], "WP02": ["WP01"]}


class Counting:
    """A transport that counts calls, and drops the answers that a test names."""

    def __init__(self, repo: Path, executable: str | tuple[str, ...] = "spec-kitty") -> None:
        self._host = WarmTransport(ProcessTransport(repo=repo, executable=executable))
        self.calls: list[tuple[str, ...]] = []
        self.lose: str | None = None
        self.git = self._host.git

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        self.calls.append(tuple(args))
        done = self._host.run(args, time_limit=time_limit)
        if self.lose is None or self.lose not in args:
            return done
        self.lose = None
        return Completed(
            argv=done.argv, exit_code=None, stdout=b"", stderr=b"", time_limit=time_limit
        )

    def verbs(self) -> list[str]:
        return [args[1] for args in self.calls if args[0] == "orchestrator-api"]


def test_workflow_verbs_take_a_mission_from_planned_to_merged(
    scene: Callable[..., Scene],
) -> None:
    """One program without any code for releases takes a mission to its merge on each release."""
    here = scene(CHAIN)
    client, mission = here.client(), here.mission

    assert client.mission_state(mission).lanes() == dict.fromkeys(CHAIN, Lane.PLANNED)
    assert [w.wp_id for w in client.list_ready(mission).ready_work_packages] == ["WP01"]
    with pytest.raises(NotReady):
        client.mission(mission).work_package("WP02").claim()
    with pytest.raises(NotReady):
        client.mission(mission).accept()
    for wp in CHAIN:
        claimed = client.mission(mission).work_package(wp).claim()
        assert (claimed.from_lane, claimed.to_lane) == (Lane.PLANNED, Lane.IN_PROGRESS)
        assert Path(claimed.prompt_path).is_file()
        here.work(claimed.workspace_path, wp)
        if wp == "WP01":
            _with_every_repetition(client, here, wp, claimed)
        else:
            client.mission(mission).work_package(wp).submit_for_review()
            client.mission(mission).work_package(wp).begin_review()
            client.mission(mission).work_package(wp).finish(REVIEW)
    assert (Path(claimed.workspace_path) / here.files["WP01"]).is_file()  # WP02 depends on it

    assert client.mission(mission).accept().accepted
    merged = client.mission(mission).merge()
    assert merged.changed
    assert merged.target == here.target
    assert set(here.files.values()) <= here.merged_files()
    assert here.git("status", "--porcelain") == ""
    assert set(client.mission_state(mission).lanes().values()) == {Lane.DONE}
    meta = json.loads(here.git("show", f"HEAD:kitty-specs/{mission}/meta.json"))
    assert meta["accepted_at"]
    head = here.git("rev-parse", here.target)
    client.mission(mission).merge()
    assert here.git("rev-parse", here.target) == head


def _with_every_repetition(
    client: Client, here: Scene, wp: str, claimed: ImplementationStarted
) -> None:
    """Ask for changes once, and repeat every verb as after a lost answer."""
    mission = here.mission
    assert (
        client.mission(mission).work_package(wp).locate().workspace_path == claimed.workspace_path
    )
    assert client.mission(mission).work_package(wp).claim().no_op
    with pytest.raises(Conflict):
        client.mission(mission).work_package(wp).claim(actor="somebody else")
    assert client.mission(mission).work_package(wp).submit_for_review().changed
    assert client.mission(mission).work_package(wp).submit_for_review().lane == Lane.FOR_REVIEW
    in_review = client.mission(mission).work_package(wp).begin_review().lane
    assert client.mission(mission).work_package(wp).begin_review().lane == in_review
    assert client.append_history(mission, wp, "a note\nin two lines").history_entry_id
    assert client.mission(mission).work_package(wp).request_changes(REVIEW).lane == Lane.IN_PROGRESS
    assert not client.mission(mission).work_package(wp).request_changes(REVIEW).changed
    with pytest.raises(TransitionRejected):
        client.mission(mission).work_package(wp).approve(REVIEW)
    here.work(claimed.workspace_path, wp, "# better\n")
    client.mission(mission).work_package(wp).submit_for_review()
    client.mission(mission).work_package(wp).begin_review()
    approved = client.mission(mission).work_package(wp).approve(REVIEW).lane
    assert approved == (Lane.APPROVED if has(here.release, Feature.APPROVED_LANE) else Lane.DONE)
    assert not client.mission(mission).work_package(wp).approve(REVIEW).changed
    assert client.mission(mission).work_package(wp).finish(REVIEW).lane == Lane.DONE
    assert not client.mission(mission).work_package(wp).finish(REVIEW).changed
    with pytest.raises(TransitionRejected):
        client.mission(mission).work_package(wp).block("too late")


def test_verbs_whose_answers_were_lost_take_effect_once(scene: Callable[..., Scene]) -> None:
    """A verb whose answer was lost finds its effect, and does not repeat it."""
    here = scene(1)
    transport = Counting(here.root)
    client, mission = here.client(transport=transport), here.mission
    steps = {
        "claim": ("start-implementation", Lane.IN_PROGRESS, 2),  # can be repeated as it is
        "submit_for_review": ("transition", Lane.FOR_REVIEW, 1),
        "begin_review": ("start-review", Lane.IN_REVIEW, 1),
        "finish": ("transition", Lane.DONE, 1),
    }
    if has(here.release, Feature.REPEATABLE_REVIEW):
        steps["begin_review"] = ("start-review", Lane.IN_REVIEW, 2)
    if not has(here.release, Feature.IN_REVIEW_LANE):
        del steps["begin_review"]
    for verb, (sent, lane, times) in steps.items():
        done = len(transport.verbs())
        transport.lose = sent
        answer = getattr(client.mission(mission).work_package("WP01"), verb)(
            *([REVIEW] if verb == "finish" else [])
        )
        assert transport.lose is None
        assert transport.verbs()[done:].count(sent) == times
        if verb == "claim":
            here.work(answer.workspace_path, "WP01")
        assert client.mission_state(mission).lanes() == {"WP01": lane}


def test_a_blocked_work_package_is_blocked_from_every_lane(scene: Callable[..., Scene]) -> None:
    """A work package can be blocked from every lane, in review too, and the reason is recorded."""
    here = scene(2)
    client, mission = here.client(), here.mission
    assert (
        client.mission(mission).work_package("WP01").block("nobody knows how").lane == Lane.BLOCKED
    )
    claimed = client.mission(mission).work_package("WP02").claim()
    here.work(claimed.workspace_path, "WP02")
    client.mission(mission).work_package("WP02").submit_for_review()
    client.mission(mission).work_package("WP02").begin_review()
    assert (
        client.mission(mission).work_package("WP02").block("reviewers do not agree").lane
        == Lane.BLOCKED
    )
    assert not client.mission(mission).work_package("WP02").block("reviewers do not agree").changed
    assert set(client.mission_state(mission).lanes().values()) == {Lane.BLOCKED}


def test_what_a_host_has_not_is_told_before_anything_is_sent(
    scene: Callable[..., Scene],
) -> None:
    """A verb that the host lacks raises before any call, with the first release that has it."""
    here = scene(1)
    transport = Counting(here.root)
    client = here.client(transport=transport)
    contract = client.negotiate()
    before = list(transport.calls)
    assert contract.supports(VERBS["mission-state"])
    for verb, since in (("resolve-workspace", "3.2.4"), ("specify", "3.2.6"), ("next", "4.0.0rc6")):
        assert contract.supports(VERBS[verb]) == (here.release >= Version(since))
    if here.release < Version("3.2.6"):
        with pytest.raises(UnsupportedByHost, match=r"3\.2\.6"):
            client.design.design_status(here.mission)
    if here.release < Version("4"):
        with pytest.raises(UnsupportedByHost, match=r"4\.0\.0rc6"):
            client.design.design_validate(here.mission, "plan")
    assert transport.calls == before


def test_watching_tells_what_others_do(scene: Callable[..., Scene]) -> None:
    """A watcher sees each change once, by one read per look, and ends with the acceptance."""
    here = scene(1)
    client, mission = here.client(), here.mission
    events = here.client().mission(mission).watch(interval=0)
    assert next(events) == WorkPackageAdded(wp_id="WP01", lane=Lane.PLANNED)
    claimed = client.mission(mission).work_package("WP01").claim()
    event = next(events)
    assert isinstance(event, LaneChanged)
    assert (event.before, event.after) == (Lane.PLANNED, Lane.IN_PROGRESS)
    here.work(claimed.workspace_path, "WP01")
    client.mission(mission).work_package("WP01").submit_for_review()
    client.mission(mission).work_package("WP01").begin_review()
    client.mission(mission).work_package("WP01").finish(REVIEW)
    client.mission(mission).accept()
    event = next(events)
    assert isinstance(event, LaneChanged)
    assert event.after == Lane.DONE
    assert list(events) == [AcceptanceSeen(mission_slug=mission)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_client_reads_in_parallel_and_negotiates_once(
    scene: Callable[..., Scene], backend: str
) -> None:
    """Reads of an async client overlap, and their answers make the contract known."""
    here = scene(1)

    async def both() -> AsyncClient:
        client = AsyncClient(here.root)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call, MissionState(mission=here.mission))
            with pytest.raises(NotFound):
                await client.mission_state("no-such-mission")
        await client.negotiate()
        return client

    client = anyio.run(both, backend=backend)
    assert client.contract is not None
    assert client.contract.release <= here.release
    assert client.contract.supports(Feature.IN_REVIEW_LANE) == has(
        here.release, Feature.IN_REVIEW_LANE
    )


@pytest.mark.parametrize(
    ("how", "first"),
    [("renamed", "read"), ("wrapper", "mutation"), ("python -m", "read"), ("plain", "mutation")],
)
def test_a_host_is_recognised_by_two_calls_and_then_by_none(
    scene: Callable[..., Scene], how: str, first: str, tmp_path: Path
) -> None:
    """A host, started in any way, is recognised by two additional calls at most, once."""
    here = scene(1)
    transport = Counting(here.root, _hidden(how, tmp_path))
    client = Client(transport=transport, actor="e2e", policy=POLICY)
    if first == "read":
        client.mission_state(here.mission)
        client.negotiate()
    else:
        client.append_history(here.mission, "WP01", "hello")
    assert len(transport.calls) - 1 <= 2  # one call by the test
    assert client.contract is not None
    assert client.contract.dialect.first_release <= here.release
    known = len(transport.calls)
    client.list_ready(here.mission)
    client.append_history(here.mission, "WP01", "again")
    client.negotiate()
    assert len(transport.calls) == known + 2


def _hidden(how: str, folder: Path) -> str | tuple[str, ...]:
    host = Path(os.environ["E2E_HOST"])
    disguise = folder / "kitty"
    if how == "plain":
        return str(host)
    if how == "renamed":
        disguise.symlink_to(host)
        return str(disguise)
    if how == "wrapper":
        disguise.write_text(f'#!/bin/sh\necho wrapped >&2\nexec {host} "$@"\n', encoding="utf-8")
        disguise.chmod(0o755)
        return str(disguise)
    python = host.with_name("python")
    if not list(host.parents[1].glob("lib/python*/site-packages/specify_cli/__main__.py")):
        # Up to 3.0.3 `python -m` works with the module of the entry point only.
        return (str(python), "-c", "import specify_cli; specify_cli.main()")
    return (str(python), "-m", "specify_cli")


def test_usage_errors_have_one_type_with_and_without_an_envelope(
    scene: Callable[..., Scene],
) -> None:
    """A usage error has one type, whether the parser answers in JSON or in prose."""
    here = scene(1)

    class Bad(Counting):
        def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
            wrong = (*args, "--no-such-option=1") if "append-history" in args else args
            return super().run(wrong, time_limit=time_limit)

    client = here.client(transport=Bad(here.root))
    with pytest.raises(UsageRejected, match="no-such-option") as rejected:
        client.append_history(here.mission, "WP01", "x")
    assert rejected.value.outcome == "not_applied"
    assert rejected.value.code == "USAGE_ERROR"


def test_a_host_that_takes_too_long_is_ended(scene: Callable[..., Scene]) -> None:
    """A call that exceeds its time limit raises, with the outcome unknown for a mutation."""
    here = scene(1)
    client = here.client()
    client.negotiate()
    # A cold call, because a warm host may answer within any time limit.
    hurried = here.client(time_limit=0.05, transport=ProcessTransport(repo=here.root))
    hurried._driver.core._learn(client.contract)
    with pytest.raises(HostTimeout) as late:
        hurried.append_history(here.mission, "WP01", "x")
    assert late.value.outcome == "unknown"
