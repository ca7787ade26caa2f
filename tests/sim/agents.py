"""Agents that work in the repository in memory, and misbehave as real agents have."""

import json
from pathlib import Path
from random import Random

import anyio
from attrs import define, field, frozen

from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.runners import AgentProcessSpec, ExitRecord
from tests.sim.repository import ROOT, Checkout, Repository
from tests.virtual.agents import Agents

__all__ = ["Act", "Acts", "SimulatedAgents"]

IMPLEMENTERS = (
    "works",
    "commits",
    "branches",  # commits on a branch of its own that starts at the lane's branch
    "strays",  # commits on a branch of its own that starts before the lane's branch
    "detaches",  # commits on a detached HEAD
    "rewinds",  # moves the lane's branch back, then commits
    "unlinks",  # removes `.git`, and leaves its work uncommitted
    "replaces",  # makes a repository of its own in the place of the worktree's link
    "deletes",  # removes the worktree
    "nests",  # leaves its work in a repository of its own
    "conflicts",  # leaves a merge unfinished
    "plans",  # changes the files of the mission beside its work
    "idles",  # leaves nothing
    "fails",  # ends with exit code 1, its work uncommitted
    "hangs",  # does not end within its time limit
)
REVIEWERS = (
    "approves",
    *("refuses",) * 4,
    "babbles",  # gives no verdict
    "edits",  # leaves a file, and approves
    "merges",  # commits to the branch under review, and approves
    "wanders",  # approves, and leaves another branch checked out
    "unlinks",
    "deletes",
    "fails",
    "hangs",
)
GOOD: dict[Role, tuple[str, ...]] = {
    "implement": ("works", "commits", "branches", "detaches", "plans"),
    "review": ("approves", "edits", "wanders", "unlinks", "deletes"),
}
"""The behaviour that ends with a result, although not always in good order."""
_APPROVING = ("approves", "edits", "merges", "wanders", "unlinks", "deletes")


@frozen
class Act:
    """The behaviour of an agent in one run."""

    seconds: float
    does: str


@frozen
class Acts:
    """The behaviour of all agents of a mission, decided by a seed."""

    seed: int
    badness: float
    """The share of agents that may misbehave, from 0 to 1."""
    last: int
    """The number of the attempt from which on an agent has a result."""

    def __call__(self, wp: str, role: Role, number: int, *, well: bool) -> Act:
        random = Random(f"{self.seed} {wp} {number}")  # noqa: S311 - not for secrets
        seconds = random.lognormvariate(0, 0.6) * (300 if role == "implement" else 120)
        good, every = GOOD[role], IMPLEMENTERS if role == "implement" else REVIEWERS
        plain = well or number >= self.last or random.random() >= self.badness
        return Act(seconds, random.choice(good[:1] if well else good if plain else every))


@define
class _Process:
    mission: str
    wp: str
    role: Role
    number: int
    directory: Path
    worktree: Path
    act: Act
    started_at: float
    time_limit: float
    ended: ExitRecord | None = None

    @property
    def ends_at(self) -> float:
        """The time at which it ends by itself, in virtual seconds."""
        hangs = self.act.does == "hangs"
        return self.started_at + (self.time_limit if hangs else self.act.seconds)


