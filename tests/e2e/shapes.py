"""Missions in the shapes that public repositories have under ``kitty-specs``.

A shape is the part of a mission that a host and a run depend on: the form of its slug, the keys of
``meta.json``, the graph of its work packages, their owned files, the form of their front matter and
boxes. Each is small, and all names and texts are new.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.user_missions import Package

__all__ = ["SHAPES", "Index", "Shape"]


@dataclass(frozen=True, kw_only=True)
class Index:
    """The form of ``tasks.md``: patterns with ``{wp}``, ``{i}``, ``{t}`` and ``{needs}``."""

    heading: str = "### {wp} — Part {i}"
    needs: str = "- **Dependencies**: {needs}\n"
    above: str = ""
    """Between the dependencies and the first box."""
    box: str = ""
    """One line for each subtask."""
    row: str = ""
    """One row for each subtask, in a table at the top."""


TEMPLATE = Index(
    heading="## Work Package {wp}: Part {i} (Priority: P1)",
    needs="**Dependencies**: {needs}\n",
    above="\n### Included Subtasks\n",
    box="- [x] {t} Part of {wp}\n",
)
"""The form of older hosts' templates, here with every box ticked."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A mission as in a public repository, and the expected end of its run."""

    packages: Mapping[str, Package]
    """``{slug}`` in a path stands for the mission's slug. Each owns the file that it makes."""
    topology: str = "lanes"
    """The topology with which the mission is created."""
    flattened: bool = False
    """Whether its coordination branch is removed after the creation."""
    branch: str
    """The branch that it is planned on, which is its target. On ``main`` the variable that allows
    commits there is set.
    """
    slug: str | None = None
    """The name of its folder, if that was made by a host that put no id behind it."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Keys of ``meta.json`` in addition to the host's; None removes a key."""
    front: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the front matter in addition to those of `user_missions`; None removes a key."""
    forgotten: tuple[str, ...] = ()
    """Keys of the front matter that the present host requires at finalisation and older hosts did
    not know; removed afterwards.
    """
    index: Index = Index()
    one_lane: bool = False
    """Whether ``lanes.json`` is that of a host before 3.1.0: one lane, and an older key."""
    finalised: bool = True
    """Whether the host has finalised its tasks."""
    bare: bool = False
    """Whether the files of its work packages have no front matter."""
    missing: str | None = None
    """A pattern for the message of the refusal before the run; None: the run must succeed."""
    why: str
    """The reason for the expected end."""


SHAPES: dict[str, Shape] = {
    # kentonium3/bake-tracker, missions 001 to 052.
    "numbered": Shape(
        slug="050-tables",
        branch="main",
        meta={
            "feature_number": "050",
            "feature_slug": "050-tables",
            "mission": "software-dev",
            "accept_commit": None,
            "acceptance_history": [],
        },
        front={
            "lane": "planned",
            "assignee": "",
            "review_status": "",
            "history": [{"timestamp": "2026-01-12T23:45:00Z", "lane": "planned"}],
        },
        forgotten=("owned_files", "authoritative_surface", "execution_mode", "create_intent"),
        packages={
            "WP01": Package(makes="src/models/table.py", subtasks=3),
            "WP02": Package(makes="src/services/table.py", needs=("WP01",), subtasks=3),
            "WP03": Package(makes="src/services/export.py", needs=("WP01",), subtasks=2),
            "WP04": Package(makes="src/services/load.py", needs=("WP01", "WP03"), subtasks=2),
        },
        index=TEMPLATE,
        why="today's host takes what was finalised, whatever keys the front matter lost",
    ),
    # garrison-hq/muster, conformance-programme-docs.
    "target-like-a-mission-branch": Shape(
        topology="single_branch",
        branch="kitty/mission-programme-pages",
        front={
            "planning_base_branch": "kitty/mission-programme-pages",
            "merge_target_branch": "kitty/mission-programme-pages",
            "history": [],
            "agent_profile": "curator",
            "model": "",
            "tags": [],
        },
        packages={
            "WP01": Package(makes="docs/guides/run.md", also_owns=("site/config.mjs",), subtasks=7),
            "WP02": Package(
                makes="docs/rubric/index.md",
                also_owns=("site/config.mjs",),
                needs=("WP01",),
                subtasks=9,
            ),
        },
        why="a target of that name is a branch like any other; both work packages share a lane",
    ),
    # spec-kitty/gapdb, gapdb-mvp.
    "all-before-the-last": Shape(
        topology="single_branch",
        branch="main",
        meta={"status_phase": "1", "vcs": "git"},
        front={"history": [{"timestamp": "2026-08-23T12:58:27Z", "action": "made"}], "model": ""},
        packages={
            "WP01": Package(makes="internal/protocol/wire.go"),
            "WP02": Package(makes="internal/persist/log.go", needs=("WP01",)),
            "WP03": Package(makes="internal/engine/state.go", needs=("WP01", "WP02")),
            "WP04": Package(makes="internal/engine/watch.go", needs=("WP03",)),
            "WP05": Package(makes="tests/gate/run.go", needs=("WP01", "WP02", "WP03", "WP04")),
        },
        index=Index(box="- [ ] {t} Part of {wp}\n"),
        why="a chain of lanes, the last of which builds on all others",
    ),
    # Priivacy-ai/spec-kitty-analyzer, build-version-injection.
    "coordinated": Shape(
        topology="coord",
        branch="feat/build-stamp",
        meta={"pr_bound": True, "vcs": "git"},
        front={"tracker_refs": ["#19", "#21"], "role": "curator", "task_type": "implement"},
        packages={
            "WP01": Package(makes="cmd/tool/main.go", subtasks=7),
            "WP02": Package(makes=".github/workflows/release.yml", needs=("WP01",), subtasks=4),
            "WP03": Package(makes="docs/releases/notes-0.3.0.md", needs=("WP01",), subtasks=3),
        },
        index=Index(
            above="- **Included subtasks**:\n",
            box="  - [ ] {t} part ({wp})\n",
            row="| {t} | part | {wp} | |\n",
        ),
        why="the state is on the coordination branch, the work goes into the feature branch",
    ),
    # Priivacy-ai/spec-kitty-runtime, runtime-side-log-classification-closeout.
    "planning-in-its-own-folder": Shape(
        branch="main",
        meta={"topology": None, "flattened": None},
        front={
            "planning_base_branch": "main",
            "merge_target_branch": "main",
            "history": [{"at": "2026-05-11T11:04:35Z", "event": "created"}],
            "agent": "claude:model:operator:reviewer",
            "shell_pid": "83623",
        },
        forgotten=("create_intent",),
        packages={
            "WP01": Package(
                makes="kitty-specs/{slug}/checklists/wp01-results.md", planning=True, subtasks=6
            ),
            "WP02": Package(
                makes="kitty-specs/{slug}/checklists/wp02-evidence.md",
                needs=("WP01",),
                planning=True,
                subtasks=3,
            ),
        },
        index=Index(box="- [ ] {t} Part of {wp}\n"),
        why="planning work below the mission's folder is work like any other",
    ),
    # spec-kitty/doc-kitty, diagrams.
    "flattened-diamond": Shape(
        topology="coord",
        flattened=True,
        branch="feat/drawings",
        meta={"mission_number": 2, "pr_bound": True, "status_phase": "1"},
        packages={
            "WP01": Package(makes="src/styles/theme.css", subtasks=5),
            "WP02": Package(makes="src/lib/meta.ts", subtasks=4),
            "WP03": Package(makes="src/lib/config.ts", needs=("WP01", "WP02"), subtasks=4),
            "WP04": Package(makes="example/docs/show.md", needs=("WP03",)),
            "WP05": Package(makes="src/layouts/deck.astro", needs=("WP03",), subtasks=2),
            "WP06": Package(makes="tests/a11y/routes.ts", needs=("WP04", "WP05")),
            "WP07": Package(makes="docs/architecture/drawings.md", subtasks=2),
        },
        index=Index(row="| {t} | part | {wp} | [P] |\n"),
        why="lanes out of order, no boxes at all, and a number that the mission has already",
    ),
    # Priivacy-ai/spec-kitty-events, 014-mission-contract-cutover.
    "numbered-in-one-lane": Shape(
        slug="014-cutover",
        branch="main",
        meta={"mission_number": 14, "mission_type": "software-dev", "mission_slug": "014-cutover"},
        front={"history": [{"timestamp": "2026-04-05T12:40:33Z", "lane": "planned"}]},
        forgotten=("create_intent",),
        one_lane=True,
        packages={
            "WP01": Package(makes="src/events/models.py", subtasks=4),
            "WP02": Package(makes="src/events/lifecycle.py", needs=("WP01",), subtasks=4),
            "WP03": Package(makes="src/events/dossier.py", needs=("WP01",), subtasks=4),
            "WP04": Package(makes="README.md", needs=("WP02", "WP03"), subtasks=5),
        },
        index=TEMPLATE,
        missing="mission_slug",
        why="the lanes are those of a host before 3.1.0, on which later ones crash at a claim",
    ),
    # LynnColeArt/Frumpy, fenum-numpy-compatible-array-engine.
    "coordinated-on-main": Shape(
        topology="coord",
        branch="main",
        meta={"topology": None, "flattened": None},
        packages={
            "WP01": Package(makes="Makefile", also_owns=("src/.gitkeep",), subtasks=5),
            "WP02": Package(makes="src/kinds.f90", needs=("WP01",), subtasks=5),
            "WP03": Package(makes="docs/COVERAGE.md", needs=("WP02",)),
        },
        index=Index(
            heading="## Work Package {wp}: Part {i}",
            needs="**Dependencies**: {needs}\n",
            above="**Subtasks**: see below\n",
            box="- [x] {t} Part of {wp}.\n",
        ),
        why="a coordination branch counts whether or not a topology is named",
    ),
    # martinelles/martinelles.github.io, feed-estudo-cgu.
    "order-in-words-alone": Shape(
        branch="main",
        meta={"topology": None, "flattened": None},
        front={"base_branch": "kitty/mission-feed", "assignee": "", "shell_pid": "14016"},
        forgotten=("create_intent",),
        packages={
            "WP01": Package(makes="scripts/load/run.ts", subtasks=6),
            "WP03": Package(makes="src/lib/feed/engine.ts", subtasks=6),
            "WP02": Package(
                makes="static/texts/first.json",
                also_owns=("kitty-specs/{slug}/texts-made.md",),
                subtasks=5,
            ),
            "WP04": Package(makes="kitty-specs/{slug}/measured.md", subtasks=3),
        },
        index=Index(
            needs="**Prompt**: tasks/ · **Reihenfolge**: nach WP01\n\n",
            box="- [ ] {t} Teil ({wp})\n",
        ),
        why="code work may own files below the mission's folder; no dependency is named to hosts",
    ),
    # KooshaPari/AgilePlus, 021-polyrepo-ecosystem-stabilization, whose work packages have front
    # matter, with keys of their own; hosts have not finalised it.
    "not-finalised": Shape(
        slug="021-steady",
        branch="work",
        meta={"feature_number": "021", "mission": "software-dev", "vcs": "git"},
        front={
            "feature_slug": "steady-wave-1",
            "priority": "P1",
            "owned_files": None,
            "execution_mode": None,
        },
        finalised=False,
        packages={
            "WP01": Package(makes="artifacts/lanes.md", subtasks=0),
            "WP02": Package(makes="artifacts/runs.md", subtasks=0),
            "WP03": Package(makes="docs/sessions/notes.md", needs=("WP01",), subtasks=0),
        },
        missing="finalize-tasks",
        why="without the events of the finalisation the host knows no state of a work package",
    ),
    # KooshaPari/AgilePlus, 008-temporal-deployment-workflow-migration.
    "skeleton": Shape(
        slug="008-move",
        branch="work",
        meta={
            "feature_number": "008",
            "mission": "software-dev",
            "source_description": "Move it",
            "vcs": "git",
        },
        finalised=False,
        bare=True,
        packages={
            "WP01": Package(makes="infra/deploy.yaml", subtasks=0),
            "WP02": Package(makes="infra/worker.py", needs=("WP01",), subtasks=0),
            "WP03": Package(makes="infra/sync.yaml", needs=("WP02",), subtasks=0),
        },
        index=Index(heading="| WP-008-{i:03d} | Part {i} | planned |", needs=""),
        missing="front matter",
        why="no work package has front matter, so that no host could take one for review",
    ),
}
"""The shapes, each named after its special feature."""
