"""The policy before a run: what is wrong with one, what a run would send, one to begin with."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from packaging.version import Version
from rich.console import Console

from spec_kitty_client import Policy, PolicyError, PolicyProblem, policy_problems
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator import settings as config
from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.preflight.plan import default_policy, read_policy

__all__ = ["check", "policy_in", "policy_of_a_run", "show", "show_check", "write"]

_STDIN = "-"


def check(file: str, host_release: str | None) -> dict[str, Any]:
    """Return every problem that hosts would have with a policy, as plain JSON values.

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


def show_check(found: dict[str, Any]) -> None:
    """Print what `check` has found, one problem on a line."""
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
        raise UsageProblem(str(e)) from e


def policy_of_a_run(root: Path) -> Policy:
    """Return the policy that a run would send, with the settings and agents as they are.

    Raises:
        UsageProblem: If a setting has to be corrected, or no agent is installed.
    """
    given = config.load({}, root, os.environ)
    if path := given.get("policy"):
        return read_policy(path)
    return default_policy(agents.find(agents.choose(given)["impl_agent"]))


def show(policy: Policy) -> None:
    """Print a policy, a field on a line."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for name, value in policy.to_dict().items():
        console.print(f"{name:<22}{json.dumps(value)}")


def write(file: str) -> Policy:
    """Write a policy to begin with into a new file, and return it.

    Its ``agent_family`` is that of an agent that is installed, if one is.

    Raises:
        UsageProblem: If the file is there already, or cannot be written.
    """
    name = next(iter([*agents.installed(), *agents.KNOWN]))
    policy = default_policy(agents.KNOWN[name])
    try:
        with Path(file).open("x", encoding="utf-8") as new:
            new.write(json.dumps(policy.to_dict(), indent=2) + "\n")
    except FileExistsError as e:
        msg = f"{file} is there already, and was left as it is. Name another file."
        raise UsageProblem(msg) from e
    except OSError as e:
        msg = f"{file} cannot be written: {e.strerror}"
        raise UsageProblem(msg) from e
    return policy


def _read(file: str) -> bytes:
    if file == _STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as e:
        msg = f"The policy {file} cannot be read: {e.strerror}"
        raise UsageProblem(msg) from e


def _release(text: str) -> Version:
    try:
        release = Version(text)
    except ValueError:
        release = None
    if release is None or release < Dialect.F1.first_release:
        msg = f"--host-release {text}: there is no such release; 1.0.0 is the first with the API"
        raise UsageProblem(msg)
    return release
