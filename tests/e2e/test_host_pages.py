"""The command lines of the host's own pages, made with this project.

The lines are copied from those pages, placeholders included; docs/host-pages.md is the table of
them. Options of ``spec-kitty orchestrator-api`` are compared without ``--json``, which only hosts
1.0.x take and the SDK never sends.
"""

import html
import os
import re
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.version import Version

from spec_kitty_client import (
    AcceptMission,
    AppendHistory,
    Client,
    Command,
    Contract,
    ContractVersion,
    Dialect,
    Feature,
    Lane,
    ListReady,
    MergeMission,
    MissionState,
    Policy,
    Review,
    StartImplementation,
    StartReview,
    Transition,
    TransitionRejected,
)
from spec_kitty_client.api.spelling import spell
from spec_kitty_client.contract.dialects import dialect_of

from .conftest import POLICY, Scene, has

PAGE = Path(__file__).parents[2] / "docs" / "host-pages.md"
V = Version
BOTH = (Dialect.F1, Dialect.F2)
SAYS_MISSION = (Dialect.M0, Dialect.M1, Dialect.M2, Dialect.M3, Dialect.M4, Dialect.M5)
SPEAKS = {"guide": BOTH, "custom": BOTH, "reference": BOTH, "quickstart": SAYS_MISSION}
"""The dialects of each page: the guide for running an external orchestrator, the one for
writing another, the reference of contract 1.0.0, and the quickstart."""
GUIDE_SLUG, QUICKSTART_SLUG = "034-my-feature", "034-payment-retry-flow"
AGENTS = "--impl-agent claude-code --review-agent codex --max-concurrent 1"
OUR_LINES = {
    "guide": (
        f"spec-kitty-orchestrator orchestrate --feature {GUIDE_SLUG} --dry-run",
        f"spec-kitty-orchestrator orchestrate --feature {GUIDE_SLUG}",
        "spec-kitty-orchestrator status",
        "spec-kitty-orchestrator resume",
        "spec-kitty-orchestrator abort",
    ),
    "quickstart": (
        "spec-kitty-orchestrator --help",
        "spec-kitty-orchestrator orchestrate --help",
        f"spec-kitty-orchestrator orchestrate --mission {QUICKSTART_SLUG} {AGENTS} --dry-run",
        f"spec-kitty-orchestrator orchestrate --mission {QUICKSTART_SLUG} {AGENTS}",
        "spec-kitty-orchestrator status",
        "spec-kitty-orchestrator resume",
        "spec-kitty-orchestrator abort --cleanup-worktrees",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A call of ``spec-kitty orchestrator-api`` as a page prints it, and the SDK's call for it."""

    page: str
    printed: str
    said: Command


def _lines(page: str, *pairs: tuple[str, Command]) -> list[Line]:
    return [Line(page=page, printed=printed, said=said) for printed, said in pairs]


SLUG = "<slug>"
AT = {"mission": SLUG, "wp": "WP01"}
MINE = {**AT, "actor": "my-orchestrator", "policy": POLICY}
ANY = {"mission": SLUG, "wp": "<WP##>", "actor": "<actor-id>"}
HERE = "--feature <slug> --wp WP01"
MY_OWN = "--actor my-orchestrator --policy '<json>'"
THERE = "--feature <slug> --wp <WP##>"
ANYBODY = "--actor <actor-id>"
OPTIONAL = "[--note <text>] [--policy '<json>'] [--review-ref <ref>] [--force]"
MERGE_OPTIONS = "[--target main] [--strategy merge|squash] [--push]"
API_LINES = [
    *_lines(
        "guide",
        ("contract-version --json", ContractVersion()),
        (f"feature-state --feature {GUIDE_SLUG} --json", MissionState(mission=GUIDE_SLUG)),
    ),
    *_lines(
        "custom",
        ("contract-version", ContractVersion()),
        ("feature-state --feature <slug>", MissionState(mission=SLUG)),
        ("list-ready --feature <slug>", ListReady(mission=SLUG)),
        (f"start-implementation {HERE} {MY_OWN}", StartImplementation(**MINE)),
        (f"transition {HERE} --to for_review {MY_OWN}", Transition(**MINE, to="for_review")),
        (
            f"transition {HERE} --to done --actor reviewer-bot",
            Transition(**AT, to="done", actor="reviewer-bot"),
        ),
        (
            f"start-review {HERE} {MY_OWN} --review-ref review/WP01/attempt-2",
            StartReview(**MINE, review_ref="review/WP01/attempt-2"),
        ),
        (
            "accept-feature --feature <slug> --actor my-orchestrator",
            AcceptMission(mission=SLUG, actor="my-orchestrator"),
        ),
        (
            "merge-feature --feature <slug> --target main --strategy merge",
            MergeMission(mission=SLUG, target="main", strategy="merge"),
        ),
    ),
    *_lines(
        "reference",
        ("contract-version --json", ContractVersion()),
        (
            "contract-version --json [--provider-version <semver>]",
            ContractVersion(provider_version="<semver>"),
        ),
        ("feature-state --feature <slug> --json", MissionState(mission=SLUG)),
        ("list-ready --feature <slug> --json", ListReady(mission=SLUG)),
        (
            f"start-implementation {THERE} {ANYBODY} --policy '<json>' --json",
            StartImplementation(**ANY, policy=POLICY),
        ),
        (
            f"start-review {THERE} {ANYBODY} --policy '<json>' --review-ref <ref> --json",
            StartReview(**ANY, policy=POLICY, review_ref="<ref>"),
        ),
        (
            f"transition {THERE} --to <lane> {ANYBODY} {OPTIONAL} --json",
            Transition(
                **ANY, to="done", note="<text>", policy=POLICY, review_ref="<ref>", force=True
            ),
        ),
        (
            f"append-history {THERE} {ANYBODY} --note <text> --json",
            AppendHistory(**ANY, note="<text>"),
        ),
        (
            f"accept-feature --feature <slug> {ANYBODY} --json",
            AcceptMission(mission=SLUG, actor="<actor-id>"),
        ),
        (
            f"merge-feature --feature <slug> {MERGE_OPTIONS} --json",
            MergeMission(mission=SLUG, target="main", push=True),
        ),
    ),
    *_lines(
        "quickstart",
        ("contract-version", ContractVersion()),
        (f"list-ready --mission {QUICKSTART_SLUG}", ListReady(mission=QUICKSTART_SLUG)),
        (f"mission-state --mission {QUICKSTART_SLUG}", MissionState(mission=QUICKSTART_SLUG)),
    ),
]


def words(printed: str) -> tuple[str, dict[str, str]]:
    """Return the verb of a printed line, and its options with their values."""
    verb, *rest = shlex.split(printed.replace("[", " ").replace("]", " "))
    options: dict[str, str] = {}
    for word in rest:
        if word.startswith("--"):
            options[word] = ""
        else:
            options[list(options)[-1]] = word
    return verb, options


@pytest.mark.parametrize("line", API_LINES, ids=lambda line: f"{line.page}: {line.printed[:50]}")
def test_the_sdk_says_what_a_page_prints(line: Line) -> None:
    """The SDK sends the verb, options and values that a page prints."""
    verb, options = words(line.printed)
    options.pop("--json", None)
    for dialect in SPEAKS[line.page]:
        contract = Contract(V("1.0.0"), dialect.first_release)
        group, sent, *rest = spell(line.said, contract)
        ours = dict(word.partition("=")[::2] for word in rest)
        assert (group, sent) == ("orchestrator-api", verb)
        assert ours.keys() == options.keys()
        for name, value in options.items():
            if not any(mark in value for mark in "<|"):
                assert ours[name] == value


def test_the_table_has_every_line() -> None:
    """docs/host-pages.md has a row for every line that is checked here."""
    text = html.unescape(re.sub("</?code>", "`", PAGE.read_text(encoding="utf-8")))
    every = [f"spec-kitty orchestrator-api {line.printed}" for line in API_LINES]
    every += [line for lines in OUR_LINES.values() for line in lines]
    assert [line for line in every if f"`{line}`" not in text] == []


class Shell:
    """Runs the lines of a page unchanged, in the project of a mission."""

    def __init__(self, here: Scene) -> None:
        self.here = here
        programs = (here.base / "bin", Path(sys.executable).parent)
        path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
        self._env = {**os.environ, "PATH": path}

    def start(self, line: str) -> "subprocess.Popen[str]":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            ["sh", "-c", f"exec {line}"], cwd=self.here.root, env=self._env, text=True, **pipes
        )

    def type(self, line: str, *, expect: int = 0) -> str:
        """Return the output of a line, and check its exit code."""
        typed = self.start(line)
        out, err = typed.communicate(timeout=300)
        assert typed.returncode == expect, f"{line}\n{out}{err}"
        return out + err


def only_for(page: str, release: Version) -> None:
    """Skip a page on hosts of another dialect."""
    if dialect_of(release) not in SPEAKS[page]:
        says = "--feature (1.0.0 to 3.0.3)" if SPEAKS[page] == BOTH else "--mission (3.1.0 on)"
        pytest.skip(f"this page is about hosts that say {says}")


def renamed(here: Scene, slug: str) -> None:
    """Give the mission the slug that a page uses, in every file of it."""
    old = here.mission
    here.git("mv", f"kitty-specs/{old}", f"kitty-specs/{slug}")
    for name in here.git("ls-files", "-z", "--", f"kitty-specs/{slug}").split("\0")[:-1]:
        path = here.root / name
        path.write_text(path.read_text(encoding="utf-8").replace(old, slug), encoding="utf-8")
    here.git("commit", "--quiet", "--all", f"--message={slug}")
    here.mission = slug


@contextmanager
def ended(run: "subprocess.Popen[str]") -> "Iterator[subprocess.Popen[str]]":
    """Interrupt a run at the end of the block, also after an error."""
    try:
        yield run
    finally:
        run.terminate()
        run.communicate(timeout=60)


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def test_the_lines_of_the_guide_work_as_they_are_printed(
    scene: Callable[..., Scene], release: Version
) -> None:
    """The lines of the guide, run in order, take a mission of its name to done."""
    only_for("guide", release)
    here = scene(1)
    renamed(here, GUIDE_SLUG)
    shell = Shell(here)
    dry_run, orchestrate, status, resume, abort = OUR_LINES["guide"]

    assert "WP01     planned" in shell.type(dry_run)
    assert not here.host_calls() & Counter(["start-implementation"])
    shell.type(orchestrate)
    assert here.runs("end", "implement") == {"WP01": 1}
    assert here.runs("end", "review") == {"WP01": 1}
    assert re.search(r"WP01\W+done", shell.type(status))
    shell.type(resume)
    assert here.runs("end", "implement") == {"WP01": 1}  # nothing was left to do
    assert "No run is alive" in shell.type(abort)


def test_a_line_without_agents_takes_the_one_that_is_installed(scene: Callable[..., Scene]) -> None:
    """Without named agents, the only installed one implements and reviews."""
    here = scene(1)
    (here.base / "bin" / "claude").unlink()
    said = Shell(here).type(OUR_LINES["guide"][0].replace(GUIDE_SLUG, here.mission))
    assert re.findall(r"(implement|review): +(\w+)", said) == [
        ("implement", "codex"),
        ("review", "codex"),
    ]


def test_the_lines_of_the_quickstart_work_as_they_are_printed(
    scene: Callable[..., Scene], release: Version
) -> None:
    """The lines of the quickstart watch, interrupt, resume and clean up a run."""
    only_for("quickstart", release)
    here = scene(1)
    shell = Shell(here)
    lines = [line.replace(QUICKSTART_SLUG, here.mission) for line in OUR_LINES["quickstart"]]
    _, _, dry_run, orchestrate, status, resume, abort = lines
    here.configure(seconds={"implement": 300})

    assert "WP01" in shell.type(dry_run)
    with ended(shell.start(orchestrate)) as run:
        until(lambda: here.traced("start", role="implement"))
        assert "a run is alive" in shell.type(status)
    assert run.returncode == 130
    here.configure()
    shell.type(resume)
    assert here.runs("end", "implement") == {"WP01": 1}
    (worktree,) = (here.root / ".worktrees").iterdir()
    assert str(worktree) in shell.type(abort)
    assert not worktree.exists()
    assert here.lanes() == {"WP01": "done"}


def test_help_works_as_it_is_printed(scene: Callable[..., Scene]) -> None:
    """Both help lines print every option that the pages use."""
    shell = Shell(scene(1))
    overall, orchestrate = (shell.type(line) for line in OUR_LINES["quickstart"][:2])
    for verb in ("orchestrate", "status", "resume", "abort"):
        assert verb in overall
    for lines in OUR_LINES.values():
        for _, verb, *rest in map(shlex.split, lines):
            if verb == "orchestrate" and rest != ["--help"]:
                assert [w for w in rest if w.startswith("--") and w not in orchestrate] == []


def test_only_the_oldest_hosts_take_json(tmp_path: Path, release: Version) -> None:
    """From 2.1.0 on, --json of contract 1.0.0 is a usage error; the SDK's call is accepted."""
    host = os.environ["E2E_HOST"]
    verb, *options = API_LINES[0].printed.split()
    argv = [host, "orchestrator-api", verb, *options]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == (0 if release < V("2") else 2)
    assert Client(tmp_path).contract_version().api_version


def test_the_reads_of_the_quickstart_say_what_it_says(
    scene: Callable[..., Scene], release: Version
) -> None:
    """Its three calls show the contract, the ready work and the lanes of a fresh mission."""
    only_for("quickstart", release)
    here = scene(1)
    client = Client(here.root)
    old = release < V("3.2.2")
    assert (client.contract_version().api_version == "1.0.0") == old
    ready = client.list_ready(here.mission).ready_work_packages
    assert [wp.wp_id for wp in ready] == ["WP01"]
    assert set(client.mission_state(here.mission).lanes().values()) == {Lane.PLANNED}


def test_the_flow_of_a_custom_orchestrator_works_with_the_sdk(
    scene: Callable[..., Scene], release: Version
) -> None:
    """The page's calls work in order; where 2.x and 3.0 refuse one, `finish` does the move."""
    only_for("custom", release)
    here = scene(1)
    renamed(here, GUIDE_SLUG)
    mission, wp = here.mission, "WP01"
    client = Client(here.root, actor="my-orchestrator", policy=Policy.from_dict(POLICY.to_dict()))

    assert client.contract_version().api_version == "1.0.0"
    assert client.mission_state(mission).lanes() == {wp: Lane.PLANNED}
    assert [w.wp_id for w in client.list_ready(mission).ready_work_packages] == [wp]
    started = client.start_implementation(mission, wp)
    assert not Path(started.workspace_path).exists()  # these hosts only name the worktree
    here.work(client.mission(mission).work_package(wp).claim().workspace_path, wp)
    assert client.transition(mission, wp, "for_review").to_lane == Lane.FOR_REVIEW
    back = client.start_review(mission, wp, review_ref="review/WP01/attempt-2")
    assert back.to_lane == Lane.IN_PROGRESS
    client.transition(mission, wp, "for_review")
    if has(release, Feature.CLAIMED_LANE):
        with pytest.raises(TransitionRejected):
            client.transition(mission, wp, "done", actor="reviewer-bot")
        review = Review(reviewer="reviewer-bot", reference="review/WP01/attempt-3")
        assert (
            client.mission(mission).work_package(wp).finish(review, actor="reviewer-bot").lane
            == Lane.DONE
        )
    else:
        assert client.transition(mission, wp, "done", actor="reviewer-bot").to_lane == Lane.DONE
    assert client.append_history(mission, wp, "a note").history_entry_id
    assert client.accept_mission(mission).accepted
    assert client.merge_mission(mission, target="main", strategy="merge").merged
    assert here.files[wp] in here.merged_files()
