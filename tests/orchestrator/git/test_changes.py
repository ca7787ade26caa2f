"""Tests of `spec_kitty_orchestrator.git.changes`, with real git."""

import ast
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.git.changes import changes, changes_to_undo, is_owned, put_back
from tests.orchestrator.git.repositories import do, head_of, linked, save, write

FOLDER = "kitty-specs/m"


# The diff for a reviewer


def test_changes_are_files_and_text(repo: Path) -> None:
    """A reviewer sees which files changed, and the diff."""
    before, after = head_of(repo), save(repo, "a.txt", "hello\n")
    found = do(changes(repo, [(before, after)], 10_000))
    assert found.files == ("a.txt",)
    assert "+hello" in found.diff
    assert found.cut == found.deleted == ()


def test_a_large_file_does_not_hide_the_others(repo: Path) -> None:
    """Every file gets a part of the diff, and the cut files are named."""
    before = head_of(repo)
    write(repo / "a.txt", "hello\n" * 100_000)
    after = save(repo, "z.txt", "small\n")
    found = do(changes(repo, [(before, after)], 20_000))
    assert found.files == ("a.txt", "z.txt")
    assert found.cut == ("a.txt",)
    assert "+small" in found.diff
    assert len(found.diff) <= 20_000


def test_a_deletion_is_seen_whatever_is_cut(repo: Path) -> None:
    """Deleted files are named; their old text takes no room in the diff."""
    before = save(repo, "gone.txt", "old\n" * 10_000)
    (repo / "gone.txt").unlink()
    after = save(repo, "z.txt")
    found = do(changes(repo, [(before, after)], 1_000))
    assert found.deleted == ("gone.txt",)
    assert found.cut == ()
    assert len(found.diff) < 1_000


def test_no_part_is_larger_than_the_limit(repo: Path) -> None:
    """With very many files, the diff ends at the limit and the rest are said to be cut."""
    before = head_of(repo)
    for number in range(50):
        write(repo / f"{number:03}.txt", "text\n" * 100)
    after = save(repo, "last.txt")
    found = do(changes(repo, [(before, after)], 2_000))
    assert len(found.diff) <= 2_000
    assert len(found.files) == 51
    assert "last.txt" in found.cut


