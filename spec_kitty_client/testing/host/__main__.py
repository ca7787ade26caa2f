"""The ``spec-kitty`` program of a simulated host, and the command that makes such a host.

    python -m spec_kitty_client.testing.host make FOLDER --release 3.2.7 --plan plan.json
    PATH=FOLDER/bin:$PATH your-orchestrator ...

The plan is a JSON object. It has for each work package a list of its dependencies, or an object
such as ``{"needs": ["WP01"], "subtasks": ["T001"], "owns": ["src/**"], "planning": false}``.
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
_BROKEN = 70  # EX_SOFTWARE, which no host uses


def main(args: Sequence[str]) -> int:
    """Answer a call as a host, or make a simulated host; return the exit code."""
    try:
        return _make(args[1:]) if args[:1] == ["make"] else _answer(args)
    except (SpecKittyError, OSError, ValueError) as e:
        sys.stderr.write(f"simulated host: {e}\n")
        return _BROKEN


def _answer(args: Sequence[str]) -> int:
    folder = os.environ.get(PLACE)
    if folder is None:
        msg = f"set {PLACE} to the folder of a simulated host. To make one: {__doc__}"
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
    parser.add_argument("folder", type=Path, help="a folder that does not exist or is empty")
    parser.add_argument("--release", default=NEWEST, help="host release (default: %(default)s)")
    parser.add_argument("--plan", type=Path, help=f"JSON file (default: {_PLAN})")
    parser.add_argument("--slug", help="slug of the mission (default: as the release makes it)")
    parser.add_argument("--root", type=Path, help="a real git repository (default: no git)")
    parser.add_argument("--topology", default="lanes", help="mission topology (default: lanes)")
    parser.add_argument("--merge-target", help="branch to merge into (default: the target)")
    given: dict[str, Any] = vars(parser.parse_args(args))
    text = given["plan"].read_text(encoding="utf-8") if given["plan"] else _PLAN
    given["plan"] = _plan(json.loads(text))
    made = make(**given)
    sys.stdout.write(f"{made}\n")
    return 0


def _plan(read: object) -> Plan:
    """Return the plan in a parsed JSON file."""
    if not isinstance(read, dict):
        msg = f"the plan is not a JSON object. Write one such as {_PLAN}"
        raise ValueError(msg)  # noqa: TRY004 - the file is wrong, not the call
    return {wp: _planned(wp, planned) for wp, planned in read.items()}


def _planned(wp: str, read: object) -> PackagePlan:
    whole: Any = {"needs": read} if isinstance(read, list) else read
    known = {a.name for a in fields(PackagePlan)}
    if not isinstance(whole, dict) or whole.keys() - known:
        raise ValueError(f"{wp} must be a list, or an object with {', '.join(sorted(known))}")
    for name, value in whole.items():
        is_so = isinstance(value, bool) if name == "planning" else _are_words(value)
        if not is_so:
            raise ValueError(f"{wp}: {name} cannot be {json.dumps(value)}")
    return PackagePlan(**whole)


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
