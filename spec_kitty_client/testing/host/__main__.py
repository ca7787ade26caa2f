"""``spec-kitty`` of a simulated host, and how to make one.

    python -m spec_kitty_client.testing.host make FOLDER --release 3.2.7 --plan plan.json
    PATH=FOLDER/bin:$PATH your-orchestrator ...

The plan is a JSON object: each work package with the list of those it depends on, or with an
object such as ``{"needs": ["WP01"], "subtasks": ["T001"], "owns": ["src/**"], "planning": false}``.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import fields

from spec_kitty_client.errors import SpecKittyError
from spec_kitty_client.testing.host.board import PackagePlan, Plan
from spec_kitty_client.testing.host.simulated import NEWEST
from spec_kitty_client.testing.host.store import PLACE, call, make

_PLAN = '{"WP01": [], "WP02": ["WP01"]}'
_BROKEN = 70  # EX_SOFTWARE: no exit code of any host


def main(args: Sequence[str]) -> int:
    """Answer as a host, or make one."""
    try:
        return _make(args[1:]) if args[:1] == ["make"] else _answer(args)
    except (SpecKittyError, OSError, ValueError) as e:
        sys.stderr.write(f"simulated host: {e}\n")
        return _BROKEN


def _answer(args: Sequence[str]) -> int:
    folder = os.environ.get(PLACE)
    if folder is None:
        msg = f"set {PLACE} to the folder of a simulated host, or make one: {__doc__}"
        raise ValueError(msg)
    done = call(Path(folder), args)
    sys.stdout.buffer.write(done.stdout)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(done.stderr)
    return _BROKEN if done.exit_code is None else done.exit_code


def _make(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m spec_kitty_client.testing.host make",
        description="Make a simulated host in a folder, and print the path of its spec-kitty.",
    )
    parser.add_argument("folder", type=Path, help="must not exist, or be empty")
    parser.add_argument("--release", default=NEWEST, help="which host it is (default: %(default)s)")
    parser.add_argument("--plan", type=Path, help=f"JSON file such as {_PLAN} (default: that)")
    parser.add_argument("--slug", help="the mission's name (default: as the release would make it)")
    parser.add_argument("--root", type=Path, help="a repository with real git (default: no git)")
    parser.add_argument("--topology", default="lanes", help="of the mission (default: lanes)")
    parser.add_argument("--merge-target", help="a branch to merge into (default: the target)")
    given: dict[str, Any] = vars(parser.parse_args(args))
    text = given["plan"].read_text(encoding="utf-8") if given["plan"] else _PLAN
    given["plan"] = _plan(json.loads(text))
    made = make(**given)
    sys.stdout.write(f"{made}\n")
    return 0


def _plan(read: object) -> Plan:
    """Return what a file says about the work packages."""
    if not isinstance(read, dict):
        msg = f"the plan is no JSON object; write one such as {_PLAN}"
        raise ValueError(msg)  # noqa: TRY004 - a file is wrong, and no call
    return {wp: _planned(wp, planned) for wp, planned in read.items()}


def _planned(wp: str, read: object) -> PackagePlan:
    whole: Any = {"needs": read} if isinstance(read, list) else read
    known = {a.name for a in fields(PackagePlan)}
    if not isinstance(whole, dict) or whole.keys() - known:
        raise ValueError(f"{wp} has to be a list, or an object of {', '.join(sorted(known))}")
    for name, value in whole.items():
        is_so = isinstance(value, bool) if name == "planning" else _are_words(value)
        if not is_so:
            raise ValueError(f"{wp}: {name} cannot be {json.dumps(value)}")
    return PackagePlan(**whole)


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
