"""The types of the public API. mypy and pyright check this file; it is never executed."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncIterator, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal, assert_type

from hypothesis.strategies import SearchStrategy
from packaging.version import Version

from spec_kitty_client import (
    POLICY_LANES,
    AcceptanceSeen,
    AcceptMission,
    AnyErrorCode,
    AnyLane,
    AppendHistory,
    ApprovalMode,
    AsyncClient,
    AsyncGitTransport,
    AsyncMissionHandle,
    AsyncTransport,
    AsyncWorkPackageHandle,
    CannotBeWarm,
    Client,
    Closeable,
    Command,
    Completed,
    Contract,
    ContractVersion,
    Dialect,
    ErrorCode,
    Evidence,
    Failure,
    Family,
    Feature,
    GitFailed,
    GitTransport,
    HasIdentity,
    HistoryAppended,
    HostCannotStart,
    HostContract,
    HostCrashed,
    HostError,
    HostNotFound,
    HostRejected,
    HostTimeout,
    ImplementationStarted,
    InvalidCall,
    Lane,
    LaneChanged,
    ListReady,
    MergeConflict,
    Merged,
    MergeDamaged,
    MergeMission,
    MergeStrategy,
    Mission,
    MissionAccepted,
    MissionEvent,
    MissionHandle,
    MissionMerged,
    MissionState,
    Moved,
    Need,
    NetworkMode,
    OriginFreshness,
    Policy,
    PolicyError,
    PolicyProblem,
    PolicyRule,
    ReadyList,
    ReadyWorkPackage,
    Reply,
    ResolveWorkspace,
    Retry,
    Review,
    ReviewResult,
    ReviewStarted,
    ReviewVerdict,
    SandboxMode,
    SpecKittyError,
    StartImplementation,
    StartReview,
    Transition,
    Transitioned,
    Transport,
    UnknownErrorCode,
    UnknownLane,
    UnsupportedByHost,
    UnsupportedHost,
    WorkPackage,
    WorkPackageAdded,
    WorkPackageHandle,
    Workspace,
    WouldLoseWork,
    allowed,
    lanes_of,
    needs,
    policy_problems,
)
from spec_kitty_client.testing import (
    AsyncFaultyTransport,
    AsyncRecording,
    AsyncReplay,
    AsyncSimulatedHost,
    AsyncSimulatedRepository,
    Fault,
    FaultyTransport,
    Happened,
    NotSimulated,
    Recording,
    Replay,
    SimulatedHost,
    SimulatedRepository,
    Tape,
    TapeDamaged,
    TapeMismatch,
    by_chance,
    ticking,
)
from spec_kitty_client.testing.differential import HostMachine, RealMission
from spec_kitty_client.testing.plugin import Faulty, PlannedMission
from spec_kitty_client.testing.strategies import (
    HostScript,
    Move,
    Printed,
    Shape,
    contracts,
    dialects,
    envelopes,
    host_scripts,
    invalid_policies,
    lanes,
    missions,
    policies,
    policy_json,
    replies,
    transitions,
)
from spec_kitty_client.transports.process import AsyncProcessTransport, ProcessTransport
from spec_kitty_client.transports.ssh import AsyncSshTransport
from spec_kitty_client.transports.warm import AsyncWarmTransport, WarmTransport

policy = Policy(
    orchestrator_id="mine",
    orchestrator_version="1.0",
    agent_family="none",
    approval_mode="manual",
    sandbox_mode="workspace_write",
    network_mode="none",
)
review = ReviewResult(reviewer="rev", verdict=ReviewVerdict.APPROVED, reference="r1")
judged = Review(reviewer="rev", reference="r1", feedback_path="notes.md")


class MyTransport:
    """A transport: any class with this method."""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Do nothing."""
        return Completed(
            argv=tuple(args), exit_code=None, stdout=b"", stderr=b"", time_limit=time_limit
        )


