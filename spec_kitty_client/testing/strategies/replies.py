"""Strategies for the answer to a call: a success, with the payload of its verb.

Payloads are derived from the reply classes; the tables here have the releases that send a field.
Source: ``tests/corpus``, which holds an answer of every release to every verb.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin

from attrs import NOTHING, Attribute, fields
from hypothesis import strategies as st
from packaging.version import Version

from spec_kitty_client.api.commands import Command
from spec_kitty_client.api.replies import (
    MissionNumber,
    ReadyWorkPackage,
    Reply,
    ReviewStarted,
    WorkPackage,
)
from spec_kitty_client.api.spelling import spell
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.contract.lanes import AnyLane, Lane, lanes_of
from spec_kitty_client.errors import UnsupportedByHost
from spec_kitty_client.testing.strategies.contracts import hosts
from spec_kitty_client.testing.strategies.lanes import lanes
from spec_kitty_client.testing.strategies.missions import missions
from spec_kitty_client.testing.strategies.values import JSON_OBJECTS, JSON_VALUES, TEXTS
from spec_kitty_client.transports import Completed

__all__ = ["replies"]

_FIRST, _NEVER = Version("1.0.0"), Version("9999")
_SAYS_MISSION = Version("3.1.0")
_TOLD = {  # fields that do not depend on the call: the first release with, and the first without
    "mission_number": (Version("3.1.1"), _NEVER),
    "mission_type": (Version("3.1.1"), _NEVER),
    "last_actor": (_FIRST, _NEVER),  # null from _NO_ACTOR on
    "dependencies": (_FIRST, _NEVER),
    "recommended_base": (_FIRST, _SAYS_MISSION),
    "merged_wps": (_FIRST, _SAYS_MISSION),
    "worktree_removed": (_FIRST, _NEVER),
    "lane_id": (Version("3.2.2"), _NEVER),
    "lane_branch": (Version("3.2.2"), _NEVER),
    "lane_base_ref": (Version("3.2.2"), _NEVER),
    "accepted_wps": (Version("3.2.0"), _NEVER),
    "approved_wps": (Version("3.2.0"), _NEVER),
    "done_wps": (Version("3.2.0"), _NEVER),
    "merge_pending_wps": (Version("3.2.0"), _NEVER),
    "prompt": (Version("4.0.0rc6"), _NEVER),
}
_SINCE = {"origin_warnings": Version("4.0.0rc6")}  # sometimes sent, from that release on
_REVIEW_NO_OP = Version("3.2.0")
_NO_ACTOR = Version("2.1.0")  # from this release on, last_actor is null
_F1_COUNTS = (Lane.PLANNED, Lane.IN_PROGRESS, Lane.FOR_REVIEW, Lane.DONE)

_ECHOED = {  # a field of the answer, and the argument of the call that it repeats
    "mission_slug": "mission",
    "wp_id": "wp",
    "to_lane": "to",
    "target_branch": "target",
    "strategy": "strategy",
    "stage": "stage",
    "kind": "kind",
    "artifact_id": "artifact_id",
}
_SLUGS = st.sampled_from(["demo", "034-pay-by-card", "demo-01K00001"])
_WPS = st.integers(1, 9).map("WP{:02}".format)
_PATHS = st.sampled_from(["/repo", "/home/ada/my work/r\u00e9po"]).map("{}/kitty-specs".format)
_TIMES = st.just("2026-01-01T00:00:00.000000+00:00")
_NAMED: dict[str, st.SearchStrategy[Any]] = {  # the values of a text, by the end of its field name
    "mission_slug": _SLUGS,
    "mission": _SLUGS,
    "wp": _WPS,
    "wp_id": _WPS,
    "_path": _PATHS,
    "_file": _PATHS,
    "_dir": _PATHS,
    "_at": _TIMES,
    "sha256": st.just("0" * 64),
    "decision_id": st.just("01K00000000000000000000000"),
}


def replies(
    command: Command[Any] | type[Command[Any]], dialect: Dialect | None = None
) -> st.SearchStrategy[Completed]:
    """Draw the result of a successful call, with a valid answer of its verb.

    Use it to test code that reads replies, or test doubles of hosts.
    `spec_kitty_client.api.envelope.conclude` parses each result into ``command.reply_type``. The
    answer has the fields and names of one release (``feature_slug`` up to 3.0.3), the values in
    the call, and sometimes unknown fields.

    Shrinks to the oldest host that has the call, and to few short values.

    Args:
        command: The call; or its class, and then its arguments are drawn as well.
        dialect: The host's dialect; None: any dialect that has the call.

    Raises:
        UnsupportedByHost: If no host of the dialect has the call.
        InvalidCall: While drawing, if the call cannot be spelled.
    """
    able = [host for host in hosts(dialect) if host.supports(command)]
    if not able:
        newest = hosts(dialect)[-1]
        if isinstance(command, Command):
            spell(command, newest)  # raises, and names what is missing
        raise UnsupportedByHost(command.verb, since=command.since, release=str(newest.release))
    return _ended(command, able)


@st.composite
def _ended(
    draw: st.DrawFn, command: Command[Any] | type[Command[Any]], able: list[Contract]
) -> Completed:
    host = draw(st.sampled_from(able))
    calls = st.just(command) if isinstance(command, Command) else _calls(command, host)  # type: ignore[arg-type]
    call: Command[Any] = draw(calls)
    payload = _payloads(call.reply_type, host)  # type: ignore[arg-type]  # a class has a hash
    data = draw(payload) | _echo(call)
    unknown = draw(st.just({}) | JSON_OBJECTS)
    known = {*data, *_names(call.reply_type), "feature_slug", "total_work_packages"}
    data |= {name: value for name, value in unknown.items() if name not in known}
    args = spell(call, host)
    answer = {
        "contract_version": str(host.version),
        "command": f"orchestrator-api.{args[1]}",
        "timestamp": draw(_TIMES),
        "correlation_id": "corr-0123456789abcdef0123456789abcdef",
        "success": True,
        "error_code": None,
        "data": _in_its_words(data, host),
    }
    deleted = draw(st.sampled_from(_DELETED)) if "merged" in data else ""
    return Completed(
        argv=("spec-kitty", *args),
        exit_code=0,
        stdout=f"{deleted}{json.dumps(answer)}\n".encode(),
        stderr=b"",
        time_limit=call.time_limit,
    )


_DELETED = ["", "Deleted branch kitty/mission-demo-lane-a (was 0123abc).\n"]


def _names(reply: type[Reply]) -> set[str]:
    return {a.name for a in fields(reply)} - {"extra"}


def _echo(call: Command[Any]) -> dict[str, Any]:
    names = {n: c for n, c in _ECHOED.items() if n in _names(call.reply_type)}
    said = {name: getattr(call, given, None) for name, given in names.items()}
    return {name: value for name, value in said.items() if value is not None}


def _in_its_words(data: Mapping[str, Any], host: Contract) -> dict[str, Any]:
    """Return a payload with the host's field names, and a summary that counts the work packages."""
    words = {_in_old(name) if host.release < _SAYS_MISSION else name: v for name, v in data.items()}
    if "summary" in words:
        packages = words["work_packages"]
        counted = Counter(wp["lane"] for wp in packages)
        old = host.dialect is Dialect.F1
        shown = _F1_COUNTS if old else [n for n in Lane if n in lanes_of(host.dialect)]
        total = {"total_work_packages": len(packages)} if old else {}
        words["summary"] = total | {lane: counted[lane] for lane in shown}
    return words


