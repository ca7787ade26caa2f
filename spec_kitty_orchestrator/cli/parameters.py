"""The parameters and the output that several commands share."""

import json
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.settings import ENV_PREFIX

if TYPE_CHECKING:
    from spec_kitty_client import AsyncTransport

__all__ = ["Json", "Root", "find_folder", "find_root", "loading_host", "print_json", "spinner"]

Json = Annotated[
    bool, Parameter(name="--json", negative="", show_default=False, help="Print JSON, for scripts.")
]
Root = Annotated[
    Path | None,
    Parameter(
        help="Repository. [default: the one around this folder]",
        env_var=ENV_PREFIX + "REPO_ROOT",
        show_env_var=False,
    ),
]


def find_folder(given: Path | None) -> Path:
    """Return the folder that a command works in.

    Raises:
        UsageProblem: If it does not exist.
    """
    folder = given or Path.cwd()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        msg = f"--repo-root: {folder} {what}."
        raise UsageProblem(msg)
    return folder


def find_root(given: Path | None) -> Path:
    """Return the primary checkout of the repository that a folder is in.

    Raises:
        UsageProblem: If the folder does not exist, or is in no repository.
    """
    from spec_kitty_orchestrator.git.calls import root_of  # here, because it loads the SDK

    return root_of(find_folder(given))


@contextmanager
def loading_host(repo: Path, *, warm: bool) -> "Generator[AsyncTransport]":
    """Start to load the host of a repository before everything else, because that takes longest.

    Args:
        repo: The repository.
        warm: Whether the host stays loaded between two calls, until the end of the block.
    """
    from spec_kitty_client.transports.process import AsyncProcessTransport

    cold = AsyncProcessTransport(repo=repo)
    if not warm:
        yield cold
        return
    from spec_kitty_client.transports.warm import AsyncWarmTransport

    with closing(AsyncWarmTransport(cold)) as transport:
        transport.prepare()
        yield transport


def spinner(as_json: bool) -> Callable[[str], Any]:
    """Return a function that shows a text on stderr during a block."""
    from rich.console import Console

    console = Console(stderr=True, quiet=as_json)
    return lambda text: console.status(text + "...")


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, sort_keys=True, default=str))
