"""Tests of `spec_kitty_client.client`."""

import contextlib
import inspect
import re
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from packaging.version import Version

from spec_kitty_client.aio.client import AsyncClient
from spec_kitty_client.aio.design_client import AsyncDesignClient
from spec_kitty_client.aio.mission import AsyncMissionHandle, AsyncWorkPackageHandle
from spec_kitty_client.api import commands, replies
from spec_kitty_client.api.commands import OriginCheck
from spec_kitty_client.client import Client
from spec_kitty_client.contract import Contract, UntestedHostWarning
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.design_client import DesignClient
from spec_kitty_client.errors import (
    Conflict,
    EnvironmentProblem,
    HostRejected,
    HostTimeout,
    InvalidCall,
    UnsupportedByHost,
    UnsupportedHost,
)
from spec_kitty_client.mission import MissionHandle, WorkPackageHandle
from spec_kitty_client.policy import Policy
from spec_kitty_client.transports import Completed
from spec_kitty_client.transports.process import AsyncProcessTransport, ProcessTransport
from spec_kitty_client.transports.warm import AsyncWarmTransport, WarmTransport
from tests.client.answers import (
    POLICY,
    AsyncScripted,
    Scripted,
    completed,
    envelope,
    line,
    refusal,
    success,
)

HELLO = success("contract-version")
CONTRACT = Contract(Version("1.5.0"), Version("3.2.7"))
OTHER = Policy.from_dict({**POLICY.to_dict(), "agent_family": "other"})
BOTH = [f"--policy={POLICY.to_json()}", "--mission=m", "--wp=WP01", "--actor=ada"]
VERBS: list[tuple[str, dict[str, Any], type[replies.Reply], list[str]]] = [
    ("contract_version", {}, replies.HostContract, []),
    (
        "contract_version",
        {"provider_version": "0.1.0"},
        replies.HostContract,
        ["--provider-version=0.1.0"],
    ),
    ("mission_state", {"mission": "m"}, replies.Mission, ["--mission=m"]),
    ("list_ready", {"mission": "m"}, replies.ReadyList, ["--mission=m"]),
    (
        "resolve_workspace",
        {"mission": "m", "wp": "WP01"},
        replies.Workspace,
        ["--mission=m", "--wp=WP01"],
    ),
    (
        "start_implementation",
        {"mission": "m", "wp": "WP01"},
        replies.ImplementationStarted,
        BOTH,
    ),
    (
        "start_review",
        {"mission": "m", "wp": "WP01", "review_ref": "r1"},
        replies.ReviewStarted,
        [*BOTH, "--review-ref=r1"],
    ),
    (
        "transition",
        {"mission": "m", "wp": "WP01", "to": "for_review", "note": "n", "force": True},
        replies.Transitioned,
        [*BOTH, "--to=for_review", "--note=n", "--force"],
    ),
    (
        "append_history",
        {"mission": "m", "wp": "WP01", "note": "n"},
        replies.HistoryAppended,
        ["--mission=m", "--wp=WP01", "--note=n", "--actor=ada"],
    ),
    (
        "accept_mission",
        {"mission": "m"},
        replies.MissionAccepted,
        ["--mission=m", "--actor=ada"],
    ),
    (
        "merge_mission",
        {"mission": "m", "target": "work", "strategy": "rebase", "push": True},
        replies.MissionMerged,
        ["--mission=m", "--target=work", "--strategy=rebase", "--push"],
    ),
]
every_verb = pytest.mark.parametrize(("name", "given", "reply", "options"), VERBS)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each async test on both event loops."""
    return str(request.param)


PAIRS = [
    (Client, AsyncClient),
    (MissionHandle, AsyncMissionHandle),
    (WorkPackageHandle, AsyncWorkPackageHandle),
    (DesignClient, AsyncDesignClient),
]
both = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
WAITS_FOR_NOTHING = {"contract", "design", "mission", "prepare", "work_package", "__init__"}


def public(client: type) -> dict[str, inspect.Signature]:
    """Return the signatures of the methods and properties that a class offers."""
    named = {n: m for n, m in vars(client).items() if not n.startswith("_") or n == "__init__"}
    plain = {n: getattr(m, "fget", getattr(m, "func", m)) for n, m in named.items()}
    return {n.replace("aclose", "close"): inspect.signature(m) for n, m in plain.items()}


def plain(signature: inspect.Signature) -> str:
    """Return a signature without the prefixes of async names."""
    names = "Transport|Iterator|Driver|MissionHandle|WorkPackageHandle|DesignClient"
    return re.sub(rf"\bAsync(?={names})|aio\.", "", str(signature))


@both
def test_both_clients_have_the_same_signatures(pair: tuple[type, type]) -> None:
    """The sync and the async class have the same methods, arguments and replies."""
    one, other = map(public, pair)

    assert list(one) == list(other)
    assert {n: plain(s) for n, s in one.items()} == {n: plain(s) for n, s in other.items()}


@both
def test_both_clients_differ_in_how_they_wait(pair: tuple[type, type]) -> None:
    """Methods that call the host are plain in the sync class and awaited in the async one."""
    one, other = pair
    names = [n for n in public(one) if n not in WAITS_FOR_NOTHING and n != "close"]

    assert names
    for name in names:
        waits = inspect.isasyncgenfunction if name == "watch" else inspect.iscoroutinefunction
        assert not waits(getattr(one, name))
        assert waits(getattr(other, name)), name


@both
def test_every_method_explains_every_argument(pair: tuple[type, type]) -> None:
    """Each docstring explains every argument, and is the same in both classes."""
    for name, signature in public(pair[0]).items():
        if name == "__init__":
            continue
        texts = [inspect.getdoc(getattr(c, name, None) or getattr(c, "aclose", None)) for c in pair]
        assert texts[0]
        assert texts[1]
        for argument in list(signature.parameters)[1:]:
            assert f"    {argument}: " in texts[0], (name, argument)
        assert texts[0] == re.sub(r"`Async(?=[A-Z])", "`", texts[1])


def test_every_verb_has_its_method() -> None:
    """The ten verbs are methods with the options of their commands as arguments."""
    by_name = {v[0].replace("_", "-"): getattr(Client, v[0]) for v in VERBS}
    classes = [c for c in vars(commands).values() if hasattr(c, "verb")]

    assert {c.verb for c in classes} == set(by_name)
    for command in classes:
        given = set(inspect.signature(by_name[command.verb]).parameters) - {"self"}
        assert given == set(inspect.signature(command).parameters)


@every_verb
def test_every_verb_is_sent_and_parsed(
    name: str, given: dict[str, Any], reply: type, options: list[str]
) -> None:
    """A method sends its verb with exactly these options and returns its reply."""
    verb = name.replace("_", "-")
    host = Scripted(HELLO, success(verb))
    client = Client(actor="ada", policy=POLICY, transport=host)
    client.negotiate()

    assert type(getattr(client, name)(**given)) is reply
    group, sent, *rest = host.calls[1][0]
    assert (group, sent, set(rest)) == ("orchestrator-api", verb, set(options))
    assert len(rest) == len(options)


@pytest.mark.anyio
@every_verb
async def test_every_verb_is_sent_and_parsed_async(
    name: str, given: dict[str, Any], reply: type, options: list[str]
) -> None:
    """The async client sends the same and returns the same."""
    verb = name.replace("_", "-")
    host = AsyncScripted(HELLO, success(verb))
    client = AsyncClient(actor="ada", policy=POLICY, transport=host)
    await client.negotiate()

    assert type(await getattr(client, name)(**given)) is reply
    group, sent, *rest = host.calls[1][0]
    assert (group, sent, set(rest)) == ("orchestrator-api", verb, set(options))
    assert len(rest) == len(options)


def test_the_contract_is_asked_for_once() -> None:
    """The client asks for the contract before its first mutation, and not again."""
    host = Scripted(HELLO, success("accept-mission"), success("merge-mission"))
    client = Client(actor="ada", transport=host)
    assert client.contract is None

    client.accept_mission("m")
    client.merge_mission("m")

    assert host.verbs == ["contract-version", "accept-mission", "merge-mission"]
    assert client.contract == client.negotiate() == CONTRACT


@pytest.mark.anyio
async def test_the_contract_is_asked_for_once_async() -> None:
    """The client asks for the contract before its first mutation, and not again."""
    host = AsyncScripted(HELLO, success("accept-mission"), success("merge-mission"))
    client = AsyncClient(actor="ada", transport=host)
    assert client.contract is None

    await client.accept_mission("m")
    await client.merge_mission("m")

    assert host.verbs == ["contract-version", "accept-mission", "merge-mission"]
    assert client.contract == await client.negotiate() == CONTRACT


@pytest.mark.parametrize("answer", [success("mission-state"), refusal("mission-state", "X")])
def test_a_read_needs_no_negotiation(answer: Completed) -> None:
    """The client learns the contract from the answer to a read, without a call for it."""
    host = Scripted(answer, success("merge-mission"))
    client = Client(transport=host)
    with contextlib.suppress(HostRejected):
        client.mission_state("m")

    assert client.contract == CONTRACT
    client.merge_mission("m")
    assert host.verbs == ["mission-state", "merge-mission"]


@pytest.mark.anyio
async def test_a_read_needs_no_negotiation_async() -> None:
    """The client learns the contract from the answer to a read, without a call for it."""
    host = AsyncScripted(success("mission-state"))
    client = AsyncClient(transport=host)
    await client.mission_state("m")

    assert client.contract == await client.negotiate() == CONTRACT
    assert host.verbs == ["mission-state"]


def test_asking_for_the_contract_needs_no_negotiation() -> None:
    """`contract_version` is sent once, and the client keeps the contract of its answer."""
    host = Scripted(HELLO)
    client = Client(transport=host)

    assert client.contract_version().api_version == "1.5.0"
    assert client.contract == client.negotiate() == CONTRACT
    assert host.verbs == ["contract-version"]


class Slow:
    """A host that takes a moment for every answer, and records its calls."""

    def __init__(self) -> None:
        """Start without any calls."""
        self.verbs: list[str] = []
        self.ready = threading.Barrier(4)

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer after a while, from any number of threads."""
        assert time_limit > 0
        self.verbs.append(args[1])
        threading.Event().wait(0.05)
        return success(args[1])


