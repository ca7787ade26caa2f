"""Missions as users have them, on a real host: made by its own commands, in every topology."""

import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from spec_kitty_client import (
    AcceptanceUnavailable,
    Feature,
    HostError,
    IntegrationFailed,
    Lane,
    TransitionRejected,
    WouldLoseWork,
)
from tests import user_missions
from tests.user_missions import Package

from .conftest import has
from .lab import Lab

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
REWORKED = "WP04"
ONE = {"WP01": Package(makes="src/store/store.py")}
TWO = {
    "WP01": Package(makes="src/store/store.py"),
    "WP02": Package(makes="src/api/api.py", needs=("WP01",)),
}


@cache
def version_under_test() -> str:
    """Return the version of the host under test, which determines the topologies."""
    host = os.environ.get("E2E_HOST", "")
    if not Path(host).is_file():
        return "0"  # conftest ends the session
    said = subprocess.run([host, "--version"], check=True, capture_output=True, text=True)
    return said.stdout.split()[-1]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each topology that the host offers; in CI, once or twice."""
    if "topology" in metafunc.fixturenames:
        usual = ("coord",) if "program" in metafunc.fixturenames else ("coord", "lanes")
        offered = user_missions.topologies(version_under_test())
        kept = [name for name in offered if name in usual] or offered[:1]
        marked = [pytest.param(t, marks=() if t in kept else pytest.mark.long) for t in offered]
        metafunc.parametrize("topology", marked)


@pytest.fixture
def lab(tmp_path: Path, release: Version, home: Path) -> Callable[..., Lab]:
    """Make a mission of a user."""

    def make(topology: str, packages: dict[str, Package] | None = None, **options: Any) -> Lab:
        host = Path(os.environ["E2E_HOST"])
        root = tmp_path / "project"
        made = user_missions.make(
            host, str(release), root, topology=topology, packages=packages, **options
        )
        return Lab(tmp_path, made)

    return make


def plain(release: Version) -> str:
    """Return the topology that is nearest to the layout of the oldest hosts."""
    return "lanes" if "lanes" in user_missions.topologies(str(release)) else "flat"


def agents_can_do_all(release: Version, topology: str) -> bool:
    """Return whether the host accepts every work package from a worktree."""
    return topology != "single_branch" or not has(release, Feature.PLANNING_IN_CHECKOUT)


def packages_for(release: Version) -> dict[str, Package]:
    """Return the mission of five, without planning work if that is left to people."""
    every = user_missions.five(str(release))
    if not has(release, Feature.PLANNING_IN_CHECKOUT):
        return every
    return {wp: package for wp, package in every.items() if not package.planning}


def host_says_done(here: Lab, release: Version) -> bool:
    """Return whether the host's own status command reports everything as done."""
    flag = "--mission" if has(release, Feature.LANES) else "--feature"
    said = here.host("agent", "tasks", "status", flag, here.slug, "--json")
    assert said.returncode == 0, said.stdout + said.stderr
    told = json.loads(said.stdout[said.stdout.index("{") :])
    return all(wp["lane"] == "done" for wp in told["work_packages"])


def test_a_mission_as_the_templates_make_it_is_merged(
    lab: Callable[..., Lab], release: Version, topology: str
) -> None:
    """A mission with subtasks, dependency, overlap, planning work and rework is merged whole."""
    if not agents_can_do_all(release, topology):
        pytest.skip("the host takes all work from the primary checkout; see the test of that")
    here = lab(topology, packages_for(release), headed=False)
    here.rework = [REWORKED]
    main = here.git("rev-parse", "main")

    dry = here.run("orchestrate", "--dry-run", "--json")
    done = here.run("orchestrate", "--merge")

    assert done.returncode == 0, done.stdout + done.stderr
    layout = json.loads(dry.stdout)["layout"]
    assert layout["target"] == here.mission.target
    told = here.mission.packages if has(release, Feature.SUBTASK_GATE) else {}
    assert set(layout["subtasks"]) == set(told)
    once = dict.fromkeys(here.mission.packages, 1)
    assert here.runs("implement") == Counter(once | {REWORKED: 2})
    assert here.runs("review") == Counter(once | {REWORKED: 2})
    assert here.in_branch(here.mission.target) == {p.makes for p in here.mission.packages.values()}
    if here.mission.target != "main":
        assert here.git("rev-parse", "main") == main
    assert host_says_done(here, release)
    branches = here.git("branch", "--format=%(refname:short)").splitlines()
    assert not [b for b in branches if "lane-" in b]


