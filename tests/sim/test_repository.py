"""The repository in memory does what git does, as far as the simulation needs it."""

import os
import shutil
from pathlib import Path
from random import Random

import pytest
from attrs import define

from spec_kitty_orchestrator.git.calls import GitError, git
from spec_kitty_orchestrator.git.values import OffBranch
from spec_kitty_orchestrator.git.worktree import Worktree
from tests.orchestrator.git.repositories import do, head_of, linked
from tests.sim.repository import ROOT, Checkout, ModelWorktree, Repository

SEQUENCES = int(os.environ.get("GIT_SEQUENCES", "12"))
RESCUE = "refs/spec-kitty-orchestrator/rescue/m/WP01"
ACTS = ("write", "write", "commit", "branch", "stray", "detach", "rewind", "unlink", "delete")


@define
class Real:
    """A worktree of a real repository."""

    tree: Worktree
    root: str
    """The commit at which the lane started."""

    def act(self, name: str, file: str) -> None:
        """Do what an agent does."""
        path = self.tree.path
        match name:
            case "write":
                (path / file).write_text(file)
            case "commit":
                git(path, "add", "--all")
                git(path, "commit", "--quiet", "--allow-empty", f"--message={file}")
            case "branch":
                git(path, "switch", "--quiet", "--create", f"own-{file}")
            case "stray":
                git(path, "switch", "--quiet", "--create", f"own-{file}", self.root)
            case "detach":
                git(path, "switch", "--quiet", "--detach")
            case "rewind" if head_of(path) != self.root:
                git(path, "reset", "--quiet", "--hard", "HEAD~1")
                git(path, "clean", "--quiet", "-d", "--force")
            case "unlink":
                (path / ".git").unlink()
            case "delete":
                shutil.rmtree(path)
            case _:
                pass

    def files(self, ref: str) -> list[str]:
        """Return the files of a commit."""
        listed = git(self.tree.root, "ls-tree", "-r", "--name-only", ref).split()
        return sorted(name for name in listed if name.endswith(".py"))

    def refs(self) -> list[list[str]]:
        """Return the files of what was kept."""
        names = git(self.tree.root, "for-each-ref", "--format=%(refname)", RESCUE).split()
        return [self.files(name) for name in names]


@define
class Model:
    """A worktree of a repository in memory."""

    tree: ModelWorktree
    root: str = ROOT

    @property
    def checkout(self) -> Checkout:
        return self.tree.repository.checkout(self.tree.path, "lane")

    def act(self, name: str, file: str) -> None:
        """Do what an agent does."""
        repository, checkout = self.tree.repository, self.checkout
        match name:
            case "write":
                checkout.files.add(file)
            case "commit":
                repository.commit(checkout)
            case "branch":
                repository.switch(checkout, f"own-{file}")
            case "stray":
                repository.switch(checkout, f"own-{file}", ROOT)
            case "detach":
                repository.switch(checkout, None)
            case "rewind" if repository.head(checkout) != ROOT:
                parent = repository.commits[repository.head(checkout)].parents[0]
                if checkout.branch:
                    repository.branches[checkout.branch] = parent
                checkout.detached = parent
                checkout.files = set(repository.commits[parent].files)
            case "unlink":
                checkout.linked = False
            case "delete":
                checkout.exists, checkout.files = False, set()
            case _:
                pass

    def files(self, ref: str) -> list[str]:
        """Return the files of a commit."""
        repository = self.tree.repository
        return sorted(repository.commits[repository.branches.get(ref, ref)].files)

    def refs(self) -> list[list[str]]:
        """Return the files of what was kept."""
        return [self.files(commit) for _, commit in sorted(self.tree.repository.refs.items())]


def step(side: Real | Model, name: str, aside: Path) -> object:
    """Do what the orchestrator does, and return what it learns from that."""
    try:
        return do(STEPS[name](side, aside))
    except OffBranch:
        return "off the branch"
    except (GitError, OSError):
        return "an error"


async def _look(_side: Real | Model, _aside: Path) -> None:
    return None


async def _restore(side: Real | Model, aside: Path) -> None:
    if not await side.tree.is_there():
        await side.tree.remake(None)
    await side.tree.relink(aside)


async def _adopt(side: Real | Model, _aside: Path) -> list[str]:
    return side.files(await side.tree.adopt(side.root))


async def _keep(side: Real | Model, _aside: Path) -> str | None:
    return await side.tree.keep(RESCUE, "kept")


async def _put_back(side: Real | Model, _aside: Path) -> str | None:
    lane = await side.tree.branch_head() or ""
    kept = await side.tree.keep(RESCUE, "kept", lane)
    await side.tree.restore(lane)
    return kept


async def _save(side: Real | Model, _aside: Path) -> list[str]:
    return side.files(await side.tree.commit("work"))


STEPS = {
    "look": _look,
    "restore": _restore,
    "adopt": _adopt,
    "keep": _keep,
    "put back": _put_back,
    "save": _save,
}


def seen(side: Real | Model) -> dict[str, object]:
    """Return everything that can be compared."""
    there = do(side.tree.is_there())
    try:
        here = do(side.tree.position())
        status = do(side.tree.status())
    except (GitError, OSError):
        return {"there": there, "lane": side.files("lane"), "kept": side.refs()}
    return {
        "there": there,
        "branch": here.branch,
        "head": side.files(here.head),
        "dirty": sorted(status.files),
        "lane": side.files("lane"),
        "kept": side.refs(),
    }


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_the_repository_in_memory_does_what_git_does(seed: int, repo: Path, tmp_path: Path) -> None:
    """After each act of an agent and each step of the orchestrator both look the same."""
    path = linked(repo)
    real = Real(Worktree(path, repo, "lane"), head_of(repo))
    model = Model(ModelWorktree(path, repo, "lane", repository=Repository(repo)))
    model.tree.repository.checkout(path, "lane")
    random, told = Random(seed), list[str]()  # noqa: S311 - not for secrets
    for number in range(12):
        name = random.choice((*ACTS, *STEPS))
        told.append(name)
        if name in ACTS:
            if not (model.checkout.exists and model.checkout.linked):
                continue
            for side in (real, model):
                side.act(name, f"f{number}.py")
        else:
            expected, found = (step(side, name, tmp_path / f"{number}") for side in (real, model))
            assert found == expected, told
        assert seen(model) == seen(real), told