def test_threads_negotiate_once() -> None:
    """Four threads that share a new client ask for the contract once."""
    host = Slow()
    client = Client(transport=host)
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            host.ready.wait(10)
            client.merge_mission("m")
        except BaseException as e:  # noqa: BLE001
            failures.append(e)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert not failures
    assert sorted(host.verbs) == ["contract-version", *["merge-mission"] * 4]


class Patient:
    """A host that lets other tasks run before it answers."""

    def __init__(self) -> None:
        """Start without any calls."""
        self.verbs: list[str] = []

    async def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        """Answer after a few turns of the event loop."""
        assert time_limit > 0
        self.verbs.append(args[1])
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        return success(args[1])


@pytest.mark.anyio
async def test_tasks_negotiate_once() -> None:
    """Four tasks that share a new client ask for the contract once."""
    host = Patient()
    client = AsyncClient(transport=host)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(client.merge_mission, "m")

    assert host.verbs == ["contract-version", *["merge-mission"] * 4]


def test_an_async_client_can_be_made_outside_of_an_event_loop() -> None:
    """An AsyncClient can be made before an event loop runs."""
    client = AsyncClient(transport=AsyncScripted(HELLO, success("merge-mission")))

    assert anyio.run(client.merge_mission, "m").merged


def test_actor_and_policy_are_filled_in() -> None:
    """The client adds its own actor and policy to a call."""
    host = Scripted(HELLO, success("start-implementation"))
    Client(actor="ada", policy=POLICY, transport=host).start_implementation("m", "WP01")

    assert {"--actor=ada", f"--policy={POLICY.to_json()}"} < set(host.calls[1][0])


