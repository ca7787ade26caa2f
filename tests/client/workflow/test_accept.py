"""Tests of `spec_kitty_client.workflow.accept`, in real repositories."""

import json
from pathlib import Path

import pytest

from spec_kitty_client import Client
from spec_kitty_client.errors import HostTimeout, NotReady
from tests.client.answers import POLICY, Scripted, completed, envelope, success
from tests.client.releases import RELEASES
from tests.client.simulated import FOLDER, SLUG, Fault, WithGit, git
from tests.client.workflow.test_merge import PAIR, client, every_host, every_kind, finished


@every_kind
def test_an_acceptance_is_committed(release: str, repo: Path) -> None:
    """The SDK commits an acceptance, which no host does and 3.2.7 would discard."""
    host = finished(release, repo)

    assert "accepted_at" in json.loads(git(repo, "show", f"work:{FOLDER}/meta.json"))
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "log", "-1", "--format=%s", "work") == f"chore({SLUG}): record acceptance"
    assert host.mutations[-1] == "accept-mission"


@every_kind
def test_an_acceptance_keeps_what_the_user_has_staged(release: str, repo: Path) -> None:
    """The SDK's commit of an acceptance leaves staged files of the user staged."""
    host = finished(release, repo)
    (repo / "mine.txt").write_text("mine\n")
    git(repo, "add", "mine.txt")
    (repo / FOLDER / "late.md").write_text("late\n")
    client(host).mission(SLUG).accept()

    assert git(repo, "diff", "--cached", "--name-only") == "mine.txt"
    assert "mine.txt" not in git(repo, "ls-tree", "--name-only", "work")


@every_kind
@pytest.mark.parametrize("fault", [Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER])
def test_an_acceptance_whose_answer_was_lost_is_repeated(
    release: str, repo: Path, fault: Fault
) -> None:
    """The SDK repeats an acceptance whose answer was lost, and commits it."""
    host = finished(release, repo)
    host.faults["accept-mission"] = [fault]

    assert client(host).mission(SLUG).accept().accepted
    assert host.mutations[-2:] == ["accept-mission"] * 2
    assert git(repo, "status", "--porcelain") == ""


@every_host
def test_a_mission_that_is_not_ready_is_not_accepted(release: str, repo: Path) -> None:
    """Up to 3.1.x accept needs all work done; from 3.2.0 on approved is enough."""
    host = WithGit(release, dict(PAIR), repo)
    approved = "in_progress" if RELEASES[release] == "F1" else "approved"
    host.put("WP01", "done")
    host.put("WP02", approved)
    if host.since("3.2.0"):
        assert client(host).mission(SLUG).accept().accepted
        return
    with pytest.raises(NotReady) as e:
        client(host).mission(SLUG).accept()
    assert e.value.failure.data["incomplete_wps"] == ["WP02"]
    assert git(repo, "status", "--porcelain") == ""


@pytest.mark.parametrize("version", ["1.5.0", "1.16.0"])
def test_a_refusal_after_a_lost_acceptance_leaves_it_in_doubt(version: str) -> None:
    """A refusal of a repeated acceptance leaves the outcome of the first one unknown."""
    hello = {"api_version": version, "min_supported_provider_version": "0.1.0"}
    no = envelope("accept-mission", code="MISSION_NOT_READY", version=version)
    host = Scripted(
        success("contract-version", hello, version=version),
        completed(exit_code=None),
        completed(json.dumps(no).encode(), exit_code=1),
    )

    with pytest.raises(HostTimeout) as e:
        Client(actor="ada", policy=POLICY, transport=host).mission(SLUG).accept()
    assert e.value.outcome == "unknown"
    assert isinstance(e.value.__cause__, NotReady)
    assert host.verbs[1:] == ["accept-mission"] * 2
