"""Programs at the front of PATH during a run: a traced host, and agents that only wait.

Neither may distort the measurement. The host is the real one, in its own interpreter, with one line
around it that traces; a warm host executes that line in each child. The agents are a shell script,
because an interpreter of Python takes longer to start.
"""

import json
import os
import shlex
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spec_kitty_client.transports.launchers import HEAD, find
from tests.bench.bounds import AgentRun

__all__ = ["Call", "Stage"]

MUTATIONS = frozenset({"start-implementation", "start-review", "transition", "append-history"})
"""The verbs that move a work package or write about it."""

# Not at the exit, and no `finally`: the fork server once runs the script up to the host's parser,
# and leaves it with an exception. That is not a call, and its children must not inherit a trace of
# it.
_HOST = """\
#!{interpreter}
import json, os, sys, time
start = time.time()
def note(code):
    def option(name):
        for word, following in zip(argv, [*argv[1:], ""]):
            if word == name: return following
            if word.startswith(name + "="): return word[len(name) + 1:]
    verb = argv[1] if argv[:1] == ["orchestrator-api"] and argv[1:] else " ".join(argv[:1])
    line = dict(verb=verb, wp=option("--wp"), to=option("--to"), code=code,
                start=start, end=time.time(), pid=os.getpid())
    trace = os.open({trace!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(trace, json.dumps(line).encode() + b"\\n")
    os.close(trace)
if __name__ == "__main__":
    argv = sys.argv[1:]
    try:
        from {module} import {function}
        sys.exit({function}())
    except SystemExit as e:
        note(e.code or 0)
        raise
    except Exception:
        note(1)
        raise
"""

_AGENT = """\
#!/bin/sh
# Whoever does not say in the environment what it is started for is understood by its words.
at=$(date +%s.%N)
case "$1" in --version|-v|-V) echo 1.0.0; exit;; esac
wp=$SPEC_KITTY_WP role=$SPEC_KITTY_ROLE
if [ -z "$wp" ]; then
    wp=$(printf %s "$*" | grep -o 'WP[0-9][0-9]' | head -n 1)
    [ -n "$wp" ] || wp=$(grep -o 'WP[0-9][0-9]' | head -n 1)
fi
if [ -z "$role" ]; then
    last=$(cat {events} | grep '"wp_id": *"'"$wp"'"' | tail -n 1)
    case "$last" in
        *'"to_lane": "for_review"'*|*'"to_lane": "in_review"'*) role=review;;
        *) role=implement;;
    esac
fi
note() {{
    printf '{{"what": "%s", "wp": "%s", "role": "%s", "at": %s, "pid": %s}}\\n' \\
        "$1" "$wp" "$role" "$2" $$ >> {trace}
}}
note start "$at"
if [ "$role" = review ]; then
    sleep {review}
    text='{{\\"verdict\\": \\"approved\\", \\"summary\\": \\"good\\", \\"findings\\": []}}'
else
    sleep {implement}
    name=wp${{wp#WP}}
    mkdir -p "demo/$name"
    printf 'def status() -> str:\\n    return "%s"\\n' "$wp" > "demo/$name/$name.py"
    {commit}
    text="Wrote $wp."
fi
note end "$(date +%s.%N)"
"""
_LAST_WORDS = {
    "claude": """\
printf '%s\\n' '{"type":"result","subtype":"success","is_error":false,"result":"'"$text"'"}'
""",
    "codex": """\
printf '%s\\n' '{"type":"item.completed","item":{"id":"0","type":"agent_message",\
"text":"'"$text"'"}}' '{"type":"turn.completed","usage":{}}'
""",
}
_COMMIT = 'git add --all && git commit --quiet --message="$wp"'


@dataclass(frozen=True)
class Call:
    """A call of the host, from its trace."""

    verb: str
    wp: str | None
    to: str | None
    code: Any
    start: float
    end: float
    pid: int

    @property
    def name(self) -> str:
        """The newest name of the verb, with the lane if the call has one."""
        verb = self.verb.replace("feature", "mission")
        return f"{verb} to {self.to}" if self.to else verb


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A folder for the front of PATH, and the traces of its programs.

    Args:
        base: The folder for programs and traces.
        host: The real host.
        repository: The repository of the mission.
        implement: Seconds of an implementer.
        review: Seconds of a reviewer.
        commits: Whether implementers commit their work, for orchestrators that do not.
    """

    base: Path
    host: Path
    repository: Path
    implement: float
    review: float
    commits: bool = False

    def set(self) -> Path:
        """Write the programs and return their folder."""
        folder = self.base / "bin"
        folder.mkdir(parents=True)
        text = _HOST.format(**_behind(self.host), trace=str(self._host_trace))
        self._program(folder / "spec-kitty", text)
        agent = _AGENT.format(
            trace=shlex.quote(str(self._agent_trace)),
            events=f"{shlex.quote(str(self.repository / 'kitty-specs'))}/*/status.events.jsonl",
            implement=self.implement,
            review=self.review,
            commit=_COMMIT if self.commits else ":",
        )
        for name, last_words in _LAST_WORDS.items():
            self._program(folder / name, agent + last_words)
        return folder

    def _program(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    @property
    def _host_trace(self) -> Path:
        return self.base / "host.jsonl"

    @property
    def _agent_trace(self) -> Path:
        return self.base / "agents.jsonl"

    def calls(self) -> list[Call]:
        """Return the calls of the host, in the order in which they ended."""
        return [Call(**line) for line in _lines(self._host_trace)]

    def agents(self) -> list[AgentRun]:
        """Return the ended runs of agents."""
        started, ended = {}, []
        for line in _lines(self._agent_trace):
            if line["what"] == "start":
                started[line["pid"]] = line["at"]
            else:
                run = AgentRun(line["wp"], line["role"], started[line["pid"]], line["at"])
                ended.append(run)
        return ended

    def most_mutations(self) -> int:
        """Return the largest number of mutating calls of one work package."""
        return max(Counter(c.wp for c in self.calls() if c.verb in MUTATIONS).values(), default=0)


def _behind(host: Path) -> dict[str, str]:
    """Return the host's interpreter, and the function that its console script calls."""

    def head(path: str) -> bytes:
        with Path(path).open("rb") as file:
            return file.read(HEAD)

    launch = find((str(host),), head)
    ask = (
        "from importlib.metadata import entry_points as e; "
        f"print(*(p.value for p in e(group='console_scripts', name={host.name!r})))"
    )
    done = subprocess.run(
        [*launch.interpreter, "-c", ask], capture_output=True, text=True, check=True
    )
    module, _, function = done.stdout.strip().partition(":")
    return {"interpreter": " ".join(launch.interpreter), "module": module, "function": function}


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def in_front(folder: Path, path: str) -> str:
    """Return a PATH with one more folder."""
    return os.pathsep.join([str(folder), path])
