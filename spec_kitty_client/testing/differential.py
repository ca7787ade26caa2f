"""Compare a simulated host with a real one: the same calls must get the same answers.

Subclass `HostMachine` and override ``begin``, which makes a mission on your host. Then let pytest
collect its ``TestCase``, or run it with ``hypothesis.stateful.run_state_machine_as_test``.
"""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from spec_kitty_client.api.spelling import names_in
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.contract.lanes import Lane, Need, lanes_of, moves
from spec_kitty_client.testing.comparable import comparable, comparable_words
from spec_kitty_client.testing.host import Release, SimulatedHost
from spec_kitty_client.testing.host.board import PLANNING, Plan
from spec_kitty_client.testing.host.marking import COMMAND
from spec_kitty_client.testing.host.workspace import branch_of, is_in_checkout
from spec_kitty_client.transports import GitTransport, Transport

__all__ = ["HostMachine", "RealMission"]

_LIMIT = 120.0  # seconds for one call of the real host
_POLICY = json.dumps(
    {
        "orchestrator_id": "differential",
        "orchestrator_version": "1",
        "agent_family": "script",
        "approval_mode": "supervised",
        "sandbox_mode": "none",
        "network_mode": "none",
        "dangerous_flags": [],
    }
)


@frozen(kw_only=True)
class RealMission:
    """A new mission on a real host, with all work packages planned.

    Attributes:
        transport: The transport for calls of the host.
        slug: Slug of the mission.
        root: Path of the primary checkout, as in the host's answers.
        target: The branch to merge the mission into.
        ulid: Id of the mission (3.1.1 and later).
        planner: The last actor of untouched work packages, as hosts 1.0.x report it.
        agent: The transport for other commands than orchestrator-api; None: ``transport``.
    """

    transport: Transport
    slug: str
    root: str
    target: str
    ulid: str = ""
    planner: str | None = None
    agent: Transport | None = None


_WRONG_POLICY = json.dumps({"orchestrator_id": "monkey"})
_REVIEWS = [
    {"reviewer": who, "verdict": verdict, "reference": where}
    for who, where in (("rev", "r1"), ("rev", "r2"), ("other", "r1"))
    for verdict in ("approved", "changes_requested")
]