class MyGitTransport(MyTransport):
    """A transport with all optional methods of a cold transport."""

    def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Do nothing."""
        return self.run(args, time_limit=time_limit)

    def identity(self) -> Hashable:
        """Return the identity of a program."""
        return ("mine", 1)


class MyAsyncGitTransport:
    """An async transport."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Do nothing."""
        return MyTransport().run(args, time_limit=time_limit)

    async def git(
        self, args: Sequence[str], *, folder: str | None = None, time_limit: float
    ) -> Completed:
        """Do nothing."""
        return MyTransport().run(args, time_limit=time_limit)


class MyAsyncTransport:
    """An async transport."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Do nothing."""
        return MyTransport().run(args, time_limit=time_limit)


def clients() -> None:
    """Make clients; every argument has a default."""
    transport: Transport = MyTransport()
    transport = ProcessTransport(repo=Path("repo"), executable="spec-kitty", home=Path("h"))
    waiting: AsyncTransport = MyAsyncTransport()
    waiting = AsyncProcessTransport(repo=Path("repo"), env={"LANG": "C"})

    git: GitTransport = MyGitTransport()
    git = ProcessTransport()
    waiting_git: AsyncGitTransport = MyAsyncGitTransport()
    waiting_git = AsyncProcessTransport()
    known: HasIdentity = MyGitTransport()
    known = ProcessTransport()
    assert_type(hash(known.identity()), int)
    assert_type((git, waiting_git)[0].git(["status"], time_limit=1.0), Completed)
    retry = Retry(attempts=None, timeout=60.0, wait_initial=0.1, wait_max=1.0, wait_jitter=0.0)

    Client(retry=retry)
    AsyncClient(retry=Retry())
    Client()
    Client("repo")
    Client(actor="ada", policy=policy, transport=transport, time_limit=60)
    AsyncClient(actor="ada", policy=policy, transport=waiting, time_limit=1.5)
    Client(Path("repo"), time_limit=60)


async def kept_warm(client: Client, waiting: AsyncClient) -> None:
    """Keep a host warm, on this machine or on another one."""
    assert_type(client.prepare(), None)
    assert_type(waiting.prepare(), None)
    assert_type(client.close(), None)
    assert_type(await waiting.aclose(), None)
    with Client("repo", warm=False) as cold:
        assert_type(cold, Client)
    async with AsyncClient(warm=True) as warm:
        assert_type(warm, AsyncClient)
    transport = WarmTransport(ProcessTransport(), only=True)
    assert_type(transport.why_cold, str | None)
    assert_type(transport.cold, ProcessTransport)
    Client(transport=transport)
    AsyncClient(transport=AsyncWarmTransport(AsyncSshTransport("user@box")))
    kept: Closeable = transport
    kept.prepare()
    error: type[SpecKittyError] = CannotBeWarm
    assert error is CannotBeWarm


def verbs(client: Client) -> None:
    """Use each verb, a method with its own reply."""
    assert_type(client.contract, Contract | None)
    assert_type(client.negotiate(), Contract)
    assert_type(client.contract_version(), HostContract)
    assert_type(client.contract_version(provider_version="0.1.0"), HostContract)
    assert_type(client.mission_state("m"), Mission)
    assert_type(client.list_ready("m"), ReadyList)
    assert_type(client.resolve_workspace("m", "WP01"), Workspace)
    assert_type(client.start_implementation("m", "WP01"), ImplementationStarted)
    assert_type(client.start_review("m", "WP01", actor="rev", review_ref="r1"), ReviewStarted)
    assert_type(client.transition("m", "WP01", "for_review", policy=policy), Transitioned)
    assert_type(
        client.transition(
            "m",
            "WP01",
            Lane.APPROVED,
            note="fine",
            review_ref="r1",
            review_result=review,
            evidence=Evidence.of(review),
            force=False,
        ),
        Transitioned,
    )
    assert_type(client.append_history("m", "WP01", "a note"), HistoryAppended)
    assert_type(client.accept_mission("m", actor="ada"), MissionAccepted)
    assert_type(client.merge_mission("m", target="work", strategy="squash"), MissionMerged)
    assert_type(client.merge_mission("m", strategy=MergeStrategy.REBASE, push=True), MissionMerged)


