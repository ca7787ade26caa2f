"""Tests of `spec_kitty_orchestrator.workspace`, in whole runs with agents that go astray."""

import shutil
from pathlib import Path

import anyio
import pytest

from spec_kitty_orchestrator.errors import RepositoryProblem, WorkPackageFailed
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.state.events import (
    AttemptFailed,
    AttemptStarted,
    ChangesKept,
    Implemented,
    VerdictGiven,
    WorkPackageStuck,
)
from spec_kitty_orchestrator.work_package import Turn, WorkPackageRun
from tests.orchestrator.git.repositories import head_of, hook, save, write
from tests.orchestrator.hosts import SLUG
from tests.orchestrator.worlds import (
    APPROVES,
    REFUSES,
    REFUSES_ONCE,
    WRITES,
    World,
    script,
    world,
)

COMMITS = "git('add', '--all')\ngit('commit', '-q', '-m', 'mine')\n"


def reasons(w: World) -> list[str]:
    """Return the reasons of failed attempts."""
    return [event.reason for event in w.events(AttemptFailed)]


def on_lane(w: World, name: str, wp: str = "WP01") -> bool:
    """Return whether a file is in the branch that is merged."""
    return name in git(w.root, "ls-tree", "-r", "--name-only", w.host.branch(wp)).split()


# The branch


@pytest.mark.parametrize(
    "leaves",
    [
        "git('switch', '-q', '-c', 'feature/mine')\n",
        "git('switch', '-q', '--detach')\n",
        "git('branch', '-m', 'feature/mine')\n",
    ],
    ids=["own branch", "detached", "renamed"],
)
@pytest.mark.parametrize("commits", ["", COMMITS], ids=["uncommitted", "committed"])
def test_work_beside_the_lane_branch_is_what_is_approved(
    repo: Path, leaves: str, commits: str
) -> None:
    """Wherever an agent works, its work is on the lane branch when it is submitted."""
    w = world(repo, implement=leaves + WRITES + commits)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert on_lane(w, "WP01.py")
    (verdict,) = w.events(VerdictGiven)
    assert verdict.head == head_of(repo, w.host.branch("WP01")) == w.history().submitted


def test_work_on_another_branch_in_rework_is_what_is_approved(repo: Path) -> None:
    """The second round is on the lane branch as well."""
    strays = "if number > 1:\n    git('switch', '-q', '-c', 'again')\n"
    w = world(repo, implement=strays + WRITES + COMMITS, review=REFUSES_ONCE)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert git(repo, "show", f"{w.host.branch('WP01')}:WP01.py") == "# attempt 3\n"


def test_work_that_cannot_be_brought_onto_the_lane_is_kept_and_told(repo: Path) -> None:
    """Work on an unrelated branch is a failed attempt; the next prompt names the branch."""
    strays = (
        "if number == 1:\n    first = git('rev-list', '--max-parents=0', 'HEAD').strip()\n"
        "    git('switch', '-q', '-c', 'mine', first)\n"
        "    Path('lost.py').touch()\n    git('add', '.')\n    git('commit', '-q', '-m', 'x')\n"
    )
    w = world(repo, implement=strays + "else:\n    " + WRITES.replace("\n", "\n    "))
    w.work()
    (kept,) = w.events(ChangesKept)
    assert "lost.py" in git(repo, "ls-tree", "--name-only", kept.where).split()
    assert kept.where in w.prompt(2, "implement")
    assert w.host.lanes["WP01"] == "done"
    assert on_lane(w, "WP01.py")
    assert not on_lane(w, "lost.py")


