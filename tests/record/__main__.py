"""The command line: ``python -m tests.record --host PATH/TO/spec-kitty --release 3.2.7``."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.record import scenarios
from tests.record.host import Host
from tests.record.plays import play
from tests.record.scrub import Scrubber, stable_paths
from tests.record.world import Tape


def main() -> int:
    """Record one release."""
    parser = argparse.ArgumentParser(prog="python -m tests.record", description=__doc__)
    parser.add_argument("--host", type=Path, required=True, help="the host's spec-kitty")
    parser.add_argument("--release", required=True, help="its version, such as 3.2.7")
    parser.add_argument("--out", type=Path, default=Path("tests/corpus"), help="a folder")
    parser.add_argument("--broken-host", type=Path, help="the same with a typer it cannot load")
    options = parser.parse_args()
    spec_kitty = options.host.absolute()
    with tempfile.TemporaryDirectory(prefix="spec-kitty-record-") as name:
        base = Path(name).resolve()
        text = _record(spec_kitty, options.release, base, options.broken_host)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{options.release}.jsonl").write_text(text, encoding="utf-8")
    return 0


def _record(spec_kitty: Path, release: str, base: Path, broken: Path | None) -> str:
    paths = stable_paths(spec_kitty, base)
    if broken:
        paths |= {broken.absolute().parents[1]: "/broken"}
    tape = Tape(Scrubber(paths))
    with Host(spec_kitty, base) as host:
        play(host, release, tape)
    if broken:
        scenarios.broken(tape, broken.absolute(), host.env)
    return tape.text()


if __name__ == "__main__":
    sys.exit(main())