async def async_verbs(client: AsyncClient) -> None:
    """Use the same verbs of the async client, to be awaited."""
    assert_type(client.contract, Contract | None)
    assert_type(await client.negotiate(), Contract)
    assert_type(await client.contract_version(), HostContract)
    assert_type(await client.mission_state("m"), Mission)
    assert_type(await client.list_ready("m"), ReadyList)
    assert_type(await client.resolve_workspace("m", "WP01"), Workspace)
    assert_type(await client.start_implementation("m", "WP01"), ImplementationStarted)
    assert_type(await client.start_review("m", "WP01", policy=policy), ReviewStarted)
    assert_type(await client.transition("m", "WP01", Lane.BLOCKED, note="why"), Transitioned)
    assert_type(await client.append_history("m", "WP01", "a note"), HistoryAppended)
    assert_type(await client.accept_mission("m"), MissionAccepted)
    assert_type(await client.merge_mission("m", strategy="merge"), MissionMerged)


def workflow(client: Client) -> None:
    """Use the verbs that are the same on every host."""
    assert_type(client.mission("m").work_package("WP01").claim(), ImplementationStarted)
    assert_type(client.mission("m").work_package("WP01").claim(actor="ada"), ImplementationStarted)
    assert_type(client.mission("m").work_package("WP01").locate(), Workspace)
    assert_type(
        client.mission("m").work_package("WP01").submit_for_review(actor="ada", note="n"), Moved
    )
    assert_type(
        client.mission("m").work_package("WP01").begin_review(actor="rev", lane=Lane.FOR_REVIEW),
        Moved,
    )
    assert_type(
        client.mission("m").work_package("WP01").approve(judged, actor="rev", note="n"), Moved
    )
    assert_type(
        client.mission("m").work_package("WP01").request_changes(judged, lane=Lane.APPROVED), Moved
    )
    assert_type(
        client.mission("m").work_package("WP01").finish(judged, lane=UnknownLane("parked")), Moved
    )
    assert_type(client.mission("m").work_package("WP01").block("why"), Moved)
    assert_type(
        client.mission("m").work_package("WP01").block("why", review=judged, lane=Lane.PLANNED),
        Moved,
    )
    assert_type(client.mission("m").accept(actor="ada"), MissionAccepted)
    assert_type(client.mission("m").merge(), Merged)
    assert_type(client.mission("m").merge(target="work", strategy="squash", push=True), Merged)
    assert_type(client.mission("m").watch(), Iterator[MissionEvent])
    for event in client.mission("m").watch(interval=5):
        assert_type(event, WorkPackageAdded | LaneChanged | AcceptanceSeen)
        match event:
            case WorkPackageAdded(wp_id=wp, lane=lane):
                assert_type((wp, lane), tuple[str, AnyLane])
            case LaneChanged(before=before, actor=actor):
                assert_type((before, actor), tuple[AnyLane, str | None])
            case AcceptanceSeen(mission_slug=slug):
                assert_type(slug, str)


async def async_workflow(client: AsyncClient) -> None:
    """Use them with the async client."""
    assert_type(await client.mission("m").work_package("WP01").claim(), ImplementationStarted)
    assert_type(await client.mission("m").work_package("WP01").locate(), Workspace)
    assert_type(await client.mission("m").work_package("WP01").submit_for_review(), Moved)
    assert_type(await client.mission("m").work_package("WP01").begin_review(), Moved)
    assert_type(await client.mission("m").work_package("WP01").approve(judged), Moved)
    assert_type(await client.mission("m").work_package("WP01").request_changes(judged), Moved)
    assert_type(await client.mission("m").work_package("WP01").finish(judged), Moved)
    assert_type(await client.mission("m").work_package("WP01").block("why"), Moved)
    assert_type(await client.mission("m").accept(), MissionAccepted)
    assert_type(await client.mission("m").merge(strategy=MergeStrategy.SQUASH), Merged)
    assert_type(client.mission("m").watch(), AsyncIterator[MissionEvent])
    async for event in client.mission("m").watch(interval=5):
        assert_type(event, WorkPackageAdded | LaneChanged | AcceptanceSeen)


