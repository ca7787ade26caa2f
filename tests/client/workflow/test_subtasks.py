"""Tests of `spec_kitty_client.workflow.subtasks`."""

import json

import pytest
from packaging.version import Version

from spec_kitty_client._engine.core import HostCall
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import contract_of
from spec_kitty_client.errors import HostTimeout, ProtocolError
from spec_kitty_client.transports import Completed
from spec_kitty_client.workflow.layout import PackageLayout
from spec_kitty_client.workflow.subtasks import advice, complete, mark_command

ONE = PackageLayout(wp_id="WP01", subtasks=("T001", "T002"))


def host(release: str) -> Contract:
    """Return the contract of a release."""
    return Contract(contract_of(Version(release)), Version(release))


def ended(code: int | None, out: str = "", err: str = "") -> Completed:
    """Return a host's command that has ended."""
    return Completed(
        argv=("spec-kitty",),
        exit_code=code,
        stdout=out.encode(),
        stderr=err.encode(),
        time_limit=120,
    )


def complete_with(done: Completed, release: str = "3.2.7") -> HostCall:
    """Run `complete` with this answer of the host, and return the call that it made."""
    steps = complete("m", ONE, host(release))
    call = next(steps)
    with pytest.raises(StopIteration):
        steps.send(done)
    assert isinstance(call, HostCall)
    return call


@pytest.mark.parametrize(("release", "flag"), [("2.1.3", "--feature"), ("3.1.0", "--mission")])
def test_all_are_marked_by_one_call(release: str, flag: str) -> None:
    """All subtasks are marked by one call with the options of the release."""
    call = complete_with(ended(0, '{"result": "success"}'), release)

    words = ("agent", "tasks", "mark-status", "T001", "T002", "--status", "done", flag, "m")
    assert call.args == (*words, "--json")
    assert mark_command("m", ONE.subtasks, host(release)) == words


def test_nothing_is_asked_where_there_is_nothing_to_mark() -> None:
    """A work package without subtasks costs no call."""
    assert list(complete("m", PackageLayout(wp_id="WP01"), host("3.2.7"))) == []


@pytest.mark.parametrize(
    ("done", "reason"),
    [
        (ended(1, "note\n" + json.dumps({"error": "no such id"}) + "\n"), "no such id"),
        (ended(2, "", "Usage: x\nNo such command 'agent'.\n"), "No such command"),
        (ended(1, "[" * 100_000), "exit code 1"),
        (ended(1), "nothing was printed"),
    ],
)
def test_the_reason_of_the_host_is_told(done: Completed, reason: str) -> None:
    """The error has the host's reason, and an unknown outcome."""
    with pytest.raises(ProtocolError, match=reason) as failed:
        complete_with(done)

    assert failed.value.outcome == "unknown"
    assert failed.value.failure.argv == ("spec-kitty",)


def test_a_host_that_does_not_end_is_a_timeout() -> None:
    """Marking subtasks raises HostTimeout if the host does not end."""
    with pytest.raises(HostTimeout, match="120 seconds"):
        complete_with(ended(None))


def test_the_way_out_is_named() -> None:
    """The advice names the command that helps, or the edit if there is none."""
    text = advice("m", ONE, host("3.2.7"))
    assert "spec-kitty agent tasks mark-status T001 T002 --status done --mission m" in str(text)

    boxes = advice("m", PackageLayout(wp_id="WP01", open_boxes=2), host("2.1.3"))
    assert "2 boxes of WP01 in kitty-specs/m/tasks.md" in str(boxes)
    unreadable = PackageLayout(wp_id="WP01", roster_problem="its front matter has no list")
    assert "subtasks: []" in str(advice("m", unreadable, host("3.2.7")))
    assert advice("m", PackageLayout(wp_id="WP01"), host("3.2.7")) is None
