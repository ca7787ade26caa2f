"""The facts about a failed call, as every `HostError` has them."""

from collections.abc import Mapping
from typing import Any

from attrs import field, fields, frozen

from spec_kitty_client.codes import AnyErrorCode, parse_code
from spec_kitty_client.values import Value

__all__ = ["Failure", "OriginFreshness"]


@frozen(kw_only=True)
class OriginFreshness(Value):
    """The state of one branch relative to its remote (host 4.0.0rc6 and later)."""

    branch: str
    remote: str | None
    """Name of the remote; None if there is none, or the choice is ambiguous."""
    state: str
    """``behind``, ``diverged``, ``local_missing``, ``unreachable``, ``remote_ambiguous`` or
    ``compare_failed``, as host 4.0.0rc7 spells it; newer hosts may have other words."""
    behind: int
    """Commits that only the remote has."""
    ahead: int
    """Commits that only the local branch has."""
    scope: str | None = None
    """Path in the repository that was compared; None: the whole branch."""
    detail: str | None = None
    """The message of git."""


@frozen(kw_only=True)
class Failure(Value):
    """The facts about a failed call.

    The properties read `data`. They raise no errors: a value of a wrong type counts as missing, and
    is still in `data`.
    """

    verb: str
    mutates: bool
    message: str
    argv: tuple[str, ...] = field(repr=False)
    """Empty if a workflow verb made a check that older hosts do not make."""
    exit_code: int | None
    """None if the SDK ended the host; negative: the number of the signal."""
    stdout: str = field(repr=False)
    """The output of the host beside the envelope."""
    stderr: str = field(repr=False)
    code: AnyErrorCode | None = None
    data: Mapping[str, Any] = field(factory=dict)
    correlation_id: str | None = None
    contract_version: str | None = None
    unchanged: bool = False
    """Whether the SDK has seen in git that the call changed nothing, although it mutates."""

    @property
    def preflight_error_code(self) -> AnyErrorCode | None:
        """The reason why the host refused to begin ``accept-mission`` or ``merge-mission``.

        Sent by hosts 4.0.0rc6 and later beside ``MISSION_NOT_READY`` or ``PREFLIGHT_FAILED``, for
        example ``LANE_MOVED_AFTER_APPROVAL`` or ``ORIGIN_UNREACHABLE``. None if the host does not
        send it.
        """
        return _code(self.data.get("preflight_error_code"))

    @property
    def preflight_error_codes(self) -> tuple[AnyErrorCode, ...]:
        """All reasons of such a refusal, that of `preflight_error_code` first.

        Sent by hosts 4.0.0rc6 and later; empty otherwise.
        """
        found = map(_code, _list(self.data.get("preflight_error_codes")))
        return tuple(code for code in found if code is not None)

    @property
    def teardown_error_code(self) -> AnyErrorCode | None:
        """The reason why ``merge-mission`` did not clean up after a successful merge.

        Sent by hosts 4.0.0rc6 and later beside ``PREFLIGHT_FAILED``; 4.0.0rc7 knows
        ``COORD_MOVED_AFTER_LANDING``. None if the host does not send it.
        """
        return _code(self.data.get("teardown_error_code"))

    @property
    def outstanding(self) -> Mapping[str, tuple[str, ...]]:
        """The reasons why ``accept-mission`` was refused, by host check, such as ``git_dirty``.

        Sent by hosts 4.0.0rc5 and later; empty otherwise. For older hosts `data` has
        ``incomplete_wps``.
        """
        found = self.data.get("outstanding")
        if not isinstance(found, Mapping):
            return {}
        every = {str(check): tuple(map(str, _list(items))) for check, items in found.items()}
        return {check: items for check, items in every.items() if items}

    @property
    def origin_freshness(self) -> tuple[OriginFreshness, ...]:
        """The branches that are behind their remote, or could not be compared with it.

        Sent by hosts 4.0.0rc6 and later if they refused ``accept-mission`` or ``merge-mission`` for
        it; empty otherwise.
        """
        found = map(_freshness, _list(self.data.get("origin_freshness")))
        return tuple(row for row in found if row is not None)


def _code(value: object) -> AnyErrorCode | None:
    return parse_code(value) if isinstance(value, str) and value else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


_KINDS = {a.name: a.type for a in fields(OriginFreshness)}


def _freshness(row: object) -> OriginFreshness | None:
    """Return a row as its class; None if a field is missing or of another type."""
    if not isinstance(row, Mapping):
        return None
    given = {name: row[name] for name in _KINDS.keys() & row.keys()}
    try:
        found = OriginFreshness(**given)
    except TypeError:  # a field is missing
        return None
    return found if all(_is(kind, getattr(found, name)) for name, kind in _KINDS.items()) else None


def _is(kind: Any, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