@define
class SimulatedAgents(Agents):
    """A runner whose agents work in the repository in memory."""

    repository: Repository = field(kw_only=True)
    acts: Acts = field(kw_only=True)
    well: bool = False
    """Whether all agents behave well from now on."""
    made: set[str] = field(factory=set)
    """The files that agents have made and not removed themselves."""
    processes: list[_Process] = field(factory=list)

    def running(self) -> list[_Process]:
        """Return the live agents."""
        now = anyio.current_time()
        return [p for p in self.processes if p.ended is None and p.ends_at > now]

    def launch(self, process: AgentProcessSpec) -> None:
        """See `Runner.launch`."""
        role: Role = "review" if process.env["SPEC_KITTY_ROLE"] == "review" else "implement"
        wp, number = process.env["SPEC_KITTY_WP"], int(process.env["SPEC_KITTY_ATTEMPT"])
        act = self.acts(wp, role, number, well=self.well)
        now, limit = anyio.current_time(), process.time_limit
        self.processes.append(
            _Process(
                process.env["SPEC_KITTY_MISSION"],
                wp,
                role,
                number,
                process.directory,
                process.cwd,
                act,
                now,
                limit,
            )
        )
        self.starts += 1
        checkout = self.repository.checkout(process.cwd)
        if role == "implement" and checkout.exists:
            self._write(checkout, f"{wp}-{number}.py")  # what it has when it is stopped early

    async def wait(self, directory: Path) -> ExitRecord:
        """See `Runner.wait`."""
        process = self._process(directory)
        if process is None:
            await anyio.lowlevel.checkpoint()
            return ExitRecord(reason="lost")
        await anyio.sleep_until(process.ends_at)
        return process.ended or self._finish(process)

    async def stop(self, directory: Path) -> ExitRecord:
        """See `Runner.stop`."""
        await anyio.lowlevel.checkpoint()
        process = self._process(directory)
        if process is None:
            return ExitRecord(reason="lost")
        if process.ended is None and anyio.current_time() < process.ends_at:
            process.ended = ExitRecord(
                reason="stopped", started_at=process.started_at, ended_at=anyio.current_time()
            )
        return process.ended or self._finish(process)

    def finish_overdue(self) -> None:
        """Finish the agents whose time is over, also if no orchestrator waits for them."""
        now = anyio.current_time()
        for process in self.processes:
            if process.ended is None and process.ends_at <= now:
                self._finish(process)

    def tail(self, directory: Path, name: str = "output") -> str:
        """See `Runner.tail`."""
        process = self._process(directory)
        does = process.act.does if process and process.role == "review" else ""
        if does == "babbles":
            return "Looks good to me \ud800."
        if does not in (*_APPROVING, "refuses"):
            return ""
        finding = {"id": "F1", "severity": "blocking", "where": "work.py:1", "what": "not yet"}
        verdict = {
            "verdict": "changes_requested" if does == "refuses" else "approved",
            "summary": "seen \ud800",
            "findings": [finding] if does == "refuses" else [],
        }
        return json.dumps(verdict)

    def _process(self, directory: Path) -> _Process | None:
        return next((p for p in self.processes if p.directory == directory), None)

    def _finish(self, process: _Process) -> ExitRecord:
        does = process.act.does
        checkout = self.repository.checkout(process.worktree)
        if checkout.exists:
            if process.role == "implement":
                self._implement(process, checkout)
            else:
                self._review(process, checkout)
        process.ended = ExitRecord(
            reason="deadline" if does == "hangs" else "exited",
            exit_code=None if does == "hangs" else int(does == "fails"),
            started_at=process.started_at,
            ended_at=process.ends_at,
        )
        return process.ended

    def _write(self, checkout: Checkout, name: str) -> None:
        checkout.files.add(name)
        self.made.add(name)

    def _implement(self, process: _Process, checkout: Checkout) -> None:
        """End the work. The file is there already, and some agents leave it uncommitted."""
        file, does = f"{process.wp}-{process.number}.py", process.act.does
        checkout.conflicts.clear()  # every agent resolves what another one has left
        checkout.files |= {name.rstrip("/") for name in checkout.repositories}
        checkout.repositories.clear()
        if does in ("commits", "branches", "detaches", "strays", "rewinds"):
            self._commit(process, checkout, file)
        elif does in ("unlinks", "replaces"):
            checkout.linked, checkout.replaced = False, does == "replaces"
        elif does == "deletes":
            self._delete(checkout)
        elif does == "conflicts":
            checkout.conflicts.add(file)
        elif does == "plans":
            self._write(checkout, f"kitty-specs/{process.mission}/{file}")
        elif does in ("idles", "nests"):
            checkout.files.discard(file)
            self.made.discard(file)
            checkout.repositories |= {f"nested-{file}/"} if does == "nests" else set()

    def _commit(self, process: _Process, checkout: Checkout, file: str) -> None:
        """Commit on the branch that this behaviour chooses."""
        own = f"{process.wp}-own-{process.number}"
        match process.act.does:
            case "branches":
                self.repository.switch(checkout, own)
            case "strays":
                self.repository.switch(checkout, own, ROOT)
            case "detaches":
                self.repository.switch(checkout, None)
            case "rewinds":
                self._rewind(checkout, file)
            case _:
                pass
        self.repository.commit(checkout, process.ends_at)

    def _review(self, process: _Process, checkout: Checkout) -> None:
        repository, file = self.repository, f"{process.wp}-review-{process.number}.txt"
        match process.act.does:
            case "edits":
                self._write(checkout, file)
            case "merges":
                self._write(checkout, file)
                repository.commit(checkout, process.ends_at)
            case "wanders":
                repository.switch(checkout, f"{process.wp}-look-{process.number}", ROOT)
            case "unlinks":
                checkout.linked = False
            case "deletes":
                self._delete(checkout)
            case _:
                pass

    def _rewind(self, checkout: Checkout, file: str) -> None:
        """Move the branch back by a commit, as ``git reset --hard HEAD~`` does."""
        repository = self.repository
        parents = repository.commits[repository.head(checkout)].parents
        lost = repository.commits[repository.head(checkout)].files if parents else frozenset()
        target = parents[0] if parents else ROOT
        if checkout.branch:
            repository.branches[checkout.branch] = target
        else:
            checkout.detached = target
        kept = repository.commits[target].files
        self.made -= (checkout.files | lost) - kept - {file}
        checkout.files = {*kept, file}

    def _delete(self, checkout: Checkout) -> None:
        """Remove the worktree with what is not committed."""
        self.made -= self.repository.dirty(checkout)
        checkout.exists = False
        checkout.files, checkout.repositories = set(), set()