def test_memory_does_not_grow_with_a_diff(repo: Path) -> None:
    """A diff of 8 MB is read in pieces."""
    before = head_of(repo)
    after = save(repo, "data.csv", "1,abcdefgh\n" * 800_000)
    tracemalloc.start()
    try:
        do(changes(repo, [(before, after)], 128 * 1024))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_git_does_not_load_large_files(repo: Path, tmp_path: Path) -> None:
    """A created, a changed and a copied file of 20 MB: named with their size, beside the others."""
    text = "0123456789abcde\n" * (20 * 1024 * 1024 // 16)
    before = save(repo, "changed.txt", text)
    write(repo / "-created [x].txt", text.upper())
    write(repo / "folder/copied.txt", text)
    write(repo / "small.txt")
    after = save(repo, "changed.txt", text + "more\n")
    log = tmp_path / "log"
    code = f"""\
import pathlib, resource, anyio
from spec_kitty_orchestrator.git.changes import changes
found = anyio.run(changes, pathlib.Path({str(repo)!r}), [({before!r}, {after!r})], 20_000)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
pathlib.Path({str(log)!r}).write_text(repr((peak, found.cut, found.diff)))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    peak, cut, diff = ast.literal_eval(log.read_text())
    unit = 1024 if sys.platform == "linux" else 1024 * 1024
    assert peak < 60 * unit  # the diff of one of these takes git 130 MB
    assert sorted(cut) == ["-created [x].txt", "changed.txt", "folder/copied.txt"]
    assert "b/folder/copied.txt\n[the diff is not shown: the file has 20971520 bytes]" in diff
    assert "b/small.txt\n@@" in diff


def test_a_line_without_end_is_cut(repo: Path) -> None:
    """A file of one long line is cut as well, and the next file is still found."""
    before = head_of(repo)
    write(repo / "a.js", "x" * 1_000_000)
    after = save(repo, "b.txt", "small\n")
    found = do(changes(repo, [(before, after)], 20_000))
    assert "+small" in found.diff
    assert found.cut == ("a.js",)


def test_bytes_that_are_no_text_do_not_stop_a_review(repo: Path) -> None:
    """A file in another encoding is shown, escaped."""
    before = head_of(repo)
    (repo / "latin.txt").write_bytes(b"caf\xe9\n")
    assert "caf\\xe9" in do(changes(repo, [(before, save(repo, "b.txt"))], 10_000)).diff


def test_changes_end_at_a_commit(repo: Path) -> None:
    """Commits after the reviewed one are not shown."""
    before = head_of(repo)
    after = save(repo, "a.txt")
    save(repo, "b.txt")
    assert do(changes(repo, [(before, after)], 10_000)).files == ("a.txt",)


@pytest.mark.parametrize("name", ["a b.txt", "line\nbreak", "ümläut", '"quoted"', "diff --git x"])
def test_any_file_name_is_told_as_it_is(repo: Path, name: str) -> None:
    """Unusual file names are returned unchanged."""
    before, after = head_of(repo), save(repo, name)
    assert do(changes(repo, [(before, after)], 10_000)).files == (name,)


# The mission's own folder


def lane(repo: Path) -> Path:
    """Return a worktree of a lane, in a repository with a mission's folder."""
    save(repo, f"{FOLDER}/tasks/WP01.md", "plan\n")
    return linked(repo)


def dropped(path: Path, before: str, *owned: str, target: str | None = "work") -> list[str]:
    """Undo the changes in the mission's folder, and return its files."""
    commit, files = do(changes_to_undo(path, FOLDER, before=before, target=target, owned=owned))
    do(put_back(path, commit, files))
    return files


def test_uncommitted_changes_of_the_folder_are_undone(repo: Path) -> None:
    """Changed files are put back and new ones removed; work elsewhere stays."""
    path = lane(repo)
    before = head_of(path)
    write(path / FOLDER / "tasks" / "WP01.md", "ticked\n")
    write(path / FOLDER / "new.md")
    write(path / "src.py")
    assert dropped(path, before) == [f"{FOLDER}/new.md", f"{FOLDER}/tasks/WP01.md"]
    assert (path / FOLDER / "tasks" / "WP01.md").read_text() == "plan\n"
    assert not (path / FOLDER / "new.md").exists()
    assert (path / "src.py").exists()


def test_committed_changes_of_the_folder_are_undone(repo: Path) -> None:
    """Committed changes and deletions in the mission's folder are undone, too."""
    path = lane(repo)
    before = head_of(path)
    (path / FOLDER / "tasks" / "WP01.md").unlink()
    save(path, f"{FOLDER}/new.md")
    dropped(path, before)
    head = save(path, "a.txt")
    assert git(path, "diff", "--name-only", before, head).split() == ["a.txt"]


def test_owned_files_of_the_folder_stay(repo: Path) -> None:
    """Planning work may own files there."""
    path = lane(repo)
    before = head_of(path)
    write(path / FOLDER / "research" / "one.md")
    assert dropped(path, before, f"{FOLDER}/research/**") == []
    assert (path / FOLDER / "research" / "one.md").exists()


def test_changes_of_the_target_stay(repo: Path) -> None:
    """Changes that came with a merge of the target are not undone."""
    path = lane(repo)
    before = head_of(path)
    save(repo, f"{FOLDER}/status.json", "newer\n")
    git(path, "merge", "--quiet", "--no-edit", "work")
    write(path / FOLDER / "tasks" / "WP01.md", "ticked\n")
    assert dropped(path, before) == [f"{FOLDER}/tasks/WP01.md"]
    assert (path / FOLDER / "status.json").read_text() == "newer\n"


def test_a_target_that_is_gone_is_no_error(repo: Path) -> None:
    """Without the target branch, everything since the claim counts."""
    path = lane(repo)
    before = head_of(path)
    write(path / FOLDER / "new.md")
    assert dropped(path, before, target="nowhere") == [f"{FOLDER}/new.md"]


# Owned files


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("src/a.py", "src/a.py"),
        ("src/a.py", "src"),
        ("src/deep/a.py", "src/"),
        ("src/deep/a.py", "src/**"),
        ("src/deep/a.py", "src/**/*.py"),
        ("src/a.py", "src/**/*.py"),
        ("src/a.py", "src/*.py"),
    ],
)
def test_a_pattern_owns_a_file(path: str, pattern: str) -> None:
    """Files, folders and patterns, as work packages have them."""
    assert is_owned(path, [pattern])


@pytest.mark.parametrize("pattern", ["src/b.py", "lib/**", "srcs", "a.py"])
def test_other_patterns_do_not_own_it(pattern: str) -> None:
    """A file outside the patterns is not owned."""
    assert not is_owned("src/a.py", [pattern])
