"""The code of the page "Test your orchestrator", run as it is printed."""

import json
import re
from pathlib import Path

import pytest

from spec_kitty_client import Dialect
from tests.snippets import ROOT, Snippet, shell, snippets, write

PAGE = [snippet for snippet in snippets("testing.md") if not snippet.host]
FILES = [snippet.file for snippet in PAGE if snippet.file]
TYPED = [snippet for snippet in PAGE if not snippet.file]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the files of the page."""
    write(PAGE, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("test_")])
def test_a_test_of_the_page_passes(folder: Path, name: str) -> None:
    """Each test file of the page passes, with warnings as errors and nothing skipped."""
    done = shell(folder, f"pytest {name}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"= \d+ passed in", done.stdout)


def test_the_tests_notice_a_loop_that_gives_up(folder: Path) -> None:
    """The page's test with faults fails for a loop that does not catch the host's errors."""
    loop = folder / "loop.py"
    text = loop.read_text(encoding="utf-8")
    loop.write_text(text.replace("(HostError, HostNotFound)", "ZeroDivisionError"))
    done = shell(folder, "pytest test_faults.py -k start-review")
    assert done.returncode == 1
    assert "[start-review-no host after]" in done.stdout


def test_the_tests_notice_a_loop_that_does_not_wait(folder: Path) -> None:
    """The page's property test fails for a loop that ignores dependencies."""
    loop = folder / "loop.py"
    text = loop.read_text(encoding="utf-8")
    loop.write_text(text.replace("left.keys() & wp.dependencies", "False"))
    test = folder / "test_properties.py"
    quick = test.read_text(encoding="utf-8").replace("import given", "import Phase, given")
    quick = quick.replace("deadline=None", "deadline=None, phases=[Phase.generate]")  # no shrinking
    test.write_text(quick, encoding="utf-8")
    done = shell(folder, "pytest test_properties.py")
    assert done.returncode == 1
    assert "did not finish" in done.stdout


@pytest.mark.parametrize("snippet", TYPED, ids=lambda snippet: snippet.text.split()[-1])
def test_what_is_typed_works(tmp_path: Path, snippet: Snippet) -> None:
    """The simulated host on PATH answers the call that the page shows, as the page promises."""
    done = shell(tmp_path, snippet.text)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert [wp["wp_id"] for wp in answer["data"]["ready_work_packages"]] == ["WP01"]


def test_the_test_of_the_readme_passes(tmp_path: Path) -> None:
    """The README's test passes on every dialect."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (code,) = (block for block in blocks if "def test" in block)
    (tmp_path / "test_readme.py").write_text(code, encoding="utf-8")
    done = shell(tmp_path, "pytest test_readme.py")
    assert f"= {len(Dialect)} passed in" in done.stdout
