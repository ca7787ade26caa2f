"""Tests of hostile names in the files of a mission, in real repositories."""

import json
from pathlib import Path
from typing import Any

import pytest

from spec_kitty_client import Client
from spec_kitty_client.errors import GitFailed, WouldLoseWork
from tests.client.answers import POLICY
from tests.client.simulated import FOLDER, SLUG, WithGit, git

HOSTILE = ("--upload-pack=touch x", "../../outside", "/tmp/x", "a..b", "a b", "x" * 300, ".git")


def write(repo: Path, name: str, facts: object) -> None:
    """Write and commit a file of the mission."""
    (repo / FOLDER / name).write_text(facts if isinstance(facts, str) else json.dumps(facts))
    git(repo, "commit", "--quiet", "--all", "--message=hostile")


def assert_refused(host: WithGit, repo: Path, match: str) -> None:
    """Check that claim, layout and merge each raise GitFailed and change nothing."""
    mission = Client(actor="ada", policy=POLICY, transport=host).mission(SLUG)
    wp, before = mission.work_package("WP01"), git(repo, "for-each-ref")
    for verb in (wp.claim, mission.layout, mission.merge):
        with pytest.raises(GitFailed, match=match) as e:
            verb()
        assert len(str(e.value)) < 500
    assert git(repo, "for-each-ref") == before
    assert not (repo / ".worktrees").exists()
    assert not host.mutations


@pytest.mark.parametrize("word", HOSTILE)
@pytest.mark.parametrize("key", ["lane_id", "depends_on_lanes", "mission_branch"])
def test_a_hostile_word_in_the_lanes_is_refused(repo: Path, word: str, key: str) -> None:
    """The SDK refuses a name in lanes.json that cannot be the name of a branch."""
    host = WithGit("3.2.7", {"WP01": []}, repo)
    facts: dict[str, Any] = host.lanes_json()
    if key == "mission_branch":
        facts[key] = word
    else:
        facts["lanes"][0][key] = word if key == "lane_id" else [word]
    write(repo, "lanes.json", facts)

    assert_refused(host, repo, rf"{FOLDER}/lanes\.json has the .*cannot be the name of a branch")


@pytest.mark.parametrize("word", [*HOSTILE[:5], "-D"])
@pytest.mark.parametrize("key", ["target_branch", "merge_target_branch", "coordination_branch"])
def test_a_hostile_word_in_the_mission_is_refused(repo: Path, word: str, key: str) -> None:
    """The SDK refuses a branch in meta.json that cannot be the name of a branch."""
    host = WithGit("3.2.7", {"WP01": []}, repo)
    meta = json.loads((repo / FOLDER / "meta.json").read_text())
    write(repo, "meta.json", meta | {key: word})

    assert_refused(host, repo, rf"meta\.json has the {key} .*cannot be the name of a branch")


@pytest.mark.parametrize("text", ["[]", "3", '"lanes"', "null", "{cut", "[" * 100_000, "\0"])
def test_lanes_of_a_wrong_type_are_named(repo: Path, text: str) -> None:
    """The error for a malformed lanes.json names the file, and says to restore it."""
    host = WithGit("3.2.1", {"WP01": []}, repo)
    write(repo, "lanes.json", text)

    assert_refused(host, repo, r"lanes\.json is damaged.*Restore it from git")


def test_a_commit_from_a_caller_is_no_option(repo: Path) -> None:
    """The SDK takes a commit that begins with a dash for a missing commit, not for an option."""
    host = WithGit("3.2.7", {"WP01": []}, repo)
    mission = Client(actor="ada", policy=POLICY, transport=host).mission(SLUG)
    mission.work_package("WP01").claim()

    with pytest.raises(WouldLoseWork, match="is not in this repository"):
        mission.merge(commits=[f"--output={repo}/written"])
    assert not (repo / "written").exists()
