"""Parse a host's output into a reply or an error.

The output may contain more than the envelope: ``merge-mission`` prints git's own lines before it
on every success (3.1.10 to 3.2.7). The envelope is the last line that is a JSON object with the
seven keys. Every release prints it on one line; wrapper scripts may spread it over several.
"""

import json
import re
from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin

from attrs import evolve, field, fields, frozen

from spec_kitty_client.api.commands import Command
from spec_kitty_client.api.replies import MissionNumber, Reply
from spec_kitty_client.api.spelling import names_of, to_newest_names
from spec_kitty_client.codes import ErrorCode, parse_code
from spec_kitty_client.contract.lanes import AnyLane, parse_lane
from spec_kitty_client.errors import (
    EnvironmentProblem,
    Failure,
    HostCannotStart,
    HostCrashed,
    HostError,
    HostTimeout,
    ProtocolError,
    UsageRejected,
    rejection,
)
from spec_kitty_client.transports import Completed

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["Envelope", "conclude", "find"]

R = TypeVar("R", bound=Reply)

_LONGEST_LINE = 80  # characters of invalid output in a message
_LONGEST_WORDS = 500  # characters of a host's own text in a message
_KEEP = 64 * 1024  # characters of stdout and stderr that an error keeps
_ENDED_BY_PROJECT_GATE = {
    4: "The project's .kittify is older than this host: run `spec-kitty upgrade` in it",
    5: "The project's .kittify is newer than this host: upgrade spec-kitty-cli",
    6: "The project's .kittify metadata is damaged: restore .kittify/metadata.yaml from git",
}


@frozen(kw_only=True)
class Envelope:
    """The seven keys of every answer."""

    contract_version: str
    command: str
    timestamp: str
    correlation_id: str
    success: bool
    error_code: str | None
    data: Mapping[str, Any] = field(repr=False)


_USAGE = 2  # exit code of the host's option parser
_NO_VERB = "unknown"  # the command in refusals of the option parser (2.1.0 and later)
_FRAME = re.compile(r"^  File .*, line \d+, in (.*)$", re.MULTILINE)
_OPENING = re.compile(r"^\{", re.MULTILINE)
_MOST_OPENINGS = 10  # each candidate may cost a parse of the whole text
_DECODER = json.JSONDecoder()

_KEYS = {a.name for a in fields(Envelope)}
_TEXTS = _KEYS - {"success", "error_code", "data"}


def find(stdout: str) -> tuple[Envelope | None, str]:
    """Return the last envelope in a text, and the rest of the text.

    An envelope on one line has priority over one that is spread over several lines. The latter is
    the whole text, or starts with a ``{`` at the start of a line and stops at the end of a line;
    only the last ten candidates are tried. The time is proportional to the length of the text.

    Args:
        stdout: Text that a host printed.

    Returns:
        The envelope and the text without it; None and the whole text if there is no envelope.
    """
    # Not splitlines(): JSON strings may contain U+2028.
    lines = stdout.removesuffix("\n").split("\n")
    for i in range(len(lines) - 1, -1, -1):
        if envelope := _parse(lines[i].strip()):
            return envelope, "\n".join(lines[:i] + lines[i + 1 :])
    return _find_spread(stdout)


def _find_spread(text: str) -> tuple[Envelope | None, str]:
    """Return the last envelope that is spread over several lines, and the rest of the text."""
    starts = deque((m.start() for m in _OPENING.finditer(text)), maxlen=_MOST_OPENINGS)
    indented = len(text) - len(text.lstrip())
    for start in (*reversed(starts), indented):
        try:
            raw, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        of_last_line, _, after = text[end:].partition("\n")
        if not of_last_line.strip() and (envelope := _envelope(raw)):
            return envelope, (text[:start] + after).removesuffix("\n")
    return None, text


def _parse(line: str) -> Envelope | None:
    if not line.startswith("{"):
        return None
    try:
        return _envelope(json.loads(line))
    except (ValueError, RecursionError):
        return None


