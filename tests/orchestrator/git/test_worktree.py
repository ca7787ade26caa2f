"""Tests of `spec_kitty_orchestrator.git.worktree`, with real git."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spec_kitty_orchestrator.git.calls import GitError, git
from spec_kitty_orchestrator.git.values import CommitRefused, OffBranch
from spec_kitty_orchestrator.git.worktree import Worktree
from tests.orchestrator.git.repositories import do, head_of, hook, linked, save, write

RESCUE = "refs/spec-kitty-orchestrator/rescue/m/WP01"


@pytest.fixture
def tree(repo: Path) -> Worktree:
    """Return a lane worktree."""
    return Worktree(linked(repo), repo, "lane")


def files(tree: Worktree) -> list[str]:
    """Return the uncommitted files."""
    return list(do(tree.status()).files)


# Uncommitted files


@pytest.mark.parametrize(
    "name",
    ["a b.txt", "line\nbreak", "ümläut-日本", '"quoted"', " lead", "-dash", "x -> y", "a\\b"],
)
def test_any_file_name_is_told_as_it_is(tree: Worktree, name: str) -> None:
    """Unusual names of new and changed files are returned unchanged."""
    write(tree.path / "folder" / name)
    assert files(tree) == [f"folder/{name}"]
    save(tree.path, f"folder/{name}")
    write(tree.path / "folder" / name, "changed\n")
    assert files(tree) == [f"folder/{name}"]


def test_every_kind_of_change_is_told(tree: Worktree) -> None:
    """Changed, deleted, staged and new files are all uncommitted; ignored ones are not."""
    save(tree.path, "gone.txt")
    write(tree.path / "README.md", "changed\n")
    (tree.path / "gone.txt").unlink()
    write(tree.path / "staged.txt")
    git(tree.path, "add", "staged.txt")
    write(tree.path / "new.txt")
    write(tree.path / ".worktrees" / "ignored.txt")
    assert set(files(tree)) == {"README.md", "gone.txt", "staged.txt", "new.txt"}


def test_a_clean_worktree_is_clean(tree: Worktree) -> None:
    """A clean worktree has an empty status."""
    assert not do(tree.status())


def test_a_file_that_only_its_line_ends_make_dirty_is_not_changed(tree: Worktree) -> None:
    """Files that git calls dirty only because of line-end settings do not count as changed."""
    (tree.path / "legacy.txt").write_bytes(b"one\r\ntwo\r\n")
    save(tree.path, "a.txt")
    write(tree.path / ".gitattributes", "*.txt text eol=lf\n")
    git(tree.path, "add", ".gitattributes")
    git(tree.path, "commit", "--quiet", "--message=attributes")
    before = head_of(tree.path)
    git(tree.path, "rm", "--quiet", "--cached", "legacy.txt")
    git(tree.path, "reset", "--quiet", "--hard")
    assert git(tree.path, "status", "--porcelain") == " M legacy.txt\n"
    assert not do(tree.status())
    write(tree.path / "new.py")
    head = do(tree.commit("work"))
    assert git(tree.path, "diff", "--name-only", before, head).split() == ["new.py"]


def test_a_repository_inside_is_told(tree: Worktree) -> None:
    """A nested repository, with or without a commit, is reported as a repository, not a file."""
    for name in ("one", "two"):
        git(tree.path, "init", "--quiet", name)
        write(tree.path / name / "file.txt")
    save(tree.path / "two", "more.txt")
    assert set(do(tree.status()).repositories) == {"one/", "two/"}


def test_conflicts_are_told(repo: Path, tree: Worktree) -> None:
    """A merge that an agent left unfinished is seen."""
    save(repo, "a.txt", "one\n")
    save(tree.path, "a.txt", "two\n")
    with pytest.raises(GitError):
        git(tree.path, "merge", "work")
    assert do(tree.status()).conflicts == ("a.txt",)


def test_a_clean_worktree_of_the_same_repository_inside_is_known(tree: Worktree) -> None:
    """A clean worktree of the same repository inside is not a foreign repository."""
    inside = tree.path / ".claude" / "worktrees" / "one"
    git(tree.path, "worktree", "add", "--quiet", "-b", "one", str(inside))
    assert do(tree.linked_inside()) == {".claude/worktrees/one"}
    write(inside / "new.txt")
    assert do(tree.linked_inside()) == set()


# The link to the repository


def test_a_link_that_is_there_is_left_alone(tree: Worktree, tmp_path: Path) -> None:
    """A correct link is left unchanged."""
    assert do(tree.relink(tmp_path / "aside")) is None


def test_a_link_that_is_gone_is_restored(tree: Worktree, tmp_path: Path) -> None:
    """The files stay as they are, and git works there again."""
    write(tree.path / "new.txt")
    (tree.path / ".git").unlink()
    assert do(tree.relink(tmp_path / "aside")) is None
    assert files(tree) == ["new.txt"]
    assert do(tree.position()).branch == "lane"


def test_a_repository_in_the_place_of_the_link_is_kept_aside(
    tree: Worktree, tmp_path: Path
) -> None:
    """A repository made by `git init` in a worktree is moved aside, with its commits."""
    (tree.path / ".git").unlink()
    git(tree.path, "init", "--quiet")
    theirs = save(tree.path, "new.txt")
    moved = do(tree.relink(tmp_path / "logs" / "removed.git"))
    assert moved == tmp_path / "logs" / "removed.git"
    assert git(moved, "rev-parse", "HEAD").strip() == theirs
    assert files(tree) == ["new.txt"]


def test_a_link_to_another_repository_is_kept_aside(
    repo: Path, tree: Worktree, tmp_path: Path
) -> None:
    """A link that leads to the user's own repository is not followed."""
    write(tree.path / ".git", f"gitdir: {repo / '.git'}\n")
    moved = do(tree.relink(tmp_path / "aside"))
    assert moved is not None
    assert do(tree.position()).branch == "lane"