def test_work_left_on_another_branch_is_named(repo: Path) -> None:
    """Work left on another branch is a failed attempt, and the next prompt names the branch."""
    strays = (
        "if number == 1:\n    git('switch', '-q', '-c', 'mine')\n    Path('a.py').touch()\n"
        "    git('add', '.')\n    git('commit', '-q', '-m', 'x')\n    git('switch', '-q', '-')\n"
        "else:\n    git('merge', '-q', 'mine')\n"
    )
    w = world(repo, implement=strays)
    w.work()
    assert "The branch mine has commits" in reasons(w)[0]
    assert w.host.lanes["WP01"] == "done"
    assert on_lane(w, "a.py")


# The link to the repository


@pytest.mark.parametrize(
    "breaks",
    [
        "os.remove('.git')\n",
        "os.remove('.git')\ngit('init', '-q')\ngit('add', '.')\ngit('commit', '-q', '-m', 'x')\n",
        "Path('.git').write_text('gitdir: ../../.git')\n",
    ],
    ids=["removed", "made anew", "led to the user's"],
)
def test_the_users_own_checkout_is_not_touched(repo: Path, breaks: str) -> None:
    """If an agent changes its worktree's link, the user's checkout stays unchanged."""
    w = world(repo, implement=WRITES + breaks)
    write(repo / "README.md", "the user's own\n")
    write(repo / "notes.txt", "the user's own\n")
    w.work()
    assert (repo / "README.md").read_text() == (repo / "notes.txt").read_text()
    assert git(repo, "status", "--porcelain").split("\n")[:2] == [" M README.md", "?? notes.txt"]
    assert w.host.lanes["WP01"] == "done"
    assert on_lane(w, "WP01.py")


def test_a_reviewer_that_removes_the_link_changes_nothing(repo: Path) -> None:
    """If a reviewer removes the link, the user's work is not stashed, kept or reset."""
    w = world(repo, review="os.remove('.git')\nPath('new.txt').touch()\n" + APPROVES)
    write(repo / "README.md", "the user's own\n")
    w.work()
    assert (repo / "README.md").read_text() == "the user's own\n"
    assert w.host.lanes["WP01"] == "done"


# Repositories inside


@pytest.mark.parametrize("commits", ["", COMMITS], ids=["uncommitted", "committed"])
def test_a_repository_inside_is_not_submitted(repo: Path, commits: str) -> None:
    """Work with a nested repository is rejected, and the next prompt says how to add its files."""
    scaffold = (
        "if number == 1:\n    git('init', '-q', 'app')\n    Path('app/main.py').touch()\n"
        "    git('-C', 'app', 'add', '.')\n    git('-C', 'app', 'commit', '-q', '-m', 'x')\n"
        "else:\n    import shutil\n    shutil.rmtree('app/.git')\n"
        "    git('rm', '-q', '-r', '--cached', '--ignore-unmatch', 'app')\n"
    )
    w = world(repo, implement=scaffold + WRITES + commits)
    w.work()
    assert "git repository in app" in reasons(w)[0]
    assert w.host.lanes["WP01"] == "done"
    assert on_lane(w, "app/main.py")


