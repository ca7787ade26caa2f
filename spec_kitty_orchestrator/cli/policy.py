"""The command ``policy``: check a policy, show a run's, and write one to start from."""

import json
import os
import sys
from codecs import BOM_UTF8
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from packaging.version import Version
from rich.console import Console

from spec_kitty_client import Policy, PolicyError, PolicyProblem, policy_problems
from spec_kitty_client.contract import NEWEST_TESTED
from spec_kitty_client.contract.dialects import Dialect, oldest_release
from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator.cli.parameters import Json, Root, find_root, print_json
from spec_kitty_orchestrator.errors import ExitCode, UsageProblem
from spec_kitty_orchestrator.preflight.plan import default_policy, explain_policy, read_policy
from spec_kitty_orchestrator.settings.sources import environment, read, settings_file

__all__ = ["check_policy", "policy_app", "policy_in", "policy_of_a_run", "write_policy"]

_STDIN = "-"
_EXAMPLES = """\
Examples:
  spec-kitty-orchestrator policy init
  spec-kitty-orchestrator policy check policy.json --host-release 3.1.10
  spec-kitty-orchestrator policy show --json | jq .sandbox_mode
"""

policy_app = App(name="policy", help_epilogue=_EXAMPLES)


def _refuse_option(_: object, value: str | None) -> None:
    if value and value.startswith("-") and value != _STDIN:
        msg = f"there is no such option; to name a file, write ./{value}"
        raise ValueError(msg)


_File = Annotated[
    str,
    Parameter(
        help="JSON file; - is standard input.",
        allow_leading_hyphen=True,
        validator=_refuse_option,
    ),
]
_NewFile = Annotated[str, Parameter(help="JSON file, which must not exist yet.")]
_Release = Annotated[
    str | None, Parameter(help="Release whose rules count. [default: all releases]")
]


@policy_app.command(help_epilogue=_EXAMPLES)
def check(file: _File, /, *, host_release: _Release = None, as_json: Json = False) -> int:
    """List everything that hosts would refuse in a policy; nothing is sent."""
    found = check_policy(file, host_release)
    print_json(found) if as_json else print_check(found)
    return ExitCode.DONE if found["accepted"] else ExitCode.USAGE


@policy_app.command(help_epilogue=_EXAMPLES)
def show(file: _File | None = None, /, *, repo_root: Root = None, as_json: Json = False) -> int:
    """Show the policy in a file, or the one that a run would send with the present settings."""
    policy = policy_in(file) if file else policy_of_a_run(find_root(repo_root))
    print_json(policy.to_dict()) if as_json else print_policy(policy)
    return ExitCode.DONE


@policy_app.command(help_epilogue=_EXAMPLES)
def init(file: _NewFile = "policy.json", /, *, as_json: Json = False) -> int:
    """Write a policy to start from, which every host accepts."""
    policy = write_policy(file)
    print_json(policy.to_dict()) if as_json else print(f"Wrote {file}")
    return ExitCode.DONE


def check_policy(file: str, host_release: str | None) -> dict[str, Any]:
    """Return every reason why hosts would reject a policy, as plain JSON values.

    Args:
        file: The JSON file; ``-`` is standard input.
        host_release: The release whose rules count, such as ``3.1.10``; None: those of all.

    Raises:
        UsageProblem: If the file cannot be read, or there is no such release.
    """
    release = _release(host_release) if host_release else None
    problems = policy_problems(_read(file), release)
    return {
        "file": file,
        "host_release": host_release,
        "accepted": not problems,
        "problems": [_plain(problem) for problem in problems],
    }


def _plain(problem: PolicyProblem) -> dict[str, str | None]:
    return {
        "field": problem.path,
        "rule": problem.rule.value,
        "word": problem.word,
        "reason": problem.reason,
        "releases": problem.releases,
    }


def print_check(found: dict[str, Any]) -> None:
    """Print the problems of a policy, one on a line."""
    whose = f"host {found['host_release']}" if found["host_release"] else "every host"
    name = "The policy" if found["file"] == _STDIN else found["file"]
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    if found["accepted"]:
        console.print(f"{name}: {whose} accepts it")
    for p in found["problems"]:
        console.print(f"{p['field']} {p['reason']} (rule {p['rule']}; {p['releases']})")


def policy_in(file: str) -> Policy:
    """Return the policy in a file; ``-`` is standard input.

    Raises:
        UsageProblem: If it cannot be read, or a host would refuse it.
    """
    if file != _STDIN:
        return read_policy(Path(file))
    try:
        return Policy.from_json(_read(file).decode(errors="replace"))
    except PolicyError as e:
        raise UsageProblem(explain_policy("The policy", e)) from e


def policy_of_a_run(root: Path) -> Policy:
    """Return the policy that a run would send, with the settings and agents as they are.

    Raises:
        UsageProblem: If a setting has to be corrected, or no agent is installed.
    """
    settings = read(environment(os.environ), settings_file(root))
    if settings.policy:
        return read_policy(settings.policy)
    return default_policy(agents.find(agents.choose(settings).impl_agent))


def print_policy(policy: Policy) -> None:
    """Print a policy, a field on a line."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for name, value in policy.to_dict().items():
        console.print(f"{name:<22}{json.dumps(value)}")


def write_policy(file: str) -> Policy:
    """Write a policy to start from into a new file, and return it.

    Its ``agent_family`` is that of the first installed agent, if any is installed.

    Raises:
        UsageProblem: If the file is there already, or cannot be written.
    """
    name = next(iter([*agents.installed(), *agents.KNOWN]))
    policy = default_policy(agents.KNOWN[name])
    try:
        with Path(file).open("x", encoding="utf-8") as new:
            new.write(json.dumps(policy.to_dict(), indent=2) + "\n")
    except FileExistsError as e:
        msg = f"{file} exists already and was not changed. Name another file."
        raise UsageProblem(msg) from e
    except OSError as e:
        msg = f"{file} cannot be written: {e.strerror}"
        raise UsageProblem(msg) from e
    return policy


def _read(file: str) -> bytes:
    """Return the bytes of a file without the byte order mark that editors on Windows write."""
    if file == _STDIN:
        return sys.stdin.buffer.read().removeprefix(BOM_UTF8)
    try:
        return Path(file).read_bytes().removeprefix(BOM_UTF8)
    except OSError as e:
        msg = f"The policy {file} cannot be read: {e.strerror}. Write one with `policy init`."
        raise UsageProblem(msg) from e


def _release(text: str) -> Version:
    try:
        release = Version(text)
    except ValueError:
        release = None
    if release is None or release < Dialect.F1.first_release:
        msg = (
            f"--host-release: {text} is not a release of the host with orchestrator-api. Known: "
            f"{Dialect.F1.first_release} to {oldest_release(NEWEST_TESTED)}"
        )
        raise UsageProblem(msg)
    return release
