"""The command line: parse, assemble, run, print. Nothing is decided here.

Imports of what a command needs are in the command, so that ``--help`` is quick.
"""

import json
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from attrs import asdict, frozen
from cyclopts import App, Group, Parameter

import spec_kitty_orchestrator
from spec_kitty_orchestrator.errors import ExitCode, OrchestratorError

if TYPE_CHECKING:
    from spec_kitty_orchestrator.settings import Settings

__all__ = ["app", "main"]

_EPILOGUE = """\
Exit codes:
  0 all done                      3 host or contract problem
  1 something blocked or failed   4 another run is alive
  2 usage: correct something    130 interrupted
"""

app = App(
    name="spec-kitty-orchestrator",
    help="Run coding agents through a spec-kitty mission: implement, review, rework, done.",
    help_epilogue=_EPILOGUE,
    version=lambda: spec_kitty_orchestrator.__version__,
    help_format="plaintext",
    help_formatter="plain",  # frames and emoji take 35 ms to be loaded
)

_WHAT, _WHO, _HOW, _END = (
    Group.create_ordered(name) for name in ("What", "Who", "How far", "The end")
)


def _flag(text: str, group: Group, *names: str, negative: str | None = None) -> Parameter:
    return Parameter(
        help=text, group=group, name=names or None, negative=negative, show_default=False
    )


@frozen(kw_only=True)
class _Flags:
    """The settings as flags: None where a flag is not given."""

    mission: Annotated[
        str | None, _flag("Mission: slug, mid8 or id.", _WHAT, "--mission", "--feature")
    ] = None
    repo_root: Annotated[
        Path | None, _flag("Repository. Default: the one around this folder.", _WHAT)
    ] = None
    impl_agent: Annotated[
        str | None,
        _flag("Implementer: a name from `agents`, or script:COMMAND. Default: installed.", _WHO),
    ] = None
    review_agent: Annotated[
        str | None, _flag("Reviewer. Default: another installed one, else the same.", _WHO)
    ] = None
    actor: Annotated[
        str | None, _flag("Who the host records. Default: spec-kitty-orchestrator.", _WHO)
    ] = None
    policy: Annotated[Path | None, _flag("JSON file with the policy for the host.", _WHO)] = None
    max_concurrent: Annotated[
        int | None, _flag("Work packages at the same time. Default: 4.", _HOW)
    ] = None
    max_implementing: Annotated[
        int | None, _flag("Those of them that are implemented. Default: all.", _HOW)
    ] = None
    max_reviewing: Annotated[
        int | None, _flag("Those of them that are reviewed. Default: all.", _HOW)
    ] = None
    max_per_agent: Annotated[
        list[str] | None,
        _flag("Those that an agent works on: codex=2. May be repeated.", _HOW, negative=""),
    ] = None
    order: Annotated[
        str | None, _flag("What is started first: longest-path (default) or plan.", _HOW)
    ] = None
    max_rounds: Annotated[
        int | None, _flag("Rework rounds before a work package is blocked. Default: 3.", _HOW)
    ] = None
    max_attempts: Annotated[
        int | None, _flag("Failures at one step before it is blocked. Default: 2.", _HOW)
    ] = None
    agent_timeout: Annotated[
        float | None, _flag("Seconds for one run of an agent. Default: 7200.", _HOW)
    ] = None
    host_timeout: Annotated[
        float | None, _flag("Seconds for one host call. Default: 120, a merge 900.", _HOW)
    ] = None
    heartbeat: Annotated[
        float | None, _flag("Seconds between looks at the board. Default: 30.", _HOW)
    ] = None
    warm: Annotated[
        bool | None, _flag("Load the host once, not for every call. Default: yes.", _HOW)
    ] = None
    accept: Annotated[bool | None, _flag("Accept the mission. Default: yes.", _END)] = None
    merge: Annotated[bool | None, _flag("Merge it too. Default: no.", _END)] = None
    target: Annotated[
        str | None, _flag("Branch to merge into. Default: the mission's own.", _END)
    ] = None
    strategy: Annotated[str | None, _flag("merge, squash or rebase. Default: merge.", _END)] = None
    push: Annotated[bool | None, _flag("Push after the merge.", _END)] = None


_ORCHESTRATE_EXAMPLES = """\
Examples:
  spec-kitty-orchestrator orchestrate --mission 034-payment --dry-run
  spec-kitty-orchestrator orchestrate --mission 034-payment --impl-agent claude-code \\
      --review-agent codex --max-concurrent 2 --merge --strategy squash
  spec-kitty-orchestrator orchestrate --mission 034-payment \\
      --impl-agent 'script:./agent.sh' --review-agent 'script:./review.sh'
"""
_RESUME_EXAMPLES = """\
Examples:
  spec-kitty-orchestrator resume
  spec-kitty-orchestrator resume --merge
"""
_STATUS_EXAMPLES = """\
Examples:
  spec-kitty-orchestrator status
  spec-kitty-orchestrator status --json
"""
_ABORT_EXAMPLES = """\
Examples:
  spec-kitty-orchestrator abort
  spec-kitty-orchestrator abort --cleanup-worktrees
"""

