"""Properties of `spec_kitty_client.workflow.names`, against git."""

import subprocess
from functools import cache

from hypothesis import example, given
from hypothesis import strategies as st

from spec_kitty_client.workflow.names import is_branch_name

PIECES = ("a", "-", ".", "/", "@", "{", "~", "^", ":", "?", "*", "[", "\\", " ", "\x7f", "\u00e4")
WORDS = ("..", "//", ".lock", "@{", "HEAD", "refs/heads/", "\t", "\n", "lane-a", "'", '"', "$(x)")
names = st.lists(st.sampled_from(PIECES + WORDS), min_size=1, max_size=6).map("".join)


@cache
def git_accepts(name: str) -> bool:
    """Return whether git makes a branch of this name."""
    done = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False)
    # `git branch` takes these for an option, and for the commit that is checked out.
    return done.returncode == 0 and not name.startswith("-") and name not in ("HEAD", "@")


@given(name=names)
@example(name="a.lock/b")
@example(name="a/.b")
@example(name="@")
@example(name="-b")
@example(name="/a")
@example(name="a/-b")
def test_a_name_is_a_branch_where_git_says_so(name: str) -> None:
    """The SDK refuses a name in a mission's files exactly when git would."""
    assert is_branch_name(name) is git_accepts(name)