def test_actor_and_policy_of_the_call_go_first() -> None:
    """An actor and a policy given in a call replace the client's, for this call only."""
    host = Scripted(HELLO, success("start-review"))
    client = Client(actor="ada", policy=POLICY, transport=host)
    client.start_review("m", "WP01", actor="rev", policy=OTHER)

    assert {"--actor=rev", f"--policy={OTHER.to_json()}"} < set(host.calls[1][0])
    assert (client._driver.core.actor, client._driver.core.policy) == ("ada", POLICY)


@pytest.mark.parametrize("lane", Lane)
def test_a_policy_is_sent_only_where_it_is_needed(lane: Lane) -> None:
    """The client adds its policy only where a lane needs one, because hosts check any policy."""
    host = Scripted(HELLO, success("transition"))
    client = Client(actor="ada", policy=POLICY, transport=host)
    client.transition("m", "WP01", lane)

    sent = any(arg.startswith("--policy=") for arg in host.calls[1][0])
    assert sent is commands.Transition(mission="m", wp="WP01", to=lane).needs_policy


def test_a_policy_that_is_given_is_sent() -> None:
    """A policy that is given in a call is sent, also where the lane needs none."""
    host = Scripted(HELLO, success("transition"))
    Client(actor="ada", transport=host).transition("m", "WP01", "blocked", policy=POLICY)

    assert f"--policy={POLICY.to_json()}" in host.calls[1][0]