_POLICY_EXAMPLES = """\
Examples:
  spec-kitty-orchestrator policy init
  spec-kitty-orchestrator policy check policy.json --host-release 3.1.10
  spec-kitty-orchestrator policy show --json | jq .sandbox_mode
"""

_All = Annotated[_Flags | None, Parameter(name="*")]
_Json = Annotated[bool, Parameter(name="--json", negative="", help="JSON on stdout, for scripts.")]
_Root = Annotated[Path | None, Parameter(help="Repository. Default: the one around this folder.")]
_Mission = Annotated[
    str | None,
    Parameter(name=["--mission", "--feature"], help="Mission. Default: the last one that was run."),
]


def _is_no_option(_: object, value: str | None) -> None:
    if value and value.startswith("-") and value != "-":
        msg = f"There is no such option; a file of that name is ./{value}"
        raise ValueError(msg)


_File = Annotated[
    str,
    Parameter(
        help="JSON file; - is standard input.",
        allow_leading_hyphen=True,
        validator=_is_no_option,
    ),
]
_NewFile = Annotated[str, Parameter(help="JSON file, which must not be there yet.")]
_Release = Annotated[str | None, Parameter(help="Whose rules count. Default: those of all hosts.")]


@app.command(help_epilogue=_ORCHESTRATE_EXAMPLES)
def orchestrate(
    *,
    flags: _All = None,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Check everything, move nothing.")
    ] = False,
    as_json: _Json = False,
) -> int:
    """Run a mission to its end.

    Every setting is a flag, else SPEC_KITTY_ORCHESTRATOR_<NAME> in the environment,
    else a line in .kittify/orchestrator.toml (max_concurrent = 2), else its default.
    """
    from spec_kitty_orchestrator import settings as config

    given = flags or _Flags()
    root = _root(given.repo_root)
    settings = config.load(asdict(given), root, os.environ)
    return _run({**settings, "repo_root": root}, dry_run=dry_run, as_json=as_json)


@app.command(help_epilogue=_RESUME_EXAMPLES)
def resume(*, flags: _All = None, as_json: _Json = False) -> int:
    """Go on with the last run, with its flags; flags given here replace them.

    Agents that are still running are picked up, and work that is there is not done again.
    """
    from spec_kitty_orchestrator import settings as config

    given = {k: v for k, v in asdict(flags or _Flags()).items() if v is not None}
    root = _root(given.pop("repo_root", None))
    history = _history(root, given.get("mission"))
    saved = {**config.restore(history.settings), "mission": history.mission}
    typed = config.load(given, root, {}, use_file=False)
    return _run({**saved, **typed, "repo_root": root}, dry_run=False, as_json=as_json)


@app.command(help_epilogue=_STATUS_EXAMPLES)
def status(*, mission: _Mission = None, repo_root: _Root = None, as_json: _Json = False) -> int:
    """Show where every work package stands: the lane from the host, the rest from the journal."""
    from spec_kitty_orchestrator.cli.status import report, show

    found = report(_root(repo_root), mission, _spinner(as_json))
    _print_json(found) if as_json else show(found)
    return ExitCode.DONE


@app.command(help_epilogue=_ABORT_EXAMPLES)
def abort(
    *,
    cleanup_worktrees: Annotated[
        bool, Parameter(negative="", help="Remove the worktrees of this run that are clean.")
    ] = False,
    repo_root: _Root = None,
    as_json: _Json = False,
) -> int:
    """End the run that is alive, agents included. Lanes, branches and commits stay."""
    from spec_kitty_orchestrator.cli.abort import abort as end
    from spec_kitty_orchestrator.cli.abort import show

    with _spinner(as_json)("Ending the run and its agents"):
        done = end(_root(repo_root), cleanup_worktrees=cleanup_worktrees)
    _print_json(asdict(done)) if as_json else show(done)
    return ExitCode.DONE


@app.command
def agents(*, as_json: _Json = False) -> int:
    """List the agents that are known, and which of them are installed."""
    import shutil

    from spec_kitty_orchestrator.agents import KNOWN

    found = {name: shutil.which(agent.program) for name, agent in KNOWN.items()}
    if as_json:
        _print_json([{"name": n, "installed": bool(p), "program": p} for n, p in found.items()])
        return ExitCode.DONE
    for name, path in found.items():
        print(f"{name:<14} {path or 'not installed. ' + KNOWN[name].install}")
    print(f"{'script:COMMAND':<14} a command of your own: prompt on stdin, last words on stdout")
    return ExitCode.DONE


_policy = App(
    name="policy",
    help="Check, show or write the policy that a run sends to the host.",
    help_epilogue=_POLICY_EXAMPLES,
)
app.command(_policy)