def _mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Return a strategy that draws the usual value in two of three cases."""
    return st.sampled_from([usual] * (2 * max(1, len(others))) + list(others))


def _actors(usual: str, *others: str) -> st.SearchStrategy[str]:
    """Return a strategy for actors, including the empty one."""
    return st.runner().flatmap(lambda m: _mostly(usual, *others, *m.blank("")))


class HostMachine(RuleBasedStateMachine):
    """Sends the same calls to a simulated host and a real one.

    It compares the answers after each call, and at the end the state that both hosts report; see
    `comparable`.

    Attributes:
        release: The release of the real host.
        plan: The work packages of the mission, each with the ids of its dependencies or with a
            `PackagePlan`.
        topology: The mission's topology.
        headed: Whether the boxes in its ``tasks.md`` have a heading of their own.
    """

    release: ClassVar[str] = "3.2.7"
    topology: ClassVar[str] = "lanes"
    headed: ClassVar[bool] = False
    plan: ClassVar[Plan] = {"WP01": [], "WP02": ["WP01"], "WP03": []}

    def begin(self) -> RealMission:
        """Return a new mission with the work packages of `plan`, all in the lane ``planned``."""
        msg = f"{type(self).__name__}.begin has to say how a mission begins on your host"
        raise NotImplementedError(msg)

    def __init__(self) -> None:
        super().__init__()
        self.real: RealMission = self.begin()
        self.as_release: Release = Release(self.release)
        self.simulated: SimulatedHost = self.simulate()
        self.differed: bool = False
        mission = self.simulated.mission
        if self.real.ulid:
            mission.called(self.real.ulid)
        for package in mission.packages.values():
            package.actor = self.real.planner

    def simulate(self) -> SimulatedHost:
        """Return the simulated host, with the same mission."""
        return SimulatedHost(self.plan, **self.about())

    def about(self) -> dict[str, Any]:
        """Return the arguments of a simulated host with the same mission, but for its plan."""
        return {
            "release": self.as_release,
            "slug": self.real.slug,
            "target": self.real.target,
            "topology": self.topology,
            "headed": self.headed,
        }

    def blank(self, text: str) -> list[str]:
        """Return a blank text, unless the host is 1.0.x, which cannot read it from its own log."""
        return [text] if self.as_release.since("2.1.0") else []

    # The rules

    wps: ClassVar[st.SearchStrategy[str]] = st.runner().flatmap(
        lambda m: st.sampled_from([*m.plan, *m.plan, "WP99"])
    )

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """Make the next valid move of a work package."""
        wp = data.draw(st.sampled_from(list(self.plan)), label="wp")
        lane = Lane(self.simulated.lanes()[wp])
        if lane in (Lane.PLANNED, Lane.CLAIMED):
            self._claim(wp, "a1")
            return
        if lane == Lane.FOR_REVIEW and self.as_release.has(Feature.IN_REVIEW_LANE):
            self.ask("start-review", wp=wp, actor="rev", policy=_POLICY)
            return
        dialect = self.as_release.dialect
        after = [to for before, to in moves(dialect) if before == lane and to != Lane.CANCELED]
        if after:
            to = data.draw(st.sampled_from(sorted(after)), label="to")
            self.ask("transition", wp=wp, to=to, **self._needed(lane, to))

    def _needed(self, lane: Lane, to: Lane) -> dict[str, Any]:
        wanted = moves(self.as_release.dialect)[lane, to]
        approved = to in (Lane.APPROVED, Lane.DONE)
        verdict = "approved" if approved else "changes_requested"
        review = {"reviewer": "rev", "verdict": verdict, "reference": "r1"}
        given: dict[str, Any] = {"actor": "rev", "policy": _POLICY}
        given |= {"review_ref": "r1"} if Need.REVIEW_REF in wanted else {}
        given |= {"evidence_json": {"review": review}} if Need.EVIDENCE in wanted else {}
        given |= {"review_result_json": review} if Need.REVIEW_RESULT in wanted else {}
        given |= {"force": True} if Need.FORCE in wanted else {}
        return given | ({"note": "n"} if {Need.NOTE, Need.FORCE} & wanted else {})

    @rule(wp=wps, actor=_actors("a1", "a2"), policy=_mostly(_POLICY, None, "{", _WRONG_POLICY))
    def claim(self, wp: str, actor: str, policy: str | None) -> None:
        """Claim any work package, even an unknown one, with any policy."""
        self._claim(wp, actor, policy)

    def _claim(self, wp: str, actor: str, policy: str | None = _POLICY) -> None:
        if self.ask("start-implementation", wp=wp, actor=actor, policy=policy):
            self.claimed(wp)

    @rule(
        wp=wps,
        actor=_actors("rev", "rev2"),
        policy=_mostly(_POLICY, None, "{"),
        review_ref=_mostly("r1", None, "", " "),
    )
    def review(self, wp: str, actor: str, policy: str | None, review_ref: str | None) -> None:
        """Call start-review for any work package, even an unknown one."""
        self.ask("start-review", wp=wp, actor=actor, policy=policy, review_ref=review_ref)

    @rule(wp=wps, data=st.data())
    def move(self, wp: str, data: st.DataObject) -> None:
        """Move any work package to any lane, with valid or invalid evidence."""
        lanes = sorted(lanes_of(self.as_release.dialect))
        words = st.sampled_from([*lanes * 3, "doing", "DONE", "bogus", "in_review", "approved"])
        options: dict[str, Any] = {
            "to": data.draw(words, label="to"),
            "actor": data.draw(_actors("rev", "a1"), label="actor"),
            "policy": data.draw(_mostly(_POLICY, None, "{"), label="policy"),
            "note": data.draw(st.sampled_from([None, "n", *self.blank(" ")]), label="note"),
            "review_ref": data.draw(st.sampled_from([None, "r1", "r2", " "]), label="review-ref"),
            "force": data.draw(_mostly(False, True), label="force"),
        }
        reviews = st.none() | st.sampled_from(_REVIEWS)
        if self.as_release.has(Feature.EVIDENCE):
            review = data.draw(reviews, label="evidence")
            wrong = st.sampled_from(["{", "[]", "{}", '{"review": {}}', '{"review": null}'])
            whole = {"review": review} if review else data.draw(st.none() | wrong)
            options["evidence_json"] = whole
        if self.as_release.has(Feature.REVIEW_RESULT):
            result = data.draw(reviews, label="review result")
            wrong = st.sampled_from(["{", "[]", "{}", '{"reviewer": "rev"}'])
            options["review_result_json"] = result or data.draw(st.none() | wrong)
        self.ask("transition", wp=wp, **options)

    @rule(data=st.data(), believed=st.booleans())
    def hand_in(self, data: st.DataObject, believed: bool) -> None:
        """Claim a work package and submit it, with all, some or none of its subtasks done."""
        wp = data.draw(st.sampled_from(list(self.plan)), label="wp")
        if Lane(self.simulated.lanes()[wp]) in (Lane.PLANNED, Lane.CLAIMED):
            self._claim(wp, "a1")
        subtasks = list(self.simulated.mission.packages[wp].subtasks)
        if marked := data.draw(_mostly(subtasks, subtasks[:1], []), label="marked"):
            self.mark(*marked)
        told = {"subtasks_complete": believed and self.as_release.since("3.1.0")}
        self.ask("transition", wp=wp, to="for_review", actor="a1", policy=_POLICY, **told)

    @rule(
        data=st.data(), status=_mostly("done", "pending", "bogus"), nowhere=_mostly(None, "000-no")
    )
    def close(self, data: st.DataObject, status: str, nowhere: str | None) -> None:
        """Mark any subtasks, also unknown ones."""
        packages = self.simulated.mission.packages
        known = [subtask for package in packages.values() for subtask in package.subtasks]
        ids = st.sampled_from([*known, *known, "T998", "T999", next(iter(packages))])
        drawn = data.draw(st.lists(ids, min_size=1, max_size=3, unique=True), label="subtasks")
        self.mark(*drawn, status=status, mission=nowhere)

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """Force a work package to ``approved`` or ``done``."""
        wp = data.draw(st.sampled_from(list(self.plan)), label="wp")
        if Lane(self.simulated.lanes()[wp]) == Lane.PLANNED:
            self._claim(wp, "a1")
        ends = [a for a in (Lane.APPROVED, Lane.DONE) if a in lanes_of(self.as_release.dialect)]
        to = data.draw(st.sampled_from(ends), label="to")
        forced = {"actor": "rev", "policy": _POLICY, "force": True, "note": "n"}
        self.ask("transition", wp=wp, to=to, **forced)

    @rule(wp=wps, reason=st.sampled_from([None, "n", "Force move to canceled"]))
    def cancel(self, wp: str, reason: str | None) -> None:
        """Cancel a work package, with or without a reason, and compare the ready ones."""
        self.ask("transition", wp=wp, to=Lane.CANCELED, actor="rev", policy=_POLICY, note=reason)
        self.ask("list-ready")

    @rule(wp=wps, actor=_actors("a1"), text=_mostly("looks good", "", 'a\n"b" \u00e9'))
    def annotate(self, wp: str, actor: str, text: str) -> None:
        """Add a note."""
        self.ask("append-history", wp=wp, actor=actor, note=text)

    @rule(
        verb=st.sampled_from(["mission-state", "list-ready", "resolve-workspace"]), data=st.data()
    )
    def look(self, verb: str, data: st.DataObject) -> None:
        """Read from this mission or an unknown one."""
        names = ["nope", self.real.ulid, self.real.ulid[:8]] if self.real.ulid else ["nope"]
        mission = data.draw(_mostly(self.real.slug, *names), label="mission")
        wp = {"wp": data.draw(self.wps)} if verb == "resolve-workspace" else {}
        self.ask(verb, mission=mission, **wp)

    @rule()
    def accept(self) -> None:
        """Accept the mission, finished or not."""
        if self.ask("accept-mission", actor="rev"):
            self.accepted()

    @rule(strategy=_mostly("merge", "squash", "octopus"), into=_mostly(None, "nosuch"))
    def merge(self, strategy: str, into: str | None) -> None:
        """Merge the mission, finished or not."""
        if strategy != "squash" or self.as_release.since("2.1.0"):  # 1.0.x does not commit a squash
            self.ask("merge-mission", strategy=strategy, target=into)

    def teardown(self) -> None:
        """Compare the final state of both hosts, if all earlier answers agreed."""
        if not self.differed:
            self.ask("mission-state")
            self.ask("list-ready")

    # Calls of both hosts

    def ask(self, verb: str, **options: Any) -> bool:
        """Send a call to both hosts, compare the answers, and return whether it succeeded."""
        spoken = names_in(self.as_release.dialect).get(verb, verb)
        selector = "feature" if self.as_release.says_feature else "mission"
        given = {selector: options.pop("mission", self.real.slug), **options}
        words = [w for name, value in given.items() for w in _spelled(name, value)]
        args = ("orchestrator-api", spoken, *words)
        note(f"spec-kitty {' '.join(args)}")
        ours = self.simulated.run(args, time_limit=_LIMIT)
        theirs = self.real.transport.run(args, time_limit=_LIMIT)
        mine = comparable(ours, self.simulated.workspace.root)
        self.compare(args, mine, comparable(theirs, self.real.root))
        return ours.exit_code == 0

    def mark(self, *subtasks: str, status: str = "done", mission: str | None = None) -> None:
        """Mark subtasks on both hosts, and compare; 1.0.x has no subtasks and is skipped."""
        if not self.as_release.since("2.1.0"):
            return
        selector = "--feature" if self.as_release.says_feature else "--mission"
        named = (f"--status={status}", f"{selector}={mission or self.real.slug}", "--json")
        args = (*COMMAND, *subtasks, *named)
        note(f"spec-kitty {' '.join(args)}")
        ours = self.simulated.run(args, time_limit=_LIMIT)
        theirs = (self.real.agent or self.real.transport).run(args, time_limit=_LIMIT)
        self.compare(args, comparable_words(ours), comparable_words(theirs))

    def compare(
        self, args: tuple[str, ...], ours: Mapping[str, Any], theirs: Mapping[str, Any]
    ) -> None:
        """Check that two answers agree.

        Raises:
            AssertionError: If they differ; the message has the differences.
        """
        if ours != theirs:
            self.differed = True
            one, other = (json.dumps(x, indent=1, sort_keys=True) for x in (ours, theirs))
            lines = (one.splitlines(), other.splitlines(), "simulated", "real")
            found = "\n".join(difflib.unified_diff(*lines, lineterm=""))
            msg = f"spec-kitty {' '.join(args)}\n{found}"
            raise AssertionError(msg)

    # Commits that the real host requires and the simulated one does not

    def claimed(self, wp: str) -> None:
        """Commit the work of a claimed work package."""
        self.commit(wp, self.real.root)

    def accepted(self) -> None:
        """Commit the host's record of an acceptance."""
        self.git("add", "--all", "--", "kitty-specs")
        self.git("commit", "--quiet", "--message=accepted")

    def commit(self, wp: str, root: str) -> None:
        """Commit a file in the worktree of a work package; make the worktree if needed."""
        path = self.place(wp, root)
        if not Path(path).exists():
            if self.simulated.mission.lanes[wp] == PLANNING and self.as_release.has(Feature.LANES):
                return  # no host reads the branch of planning work
            self._make_worktree(wp, root, path)
        with (Path(path) / f"{wp}.txt").open("a", encoding="utf-8") as file:
            file.write(f"{wp}\n")
        self.git("add", "--all", "--", f"{wp}.txt", folder=path)
        self.git("commit", "--quiet", f"--message={wp}", "--", f"{wp}.txt", folder=path)

    def place(self, wp: str, root: str) -> str:
        """Return the folder for the work of a work package."""
        mission = self.simulated.mission
        if is_in_checkout(self.as_release, mission, wp):
            return root
        name = mission.lanes[wp] if self.as_release.has(Feature.LANES) else wp
        return f"{root}/.worktrees/{mission.slug}-{name}"

    def _make_worktree(self, wp: str, root: str, path: str) -> None:
        mission = self.simulated.mission
        branch = branch_of(self.as_release, mission, wp)
        top = mission.branch if self.as_release.has(Feature.LANES) else ""
        if top and not self.git("rev-parse", "--verify", "--quiet", top, folder=root):
            self.git("branch", top, self.real.target, folder=root)
        base = top or self.real.target
        self.git("worktree", "add", "--quiet", "-b", branch, path, base, folder=root)

    def git(self, *args: str, folder: str | None = None) -> bool:
        """Run git in the real repository or another folder, and return whether it succeeded."""
        transport = self.real.transport
        if not isinstance(transport, GitTransport):
            msg = "the transport of a real mission has to run git"
            raise TypeError(msg)
        where = folder or self.real.root
        return transport.git(args, folder=where, time_limit=_LIMIT).exit_code == 0


def _spelled(name: str, value: Any) -> tuple[str, ...]:
    option = "--" + name.replace("_", "-")
    if value is None or value is False:
        return ()
    if value is True:
        return (option,)
    return (f"{option}={value if isinstance(value, str) else json.dumps(value)}",)