def moved(moved: Moved, merged: Merged) -> None:
    """Read the result of a workflow verb."""
    assert_type(moved.wp_id, str)
    assert_type(moved.lane, AnyLane)
    assert_type(moved.changed, bool)
    assert_type((merged.target, merged.before, merged.after), tuple[str, str, str])
    assert_type(merged.changed, bool)


def handles(client: Client) -> None:
    """Go from a client to a mission, and from there to its work packages."""
    mission = client.mission("034-pay")
    assert_type(mission, MissionHandle)
    assert_type(mission.name, str)
    assert_type(mission.state(), Mission)
    assert_type(mission.ready(), tuple[ReadyWorkPackage, ...])
    done = mission.wait_until(lambda state: not state.work_packages, timeout=60, interval=1)
    assert_type(done, Mission)
    for wp in mission:
        assert_type(wp, WorkPackageHandle)
        assert_type(wp.mission, MissionHandle)
        assert_type(wp.lane(), Lane | UnknownLane)
        assert_type(wp.append_history("note"), HistoryAppended)
    mission.work_package(mission.ready()[0]).claim()
    mission.work_package(mission.state().work_packages[0]).locate()


async def waiting_handles(client: AsyncClient) -> None:
    """Do the same without blocking an event loop."""
    mission = client.mission("034-pay")
    assert_type(mission, AsyncMissionHandle)
    assert_type(await mission.state(), Mission)
    assert_type(await mission.ready(), tuple[ReadyWorkPackage, ...])
    async for wp in mission:
        assert_type(wp, AsyncWorkPackageHandle)
        assert_type(await wp.lane(), Lane | UnknownLane)


def hosts(contract: Contract) -> None:
    """Read the features and allowed moves of a host."""
    assert_type(contract.version, Version)
    assert_type(contract.release, Version)
    assert_type(contract.dialect, Dialect)
    assert_type(contract.supports(ResolveWorkspace), bool)
    assert_type(contract.supports(ResolveWorkspace(mission="m", wp="WP01")), bool)
    assert_type(contract.supports(Feature.WORKTREES), bool)
    assert_type(Feature.WORKTREES.since, Version)
    assert_type(Dialect.M1.has(Feature.WORKTREES), bool)
    assert_type(Dialect.M1.first_release, Version)
    assert_type(lanes_of(Dialect.F1), frozenset[Lane])
    assert_type(allowed(Lane.PLANNED, UnknownLane("parked"), contract.dialect), bool)
    assert_type(needs(Lane.IN_REVIEW, Lane.DONE, contract.dialect), frozenset[Need])


def calls(client: Client) -> None:
    """Call commands without actor and policy; the type of the reply follows from the command."""
    assert_type(client.call(ContractVersion()), HostContract)
    assert_type(client.call(MissionState(mission="m")), Mission)
    assert_type(client.call(ListReady(mission="m")), ReadyList)
    assert_type(client.call(ResolveWorkspace(mission="m", wp="WP01")), Workspace)
    assert_type(client.call(StartImplementation(mission="m", wp="WP01")), ImplementationStarted)
    assert_type(client.call(StartReview(mission="m", wp="WP01")), ReviewStarted)
    assert_type(client.call(Transition(mission="m", wp="WP01", to="done")), Transitioned)
    assert_type(client.call(Transition(mission="m", wp="WP01", to=Lane.DONE)), Transitioned)
    assert_type(client.call(AppendHistory(mission="m", wp="WP01", note="n")), HistoryAppended)
    assert_type(client.call(AcceptMission(mission="m", actor="ada")), MissionAccepted)
    assert_type(client.call(MergeMission(mission="m", strategy="squash")), MissionMerged)


