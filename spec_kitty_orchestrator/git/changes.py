"""The changes between commits: the diff for a reviewer, and links that must not be merged.

Memory does not grow with the changes, also not that of git: a diff is written to a file and read
in pieces, and git is not asked for the diff of a file that it would have to load whole.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from attrs import frozen

from spec_kitty_orchestrator.git.calls import GitError, run_git

__all__ = ["Changes", "changes", "changes_to_undo", "is_owned", "put_back"]

_SHORTEST = 4096  # characters of the diff of one file that are shown at least
_PIECE = 1 << 16  # bytes of a line that are read at once
_LARGEST = 16 * 1024 * 1024  # bytes of a file whose diff is made; git takes ten times as much
_AT_ONCE = 500  # paths in one command
_NOTHING = "0" * 6


@frozen(kw_only=True)
class Changes:
    """The files that work has changed, and the text of the changes."""

    files: tuple[str, ...] = ()
    """All changed files, in the order of the diff."""
    deleted: tuple[str, ...] = ()
    """The deleted files. Their old text is not in the diff."""
    diff: str = ""
    cut: tuple[str, ...] = ()
    """The files whose diff is not shown whole."""


async def changes(folder: Path, spans: Sequence[tuple[str, str]], limit: int) -> Changes:
    """Return the changes between pairs of commits.

    Every file gets a part of the diff, so that a large one does not hide the others.

    Args:
        folder: A checkout.
        spans: Pairs of commits, the older one first.
        limit: The maximum number of characters of the diff.
    """
    rows = [row for before, after in spans for row in await _raw(folder, before, after)]
    files = tuple(dict.fromkeys(path for _, path in rows))
    deleted = tuple(dict.fromkeys(path for modes, path in rows if modes[1] == _NOTHING))
    share = max(_SHORTEST, limit // max(1, len(files)))
    texts: list[str] = []
    cut: list[str] = []
    with tempfile.TemporaryDirectory(prefix="spec-kitty-orchestrator-") as name:
        for number, (before, after) in enumerate(spans):
            output = Path(name, str(number))
            every = [path for _, path in await _raw(folder, before, after)]
            large = await _large(folder, after, every)
            names = [path for path in every if path not in large]
            options = ("--no-renames", "--irreversible-delete", f"--output={output}")
            shown_files = (":(top)", *(f":(top,exclude,literal){path}" for path in large))
            await run_git(folder, "diff", *options, before, after, "--", *shown_files)
            for path, text, whole in (*_parts(output, names, share), *_too_large(large)):
                shown = text[: max(0, limit - sum(map(len, texts)))]
                texts.append(shown)
                if not whole or shown != text:
                    cut.append(path)
    return Changes(files=files, deleted=deleted, diff="".join(texts), cut=tuple(cut))


async def _large(folder: Path, commit: str, paths: Sequence[str]) -> dict[str, int]:
    """Return the sizes, in bytes, of the files whose diff is not made."""
    found: dict[str, int] = {}
    for start in range(0, len(paths), _AT_ONCE):
        some = paths[start : start + _AT_ONCE]
        listed = await run_git(
            folder, "ls-tree", "-r", "-l", "-z", "--full-tree", commit, "--", *some
        )
        for about, _, path in (row.partition("\t") for row in listed.split("\0") if row):
            size = about.split()[-1]
            if size.isdigit() and int(size) > _LARGEST:
                found[path] = int(size)
    return found


def _too_large(sizes: Mapping[str, int]) -> Iterator[tuple[str, str, bool]]:
    """Yield what is shown of the files whose diff is not made; see `_parts`."""
    for path, size in sizes.items():
        text = f"diff --git a/{path} b/{path}\n[the diff is not shown: the file has {size} bytes]\n"
        yield path, text, False


def _parts(diff: Path, names: Sequence[str], share: int) -> Iterator[tuple[str, str, bool]]:
    """Yield the beginning of the diff of each file, and whether it is the whole diff."""
    number, text, size, whole = -1, bytearray(), 0, True
    with diff.open("rb") as file:
        starts = True  # at the start of a line
        while piece := file.readline(_PIECE):
            if starts and piece.startswith(b"diff --git "):
                if number >= 0:
                    yield names[number], text.decode("utf-8", "backslashreplace"), whole
                number, text, size, whole = number + 1, bytearray(), 0, True
            starts = piece.endswith(b"\n")
            size += len(piece)
            if size <= share:
                text += piece
            elif whole:
                text += b"[the rest of this file is cut off]\n"
                whole = False
    if number >= 0:
        yield names[number], text.decode("utf-8", "backslashreplace"), whole


async def _raw(folder: Path, before: str, after: str) -> list[tuple[tuple[str, str], str]]:
    """Return the modes before and after, and the path, of each changed file."""
    listed = await run_git(folder, "diff", "--raw", "--no-renames", "-z", before, after)
    words = iter(listed.split("\0"))
    return [
        ((about.split()[0].removeprefix(":"), about.split()[1]), path)
        for about, path in zip(words, words, strict=False)
        if about
    ]


async def changes_to_undo(
    folder: Path, inside: str, *, before: str, target: str | None, owned: Sequence[str]
) -> tuple[str, list[str]]:
    """Return the changed files in one folder of a checkout, and the commit that has them unchanged.

    Changes that came with a merge of the target branch are not among them.

    Args:
        folder: The top of the checkout.
        inside: The folder, relative to the top.
        before: The commit before the work.
        target: The branch that the work started from; None: unknown.
        owned: Patterns of files whose changes stay.

    Returns:
        The commit for `put_back`, and the files, with committed and uncommitted changes.
    """
    fork = before
    if target:
        try:
            fork = (await run_git(folder, "merge-base", "HEAD", target)).strip()
            if await run_git(folder, "rev-list", "-1", before, "--not", fork):
                fork = before  # the branch has work of other work packages that the target lacks
        except GitError:
            fork = before
    changed = set(await changed_since(folder, inside, before))
    if fork != before:
        changed &= set(await changed_since(folder, inside, fork))
    return fork, [path for path in sorted(changed) if not is_owned(path, owned)]


async def changed_since(folder: Path, inside: str, commit: str) -> list[str]:
    """Return the files in a folder that differ from a commit, committed or not."""
    where = f":(top,literal){inside}"
    listed = await run_git(folder, "diff", "--name-only", "--no-renames", "-z", commit, "--", where)
    args = ("ls-files", "--others", "--exclude-standard", "-z", "--", where)
    listed += await run_git(folder, *args)
    return [path for path in listed.split("\0") if path]


async def put_back(folder: Path, commit: str, files: Sequence[str]) -> None:
    """Give files the content that a commit has, and remove those that it lacks."""
    listed = await run_git(folder, "ls-tree", "-r", "-z", "--name-only", commit, "--", *files)
    there = set(listed.split("\0"))
    old = [path for path in files if path in there]
    if old:
        await run_git(folder, "checkout", "--quiet", commit, "--", *_literal(old))
    if new := [path for path in files if path not in there]:
        await run_git(folder, "rm", "-r", "--quiet", "--force", "--cached", "--ignore-unmatch",
                      "--", *_literal(new))  # fmt: skip
        for path in new:
            (folder / path).unlink(missing_ok=True)


def is_owned(path: str, patterns: Iterable[str]) -> bool:
    """Return whether a file is among those that a work package owns.

    Args:
        path: The file, relative to the top of the checkout.
        patterns: Files, folders and patterns such as ``src/**``, as in ``owned_files``.
    """
    return any(
        fnmatchcase(path, pattern)
        or path.startswith(f"{pattern.rstrip('/')}/")
        or fnmatchcase(path, pattern.replace("**/", ""))
        for pattern in patterns
    )


def _literal(paths: Sequence[str]) -> list[str]:
    return [f":(top,literal){path}" for path in paths]
