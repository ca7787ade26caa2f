"""Tests of `spec_kitty_client.workflow.merge`, in real repositories."""

import shutil
from pathlib import Path

import pytest

from spec_kitty_client import AsyncClient, Client, Merged, MergeStrategy
from spec_kitty_client.errors import (
    GitFailed,
    HostCrashed,
    HostTimeout,
    IntegrationFailed,
    MergeDamaged,
    UnsupportedByHost,
    WouldLoseWork,
)
from tests.client.answers import POLICY
from tests.client.releases import RELEASES, SAMPLE
from tests.client.simulated import FOLDER, LOST, SLUG, AsyncWithGit, Fault, WithGit, git

PAIR: dict[str, list[str]] = {"WP01": [], "WP02": ["WP01"]}

every_host = pytest.mark.parametrize("release", SAMPLE)
every_kind = pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.7"])
"""One release per kind of merge: branches stay; the target moves alone; lanes are removed."""


def client(host: WithGit) -> Client:
    """Return a client with an actor and a policy."""
    return Client(actor="ada", policy=POLICY, transport=host)


def commit(folder: Path, name: str, text: str) -> None:
    """Commit a file."""
    (folder / name).write_text(text)
    git(folder, "add", "--", name)
    git(folder, "commit", "--quiet", f"--message={name}", "--", name)


def finished(release: str, repo: Path, kind: type[WithGit] = WithGit) -> WithGit:
    """Return a host with a mission whose work is done and accepted, ready to be merged."""
    host = kind(release, dict(PAIR), repo)
    mine = client(host)
    for wp in PAIR:
        path = Path(mine.mission(SLUG).work_package(wp).claim().workspace_path)
        commit(path, f"{wp}.txt", f"{wp}\n")
        host.put(wp, "done")
    mine.mission(SLUG).accept()
    return host


def head(repo: Path, ref: str = "work") -> str:
    """Return the commit of a branch."""
    return git(repo, "rev-parse", ref)


@every_host
def test_a_merge_brings_the_work_into_the_target(release: str, repo: Path) -> None:
    """A merge brings all work into the target, and returns its commits before and after."""
    host = finished(release, repo)
    before = head(repo)
    merged = client(host).mission(SLUG).merge()

    assert merged == Merged(target="work", before=before, after=head(repo), changed=True)
    assert git(repo, "ls-tree", "--name-only", "work", "WP01.txt", "WP02.txt").split() == [
        "WP01.txt",
        "WP02.txt",
    ]


ATTRIBUTES = {
    "of nobody": ("*.txt merge=nowhere\n", "first A\nmiddle\nlast B\n"),
    "union": ("*.txt merge=union\n", "first A\nmiddle\nlast B\n"),
    "of the user": ("*.txt merge=own\n", "by the driver\n"),
}


@every_kind
@pytest.mark.parametrize("driver", ATTRIBUTES)
def test_a_merge_driver_is_the_users_affair(release: str, repo: Path, driver: str) -> None:
    """Git merges text where a driver is not configured; what a driver makes is no damage."""
    attributes, merged = ATTRIBUTES[driver]
    commit(repo, ".gitattributes", attributes)
    commit(repo, "both.txt", "first\nmiddle\nlast\n")
    git(repo, "config", "merge.own.driver", "echo by the driver >%A")
    host = WithGit(release, dict(PAIR), repo)
    mine = client(host)
    for wp, name in (("WP01", "both.txt"), ("WP02", "other.txt")):
        path = Path(mine.mission(SLUG).work_package(wp).claim().workspace_path)
        commit(path, name, "first A\nmiddle\nlast\n")
        host.put(wp, "done")
    commit(repo, "both.txt", "first\nmiddle\nlast B\n")
    mine.mission(SLUG).accept()

    assert mine.mission(SLUG).merge().changed
    assert (repo / "both.txt").read_text() == merged


