"""The files that calls leave, and the state of repositories that git shows."""

import hashlib
import os
import re
import sqlite3
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

__all__ = ["Left", "sections"]

_HEAD = "\n=== "
_ULID = r"01[0-9A-HJKMNP-TV-Z]{6,24}"
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MOMENT = r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?"
# Random parts of a text must not decide whether it was printed before, and random parts of a name
# must not decide the order of files.
_CHANCE = re.compile(f"{_ULID}|{_UUID}|{_MOMENT}|[0-9a-f]{{16,64}}")
_GONE = {
    # Two equal commits have one id if they are made in the same second, otherwise two.
    re.compile(r"\b[0-9a-f]{40}\b"): "0" * 40,
    re.compile(r"(?<=^WIP on )(\S+: )[0-9a-f]{7,}\b", re.MULTILINE): r"\g<1>0000000",
    re.compile(r"(?<=\tWIP on )(\S+: )[0-9a-f]{7,}\b"): r"\g<1>0000000",
    # Port and process of the dashboard that 1.0.3 starts by itself.
    re.compile(
        r"(?<=^http://127\.0\.0\.1:)\d+\n\d+\n([0-9a-f]{32})\n\d+", re.MULTILINE
    ): r"0\n0\n\1\n0",
    # The seconds in a reflog.
    re.compile(r"(?<=> )\d{10} [+-]\d{4}(?=\t|$)", re.MULTILINE): "0 +0000",
}
_SECOND = re.compile(r"(?<=,)\d{10}(?=[,)])")  # in a row of a database
_BLOB = re.compile("X'((?:[0-9A-F]{2})*)'")  # 3.2.5 stores JSON here, with ids and times
_OF_GIT = {"objects", "index"}  # shown by trees and by the status


class Left:
    """Returns the files that calls have left as a text, with each version of a file once.

    Args:
        env: The environment of git.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env | {"GIT_OPTIONAL_LOCKS": "0"}
        self._versions: dict[str, list[str]] = {}
        self._known: dict[tuple[str, ...], str] = {}

    def __call__(self, base: Path, root: Path) -> str:
        """Return the text about a repository, and about HOME and the temporary files beside it."""
        parts: list[str] = []
        for path in (root, base / "home", base / "tmp"):
            parts += self._files(path, base)
        for repository in (root, base / "remote"):
            if repository.exists():
                parts += self._repository(repository, base)
        text = "".join(f"{_HEAD}{part}" for part in parts)
        for pattern, stable in _GONE.items():
            text = pattern.sub(stable, text)
        return text

    def _files(self, top: Path, base: Path) -> Iterator[str]:
        paths: list[Path] = []
        for folder, names, files in os.walk(top):
            names[:] = [n for n in names if n not in _OF_GIT or ".git" not in Path(folder).parts]
            paths += [Path(folder, name) for name in (*names, *files)]
        for path in sorted(paths, key=_without_chance):
            about, name = path.lstat(), path.relative_to(base)
            mode = stat.filemode(about.st_mode)
            if stat.S_ISREG(about.st_mode):
                index = path.name == "index" and ".git" in path.parts
                content = "" if index else _told(path)
                yield self._content(f"{mode} {name}", str(name), content)
            elif stat.S_ISLNK(about.st_mode):
                yield f"{mode} {name} -> {path.readlink()}\n"
            else:
                yield f"{mode} {name}\n"

    def _content(self, head: str, name: str, content: str) -> str:
        """Return a file's content, or the number of the equal version that was printed before."""
        for pattern, stable in _GONE.items():
            content = pattern.sub(stable, content)
        digest = hashlib.sha256(_CHANCE.sub("*", content).encode()).hexdigest()
        known = self._versions.setdefault(_CHANCE.sub("*", name), [])
        if digest in known:
            return f"{head}\n(as printed: {known.index(digest) + 1})\n"
        known.append(digest)
        return f"{head}\n{content}\n"

    def _repository(self, root: Path, base: Path) -> Iterator[str]:
        name = root.relative_to(base)
        refs = self._git(root, "for-each-ref", "--format=%(refname) %(objectname) %(symref)")
        for line in sorted(refs.splitlines(), key=lambda line: _CHANCE.sub("*", line)):
            _, commit, *_ = line.split(" ")
            yield f"{name} {line}\n{self._history(root, commit)}"
        yield f"{name} HEAD\n{self._git(root, 'rev-parse', '--symbolic-full-name', 'HEAD')}"
        trees = self._git(root, "worktree", "list", "--porcelain")
        yield f"{name} worktrees\n{trees}"
        for line in trees.splitlines():
            place = line.removeprefix("worktree ")
            if place != line and Path(place).is_dir() and "bare" not in trees.split():
                status = self._git(Path(place), "status", "--porcelain", "--untracked-files=all")
                yield f"{name} status of {place}\n{status}"

    def _history(self, root: Path, commit: str) -> str:
        how = "--format=%H%n%an <%ae> %cn <%ce>%n%B"
        log = self._fixed(root, "log", "--first-parent", "-m", "--name-status", how, commit)
        count = self._fixed(root, "rev-list", "--count", commit)
        tree = self._fixed(root, "ls-tree", "-r", "--full-tree", commit).splitlines()
        told = [f"{count.strip()} commits\n{log}"]
        for line in sorted(tree, key=lambda line: _CHANCE.sub("*", line.partition("\t")[2])):
            about, _, path = line.partition("\t")
            mode, _, blob = about.split(" ")
            content = self._fixed(root, "cat-file", "blob", blob)
            told.append(self._content(f"{mode} {path}", path, content))
        return "".join(told)

    def _fixed(self, root: Path, *args: str) -> str:
        """Return the output of git about an object that never changes."""
        if args not in self._known:
            self._known[args] = self._git(root, *args)
        return self._known[args]

    def _git(self, cwd: Path, *args: str) -> str:
        """Return the output of git, error messages included."""
        done = subprocess.run(
            ["git", *args], cwd=cwd, env=self._env, capture_output=True, check=False
        )
        said = _text(done.stdout + done.stderr)
        return said if done.returncode == 0 else f"{said}({done.returncode})\n"


def _without_chance(path: Path) -> tuple[str, str]:
    """Return the sort key of a file: its name, and for random names its content."""
    name = _CHANCE.sub("*", str(path))
    told = "*" in name and path.is_file() and not path.is_symlink()
    return name, _CHANCE.sub("*", _told(path)) if told else ""


def _told(path: Path) -> str:
    """Return a file's content; for a database its rows, whose place in the file varies."""
    content = path.read_bytes()
    if not content.startswith(b"SQLite format 3\0"):
        return _text(content)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        lines = [_SECOND.sub("0", _BLOB.sub(_read, line)) for line in database.iterdump()]
    return "\n".join(sorted(lines, key=lambda line: _CHANCE.sub("*", line)))


def _read(blob: re.Match[str]) -> str:
    return _text(bytes.fromhex(blob[1]))


def _text(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")


def sections(text: str) -> dict[str, str]:
    """Return the parts of a text by their first line, which several may share."""
    found: dict[str, str] = {}
    for part in text.split(_HEAD)[1:]:
        head, _, body = part.partition("\n")
        found[head] = found.get(head, "") + body
    return found
