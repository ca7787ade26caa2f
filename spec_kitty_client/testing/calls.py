"""The verb of a call, as a transport sees it."""

from spec_kitty_client.api.spelling import names_of
from spec_kitty_client.api.verbs import VERBS

__all__ = ["NEWEST", "READS", "VERSION", "verb_in"]

VERSION = "--version"
"""The option that reads the release of hosts with contract 1.0.0; counts as a verb here."""
NEWEST = {name: verb for verb in VERBS for name in names_of(verb)} | {VERSION: VERSION}
"""The newest name of each verb, by every name that a host has for it."""
READS = {verb for verb, command in VERBS.items() if not command.mutates} | {VERSION}
"""The verbs that change nothing."""


def verb_in(args: tuple[str, ...]) -> str:
    """Return the newest name of a call's verb; an unknown verb is returned unchanged."""
    word = "".join(args[1:2] if args[:1] == ("orchestrator-api",) else args[:1])
    return NEWEST.get(word, word)