@every_host
def test_the_checkout_of_the_target_is_up_to_date_afterwards(release: str, repo: Path) -> None:
    """The SDK updates the target's checkout, so that the next commit keeps the merge."""
    host = finished(release, repo)
    client(host).mission(SLUG).merge()

    assert git(repo, "status", "--porcelain") == ""
    assert (repo / "WP01.txt").read_text() == "WP01\n"
    commit(repo, "next.txt", "next\n")
    assert "WP02.txt" in git(repo, "ls-tree", "--name-only", "work").split()


@pytest.mark.parametrize("release", ["3.2.1", "3.2.7"])
@pytest.mark.parametrize("staged", [False, True])
def test_a_merge_over_the_users_own_changes_is_refused(
    release: str, repo: Path, *, staged: bool
) -> None:
    """From 3.2.0 on the user's uncommitted changes are named before anything is merged."""
    commit(repo, "mine.txt", "old\n")
    host = finished(release, repo)
    (repo / "mine.txt").write_text("new\n")
    if staged:
        git(repo, "add", "mine.txt")
    before = head(repo)

    with pytest.raises(WouldLoseWork, match="Commit or stash them") as e:
        client(host).mission(SLUG).merge()
    assert e.value.paths == (f"{repo}/mine.txt",)
    assert (repo / "mine.txt").read_text() == "new\n"
    assert "merge-mission" not in host.verbs
    assert head(repo) == before
    git(repo, "reset", "--quiet", "--hard")
    assert client(host).mission(SLUG).merge().changed


def test_the_users_changes_elsewhere_stop_no_merge(repo: Path) -> None:
    """The user's changes stop no merge into a target that is not checked out."""
    commit(repo, "mine.txt", "old\n")
    host = finished("3.2.7", repo)
    git(repo, "branch", "release", "work")
    (repo / "mine.txt").write_text("new\n")

    assert client(host).mission(SLUG).merge(target="release").changed
    assert (repo / "mine.txt").read_text() == "new\n"


@pytest.mark.parametrize("release", ["1.0.3", "3.1.10"])
def test_the_users_own_changes_survive_a_merge(release: str, repo: Path) -> None:
    """Uncommitted changes in the target's checkout survive a merge."""
    commit(repo, "mine.txt", "old\n")
    host = finished(release, repo)
    (repo / "mine.txt").write_text("new\n")
    (repo / "untracked.txt").write_text("new\n")
    client(host).mission(SLUG).merge()

    assert (repo / "mine.txt").read_text() == (repo / "untracked.txt").read_text() == "new\n"
    assert (repo / "WP01.txt").read_text() == "WP01\n"
    assert git(repo, "diff", "--name-only") == "mine.txt"
    assert git(repo, "diff", "--cached", "--name-only") == ""


@pytest.mark.parametrize("release", ["3.1.0", "3.1.10"])
def test_what_the_user_has_staged_survives_a_merge(release: str, repo: Path) -> None:
    """Staged changes of the user survive a merge by 3.1.x, which does not look at the index."""
    commit(repo, "staged.txt", "old\n")
    host = finished(release, repo)
    (repo / "staged.txt").write_text("new\n")
    git(repo, "add", "staged.txt")
    client(host).mission(SLUG).merge()

    assert (repo / "staged.txt").read_text() == "new\n"
    assert (repo / "WP01.txt").read_text() == "WP01\n"
    assert git(repo, "diff", "--cached", "--name-only") == "staged.txt"


@pytest.mark.parametrize("release", ["3.1.0", "3.1.10"])
def test_a_stale_checkout_that_cannot_be_brought_up_to_date_is_told(
    release: str, repo: Path
) -> None:
    """The SDK does not overwrite a change that the user makes during the merge."""
    commit(repo, "WP01.txt", "before\n")
    host = finished(release, repo)
    host.on_merge = lambda: (repo / "WP01.txt").write_text("mine\n")

    with pytest.raises(GitFailed, match=r"is merged into work.*git reset --hard"):
        client(host).mission(SLUG).merge()
    assert (repo / "WP01.txt").read_text() == "mine\n"