async def async_calls(client: AsyncClient) -> None:
    """Call commands with the async client."""
    assert_type(await client.call(ContractVersion()), HostContract)
    assert_type(await client.call(MissionState(mission="m")), Mission)
    assert_type(await client.call(ListReady(mission="m")), ReadyList)
    assert_type(await client.call(ResolveWorkspace(mission="m", wp="WP01")), Workspace)
    assert_type(
        await client.call(StartImplementation(mission="m", wp="WP01")), ImplementationStarted
    )
    assert_type(await client.call(StartReview(mission="m", wp="WP01")), ReviewStarted)
    assert_type(await client.call(Transition(mission="m", wp="WP01", to="done")), Transitioned)
    assert_type(await client.call(AppendHistory(mission="m", wp="W", note="n")), HistoryAppended)
    assert_type(await client.call(AcceptMission(mission="m")), MissionAccepted)
    assert_type(await client.call(MergeMission(mission="m")), MissionMerged)


def values(command: Command[Mission]) -> None:
    """Read a command's fields, and pass it on as any command."""
    some: Command[Reply] = command
    anything: Sequence[Command[Any]] = [some, ContractVersion()]

    assert_type(command.verb, str)
    assert_type(command.mutates, bool)
    assert_type(command.needs_policy, bool)
    assert_type(command.time_limit, float)
    assert_type(command.spelled(), tuple[str, ...])
    assert_type([c.since for c in anything], list[str])
    assert_type(Transition(mission="m", wp="WP01", to="done").to, AnyLane)
    assert_type(MergeMission(mission="m").strategy, MergeStrategy)


def read(mission: Mission, ready: ReadyList, started: ImplementationStarted) -> None:
    """Read replies, which are typed down to their items."""
    assert_type(mission.mission_slug, str)
    assert_type(mission.mission_number, int | str | None)
    assert_type(mission.summary, Mapping[str, int])
    assert_type(mission.work_packages, tuple[WorkPackage, ...])
    assert_type(mission.lanes(), dict[str, AnyLane])
    assert_type(mission.extra, Mapping[str, Any])
    assert_type(ready.ready_work_packages, tuple[ReadyWorkPackage, ...])
    assert_type(ready.ready_work_packages[0].dependencies_satisfied, bool)
    assert_type(started.lane_branch, str | None)
    assert_type(started.no_op, bool)
    for wp in mission.work_packages:
        assert_type(wp.dependencies, tuple[str, ...])
        assert_type(wp.last_actor, str | None)
        assert_type(wp.lane, Lane | UnknownLane)
        if wp.lane is Lane.IN_REVIEW and wp.lane in POLICY_LANES:
            assert_type(wp.lane, Literal[Lane.IN_REVIEW])


def errors(client: Client) -> None:
    """Decide on the fields of an error."""
    try:
        client.mission_state("m")
    except PolicyError as e:
        assert_type(e.problems, tuple[PolicyProblem, ...])
        assert_type(e.problems[0].word, str | None)
        assert_type(e.problems[0].rule, PolicyRule)
        assert_type(e.problems[0].path, str)
        assert_type(e.problems[0].releases, str)
        assert_type(e.exceptions[0], PolicyProblem | ExceptionGroup[PolicyProblem])
    except InvalidCall as e:
        assert_type(e.__cause__, BaseException | None)
    except (HostNotFound, UnsupportedHost) as e:
        assert_type(e, HostNotFound | UnsupportedHost)
    except HostTimeout as e:
        assert_type(e.retryable, bool)
    except HostRejected as e:
        assert_type(e.code, AnyErrorCode | None)
        if e.code is not None:
            assert_type(e.code.family, Family)
            assert_type(e.code, ErrorCode | UnknownErrorCode)
    except HostError as e:
        assert_type(e.outcome, Literal["not_applied", "unknown"])
        assert_type(e.next_step, str)
        assert_type(e.failure, Failure)
        assert_type(e.failure.data, Mapping[str, Any])
        assert_type(e.failure.argv, tuple[str, ...])
        assert_type(e.failure.exit_code, int | None)
        assert_type(e.failure.correlation_id, str | None)
        assert_type(e.failure.preflight_error_code, AnyErrorCode | None)
        assert_type(e.failure.preflight_error_codes, tuple[AnyErrorCode, ...])
        assert_type(e.failure.teardown_error_code, AnyErrorCode | None)
        assert_type(e.failure.origin_freshness, tuple[OriginFreshness, ...])
    except SpecKittyError as e:
        assert_type(e.args, tuple[Any, ...])


