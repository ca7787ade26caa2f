"""What a host makes of its arguments: its verbs, their options, and what it refuses unread."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from attrs import NOTHING, Attribute, fields, frozen
from packaging.version import Version

from spec_kitty_client.api.commands import Command
from spec_kitty_client.api.spelling import names_in
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.errors import SpecKittyError
from spec_kitty_client.testing.host.answers import Misused
from spec_kitty_client.testing.host.releases import Release

__all__ = ["Asked", "Help", "NotSimulated", "understand"]

LIFECYCLE = tuple(VERBS)[:10]
"""The verbs that are simulated: all but those of design."""


class NotSimulated(SpecKittyError):
    """The real host has this, and the simulated one has not."""


class Help(Exception):
    """Help is asked for."""


@frozen
class Asked:
    """A call, understood.

    Attributes:
        name: The verb in the words of the release.
        verb: The verb in our words.
        options: The values by the names of the options, without dashes; a flag has ``""``.
    """

    name: str
    verb: str
    options: Mapping[str, str]


@frozen
class _Option:
    name: str
    required: bool
    flag: bool


def understand(args: Sequence[str], release: Release) -> Asked:
    """Parse arguments as the option parser of a release does.

    Raises:
        Help: If they ask for help.
        Misused: If it refuses them.
        NotSimulated: If it would understand a verb that is not simulated.
    """
    if not args or args[0] != "orchestrator-api":
        known = "orchestrator-api, agent tasks mark-status and --version"
        msg = f"spec-kitty {' '.join(args[:2])}: only {known} are simulated"
        raise NotSimulated(msg)
    if len(args) == 1:
        raise Misused("Missing command.")
    name, words = args[1], list(args[2:])
    if name == "--help":
        raise Help
    if name.startswith("-"):
        raise Misused(f"No such option: {name}")
    verb = _verbs(release).get(name)
    if verb is None:
        raise Misused(f"No such command '{name}'.")
    if verb not in LIFECYCLE:
        msg = f"{name}: the verbs of design are not simulated; make the mission beforehand"
        raise NotSimulated(msg)
    options = _options(release, verb)
    given = dict(_given(words, options))
    if missing := [o.name for o in options.values() if o.required and o.name not in given]:
        raise Misused(f"Missing option '--{missing[0]}'.")
    if release.says_feature:
        given = {"mission" if k == "feature" else k: v for k, v in given.items()}
    return Asked(name=name, verb=verb, options=given)


def _given(words: list[str], options: Mapping[str, _Option]) -> Iterator[tuple[str, str]]:
    """Yield what is given, in its order: the last one counts."""
    rest = iter(words)
    for word in rest:
        if word == "--help":
            raise Help
        name, equals, value = word.partition("=")
        if not name.startswith("--") or name == "--":
            raise Misused(f"Got unexpected extra argument ({word})")
        option = options.get(name.removeprefix("--"))
        if option is None:
            raise Misused(f"No such option: {name}")
        if option.flag and equals:
            raise Misused(f"Option '{name}' does not take a value.")
        if not option.flag and not equals:
            found = next(rest, None)
            if found is None:
                raise Misused(f"Option '{name}' requires an argument.")
            value = found
        yield option.name, value


@cache
def _verbs(release: Release) -> Mapping[str, str]:
    """Return the verbs of a release, each with the name that we have for it."""
    names = names_in(release.dialect)
    return {names.get(verb, verb): verb for verb, c in VERBS.items() if _is_there(c.since, release)}


@cache
def _options(release: Release, verb: str) -> Mapping[str, _Option]:
    """Return the options of a verb. Those that the contract asks for are those of our commands."""
    found = [_option(a) for a in _attributes(VERBS[verb], release)]
    if release.says_feature:
        found = [_renamed(o) for o in found]
    if not release.since("2.1.0"):
        found += [_Option(name, required=False, flag=True) for name in ("json", "no-json")]
    return {o.name: o for o in found}


def _attributes(command: type[Command[Any]], release: Release) -> Iterator["Attribute[Any]"]:
    for attribute in fields(command):
        if "option" in attribute.metadata:
            if _is_there(attribute.metadata.get("since", "1.0.0"), release):
                yield attribute


def _option(attribute: "Attribute[Any]") -> _Option:
    name = attribute.metadata["option"].removeprefix("--")
    # The client fills the actor in; to a host it has to be told.
    required = attribute.default is NOTHING or name == "actor"
    return _Option(name, required=required, flag=attribute.type is bool)


def _renamed(option: _Option) -> _Option:
    return _Option("feature", option.required, option.flag) if option.name == "mission" else option


def _is_there(since: str, release: Release) -> bool:
    return Version(since) <= release.version
