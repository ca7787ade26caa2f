"""Tests of the checks that stop a merge before the SDK calls the host, in real repositories."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from spec_kitty_client.errors import GitFailed, SpecKittyError, WouldLoseWork
from tests.client.simulated import FOLDER, SLUG, WithGit, git
from tests.client.workflow.test_merge import PAIR, client, commit, finished, head

every_kind = pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.7", "4.0.0rc7"])


def refused(host: WithGit, repo: Path, **options: object) -> SpecKittyError:
    """Return the error of a merge that the SDK refuses without a call of the host."""
    before, listed = head(repo), git(repo, "for-each-ref", "refs/heads")
    with pytest.raises((WouldLoseWork, GitFailed)) as e:
        client(host).mission(SLUG).merge(**options)  # type: ignore[arg-type]
    assert "merge-mission" not in host.verbs
    assert (head(repo), git(repo, "for-each-ref", "refs/heads")) == (before, listed)
    return e.value


def run_commands(text: str, folder: Path) -> None:
    """Run the shell command after the last colon of a message."""
    subprocess.run(text.rpartition(": ")[2], shell=True, check=True, cwd=folder)  # noqa: S602


@every_kind
@pytest.mark.parametrize("name", ["work", f"kitty/mission-{SLUG}"])
def test_a_tag_named_like_a_branch_is_refused(release: str, repo: Path, name: str) -> None:
    """The SDK refuses a merge while a tag has a branch's name; its command renames the tag."""
    host = finished(release, repo)
    git(repo, "tag", name, "HEAD~1")

    error = refused(host, repo)

    assert f"there is a tag {name} beside the branch" in str(error)
    run_commands(str(error), repo)
    assert client(host).mission(SLUG).merge().changed
    assert git(repo, "rev-parse", f"refs/tags/{name}-tag")


@every_kind
@pytest.mark.parametrize("how", ["untracked", "ignored", "below"])
def test_a_file_of_the_user_that_the_mission_brings_is_refused(
    release: str, repo: Path, how: str
) -> None:
    """The SDK refuses a merge that brings a file where the user has one of that name."""
    if how == "ignored":
        (repo / ".git" / "info" / "exclude").write_text("WP01.txt\n")
    host = WithGit(release, dict(PAIR), repo)
    for wp in PAIR:
        path = Path(client(host).mission(SLUG).work_package(wp).claim().workspace_path)
        (path / f"{wp}.txt").write_text(f"{wp}\n")
        git(path, "add", "--force", f"{wp}.txt")
        git(path, "commit", "--quiet", "--message=work")
        host.put(wp, "done")
    client(host).mission(SLUG).accept()
    mine = repo / "WP01.txt" / "mine.txt" if how == "below" else repo / "WP01.txt"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine\n")

    error = refused(host, repo)

    assert isinstance(error, WouldLoseWork)
    assert error.paths == (str(mine),)
    assert mine.read_text() == "mine\n"
    mine.unlink()
    if how == "below":
        mine.parent.rmdir()
    assert client(host).mission(SLUG).merge().changed


def file_in_the_way(place: Path) -> None:
    """Put a file where the mission brings a folder."""
    place.write_text("mine\n")


def link_in_the_way(place: Path) -> None:
    """Put a link to a folder where the mission brings a folder."""
    place.symlink_to(place.parent / ".git")


def ignored_in_the_way(place: Path) -> None:
    """Put a file that git ignores where the mission brings a folder."""
    (place.parent / ".git" / "info" / "exclude").write_text("deep\n")
    place.write_text("mine\n")


