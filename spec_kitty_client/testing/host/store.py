"""A simulated host with its state in a folder, for programs that run ``spec-kitty``.

The folder has ``state.json``, its lock, and ``bin/spec-kitty``. Each call is a process: it takes
the lock, reads the state, answers, and replaces the state file. A killed call has either no effect
or its whole effect.
"""

import json
import shlex
import sys
import tempfile
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import asdict
from filelock import FileLock

from spec_kitty_client.errors import SpecKittyError, UnsupportedHost
from spec_kitty_client.testing.host.board import Mission, Plan
from spec_kitty_client.testing.host.simulated import SimulatedHost, SimulatedRepository
from spec_kitty_client.transports import Completed

__all__ = ["PLACE", "StateDamaged", "call", "make"]

PLACE = "SPEC_KITTY_SIMULATED_HOST"
"""The environment variable with the path of the folder."""

_LIMIT = 600.0  # seconds for git and for the wait for other calls
_VERSION = 1
_LAUNCHER = """\
#!/bin/sh
{place}={folder} exec {python} -m spec_kitty_client.testing.host "$@"
"""


class StateDamaged(SpecKittyError):
    """The folder has no valid state of a simulated host."""


def make(
    folder: Path,
    plan: Plan,
    *,
    release: str,
    slug: str | None = None,
    root: Path | None = None,
    topology: str = "lanes",
    merge_target: str | None = None,
) -> Path:
    """Make a simulated host in a folder and return the path of its ``spec-kitty``.

    Args:
        folder: A folder that does not exist or is empty.
        plan: The work packages, each with the ids of its dependencies or with a `PackagePlan`.
        release: The release of ``spec-kitty-cli`` to simulate.
        slug: Slug of the mission; None: a slug as that release makes it.
        root: The git repository to work in, made if it does not exist; None: no git.
        topology: See `SimulatedHost`.
        merge_target: See `SimulatedHost`.

    Raises:
        FileExistsError: If the folder is not empty.
        InvalidCall: If the plan is invalid.
        NotSimulated: If the real release has this topology, but the simulated one has not.
        UnsupportedHost: If there is no such release.
        GitFailed: If git fails, or the repository has this mission already.
    """
    folder = folder.absolute()
    if folder.exists() and any(folder.iterdir()):
        msg = f"{folder} is not empty. Use a new folder."
        raise FileExistsError(msg)
    more: dict[str, Any] = {"topology": topology, "merge_target": merge_target}
    if root is None:
        host = SimulatedHost(plan, release=release, slug=slug, **more)
    else:
        root = root.absolute()
        host = SimulatedRepository(plan, release=release, slug=slug, folder=root, **more)
    program = folder / "bin" / "spec-kitty"
    program.parent.mkdir(parents=True)
    _write(folder, host, root)
    quoted = {"folder": shlex.quote(str(folder)), "python": shlex.quote(sys.executable)}
    program.write_text(_LAUNCHER.format(place=PLACE, **quoted), encoding="utf-8")
    program.chmod(0o755)
    return program


def call(folder: Path, args: Sequence[str]) -> Completed:
    """Answer one call. Calls at the same time wait for each other.

    Args:
        folder: The folder of the simulated host.
        args: The arguments for ``spec-kitty``.

    Raises:
        StateDamaged: If the folder has no valid state.
        NotSimulated: If the real host's behaviour in this case is not simulated.
    """
    with _opened(folder) as host:
        return host.run(args, time_limit=_LIMIT)


@contextmanager
def _opened(folder: Path) -> Generator[SimulatedHost]:
    if not (folder / "state.json").exists():
        msg = f"{folder} is not a simulated host: it has no state.json"
        raise StateDamaged(msg)
    with FileLock(folder / "lock"):
        root, host = _read(folder)
        before = _facts(host, root)
        try:
            yield host
        finally:
            if _facts(host, root) != before:
                _write(folder, host, root)


def _facts(host: SimulatedHost, root: Path | None) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "release": host.release.name,
        "root": None if root is None else str(root),
        "missions": [asdict(mission) for mission in host.missions.values()],
    }


def _write(folder: Path, host: SimulatedHost, root: Path | None) -> None:
    text = json.dumps(_facts(host, root), default=sorted)  # sets are written as sorted lists
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as file:
        file.write(text)
    Path(file.name).replace(folder / "state.json")


def _read(folder: Path) -> tuple[Path | None, SimulatedHost]:
    import cattrs

    try:
        facts = _versioned(json.loads((folder / "state.json").read_text(encoding="utf-8")))
        root = None if facts["root"] is None else Path(facts["root"])
        missions = cattrs.structure(facts["missions"], list[Mission])
        host = _host(facts["release"], root)
    except (
        *(ValueError, LookupError, TypeError, UnsupportedHost),
        cattrs.BaseValidationError,
    ) as e:
        msg = f"{folder / 'state.json'} is damaged: {e}. Make the simulated host again."
        raise StateDamaged(msg) from e
    host.missions = {mission.slug: mission for mission in missions}
    return root, host


def _versioned(facts: Any) -> Any:
    if facts["version"] != _VERSION:
        msg = f"its version is {facts['version']}, not {_VERSION}"
        raise ValueError(msg)
    return facts


def _host(release: str, root: Path | None) -> SimulatedHost:
    """Return a host without a mission, with the real clock and random ids."""
    if root is None:
        return SimulatedHost(None, release=release, now=_now, new_id=_new_id)
    return SimulatedRepository(None, release=release, folder=root, now=_now, new_id=_new_id)


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return uuid.uuid4().hex