def _in_old(name: str) -> str:
    return "feature_slug" if name == "mission_slug" else name


@cache
def _calls(command: type[Command[Any]], host: Contract) -> st.SearchStrategy[Command[Any]]:
    """Draw a call with its required arguments."""
    needed = [a for a in fields(command) if a.default is NOTHING]
    return st.builds(command, **{a.name: _argument(a, host) for a in needed})


def _argument(attribute: "Attribute[Any]", host: Contract) -> st.SearchStrategy[Any]:
    kind = attribute.type
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    if kind is str and attribute.name not in _NAMED:
        return _ARGUMENTS
    return _values(attribute.name, kind, host)


_ARGUMENTS = st.sampled_from(["x", "two words", "caf\u00e9", "--force"])


@cache
def _payloads(reply: type[Reply], host: Contract) -> st.SearchStrategy[dict[str, Any]]:
    """Draw the payload of a reply, with the field names of the newest contract."""
    always: dict[str, st.SearchStrategy[Any]] = {}
    maybe: dict[str, st.SearchStrategy[Any]] = {}
    for a in fields(reply):
        told = _told(reply, a.name, host)
        if a.name != "extra" and told is not False:
            needed = told or a.default is NOTHING
            (always if needed else maybe)[a.name] = _values(a.name, a.type, host)
    return st.fixed_dictionaries(always, optional=maybe)