@every_kind
@pytest.mark.parametrize("how", ["untracked", "changed", "staged"])
def test_uncommitted_work_stops_a_merge(release: str, repo: Path, how: str) -> None:
    """The SDK refuses a merge while a worktree has uncommitted files, and names them."""
    host = finished(release, repo)
    path = host.worktree("WP02")
    name = "new file.txt" if how == "untracked" else "WP02.txt"
    (path / name).write_text("precious\n")
    if how == "staged":
        git(path, "add", name)
    before = head(repo)

    with pytest.raises(WouldLoseWork, match="uncommitted changes") as e:
        client(host).mission(SLUG).merge()
    assert e.value.paths == (f"{path}/{name}",)
    assert (path / name).read_text() == "precious\n"
    assert "merge-mission" not in host.verbs
    assert head(repo) == before


@every_host
def test_the_folder_of_the_mission_is_committed_first(release: str, repo: Path) -> None:
    """The SDK commits the mission's folder before the merge, because 3.2.7 resets it."""
    host = finished(release, repo)
    log = repo / FOLDER / "status.events.jsonl"
    log.write_text(log.read_text() + '{"late": true}\n')
    (repo / "mine.txt").write_text("mine\n")
    client(host).mission(SLUG).merge()

    assert '"late"' in git(repo, "show", f"work:{FOLDER}/status.events.jsonl")
    assert "accepted_at" in git(repo, "show", f"work:{FOLDER}/meta.json")
    assert git(repo, "status", "--porcelain") == "?? mine.txt"


def test_only_the_folder_of_the_mission_is_committed(repo: Path) -> None:
    """The SDK commits nothing outside of the mission's folder; staged files stay staged."""
    commit(repo, "mine.txt", "old\n")
    host = finished("3.1.10", repo)
    (repo / "mine.txt").write_text("new\n")
    git(repo, "add", "mine.txt")
    (repo / FOLDER / "extra.md").write_text("late\n")
    client(host).mission(SLUG).merge()

    assert git(repo, "show", "work:mine.txt") == "old"
    assert git(repo, "diff", "--cached", "--name-only") == "mine.txt"
    assert git(repo, "show", f"work:{FOLDER}/extra.md") == "late"


@pytest.mark.parametrize("release", ["3.1.0", "3.1.10", "3.2.1", "3.2.7", "4.0.0rc7"])
def test_a_mission_that_is_merged_is_recognised(release: str, repo: Path) -> None:
    """The SDK returns a second merge as a success without a change, and calls no host for it."""
    host = finished(release, repo)
    mine = client(host)
    first = mine.mission(SLUG).merge()
    again = mine.mission(SLUG).merge()

    assert again == Merged(target="work", before=first.after, after=first.after, changed=False)
    assert host.mutations.count("merge-mission") == 1


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3"])
def test_a_merge_can_be_repeated_where_branches_stay(release: str, repo: Path) -> None:
    """Up to 3.0.3 a repeated merge calls the host, and merges nothing twice."""
    host = finished(release, repo)
    mine = client(host)
    first = mine.mission(SLUG).merge()
    mine.mission(SLUG).merge()

    assert head(repo) == first.after


@pytest.mark.parametrize("release", ["3.1.10", "3.2.7"])
def test_a_mission_with_work_left_is_not_taken_for_merged(release: str, repo: Path) -> None:
    """The SDK does not take a mission with open work packages for merged."""
    host = WithGit(release, dict(PAIR), repo)

    with pytest.raises(IntegrationFailed):
        client(host).mission(SLUG).merge()