@pytest.mark.parametrize(
    "program", ["own_loop.py", pytest.param("own_async_loop.py", marks=pytest.mark.long)]
)
def test_the_same_mission_is_merged_by_a_loop_of_ones_own(
    lab: Callable[..., Lab], release: Version, topology: str, program: str
) -> None:
    """A short loop on the SDK alone merges the same mission."""
    offered = user_missions.topologies(str(release))
    if "async" in program and topology != ("coord" if "coord" in offered else offered[0]):
        pytest.skip("one topology is enough for the other way of waiting")
    if not agents_can_do_all(release, topology):
        pytest.skip("the host takes all work from the primary checkout; see the test of that")
    here = lab(topology, packages_for(release))
    files = " ".join(f"{wp}={p.makes}" for wp, p in here.mission.packages.items())
    implement, review = here.base / "implement", here.base / "review"
    implement.write_text(
        f"#!/bin/sh\nfor f in {files}; do case $f in $1=*) p=${{f#*=}};; esac; done\n"
        'mkdir -p "$(dirname "$p")"; date +%N >> "$p"\n',
        encoding="utf-8",
    )
    once = here.base / "once"
    review.write_text(
        f"#!/bin/sh\n[ $1 != {REWORKED} ] || [ -e {once} ] || {{ touch {once}; exit 1; }}\n",
        encoding="utf-8",
    )
    for script in (implement, review):
        script.chmod(0o755)

    words = (here.root, here.slug, implement, review)
    argv = [sys.executable, str(EXAMPLES / program), *map(str, words)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"merged into {here.mission.target}" in done.stdout
    assert here.in_branch(here.mission.target) == {p.makes for p in here.mission.packages.values()}
    assert host_says_done(here, release)


def test_open_subtasks_are_refused_with_the_command_that_marks_them(
    lab: Callable[..., Lab], release: Version
) -> None:
    """The host refuses open subtasks; the error names them and a command that helps."""
    if not has(release, Feature.SUBTASK_GATE):
        pytest.skip("this host does not look at subtasks")
    here = lab(plain(release), ONE, headed=False)

    with pytest.raises(TransitionRejected) as refused:
        here.implement("WP01", subtasks="refuse")

    note = " ".join(refused.value.__notes__)
    assert "T001, T002, T003" in note
    command = note.partition("`spec-kitty ")[2].partition("`")[0]
    assert here.host(*shlex.split(command)).returncode == 0
    moved = here.client().mission(here.slug).work_package("WP01").submit_for_review()
    assert moved.lane == Lane.FOR_REVIEW


def test_the_target_is_that_of_the_hosts_order(lab: Callable[..., Lab], release: Version) -> None:
    """The work goes into `merge_target_branch` if the host knows that key, as the run reports."""
    if not has(release, Feature.LANES):
        pytest.skip("missions of these hosts have no such key")
    here = lab(plain(release), ONE, merge_target="release")
    own = here.client().mission(here.slug).layout().planning_branch

    done = here.run("orchestrate", "--merge", "--no-accept")

    if has(release, Feature.MERGE_NEEDS_CHECKOUT):  # and agents' work needs another checkout
        assert done.returncode == 2, done.stdout + done.stderr
        assert "spec-kitty consolidate" in done.stderr
        assert not here.runs("implement")
        return
    assert done.returncode == 0, done.stdout + done.stderr
    wanted, other = ("release", own) if has(release, Feature.MERGE_TARGET) else (own, "release")
    assert f"merged into {wanted}" in done.stdout
    assert here.in_branch(wanted) == {"src/store/store.py"}
    assert here.in_branch(other) == set()


def test_a_second_target_is_never_said_to_have_the_work(
    lab: Callable[..., Lab], release: Version
) -> None:
    """A merged mission is not reported as merged into a second target that lacks the work."""
    if not has(release, Feature.LANES):
        pytest.skip("these hosts keep the branches, and merge them again")
    here = lab(plain(release), ONE)
    head = here.implement("WP01")
    here.git("branch", "second", f"{here.mission.target}~3")
    client = here.client()
    assert client.mission(here.slug).merge(commits=[head]).changed
    assert not client.mission(here.slug).merge(commits=[head]).changed

    with pytest.raises(IntegrationFailed):
        client.mission(here.slug).merge(target="second", commits=[head])

    assert here.in_branch("second") == set()


def test_branches_that_are_gone_are_no_merge(lab: Callable[..., Lab], release: Version) -> None:
    """In a clone without the lanes nothing proves a merge, so the host is called and refuses."""
    if not has(release, Feature.LANES):
        pytest.skip("these hosts have a branch for each work package, and say so")
    here = lab(plain(release), ONE)
    here.implement("WP01")
    if here.git("status", "--porcelain", "--", "kitty-specs"):
        here.git("add", "kitty-specs")
        here.git("commit", "--quiet", "--message=status")
    clone = here.base / "clone"
    here.git("clone", "--quiet", f"file://{here.root}", str(clone))
    subprocess.run(["git", "branch", "main", "origin/main"], cwd=clone, check=False)
    here.root = clone

    with pytest.raises(HostError):
        here.client().mission(here.slug).merge()

    assert here.in_branch(here.mission.target) == set()


def test_a_squash_does_not_take_back_what_the_target_has_newer(
    lab: Callable[..., Lab], release: Version
) -> None:
    """A squash that would revert newer changes of the target is refused without a call."""
    if not has(release, Feature.CLEAN_TARGET):
        pytest.skip("a squash of these hosts ends in a conflict")
    here = lab(plain(release), ONE)
    made = here.root / "src" / "store" / "store.py"
    made.parent.mkdir(parents=True)
    made.write_text("base\n", encoding="utf-8")
    here.git("add", "src")
    here.git("commit", "--quiet", "--message=base")
    here.implement("WP01")
    made.write_text("hotfix\n", encoding="utf-8")
    here.git("commit", "--quiet", "--all", "--message=hotfix")

    with pytest.raises(WouldLoseWork, match=r"newer than .*store\.py"):
        here.client().mission(here.slug).merge(strategy="squash")

    assert here.git("show", f"{here.mission.target}:src/store/store.py") == "hotfix"


def test_the_command_that_is_named_accepts_a_coordinated_mission(
    lab: Callable[..., Lab], release: Version
) -> None:
    """The command in the error accepts a mission that the API cannot accept."""
    if "coord" not in user_missions.topologies(str(release)) or has(release, Feature.COORD_ACCEPT):
        pytest.skip("the API of this host accepts what it can have")
    here = lab("coord", ONE)
    here.implement("WP01")
    client = here.client()

    with pytest.raises(AcceptanceUnavailable) as unavailable:
        client.mission(here.slug).accept()

    assert client.mission(here.slug).merge().changed
    said = here.host(*unavailable.value.command.split()[1:])
    assert "Traceback" not in said.stdout + said.stderr
    if has(release, Feature.SUBTASK_EVENTS):
        verdict = ("agent", "mission", "acceptance-verdict", "--mission", here.slug)
        judged = here.host(*verdict, "--criterion", "FR-001", "--result", "pass")
        assert judged.returncode == 0, judged.stdout + judged.stderr
        said = here.host(*unavailable.value.command.split()[1:])
        assert said.returncode == 0, said.stdout + said.stderr


def test_files_that_the_host_writes_stop_no_merge_where_they_are_tracked(
    lab: Callable[..., Lab], release: Version
) -> None:
    """A tracked sync state, which 3.2.7 rewrites, does not stop the merge."""
    if not has(release, Feature.CLEAN_TARGET):
        pytest.skip("these hosts merge over it")
    here = lab(plain(release), ONE)
    state = here.root / ".kittify" / "sync-state.json"
    state.write_text("{}\n", encoding="utf-8")
    here.git("add", "--force", ".kittify/sync-state.json")
    here.git("commit", "--quiet", "--message=track the host's state")

    done = here.run("orchestrate", "--merge", "--no-accept")

    assert done.returncode == 0, done.stdout + done.stderr
    assert here.in_branch(here.mission.target) == {"src/store/store.py"}


def test_another_branch_is_told_before_the_run(lab: Callable[..., Lab], release: Version) -> None:
    """A run on another branch than the mission's is refused before any agent starts."""
    if not has(release, Feature.PROTECTED_BRANCHES):
        pytest.skip("these hosts commit on whatever is checked out")
    here = lab(plain(release), ONE)
    here.git("checkout", "--quiet", "-b", "elsewhere")

    done = here.run("orchestrate")

    assert done.returncode == 2
    assert "git checkout work" in done.stderr
    assert not here.runs("implement")


def test_a_mission_that_records_on_main_is_told_before_the_run(
    lab: Callable[..., Lab], release: Version
) -> None:
    """A mission that records on main is refused before the run, unless the variable allows it."""
    if not has(release, Feature.PROTECTED_BRANCHES):
        pytest.skip("these hosts commit on main")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS", "1")
        here = lab(plain(release), ONE, branch="main")
    here.git("checkout", "--quiet", "-b", "feature")

    refused = here.run("orchestrate", "--dry-run")

    assert refused.returncode == 2
    assert "SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS=1" in refused.stdout + refused.stderr
    here.git("checkout", "--quiet", "main")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS", "1")
        done = here.run("orchestrate", "--merge", "--no-accept")
    assert done.returncode == 0, done.stdout + done.stderr
    assert here.in_branch("main") == {"src/store/store.py"}


def test_work_that_a_host_takes_from_the_checkout_alone_is_left_to_people(
    lab: Callable[..., Lab], release: Version
) -> None:
    """Work for the primary checkout is reported before the run and left; the rest is done."""
    if not has(release, Feature.PLANNING_IN_CHECKOUT):
        pytest.skip("on this host planning work has a worktree")
    planning = {"WP02": Package(makes="docs/page.md", planning=True)}
    here = lab("lanes", ONE | planning)

    done = here.run("orchestrate", "--no-accept")

    assert done.returncode == 1
    assert "note: WP02: planning work" in done.stdout
    assert here.runs("implement") == Counter({"WP01": 1})
    assert here.in_branch(here.mission.target) == set()


def test_a_mission_that_is_all_work_in_the_checkout_is_not_begun(
    lab: Callable[..., Lab], release: Version
) -> None:
    """Under `single_branch` of 4.0.0rc7, with work in the primary checkout only, no run starts."""
    if not has(release, Feature.PLANNING_IN_CHECKOUT):
        pytest.skip("on this host the topology has worktrees")
    here = lab("single_branch", TWO)

    done = here.run("orchestrate")

    assert done.returncode == 2
    assert "has to be done by a person" in done.stderr
    assert not here.runs("implement")


def test_a_merged_mission_tells_all_that_its_acceptance_lacks(
    lab: Callable[..., Lab], release: Version
) -> None:
    """For 4.0.0rc7 the run lists every missing fact of an acceptance, with the commands."""
    if not has(release, Feature.COORD_ACCEPT):
        pytest.skip("this host accepts a mission whose work is done")
    here = lab("lanes", ONE)
    spec = here.mission.folder / "spec.md"
    text = spec.read_text(encoding="utf-8")
    question = "[NEEDS CLARIFICATION: which one?] <!-- decision_id: D1 -->"
    spec.write_text(f"{text}\n{question}\n", encoding="utf-8")
    here.git("commit", "--quiet", "--all", "--message=a question")

    done = here.run("orchestrate", "--merge")

    assert done.returncode == 0, done.stdout + done.stderr
    assert here.in_branch(here.mission.target) == {"src/store/store.py"}
    for check in ("metadata: WP01", "activity", "needs_clarification", "path_violations"):
        assert f"  - {check}" in done.stdout
    assert "spec-kitty-orchestrator resume" not in done.stdout
    judge = done.stdout.partition("-> spec-kitty agent mission acceptance-verdict ")[2]
    assert "(ID: FR-001)" in judge.partition("\n")[0]
    words = judge.partition(" (ID")[0].replace("ID", "FR-001").split()
    spec.write_text(text, encoding="utf-8")
    here.git("commit", "--quiet", "--all", "--message=an answer")
    assert here.host("agent", "mission", "acceptance-verdict", *words).returncode == 0
    accept = done.stdout.partition("next: spec-kitty ")[2].partition("\n")[0]
    accepted = here.host(*accept.split())
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr


def test_the_commands_of_a_merge_conflict_resolve_it(
    lab: Callable[..., Lab], release: Version
) -> None:
    """After the printed commands and an edit of the file, `resume` merges."""
    here = lab(plain(release), ONE)
    here.run("orchestrate", "--no-accept")
    made = here.root / "src" / "store" / "store.py"
    made.parent.mkdir(parents=True)
    made.write_text("hotfix\n", encoding="utf-8")
    here.git("add", "src")
    here.git("commit", "--quiet", "--message=hotfix")
    before = here.git("rev-parse", here.mission.target)

    failed = here.run("resume", "--merge")

    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "have merge conflicts in src/store/store.py" in failed.stdout
    assert "may have taken effect" not in failed.stdout
    moved = here.git("diff", "--name-only", before, here.mission.target).split()
    if Version("2.1.0") <= release < Version("3.2.0"):  # the SDK commits the host's records first
        moved = [path for path in moved if not path.startswith("kitty-specs/")]
    assert moved == []
    lines = [line.partition("next: ")[2] for line in failed.stdout.splitlines()]
    for command in filter(None, lines):
        words = shlex.split(command)
        if words[0] == "spec-kitty-orchestrator":
            done = here.run(*words[1:])
            continue
        if "add" in words:
            Path(words[2], words[-1]).write_text("hotfix and work\n", encoding="utf-8")
        subprocess.run(words, cwd=here.root, check="merge" not in words)
    assert done.returncode == 0, done.stdout + done.stderr
    merged = here.git("show", f"{here.mission.target}:src/store/store.py")
    assert merged == "hotfix and work"


def test_a_mission_with_canceled_work_ends_honestly(
    lab: Callable[..., Lab], release: Version
) -> None:
    """A mission with canceled work is merged, and the refused acceptance is reported."""
    if not has(release, Feature.LANES):
        pytest.skip("these hosts merge what has a branch")
    apart = {"WP01": ONE["WP01"], "WP02": Package(makes="src/api/api.py")}
    here = lab(plain(release), apart)
    client = here.client()
    client.transition(here.slug, "WP02", Lane.CANCELED, note="not needed any more")

    done = here.run("orchestrate", "--merge")

    assert done.returncode == 0, done.stdout + done.stderr
    assert here.in_branch(here.mission.target) == {"src/store/store.py"}
    assert "spec-kitty-orchestrator resume" not in done.stdout
    assert "not accepted: " in done.stdout
    branches = here.git("branch", "--format=%(refname:short)").splitlines()
    assert not [b for b in branches if "lane-" in b]