def test_a_folder_that_is_no_worktree_is_an_error(repo: Path, tmp_path: Path) -> None:
    """A folder that is not a worktree of the repository is an error, and stays unchanged."""
    (tmp_path / "other").mkdir()
    with pytest.raises(GitError, match="is not a worktree of"):
        do(Worktree(tmp_path / "other", repo, "lane").relink(tmp_path / "aside"))


def test_a_folder_that_is_gone_is_made_again(tree: Worktree) -> None:
    """A removed folder is made again from its branch."""
    head = save(tree.path, "a.txt")
    remove(tree.path)
    do(tree.remake(None))
    assert do(tree.head()) == head
    assert do(tree.position()).branch == "lane"


def test_a_branch_that_is_gone_with_its_folder_is_made_again(repo: Path, tree: Worktree) -> None:
    """A removed branch and folder are made again at the given commit."""
    head = save(tree.path, "a.txt")
    git(repo, "worktree", "remove", str(tree.path))
    git(repo, "branch", "--quiet", "-D", "lane")
    do(tree.remake(head))
    assert do(tree.head()) == head


def remove(folder: Path) -> None:
    """Remove a folder with everything in it."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


# The branch


def own_branch(path: Path) -> None:
    """Check out a new branch."""
    git(path, "switch", "--quiet", "--create", "feature/mine")


def detached(path: Path) -> None:
    """Leave every branch."""
    git(path, "switch", "--quiet", "--detach")


def renamed(path: Path) -> None:
    """Rename the branch that is checked out."""
    git(path, "branch", "--move", "feature/mine")


LEAVES = [own_branch, detached, renamed]


@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("commits", [True, False])
def test_work_beside_the_branch_is_brought_onto_it(
    tree: Worktree, leave: Callable[[Path], None], commits: bool
) -> None:
    """A branch of an agent's own, and a detached HEAD, are a fast-forward of the lane."""
    floor = do(tree.head())
    leave(tree.path)
    work = save(tree.path, "a.txt") if commits else floor
    write(tree.path / "b.txt")
    assert do(tree.adopt(floor)) == work
    assert do(tree.position()).branch == "lane"
    assert files(tree) == ["b.txt"]
    assert head_of(tree.root, "lane") == work


