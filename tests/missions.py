"""A repository with one finalised mission, for every release of the host, without an AI.

What a mission looks like before its first work package starts differs from release to
release: 1.0 to 3.0 read files that anyone may write, later hosts make a mission themselves.
Each call of a host costs seconds, so what it does not insist on doing is written by hand.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["POLICY", "Mission", "environment", "make", "version"]

Dag = dict[str, list[str]]
"""Work packages with what each depends on."""
Host = Callable[[Path, tuple[str, ...]], str]
"""Runs the host in a folder with arguments and returns its stdout; raises if it failed."""

POLICY = json.dumps(
    {
        "orchestrator_id": "tests",
        "orchestrator_version": "1",
        "agent_family": "script",
        "approval_mode": "manual",
        "sandbox_mode": "none",
        "network_mode": "none",
        "dangerous_flags": [],
    },
    separators=(",", ":"),
)
_SET = {
    "SPEC_KITTY_ENABLE_SAAS_SYNC": "0",
    "SPEC_KITTY_SYNC_DISABLE": "1",
    "SPEC_KITTY_NO_UPGRADE_CHECK": "1",
    "SPEC_KITTY_NO_NAG": "1",
    "SPEC_KITTY_NON_INTERACTIVE": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    "PYTHONUTF8": "1",
}
_UNSET = ("SPECIFY_REPO_ROOT", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
_TYPE = ("--mission-type", "software-dev")
_IGNORED = ".worktrees/\n__pycache__/\n.kittify/*\n!.kittify/.keep\n"
_PLAN = """\
# Plan

One module for each work package.

## Technical Context

**Language/Version**: Python 3.11
**Primary Dependencies**: the standard library
**Testing**: none
"""


@dataclass(frozen=True, kw_only=True)
class Mission:
    """A mission of which every work package is planned, in a repository of its own."""

    root: Path
    slug: str
    target_branch: str
    files: dict[str, str]
    """The one file that each work package owns, such as ``demo/wp01/wp01.py``."""
    dag: Dag


def make(
    spec_kitty: Path,
    release: str,
    root: Path,
    dag: Dag,
    *,
    env: Mapping[str, str] | None = None,
    topology: str = "lanes",
    host: Host | None = None,
) -> Mission:
    """Make a git repository with one finalised mission.

    Args:
        spec_kitty: The host's program.
        release: The host's version, such as ``3.1.10``.
        root: Must not exist.
        dag: Work packages with what each depends on.
        env: What to start from, HOME and git's identity included; None: this process's.
        topology: Of the mission, from 3.2.6 on.
        host: Runs the host instead of a new process, for whoever has a quicker way.

    Raises:
        RuntimeError: If the host or git does not do its part.
    """
    base = environment(spec_kitty, os.environ if env is None else env)
    files = {wp: f"demo/{wp.lower()}/{wp.lower()}.py" for wp in dag}
    at = version(release)
    maker = _Maker(root, dag, files, at, base, host or _process(spec_kitty, base))
    root.mkdir(parents=True)
    maker.repository("work" if at >= (3, 2) else "main")
    if at < (3, 1):
        slug = maker.by_hand()
    elif at < (3, 2, 6):
        slug = maker.by_agent_commands()
    else:
        slug = maker.by_design_verbs(topology)
    branch = maker.git("branch", "--show-current").strip()
    return Mission(root=root, slug=slug, target_branch=branch, files=files, dag=dag)


def version(release: str) -> tuple[int, ...]:
    """Return a release's numbers, those of ``4.0.0rc7`` without what follows its 0."""
    parts = (part.split("rc")[0] for part in release.split("."))
    return tuple(int(part) for part in parts)


