"""A run on a host in memory, with agents that are small scripts."""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import Any, TypeVar

import anyio
from attrs import define, field

from spec_kitty_client import AsyncClient, Retry
from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.loop import Loop
from spec_kitty_orchestrator.mission import MissionClient
from spec_kitty_orchestrator.preflight.plan import default_policy
from spec_kitty_orchestrator.scheduling.board import Board
from spec_kitty_orchestrator.scheduling.priority import learn_durations
from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.state.events import Event
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.history import History, WorkPackageHistory, recall
from spec_kitty_orchestrator.state.journal import Journal, read
from spec_kitty_orchestrator.state.recollection import recollect, repair
from tests.orchestrator.hosts import NEWEST, SLUG, WatchedHost

E = TypeVar("E", bound=Event)
_HEAD = """\
import json, os, subprocess, sys, time
from pathlib import Path
prompt = sys.stdin.read()
wp, role = os.environ["SPEC_KITTY_WP"], os.environ["SPEC_KITTY_ROLE"]
number = int(os.environ["SPEC_KITTY_ATTEMPT"])
def git(*args):
    return subprocess.run(["git", *args], check=True, capture_output=True, text=True).stdout
def verdict(word, **more):
    print(json.dumps({"verdict": word, "summary": "seen", "findings": [], **more}))
"""
WRITES = "Path(f'{wp}.py').write_text(f'# attempt {number}\\n')\nprint('done')\n"
"""An implementer that always changes something."""
IDLE = "print('there is nothing to do')\n"
APPROVES = "verdict('approved')\n"
REFUSES = (
    "verdict('changes_requested', summary='not yet', findings=[{'id': 'F1', "
    "'severity': 'blocking', 'where': 'a.py:1', 'what': 'the docstring is missing'}])\n"
)
REFUSES_ONCE = "if number > 2:\n    verdict('approved')\nelse:\n    " + REFUSES
"""A reviewer that asks for changes at the first attempt that it sees."""


def script(path: Path, body: str) -> str:
    """Write an agent and return its name."""
    path.write_text(_HEAD + body)
    return "script:" + shlex.join([sys.executable, "-I", "-S", str(path)])


@define
class World:
    """One repository with a host, and runs of the orchestrator on it."""

    root: Path
    host: WatchedHost
    implementer: str
    reviewer: str
    owned: dict[str, tuple[str, ...]] = field(factory=dict)

    @property
    def files(self) -> StateFiles:
        return StateFiles(self.root)

    def start(self, **settings: Any) -> Run:
        """Return a run with the state of the journal, as a new process would make it."""
        self.files.make()
        made = Settings(
            mission=SLUG,
            repo_root=self.root,
            impl_agent=self.implementer,
            review_agent=self.reviewer,
            **settings,
        )
        implementer, reviewer = agents.find(made.impl_agent), agents.find(made.review_agent)
        policy = default_policy(implementer)
        client = AsyncClient(actor=made.actor, policy=policy, transport=self.host, retry=Retry())
        earlier = recollect(self.files)
        repair(earlier)
        history = earlier.histories().get(SLUG) or History(mission=SLUG)
        durations = learn_durations(earlier.events)
        listeners = [history.apply, durations.apply]
        return Run(
            settings=made,
            policy=policy,
            host=MissionClient(client, SLUG),
            journal=Journal(
                self.files.journal,
                mission=SLUG,
                run="test",
                copy=self.files.copy(SLUG),
                listeners=listeners,
            ),
            history=history,
            durations=durations,
            logs=self.files.logs / SLUG,
            agents={"implement": implementer, "review": reviewer},
            lanes=self.host.shared_lanes(),
            owned=self.owned,
        )

    def work(self, *, backend: str = "asyncio", **settings: Any) -> Board:
        """Run the loop to its end."""
        run = self.start(**settings)

        async def main() -> Board:
            loop = await begin(run)
            with anyio.fail_after(60):
                await loop.work()
            return loop.board

        with contextlib.closing(run.journal):
            return anyio.run(main, backend=backend)

    def events(self, kind: type[E], wp: str | None = None) -> list[E]:
        """Return the events of a kind, of one work package or of all."""
        found = [event for event in read(self.files.journal) if isinstance(event, kind)]
        return [event for event in found if wp is None or getattr(event, "wp", None) == wp]

    def history(self, wp: str = "WP01") -> WorkPackageHistory:
        """Return the state of a work package, computed from the journal."""
        return recall(read(self.files.journal))[SLUG].work_package(wp)

    def write(self, *events: Event) -> None:
        """Write the events of an earlier run."""
        self.files.make()
        journal = Journal(self.files.journal, mission=SLUG, run="earlier")
        journal.write_all(events)
        journal.close()

    def log(self, number: int, role: str, wp: str = "WP01") -> Path:
        """Return the folder of an attempt."""
        return self.files.logs / SLUG / wp / f"{number:02d}-{role}"

    def prompt(self, number: int, role: str, wp: str = "WP01") -> str:
        """Return the prompt of an attempt."""
        return (self.log(number, role, wp) / "prompt.md").read_text()


async def begin(run: Run) -> Loop:
    """Return the loop of a run before its start."""
    return Loop(run, await run.host.state())


def world(
    root: Path,
    packages: dict[str, list[str]] | None = None,
    *,
    implement: str = WRITES,
    review: str = APPROVES,
    release: str = NEWEST,
    lane_ids: dict[str, str] | None = None,
) -> World:
    """Return a function that makes a world with scripted agents, on any release of the host."""
    return World(
        root=root,
        host=WatchedHost(root, packages, release=release, lane_ids=lane_ids),
        implementer=script(root.parent / "implement.py", implement),
        reviewer=script(root.parent / "review.py", review),
    )
