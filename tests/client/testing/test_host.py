"""Tests of `spec_kitty_client.testing.host.simulated`: a host in memory."""

import json
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from spec_kitty_client import (
    AsyncClient,
    Client,
    ErrorCode,
    HostRejected,
    InvalidCall,
    Policy,
    UnsupportedHost,
)
from spec_kitty_client.testing.host import (
    AsyncSimulatedHost,
    NotSimulated,
    PackagePlan,
    Release,
    SimulatedHost,
    ticking,
)
from tests import missions
from tests.client.releases import RELEASES, SAMPLE

PLAN = {"WP01": [], "WP02": ["WP01"], "WP03": []}


def ask(host: SimulatedHost, verb: str, *options: str) -> dict[str, Any]:
    """Make a call, and return its envelope."""
    select = "" if verb == "contract-version" else f"--mission={host.mission.slug}"
    done = host.run(("orchestrator-api", verb, *filter(None, [select]), *options), time_limit=1)
    envelope: dict[str, Any] = json.loads(done.stdout)
    return envelope


def start(host: SimulatedHost, wp: str, actor: str = "a1") -> dict[str, Any]:
    options = (f"--wp={wp}", f"--actor={actor}", f"--policy={missions.POLICY}")
    return ask(host, "start-implementation", *options)


def test_a_host_is_of_the_newest_release_and_has_one_work_package() -> None:
    """A host without arguments is 3.2.7, with one planned work package."""
    host = SimulatedHost()
    assert host.release.name == "3.2.7"
    assert host.lanes() == {"WP01": "planned"}
    assert host.mission.slug == "demo-01K00001"


@pytest.mark.parametrize(("release", "slug"), [("3.1.0", "001-demo"), ("3.1.1", "demo-01K00001")])
def test_a_mission_is_named_as_the_release_does(release: str, slug: str) -> None:
    """A mission's slug has a number up to 3.1.0, and an id later."""
    assert SimulatedHost(release=release).mission.slug == slug
    assert SimulatedHost(release=release, slug="mine").mission.slug == "mine"


@pytest.mark.parametrize("release", RELEASES)
def test_a_client_finds_out_which_host_it_is(release: str) -> None:
    """A client recognises the dialect of every simulated release."""
    client = Client(transport=SimulatedHost(release=release))
    assert client.negotiate().dialect == Release(release).dialect


@pytest.mark.parametrize("release", SAMPLE)
def test_a_client_reads_what_is_there(release: str) -> None:
    """A client reads lanes and ready work packages on every dialect."""
    host = SimulatedHost(PLAN, release=release)
    client, slug = Client(transport=host), host.mission.slug
    host.mission.move("WP03", "in_progress", "a1")
    lanes = {p.wp_id: p.lane for p in client.mission_state(slug).work_packages}
    assert lanes == host.lanes() == {"WP01": "planned", "WP02": "planned", "WP03": "in_progress"}
    assert [p.wp_id for p in client.list_ready(slug).ready_work_packages] == ["WP01"]


def test_nothing_is_by_chance() -> None:
    """Two hosts give the same answers to the same calls, to the byte."""
    one, other = SimulatedHost(PLAN), SimulatedHost(PLAN)
    for args in (("--version",), ("orchestrator-api", "contract-version")):
        assert one.run(args, time_limit=1) == other.run(args, time_limit=1)
    assert start(one, "WP01") == start(other, "WP01")


def test_time_and_ids_are_given() -> None:
    """An envelope has the time and the id that the given functions return."""
    now = datetime(2030, 5, 1, tzinfo=UTC)
    host = SimulatedHost(now=lambda: now, new_id=lambda: "a" * 32)
    envelope = ask(host, "contract-version")
    assert envelope["timestamp"] == "2030-05-01T00:00:00+00:00"
    assert envelope["correlation_id"] == "corr-" + "a" * 32


def test_no_two_answers_have_one_id_or_one_time() -> None:
    """Each answer has a correlation id and a time of its own."""
    host = SimulatedHost()
    answered = [ask(host, "contract-version") for _ in range(10)]
    for field in ("correlation_id", "timestamp"):
        assert len({envelope[field] for envelope in answered}) == 10


def test_a_clock_ticks() -> None:
    """The clock goes on by one step whenever it is read."""
    start_at, step = datetime(2026, 1, 1, tzinfo=UTC), timedelta(minutes=1)
    clock = ticking(start_at, step)
    assert [clock() for _ in range(3)] == [start_at, start_at + step, start_at + 2 * step]


