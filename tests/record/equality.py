"""Compare a warm and a cold host: all scenarios through both transports.

``python -m tests.record.equality --host PATH/TO/spec-kitty --release 3.2.7``
"""

import argparse
import difflib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.record.host import Host
from tests.record.left import Left, sections
from tests.record.plays import NAMES, play
from tests.record.scrub import Scrubber, stable_paths
from tests.record.world import Tape

__all__ = ["STEADY", "Side", "differences"]

# The order of sets, and line breaks in lines with an identifier, are random.
STEADY = {"PYTHONHASHSEED": "0", "COLUMNS": "500"}

_LONGEST = 60  # lines of one difference


@dataclass(frozen=True)
class Side:
    """The answers of one transport, and the files that its calls left."""

    lines: dict[str, str]
    left: dict[str, str]
    calls: int
    seconds: float


def main() -> int:
    """Run all scenarios on both transports; return 1 if they differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.record.equality", description=__doc__)
    parser.add_argument("--host", type=Path, required=True, help="the host's spec-kitty")
    parser.add_argument("--release", required=True, help="its version, such as 3.2.7")
    parser.add_argument("--scenarios", default=",".join(NAMES), help="names with commas")
    parser.add_argument(
        "--sides", default="warm,cold", help="cold,cold shows what no transport makes different"
    )
    parser.add_argument("--keep", type=Path, help="a folder for both sides, as JSON")
    parser.add_argument("--again", type=Path, help="a kept side, instead of playing the second")
    options = parser.parse_args()
    names = options.scenarios.split(",")
    one, other = options.sides.split(",")
    sides = [_side(options.host.absolute(), options.release, names, one)]
    if options.again:
        sides.append(Side(**json.loads(options.again.read_text(encoding="utf-8"))))
    else:
        sides.append(_side(options.host.absolute(), options.release, names, other))
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        for side, name in zip(sides, ("1-" + one, "2-" + other), strict=True):
            kept = options.keep / f"{options.release}-{name}.json"
            kept.write_text(json.dumps(asdict(side)), encoding="utf-8")
    found = [*differences(*sides)]
    for difference in found:
        _say(difference)
    times = " and ".join(f"{side.calls} calls in {side.seconds:.0f} s" for side in sides)
    about = f"{len(sides[0].lines)} answers, {len(sides[0].left)} states"
    _say(f"{options.release}: {about}; {times}; {len(found)} differences")
    return bool(found)


def _side(spec_kitty: Path, release: str, names: list[str], how: str) -> Side:
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"spec-kitty-{how}-") as folder:
        base = Path(folder).resolve()
        tape = Tape(Scrubber(stable_paths(spec_kitty, base)), whole=True)
        with Host(spec_kitty, base, warm=how == "warm", more=STEADY) as host:
            tell = partial(_say, f"{release} {how}")
            play(host, release, tape, names=names, inspect=Left(host.env), tell=tell)
        return Side(tape.lines, tape.left, host.calls, time.monotonic() - start)


def differences(one: Side, other: Side) -> Iterator[str]:
    """Yield the differences between two sides, as readable text."""
    for scenario in one.lines | other.lines:
        texts = [side.lines.get(scenario, "{}") for side in (one, other)]
        if texts[0] != texts[1]:
            yield _difference(f"answer: {scenario}", *map(_readable, texts))
    for scenario in one.left | other.left:
        texts = [side.left.get(scenario, "") for side in (one, other)]
        if texts[0] == texts[1]:
            continue
        ours, theirs = map(sections, texts)
        for head in ours | theirs:
            if ours.get(head) != theirs.get(head):
                name = f"left by: {scenario}: {head}"
                yield _difference(name, ours.get(head, "(none)"), theirs.get(head, "(none)"))


def _readable(line: str) -> str:
    """Return an answer with its texts as they were printed."""
    return "".join(f"{name}: {value}\n" for name, value in json.loads(line).items())


def _difference(name: str, one: str, other: str) -> str:
    lines = difflib.unified_diff(one.splitlines(), other.splitlines(), "one", "other", lineterm="")
    shown = [*lines]
    more = [f"[... {len(shown) - _LONGEST} lines more ...]"] if len(shown) > _LONGEST else []
    return "\n".join([f"##### {name}", *shown[:_LONGEST], *more])


def _say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
