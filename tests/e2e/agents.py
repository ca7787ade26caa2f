"""A stand-in for ``claude`` and ``codex``: it prints as they do, and follows a configuration.

    agents.py CONFIG NAME ARGV...

CONFIG is JSON: ``trace`` (a file that gets a line at each start and end), ``seconds`` by role,
``gather`` by role (wait until so many have been started), ``reject_first`` (work packages
whose first review asks for changes), ``huge_mb`` (printed before the last words), ``child``
(start a process that ignores SIGTERM in a session of its own).
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def note(config: dict, what: str, **more: object) -> None:
    entry = {"at": time.time(), "what": what, "pid": os.getpid(), **more}
    with Path(config["trace"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def rounds_of(config: dict, what: str, **about: str) -> int:
    """Count the runs in the trace."""
    lines = Path(config["trace"]).read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return sum(e["what"] == what and about.items() <= e.items() for e in entries)


def gather(config: dict, role: str) -> None:
    """Wait until a number of agents of this role have been started."""
    end = time.monotonic() + 300
    while rounds_of(config, "start", role=role) < config.get("gather", {}).get(role, 0):
        if time.monotonic() > end:
            sys.exit("the others did not come")
        time.sleep(0.1)


def verdict(config: dict, wp: str, role: str) -> str:
    if wp in config.get("reject_first", []) and rounds_of(config, "end", wp=wp, role=role) == 0:
        finding = {"id": "F1", "severity": "blocking", "where": "x:1", "what": "say it better"}
        said = {"verdict": "changes_requested", "summary": "not yet", "findings": [finding]}
    else:
        said = {"verdict": "approved", "summary": "good", "findings": []}
    return "I have looked.\n" + json.dumps(said)


def say(name: str, text: str) -> None:
    if name == "claude":
        print(
            json.dumps({"type": "result", "subtype": "success", "is_error": False, "result": text})
        )
    else:
        item = {"id": "item_0", "type": "agent_message", "text": text}
        print(json.dumps({"type": "item.completed", "item": item}))
        print(json.dumps({"type": "turn.completed", "usage": {}}))


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    name, wp, role = sys.argv[2], os.environ["SPEC_KITTY_WP"], os.environ["SPEC_KITTY_ROLE"]
    prompt = sys.stdin.read()
    about = {"wp": wp, "role": role, "name": name}
    note(config, "start", **about, argv=sys.argv[3:], asked="asked for changes" in prompt)
    if config.get("child"):
        child = subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=True)
        note(config, "child", child=child.pid)
    time.sleep(config.get("seconds", {}).get(role, 0))
    gather(config, role)
    for _ in range(config.get("huge_mb", 0)):
        sys.stdout.write(("x" * 1023 + "\n") * 1024)
    if role == "implement":
        path = Path("demo", wp.lower(), f"{wp.lower()}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"ROUND = {rounds_of(config, 'end', wp=wp, role=role)}\n", encoding="utf-8")
    text = verdict(config, wp, role) if role == "review" else f"Wrote {wp}."
    note(config, "end", **about)
    say(name, text)


if __name__ == "__main__":
    main()
