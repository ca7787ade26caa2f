"""A simulated host of any release, with every verb except the design verbs."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from threading import RLock
from typing import Any

import anyio.lowlevel
import anyio.to_thread
from attrs import define, field
from packaging.version import InvalidVersion, Version

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.policy.rules import policy_problems
from spec_kitty_client.testing.host import admission, verbs
from spec_kitty_client.testing.host.answers import (
    Answers,
    Crashed,
    Misused,
    Refused,
    completed,
    traceback,
)
from spec_kitty_client.testing.host.arguments import Asked, Help, NotSimulated, understand
from spec_kitty_client.testing.host.board import Mission, Plan
from spec_kitty_client.testing.host.marking import COMMAND, Marking
from spec_kitty_client.testing.host.releases import Release
from spec_kitty_client.testing.host.repository import Repository
from spec_kitty_client.testing.host.workspace import InMemoryWorkspace, WorkspaceBackend
from spec_kitty_client.transports import Completed

__all__ = [
    "AsyncSimulatedHost",
    "AsyncSimulatedRepository",
    "SimulatedHost",
    "SimulatedRepository",
    "ticking",
]

NEWEST = "3.2.7"
ULID = "01K00001ABCDEFGHJKMNPQRSTV"
_OLDEST_PROVIDER = Version("0.1.0")
_BANNER = "spec-kitty\n" * 28


def ticking(
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC), step: timedelta = timedelta(seconds=1)
) -> Callable[[], datetime]:
    """Return a clock that advances by one step with each reading.

    Args:
        start: The first time.
        step: The time between two readings.
    """
    ticks = count()
    return lambda: start + next(ticks) * step


def counting() -> Callable[[], str]:
    """Return a function that counts: ids of 32 hexadecimal digits, 1, 2, 3 and so on."""
    numbers = count(1)
    return lambda: f"{next(numbers):032x}"


def _release(name: str | Release) -> Release:
    return name if isinstance(name, Release) else Release(name)


@define
class SimulatedHost:
    """A host of one release in memory, as a `Transport`.

    It answers every lifecycle verb as that release does: lanes, rules, policies, claims,
    dependencies, error codes, exit codes and all fields of replies. It uses no files, no real
    clock and no random numbers. It is safe to use from several threads.

    It also answers ``agent tasks mark-status``, the only command that marks subtasks done.

    Args:
        plan: The work packages of its mission, each with the ids of its dependencies or with a
            `PackagePlan`; None: no mission.
        release: The release of ``spec-kitty-cli`` to simulate, 1.0.0 or later.
        slug: Slug of the mission; None: a slug as that release makes it.
        target: The branch on which the mission is planned, and into which it is merged.
        merge_target: The branch in ``meta.json`` to merge into instead; hosts before 3.2.2
            ignore it.
        topology: ``lanes``; from 3.2.5 on also ``coord`` or ``lanes_with_coord``, with a
            coordination branch, and up to 3.2.7 ``single_branch``.
        headed: Whether the subtasks in ``tasks.md`` have a heading of their own, as in the
            host's template. Hosts 3.1.1 to 3.2.5 then see no open subtask.
        now: The clock; by default it advances by one second per reading.
        new_id: Makes ids of 32 hexadecimal digits; by default they count.

    Raises:
        InvalidCall: If the plan is invalid: an unknown dependency, a cycle, a repeated subtask.
        NotSimulated: If the real release has this topology, but the simulated one has not.
        UnsupportedHost: If there is no such release, or it has no orchestrator-api.
    """

    plan: Plan | None = field(factory=lambda: {"WP01": []})
    release: Release = field(default=Release(NEWEST), converter=_release, kw_only=True)
    slug: str | None = field(default=None, kw_only=True)
    target: str = field(default="work", kw_only=True)
    merge_target: str | None = field(default=None, kw_only=True)
    topology: str = field(default="lanes", kw_only=True)
    headed: bool = field(default=False, kw_only=True)
    now: Callable[[], datetime] = field(factory=ticking, kw_only=True, repr=False)
    new_id: Callable[[], str] = field(factory=counting, kw_only=True, repr=False)
    workspace: WorkspaceBackend = field(init=False, repr=False)
    """The branches and worktrees; see `WorkspaceBackend`."""
    missions: dict[str, Mission] = field(factory=dict, init=False, repr=False)
    """The missions and their state, by slug."""
    calls: list[Asked] = field(factory=list, init=False, repr=False)
    """All calls with valid arguments, in order."""
    _turn: Any = field(factory=RLock, init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self.workspace = self._make_workspace()
        if self.plan is not None:
            self.slug = self.add_mission(self.plan, slug=self.slug).slug

    def add_mission(self, plan: Plan, *, slug: str | None = None, ulid: str = ULID) -> Mission:
        """Add a mission and return it.

        Args:
            plan: The work packages; see `SimulatedHost`.
            slug: Slug of the mission; None: a slug as this release makes it.
            ulid: Id of the mission.

        Raises:
            InvalidCall: If the plan is invalid.
            NotSimulated: If this release's behaviour under the topology is not simulated.
        """
        _check_topology(self.topology, self.release)
        name = slug or ("demo-01K00001" if self.release.since("3.1.1") else "001-demo")
        mission = Mission.of(
            self.release,
            plan,
            slug=name,
            ulid=ulid,
            target=self.target,
            merge_target=self.merge_target,
            topology=self.topology,
            headed=self.headed,
        )
        self.missions[name] = mission
        return mission

    def _make_workspace(self) -> WorkspaceBackend:
        return InMemoryWorkspace(self.release)

    @property
    def mission(self) -> Mission:
        """The first mission."""
        return next(iter(self.missions.values()))

    def lanes(self) -> dict[str, str]:
        """Return the lane of each work package of the first mission, without a host call."""
        return {wp: package.lane for wp, package in self.mission.packages.items()}

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer a call of ``spec-kitty`` with these arguments; see `Transport.run`.

        Raises:
            NotSimulated: If the real host's behaviour in this case is not simulated.
        """
        with self._turn:
            exit_code, stdout, stderr = self._answer_any(args)
        return completed(args, exit_code, stdout, stderr, time_limit)

    def _answer_any(self, args: Sequence[str]) -> tuple[int, bytes, bytes]:
        if list(args) == ["--version"]:
            return 0, self._version(), b""
        if tuple(args[: len(COMMAND)]) == COMMAND:
            marking = Marking(self.release, self.missions, self.workspace)
            return marking.answer(args[len(COMMAND) :])
        return self._answer(args)

    def _answer(self, args: Sequence[str]) -> tuple[int, bytes, bytes]:
        answers = Answers(self.release, self.now, self.new_id)
        try:
            asked = understand(args, self.release)
        except Help:
            return 0, b"Usage: spec-kitty orchestrator-api [OPTIONS] COMMAND [ARGS]...\n", b""
        except Misused as e:
            return 2, *answers.misuse(str(e))
        self.calls.append(asked)
        try:
            mission, data = self._effect(asked)
        except Refused as e:
            return 1, answers.refusal(asked.name, e), b""
        except Crashed as e:
            return 1, b"", traceback(e)
        return 0, answers.success(asked.name, data, mission), b""

    def _version(self) -> bytes:
        banner = "" if self.release.since("3.2.6") else _BANNER
        return f"{banner}spec-kitty-cli version {self.release.name}\n".encode()

    def _effect(self, asked: Asked) -> tuple[Mission | None, Mapping[str, Any]]:
        if asked.verb == "contract-version":
            return None, _contract_version(self.release, asked.options)
        release, options = self.release, asked.options
        admission.check_lane(options, release)
        admission.check_policy(asked.verb, options, release, self._problem)
        admission.check_json(options)
        mission = admission.find(self.missions, options["mission"], release)
        request = verbs.Request(
            release=release,
            mission=mission,
            workspace=self.workspace,
            options=options,
            now=self.now,
            new_id=self.new_id,
        )
        if "wp" in options and options["wp"] not in mission.packages:
            msg = f"there is no work package {options['wp']!r} in {mission.slug}"
            raise Refused(ErrorCode.WP_NOT_FOUND, msg)
        events = len(mission.moves)
        data = verbs.VERBS[asked.verb](request)
        if len(mission.moves) > events:
            self.workspace.moved(mission)
        return mission, data

    def _problem(self, policy: str) -> str | None:
        problems = policy_problems(policy, self.release.version)
        return str(problems[0]) if problems else None