@every_kind
@pytest.mark.parametrize("put", [file_in_the_way, link_in_the_way, ignored_in_the_way])
def test_a_file_of_the_user_in_place_of_a_folder_is_refused(
    release: str, repo: Path, put: Callable[[Path], None]
) -> None:
    """Git would stop there in the middle of the merge, with words of its own."""
    host = WithGit(release, dict(PAIR), repo)
    for wp in PAIR:
        path = Path(client(host).mission(SLUG).work_package(wp).claim().workspace_path)
        (path / "deep" / "er").mkdir(parents=True, exist_ok=True)
        commit(path, f"deep/er/{wp}.txt", f"{wp}\n")
        host.put(wp, "done")
    client(host).mission(SLUG).accept()
    put(repo / "deep")

    error = refused(host, repo)

    assert isinstance(error, WouldLoseWork)
    assert error.paths == (f"{repo}/deep",)
    (repo / "deep").unlink()
    assert client(host).mission(SLUG).merge().changed


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3", "3.1.0", "3.1.10"])
def test_a_change_of_the_user_in_a_file_of_the_mission_is_refused(release: str, repo: Path) -> None:
    """The SDK refuses a merge into a file that the user has changed, up to 3.1.x."""
    commit(repo, "WP01.txt", "before\n")
    host = finished(release, repo)
    (repo / "WP01.txt").write_text("mine\n")

    error = refused(host, repo)

    assert isinstance(error, WouldLoseWork)
    assert error.paths == (f"{repo}/WP01.txt",)


def test_the_same_files_elsewhere_stop_no_merge(repo: Path) -> None:
    """A user's file of the same name stops no merge into a target that is not checked out."""
    host = finished("3.2.7", repo)
    git(repo, "branch", "release", "work")
    (repo / "WP01.txt").write_text("mine\n")

    assert client(host).mission(SLUG).merge(target="release").changed
    assert (repo / "WP01.txt").read_text() == "mine\n"


def test_a_target_in_another_worktree_is_looked_at_there(repo: Path, tmp_path: Path) -> None:
    """The SDK looks for the user's changes in the worktree that has the target."""
    host = finished("3.2.7", repo)
    git(repo, "worktree", "add", "--quiet", "-b", "release", str(tmp_path / "there"))
    commit(tmp_path / "there", "mine.txt", "old\n")
    (tmp_path / "there" / "mine.txt").write_text("new\n")

    error = refused(host, repo, target="release")

    assert isinstance(error, WouldLoseWork)
    assert error.paths == (f"{tmp_path}/there/mine.txt",)


def repository(path: Path) -> None:
    """Make a repository with a commit that is nowhere else."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet")
    commit(path, "main.py", "work\n")


@pytest.mark.parametrize("release", ["3.1.10", "3.2.7"])
@pytest.mark.parametrize("how", ["committed", "untracked", "ignored"])
def test_a_nested_repository_stops_a_merge(release: str, repo: Path, how: str) -> None:
    """The SDK refuses a merge with a nested repository; its commands add that one's files."""
    host = finished(release, repo)
    path = host.worktree("WP02")
    repository(path / "app")
    if how == "committed":
        git(path, "-c", "advice.addEmbeddedRepo=false", "add", "app")
        git(path, "commit", "--quiet", "--message=app")
    if how == "ignored":
        (repo / ".git" / "info" / "exclude").write_text("app/\n")

    error = refused(host, repo)

    assert isinstance(error, WouldLoseWork)
    assert error.paths == (f"{path}/app",)
    command = str(error).partition("repository: ")[2].partition(". To keep")[0]
    run_commands(command, repo)
    assert client(host).mission(SLUG).merge().changed
    assert git(repo, "show", "work:app/main.py") == "work"


@pytest.mark.parametrize("release", ["3.1.10", "3.2.7"])
def test_work_that_was_canceled_is_not_merged(release: str, repo: Path) -> None:
    """The SDK refuses to merge canceled work; after its commands the merge leaves that out."""
    host = WithGit(release, {"WP01": [], "WP02": []}, repo)
    for wp in ("WP01", "WP02"):
        path = Path(client(host).mission(SLUG).work_package(wp).claim().workspace_path)
        commit(path, f"{wp}.txt", f"{wp}\n")
    host.put("WP01", "done")
    host.put("WP02", "canceled")

    error = refused(host, repo)

    for command in str(error).split("`")[1::2]:
        run_commands(command, repo)
    assert client(host).mission(SLUG).merge().changed
    assert "WP02.txt" not in git(repo, "ls-tree", "--name-only", "work").split()
    assert git(repo, "show", f"canceled/{host.branch('WP02').rpartition('/')[2]}:WP02.txt")


