"""Tests of `spec_kitty_client.api.options`."""

import pytest

from spec_kitty_client.api.commands import AppendHistory
from spec_kitty_client.errors import InvalidCall

WP = {"mission": "pay", "wp": "WP01"}


@pytest.mark.parametrize(
    "value", ["--force", "-x", "a=b", "=", "", " ", "two\nlines", "naïve 漢字 \U0001f408"]
)
def test_a_value_stays_a_value(value: str) -> None:
    """A note of any text is one argument, and never becomes an option of its own."""
    (argument,) = [o for o in AppendHistory(**WP, note=value).spelled() if "--note" in o]

    assert argument == f"--note={value}"


def test_a_nul_character_is_refused() -> None:
    """A text with a NUL character is refused before a process is started."""
    with pytest.raises(
        InvalidCall, match="--note cannot be passed on a command line: it has a NUL"
    ):
        AppendHistory(**WP, note="a\0b").spelled()


def test_half_a_character_is_refused() -> None:
    """The SDK refuses a text with a lone surrogate before a process is started."""
    with pytest.raises(InvalidCall, match="--note cannot be passed on a command line: surrogates"):
        AppendHistory(**WP, note="\ud83d").spelled()


@pytest.mark.parametrize("letter", ["x", "é"])
def test_the_longest_text_that_can_be_sent(letter: str) -> None:
    """The SDK allows as many bytes as the system does, with the name of the option."""
    room = 128 * 1024 - 1 - len("--note=")
    longest = letter * (room // len(letter.encode()))

    assert AppendHistory(**WP, note=longest).spelled()[-1] == f"--note={longest}"
    with pytest.raises(InvalidCall, match="Shorten it"):
        AppendHistory(**WP, note=longest + letter * 2).spelled()