def _envelope(raw: object) -> Envelope | None:
    """Return a JSON value as an envelope; None if it is not one."""
    if not isinstance(raw, dict) or not raw.keys() >= _KEYS:
        return None
    sound = (
        all(isinstance(raw[name], str) for name in _TEXTS)
        and isinstance(raw["success"], bool)
        and isinstance(raw["error_code"], str | None)
        and isinstance(raw["data"], dict)
    )
    return Envelope(**{name: raw[name] for name in _KEYS}) if sound else None


def conclude(command: Command[R], completed: Completed) -> tuple[R, Envelope]:
    """Return the reply of an ended call, and its envelope.

    An envelope that contradicts itself, the call or the exit code is not an answer: the error has
    no code, and for a mutation its outcome is ``unknown``.

    Args:
        command: The command that was sent.
        completed: The output and exit code of the host.

    Raises:
        HostTimeout: If the host exceeded the time limit.
        ProtocolError: If there is no answer, or an invalid one.
        HostRejected: If the answer is an error code.
    """
    envelope, noise = find(completed.stdout.decode("utf-8", "backslashreplace"))
    if completed.exit_code is None:
        msg = f"no answer within {completed.time_limit:g} s; the host was stopped"
        raise HostTimeout(_failure(command, completed, noise, msg, envelope))
    if envelope is None:
        raise _no_answer(command, completed, noise)
    if wrong := _contradiction(command, completed, envelope):
        failure = _failure(command, completed, noise, wrong, envelope)
        raise ProtocolError(evolve(failure, code=None))
    if not envelope.success:
        raise rejection(_failure(command, completed, noise, _message(envelope), envelope))
    return _reply(command, completed, envelope, noise), envelope


def _contradiction(command: Command[Any], completed: Completed, envelope: Envelope) -> str | None:
    """Return the reason why an envelope is not a valid answer to a call, or None."""
    answered = envelope.command.removeprefix("orchestrator-api.")
    names = names_of(command.verb) | (set() if envelope.success else {_NO_VERB})
    if answered not in names:
        return f"the answer is to {_short(envelope.command)}"
    if envelope.success and envelope.error_code is not None:
        return f"the answer says success, but has the error code {_short(envelope.error_code)}"
    if envelope.success and completed.exit_code != 0:
        return f"the answer says success, but the exit code is {completed.exit_code}"
    return None


def _short(word: str) -> str:
    return repr(word[:_LONGEST_WORDS])


def _reply(command: Command[R], completed: Completed, envelope: Envelope, noise: str) -> R:
    import cattrs

    try:
        return cast(R, _converter().structure(to_newest_names(envelope.data), command.reply_type))
    except (cattrs.BaseValidationError, TypeError, ValueError, KeyError) as e:
        wrong = "; ".join(cattrs.transform_error(e, path="data"))
        msg = f"the answer does not match the contract: {wrong}"
        raise ProtocolError(_failure(command, completed, noise, msg, envelope)) from e


def _message(envelope: Envelope) -> str:
    """Return the message of a refusal; hosts before 3.2.6 send only details in some cases."""
    message = envelope.data.get("message")
    parts = [message] if isinstance(message, str) else []
    for name in ("errors", "incomplete_wps"):
        listed = envelope.data.get(name)
        parts += [str(e).strip() for e in listed] if isinstance(listed, list) else []
    outstanding = envelope.data.get("outstanding")  # 4.0.0
    if isinstance(outstanding, dict):
        parts += [f"{name} {what}" for name, what in outstanding.items() if what]
    return ": ".join(parts)[:_LONGEST_WORDS] or f"the host answered {envelope.error_code}"


