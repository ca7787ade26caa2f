"""The command ``demo``: a whole mission on the real host, with an agent that needs no key."""

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

from spec_kitty_client import Client, HostNotFound, Policy, SpecKittyError, UnsupportedByHost
from spec_kitty_client.api.design import Specify, Topology
from spec_kitty_client.transports import program
from spec_kitty_client.transports.process import ProcessTransport, host_environment
from spec_kitty_orchestrator import __version__
from spec_kitty_orchestrator import run as session
from spec_kitty_orchestrator.cli.demo import agent as demo_agent
from spec_kitty_orchestrator.cli.parameters import Json, loading_host
from spec_kitty_orchestrator.cli.view import watch
from spec_kitty_orchestrator.errors import ExitCode, HostProblem
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.preflight.plan import make_plan
from spec_kitty_orchestrator.settings import Settings

__all__ = ["DIAMOND", "Project", "demo", "demo_app"]

DIAMOND: dict[str, list[str]] = {
    "WP01": [],
    **{f"WP0{i}": ["WP01"] for i in range(2, 6)},
    "WP06": ["WP02", "WP03", "WP04", "WP05"],
}
"""The demo's work packages with their dependencies."""

_BRANCH = "work"  # hosts from 3.2 on refuse to commit on main
_INSTALL = "Or install it beside this program: pip install 'spec-kitty-client[host]'"
_PLAN = """\
# Plan

One module for each work package.

## Technical Context

**Language/Version**: Python 3.11
**Primary Dependencies**: the standard library
**Testing**: none
"""
_LIMIT = 300.0  # seconds for one call of the host
_POLICY = Policy(
    orchestrator_id="spec-kitty-orchestrator-demo",
    orchestrator_version=__version__,
    agent_family="script",
    approval_mode="full_auto",
    sandbox_mode="none",
    network_mode="open",
)


_EPILOGUE = """\
The agent is built in: it needs no key and no network. One review requests changes.
"""

demo_app = App(name="demo", help_epilogue=_EPILOGUE)


@demo_app.default
def demo(
    *,
    keep: Annotated[
        bool, Parameter(negative="", show_default=False, help="Keep the repository.")
    ] = False,
    as_json: Json = False,
) -> ExitCode:
    """Run a mission of six work packages in a temporary repository.

    Raises:
        HostProblem: If there is no host, or it could not make the project.
    """
    try:
        ProcessTransport().locate()
    except HostNotFound as e:
        msg = f"The demo needs the real host. {e}. {_INSTALL}"
        raise HostProblem(msg) from e
    console = Console(stderr=as_json)
    base = Path(tempfile.mkdtemp(prefix="spec-kitty-demo-"))
    code = ExitCode.INCOMPLETE
    try:
        with _private_home(base):
            code = _demo(base, console, as_json=as_json)
    finally:
        if keep or code != ExitCode.DONE:
            console.print(
                f"The repository and its logs are in {base}", highlight=False, soft_wrap=True
            )
        else:
            shutil.rmtree(base, ignore_errors=True)
            console.print(
                f"The repository in {base} was removed; to keep it, use --keep.", highlight=False
            )
    return code


def _demo(base: Path, console: Console, *, as_json: bool) -> ExitCode:
    with console.status("Making a project on the real host: 6 calls of some seconds each") as at:
        try:
            project = Project.make(base / "project", DIAMOND, at.update)
        except SpecKittyError as e:
            raise HostProblem(str(e)) from e
    agent = "script:" + shlex.join([sys.executable, "-I", demo_agent.__file__])
    settings = Settings(
        mission=project.mission,
        repo_root=project.root,
        impl_agent=agent,
        review_agent=agent,
        merge=True,
    )
    with (
        loading_host(project.root, warm=True) as transport,
        watch(console if not as_json else Console(), as_json=as_json) as watcher,
    ):
        code = session.run_mission(make_plan(settings), [watcher], transport)
    if not as_json and not console.is_terminal:
        console.print(watcher, width=160)  # a terminal has the live table
    missing = sorted(set(project.files.values()) - project.merged_files())
    console.print(f"On branch {_BRANCH!r}: {len(project.files) - len(missing)} of 6 files.")
    for name in missing:
        console.print(f"  {name} is missing")
    return ExitCode.INCOMPLETE if missing and code == ExitCode.DONE else code