@pytest.mark.parametrize("release", SAMPLE)
def test_the_version_is_the_last_word(release: str) -> None:
    """The output of --version ends with the release, after a banner on older hosts."""
    done = SimulatedHost(release=release).run(("--version",), time_limit=1)
    assert done.stdout.decode().split()[-1] == release
    assert (done.stdout.count(b"\n") > 1) == (not Release(release).since("3.2.6"))


def test_what_it_was_asked_is_kept() -> None:
    """The valid calls are recorded in order, with the newest names."""
    host = SimulatedHost(release="1.0.3")
    host.run(("orchestrator-api", "bogus"), time_limit=1)
    host.run(("orchestrator-api", "feature-state", "--feature=nope"), time_limit=1)
    assert [(c.name, c.verb, c.options) for c in host.calls] == [
        ("feature-state", "mission-state", {"mission": "nope"})
    ]


def test_a_call_that_is_refused_changes_nothing() -> None:
    """A refused call does not change the board."""
    host = SimulatedHost(PLAN)
    before = pickle.dumps(host.missions)
    assert start(host, "WP02")["error_code"] == "DEPENDENCIES_NOT_SATISFIED"
    assert start(host, "WP99")["error_code"] == "WP_NOT_FOUND"
    assert pickle.dumps(host.missions) == before


def test_a_client_gets_typed_errors() -> None:
    """A refusal of the simulated host raises the same exception as one of a real host."""
    host = SimulatedHost(PLAN)
    policy = Policy.from_json(missions.POLICY)
    client = Client(transport=host, actor="a1", policy=policy)
    with pytest.raises(HostRejected) as caught:
        client.start_implementation(host.mission.slug, "WP02")
    assert caught.value.code is ErrorCode.DEPENDENCIES_NOT_SATISFIED
    assert client.start_implementation(host.mission.slug, "WP01").to_lane == "in_progress"


@pytest.mark.parametrize(
    ("release", "names"),
    [
        ("3.1.10", {"pay-01AB0000"}),
        ("3.2.0", {"pay-01AB0000", "01AB0000", "01AB0000" + "X" * 18}),
        ("3.2.2", {"pay-01AB0000", "01AB0000", "01AB0000" + "X" * 18, "pay"}),
    ],
)
def test_a_mission_has_names(release: str, names: set[str]) -> None:
    """A host finds a mission by its slug, from 3.2.0 on by its id, from 3.2.2 on by its name."""
    host = SimulatedHost(None, release=release)
    host.add_mission({"WP01": []}, slug="pay-01AB0000", ulid="01AB0000" + "X" * 18)
    tried = {"pay-01AB0000", "01AB0000", "01AB0000" + "X" * 18, "pay", "pa", "01AB"}
    found = set()
    for name in tried:
        args = ("orchestrator-api", "mission-state", f"--mission={name}")
        if host.run(args, time_limit=1).exit_code == 0:
            found.add(name)
    assert found == names


def test_missions_are_apart() -> None:
    """Work packages of the same id in two missions are independent."""
    host = SimulatedHost(PLAN)
    host.add_mission({"WP01": []}, slug="other-01K00002", ulid="01K00002" + "X" * 18)
    start(host, "WP01")
    assert host.missions["other-01K00002"].packages["WP01"].lane == "planned"
    assert host.lanes()["WP01"] == "in_progress"


@pytest.mark.parametrize("plan", [{"WP01": ["WP01"]}, {"WP01": ["WP02"]}])
def test_a_plan_has_to_be_one(plan: dict[str, Sequence[str]]) -> None:
    """A plan with a cycle or an unknown dependency is refused."""
    with pytest.raises(InvalidCall):
        SimulatedHost(plan)


def test_a_release_has_to_be_one() -> None:
    """A release before 1.0.0 is refused."""
    with pytest.raises(UnsupportedHost):
        SimulatedHost(release="0.13.0")


def test_a_capability_is_not_simulated() -> None:
    """The option --require-capability of the pre-release raises NotSimulated."""
    host = SimulatedHost(release="4.0.0rc7")
    with pytest.raises(NotSimulated, match="require-capability"):
        ask(host, "contract-version", "--require-capability=x")


