"""docs/reference.md is what the code says."""

import re
import runpy
from pathlib import Path

import pytest

from spec_kitty_client import ErrorCode, Feature, Lane
from spec_kitty_client.api.spelling import names_of
from spec_kitty_client.api.verbs import VERBS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def page() -> str:
    """Return what the generator would write now."""
    text: str = runpy.run_path(str(DOCS / "reference.py"))["page"]()
    return text


def test_the_page_is_what_the_code_says(page: str) -> None:
    """Whoever changes a verb, a lane or a code writes the page anew."""
    committed = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert committed == page, "run `python docs/reference.py`"


def test_the_loop_in_the_documentation_is_the_loop() -> None:
    """docs/loop.md shows the module as it is."""
    text = runpy.run_path(str(DOCS / "reference.py"))["loop_page"]()
    committed = (DOCS / "loop.md").read_text(encoding="utf-8")
    assert committed == text, "run `python docs/reference.py`"


def test_the_page_names_everything(page: str) -> None:
    """No verb under any of its names, no option, lane, feature or code is left out."""
    names = {name for verb in VERBS for name in names_of(verb)}
    names |= {a.metadata["option"] for c in VERBS.values() for a in c.__attrs_attrs__ if a.metadata}
    names |= {*Lane, *ErrorCode, *(feature.name for feature in Feature)}
    assert {name for name in names if not any(f in page for f in (f"`{name}`", f"`[{name}]`"))} == (
        set()
    )


def test_a_table_has_as_many_cells_in_each_row(page: str) -> None:
    """Nothing in the code breaks the tables in which it is shown."""
    for block in page.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, rows


def test_the_tests_that_the_quirks_name_are_there() -> None:
    """Each quirk is shown by a test under the name that the page gives."""
    named = re.findall(r"`(\S+\.py)::(test_\w+)`", (DOCS / "quirks.md").read_text("utf-8"))
    assert named
    for file, test in named:
        text = (DOCS.parent / "tests" / file).read_text(encoding="utf-8")
        assert f"def {test}(" in text, f"{file}::{test}"
