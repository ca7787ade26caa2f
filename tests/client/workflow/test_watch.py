"""Tests of `spec_kitty_client.workflow.watch`."""

import time
from pathlib import Path

import anyio
import pytest

from spec_kitty_client import AcceptanceSeen, AsyncClient, Client, LaneChanged, WorkPackageAdded
from spec_kitty_client.errors import NotFound
from spec_kitty_client.testing.host.board import Package
from tests.client.answers import POLICY
from tests.client.releases import SAMPLE
from tests.client.simulated import FOLDER, SLUG, AsyncWithGit, WithGit, git

PAIR: dict[str, list[str]] = {"WP01": [], "WP02": ["WP01"]}

every_host = pytest.mark.parametrize("release", SAMPLE)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Count the waits instead of waiting."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(anyio, "sleep", sleep)
    return waited


def made(release: str, repo: Path) -> WithGit:
    """Return a host with two work packages."""
    return WithGit(release, dict(PAIR), repo)


def end(host: WithGit) -> None:
    """Finish and accept a mission as another actor."""
    for wp in PAIR:
        host.put(wp, "done", "bob")
    Client(actor="bob", transport=host).accept_mission(SLUG)


@every_host
def test_a_mission_is_told_from_its_packages_to_its_acceptance(
    release: str, repo: Path, waits: list[float]
) -> None:
    """A watch reports the work packages, each move (on 1.0.x with its actor), and the end."""
    host = made(release, repo)
    watch = Client(transport=host).mission(SLUG).watch(interval=7.5)
    first = [next(watch), next(watch)]
    host.put("WP01", "in_progress", "ada")
    second = next(watch)
    host.put("WP01", "for_review")
    host.put("WP02", "in_progress", "bob")
    third = [next(watch), next(watch)]
    end(host)

    ada, bob = ("ada", "bob") if release == "1.0.3" else (None, None)
    assert first == [
        WorkPackageAdded(wp_id="WP01", lane="planned"),
        WorkPackageAdded(wp_id="WP02", lane="planned"),
    ]
    assert second == LaneChanged(wp_id="WP01", before="planned", after="in_progress", actor=ada)
    assert third == [
        LaneChanged(wp_id="WP01", before="in_progress", after="for_review", actor=ada),
        LaneChanged(wp_id="WP02", before="planned", after="in_progress", actor=bob),
    ]
    assert list(watch) == [
        LaneChanged(wp_id="WP01", before="for_review", after="done", actor=bob),
        LaneChanged(wp_id="WP02", before="in_progress", after="done", actor=bob),
        AcceptanceSeen(mission_slug=SLUG),
    ]
    assert waits == [7.5] * 3


def test_watching_is_one_read_per_interval(repo: Path, waits: list[float]) -> None:
    """While work is left, a watch makes one state read per interval and runs no git."""
    host = made("3.2.7", repo)
    watch = Client(transport=host).mission(SLUG).watch()
    [next(watch), next(watch)]
    for lane in ("in_progress", "for_review", "in_review"):
        host.put("WP01", lane)
        next(watch)

    assert host.verbs == ["mission-state"] * 4
    assert host.git_calls == 0
    assert waits == [30.0] * 3


def test_quiet_intervals_tell_nothing(
    repo: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interval without a move yields no event."""
    host = made("3.2.7", repo)
    watch = Client(transport=host).mission(SLUG).watch()
    [next(watch), next(watch)]

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 9:
            end(host)

    monkeypatch.setattr(time, "sleep", wait)
    events = list(watch)

    assert len(waits) == 9
    assert [type(e) for e in events] == [LaneChanged, LaneChanged, AcceptanceSeen]


def test_a_new_work_package_is_told(repo: Path, waits: list[float]) -> None:
    """A watch reports a work package that is added later."""
    host = made("3.2.7", repo)
    watch = Client(transport=host).mission(SLUG).watch()
    [next(watch), next(watch)]
    host.mission.packages["WP03"] = Package([])

    assert next(watch) == WorkPackageAdded(wp_id="WP03", lane="planned")


def test_a_mission_that_is_over_is_told_at_once(repo: Path, waits: list[float]) -> None:
    """A watch of an accepted mission ends at once."""
    host = made("3.2.7", repo)
    end(host)
    events = list(Client(transport=host).mission(SLUG).watch())

    assert [type(e) for e in events] == [WorkPackageAdded, WorkPackageAdded, AcceptanceSeen]
    assert waits == []


@pytest.mark.parametrize("committed", [False, True])
def test_an_acceptance_is_seen_committed_or_not(
    repo: Path, waits: list[float], committed: bool
) -> None:
    """A watch sees an acceptance before and after it is committed."""
    host = made("3.2.7", repo)
    end(host)
    if committed:
        git(repo, "add", "--all")
        git(repo, "commit", "--quiet", "--message=accepted")

    assert list(Client(transport=host).mission(SLUG).watch())[-1] == AcceptanceSeen(
        mission_slug=SLUG
    )


@pytest.mark.parametrize(
    "facts",
    [
        "{}",
        '{"accepted_at": null}',
        '{"accepted_at": ""}',
    ],
)
def test_no_acceptance_is_no_end(repo: Path, waits: list[float], facts: str) -> None:
    """A watch does not take an empty accepted_at for an acceptance."""
    host = made("3.2.7", repo)
    for wp in PAIR:
        host.put(wp, "approved")
    (repo / FOLDER / "meta.json").write_text(facts)
    watch = Client(transport=host).mission(SLUG).watch()
    [next(watch), next(watch)]
    host.put("WP01", "done")

    assert next(watch) == LaneChanged(wp_id="WP01", before="approved", after="done", actor=None)


def test_a_mission_that_is_none_ends_the_watch(repo: Path, waits: list[float]) -> None:
    """A watch of an unknown mission raises NotFound."""
    with pytest.raises(NotFound):
        next(Client(transport=made("3.2.7", repo)).mission("other").watch())


@pytest.mark.anyio
@pytest.mark.parametrize("release", ["1.0.3", "3.2.7"])
async def test_watching_async(release: str, repo: Path, waits: list[float]) -> None:
    """The async client's watch reports the same events, on both event loops."""
    host = made(release, repo)
    watch = (
        AsyncClient(actor="ada", policy=POLICY, transport=AsyncWithGit(host))
        .mission(SLUG)
        .watch(interval=2)
    )
    first = [await anext(watch), await anext(watch)]
    end(host)

    assert [type(e) for e in first] == [WorkPackageAdded] * 2
    assert [type(e) async for e in watch] == [LaneChanged, LaneChanged, AcceptanceSeen]
    assert waits == [2]
