"""The README's own code, run as it is printed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Scene

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.once
def test_the_ten_lines_start_every_ready_work_package(
    scene: Callable[[int], Scene], capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's SDK example works unchanged."""
    here = scene(1)
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    program = code[1].replace("path/to/repository", str(here.root))
    exec(program.replace("034-payment", here.mission), {})  # noqa: S102 - a page of this repository

    workspace = capsys.readouterr().out.strip()
    assert Path(workspace).is_dir()
    assert here.lanes() == {"WP01": "in_progress"}