@pytest.mark.parametrize(
    ("release", "lanes"),
    [("1.0.3", ["in_progress"]), ("2.1.0", ["claimed", "in_progress"])],
)
def test_a_claim_has_its_events(release: str, lanes: list[str]) -> None:
    """From 2.1.0 on a claim moves through the lane claimed, though no answer says so."""
    host = SimulatedHost(release=release)
    options = ("--wp=WP01", "--actor=a1", f"--policy={missions.POLICY}")
    host.run(
        ("orchestrator-api", "start-implementation", "--feature=001-demo", *options), time_limit=1
    )
    assert [move.after for move in host.mission.moves] == lanes


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("--evidence-json={", "USAGE_ERROR"),
        ("--review-result-json={", "USAGE_ERROR"),
        ("--note=n", "MISSION_NOT_FOUND"),
    ],
)
def test_json_is_looked_at_before_the_mission(option: str, code: str) -> None:
    """Invalid JSON is refused even if the mission does not exist."""
    host = SimulatedHost()
    assert move(host, "--mission=nope", "--to=blocked", option)["error_code"] == code


def move(host: SimulatedHost, *options: str) -> dict[str, Any]:
    args = ("orchestrator-api", "transition", "--wp=WP01", "--actor=a", *options)
    done = host.run(args, time_limit=1)
    envelope: dict[str, Any] = json.loads(done.stdout or '{"error_code": "crashed"}')
    return envelope


@pytest.mark.parametrize(
    ("release", "policy", "code"),
    [
        ("3.1.0", missions.POLICY, "MISSION_NOT_FOUND"),
        ("3.1.0", "{", "POLICY_VALIDATION_FAILED"),
        ("3.1.1", missions.POLICY, "crashed"),
        ("3.1.1", "{", "crashed"),
    ],
)
def test_a_lane_is_looked_at_first(release: str, policy: str, code: str) -> None:
    """From 3.1.1 on an unknown lane crashes the host before any other check."""
    host = SimulatedHost(release=release)
    options = ("--mission=nope", "--to=bogus", f"--policy={policy}")
    assert move(host, *options)["error_code"] == code


@pytest.mark.parametrize(
    ("release", "review_ref", "code"),
    [
        ("3.1.0", (), "TRANSITION_REJECTED"),
        ("3.1.0", ("--review-ref=r",), "POLICY_VALIDATION_FAILED"),
        ("3.1.1", (), "POLICY_VALIDATION_FAILED"),
    ],
)
def test_a_review_ref_is_looked_at_before_the_policy(
    release: str, review_ref: tuple[str, ...], code: str
) -> None:
    """Up to 3.1.0 a missing review reference is refused before the policy is checked."""
    host = SimulatedHost(release=release)
    options = ("--wp=WP01", "--actor=rev", "--policy={", *review_ref)
    assert ask(host, "start-review", *options)["error_code"] == code


@pytest.mark.parametrize("name", ["", " ", "..", "a/b", "a\\b"])
def test_a_name_that_is_a_path(name: str) -> None:
    """A path is an unknown mission on 3.1.10, a crash on 3.2.0 and refused on 4.0.0rc4."""

    def answered(release: str) -> tuple[int | None, str | None]:
        host = SimulatedHost(release=release)
        args = ("orchestrator-api", "mission-state", f"--mission={name}")
        done = host.run(args, time_limit=1)
        return done.exit_code, json.loads(done.stdout)["error_code"] if done.stdout else None

    assert answered("3.1.10") == (1, "MISSION_NOT_FOUND")
    assert answered("3.2.0") == (1, None)
    assert answered("4.0.0rc4") == (1, "INVALID_MISSION")


@pytest.mark.parametrize(
    ("release", "merged"), [("1.0.3", ["WP01"]), ("2.1.3", ["WP01"]), ("3.0.3", None)]
)
def test_what_is_done_may_lack_its_branch(release: str, merged: list[str] | None) -> None:
    """Before 3.0 a merge skips done work without a branch, but no other work."""
    host = SimulatedHost({"WP01": [], "WP02": []}, release=release)
    mission = host.mission
    host.workspace.start(mission, "WP01")
    mission.move("WP02", "done", "rev")
    args = ("orchestrator-api", "merge-feature", "--feature=001-demo")
    done = json.loads(host.run(args, time_limit=1).stdout)
    assert done["error_code"] == (None if merged else "PREFLIGHT_FAILED")
    assert done["data"].get("merged_wps") == merged
    mission.move("WP02", "in_progress", "rev")
    assert host.run(args, time_limit=1).exit_code == 1