def _no_answer(command: Command[Any], completed: Completed, noise: str) -> HostError:
    """Return the error for a call that ended without an envelope."""
    stderr = completed.stderr.decode("utf-8", "backslashreplace")
    said = _last_words(stderr)
    code = completed.exit_code or 0
    kind: type[HostError] = ProtocolError
    if code in _ENDED_BY_PROJECT_GATE:
        kind, why = EnvironmentProblem, _ENDED_BY_PROJECT_GATE[code]
    elif code == _USAGE and (said or completed.stdout.strip()):
        # Hosts up to 3.1.0 refuse options in prose, and so does every host with a newer typer.
        kind, why = UsageRejected, f"the host did not understand the call: {said or 'see its help'}"
    elif "Traceback (most recent call last)" in stderr:
        kind = HostCannotStart if _at_import(stderr) else HostCrashed
        why = f"the host crashed (exit code {code}): {said}"
    elif said:
        why = f"the host failed without an answer (exit code {code}): {said}"
    elif printed := completed.stdout.decode("utf-8", "backslashreplace").strip():
        program = completed.argv[0] if completed.argv else "the host"
        why = f"invalid response (exit code {code}): {program} printed {_first_line(printed)}"
    else:
        why = f"the host printed nothing (exit code {code})"
    failure = _failure(command, completed, noise, why)
    return kind(evolve(failure, code=ErrorCode.USAGE_ERROR) if kind is UsageRejected else failure)


def _first_line(text: str) -> str:
    line = text.splitlines()[0]
    return repr(line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + "...")


def _at_import(stderr: str) -> bool:
    """Return whether a traceback ends in the import of a module, outside of any call."""
    frames = _FRAME.findall(stderr.rpartition("Traceback (most recent call last)")[2])
    return frames[-1:] == ["<module>"] and "invoke" not in frames


def _last_words(stderr: str) -> str:
    """Return the relevant part of stderr: the text after the last box, in it, or the last line."""
    lines = [line.strip() for line in stderr.strip().splitlines()]
    ends = [i for i, line in enumerate(lines) if line.startswith("\u2570")]
    if not ends:
        return " ".join(lines[-1:])[:_LONGEST_WORDS]
    starts = [i for i, line in enumerate(lines[: ends[-1]]) if line.startswith("\u256d")]
    inside = lines[starts[-1] + 1 : ends[-1]] if starts else []
    words = lines[ends[-1] + 1 :] or [line.strip("\u2502 ") for line in inside]
    return " ".join(words)[:_LONGEST_WORDS]


def _failure(
    command: Command[Any],
    completed: Completed,
    noise: str,
    message: str,
    envelope: Envelope | None = None,
) -> Failure:
    code = envelope.error_code if envelope else None
    return Failure(
        verb=command.verb,
        mutates=command.mutates,
        message=message,
        argv=completed.argv,
        exit_code=completed.exit_code,
        stdout=noise[-_KEEP:],
        stderr=completed.stderr[-_KEEP:].decode("utf-8", "backslashreplace"),
        code=parse_code(code) if code else None,
        data=envelope.data if envelope else {},
        correlation_id=envelope.correlation_id if envelope else None,
        contract_version=envelope.contract_version if envelope else None,
    )


@cache
def _converter() -> "Converter":
    """Return the converter: it coerces no types, and keeps unknown fields in `Reply.extra`."""
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn

    converter = Converter()
    for primitive in (str, int, bool):
        converter.register_structure_hook(primitive, _exactly)
    converter.register_structure_hook_func(lambda t: t == MissionNumber, lambda v, _: v)
    converter.register_structure_hook_func(
        lambda t: t == AnyLane, lambda v, _: parse_lane(_exactly(v, str))
    )

    def list_hook(kind: Any) -> Any:
        (inner, _) = get_args(kind)

        def hook(raw: Any, _: object) -> tuple[Any, ...]:
            return tuple(converter.structure(_exactly(raw, list), list[inner]))  # type: ignore[valid-type]

        return hook

    converter.register_structure_hook_factory(_is_tuple, list_hook)

    def reply_hook(cls: type[Reply]) -> Any:
        structure = make_dict_structure_fn(cls, converter)
        known = {a.name for a in fields(cls)} - {"extra"}

        def hook(raw: Any, _: object) -> Reply:
            if not isinstance(raw, Mapping):
                msg = f"expected an object, not {type(raw).__name__}"
                raise TypeError(msg)
            extra = {k: v for k, v in raw.items() if k not in known}
            return structure({**{k: raw[k] for k in raw.keys() & known}, "extra": extra}, cls)

        return hook

    converter.register_structure_hook_factory(
        lambda t: isinstance(t, type) and issubclass(t, Reply), reply_hook
    )
    return converter


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _exactly(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        msg = f"expected {kind.__name__}, not {type(value).__name__}"
        raise TypeError(msg)
    return value
