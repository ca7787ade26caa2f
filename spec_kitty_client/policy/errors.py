"""The rules for policies by name, and the exceptions that report a broken rule."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Self

from packaging.version import Version

from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.values import encodable

__all__ = ["PolicyError", "PolicyProblem", "PolicyRule"]


class PolicyRule(StrEnum):
    """A rule of hosts for policies.

    Source: the host's own check, in every release from 1.0.0 to 3.2.7 and in 4.0.0rc7.
    """

    JSON = "json"
    """The policy is JSON that Python's parser accepts: ``NaN`` is valid, a byte order mark is
    not."""
    NESTING = "nesting"
    """The policy is at most 100 levels deep. Hosts crash on deeper ones: under Python 3.11 at
    about 960 levels, or at 480 in some fields of host 3.1.10."""
    OBJECT = "object"
    """The policy is a JSON object."""
    REQUIRED = "required"
    """All seven required fields are present."""
    TEXT = "text"
    """The six required text fields are strings."""
    FLAG_LIST = "flag_list"
    """``dangerous_flags`` is a list."""
    FLAG_TEXT = "flag_text"
    """Every entry of ``dangerous_flags`` is a string."""
    FLAG_BANNED = "flag_banned"
    """No entry of ``dangerous_flags`` is one of the four banned flags."""
    RESTRICTIONS = "restrictions"
    """``tool_restrictions``, if present, is a string or null."""
    SECRET = "secret"  # noqa: S105 - the name of a rule
    """No text field contains a word that hosts treat as a secret."""
    NESTED_SECRET = "nested_secret"  # noqa: S105 - the name of a rule
    """No value inside a field contains such a word, at any depth, ``dangerous_flags`` included."""

    @property
    def since(self) -> Version | None:
        """The oldest host release with this rule; None: all hosts have it."""
        return _SINCE.get(self)

    @property
    def releases(self) -> str:
        """The host releases with this rule, in words."""
        return f"host {self.since} and later" if self.since else "every host"

    def applies_to(self, release: Version | None) -> bool:
        """Return whether a host has this rule.

        Args:
            release: The host's release; None: any host, which is always true.
        """
        return release is None or self.since is None or release >= self.since


_SINCE = {
    PolicyRule.TEXT: Version("3.2.0"),
    PolicyRule.FLAG_TEXT: Version("3.2.0"),
    PolicyRule.RESTRICTIONS: Version("3.2.0"),
    PolicyRule.NESTED_SECRET: Version("3.2.0"),
    PolicyRule.FLAG_BANNED: Version("3.2.3"),
}


class PolicyProblem(InvalidCall):
    """One reason why a host would refuse a policy.

    For tracebacks, a note repeats the field, rule and hosts. Message and note contain no values
    of the policy, only field names and the word.

    Attributes:
        path: The place in the policy, such as ``dangerous_flags[0]``; ``(policy)`` for all of it.
        rule: The broken rule.
        reason: The error, as the rest of a sentence that starts with the path.
        word: The word that broke the rule, as spelled in the policy; None for other rules.
    """

    def __init__(self, path: str, rule: PolicyRule, reason: str, word: str | None = None) -> None:
        super().__init__(path, rule, reason, word)
        self.path = path
        self.rule = rule
        self.reason = reason
        self.word = word
        named = f", word: {word!r}" if word is not None else ""
        self.add_note(f"field: {path}, rule: {rule}{named}, applied by: {self.releases}")

    @property
    def releases(self) -> str:
        """The host releases with the rule, in words."""
        return self.rule.releases

    def __str__(self) -> str:
        return encodable(f"{self.path} {self.reason}")


class PolicyError(ExceptionGroup[PolicyProblem], InvalidCall):
    """A policy that a host would refuse, as an exception group of all the reasons.

    After ``except PolicyError`` they are in `problems`. ``except* PolicyProblem`` works as well.
    """

    def __new__(cls, problems: Sequence[PolicyProblem]) -> Self:
        """Return a group of one or more problems."""
        return super().__new__(cls, _all_of(problems), tuple(problems))

    def __init__(self, problems: Sequence[PolicyProblem]) -> None:
        super().__init__(_all_of(problems), tuple(problems))

    @property
    def problems(self) -> tuple[PolicyProblem, ...]:
        """The reasons, ordered by rule and then by place in the policy."""
        return self.exceptions  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """Return the text and every problem, as values that `json.dumps` takes."""
        return {**super().to_dict(), "problems": [p.to_dict() for p in self.problems]}

    def derive(self, excs: Sequence[Any], /) -> Any:
        """Return a policy error with some of the problems; ``except*`` and ``split`` call it."""
        return type(self)(excs)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,), self.__dict__ or None

    def __str__(self) -> str:
        return encodable(self.message)


def _all_of(problems: Sequence[PolicyProblem]) -> str:
    return "policy: " + "; ".join(map(str, problems))
