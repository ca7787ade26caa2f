"""Behaviour of hosts that loses work, on the releases that have it, and the SDK's protection."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.version import Version

from spec_kitty_client import (
    Client,
    HostError,
    IntegrationFailed,
    Lane,
    NotFound,
    Review,
    UnsupportedByHost,
    WouldLoseWork,
)

from .conftest import Scene

REVIEW = Review(reviewer="ada", reference="reviews/1")
V = Version


@pytest.fixture
def only(release: Version) -> Callable[[str, str], None]:
    """Skip a test on releases outside a range, both ends included."""

    def check(first: str, last: str) -> None:
        if not V(first) <= release <= V(last):
            pytest.skip(f"{first} to {last} do this")

    return check


def done(here: Scene) -> dict[str, Path]:
    """Take every work package to done, and return the worktrees."""
    client = here.client()
    worktrees = {}
    for wp in here.files:
        claimed = client.mission(here.mission).work_package(wp).claim()
        worktrees[wp] = Path(claimed.workspace_path)
        here.work(claimed.workspace_path, wp)
        client.mission(here.mission).work_package(wp).submit_for_review()
        client.mission(here.mission).work_package(wp).begin_review()
        client.mission(here.mission).work_package(wp).finish(REVIEW)
    return worktrees


def accepted_at(here: Scene) -> str | None:
    meta = json.loads((here.root / "kitty-specs" / here.mission / "meta.json").read_text("utf-8"))
    found: str | None = meta.get("accepted_at")
    return found


def test_an_acceptance_outlives_the_merge(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """3.2.7 resets what accept-mission wrote; accept commits it before merge can."""
    only("3.2.6", "3.2.7")
    here = scene(1)
    done(here)
    raw = here.client()
    raw.accept_mission(here.mission)
    assert accepted_at(here)
    raw.merge_mission(here.mission)
    assert accepted_at(here) is None  # the trap


def test_an_acceptance_that_was_not_committed_outlives_the_merge(
    scene: Callable[..., Scene],
) -> None:
    """An acceptance by the raw verb outlives a merge by the workflow verb."""
    here = scene(1)
    done(here)
    client = here.client()
    client.accept_mission(here.mission)
    client.mission(here.mission).merge()
    assert accepted_at(here)
    assert here.git("status", "--porcelain") == ""


def test_a_merge_throws_uncommitted_work_away(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """From 3.1.0 to 3.2.7 the raw merge deletes a worktree with an uncommitted file."""
    only("3.1.0", "3.2.7")
    here = scene(1)
    (worktree,) = done(here).values()
    (worktree / "notes.txt").write_text("mine\n", encoding="utf-8")
    here.git("add", "kitty-specs")
    if here.git("diff", "--cached", "--name-only"):
        here.git("commit", "--quiet", "--message=status")
    here.client().merge_mission(here.mission)
    assert not worktree.exists()


def test_a_merge_that_would_throw_work_away_is_refused(scene: Callable[..., Scene]) -> None:
    """The workflow verb refuses with the uncommitted files, and merges once they are gone."""
    here = scene(1)
    (worktree,) = done(here).values()
    (worktree / "notes.txt").write_text("mine\n", encoding="utf-8")
    client = here.client()
    client.mission(here.mission).accept()
    before = here.git("rev-parse", here.target)
    with pytest.raises(WouldLoseWork) as refused:
        client.mission(here.mission).merge()
    assert refused.value.paths == (f"{worktree}/notes.txt",)
    assert here.git("rev-parse", here.target) == before
    (worktree / "notes.txt").unlink()
    assert client.mission(here.mission).merge().changed


def test_a_merge_over_changes_of_the_user_is_refused(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """From 3.2.0 on hosts notice the user's changes half-way; the verb names them before."""
    only("3.2.0", "3.2.7")
    here = scene(1)
    (here.root / "mine.txt").write_text("old\n")
    here.git("add", "mine.txt")
    here.git("commit", "--quiet", "--message=mine")
    done(here)
    client = here.client()
    client.mission(here.mission).accept()
    (here.root / "mine.txt").write_text("new\n")
    with pytest.raises(IntegrationFailed, match="PREFLIGHT_FAILED"):
        client.merge_mission(here.mission)  # the trap
    with pytest.raises(WouldLoseWork) as refused:
        client.mission(here.mission).merge()
    assert refused.value.paths == (f"{here.root}/mine.txt",)
    assert (here.root / "mine.txt").read_text() == "new\n"
    here.git("stash", "--quiet")
    assert client.mission(here.mission).merge().changed


