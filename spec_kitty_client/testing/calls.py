"""What a call asks for, seen from the side of a transport."""

from spec_kitty_client.api.spelling import names_of
from spec_kitty_client.api.verbs import VERBS

__all__ = ["NEWEST", "READS", "VERSION", "verb_in"]

VERSION = "--version"
"""What is asked beside the verbs, of hosts with contract 1.0.0."""
NEWEST = {name: verb for verb in VERBS for name in names_of(verb)} | {VERSION: VERSION}
"""Every name that a host has for a verb, and its newest name."""
READS = {verb for verb, command in VERBS.items() if not command.mutates} | {VERSION}
"""The verbs that change nothing."""


def verb_in(args: tuple[str, ...]) -> str:
    """Return the verb of a call by its newest name; a word that is no verb as it is."""
    word = "".join(args[1:2] if args[:1] == ("orchestrator-api",) else args[:1])
    return NEWEST.get(word, word)
