"""Tests that the generated pages of the documentation agree with the code."""

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
    """Return the page that the generator writes now."""
    text: str = runpy.run_path(str(DOCS / "reference.py"))["page"]()
    return text


def test_the_page_is_what_the_code_says(page: str) -> None:
    """docs/reference.md is what the generator writes for the current code."""
    committed = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert committed == page, "run `python docs/reference.py`"


def test_the_loop_in_the_documentation_is_the_loop() -> None:
    """docs/loop.md shows the current loop."""
    text = runpy.run_path(str(DOCS / "reference.py"))["loop_page"]()
    committed = (DOCS / "loop.md").read_text(encoding="utf-8")
    assert committed == text, "run `python docs/reference.py`"


def test_the_page_names_everything(page: str) -> None:
    """The page has every verb under all its names, every option, lane, feature and code."""
    names = {name for verb in VERBS for name in names_of(verb)}
    names |= {a.metadata["option"] for c in VERBS.values() for a in c.__attrs_attrs__ if a.metadata}
    names |= {*Lane, *ErrorCode, *(feature.name for feature in Feature)}
    assert {name for name in names if not any(f in page for f in (f"`{name}`", f"`[{name}]`"))} == (
        set()
    )


def test_a_table_has_as_many_cells_in_each_row(page: str) -> None:
    """All rows of a table have the same number of cells."""
    for block in page.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, rows


def test_the_tests_that_the_quirks_name_are_there() -> None:
    """docs/quirks.md names only tests that exist."""
    named = re.findall(r"`(\S+\.py)::(test_\w+)`", (DOCS / "quirks.md").read_text("utf-8"))
    assert named
    for file, test in named:
        text = (DOCS.parent / "tests" / file).read_text(encoding="utf-8")
        assert f"def {test}(" in text, f"{file}::{test}"
