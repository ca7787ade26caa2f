"""Work packages as users have them: with subtasks, of planning, and in lanes that are shared.

Each scenario plays in missions of its own (see `tests.user_missions`), and the names of its calls
begin with its own name.
"""

import re

from tests.record.user_merges import endings, protection, topologies
from tests.record.user_world import FORCED, end, finish, merge, resolve, start, submit
from tests.record.world import PLANNING, World
from tests.user_missions import Package

__all__ = ["ALL", "PREFIXES", "planning", "sharing", "subtasks"]

_ONE = {"WP01": Package(makes="src/store/store.py", subtasks=2)}
_PLANNED = {
    "WP01": Package(makes="docs/findings.md", planning=True, subtasks=0),
    "WP02": Package(makes="src/api/api.py", needs=("WP01",), subtasks=0),
    "WP03": Package(makes="notes/risks.md", planning=True, subtasks=0),
}
_SHARED = {
    "WP01": Package(makes="src/store/store.py", subtasks=0),
    "WP02": Package(makes="src/store/index.py", needs=("WP01",), everywhere=True, subtasks=0),
    "WP03": Package(
        makes="src/log/log.py", also_owns=("src/store/**",), everywhere=True, subtasks=0
    ),
}
_SHARED_31 = {  # these releases refuse files with two owners
    "WP01": Package(makes="src/store/store.py", subtasks=0),
    "WP02": Package(makes="src/index/index.py", needs=("WP01",), subtasks=0),
}


def subtasks(w: World) -> None:
    """Submit a work package whose subtasks are open, and one whose are not."""
    u = w.made("subtasks", _ONE)
    u.must("start-implementation", **start("WP01"))
    u.do("subtasks: for_review without a commit", "transition", **submit("WP01"))
    u.load("subtasks")
    u.must("start-implementation", **start("WP01"))
    u.work("WP01")
    u.save("subtasks worked")
    u.do("subtasks: for_review", "transition", **submit("WP01"))
    if not w.release.since(2, 1):
        return
    _complete(u, "")
    _front_matter(u)
    if w.release.since(3, 1, 1) and not w.release.since(3, 2, 6):
        _below_the_heading(u)
        _complete(u, ", boxes below the heading")


def _below_the_heading(u: World) -> None:
    """Remove the heading between a work package's name and its boxes.

    These releases look for boxes only up to that heading of the template.
    """
    u.load("subtasks worked")
    path = u.folder / "tasks.md"
    text = path.read_text(encoding="utf-8").replace("### Included Subtasks\n\n", "")
    path.write_text(text, encoding="utf-8")
    u.commit()
    u.save("subtasks worked")
    u.do("subtasks: for_review, boxes below the heading", "transition", **submit("WP01"))


def _complete(u: World, where: str) -> None:
    """Submit after subtasks were completed, or with the option that claims it."""
    for what, more in {
        "with --subtasks-complete": {"subtasks_complete": True},
        "by force": FORCED,
    }.items():
        u.load("subtasks worked")
        u.do(f"subtasks: for_review {what}{where}", "transition", **submit("WP01", **more))
    for what, names in {"one of two": ("T001",), "all": ("T001", "T002")}.items():
        u.load("subtasks worked")
        _mark(u, *names)
        u.do(f"subtasks: for_review with {what} marked{where}", "transition", **submit("WP01"))
    u.load("subtasks worked")
    _tick(u)
    u.do(f"subtasks: for_review with ticked boxes{where}", "transition", **submit("WP01"))


def _mark(u: World, *names: str) -> None:
    """Record that subtasks are complete, which no verb of the API does."""
    where = (f"--{u.release.selector}", u.mission.slug)
    mark = ("agent", "tasks", "mark-status", *names, "--status", "done", *where, "--json")
    u.host.for_missions(u.root, mark)


def _tick(u: World) -> None:
    """Tick every box in every file."""
    for path in (u.folder / "tasks.md", *u.folder.glob("tasks/WP*")):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("- [ ] ", "- [x] "), encoding="utf-8")
    u.commit()