@every_kind
@pytest.mark.parametrize("fault", LOST)
def test_a_lost_answer_of_a_merge_is_settled_by_git(release: str, repo: Path, fault: Fault) -> None:
    """After a lost answer git shows whether the host has merged, and a second merge ends it."""
    host = finished(release, repo)
    before = head(repo)
    host.faults["merge-mission"] = [fault]
    mine = client(host)
    if "before" in fault or RELEASES[release] == "F1":
        with pytest.raises((HostTimeout, HostCrashed)) as e:
            mine.mission(SLUG).merge()
        seen = fault is Fault.CRASH_BEFORE  # the host has ended, and git shows no effect
        assert ("Nothing was changed" in str(e.value)) is seen
        assert ("may have taken effect" in str(e.value)) is not seen
        merged = mine.mission(SLUG).merge()
    else:
        merged = mine.mission(SLUG).merge()
        assert merged.before == before

    assert merged.after == head(repo)
    assert (repo / "WP02.txt").read_text() == "WP02\n"
    assert git(repo, "status", "--porcelain") == ""


@every_kind
def test_a_merge_that_takes_commits_away_is_told(release: str, repo: Path) -> None:
    """A merge that takes commits away raises MergeDamaged with the target's old commit."""
    host = finished(release, repo)
    commit(repo, "other.txt", "somebody else's\n")
    before = head(repo)
    root = git(repo, "rev-list", "--max-parents=0", "work")
    host.on_merge = lambda: git(repo, "reset", "--quiet", "--hard", root) and None

    with pytest.raises(MergeDamaged, match="took commits away") as e:
        client(host).mission(SLUG).merge()
    assert (e.value.target, e.value.before, e.value.paths) == ("work", before, ())


@every_kind
@pytest.mark.parametrize("what", ["new", "changed", "deleted"])
def test_a_merge_that_touches_strange_files_is_told(release: str, repo: Path, what: str) -> None:
    """A merge that changes a file no work package has changed raises MergeDamaged."""
    commit(repo, "other.txt", "somebody else's\n")
    host = finished(release, repo)
    before = head(repo)

    def meddle() -> None:
        git(repo, "reset", "--quiet", "--hard", "work")
        if what == "deleted":
            git(repo, "rm", "--quiet", "other.txt")
            git(repo, "commit", "--quiet", "--message=meddle")
        else:
            commit(repo, "other.txt" if what == "changed" else "strange.txt", "meddled\n")

    host.on_merge = meddle

    with pytest.raises(MergeDamaged, match="no work package touched") as e:
        client(host).mission(SLUG).merge()
    assert e.value.before == before
    assert e.value.paths == (("strange.txt",) if what == "new" else ("other.txt",))


@every_kind
def test_files_of_the_mission_itself_are_not_strange(release: str, repo: Path) -> None:
    """Files that the host writes during a merge are not reported as damage."""
    host = finished(release, repo)

    def book() -> None:
        git(repo, "reset", "--quiet", "--hard", "work")
        commit(repo, f"{FOLDER}/merged.json", "{}\n")

    host.on_merge = book

    assert client(host).mission(SLUG).merge().changed


@pytest.mark.parametrize("release", ["1.0.3", "3.2.7"])
def test_a_conflict_is_the_hosts_to_tell(release: str, repo: Path) -> None:
    """A conflict is the host's error, not damage, and the work stays on its branches."""
    host = finished(release, repo)
    commit(repo, "WP01.txt", "something else\n")

    with pytest.raises(IntegrationFailed, match=r"MERGE_FAILED|PREFLIGHT_FAILED"):
        client(host).mission(SLUG).merge()
    assert git(repo, "show", f"{host.branch('WP01')}:WP01.txt") == "WP01"


@pytest.mark.parametrize(
    ("release", "strategy", "since"),
    [
        ("1.0.3", "squash", "2.1.0"),
        ("1.0.3", "rebase", "3.2.0"),
        ("3.0.3", "rebase", "3.2.0"),
    ],
)
def test_a_strategy_that_fails_half_way_is_refused(
    release: str, strategy: str, since: str, repo: Path
) -> None:
    """The SDK refuses a strategy that fails on this host, and names the first good release."""
    host = finished(release, repo)
    before = head(repo)

    with pytest.raises(UnsupportedByHost, match=f"{strategy}.*use merge") as e:
        client(host).mission(SLUG).merge(strategy=strategy)
    assert (e.value.since, e.value.release) == (since, release)
    assert "merge-mission" not in host.verbs
    assert head(repo) == before