WITHOUT = [
    ("start_implementation", {"wp": "WP01"}, {"policy": POLICY}, "actor"),
    ("start_implementation", {"wp": "WP01"}, {"actor": "ada"}, "policy"),
    ("start_review", {"wp": "WP01"}, {"policy": POLICY}, "actor"),
    ("start_review", {"wp": "WP01"}, {"actor": "ada"}, "policy"),
    ("transition", {"wp": "WP01", "to": "done"}, {"policy": POLICY}, "actor"),
    ("transition", {"wp": "WP01", "to": "approved"}, {"actor": "ada"}, "policy"),
    ("append_history", {"wp": "WP01", "note": "n"}, {}, "actor"),
    ("accept_mission", {}, {}, "actor"),
]
incomplete = pytest.mark.parametrize(("name", "given", "own", "missing"), WITHOUT)


@incomplete
def test_what_is_missing_is_told_before_anything_is_sent(
    name: str, given: dict[str, Any], own: dict[str, Any], missing: str
) -> None:
    """The SDK refuses a call without a needed actor or policy before it sends anything."""
    host = Scripted(HELLO)
    client = Client(transport=host, **own)
    client.negotiate()

    with pytest.raises(InvalidCall, match=f"{missing}=: pass it to this call or to the client"):
        getattr(client, name)("m", **given)
    assert host.verbs == ["contract-version"]


@incomplete
def test_an_invalid_first_call_does_not_start_a_host(
    name: str, given: dict[str, Any], own: dict[str, Any], missing: str
) -> None:
    """The SDK refuses an invalid first call before it negotiates."""
    host = Scripted(HELLO)

    with pytest.raises(InvalidCall, match=missing):
        getattr(Client(transport=host, **own), name)("m", **given)
    assert host.verbs == []


@pytest.mark.anyio
@incomplete
async def test_what_is_missing_is_told_before_anything_is_sent_async(
    name: str, given: dict[str, Any], own: dict[str, Any], missing: str
) -> None:
    """The async client refuses a call without a needed actor or policy as well."""
    host = AsyncScripted(HELLO)
    client = AsyncClient(transport=host, **own)
    await client.negotiate()

    with pytest.raises(InvalidCall, match=f"{missing}=: pass it to this call or to the client"):
        await getattr(client, name)("m", **given)
    assert host.verbs == ["contract-version"]


def test_reads_need_neither_actor_nor_policy() -> None:
    """Reads and merge-mission work without an actor and a policy."""
    host = Scripted(success("mission-state"), success("merge-mission"))
    client = Client(transport=host)

    assert client.mission_state("m").work_packages
    assert client.merge_mission("m").merged


def test_every_verb_has_its_own_time_limit() -> None:
    """The client gives a merge a longer time limit than a read."""
    host = Scripted(success("mission-state"), success("merge-mission"))
    client = Client(transport=host)
    client.mission_state("m")
    client.merge_mission("m")

    assert [limit for _, limit in host.calls] == [120.0, 900.0]


def test_the_time_limit_of_the_client_is_for_all_calls() -> None:
    """The client's `time_limit` replaces the default of every verb."""
    host = Scripted(HELLO, success("merge-mission"))
    Client(transport=host, time_limit=7.5).merge_mission("m")

    assert [limit for _, limit in host.calls] == [7.5, 7.5]


def test_an_upgraded_host_is_noticed() -> None:
    """The client takes an upgraded host's contract from its next envelope, without a call."""
    host = Scripted(
        success("contract-version", version="1.4.0"), success("mission-state", version="1.5.0")
    )
    client = Client(transport=host)
    client.negotiate()
    before = client.contract
    client.mission_state("m")

    assert before == Contract(Version("1.4.0"), Version("3.2.6"))
    assert client.contract == CONTRACT
    assert host.verbs == ["contract-version", "mission-state"]


