"""Subtasks: hosts from 2.1.0 on do not take work for review while some are open.

No verb of the contract marks them. The host has a public command of its own for it,
``spec-kitty agent tasks mark-status``, which is what its templates tell agents to run.
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
    """Return the arguments for ``spec-kitty`` that mark subtasks done."""
    flag = "--mission" if contract.supports(Feature.LANES) else "--feature"
    return (*_VERB.split(), *subtasks, "--status", "done", flag, mission)


def complete(
    mission: str, package: PackageLayout, contract: Contract, time_limit: float | None = None
) -> Steps[None]:
    """Mark the subtasks of a work package done; marking them again changes nothing.

    Args:
        mission: The mission's slug.
        package: The work package.
        contract: What the host speaks.
        time_limit: Seconds; None: 120.

    Raises:
        HostTimeout: If the host did not end in time.
        ProtocolError: If the host did not mark them; the message has its reason.
    """
    if not package.subtasks:
        return
    args = (*mark_command(mission, package.subtasks, contract), "--json")
    done: Completed = yield HostCall(args, time_limit or _LIMIT)
    if done.exit_code != 0:
        raise _failed(done)


def advice(mission: str, package: PackageLayout, contract: Contract) -> str | None:
    """Return what to do about the subtasks of a work package that was not taken for review."""
    parts: list[str] = []
    if package.subtasks:
        command = " ".join(mark_command(mission, package.subtasks, contract))
        parts.append(
            f"{package.wp_id} has the subtasks {', '.join(package.subtasks)}, which have to be "
            f"marked done first: submit_for_review(..., subtasks='complete'), or `spec-kitty "
            f"{command}`."
        )
    if package.open_boxes:
        parts.append(
            f"{package.open_boxes} boxes of {package.wp_id} in kitty-specs/{mission}/tasks.md are "
            "not ticked and have no id such as T001, so that no command can tick them: edit and "
            "commit the file."
        )
    if package.roster_problem:
        parts.append(
            f"The host cannot tell the subtasks of {package.wp_id}: {package.roster_problem}. "
            "Write `subtasks: []`, or the list, into its front matter and commit it."
        )
    return " ".join(parts) or None


def _failed(done: Completed) -> HostError:
    """Return the error of a call that did not mark the subtasks."""
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
