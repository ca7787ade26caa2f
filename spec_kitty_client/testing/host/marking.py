"""``spec-kitty agent tasks mark-status``: the only way to close subtasks, on any host.

It is not a verb of the contract: its answers are not envelopes, and differ between releases.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.testing.host.admission import find
from spec_kitty_client.testing.host.answers import Crashed, Misused, Refused
from spec_kitty_client.testing.host.arguments import NotSimulated
from spec_kitty_client.testing.host.board import Mission
from spec_kitty_client.testing.host.files import COUNTED
from spec_kitty_client.testing.host.releases import Release
from spec_kitty_client.testing.host.workspace import WorkspaceBackend

__all__ = ["COMMAND", "Marking"]

COMMAND = ("agent", "tasks", "mark-status")
"""The words of the command."""

Answer = tuple[int, bytes, bytes]
"""Exit code, stdout, stderr."""

_LATER = ("skipped", "not_applicable")
"""Words for ``--status`` that 4.0.0 knows and older hosts do not."""


@frozen
class _Asked:
    subtasks: Sequence[str]
    status: str
    mission: str | None

    @property
    def done(self) -> bool:
        return self.status == "done"


class _Failed(Exception):
    """An answer with an error in words."""


@frozen
class Marking:
    """Answers calls of ``agent tasks mark-status``.

    Args:
        release: The simulated release.
        missions: The missions of the host, by slug.
        workspace: The workspace in which the marks are written.
    """

    release: Release
    missions: Mapping[str, Mission]
    workspace: WorkspaceBackend

    def answer(self, words: Sequence[str]) -> Answer:
        """Answer a call.

        Args:
            words: The arguments after `COMMAND`.

        Raises:
            NotSimulated: If the real host's behaviour in this case is not simulated.
        """
        try:
            asked = self._understand(words)
        except Misused as e:
            return 2, b"", f"Usage: spec-kitty agent tasks mark-status\n\nError: {e}\n".encode()
        try:
            return self._mark(asked)
        except _Failed as e:
            # Hosts up to 3.1.0 catch their own SystemExit, and print it as a second error.
            more = [] if self.release.since("3.1.1") else [{"error": "1"}]
            return 1, _lines({"error": str(e)}, *more), b""

    def _understand(self, words: Sequence[str]) -> _Asked:
        options = dict[str, str]()
        subtasks = list(_sorted_out(words, options))
        if "--json" not in options:
            msg = "agent tasks mark-status without --json is not simulated"
            raise NotSimulated(msg)
        if not subtasks:
            raise Misused("Missing argument 'TASK_IDS...'.")
        if "--status" not in options:
            raise Misused("Missing option '--status'.")
        selector = "--feature" if self.release.says_feature else "--mission"
        if unknown := options.keys() - {"--json", "--status", selector}:
            raise Misused(f"No such option: {min(unknown)}")
        return _Asked(subtasks, options["--status"], options.get(selector))

    def _mark(self, asked: _Asked) -> Answer:
        if asked.status in _LATER and self.release.dialect is Dialect.M5:
            msg = f"--status {asked.status} is not simulated"
            raise NotSimulated(msg)
        if asked.status not in ("done", "pending"):
            msg = f"Invalid status {asked.status!r}. Must be 'done' or 'pending'."
            raise _Failed(msg)
        if asked.mission is None:
            if self.release.dialect is Dialect.F1 or not self.release.since("3.0.0"):
                msg = "agent tasks mark-status that looks for a mission itself is not simulated"
                raise NotSimulated(msg)
            raise _Failed("--mission <slug> is required")
        try:
            mission = find(self.missions, asked.mission, self.release)
        except (Refused, Crashed):
            return self._no_mission(asked.mission)
        told = [self._about(mission, subtask, asked) for subtask in asked.subtasks]
        self._write(mission, [t["id"] for t in told if t["outcome"] == "updated"], asked)
        return self._told(asked, told)

    def _write(self, mission: Mission, subtasks: Sequence[str], asked: _Asked) -> None:
        """Mark subtasks, one event per work package, and write all of them at once."""
        for wp, package in mission.packages.items():
            if own := [subtask for subtask in subtasks if subtask in package.subtasks]:
                mission.mark(wp, own, done=asked.done)
        if subtasks:
            self.workspace.marked(mission, subtasks, done=asked.done)

    def _no_mission(self, name: str) -> Answer:
        """Return the answer for a mission that does not exist."""
        if not self.release.since("3.1.1"):
            raise _Failed(f"tasks.md not found: {name}")
        about = {"error": "mission_not_found", "handle": name}
        if not self.release.since("4.0.0rc1"):
            return 2, b"", _lines(about)
        code = {"success": False, "error_code": "MISSION_NOT_FOUND"}
        return 1, _lines({**about, **code, "error": f"there is no mission {name!r}"}), b""

    def _about(self, mission: Mission, subtask: str, asked: _Asked) -> dict[str, Any]:
        """Return the part of the answer about one subtask."""
        wp = mission.owner(subtask)
        if wp is None:
            is_package = subtask.upper() in mission.packages and self.release.since("3.2.0")
            return _about(subtask, "not_found", "wp_id" if is_package else None)
        form = "authored_roster" if self.release.since(COUNTED) else "checkbox"
        is_so = mission.packages[wp].subtasks[subtask] is asked.done
        again = is_so and self.release.dialect is Dialect.M5
        return _about(subtask, "already_satisfied" if again else "updated", form)

    def _told(self, asked: _Asked, told: Sequence[Mapping[str, Any]]) -> Answer:
        every = ("updated", "already_satisfied", "not_found")
        by = {name: [t["id"] for t in told if t["outcome"] == name] for name in every}
        nothing = len(by["not_found"]) == len(told)
        if self.release.since("3.2.0"):
            summary = {name: len(ids) for name, ids in by.items()}
            return int(nothing), _lines({"results": list(told), "summary": summary}), b""
        if nothing:
            raise _Failed(f"No task IDs found in tasks.md: {', '.join(by['not_found'])}")
        updated, missing = by["updated"], by["not_found"]
        about = {"updated": updated, "not_found": missing, "status": asked.status}
        return 0, _lines({"result": "success", **about, "count": len(updated)}), b""


def _sorted_out(words: Sequence[str], options: dict[str, str]) -> Iterator[str]:
    """Yield the positional arguments, and collect the options in ``options``."""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            yield word
        elif name == "--json":
            options[name] = ""
        else:
            found = value if equals else next(rest, None)
            if found is None:
                raise Misused(f"Option '{name}' requires an argument.")
            options[name] = found


def _about(subtask: str, outcome: str, form: str | None) -> dict[str, Any]:
    message = f"{subtask}: {outcome}"
    return {"id": subtask, "outcome": outcome, "format": form, "message": message}


def _lines(*answers: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(answer) + "\n" for answer in answers).encode()