@pytest.mark.anyio
async def test_an_upgraded_host_is_noticed_async() -> None:
    """The async client takes an upgraded host's contract from its next envelope, too."""
    host = AsyncScripted(
        success("contract-version", version="1.4.0"), success("mission-state", version="1.5.0")
    )
    client = AsyncClient(transport=host)
    await client.negotiate()
    await client.mission_state("m")

    assert client.contract == CONTRACT
    assert host.verbs == ["contract-version", "mission-state"]


def test_a_host_that_is_too_old_is_refused() -> None:
    """The client sends no mutation to a host with a contract before 1.0."""
    old = {"api_version": "0.9.0", "min_supported_provider_version": "0.1.0"}
    host = Scripted(success("contract-version", old, version="0.9.0"))
    client = Client(transport=host)

    with pytest.raises(UnsupportedHost, match=r"contract 0\.9\.0"):
        client.merge_mission("m")
    assert host.verbs == ["contract-version"]
    assert client.contract is None


@pytest.mark.parametrize("code", [None, "MISSION_NOT_FOUND"])
def test_a_host_that_is_too_old_is_refused_after_a_read(code: str | None) -> None:
    """A read that a too old host answers raises UnsupportedHost, whatever the answer."""
    answer = completed(line("mission-state", code=code, version="0.9.0"), exit_code=bool(code))

    with pytest.raises(UnsupportedHost, match=r"contract 0\.9\.0"):
        Client(transport=Scripted(answer)).mission_state("m")


def test_a_host_that_was_replaced_by_an_old_one_is_refused() -> None:
    """The client refuses a host that was downgraded between two calls."""
    client = Client(transport=Scripted(HELLO, success("mission-state", version="0.9.0")))
    client.negotiate()

    with pytest.raises(UnsupportedHost):
        client.mission_state("m")


def test_a_new_host_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client warns once about an untested contract, not with every call."""
    monkeypatch.delenv("SPEC_KITTY_CLIENT_NO_VERSION_WARNING", raising=False)
    state = success("mission-state", version="1.17.0")
    client = Client(transport=Scripted(state, state))

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        client.mission_state("m")
        client.mission_state("m")

    assert [w.category for w in seen] == [UntestedHostWarning]
    assert client.contract == Contract(Version("1.17.0"), Version("4.0.0rc7"))


def test_a_refused_negotiation_can_be_tried_again() -> None:
    """After a failed negotiation the next call negotiates again."""
    host = Scripted(completed(exit_code=None), HELLO, success("merge-mission"))
    client = Client(transport=host)

    with pytest.raises(HostTimeout, match="contract-version"):
        client.merge_mission("m")
    assert client.merge_mission("m").merged


def test_a_host_that_wants_a_newer_provider_says_so() -> None:
    """A host that refuses the provider's version raises an error that says how to upgrade."""
    host = Scripted(refusal("contract-version", "CONTRACT_VERSION_MISMATCH"))

    with pytest.raises(EnvironmentProblem, match="Upgrade the SDK: pip install -U"):
        Client(transport=host).contract_version(provider_version="0.0.1")


def test_a_refusal_is_raised() -> None:
    """The client raises the error of a refused call, and makes the next call."""
    host = Scripted(
        HELLO, refusal("start-implementation", "WP_ALREADY_CLAIMED"), success("mission-state")
    )
    client = Client(actor="ada", policy=POLICY, transport=host)

    with pytest.raises(Conflict):
        client.start_implementation("m", "WP01")
    assert client.mission_state("m").mission_slug == "pay-01ABCDEF"


@pytest.mark.anyio
async def test_a_refusal_is_raised_async() -> None:
    """The async client raises the error of a refused call."""
    host = AsyncScripted(refusal("mission-state", "WP_ON_FIRE"))

    with pytest.raises(HostRejected):
        await AsyncClient(transport=host).mission_state("m")


def test_a_call_and_its_method_are_the_same() -> None:
    """A client's method and `call` with its command send the same."""
    host = Scripted(HELLO, success("append-history"), success("append-history"))
    client = Client(actor="ada", transport=host)

    by_method = client.append_history("m", "WP01", "n")
    by_value = client.call(commands.AppendHistory(mission="m", wp="WP01", note="n"))

    assert by_method == by_value
    assert host.calls[1] == host.calls[2]