def test_rework_after_a_merge_wants_the_other_branches(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """From 3.1.0 on hosts require every lane; the commands in the error make the merge work."""
    only("3.1.0", "3.2.7")
    here = scene(2)
    done(here)
    client = here.client()
    client.mission(here.mission).accept()
    client.mission(here.mission).merge()
    client.transition(here.mission, "WP01", Lane.IN_PROGRESS, note="again", force=True)
    claimed = client.mission(here.mission).work_package("WP01").claim()
    here.work(claimed.workspace_path, "WP01", "# again\n")
    client.mission(here.mission).work_package("WP01").submit_for_review()
    client.mission(here.mission).work_package("WP01").begin_review()
    client.mission(here.mission).work_package("WP01").finish(REVIEW)
    with pytest.raises(IntegrationFailed) as failed:
        client.mission(here.mission).merge()
    (note,) = [n for n in failed.value.__notes__ if "git branch" in n]
    (command,) = [words for words in note.split("`")[1::2] if words.startswith("git branch")]
    here.git(*command.split()[1:])
    assert client.mission(here.mission).merge().changed
    assert "# again" in here.git("show", f"{here.target}:{here.files['WP01']}")


def test_a_commit_after_a_merge_does_not_take_it_back(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """3.1.x leaves a stale index in the target's checkout; the workflow verb updates it."""
    only("3.1.0", "3.1.10")
    here = scene(1)
    done(here)
    client = here.client()
    client.mission(here.mission).accept()
    (here.root / "mine.txt").write_text("not committed yet\n", encoding="utf-8")
    client.mission(here.mission).merge()
    assert here.git("status", "--porcelain").split() == ["??", "mine.txt"]
    here.git("add", "--all")
    here.git("commit", "--quiet", "--message=later")
    assert here.files["WP01"] in here.merged_files()


def test_a_raw_merge_leaves_the_index_behind(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """The raw merge of 3.1.x leaves a stale index in the target's checkout."""
    only("3.1.0", "3.1.10")
    here = scene(1)
    done(here)
    here.client().mission(here.mission).accept()
    here.client().merge_mission(here.mission)
    assert f"D  {here.files['WP01']}" in here.git("status", "--porcelain")


def test_a_squash_that_fails_half_way_is_not_begun(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """1.0.x fails at the second branch of a squash; the workflow verb refuses before."""
    only("1.0.0", "1.0.3")
    here = scene(2)
    done(here)
    client = here.client()
    client.mission(here.mission).accept()
    before = here.git("rev-parse", here.target)
    with pytest.raises(UnsupportedByHost, match="squash"):
        client.mission(here.mission).merge(strategy="squash")
    assert here.git("rev-parse", here.target) == before
    with pytest.raises(HostError):
        client.merge_mission(here.mission, strategy="squash")
    assert here.git("status", "--porcelain")  # half-way


def test_a_squash_that_brought_nothing_is_no_success(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """1.0.x reports success for a squash that it has not committed."""
    only("1.0.0", "1.0.3")
    here = scene(1)
    done(here)
    here.client().mission(here.mission).accept()
    assert here.client().merge_mission(here.mission, strategy="squash").merged
    assert here.files["WP01"] not in here.merged_files()  # the trap


def test_a_rebase_of_what_is_checked_out_is_not_begun(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """2.1.0 to 3.0.3 cannot rebase branches in worktrees; the workflow verb refuses before."""
    only("2.1.0", "3.0.3")
    here = scene(1)
    done(here)
    client = here.client()
    client.mission(here.mission).accept()
    with pytest.raises(UnsupportedByHost, match="rebase"):
        client.mission(here.mission).merge(strategy="rebase")
    with pytest.raises(HostError):
        client.merge_mission(here.mission, strategy="rebase")


@pytest.mark.parametrize("strategy", ["merge", "squash"])
def test_newer_commits_on_the_target_stay(
    scene: Callable[..., Scene], release: Version, strategy: str
) -> None:
    """Newer commits on the target stay after the merge, on every release."""
    if strategy == "squash" and release < V("2"):
        pytest.skip("1.0.x has no squash that works")
    here = scene(1)
    done(here)
    client = here.client()
    client.mission(here.mission).accept()
    (here.root / "kept.txt").write_text("newer\n", encoding="utf-8")
    here.git("add", "kept.txt")
    here.git("commit", "--quiet", "--message=newer")
    newer = here.git("rev-parse", "HEAD").strip()
    merged = client.mission(here.mission).merge(strategy=strategy)
    here.git("merge-base", "--is-ancestor", newer, merged.after)
    assert {"kept.txt", here.files["WP01"]} <= here.merged_files()
    assert not client.mission(here.mission).merge(strategy=strategy).changed


def test_a_cancellation_counts_for_dependents_if_it_has_a_reason(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """From 3.2.6 on dependents of canceled work are ready only if the cancellation has a note."""
    only("3.2.6", "4.0.0")
    here = scene({"WP01": [], "WP02": ["WP01"], "WP03": [], "WP04": ["WP03"]})
    client = here.client()
    for wp, note in (("WP01", None), ("WP03", "not needed")):
        client.transition(here.mission, wp, Lane.CANCELED, note=note)
    ready = client.list_ready(here.mission).ready_work_packages
    assert [package.wp_id for package in ready] == ["WP04"]


def test_a_mission_of_another_branch_is_no_empty_mission(
    scene: Callable[..., Scene], only: Callable[[str, str], None]
) -> None:
    """On a wrong branch 3.2.7 reports a mission without work packages; the verbs raise an error."""
    only("3.2.6", "3.2.7")
    here = scene(1)
    folder = here.root / "kitty-specs" / here.mission
    here.git("checkout", "--quiet", "main")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "left.txt").write_text("left behind\n", encoding="utf-8")
    client = Client(here.root, actor="e2e")
    assert client.mission_state(here.mission).work_packages == ()  # the trap
    with pytest.raises(NotFound, match="branch is not checked out"):
        client.mission("nothing").work_package("WP01").locate() if here.release < V(
            "3.2.4"
        ) else next(client.mission(here.mission).watch())