def errors_of_workflows(client: Client) -> None:
    """Decide on the errors that only workflow verbs raise."""
    try:
        assert_type(client.mission("m").merge_obstacles(), tuple[str, ...])
        client.mission("m").merge()
    except UnsupportedByHost as e:
        assert_type((e.what, e.since, e.release), tuple[str, str, str])
    except WouldLoseWork as e:
        assert_type(e.paths, tuple[str, ...])
    except MergeConflict as e:
        assert_type(e.branches, tuple[str, str])
        assert_type((e.files, e.commands), tuple[tuple[str, ...], tuple[str, ...]])
        assert_type(e.failure.unchanged, bool)
    except MergeDamaged as e:
        assert_type((e.target, e.before), tuple[str, str])
        assert_type(e.paths, tuple[str, ...])
    except GitFailed as e:
        assert_type(e.args, tuple[Any, ...])
    except HostCannotStart as e:
        assert_type(e.outcome, Literal["not_applied", "unknown"])
    except HostCrashed as e:
        assert_type(e.failure.stderr, str)


def making_policies() -> None:
    """Get a policy from code, an object, a text or a file."""
    assert_type(Policy.from_dict({}), Policy)
    assert_type(Policy.from_json("{}"), Policy)
    assert_type(Policy.from_file("policy.json"), Policy)
    assert_type(Policy.from_file(Path("policy.json")), Policy)
    assert_type(policy.to_json(), str)
    assert_type(policy.to_dict(), dict[str, Any])
    assert_type(policy.dangerous_flags, tuple[str, ...])
    assert_type(policy.extra, Mapping[str, Any])
    assert_type(Policy.REQUIRED, tuple[str, ...])
    assert_type(policy.approval_mode, ApprovalMode | str)
    assert_type(policy.sandbox_mode, SandboxMode | str)
    assert_type(policy.network_mode, NetworkMode | str)
    assert_type(policy.evolve(agent_family="claude"), Policy)
    assert_type(Policy.for_contract("{}", Contract(Version("1.0.0"), Version("3.1.10"))), Policy)
    assert_type(policy_problems("{}", Version("3.1.10")), tuple[PolicyProblem, ...])
    assert_type(policy_problems({}), tuple[PolicyProblem, ...])
    assert_type(PolicyRule.SECRET.since, Version | None)
    assert_type(PolicyRule.SECRET.applies_to(None), bool)
    assert_type(policies(), SearchStrategy[Policy])
    assert_type(policy_json(), SearchStrategy[str])
    assert_type(invalid_policies(), SearchStrategy[tuple[Any, PolicyRule]])


def use(mission: Mission) -> None:
    """Do nothing with a mission."""


def mistakes(client: Client, waiting: AsyncClient) -> None:
    """Make errors that a type checker finds; an unneeded ignore comment is an error as well."""
    client.mission_state(34)  # type: ignore[arg-type]
    client.transition("m", "WP01")  # type: ignore[call-arg]
    client.call("state")  # type: ignore[arg-type]
    MissionState("m")  # type: ignore[call-arg]
    StartReview(mission="m")  # type: ignore[call-arg]
    AsyncClient(transport=MyTransport())  # type: ignore[arg-type]
    policy.agent_family = "other"  # type: ignore[misc]
    use(waiting.mission_state("m"))  # type: ignore[arg-type]
    WarmTransport(AsyncProcessTransport())  # type: ignore[type-var]
    client.mission("m").work_package("WP01").approve(review)  # type: ignore[arg-type]
    client.mission("m").work_package("WP01").block()  # type: ignore[call-arg]
    client.mission("m").merge(force=True)  # type: ignore[call-arg]
    Review("rev")  # type: ignore[call-arg]
    waiting.close()  # type: ignore[attr-defined]
    Retry(3)  # type: ignore[call-arg]