@pytest.mark.parametrize(
    ("release", "reason", "may_begin"),
    [
        ("3.2.5", "not needed", False),
        ("3.2.6", "not needed", True),
        ("3.2.6", None, False),
        ("3.2.6", " ", False),
        ("3.2.6", "Force move to canceled", False),
        ("3.2.6", "move-task: planned -> canceled", False),
        ("4.0.0rc7", "not needed", True),
    ],
)
def test_what_was_canceled_for_a_reason_is_waited_for_no_more(
    release: str, reason: str | None, *, may_begin: bool
) -> None:
    """From 3.2.6 on dependents start after a cancellation with a reason of its own."""
    host = SimulatedHost(PLAN, release=release)
    note = [] if reason is None else [f"--note={reason}"]
    options = ("--wp=WP01", "--actor=rev", "--to=canceled", f"--policy={missions.POLICY}", *note)
    assert ask(host, "transition", *options)["success"]
    ready = ask(host, "list-ready")["data"]["ready_work_packages"]
    assert ("WP02" in [package["wp_id"] for package in ready]) is may_begin
    assert start(host, "WP02")["success"] is may_begin


def test_a_second_squash_has_nothing_to_commit() -> None:
    """On 2.1.3 a second squash fails at the first work package without new commits."""
    host = SimulatedHost({"WP01": [], "WP02": []}, release="2.1.3")
    for wp in host.lanes():
        host.workspace.start(host.mission, wp)
    args = ("orchestrator-api", "merge-feature", "--feature=001-demo", "--strategy=squash")
    assert json.loads(host.run(args, time_limit=1).stdout)["data"]["merged_wps"] == ["WP01", "WP02"]
    again = json.loads(host.run(args, time_limit=1).stdout)
    assert again["error_code"] == "MERGE_FAILED"
    assert again["data"] == {"merged_so_far": [], "failed_wp": "WP01"}
    host.workspace.start(host.mission, "WP01")
    assert json.loads(host.run(args, time_limit=1).stdout)["data"]["failed_wp"] == "WP02"


def test_threads_lose_nothing() -> None:
    """Of 40 claims from 8 threads one succeeds, and none of 400 notes is lost."""
    host = SimulatedHost(PLAN)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda i: start(host, "WP01", f"a{i}"), range(40)))
        notes = [
            pool.submit(ask, host, "append-history", "--wp=WP01", "--actor=a", f"--note={i}")
            for i in range(400)
        ]
    assert sum(claim["success"] for claim in claims) == 1
    assert {claim["error_code"] for claim in claims} == {None, "WP_ALREADY_CLAIMED"}
    assert all(note.result()["success"] for note in notes)
    assert sorted(host.mission.packages["WP01"].notes, key=int) == [str(i) for i in range(400)]
    assert len(host.calls) == 440


def test_ten_thousand_calls_are_counted() -> None:
    """A host records ten thousand calls, and counts them in its correlation ids."""
    host = SimulatedHost()
    args = ("orchestrator-api", "mission-state", f"--mission={host.mission.slug}")
    last = [host.run(args, time_limit=1) for _ in range(10_000)][-1]
    assert len(host.calls) == 10_000
    assert json.loads(last.stdout)["correlation_id"] == f"corr-{10_000:032x}"


def test_the_state_grows_with_the_calls_that_change_it() -> None:
    """The state grows by the same size for each move, and not for reads."""
    host = SimulatedHost()
    move = ("--wp=WP01", "--actor=a", "--note=n", "--force", f"--policy={missions.POLICY}")
    sizes = []
    for _ in range(3):
        for to in ("done", "in_progress") * 100:
            assert ask(host, "transition", *move, f"--to={to}")["success"]
        ask(host, "mission-state")
        sizes.append(len(json.dumps([str(m) for m in host.mission.moves])))
        assert len(pickle.dumps(host.missions)) < 100 * len(host.mission.moves) + 10_000
    assert len(host.mission.moves) == 600
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_client_uses_the_same_host(backend: str) -> None:
    """AsyncSimulatedHost calls the host that it is given, on both event loops."""
    host = SimulatedHost(PLAN)

    async def main() -> list[str]:
        client = AsyncClient(transport=AsyncSimulatedHost(host))
        ready = await client.list_ready(host.mission.slug)
        return [p.wp_id for p in ready.ready_work_packages]

    assert anyio.run(main, backend=backend) == ["WP01", "WP03"]
    assert host.calls[-1].verb == "list-ready"


def test_an_async_call_lets_others_go_first() -> None:
    """A task that makes many calls does not keep other tasks from running."""
    turns: list[str] = []

    async def asks(host: AsyncSimulatedHost, name: str) -> None:
        for _ in range(3):
            await host.run(("--version",), time_limit=1)
            turns.append(name)

    async def main() -> None:
        host = AsyncSimulatedHost(SimulatedHost())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asks, host, "a")
            tasks.start_soon(asks, host, "b")

    anyio.run(main)
    assert turns != ["a"] * 3 + ["b"] * 3
    assert sorted(turns) == ["a"] * 3 + ["b"] * 3