def test_work_on_the_branch_is_left_alone(tree: Worktree) -> None:
    """Work on the branch is left unchanged."""
    floor = do(tree.head())
    head = save(tree.path, "a.txt")
    assert do(tree.adopt(floor)) == head


@pytest.mark.parametrize("leave", [own_branch, detached])
def test_work_that_lacks_commits_of_the_branch_is_not_brought(
    repo: Path, tree: Worktree, leave: Callable[[Path], None]
) -> None:
    """Work that lacks commits of the lane is rejected."""
    floor = save(tree.path, "lane.txt")
    leave(tree.path)
    git(tree.path, "reset", "--quiet", "--hard", "work")
    save(tree.path, "a.txt")
    with pytest.raises(OffBranch, match=r"feature/mine|detached"):
        do(tree.adopt(floor))
    assert head_of(repo, "lane") == floor


def test_a_branch_that_was_set_back_is_told(tree: Worktree) -> None:
    """A branch that was reset to before the claim is rejected."""
    floor = save(tree.path, "lane.txt")
    git(tree.path, "reset", "--quiet", "--hard", "HEAD~1")
    with pytest.raises(OffBranch, match="without the commit"):
        do(tree.adopt(floor))


def test_a_rebase_that_was_left_open_is_ended(repo: Path, tree: Worktree) -> None:
    """An unfinished rebase is ended before the next agent."""
    save(repo, "a.txt", "one\n")
    floor = save(tree.path, "a.txt", "two\n")
    with pytest.raises(GitError):
        git(tree.path, "rebase", "work")
    do(tree.keep(RESCUE, "left"))
    do(tree.restore(floor))
    assert do(tree.position()).branch == "lane"
    assert "rebase" not in git(tree.path, "status")


# Kept


def test_everything_uncommitted_is_kept_and_gone(tree: Worktree) -> None:
    """Changed, staged, deleted and new files are under a ref, with their content."""
    head = save(tree.path, "gone.txt")
    write(tree.path / "README.md", "mine\n")
    write(tree.path / "staged.txt", "staged\n")
    git(tree.path, "add", "staged.txt")
    (tree.path / "gone.txt").unlink()
    write(tree.path / "a b" / "new.txt", "new\n")
    assert do(tree.keep(RESCUE, "left by somebody")) == f"{RESCUE}/1"
    do(tree.restore(head))
    assert git(tree.path, "status", "--porcelain") == ""
    kept = git(tree.root, "ls-tree", "-r", "--name-only", f"{RESCUE}/1").split("\n")
    assert {"a b/new.txt", "staged.txt"} <= set(kept)
    assert "gone.txt" not in kept
    assert git(tree.root, "show", f"{RESCUE}/1:README.md") == "mine\n"
    assert git(tree.root, "log", "-1", "--format=%s", f"{RESCUE}/1") == "left by somebody\n"
    assert git(tree.root, "stash", "list") == ""


def test_nothing_is_kept_of_a_clean_worktree(tree: Worktree) -> None:
    """Without changes, no ref is made."""
    assert do(tree.keep(RESCUE, "nothing")) is None


def test_commits_on_no_branch_are_kept(tree: Worktree) -> None:
    """A detached HEAD has commits that a restore would drop."""
    before = do(tree.head())
    detached(tree.path)
    work = save(tree.path, "a.txt")
    assert do(tree.keep(RESCUE, "left")) == f"{RESCUE}/1"
    do(tree.restore(before))
    assert head_of(tree.root, f"{RESCUE}/1") == work


def test_commits_that_the_branch_loses_are_kept(tree: Worktree) -> None:
    """When the branch is reset to a commit, the later commits are kept under a ref."""
    before = do(tree.head())
    work = save(tree.path, "a.txt")
    assert do(tree.keep(RESCUE, "left", before)) == f"{RESCUE}/1"
    do(tree.restore(before))
    assert head_of(tree.root, f"{RESCUE}/1") == work