def _told(reply: type[Reply], name: str, host: Contract) -> bool | None:
    """Return whether a host always or never sends a field; None: unknown."""
    if reply is ReviewStarted and name == "no_op":
        return host.release >= _REVIEW_NO_OP
    if name in _SINCE and host.release < _SINCE[name]:
        return False
    if name not in _TOLD:
        return None
    since, until = _TOLD[name]
    return since <= host.release < until


def _values(name: str, kind: Any, host: Contract) -> st.SearchStrategy[Any]:
    """Draw a value for a field by its name, else by its type."""
    if name in _SPECIAL:
        return _SPECIAL[name](host)
    if kind == MissionNumber:
        return st.none() | st.integers(1, 999)
    if kind == AnyLane:
        return lanes(host.dialect).map(str)
    if members := get_args(kind):
        return _composed(name, kind, members, host)
    if isinstance(kind, type) and issubclass(kind, Reply):
        return _payloads(kind, host)  # type: ignore[arg-type]  # a class has a hash
    return _text(name) if kind is str else _PLAIN[kind]


def _composed(
    name: str, kind: Any, members: tuple[Any, ...], host: Contract
) -> st.SearchStrategy[Any]:
    if NoneType in members:
        (other,) = set(members) - {NoneType}
        return st.none() | _values(name, other, host)
    if get_origin(kind) is tuple:
        return st.lists(_values(name, members[0], host), max_size=2)
    return st.dictionaries(TEXTS, _values("", members[1], host), max_size=2)


def _text(name: str) -> st.SearchStrategy[str]:
    ends = (strategy for end, strategy in _NAMED.items() if name.endswith(end))
    return next(ends, TEXTS)


_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(0, 99),
    Any: JSON_VALUES,
}


@st.composite
def _work_packages(draw: st.DrawFn, host: Contract) -> list[dict[str, Any]]:
    """Draw the work packages of one mission: unique ids, and dependencies that exist."""
    mission = draw(missions(max_size=4))
    package = _payloads(WorkPackage, host)
    return [draw(package) | {"wp_id": wp, "dependencies": mission[wp]} for wp in mission]


def _ready(host: Contract) -> st.SearchStrategy[list[dict[str, Any]]]:
    package = _payloads(ReadyWorkPackage, host)
    planned = {"lane": str(Lane.PLANNED), "dependencies_satisfied": True}
    ready = package.map(lambda wp: wp | planned)
    return st.lists(ready, max_size=3, unique_by=lambda wp: str(wp["wp_id"]))


_SPECIAL: dict[str, Callable[[Contract], st.SearchStrategy[Any]]] = {
    "summary": lambda _: st.just({}),  # counted at the end
    "work_packages": _work_packages,
    "ready_work_packages": _ready,
    "last_actor": lambda h: st.none() | TEXTS if h.release < _NO_ACTOR else st.none(),
}
