"""The command line: ``python -m tests.record --host PATH/TO/spec-kitty --release 3.2.7``."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests import missions
from tests.record import matrix, scenarios
from tests.record.host import Host
from tests.record.scrub import Scrubber
from tests.record.world import DAG, Release, Tape, World


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
        text = _record(spec_kitty, Release(options.release), base, options.broken_host)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{options.release}.jsonl").write_text(text, encoding="utf-8")
    return 0


def _record(spec_kitty: Path, release: Release, base: Path, broken: Path | None) -> str:
    paths = {base: "/record", spec_kitty.parent: "/host/bin", spec_kitty.parents[1]: "/host"}
    if broken:
        paths |= {broken.absolute().parents[1]: "/broken"}
    tape = Tape(Scrubber(paths))
    root = base / "repo"
    with Host(spec_kitty, base) as host:
        mission = missions.make(
            spec_kitty, release.name, root, DAG, env=host.env, host=host.for_missions
        )
        world = World(release, host, tape, base, mission)
        world.save("fresh")
        for play in (*scenarios.ALL, matrix.play):
            world.load()
            play(world)
        tape.close()
    if broken:
        scenarios.broken(tape, broken.absolute(), host.env)
    return tape.text()


if __name__ == "__main__":
    sys.exit(main())