@pytest.mark.parametrize("release", ["3.1.10", "3.2.7"])
def test_a_work_package_that_was_canceled_before_it_began_stops_no_merge(
    release: str, repo: Path
) -> None:
    """The SDK merges although a work package that was canceled at once has no branch."""
    host = WithGit(release, {"WP01": [], "WP02": []}, repo)
    path = Path(client(host).mission(SLUG).work_package("WP01").claim().workspace_path)
    commit(path, "WP01.txt", "WP01\n")
    host.put("WP01", "done")
    host.mission.packages["WP02"].lane = "canceled"

    assert client(host).mission(SLUG).merge().changed
    assert not host.has_branch(host.branch("WP02"))


def by_revert(repo: Path) -> None:
    """Revert a merge as git does it."""
    merges = git(repo, "rev-list", "--merges", "--first-parent", "work").split()
    for merge in merges:
        git(repo, "revert", "--no-edit", "--mainline=1", merge)


def by_hand(repo: Path) -> None:
    """Delete the files that a merge has brought."""
    git(repo, "rm", "--quiet", "WP01.txt", "WP02.txt")
    git(repo, "commit", "--quiet", "--message=not yet")


@pytest.mark.parametrize("take_back", [by_revert, by_hand])
@pytest.mark.parametrize("known", [False, True])
def test_a_merge_that_was_reverted_is_not_told_as_merged(
    repo: Path, take_back: Callable[[Path], None], *, known: bool
) -> None:
    """The SDK does not take a reverted merge for merged; it calls the host, which refuses."""
    host = finished("3.2.7", repo)
    commits = [git(repo, "rev-parse", host.branch(wp)) for wp in PAIR] if known else []
    client(host).mission(SLUG).merge()
    take_back(repo)

    with pytest.raises(SpecKittyError, match="PREFLIGHT_FAILED"):
        client(host).mission(SLUG).merge(commits=commits)


def test_branches_that_were_merged_and_reverted_are_refused(repo: Path) -> None:
    """The SDK refuses branches whose merge was reverted, and says to revert the revert."""
    host = finished("3.2.7", repo)
    for wp in PAIR:
        git(repo, "merge", "--quiet", "--no-ff", "--no-edit", host.branch(wp))
    by_hand(repo)

    error = refused(host, repo)

    assert isinstance(error, WouldLoseWork)
    assert "git revert" in str(error)
    git(repo, "revert", "--no-edit", "HEAD")
    client(host).mission(SLUG).merge()
    assert (repo / "WP01.txt").is_file()


def test_commits_of_a_later_round_are_not_told_as_merged(repo: Path) -> None:
    """The record of an earlier merge is no proof for commits that were submitted later."""
    host = finished("3.2.7", repo)
    client(host).mission(SLUG).merge()
    git(repo, "checkout", "--quiet", "-b", "later")
    commit(repo, "later.txt", "later\n")
    later = head(repo, "later")
    git(repo, "checkout", "--quiet", "work")
    git(repo, "branch", "-D", "later")

    with pytest.raises(SpecKittyError, match="PREFLIGHT_FAILED"):
        client(host).mission(SLUG).merge(commits=[later])


@pytest.mark.parametrize("release", ["3.1.10", "3.2.1", "3.2.7"])
def test_a_claim_after_a_merge_ends_what_its_record_proves(release: str, repo: Path) -> None:
    """After a new claim the record of the last merge proves nothing, and the host is called."""
    host = finished(release, repo)
    client(host).mission(SLUG).merge()
    host.put("WP01", "in_progress")
    path = Path(client(host).mission(SLUG).work_package("WP01").claim().workspace_path)
    commit(path, "rework.txt", "rework\n")
    host.put("WP01", "done")
    git(repo, "worktree", "remove", "--force", str(path))
    git(repo, "branch", "-D", host.branch("WP01"))

    with pytest.raises(SpecKittyError, match="PREFLIGHT_FAILED"):
        client(host).mission(SLUG).merge()


def test_a_squash_is_proven_by_its_record_when_the_target_went_on(repo: Path) -> None:
    """The record proves a squash although the target has changed the files since."""
    host = finished("3.2.7", repo)
    commits = [git(repo, "rev-parse", host.branch(wp)) for wp in PAIR]
    client(host).mission(SLUG).merge(strategy="squash", commits=commits)
    commit(repo, "WP01.txt", "better\n")

    assert not client(host).mission(SLUG).merge(commits=commits).changed


