"""The command line: ``python -m tests.record --host PATH/TO/spec-kitty --release 3.2.7``."""

import argparse
import json
import sys
import tempfile
from collections.abc import Collection
from functools import partial
from pathlib import Path

from tests.record import scenarios
from tests.record.host import Host
from tests.record.plays import NAMES, play
from tests.record.scrub import Scrubber, stable_paths
from tests.record.world import Tape


def main() -> int:
    """Record one release."""
    parser = argparse.ArgumentParser(prog="python -m tests.record", description=__doc__)
    parser.add_argument("--host", type=Path, required=True, help="the host's spec-kitty")
    parser.add_argument("--release", required=True, help="its version, such as 3.2.7")
    parser.add_argument("--out", type=Path, default=Path("tests/corpus"), help="a folder")
    parser.add_argument("--broken-host", type=Path, help="the same with a typer it cannot load")
    parser.add_argument("--only", help="names of scenarios with commas; the rest of the file stays")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else NAMES
    if unknown := {*names} - {*NAMES}:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    tape = _record(options.host.absolute(), options.release, names, options.broken_host)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.release}.jsonl"
    known = _others(path, names) if options.only and path.exists() else {}
    text = "".join(f"{line}\n" for line in (known | tape.lines).values())
    path.write_text(text, encoding="utf-8")
    return 0


def _record(spec_kitty: Path, release: str, names: Collection[str], broken: Path | None) -> Tape:
    with tempfile.TemporaryDirectory(prefix="spec-kitty-record-") as name:
        base = Path(name).resolve()
        paths = stable_paths(spec_kitty, base)
        if broken:
            paths |= {broken.absolute().parents[1]: "/broken"}
        tape = Tape(Scrubber(paths))
        with Host(spec_kitty, base) as host:
            play(host, release, tape, names=names, tell=partial(print, release, flush=True))
        if broken:
            scenarios.broken(tape, broken.absolute(), host.env)
        return tape


def _others(path: Path, names: Collection[str]) -> dict[str, str]:
    """Return the calls of an earlier record that stay when some scenarios are recorded again.

    All calls whose names begin with the name of a recorded scenario are dropped.
    """
    gone = tuple(f"{name}: " for name in names)
    lines = path.read_text(encoding="utf-8").splitlines()
    found = {json.loads(line)["scenario"].removesuffix(" (cut)"): line for line in lines}
    return {name: line for name, line in found.items() if not name.startswith(gone)}


if __name__ == "__main__":
    sys.exit(main())