def simulated() -> None:
    """Use a simulated host in place of a real one."""
    host = SimulatedHost({"WP01": []}, release="3.2.7", slug="m", now=ticking())
    repository = SimulatedRepository({"WP01": []}, folder=Path("repo"))
    transport: Transport = host
    git: GitTransport = repository
    waiting: AsyncTransport = AsyncSimulatedHost(host)
    waiting_git: AsyncGitTransport = AsyncSimulatedRepository(repository)
    Client(transport=transport)
    Client(transport=repository)
    AsyncClient(transport=waiting)
    AsyncClient(transport=AsyncSimulatedRepository(repository))
    assert_type((git, waiting_git)[0].git(["status"], time_limit=1.0), Completed)
    assert_type(host.lanes(), dict[str, str])
    assert_type(repository.folder, Path)
    error: type[SpecKittyError] = NotSimulated
    assert error is NotSimulated


def faults(host: SimulatedHost, faulty: Faulty, mission: PlannedMission, random: Random) -> None:
    """Inject faults into calls, by a script or at random."""
    script = {"transition": [None, Fault.TIMEOUT_AFTER]}
    transport: Transport = FaultyTransport(host, script, sleep=lambda seconds: None)
    transport = FaultyTransport(host, by_chance(random, 0.2, faults=[Fault.LOST_AFTER]))
    waiting: AsyncTransport = AsyncFaultyTransport(AsyncSimulatedHost(host), script)
    AsyncClient(transport=waiting)
    assert_type(transport.happened, list[Happened])
    assert_type(transport.happened[0].fault, Fault)
    assert_type(faulty(script), FaultyTransport)
    assert_type(faulty.by_chance(seed=7, rate=0.2), FaultyTransport)
    assert_type(mission.slug, str)
    assert_type(mission.plan, Mapping[str, tuple[str, ...]])


def tapes(host: SimulatedHost) -> None:
    """Record a host, and play it back."""
    tape = Tape("tape.jsonl", root=Path("repo"), known={"mission": "m"})
    assert_type(tape.record(host, overwrite=True), Recording)
    assert_type(tape.record_async(AsyncSimulatedHost(host)), AsyncRecording)
    assert_type(tape.replay(strict=False), Replay)
    assert_type(tape.replay_async(), AsyncReplay)
    with tape.replay() as replay:
        Client(transport=replay)
    damaged: type[SpecKittyError] = TapeDamaged
    differs: type[AssertionError] = TapeMismatch
    assert (damaged, differs) == (TapeDamaged, TapeMismatch)


def drawn(contract: Contract) -> None:
    """Draw values for property tests."""
    assert_type(dialects(), SearchStrategy[Dialect])
    assert_type(contracts(Dialect.M4), SearchStrategy[Contract])
    assert_type(lanes(Dialect.M4), SearchStrategy[Lane])
    assert_type(transitions(allowed=False), SearchStrategy[Move])
    assert_type(missions(shape=Shape.CHAIN), SearchStrategy[dict[str, list[str]]])
    assert_type(envelopes(), SearchStrategy[Printed])
    assert_type(host_scripts(contract, max_calls=5), SearchStrategy[HostScript])
    assert_type(replies(MissionState(mission="m")), SearchStrategy[Completed])


class MyHost(HostMachine):
    """Compare a real host with the simulated one."""

    release = "3.2.7"
    plan: ClassVar = {"WP01": list[str]()}

    def begin(self) -> RealMission:
        """Make a mission."""
        return RealMission(transport=MyGitTransport(), slug="m", root="/m", target="work")