def test_a_merge_that_changes_the_content_of_a_file_is_told(repo: Path) -> None:
    """The SDK raises an error if the merged file has other content than the approved one."""
    host = finished("3.2.7", repo)

    def meddle() -> None:
        git(repo, "reset", "--quiet", "--hard", "work")
        commit(repo, "WP02.txt", "something else\n")

    host.on_merge = meddle

    with pytest.raises(SpecKittyError, match=r"lacks changes.*WP02\.txt"):
        client(host).mission(SLUG).merge()


def test_the_same_change_on_both_sides_is_no_damage(repo: Path) -> None:
    """A merge works if the target has the lane's change, and one line more."""
    commit(repo, "WP01.txt", "".join(f"{i}\n" for i in range(20)))
    host = WithGit("3.2.7", {"WP01": []}, repo)
    path = Path(client(host).mission(SLUG).work_package("WP01").claim().workspace_path)
    text = (path / "WP01.txt").read_text().replace("3\n", "three\n", 1)
    commit(path, "WP01.txt", text)
    host.put("WP01", "done")
    commit(repo, "WP01.txt", f"{text}20\n")

    client(host).mission(SLUG).merge()

    assert (repo / "WP01.txt").read_text() == f"{text}20\n"


def test_obstacles_are_told_at_any_time(repo: Path) -> None:
    """`merge_obstacles` names all obstacles at once, also before any work has begun."""
    commit(repo, "mine.txt", "old\n")
    host = WithGit("3.2.7", dict(PAIR), repo)
    mission = client(host).mission(SLUG)
    assert mission.merge_obstacles() == ()
    git(repo, "tag", "work")
    (repo / "mine.txt").write_text("new\n")
    (repo / FOLDER / "extra.md").write_text("host's\n")

    tag, dirty = mission.merge_obstacles()

    assert "tag work" in tag
    assert "mine.txt" in dirty
    git(repo, "tag", "--delete", "work")
    git(repo, "reset", "--quiet", "--hard")
    prompt = next((repo / FOLDER / "tasks").glob("WP01*.md"))
    prompt.write_text("---\nsubtasks: []\ncreate_intent: [src/one.py, 'docs/**']\n---\n")
    (repo / "src").mkdir()
    (repo / "src" / "one.py").write_text("mine\n")
    (planned,) = mission.merge_obstacles()
    assert f"{repo} has files that are not committed there" in planned
    assert "src/one.py" in planned
    host.put("WP01", "canceled")
    assert mission.merge_obstacles() == ()
    (missing,) = mission.merge_obstacles(target="mian")
    assert "no branch 'mian'" in missing


def test_finished_work_without_a_branch_is_an_obstacle(repo: Path) -> None:
    """Finished work without a branch is an obstacle, unless its commits prove the merge."""
    host = finished("3.2.7", repo)
    heads = [git(repo, "rev-parse", host.branch(wp)) for wp in PAIR]
    mission = client(host).mission(SLUG)
    assert mission.merge_obstacles() == ()
    git(repo, "merge", "--quiet", "--no-ff", "--no-edit", *(host.branch(wp) for wp in PAIR))
    for wp in PAIR:
        git(repo, "worktree", "remove", "--force", str(host.worktree(wp)))
        git(repo, "branch", "-D", host.branch(wp))

    obstacles = mission.merge_obstacles()

    first = [line.partition(" If")[0] for line in obstacles]
    assert first == [f"There is no branch {host.branch(wp)}." for wp in PAIR]
    assert mission.merge_obstacles(commits=heads) == ()


@pytest.mark.parametrize("release", ["3.1.0", "3.1.10"])
def test_a_checkout_of_the_target_elsewhere_is_brought_up_to_date(
    release: str, repo: Path, tmp_path: Path
) -> None:
    """The SDK updates another worktree that has the target, where the host does not."""
    host = finished(release, repo)
    git(repo, "worktree", "add", "--quiet", "-b", "release", str(tmp_path / "there"))

    client(host).mission(SLUG).merge(target="release")

    assert (tmp_path / "there" / "WP01.txt").read_text() == "WP01\n"
    assert git(tmp_path / "there", "status", "--porcelain") == ""