@_policy.command(help_epilogue=_POLICY_EXAMPLES)
def check(file: _File, /, *, host_release: _Release = None, as_json: _Json = False) -> int:
    """Say everything that hosts would have against a policy; nothing is sent."""
    from spec_kitty_orchestrator.cli import policy as policies

    found = policies.check(file, host_release)
    _print_json(found) if as_json else policies.show_check(found)
    return ExitCode.DONE if found["accepted"] else ExitCode.USAGE


@_policy.command(help_epilogue=_POLICY_EXAMPLES)
def show(file: _File | None = None, /, *, repo_root: _Root = None, as_json: _Json = False) -> int:
    """Show the policy in a file, or else what a run would send with the settings as they are."""
    from spec_kitty_orchestrator.cli import policy as policies

    policy = policies.policy_in(file) if file else policies.policy_of_a_run(_root(repo_root))
    _print_json(policy.to_dict()) if as_json else policies.show(policy)
    return ExitCode.DONE


@_policy.command(help_epilogue=_POLICY_EXAMPLES)
def init(file: _NewFile = "policy.json", /, *, as_json: _Json = False) -> int:
    """Write a policy to begin with, which every host accepts."""
    from spec_kitty_orchestrator.cli import policy as policies

    policy = policies.write(file)
    _print_json(policy.to_dict()) if as_json else print(f"Wrote {file}")
    return ExitCode.DONE


@app.command
def doctor(
    *,
    mission: Annotated[str | None, Parameter(help="A mission to look at as well.")] = None,
    repo_root: _Root = None,
    as_json: _Json = False,
) -> int:
    """Check host, git, agents, workspace and a mission; say what to do about each problem."""
    from spec_kitty_orchestrator.cli.doctor import examine, exit_code, show

    with _spinner(as_json)("Asking the host"):
        checks = examine(_folder(repo_root), mission)
    _print_json([asdict(check) for check in checks]) if as_json else show(checks)
    return exit_code(checks)


@app.command
def demo(
    *,
    keep: Annotated[bool, Parameter(negative="", help="Leave the repository there.")] = False,
    as_json: _Json = False,
) -> int:
    """Run a mission of six work packages in a temporary repository, on the real host.

    The agent is built in: it needs no key and no network. One review asks for changes.
    """
    from spec_kitty_orchestrator.cli.demo import demo as show_all

    return show_all(keep=keep, as_json=as_json)


def _run(given: dict[str, Any], *, dry_run: bool, as_json: bool) -> int:
    from spec_kitty_client import Client
    from spec_kitty_orchestrator import settings as config
    from spec_kitty_orchestrator.agents import choose

    settings = config.make(choose(given))
    # The host takes the longest to be loaded: it is begun before everything else is.
    with Client(settings.repo_root, warm="auto" if settings.warm else False) as host:
        host.prepare()
        return _preview(settings, as_json) if dry_run else _go(settings, as_json)


def _preview(settings: "Settings", as_json: bool) -> int:
    from spec_kitty_orchestrator.cli.dryrun import preview, show
    from spec_kitty_orchestrator.preflight.plan import make_plan

    plan = make_plan(settings)
    with _spinner(as_json)("Asking the host"):
        found = preview(plan)
    _print_json(found) if as_json else show(found)
    return ExitCode.USAGE if found["problems"] else ExitCode.DONE


def _go(settings: "Settings", as_json: bool) -> int:
    from rich.console import Console

    from spec_kitty_orchestrator import run as session
    from spec_kitty_orchestrator.cli.view import watch
    from spec_kitty_orchestrator.preflight.plan import make_plan

    plan = make_plan(settings)
    with watch(Console(), as_json=as_json) as watcher:
        return session.run_mission(plan, [watcher])


def _root(given: Path | None) -> Path:
    from spec_kitty_orchestrator.worktree import root_of

    return root_of(_folder(given))


def _folder(given: Path | None) -> Path:
    from spec_kitty_orchestrator.settings import ENV_PREFIX

    return given or Path(os.environ.get(ENV_PREFIX + "REPO_ROOT") or Path.cwd())


def _history(root: Path, mission: str | None) -> Any:
    from spec_kitty_orchestrator.cli.status import history_of

    return history_of(root, mission)


def _spinner(as_json: bool) -> Callable[[str], Any]:
    from rich.console import Console

    console = Console(stderr=True, quiet=as_json)
    return lambda text: console.status(text + "...")


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, sort_keys=True, default=str))


def main() -> NoReturn:
    """Run the command line and exit; what a stream cannot encode is printed as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_main(sys.argv[1:]))


def _main(words: list[str]) -> int:
    from rich.console import Console

    try:
        return int(app(words, console=Console(emoji=False), result_action="return_value") or 0)
    except OrchestratorError as e:
        return _complain(e, e.exit_code)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as e:
        from spec_kitty_client import InvalidCall, SpecKittyError

        if not isinstance(e, SpecKittyError):
            raise
        return _complain(e, ExitCode.USAGE if isinstance(e, InvalidCall) else ExitCode.HOST)


def _complain(error: Exception, code: ExitCode) -> int:
    print(f"spec-kitty-orchestrator: {error}", file=sys.stderr)
    return code