def test_head_and_branch_are_both_kept(tree: Worktree) -> None:
    """If an agent committed on the branch and then elsewhere, both commits are kept."""
    before = do(tree.head())
    on_branch = save(tree.path, "a.txt")
    git(tree.path, "switch", "--quiet", "--detach", before)
    elsewhere = save(tree.path, "b.txt")
    assert do(tree.keep(RESCUE, "left", before)) == f"{RESCUE}/1 and {RESCUE}/2"
    do(tree.restore(before))
    assert head_of(tree.root, f"{RESCUE}/1") == elsewhere
    assert head_of(tree.root, f"{RESCUE}/2") == on_branch


def test_uncommitted_files_are_kept_with_the_commits_below_them(tree: Worktree) -> None:
    """One ref holds uncommitted files and the commits below them."""
    before = do(tree.head())
    save(tree.path, "a.txt")
    write(tree.path / "b.txt")
    assert do(tree.keep(RESCUE, "left", before)) == f"{RESCUE}/1"
    kept = git(tree.root, "ls-tree", "-r", "--name-only", f"{RESCUE}/1").split()
    assert {"a.txt", "b.txt"} <= set(kept)


def test_every_rescue_has_its_own_name(tree: Worktree) -> None:
    """Each rescue has a new ref, so that none replaces an earlier one."""
    for number in (1, 2, 11):
        write(tree.path / f"{number}.txt")
        do(tree.keep(RESCUE, str(number)))
        git(tree.root, "update-ref", f"{RESCUE}/10", "HEAD")
    names = git(tree.root, "for-each-ref", "--format=%(refname)", RESCUE).split()
    assert names == [f"{RESCUE}/{number}" for number in (1, 10, 11, 12)]


def test_repositories_inside_stay_where_they_are(tree: Worktree) -> None:
    """Nested repositories stay, because git cannot keep their files."""
    head = do(tree.head())
    git(tree.path, "init", "--quiet", "app")
    write(tree.path / "app" / "precious.txt")
    write(tree.path / "new.txt")
    do(tree.keep(RESCUE, "left"))
    do(tree.restore(head))
    assert (tree.path / "app" / "precious.txt").exists()
    assert files(tree) == []


@pytest.mark.parametrize("what", ["file", "repository", "commit"])
def test_a_folder_with_something_that_would_be_lost_says_so(tree: Worktree, what: str) -> None:
    """Uncommitted files, nested repositories and commits on no branch would be lost."""
    assert do(tree.would_lose()) is None
    if what == "file":
        write(tree.path / "new.txt")
    elif what == "repository":
        git(tree.path, "init", "--quiet", "app")
        write(tree.path / "app" / "file.txt")
    else:
        detached(tree.path)
        save(tree.path, "a.txt")
    assert str(do(tree.would_lose())).startswith("holds ")


# Commits


def test_everything_is_committed(tree: Worktree) -> None:
    """New, changed and deleted files are in the commit, and nothing is left."""
    before = save(tree.path, "gone.txt")
    (tree.path / "gone.txt").unlink()
    write(tree.path / "new" / "file.txt")
    head = do(tree.commit("WP01: done"))
    assert head != before
    assert git(tree.path, "log", "-1", "--format=%s") == "WP01: done\n"
    assert git(tree.path, "status", "--porcelain") == ""
    assert git(tree.path, "diff", "--name-only", "--no-renames", before, head).split() == [
        "gone.txt",
        "new/file.txt",
    ]


def test_nothing_to_commit_is_the_head(tree: Worktree) -> None:
    """A commit of a clean worktree makes no empty commit."""
    head = do(tree.head())
    assert do(tree.commit("nothing")) == head


def test_a_repository_inside_is_not_committed(tree: Worktree) -> None:
    """A nested repository is not committed as a link."""
    git(tree.path, "init", "--quiet", "app")
    save(tree.path / "app", "precious.txt")
    write(tree.path / "new.txt")
    head = do(tree.commit("work"))
    assert git(tree.path, "ls-tree", "-r", head, "app") == ""


