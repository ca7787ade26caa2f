"""A tape of a real host: recorded in one folder, replayed in an empty one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spec_kitty_client import Client
from spec_kitty_client.testing.tape import Tape, TapeMismatch
from spec_kitty_client.transports.process import ProcessTransport

from .conftest import POLICY, Scene


def claim_to_review(mine: Client, slug: str, note: str, work: Callable[[str], object]) -> list[str]:
    """Claim a work package, commit work, and submit it."""
    started = mine.mission(slug).work_package("WP01").claim()
    work(started.workspace_path)
    mine.append_history(slug, "WP01", "begun")
    moved = mine.mission(slug).work_package("WP01").submit_for_review(note=note)
    lane = mine.mission_state(slug).lanes()["WP01"]
    return [started.workspace_path, str(moved.lane), str(lane)]


def test_a_recorded_host_is_replayed_elsewhere(scene: Callable[..., Scene], tmp_path: Path) -> None:
    """Equal calls get the recorded answers with the replay's folder; another call shows a diff."""
    it = scene(1)
    tape = Tape(tmp_path / "tape", root=it.root, known={"mission": it.mission})
    there = Tape(tape.path, root="/else/where", known={"mission": "another-01ABCDEF"})
    transport = tape.record(ProcessTransport(repo=it.root))
    mine = Client(actor="e2e", policy=POLICY, transport=transport)
    path, *lanes = claim_to_review(mine, it.mission, "done", lambda path: it.work(path, "WP01"))
    assert lanes == ["for_review", "for_review"]
    on_tape = tape.path.read_text(encoding="utf-8")
    assert str(it.base) not in on_tape
    assert it.mission not in on_tape

    def play(note: str) -> list[str]:
        with there.replay() as replay:
            mine = Client(actor="e2e", policy=POLICY, transport=replay)
            return claim_to_review(mine, "another-01ABCDEF", note, lambda path: None)

    moved = path.replace(str(it.root), "/else/where").replace(it.mission, "another-01ABCDEF")
    assert play("done") == [moved, *lanes]

    with pytest.raises(TapeMismatch) as e:
        play("not yet")
    changed = [text for text in str(e.value).splitlines()[3:] if text.startswith(("-", "+"))]
    assert changed == ["---note=done", "+--note=not yet"]