@contextmanager
def _private_home(base: Path) -> Generator[None]:
    """Keep the host's and git's files out of the user's home."""
    home = base / "home"
    home.mkdir()
    identity = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Demo"), ("EMAIL", "demo@example.invalid"))
    }
    before = dict(os.environ)
    os.environ.update({"HOME": str(home), **identity})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Project:
    """A repository with one mission, made by the real host."""

    def __init__(self, root: Path, dag: dict[str, list[str]]) -> None:
        self.root = root
        self.dag = dag
        self.mission = ""
        self.files = {wp: f"demo/{wp.lower()}/{wp.lower()}.py" for wp in dag}
        """The one file that each work package owns."""
        self._host = ProcessTransport(repo=root).locate()

    @classmethod
    def make(cls, root: Path, dag: dict[str, list[str]], tell: Any = lambda _: None) -> "Project":
        """Make a repository with a finalised mission.

        Args:
            root: Must not exist.
            dag: The dependencies of each work package.
            tell: Called with a sentence before each step.

        Raises:
            HostProblem: If `spec-kitty init` fails, or the host does not accept the plan.
        """
        root.mkdir(parents=True)
        project = cls(root, dag)
        client = Client(root, policy=_POLICY)
        contract = client.negotiate()
        if not contract.supports(Specify):
            raise UnsupportedByHost("specify", Specify.since, str(contract.release))
        tell("Making a repository: spec-kitty init")
        git(root, "init", "--quiet", "--initial-branch=main")
        git(root, "commit", "--quiet", "--allow-empty", "--message=root")
        project._host_says("init", "--ai", "claude", "--non-interactive")
        with (root / ".gitignore").open("a", encoding="utf-8") as ignored:
            ignored.write("\n.worktrees/\n__pycache__/\n")
        project._commit("init")
        git(root, "checkout", "--quiet", "-b", _BRANCH)
        tell("Making a mission: specify")
        made = client.design.specify("demo", "software-dev", topology=Topology.LANES)
        project.mission = made.mission_slug
        tell("Making a mission: plan")
        project._write("spec.md", project._spec())
        client.design.plan(project.mission)
        project._write("plan.md", _PLAN)
        planned = client.design.plan(project.mission)
        if not planned.phase_complete:
            msg = f"The host does not accept the plan: {planned.blocked_reason}"
            raise HostProblem(msg)
        tell("Making a mission: tasks")
        project._write("tasks.md", project._tasks())
        for number, wp in enumerate(dag, 1):
            project._write(f"tasks/{wp}-part.md", project._package(number, wp))
        client.design.tasks(project.mission)
        return project

    def merged_files(self) -> set[str]:
        """Return the files on the mission's target branch."""
        return set(git(self.root, "ls-tree", "-r", "--name-only", _BRANCH).splitlines())

    def _host_says(self, *args: str) -> str:
        env = host_environment(self._host, os.environ)
        argv = (str(self._host), *args)
        done = program.run(argv, cwd=self.root, env=env, time_limit=_LIMIT)
        text = done.stdout.decode("utf-8", "backslashreplace")
        if done.exit_code != 0:
            why = done.stderr.decode("utf-8", "backslashreplace")[-2000:]
            msg = f"spec-kitty {args[0]} ended with exit code {done.exit_code}: {text[-2000:]}{why}"
            raise HostProblem(msg)
        return text

    def _write(self, name: str, text: str) -> None:
        path = self.root / "kitty-specs" / self.mission / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self._commit(name)

    def _commit(self, message: str) -> None:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", f"--message={message}")

    def _spec(self) -> str:
        rows = "".join(
            f"| FR-{i:03d} | Part {i} | The module of {wp} shall exist. | proposed |\n"
            for i, wp in enumerate(self.dag, 1)
        )
        head = "| ID | Title | Description | Status |\n| --- | --- | --- | --- |\n"
        return f"# demo\n\n## Functional Requirements\n\n{head}{rows}"

    def _tasks(self) -> str:
        parts = ["# Work Packages\n"]
        for i, (wp, needs) in enumerate(self.dag.items(), 1):
            depends = "".join(f"Depends on {name}\n" for name in needs)
            parts.append(
                f"\n## {wp}\n\n**Requirement Refs**: FR-{i:03d}\n\n"
                f"**Dependencies**: {', '.join(needs) or 'None'}\n\n{depends}"
            )
        return "".join(parts)

    def _package(self, number: int, wp: str) -> str:
        path = self.files[wp]
        front = {
            "work_package_id": wp,
            "title": f"Part {number}",
            "dependencies": self.dag[wp],
            "requirement_refs": [f"FR-{number:03d}"],
            "subtasks": [],
            "owned_files": [f"{Path(path).parent}/**"],
            "create_intent": [path],
            "authoritative_surface": f"{Path(path).parent}/",
            "execution_mode": "code_change",
        }
        yaml = "".join(f"{name}: {json.dumps(value)}\n" for name, value in front.items())
        return (
            f"---\n{yaml}---\n\n# {wp}\n\nCreate `{path}` with a function `status() -> str` that "
            f"has a docstring and returns '{wp}'.\n\n## Activity Log\n\n"
            "- 2026-01-01T00:00:00Z - demo - lane=planned - Prompt created.\n"
        )