@pytest.mark.parametrize("check", list(OriginCheck))
@pytest.mark.parametrize("verb", ["accept-mission", "merge-mission"])
def test_an_origin_check_is_passed_on(verb: str, check: OriginCheck) -> None:
    """The client sends --origin-check to hosts that have it, and refuses it for older ones."""
    name = {"merge-mission": "consolidate-mission"}.get(verb, verb)
    hello = {"api_version": "1.16.0", "min_supported_provider_version": "0.1.0"}
    new = Scripted(
        success("contract-version", hello, version="1.16.0"),
        success(name, envelope(verb)["data"], version="1.16.0"),
    )
    old = Scripted(HELLO)
    method = verb.replace("-", "_")

    getattr(Client(actor="ada", transport=new), method)("m", origin_check=str(check))
    assert f"--origin-check={check}" in new.calls[1][0]
    with pytest.raises(UnsupportedByHost, match="--origin-check"):
        getattr(Client(actor="ada", transport=old), method)("m", origin_check=check)


def test_a_command_is_not_changed_by_a_call() -> None:
    """A client does not change the command that it is given."""
    command = commands.AcceptMission(mission="m")
    host = Scripted(HELLO, success("accept-mission"))
    Client(actor="ada", transport=host).call(command)

    assert command == commands.AcceptMission(mission="m")


@pytest.mark.parametrize(("warm", "only"), [("auto", False), (True, True)])
def test_the_usual_host_is_kept_warm(tmp_path: Path, warm: Any, only: bool) -> None:
    """Without a transport the client keeps the host warm, in the folder that was given."""
    one = Client(tmp_path, warm=warm)._driver.transport
    other = AsyncClient(str(tmp_path), warm=warm)._driver.transport

    assert isinstance(one, WarmTransport)
    assert isinstance(other, AsyncWarmTransport)
    assert (one.cold, one.only) == (ProcessTransport(repo=tmp_path), only)
    assert (other.cold, other.only) == (AsyncProcessTransport(repo=tmp_path), only)


def test_who_wants_it_gets_a_process_for_every_call(tmp_path: Path) -> None:
    """With `warm=False` the client starts a process for every call."""
    assert Client(tmp_path, warm=False)._driver.transport == ProcessTransport(repo=tmp_path)
    assert AsyncClient(tmp_path, warm=False)._driver.transport == AsyncProcessTransport(
        repo=tmp_path
    )


def test_a_transport_that_is_given_is_not_made_warm_by_a_flag(tmp_path: Path) -> None:
    """The client refuses `warm=True` with a transport, and says how to make that warm."""
    with pytest.raises(InvalidCall, match=r"WarmTransport\(transport\)"):
        Client(transport=ProcessTransport(repo=tmp_path), warm=True)


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_time_limit_is_more_than_nothing(kind: type[Any], limit: float) -> None:
    """The client refuses a time limit that is not more than 0 seconds."""
    with pytest.raises(InvalidCall, match="must be more than 0 seconds"):
        kind(time_limit=limit)


def test_a_policy_is_a_policy() -> None:
    """The client refuses a dict as a policy before it starts a host, and names from_dict."""
    host = Scripted(HELLO)
    with pytest.raises(InvalidCall, match=r"not a dict; use Policy\.from_dict"):
        Client(transport=host, policy=POLICY.to_dict())  # type: ignore[arg-type]
    client = Client(transport=host, actor="ada")
    with pytest.raises(InvalidCall, match=r"use Policy\.from_dict"):
        client.start_implementation("m", "WP01", policy={})  # type: ignore[arg-type]
    assert host.verbs == []


def test_a_transport_knows_its_repository() -> None:
    """The client refuses a repository beside a transport, because it would ignore it."""
    with pytest.raises(InvalidCall, match="exclude each other"):
        Client("repo", transport=Scripted(HELLO))


def test_the_repr_of_a_client_shows_no_secret(tmp_path: Path) -> None:
    """A client's repr shows actor and transport, but no environment and no policy."""
    transport = ProcessTransport(repo=tmp_path, env={"API_TOKEN": "hunter2"})

    shown = repr(Client(transport=transport, actor="ada", policy=POLICY))

    assert "actor='ada'" in shown
    assert "ProcessTransport" in shown
    assert "hunter2" not in shown
    assert POLICY.orchestrator_id not in shown