def environment(spec_kitty: Path, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a host call: no network, no prompt, no daemon."""
    env = {name: value for name, value in base.items() if name not in _UNSET} | _SET
    # git's merge drivers call spec-kitty by name, so its folder comes first.
    return env | {"PATH": os.pathsep.join([str(spec_kitty.parent), env.get("PATH", os.defpath)])}


def _process(spec_kitty: Path, env: Mapping[str, str]) -> Host:
    return lambda cwd, args: _run([str(spec_kitty), *args], cwd, env)


def _run(argv: list[str], cwd: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise RuntimeError(f"{argv[:4]} ended with exit code {done.returncode}: {said}")
    return done.stdout


@dataclass(frozen=True)
class _Maker:
    root: Path
    dag: Dag
    files: dict[str, str]
    at: tuple[int, ...]
    env: Mapping[str, str]
    host: Host

    def git(self, *args: str) -> str:
        return _run(["git", *args], self.root, self.env)

    def commit(self, *paths: str) -> None:
        self.git("add", "--all", *(paths or (".",)))
        self.git("commit", "--quiet", "--message=By hand")

    def repository(self, branch: str) -> None:
        """Make a repository in which a host finds a project, on a branch it may commit to."""
        self.git("init", "--quiet", "--initial-branch=main")
        (self.root / ".kittify").mkdir()
        (self.root / ".kittify" / ".keep").touch()
        # Hosts differ in what they write there, and none wants it committed.
        (self.root / ".gitignore").write_text(_IGNORED, encoding="utf-8")
        self.commit()
        if branch != "main":
            self.git("checkout", "--quiet", "-b", branch)

    def by_hand(self) -> str:
        """1.0 to 3.0: a mission is nothing but its files."""
        slug = "001-demo"
        folder = self.root / "kitty-specs" / slug
        folder.mkdir(parents=True)
        meta = {  # accept on 2.1 to 3.0 dies without any one of the first seven
            "feature_number": "001",
            "slug": slug,
            "feature_slug": slug,
            "friendly_name": "demo",
            "mission": "software-dev",
            "target_branch": "main",
            "created_at": "2026-01-01T00:00:00+00:00",
            "vcs": "git",
        }
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        self.documents(folder)
        self.commit()
        return slug

    def by_agent_commands(self) -> str:
        """3.1.0 to 3.2.5: with the commands made for an agent's use."""
        kind = _TYPE if self.at > (3, 1, 0) else ("--mission", "software-dev")
        said = self.host(self.root, ("agent", "mission", "create", "demo", *kind, "--json"))
        created = json.loads(said[said.index("{") :])
        slug = str(created["mission_slug"])
        folder = self.root / "kitty-specs" / slug
        self.flatten(folder / "meta.json")
        self.documents(folder)
        self.commit("kitty-specs")
        self.host(self.root, ("agent", "mission", "finalize-tasks", "--mission", slug, "--json"))
        if self.git("status", "--porcelain"):  # 3.1.0 leaves the event log to others
            self.commit("kitty-specs")
        return slug

    def flatten(self, path: Path) -> None:
        """3.2.0 to 3.2.5 make a coordination branch, under which accept dies."""
        meta = json.loads(path.read_text(encoding="utf-8"))
        branch = meta.pop("coordination_branch", None)
        if branch is None:
            return
        meta.pop("topology", None)
        meta["flattened"] = True
        path.write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        for line in self.git("worktree", "list", "--porcelain").splitlines():
            if line.startswith("worktree ") and line.endswith("-coord"):
                self.git("worktree", "remove", "--force", line.removeprefix("worktree "))
        self.git("branch", "--quiet", "-D", branch)

    def by_design_verbs(self, topology: str) -> str:
        """3.2.6 and later: through ``orchestrator-api`` alone."""
        config = "mission_type_activations:\n- software-dev\n"
        (self.root / ".kittify" / "config.yaml").write_text(config, encoding="utf-8")
        how = ("--mission", "demo", *_TYPE, "--topology", topology)
        slug = str(self.verb("specify", *how)["mission_slug"])
        folder = self.root / "kitty-specs" / slug
        self.documents(folder)
        self.commit("kitty-specs")
        self.verb("plan", "--mission", slug)
        self.verb("tasks", "--mission", slug)
        return slug

    def verb(self, name: str, *options: str) -> dict[str, Any]:
        said = self.host(self.root, ("orchestrator-api", name, *options, "--policy", POLICY))
        data: dict[str, Any] = json.loads(said.splitlines()[-1])["data"]
        if data.get("result") == "blocked":
            raise RuntimeError(f"spec-kitty {name}: {data}")
        return data

    def documents(self, folder: Path) -> None:
        """Write everything an AI would write before the first work package starts."""
        (folder / "tasks").mkdir(exist_ok=True)
        texts = {"spec.md": self.spec(), "plan.md": _PLAN, "tasks.md": self.tasks()}
        prompts = {f"tasks/{wp}-part.md": self.prompt(i, wp) for i, wp in enumerate(self.dag, 1)}
        for name, text in (texts | prompts).items():
            (folder / name).write_text(text, encoding="utf-8")

    def spec(self) -> str:
        rows = "".join(
            f"| FR-{i:03d} | Part {i} | The module of {wp} shall exist. | proposed |\n"
            for i, wp in enumerate(self.dag, 1)
        )
        head = "| ID | Title | Description | Status |\n| --- | --- | --- | --- |\n"
        return f"# demo\n\n## Functional Requirements\n\n{head}{rows}"

    def tasks(self) -> str:
        """Without a box to tick, so that every host takes the subtasks for complete."""
        parts = ["# Work Packages\n"]
        for i, (wp, needs) in enumerate(self.dag.items(), 1):
            depends = "".join(f"Depends on {name}\n" for name in needs)
            parts.append(
                f"\n## {wp}\n\n**Requirement Refs**: FR-{i:03d}\n\n"
                f"**Dependencies**: {', '.join(needs) or 'None'}\n\n{depends}"
            )
        return "".join(parts)

    def prompt(self, number: int, wp: str) -> str:
        path = self.files[wp]
        front = {
            "work_package_id": wp,
            "title": f"Part {number}",
            "dependencies": self.dag[wp],
            "requirement_refs": [f"FR-{number:03d}"],
            "subtasks": [],
            "owned_files": [f"{Path(path).parent}/**"],
            "authoritative_surface": f"{Path(path).parent}/",
            "execution_mode": "code_change",
        }
        if self.at < (3, 1):
            front["lane"] = "planned"
        if self.at >= (3, 2, 6):  # 3.1.10 refuses what it does not know
            front["create_intent"] = [path]
        yaml = "".join(f"{name}: {json.dumps(value)}\n" for name, value in front.items())
        return (
            f"---\n{yaml}---\n\n# {wp}\n\nCreate `{path}` with a function `status() -> str` that "
            f"has a docstring and returns '{wp}'.\n\n## Activity Log\n\n"
            "- 2026-01-01T00:00:00Z - demo - lane=planned - Prompt created.\n"
        )
