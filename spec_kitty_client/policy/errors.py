"""Why a policy is refused: the rules by name, and the exceptions that name them."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Self

from packaging.version import Version

from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.texts import encodable

__all__ = ["PolicyError", "PolicyProblem", "PolicyRule"]


class PolicyRule(StrEnum):
    """A rule that hosts have for policies.

    Source: the host's own check, in every release from 1.0.0 to 3.2.7 and in 4.0.0rc7.
    """

    JSON = "json"
    """It is JSON, as Python's own parser reads it: ``NaN`` is, a byte order mark is not."""
    NESTING = "nesting"
    """It is at most 100 levels deep. A host ends in a traceback somewhere beyond; under Python
    3.11 that is at about 960 levels, or 480 in some fields of host 3.1.10."""
    OBJECT = "object"
    """It is a JSON object."""
    REQUIRED = "required"
    """All seven required fields are there."""
    TEXT = "text"
    """The six of them that hold text are strings."""
    FLAG_LIST = "flag_list"
    """``dangerous_flags`` is a list."""
    FLAG_TEXT = "flag_text"
    """Every entry of ``dangerous_flags`` is a string."""
    FLAG_BANNED = "flag_banned"
    """No entry of ``dangerous_flags`` is one of the four banned flags."""
    RESTRICTIONS = "restrictions"
    """``tool_restrictions``, if it is there, is a string or null."""
    SECRET = "secret"  # noqa: S105 - the name of a rule
    """No field of the policy is text with a word in it that hosts take for a secret."""
    NESTED_SECRET = "nested_secret"  # noqa: S105 - the name of a rule
    """Nor is any value inside a field, at any depth; ``dangerous_flags`` among them."""

    @property
    def since(self) -> Version | None:
        """The oldest host that has this rule; None: every host has it."""
        return _SINCE.get(self)

    @property
    def releases(self) -> str:
        """Which hosts have this rule, in words."""
        return f"host {self.since} and later" if self.since else "every host"

    def applies_to(self, release: Version | None) -> bool:
        """Return whether a host has this rule.

        Args:
            release: The release of the host; None: whether any host has it, and that is so.
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

    Its one note has the same for a traceback: field, rule and hosts. Neither holds more of
    the policy than the names of fields and the word.

    Attributes:
        path: Where in the policy, for example ``dangerous_flags[0]``; ``(policy)`` is all of it.
        rule: The rule that is broken.
        reason: What is wrong, as the rest of a sentence that begins with the path.
        word: The word that broke the rule, as it is spelled there; None: it was not a word.
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
        """Which hosts have the rule, in words."""
        return self.rule.releases

    def __str__(self) -> str:
        return encodable(f"{self.path} {self.reason}")


class PolicyError(ExceptionGroup[PolicyProblem], InvalidCall):
    """A policy that a host would refuse, as the group of all the reasons.

    ``except PolicyError`` has them in `problems`; ``except* PolicyProblem`` works as well.
    """

    def __new__(cls, problems: Sequence[PolicyProblem]) -> Self:
        """Group the problems, of which there is at least one."""
        return super().__new__(cls, _all_of(problems), tuple(problems))

    def __init__(self, problems: Sequence[PolicyProblem]) -> None:
        super().__init__(_all_of(problems), tuple(problems))

    @property
    def problems(self) -> tuple[PolicyProblem, ...]:
        """The reasons, in the order of the rules and then of the policy."""
        return self.exceptions  # type: ignore[return-value]

    def derive(self, excs: Sequence[Any], /) -> Any:
        """Return a policy error with some of the problems, as ``split`` wants it."""
        return type(self)(excs)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,), self.__dict__ or None

    def __str__(self) -> str:
        return encodable(self.message)


def _all_of(problems: Sequence[PolicyProblem]) -> str:
    return "policy: " + "; ".join(map(str, problems))