def _check_topology(topology: str, release: Release) -> None:
    if topology == "lanes":
        return
    if topology not in ("coord", "lanes_with_coord", "single_branch"):
        msg = f"there is no topology {topology!r}"
        raise InvalidCall(msg)
    alike = topology != "single_branch" or not release.since("4.0.0rc1")
    if not alike or not release.since("3.2.5"):
        msg = f"the topology {topology} of host {release.name} is not simulated"
        raise NotSimulated(msg)


def _contract_version(release: Release, options: Mapping[str, str]) -> Mapping[str, Any]:
    if "require-capability" in options:
        msg = "--require-capability is not simulated"
        raise NotSimulated(msg)
    about = {
        "min_supported_provider_version": str(_OLDEST_PROVIDER),
        "api_version": str(release.contract.version),
    }
    if (given := options.get("provider-version")) is None:
        return about
    code = ErrorCode.CONTRACT_VERSION_MISMATCH
    try:
        too_old = Version(given) < _OLDEST_PROVIDER
    except InvalidVersion as e:
        raise Refused(code, f"{given!r} is no version", {"provider_version": given}) from e
    if too_old:
        raise Refused(code, f"{given} is too old", {"provider_version": given, **about})
    return about


@define
class SimulatedRepository(SimulatedHost):
    """A `SimulatedHost` with a real git repository, as a `GitTransport`.

    It makes branches, worktrees and merges as its release does, so that a whole orchestrator
    can run on it. Existing files in the folder stay.

    Args:
        plan: The work packages of its mission; see `SimulatedHost`.
        folder: The primary checkout; a repository is made if there is none.

    The other arguments are those of `SimulatedHost`.

    Raises:
        GitFailed: If git fails, or the folder has this mission already.
    """

    folder: Path = field(kw_only=True, converter=Path)
    _repository: Repository = field(init=False, repr=False)

    def _make_workspace(self) -> WorkspaceBackend:
        self._repository = Repository(self.release, self.folder.absolute())
        return self._repository

    def add_mission(self, plan: Plan, *, slug: str | None = None, ulid: str = ULID) -> Mission:
        """Add a mission, and commit its files; see `SimulatedHost.add_mission`."""
        mission = super().add_mission(plan, slug=slug, ulid=ulid)
        self._repository.prepare(mission)
        return mission

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `GitTransport.git`."""
        return self._repository.git(args, folder=folder, time_limit=time_limit)


@define
class AsyncSimulatedHost:
    """A `SimulatedHost` as an `AsyncTransport`.

    Args:
        host: The simulated host.
    """

    host: SimulatedHost

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `SimulatedHost.run`; other tasks run first."""
        await anyio.lowlevel.checkpoint()
        return self.host.run(args, time_limit=time_limit)


@define
class AsyncSimulatedRepository:
    """A `SimulatedRepository` as an `AsyncGitTransport`; it runs in worker threads.

    Args:
        host: The simulated host.
    """

    host: SimulatedRepository

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """See `SimulatedHost.run`."""
        call = partial(self.host.run, args, time_limit=time_limit)
        return await anyio.to_thread.run_sync(call)

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """See `AsyncGitTransport.git`."""
        call = partial(self.host.git, args, folder=folder, time_limit=time_limit)
        return await anyio.to_thread.run_sync(call)
