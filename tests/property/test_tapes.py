"""Properties of tapes and of the placeholders in them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from spec_kitty_client import Completed
from spec_kitty_client.testing.placeholders import Ids, Placeholders
from spec_kitty_client.testing.tape import Tape

ULIDS = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=25, max_size=25).map("0{}".format)
COMMITS = st.text("0123456789abcdef", min_size=40, max_size=40)
MARKED = st.sampled_from(["{root}", "{=root}", "{ulid:1}", "{", "{=", "}", "root}", ":1}", "{x}"])
PATHS = st.sampled_from(["/repo", "/repo/x", "/repository", "/repo.old", "/home/ada", "/ho"])
SECRET = "s3cr3t"
PLAIN = MARKED | PATHS | st.just(SECRET) | st.text(max_size=5)
PLAIN_TEXTS = st.lists(PLAIN, max_size=8).map("".join)
TEXTS = st.lists(PLAIN | ULIDS | COMMITS, max_size=8).map("".join)
KNOWN = {"root": "/repo", "home": "/home/ada", "secret": SECRET}


@given(TEXTS)
def test_what_is_hidden_can_be_shown(text: str) -> None:
    """`show` gives back the text that `hide` was given."""
    hidden, ids = Placeholders(KNOWN, {}), Ids()
    assert hidden.show(hidden.hide(text, ids), ids) == text


@given(TEXTS)
def test_what_is_known_is_hidden(text: str) -> None:
    """A hidden text does not contain the secret, and is the same each time it is hidden."""
    hidden, ids = Placeholders(KNOWN, {}), Ids()
    once = hidden.hide(text, ids)
    assert SECRET not in once
    assert hidden.hide(text, ids) == once


@given(st.lists(TEXTS, max_size=4).map(tuple))
def test_what_is_hidden_matches_itself(texts: tuple[str, ...]) -> None:
    """A recorded call matches the call it was made of, with known ids and with new ones."""
    hidden, ids = Placeholders(KNOWN, {}), Ids()
    recorded = tuple(hidden.hide(text, ids) for text in texts)
    assert hidden.match(recorded, texts, Ids())
    assert hidden.match(recorded, texts, ids)


@given(TEXTS, TEXTS)
def test_other_words_do_not_match(one: str, other: str) -> None:
    """Two texts match exactly if they are the same once hidden."""
    hidden = Placeholders(KNOWN, {})
    here, there = hidden.hide(one, Ids()), hidden.hide(other, Ids())
    assert hidden.match((here,), (other,), Ids()) == (here == there)


class PreparedTransport:
    """A transport that gives prepared answers."""

    def __init__(self, ends: Sequence[tuple[bytes, bytes, int | None]]) -> None:
        self.ends = list(ends)

    def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
        out, err, code = self.ends.pop(0)
        return Completed(
            argv=("spec-kitty", *args),
            exit_code=code,
            stdout=out,
            stderr=err,
            time_limit=time_limit,
        )


OUTPUTS = st.binary(max_size=40) | PLAIN_TEXTS.map(str.encode)
ENDS = st.tuples(OUTPUTS, OUTPUTS, st.none() | st.integers(-15, 6))
CALLS = st.lists(st.tuples(st.lists(TEXTS, max_size=3), ENDS), max_size=5)


@given(CALLS, st.booleans())
def test_a_tape_gives_back_every_byte(
    calls: list[tuple[list[str], tuple[bytes, bytes, int | None]]], strict: bool
) -> None:
    """A replay in the tape's folder gives back every byte, and the tape holds no secret."""
    with tempfile.TemporaryDirectory() as folder:
        tape = Tape(Path(folder) / "tape", root="/repo", known={"secret": SECRET})
        recording = tape.record(PreparedTransport([end for _, end in calls]))
        seen = [recording.run(args, time_limit=1.0) for args, _ in calls]
        with tape.replay(strict=strict) as replay:
            assert [replay.run(args, time_limit=1.0) for args, _ in calls] == seen
        assert SECRET not in tape.path.read_text(encoding="utf-8")
