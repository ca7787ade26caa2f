"""The code of the page "Test your orchestrator" that needs a real host, run as it is printed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.snippets import Snippet, shell, snippets, write

from .conftest import Scene

PAGE = list(snippets("testing.md"))
KNOWN = {"WP01": [], "WP02": ["WP01"]}


def adapted(page: list[Snippet], scene: Scene, folder: Path) -> list[str]:
    """Make the files in a folder, and return the commands, with this repository and mission."""
    here = {"path/to/project": str(scene.root), "034-payment": scene.mission}

    def adapt(snippet: Snippet) -> Snippet:
        text = snippet.text
        for word, value in here.items():
            text = text.replace(word, value)
        return Snippet(text=text, file=snippet.file, host=snippet.host)

    folder.mkdir()
    write(map(adapt, page), folder)
    return [adapt(snippet).text for snippet in page if snippet.file is None and snippet.host]


@pytest.mark.once
def test_a_tape_is_recorded_once_and_replayed_without_the_host(
    scene: Callable[..., Scene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of the page record a tape, and a later run needs only that tape."""
    folder = tmp_path / "mine"
    (typed,) = adapted(PAGE, scene(KNOWN), folder)
    done = shell(folder, typed)
    assert done.returncode == 0, done.stdout + done.stderr

    shutil.rmtree(folder / "recorded")
    monkeypatch.setenv("E2E_HOST", "")
    monkeypatch.setenv("PATH", os.defpath)
    assert shutil.which("spec-kitty") is None
    again = shell(folder, "pytest test_tape.py")
    assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.once
@pytest.mark.long
def test_a_host_is_compared_with_the_simulated_one(
    scene: Callable[..., Scene], tmp_path: Path
) -> None:
    """The machine of the page runs against a repository of a real host and finds no difference."""
    folder = tmp_path / "mine"
    adapted(PAGE, scene(KNOWN), folder)
    done = shell(folder, "pytest --hypothesis-seed=1 test_my_host.py")  # same examples
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
