"""Mark subtasks done; hosts from 2.1.0 on refuse a review while some are open.

No verb of the contract marks subtasks. The host has a public command for that,
``spec-kitty agent tasks mark-status``, which its templates tell agents to run.
"""

import json

from spec_kitty_client._engine.core import HostCall, Steps
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.errors import Failure, HostError, HostTimeout, ProtocolError
from spec_kitty_client.transports import Completed
from spec_kitty_client.workflow.layout import PackageLayout

__all__ = ["advice", "complete", "mark_command"]

_VERB = "agent tasks mark-status"
_LIMIT = 120.0  # seconds


def mark_command(mission: str, subtasks: tuple[str, ...], contract: Contract) -> tuple[str, ...]:
    """Return the arguments for ``spec-kitty`` that mark subtasks done.

    Args:
        mission: Slug of the mission.
        subtasks: Ids such as ``T001``.
        contract: The host's contract.
    """
    flag = "--mission" if contract.supports(Feature.LANES) else "--feature"
    return (*_VERB.split(), *subtasks, "--status", "done", flag, mission)


def complete(
    mission: str, package: PackageLayout, contract: Contract, time_limit: float | None = None
) -> Steps[None]:
    """Mark the subtasks of a work package done. Idempotent.

    Args:
        mission: Slug of the mission.
        package: The work package.
        contract: The host's contract.
        time_limit: Seconds until the host is stopped; None: 120.

    Raises:
        HostTimeout: If the host exceeded the time limit.
        ProtocolError: If the host did not mark them; the message has its reason.
    """
    if not package.subtasks:
        return
    args = (*mark_command(mission, package.subtasks, contract), "--json")
    done: Completed = yield HostCall(args, time_limit or _LIMIT)
    if done.exit_code != 0:
        raise _failed(done)


def advice(mission: str, package: PackageLayout, contract: Contract) -> str | None:
    """Return the commands or edits that let a refused work package be submitted, or None."""
    parts: list[str] = []
    if package.subtasks:
        command = " ".join(mark_command(mission, package.subtasks, contract))
        parts.append(
            f"The subtasks {', '.join(package.subtasks)} of {package.wp_id} must be marked done "
            f"first: call submit_for_review(..., subtasks='complete'), or run `spec-kitty "
            f"{command}`."
        )
    if package.open_boxes:
        parts.append(
            f"{package.open_boxes} boxes of {package.wp_id} in kitty-specs/{mission}/tasks.md are "
            "not ticked, and no command can tick them, because they have no id such as T001. "
            "Tick them in the file and commit it."
        )
    if package.roster_problem:
        parts.append(
            f"The host cannot read the subtasks of {package.wp_id}: {package.roster_problem}. "
            "Write `subtasks: []`, or the list of ids, into its front matter and commit it."
        )
    return " ".join(parts) or None


def _failed(done: Completed) -> HostError:
    """Return the error for a failed call of ``mark-status``."""
    kind = HostTimeout if done.exit_code is None else ProtocolError
    return kind(
        Failure(
            verb=_VERB,
            mutates=True,
            message=_reason(done),
            argv=done.argv,
            exit_code=done.exit_code,
            stdout=done.stdout[-2000:].decode("utf-8", "backslashreplace"),
            stderr=done.stderr[-2000:].decode("utf-8", "backslashreplace"),
        )
    )


def _reason(done: Completed) -> str:
    if done.exit_code is None:
        return f"no answer within {done.time_limit:g} seconds"
    for line in done.stdout.decode("utf-8", "backslashreplace").splitlines():
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(answer, dict) and answer.get("error"):
            return str(answer["error"])
    said = done.stderr.strip() or done.stdout.strip()
    last = said.decode("utf-8", "backslashreplace").splitlines()[-1:] or ["nothing was printed"]
    return f"exit code {done.exit_code}: {last[0].strip()[:500]}"
