"""Parse arguments as a host's option parser does."""

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
"""The simulated verbs: all except the design verbs."""


class NotSimulated(SpecKittyError):
    """The simulated host cannot do what the real host would do here."""


class Help(Exception):
    """The arguments ask for help."""


@frozen
class Asked:
    """The parsed arguments of a call.

    Attributes:
        name: The verb's name in this release.
        verb: The verb's newest name.
        options: Values by option name without dashes; ``""`` for a flag.
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
    """Return the parsed arguments of a call.

    Raises:
        Help: If they ask for help.
        Misused: If the option parser refuses them.
        NotSimulated: If the release has this command, but it is not simulated.
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
        msg = f"{name}: design verbs are not simulated. Give the host a plan instead."
        raise NotSimulated(msg)
    options = _options(release, verb)
    given = dict(_given(words, options))
    if missing := [o.name for o in options.values() if o.required and o.name not in given]:
        raise Misused(f"Missing option '--{missing[0]}'.")
    if release.says_feature:
        given = {"mission" if k == "feature" else k: v for k, v in given.items()}
    return Asked(name=name, verb=verb, options=given)


def _given(words: list[str], options: Mapping[str, _Option]) -> Iterator[tuple[str, str]]:
    """Yield the given options in order; of repeated options the last one counts."""
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
    """Return the newest name of each verb of a release, by its name there."""
    names = names_in(release.dialect)
    return {names.get(verb, verb): verb for verb, c in VERBS.items() if _is_there(c.since, release)}


@cache
def _options(release: Release, verb: str) -> Mapping[str, _Option]:
    """Return the options of a verb, from the attributes of its command class."""
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
    # Optional in the command, because the client fills it in; required by the host.
    required = attribute.default is NOTHING or name == "actor"
    return _Option(name, required=required, flag=attribute.type is bool)


def _renamed(option: _Option) -> _Option:
    return _Option("feature", option.required, option.flag) if option.name == "mission" else option


def _is_there(since: str, release: Release) -> bool:
    return Version(since) <= release.version
