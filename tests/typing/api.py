"""How the public API looks to a type checker. Checked by mypy and pyright, never executed."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, assert_type

from spec_kitty_client import (
    POLICY_LANES,
    AcceptMission,
    AnyErrorCode,
    AnyLane,
    AppendHistory,
    AsyncClient,
    AsyncTransport,
    Client,
    Command,
    Completed,
    Contract,
    ContractVersion,
    Dialect,
    ErrorCode,
    Evidence,
    Failure,
    Family,
    HistoryAppended,
    HostContract,
    HostError,
    HostNotFound,
    HostRejected,
    HostTimeout,
    ImplementationStarted,
    InvalidCall,
    Lane,
    ListReady,
    MergeMission,
    MergeStrategy,
    Mission,
    MissionAccepted,
    MissionMerged,
    MissionState,
    Policy,
    PolicyError,
    PolicyProblem,
    ReadyList,
    ReadyWorkPackage,
    Reply,
    ResolveWorkspace,
    ReviewResult,
    ReviewStarted,
    ReviewVerdict,
    SpecKittyError,
    StartImplementation,
    StartReview,
    Transition,
    Transitioned,
    Transport,
    UnknownErrorCode,
    UnknownLane,
    UnsupportedHost,
    WorkPackage,
    Workspace,
)
from spec_kitty_client.transports.process import AsyncProcessTransport, ProcessTransport

policy = Policy(
    orchestrator_id="mine",
    orchestrator_version="1.0",
    agent_family="none",
    approval_mode="manual",
    sandbox_mode="workspace_write",
    network_mode="none",
)
review = ReviewResult(reviewer="rev", verdict=ReviewVerdict.APPROVED, reference="r1")


class MyTransport:
    """A transport is anything with the right method."""

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Do nothing."""
        return Completed(
            argv=tuple(args), exit_code=None, stdout=b"", stderr=b"", time_limit=time_limit
        )


class MyAsyncTransport:
    """The same for the async client."""

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Do nothing."""
        return MyTransport().run(args, time_limit=time_limit)


def clients() -> None:
    """Make clients: everything about them has a default."""
    transport: Transport = MyTransport()
    transport = ProcessTransport(repo=Path("repo"), executable="spec-kitty", home=Path("h"))
    waiting: AsyncTransport = MyAsyncTransport()
    waiting = AsyncProcessTransport(repo=Path("repo"), env={"LANG": "C"})

    Client()
    Client("repo")
    Client(Path("repo"), actor="ada", policy=policy, transport=transport, time_limit=60)
    AsyncClient(Path("repo"), actor="ada", policy=policy, transport=waiting, time_limit=1.5)


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


def calls(client: Client) -> None:
    """Leave out what the client fills in; a command knows its reply."""
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
    """Do the same with the async client."""
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
    """Look at a command before it is sent, and pass it on as any command."""
    some: Command[Reply] = command
    anything: Sequence[Command[Any]] = [some, ContractVersion()]

    assert_type(command.verb, str)
    assert_type(command.mutates, bool)
    assert_type(command.needs_policy, bool)
    assert_type(command.time_limit, float)
    assert_type(command.options(), tuple[str, ...])
    assert_type([c.since for c in anything], list[str])
    assert_type(Transition(mission="m", wp="WP01", to="done").to, AnyLane)
    assert_type(MergeMission(mission="m").strategy, MergeStrategy)
    assert_type(Dialect.M4.spell(command), tuple[str, ...])


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
    """Decide on what an error carries."""
    try:
        client.mission_state("m")
    except PolicyError as e:
        assert_type(e.problems, tuple[PolicyProblem, ...])
        assert_type(e.problems[0].word, str | None)
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
    except SpecKittyError as e:
        assert_type(e.args, tuple[Any, ...])


def policies() -> None:
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


def use(mission: Mission) -> None:
    """Do nothing with a mission."""


def mistakes(client: Client, waiting: AsyncClient) -> None:
    """Make mistakes that a type checker finds; a comment too many is an error as well."""
    client.mission_state(34)  # type: ignore[arg-type]
    client.transition("m", "WP01")  # type: ignore[call-arg]
    client.call("state")  # type: ignore[arg-type]
    MissionState("m")  # type: ignore[call-arg]
    StartReview(mission="m")  # type: ignore[call-arg]
    AsyncClient(transport=MyTransport())  # type: ignore[arg-type]
    policy.agent_family = "other"  # type: ignore[misc]
    use(waiting.mission_state("m"))  # type: ignore[arg-type]