def test_a_worktree_of_a_subagent_is_left_out(repo: Path) -> None:
    """A clean worktree of the same repository inside is neither work nor an error."""
    inside = "git('worktree', 'add', '-q', '-b', 'agent-1', '.claude/worktrees/agent-1')\n"
    w = world(repo, implement=inside + WRITES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert "160000" not in git(repo, "ls-tree", "-r", w.host.branch("WP01"))


def test_a_repository_that_a_reviewer_made_is_kept(repo: Path) -> None:
    """A nested repository that a reviewer made is moved beside the reviewer's log."""
    makes = "git('init', '-q', 'app')\nPath('app/notes.txt').write_text('mine')\n"
    w = world(repo, review=makes + APPROVES)
    w.work()
    (kept,) = w.events(ChangesKept)
    assert (Path(kept.where) / "notes.txt").read_text() == "mine"
    assert not (w.host.worktree("WP01") / "app").exists()
    assert w.host.lanes["WP01"] == "done"


# The mission's own files


def test_changes_of_the_missions_folder_are_taken_out(repo: Path) -> None:
    """An agent's edits of the mission's folder are kept and reported, and not merged."""
    ticks = f"next(Path('kitty-specs/{SLUG}/tasks').glob('*')).write_text('ticked')\n"
    w = world(repo, implement=ticks + WRITES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    changed = git(repo, "diff", "--name-only", f"work...{w.host.branch('WP01')}").split()
    assert changed == ["WP01.py"]
    kept = w.events(ChangesKept)[0]
    assert f"kitty-specs/{SLUG}" in kept.files[0]
    assert git(repo, "show", f"{kept.where}:{kept.files[0]}") == "ticked"


def test_a_file_that_git_ignores_is_kept_if_the_work_package_names_it(repo: Path) -> None:
    """An ignored file that the work package names is kept under a ref."""
    w = world(repo, implement=WRITES + "Path('local.env').write_text('mine')\n")
    write(repo / ".gitignore", "*.env\n")
    git(repo, "add", ".gitignore")
    git(repo, "commit", "--quiet", "--message=ignore")
    w.owned = {"WP01": ("local.env", "WP01.py", "**")}
    w.work()
    (kept,) = w.events(ChangesKept)
    assert kept.files == ("local.env",)
    assert git(repo, "show", f"{kept.where}/1:local.env") == "mine"
    assert not on_lane(w, "local.env")


# Failures that are not the agent's


def test_a_hook_that_refuses_goes_to_the_agent(repo: Path) -> None:
    """The next attempt reads the hook's own words."""
    refuses = "{ echo 'tabs are forbidden' >&2; exit 1; }"
    checks = f"[ ! -f WP01.py ] || grep -q 'attempt 2' WP01.py || {refuses}"
    hook(repo / ".git" / "hooks", checks)
    w = world(repo)
    w.work()
    assert "tabs are forbidden" in w.prompt(2, "implement")
    assert w.host.lanes["WP01"] == "done"


CONVENTIONAL = """\
case "$(pwd)" in *.worktrees*) ;; *) exit 0 ;; esac
grep -qE '^(feat|chore)(\\(.+\\))?: ' $1 || { echo 'bad type' >&2; exit 1; }"""
"""A commit-msg hook for the lane worktrees; it does not check the host's own messages."""


def test_the_usual_message_is_a_conventional_commit(repo: Path) -> None:
    """The default commit message is a conventional commit."""
    hook(repo / ".git" / "hooks", CONVENTIONAL, "commit-msg")
    w = world(repo)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert implementers(w) == 1


def test_a_message_that_is_refused_is_not_the_agents_fault(repo: Path) -> None:
    """A refused commit message stops the run with the setting to change, and costs no attempt."""
    hook(repo / ".git" / "hooks", CONVENTIONAL, "commit-msg")
    w = world(repo, {"WP01": [], "WP02": []})
    with pytest.raises(RepositoryProblem, match=r"bad type.*commit_message"):
        w.work(commit_message="{wp} by {agent}", max_concurrent=1)
    assert implementers(w) == 1
    assert not w.events(AttemptFailed)
    w.work(commit_message="chore: {wp} {attempt}")
    assert set(w.host.lanes.values()) == {"done"}
    assert git(repo, "log", "-1", "--format=%s", w.host.branch("WP01")) == "chore: wp01 1\n"


def test_a_signature_that_fails_stops_the_run_at_once(repo: Path) -> None:
    """A failing signature costs no attempt, stops the run, and a later run commits the work."""
    w = world(repo, {"WP01": [], "WP02": [], "WP03": []})
    git(repo, "config", "commit.gpgSign", "true")
    git(repo, "config", "gpg.program", "false")
    with pytest.raises(RepositoryProblem, match="git cannot commit"):
        w.work(max_concurrent=1)
    assert len(w.events(AttemptStarted)) == 1
    assert not w.events(AttemptFailed)
    git(repo, "config", "commit.gpgSign", "false")
    w.work()
    assert set(w.host.lanes.values()) == {"done"}
    assert implementers(w) == 3


def test_a_locked_index_stops_only_its_own_work_package(repo: Path) -> None:
    """A left index lock is named and stops one work package; the others go on."""
    locks = "if wp == 'WP01':\n    p = git('rev-parse', '--git-path', 'index.lock').strip()\n"
    w = world(repo, {"WP01": [], "WP02": []}, implement=WRITES + locks + "    Path(p).touch()\n")
    w.work()
    assert w.host.lanes == {"WP01": "in_progress", "WP02": "done"}
    (stuck,) = w.events(WorkPackageStuck)
    assert "index.lock exists" in stuck.reason
    Path(stuck.reason.partition("because ")[2].partition(" exists")[0]).unlink()
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert len(w.events(Implemented)) == 2


def test_unresolved_conflicts_are_not_submitted(repo: Path) -> None:
    """A merge that an agent left in the middle is a failed attempt that names the files."""
    merges = (
        "if number == 1:\n    Path('a.txt').write_text('two')\n"
        "    git('add', '.')\n    git('commit', '-q', '-m', 'mine')\n"
        "    subprocess.run(['git', 'merge', 'other'], capture_output=True)\n"
        "else:\n    git('merge', '--abort')\n    " + WRITES.replace("\n", "\n    ")
    )
    w = world(repo, implement=merges)
    git(repo, "branch", "--quiet", "other")
    path = repo.parent / "other"
    git(repo, "worktree", "add", "--quiet", str(path), "other")
    save(path, "a.txt", "one")
    w.work()
    assert "conflicts in a.txt" in reasons(w)[0]
    assert w.host.lanes["WP01"] == "done"


# Only the reviewed commit is finished


def test_a_commit_after_the_approval_is_not_finished(repo: Path) -> None:
    """A user's commit on the lane after the approval prevents the move to done."""
    w = world(repo)
    run = w.start()

    async def turn() -> Turn:
        (wp,) = (await run.host.state()).work_packages
        return await WorkPackageRun(run, wp).run_turn()

    async def main() -> None:
        await turn()
        (wp,) = (await run.host.state()).work_packages
        package = WorkPackageRun(run, wp)
        approved = await package.run_turn()
        assert approved.approval is not None
        save(w.host.worktree("WP01"), "late.txt")
        with pytest.raises(WorkPackageFailed, match="was changed since"):
            await package.finish(approved.approval)

    anyio.run(main)
    run.journal.close()
    assert w.host.lanes["WP01"] == "in_review"


def test_a_commit_after_the_approval_is_reviewed_in_the_next_run(repo: Path) -> None:
    """In the next run, a commit from after the approval is reviewed."""
    w = world(repo)
    reviewer(repo, "print('no verdict')\n")
    w.work()
    w.host.put("WP01", "for_review")
    save(w.host.worktree("WP01"), "late.txt")
    reviewer(repo, APPROVES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert w.events(VerdictGiven)[-1].head == head_of(repo, w.host.branch("WP01"))


def reviewer(repo: Path, body: str) -> None:
    """Replace the reviewer."""
    script(repo.parent / "review.py", body)


@pytest.mark.parametrize("gone", ["folder", "folder and link", "checked out elsewhere"])
def test_a_missing_worktree_is_made_again_for_the_review(repo: Path, gone: str) -> None:
    """If a user has removed .worktrees, the review gets a new worktree from the branch."""
    w = world(repo, review="print('no verdict')\n")
    w.work()
    assert w.host.lanes["WP01"] == "blocked"
    path = w.host.worktree("WP01")
    if gone == "folder":
        shutil.rmtree(path)
    elif gone == "folder and link":
        git(repo, "worktree", "remove", "--force", str(path))
    else:
        git(path, "switch", "--quiet", "--detach", "work")
    w.host.put("WP01", "for_review")
    reviewer(repo, APPROVES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert on_lane(w, "WP01.py")


DELETES = "import shutil\nshutil.rmtree(Path.cwd())\n"


def test_an_implementer_that_removes_the_worktree_is_tried_again(repo: Path) -> None:
    """The worktree is made again from its branch, and the next agent finds it."""
    removes = "import shutil\nif number == 1:\n    shutil.rmtree(Path.cwd())\n"
    w = world(repo, implement=WRITES + removes)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert on_lane(w, "WP01.py")
    assert "changed nothing" in reasons(w)[0]


def test_work_that_was_committed_before_the_worktree_was_removed_counts(repo: Path) -> None:
    """A commit on the branch counts, even if the worktree is removed afterwards."""
    w = world(repo, implement=WRITES + COMMITS + DELETES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert on_lane(w, "WP01.py")
    assert reasons(w) == []


def test_a_reviewer_that_removes_the_worktree_has_reviewed_all_the_same(repo: Path) -> None:
    """A reviewer's verdict counts even if the reviewer removes the worktree."""
    w = world(repo, review=DELETES + APPROVES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert on_lane(w, "WP01.py")
    assert (w.host.worktree("WP01") / "WP01.py").exists()


def test_a_worktree_without_its_link_can_be_claimed_again(repo: Path) -> None:
    """A user who moves a work package back to planned does not have to repair its worktree."""
    w = world(repo, implement=WRITES, review="print('no verdict')\n")
    w.work()
    (w.host.worktree("WP01") / ".git").unlink()
    w.host.put("WP01", "planned")
    reviewer(repo, APPROVES)
    script(repo.parent / "implement.py", "git('commit', '-q', '--allow-empty', '-m', 'again')\n")
    w.work()
    assert w.host.lanes["WP01"] == "done", w.events(WorkPackageStuck)
    assert on_lane(w, "WP01.py")


REWINDS = "git('reset', '-q', '--hard', 'HEAD~1')\n"


@pytest.mark.parametrize("and_then", ["", WRITES, WRITES + COMMITS], ids=["no", "file", "commit"])
def test_submitted_work_that_an_agent_took_off_the_branch_comes_back(
    repo: Path, and_then: str
) -> None:
    """A branch that was moved back in rework is put back, and the agent's own work is kept."""
    once = "".join(f"    {line}\n" for line in (REWINDS + and_then).splitlines())
    body = f"if number == 3:\n{once}else:\n" + "".join(f"    {x}\n" for x in WRITES.splitlines())
    w = world(repo, implement=body, review=REFUSES_ONCE)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    branch = w.host.branch("WP01")
    for event in w.events(Implemented):
        assert git(repo, "merge-base", "--is-ancestor", event.head, branch) == ""
    assert "without the commit" in reasons(w)[0]


def test_reopened_work_goes_back_to_review(repo: Path) -> None:
    """Reopened work whose reviewers gave no verdict goes back to review, without an implementer."""
    w = world(repo, review="print('no verdict')\n")
    w.work()
    assert w.host.lanes["WP01"] == "blocked"
    w.host.put("WP01", "in_progress")
    reviewer(repo, APPROVES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert implementers(w) == 1


def test_reopened_rework_goes_to_the_implementer(repo: Path) -> None:
    """Work for which a reviewer has asked for changes is implemented again."""
    w = world(repo, review=REFUSES)
    w.work(max_rounds=1)
    assert w.host.lanes["WP01"] == "blocked"
    before = implementers(w)
    w.host.put("WP01", "in_progress")
    reviewer(repo, APPROVES)
    w.work()
    assert w.host.lanes["WP01"] == "done"
    assert implementers(w) == before + 1


def implementers(w: World) -> int:
    """Return the number of started implementers."""
    return len([event for event in w.events(AttemptStarted) if event.role == "implement"])
