"""The part of an answer that a simulated host and a real one must have in common."""

import json
from typing import Any

from spec_kitty_client.api.envelope import find
from spec_kitty_client.transports import Completed

__all__ = ["comparable", "comparable_words"]

_BY_CHANCE = {"history_entry_id", "accepted_at"}
_WORDS = {"message", "error", "errors", "remediation", "reason"}


def comparable(completed: Completed, root: str) -> dict[str, Any]:
    """Return the part of an answer that must be equal on both hosts.

    Times, ids, paths and the texts of messages are left out. For an answer without an envelope,
    this is the exit code and whether there was a traceback.

    Args:
        completed: The result of a call.
        root: Path of the host's primary checkout.
    """
    envelope, _ = find(completed.stdout.decode("utf-8", "replace"))
    if envelope is None:
        crashed = b"Traceback" in completed.stderr
        return {"exit_code": completed.exit_code, "crashed": crashed}
    return {
        "exit_code": completed.exit_code,
        "contract_version": envelope.contract_version,
        "command": envelope.command,
        "success": envelope.success,
        "error_code": envelope.error_code,
        "data": {k: _same(k, v, root) for k, v in envelope.data.items()},
    }


def comparable_words(completed: Completed) -> dict[str, Any]:
    """Return the part of an answer without an envelope that must be equal on both hosts.

    This is every line of JSON, without the texts of messages.
    """
    lines = completed.stdout.decode("utf-8", "replace").splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    return {"exit_code": completed.exit_code, "told": [_without_words(one) for one in told]}


def _without_words(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_words(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {k: "words" if k in _WORDS else _without_words(v) for k, v in value.items()}


def _same(name: str, value: Any, root: str) -> Any:
    if name in _BY_CHANCE or name in _WORDS:
        return type(value).__name__
    if isinstance(value, str):
        return value.replace(root, "{root}")
    return value