@pytest.mark.parametrize("release", ["3.0.3", "3.2.1", "3.2.7"])
def test_a_squash_that_works_is_left_alone(release: str, repo: Path) -> None:
    """From 2.1.0 on a squash works for any number of work packages."""
    host = finished(release, repo)
    merged = client(host).mission(SLUG).merge(strategy=MergeStrategy.SQUASH)

    assert merged.changed
    assert host.sent("merge-mission")[0]["strategy"] == "squash"
    assert (repo / "WP01.txt").is_file()


@every_kind
def test_a_target_of_ones_own_is_merged_into(release: str, repo: Path, tmp_path: Path) -> None:
    """A merge into another target leaves the mission's own target unchanged."""
    host = finished(release, repo)
    git(repo, "init", "--quiet", "--bare", str(tmp_path / "remote"))
    git(repo, "remote", "add", "origin", str(tmp_path / "remote"))
    git(repo, "branch", "release", "work")
    before = head(repo)
    merged = client(host).mission(SLUG).merge(target="release", push=True)

    assert (merged.target, merged.after) == ("release", head(repo, "release"))
    assert head(repo) == before
    assert host.sent("merge-mission")[0]["target"] == "release"
    assert git(tmp_path / "remote", "rev-parse", "release") == merged.after


@every_kind
def test_a_target_that_is_none_is_told_before_anything(release: str, repo: Path) -> None:
    """The SDK refuses a target that does not exist, without a call of merge-mission."""
    host = finished(release, repo)

    with pytest.raises(GitFailed, match="no branch 'mian'"):
        client(host).mission(SLUG).merge(target="mian")
    assert "merge-mission" not in host.verbs


@pytest.mark.anyio
@every_kind
async def test_a_merge_async(release: str, repo: Path) -> None:
    """The async client makes the same checks before a merge."""
    host = finished(release, repo)
    mine = AsyncClient(actor="ada", policy=POLICY, transport=AsyncWithGit(host))
    (host.worktree("WP01") / "new.txt").write_text("precious\n")

    with pytest.raises(WouldLoseWork):
        await mine.mission(SLUG).merge()
    (host.worktree("WP01") / "new.txt").unlink()
    await mine.mission(SLUG).accept()
    assert (await mine.mission(SLUG).merge()).changed
    assert (repo / "WP01.txt").read_text() == "WP01\n"


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3"])
def test_a_merge_that_changes_nothing_says_so(release: str, repo: Path) -> None:
    """Up to 3.0.3 a second merge succeeds with changed=False."""
    host = finished(release, repo)
    mine = client(host)
    first = mine.mission(SLUG).merge()

    assert mine.mission(SLUG).merge() == Merged(
        target="work", before=first.after, after=first.after, changed=False
    )


@pytest.mark.parametrize("release", ["1.0.3", "3.2.7"])
def test_a_target_that_has_another_history_is_damage(release: str, repo: Path) -> None:
    """A target without common history raises MergeDamaged, not GitFailed."""
    host = finished(release, repo)
    before = head(repo)

    def replace() -> None:
        orphan = git(repo, "commit-tree", "-m", "orphan", git(repo, "rev-parse", "HEAD^{tree}"))
        git(repo, "reset", "--quiet", "--hard", orphan)

    host.on_merge = replace

    with pytest.raises(MergeDamaged, match="took commits away") as e:
        client(host).mission(SLUG).merge()
    assert e.value.before == before


@pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.7"])
def test_a_worktree_that_was_removed_by_hand_does_not_stop_a_merge(
    release: str, repo: Path
) -> None:
    """A merge works without a worktree whose branch is still there."""
    host = finished(release, repo)
    shutil.rmtree(host.worktree("WP01"))

    assert client(host).mission(SLUG).merge().changed
    assert (repo / "WP01.txt").is_file()


@pytest.mark.parametrize("release", ["3.1.10", "3.2.7"])
def test_what_is_reworked_after_a_merge_can_be_merged(release: str, repo: Path) -> None:
    """The error of a second merge has the command for the branch that the first one removed."""
    host = WithGit(release, {"WP01": [], "WP02": []}, repo)
    mine = client(host)
    for wp in host.lanes:
        commit(
            Path(mine.mission(SLUG).work_package(wp).claim().workspace_path), f"{wp}.txt", f"{wp}\n"
        )
        host.put(wp, "done")
    mine.mission(SLUG).merge()
    host.put("WP01", "in_progress")
    commit(
        Path(mine.mission(SLUG).work_package("WP01").claim().workspace_path), "more.txt", "more\n"
    )
    host.put("WP01", "done")

    with pytest.raises(IntegrationFailed) as e:
        mine.mission(SLUG).merge()
    wanted = f"git branch {host.branch('WP02')} work"
    assert any(f"`{wanted}`" in note for note in e.value.__notes__)
    assert len(e.value.__notes__) == 2  # and where the target was
    git(repo, *wanted.split()[1:])
    assert mine.mission(SLUG).merge().changed
    assert (repo / "more.txt").is_file()


@every_kind
def test_work_that_renames_and_deletes_is_merged(release: str, repo: Path) -> None:
    """Renamed and deleted files of a work package are merged as well."""
    commit(repo, "old.txt", "same text\n" * 20)
    commit(repo, "gone.txt", "gone\n")
    host = WithGit(release, {"WP01": []}, repo)
    path = Path(client(host).mission(SLUG).work_package("WP01").claim().workspace_path)
    git(path, "mv", "old.txt", "n\u00e4w name.txt")
    git(path, "rm", "--quiet", "gone.txt")
    git(path, "commit", "--quiet", "--message=tidy")
    host.put("WP01", "done")
    merged = client(host).mission(SLUG).merge()

    assert merged.changed
    assert not (repo / "old.txt").exists()
    assert not (repo / "gone.txt").exists()
    assert (repo / "n\u00e4w name.txt").is_file()
    assert git(repo, "status", "--porcelain") == ""


@every_kind
def test_a_target_that_went_on_is_no_damage(release: str, repo: Path) -> None:
    """Commits of others on the target during the merge are no damage."""
    host = finished(release, repo)
    commit(repo, "other.txt", "somebody else's\n")

    assert client(host).mission(SLUG).merge().changed
    assert (repo / "other.txt").read_text() == "somebody else's\n"


@every_kind
def test_a_merge_while_another_branch_is_checked_out(release: str, repo: Path) -> None:
    """A merge while another branch is checked out leaves the user's checkout clean."""
    host = finished(release, repo)
    git(repo, "checkout", "--quiet", "-b", "elsewhere")
    merged = client(host).mission(SLUG).merge()

    assert merged.after == head(repo)
    assert "WP01.txt" in git(repo, "ls-tree", "--name-only", "work").split()
    assert git(repo, "status", "--porcelain") == ""


@every_kind
def test_a_merge_that_leaves_work_behind_is_told(release: str, repo: Path) -> None:
    """A merge that leaves out an added file raises MergeDamaged."""
    host = finished(release, repo)

    def lose() -> None:
        git(repo, "reset", "--quiet", "--hard", "work")
        git(repo, "rm", "--quiet", "WP02.txt")
        git(repo, "commit", "--quiet", "--message=lose")

    host.on_merge = lose

    with pytest.raises(MergeDamaged) as e:
        client(host).mission(SLUG).merge()
    assert e.value.paths == ("WP02.txt",)
