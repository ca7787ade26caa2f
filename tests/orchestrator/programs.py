"""A ``spec-kitty`` on PATH that gives prepared answers and records its calls."""

import json
import sys
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.orchestrator.hosts import SLUG

_BODY = """\
import json, sys, time
from pathlib import Path
here = Path(__file__).parent
verb = sys.argv[1] if sys.argv[1] == "--version" else sys.argv[2]
with (here / "calls").open("a") as file:
    file.write(verb + "\\n")
answer = json.loads((here / "answers.json").read_text())[verb]
time.sleep(answer["sleep"])
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""


@define
class Program:
    """The program and its answers."""

    folder: Path
    version: str = "1.5.0"
    release: str = "3.2.7"
    answers: dict[str, dict[str, Any]] = field(factory=dict)

    def install(self) -> None:
        """Write the program, with answers about a mission of two work packages."""
        path = self.folder / "spec-kitty"
        path.write_text(f"#!{sys.executable} -IS\n{_BODY}")
        path.chmod(0o755)
        self.answers = {}
        about = {"mission_slug": SLUG, "mission_number": None, "mission_type": "software-dev"}
        packages = [
            {"wp_id": "WP01", "lane": "done", "dependencies": [], "last_actor": "ada"},
            {"wp_id": "WP02", "lane": "planned", "dependencies": ["WP01"], "last_actor": None},
        ]
        summary = {"done": 1, "planned": 1}
        self.says(
            "contract-version", {"api_version": self.version, "min_supported_provider_version": "0"}
        )
        self.says("mission-state", {**about, "summary": summary, "work_packages": packages})
        self.prints(f"spec-kitty-cli version {self.release}\n", verbs=("--version",))

    def says(self, verb: str, data: dict[str, Any], code: str | None = None) -> None:
        """Give an answer to a verb from now on."""
        answer = {
            "contract_version": self.version,
            "command": f"orchestrator-api.{verb}",
            "timestamp": "2026-11-21T00:00:00+00:00",
            "correlation_id": "corr-1",
            "success": code is None,
            "error_code": code,
            "data": data,
        }
        self.prints(json.dumps(answer) + "\n", code=int(code is not None), verbs=(verb,))

    def prints(
        self,
        out: str = "",
        *,
        err: str = "",
        code: int = 0,
        sleep: float = 0,
        verbs: tuple[str, ...] = (),
    ) -> None:
        """Print a text instead of an answer, for some verbs or for all."""
        for verb in verbs or self.answers:
            self.answers[verb] = {"out": out, "err": err, "code": code, "sleep": sleep}
        (self.folder / "answers.json").write_text(json.dumps(self.answers))

    @property
    def calls(self) -> list[str]:
        """Return the verbs of the calls, in order."""
        file = self.folder / "calls"
        return file.read_text().split() if file.exists() else []