def test_files_outside_a_sparse_checkout_are_not_deleted(repo: Path, tree: Worktree) -> None:
    """A sparse worktree has not all files; a commit there deletes none, and takes new ones."""
    save(repo, "big/file.txt")
    git(tree.path, "merge", "--quiet", "work")
    git(tree.path, "sparse-checkout", "set", "src")
    write(tree.path / "src" / "a.py")
    write(tree.path / "elsewhere" / "b.py")
    head = do(tree.commit("work"))
    names = git(tree.path, "ls-tree", "-r", "--name-only", head).split()
    assert {"big/file.txt", "src/a.py", "elsewhere/b.py"} <= set(names)


@pytest.mark.parametrize("where", [">&2", ""])
def test_a_hook_that_refuses_is_heard(tree: Worktree, where: str) -> None:
    """A failing hook raises an error with the hook's output, and nothing is committed."""
    hook(tree.root / ".git" / "hooks", f"echo 'tabs are forbidden' {where}; exit 1")
    head = do(tree.head())
    write(tree.path / "new.txt")
    with pytest.raises(CommitRefused, match="tabs are forbidden"):
        do(tree.commit("no"))
    assert do(tree.head()) == head
    assert files(tree) == ["new.txt"]


@pytest.mark.parametrize("trouble", ["signing", "lock", "identity"])
def test_what_no_agent_can_mend_is_no_refusal(
    tree: Worktree, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signature that fails, a lock, and a missing identity are errors of git's own."""
    write(tree.path / "new.txt")
    if trouble == "signing":
        git(tree.root, "config", "commit.gpgSign", "true")
        git(tree.root, "config", "gpg.program", "false")
    elif trouble == "lock":
        do(tree.lock()).touch()
    else:
        monkeypatch.setenv("GIT_COMMITTER_NAME", "")
    with pytest.raises(GitError):
        do(tree.commit("no"))


def test_a_hook_that_an_agent_changed_is_not_run(repo: Path, tree: Worktree) -> None:
    """Hooks in the repository's own files are taken from the user's checkout."""
    hook(repo / ".githooks", "exit 0")
    save(repo, "a.txt")
    git(tree.path, "merge", "--quiet", "work")
    git(repo, "config", "core.hooksPath", ".githooks")
    hook(tree.path / ".githooks", f"touch {repo / 'escaped'}")
    do(tree.commit("work"))
    assert not (repo / "escaped").exists()


def test_the_users_hook_in_the_repository_is_run(repo: Path, tree: Worktree) -> None:
    """The user's hook runs, also if an agent removed it from its worktree."""
    hook(repo / ".githooks", "echo no >&2; exit 1")
    git(repo, "config", "core.hooksPath", ".githooks")
    write(tree.path / "new.txt")
    with pytest.raises(CommitRefused, match="no"):
        do(tree.commit("work"))


# base


def test_the_base_of_a_new_lane_is_its_head(tree: Worktree) -> None:
    """Without any work yet, the base is HEAD."""
    assert do(tree.base("work")) == do(tree.head())


def test_the_base_of_work_is_where_it_left(repo: Path, tree: Worktree) -> None:
    """The base of work is the fork point, also if the base branch has moved on."""
    left = head_of(repo)
    save(tree.path, "a.txt")
    save(repo, "b.txt")
    assert do(tree.base("work")) == left


def test_a_lane_made_of_other_lanes_has_no_work_of_its_own(repo: Path) -> None:
    """Commits that came from a dependency's branch are not this work package's."""
    save(linked(repo, "one"), "a.txt")
    path = repo / ".worktrees" / "two"
    git(repo, "worktree", "add", "--quiet", "-b", "two", str(path), "one")
    two = Worktree(path, repo, "two")
    assert do(two.base("work")) == do(two.head())


@pytest.mark.parametrize(("ref", "branch"), [(None, "lane"), ("work", None), (None, None)])
def test_without_names_the_base_is_the_head(
    repo: Path, ref: str | None, branch: str | None
) -> None:
    """Without a branch or base ref, the base is HEAD."""
    tree = Worktree(repo, repo, branch)
    assert do(tree.base(ref)) == do(tree.head())