@pytest.mark.parametrize(
    ("release", "topology"),
    [("3.2.2", "coord"), ("3.1.10", "coord"), ("4.0.0rc7", "single_branch")],
)
def test_a_topology_may_not_be_simulated(release: str, topology: str) -> None:
    """A topology that is not simulated raises NotSimulated, and an unknown one InvalidCall."""
    with pytest.raises(NotSimulated, match=topology):
        SimulatedHost(release=release, topology=topology)
    with pytest.raises(InvalidCall, match="nowhere"):
        SimulatedHost(release=release, topology="nowhere")


@pytest.mark.parametrize(
    ("release", "kind"), [("3.2.5", "software-dev"), ("3.2.6", ""), ("3.2.7", "")]
)
def test_coordination_hides_the_type_of_a_mission(release: str, kind: str) -> None:
    """From 3.2.6 on the type of a coordinated mission is empty before a merge."""
    of = SimulatedHost(release=release, topology="coord")
    named = (
        f"--mission={of.mission.slug}",
        "--wp=WP01",
        "--actor=a",
        f"--policy={missions.POLICY}",
    )
    done = of.run(["orchestrator-api", "start-implementation", *named], time_limit=1)
    data = json.loads(done.stdout)["data"]
    assert data["mission_type"] == kind
    assert data["lane_base_ref"] == of.mission.branch
    noted = ask(of, "append-history", "--wp=WP01", "--actor=a", "--note=n")
    assert noted["data"]["mission_type"] == "software-dev"


def test_a_merge_that_fails_half_way_shows_the_type_of_a_mission() -> None:
    """The refusal of a merge on 3.2.7 has the mission's type once a lane was merged."""
    of = SimulatedHost({"WP01": [], "WP02": []}, topology="coord")

    assert ask(of, "merge-mission")["data"]["mission_type"] == ""
    of.workspace.start(of.mission, "WP02")
    assert ask(of, "merge-mission")["data"]["mission_type"] == ""
    of.workspace.start(of.mission, "WP01")
    of.mission.branches.remove(f"{of.mission.branch}-lane-b")
    failed = ask(of, "merge-mission")
    assert (failed["error_code"], failed["data"]["mission_type"]) == (
        "PREFLIGHT_FAILED",
        "software-dev",
    )


@pytest.mark.parametrize(
    ("release", "code", "started"),
    [
        ("3.1.10", None, (".worktrees/demo-01K00001-WP01", None)),
        ("3.2.5", "LANE_ALLOCATION_FAILED", None),
        ("3.2.7", None, (".worktrees/demo-01K00001-lane-planning", "main")),
        ("4.0.0rc7", None, ("", "work")),
    ],
)
def test_planning_begins_where_the_release_has_it(
    release: str, code: str | None, started: tuple[str, str | None] | None
) -> None:
    """The path and the branch of a planning work package are those of the real hosts."""
    of = SimulatedHost({"WP01": PackagePlan(planning=True)}, release=release)
    named = (
        f"--mission={of.mission.slug}",
        "--wp=WP01",
        "--actor=a",
        f"--policy={missions.POLICY}",
    )
    done = of.run(["orchestrator-api", "start-implementation", *named], time_limit=1)
    envelope = json.loads(done.stdout)
    assert envelope["error_code"] == code
    if started is not None:
        path = envelope["data"]["workspace_path"].removeprefix(of.workspace.root).removeprefix("/")
        assert (path, envelope["data"].get("lane_branch")) == started


@pytest.mark.parametrize(
    ("release", "dies"), [("3.2.5", True), ("3.2.7", True), ("4.0.0rc7", False)]
)
def test_accepting_dies_where_coordination_has_no_meta_json(release: str, dies: bool) -> None:
    """Accepting a finished coord mission crashes up to 3.2.7, until its lanes are merged."""
    of = SimulatedHost({"WP01": []}, release=release, topology="coord")
    accept = ("orchestrator-api", "accept-mission", f"--mission={of.mission.slug}", "--actor=a")
    assert json.loads(of.run(accept, time_limit=1).stdout)["error_code"] == "MISSION_NOT_READY"
    of.mission.move("WP01", "done", "a")
    done = of.run(accept, time_limit=1)
    assert (b"Traceback" in done.stderr, done.stdout == b"") == (dies, dies)
    of.mission.has_lanes = True
    assert of.run(accept, time_limit=1).exit_code == 0