def _front_matter(u: World) -> None:
    """Submit with an incomplete front matter."""
    for what, line in {"no key subtasks": "", "an empty list": "subtasks: []\n"}.items():
        u.load("subtasks worked")
        path = next(u.folder.glob("tasks/WP01*"))
        text = re.sub(r"(?m)^subtasks:.*\n(- .*\n)*", line, path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
        u.commit()
        u.do(f"subtasks: for_review with {what}", "transition", **submit("WP01"))


def planning(w: World) -> None:
    """Plan in one work package, and write code in another that depends on it."""
    if not w.release.since(3, 1):
        return
    u = w.made("planning", _PLANNED)
    u.do("planning: state", "state")
    u.do("planning: list-ready", "list-ready")
    resolve(u, "planning: resolve-workspace before start", "WP01")
    u.do("planning: start the dependent too early", "start-implementation", **start("WP02"))
    _begin(u)
    resolve(u, "planning: resolve-workspace after start", "WP01")
    u.do("planning: start again", "start-implementation", **start("WP01"))
    u.do("planning: start by another", "start-implementation", **start("WP01", "a2"))
    u.do("planning: start a second", "start-implementation", **start("WP03"))
    u.load("planning started")
    u.do("planning: for_review without a commit", "transition", **submit("WP01"))
    u.load("planning started")
    (u.root / "findings.md").write_text("# Found\n", encoding="utf-8")
    u.commit("findings.md")
    u.do("planning: for_review with a commit on the target", "transition", **submit("WP01"))
    u.load("planning started")
    u.work("WP01")
    u.do("planning: for_review", "transition", **submit("WP01"))
    end(u, "planning", u.mission.dag)
    u.commit()
    merge(u, "planning")


def _begin(u: World) -> None:
    """Start the planning work, in a worktree made by hand if the host makes none."""
    u.load("planning")
    said = u.do("planning: start", "start-implementation", **start("WP01"))
    if "to_lane" in said:
        u.save("planning started")
    if u.release.since(3, 2) and not u.release.since(4):
        u.load("planning")
        _place(u)
        made = "planning: start in a worktree of the user's"
        u.do(made, "start-implementation", **start("WP01"))
        if "to_lane" not in said:
            u.save("planning started")
        resolve(u, "planning: resolve-workspace of the user's worktree", "WP01")
        u.work("WP01")
        u.do("planning: for_review from the user's worktree", "transition", **submit("WP01"))
    u.load("planning started")


def _place(u: World) -> None:
    """Make the worktree of the planning lane by hand."""
    path = u.root / ".worktrees" / f"{u.mission.slug}-{PLANNING}"
    u.git("worktree", "add", "--quiet", str(path), "-b", f"{u.mission.slug}-{PLANNING}")


def sharing(w: World) -> None:
    """Claim work packages of one lane whose worktree is not clean."""
    if not w.release.since(3, 1):
        return
    u = w.made("sharing", _SHARED if w.release.since(3, 2) else _SHARED_31)
    u.must("start-implementation", **start("WP01"))
    u.work("WP01")
    u.save("sharing started")
    if "WP03" in u.mission.dag:
        _dirty(u)
        u.do("sharing: start beside, dirty", "start-implementation", **start("WP03"))
        resolve(u, "sharing: resolve-workspace after that", "WP03")
        u.load("sharing started")
        u.do("sharing: start beside", "start-implementation", **start("WP03"))
        resolve(u, "sharing: resolve-workspace beside", "WP03")
        u.do("sharing: for_review without a commit of its own", "transition", **submit("WP03"))
        u.load("sharing started")
    finish(u, "WP01")
    u.save("sharing finished")
    (u.worktree("WP01") / "left.txt").write_text("not committed\n", encoding="utf-8")
    u.do("sharing: start the next, untracked file", "start-implementation", **start("WP02"))
    u.load("sharing finished")
    _dirty(u)
    u.do("sharing: start the next, dirty", "start-implementation", **start("WP02"))
    u.load("sharing finished")
    end(u, "sharing", [wp for wp in u.mission.dag if wp != "WP01"])
    u.commit()
    merge(u, "sharing")


def _dirty(u: World) -> None:
    """Change a file of the first work package without a commit."""
    path = u.worktree("WP01") / u.mission.files["WP01"]
    path.write_text("not committed\n", encoding="utf-8")


ALL = (subtasks, planning, sharing, topologies, endings, protection)
PREFIXES = tuple(f"{scene.__name__}: " for scene in ALL)
"""The first word of the names of their calls."""
