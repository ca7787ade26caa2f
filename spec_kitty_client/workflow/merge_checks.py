"""The checks before a merge, against work that a host would lose and merges that stop half-way."""

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.api.commands import MergeMission, MergeStrategy
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import GitFailed, SpecKittyError, UnsupportedByHost, WouldLoseWork
from spec_kitty_client.workflow.git import branches, dirty, git
from spec_kitty_client.workflow.lane_checks import check_lanes
from spec_kitty_client.workflow.merge_context import HOST_STATE, KEEP_BRANCHES, MergeContext

__all__ = ["check", "obstacles"]

_MOST = 10  # names in a message
_GLOB = set("*?[")
_ENDED = (Lane.DONE, Lane.CANCELED)
_AT_ONCE = 500  # paths in one call of git

Check = Callable[[MergeContext, MergeMission], Steps[None]]


def check(context: MergeContext, call: MergeMission, commits: tuple[str, ...]) -> Steps[None]:
    """Refuse a merge that would lose work or fail half-way.

    Args:
        context: The mission before its merge.
        call: The host call.
        commits: The commits submitted for review.

    Raises:
        UnsupportedByHost: If this host cannot merge with that strategy.
        GitFailed: If a tag has the name of a branch.
        WouldLoseWork: If the merge would lose work.
    """
    for refuse in _AT_ANY_TIME:
        yield from refuse(context, call)
    yield from check_lanes(context, call, commits)


def obstacles(context: MergeContext, call: MergeMission) -> Steps[tuple[str, ...]]:
    """Return the obstacles to a merge that no work package can remove, as sentences.

    Args:
        context: The mission, at any time.
        call: The host call of the merge.
    """
    found: list[str] = []
    for refuse in (*_AT_ANY_TIME, _refuse_planned):
        try:
            yield from refuse(context, call)
        except SpecKittyError as e:
            found.append(str(e))
    return tuple(found)


def _refuse_planned(context: MergeContext, _: MergeMission) -> Steps[None]:
    """Refuse untracked files that a work package is still to create, as the plan says."""
    path = yield from context.checkout()
    lanes = context.mission.lanes()
    packages = context.layout.packages.values()
    names = [name for p in packages if lanes.get(p.wp_id) not in _ENDED for name in p.creates]
    plain = [name for name in names if not _GLOB & set(name)]
    if path is not None and (found := (yield from _untracked(path, plain))):
        raise WouldLoseWork(_in_the_way(path, found), tuple(f"{path}/{n}" for n in sorted(found)))


def _in_the_way(path: str, found: Iterable[str]) -> str:
    return (
        f"{path} has files that are not committed there and that the mission brings as well: "
        f"{', '.join(sorted(found)[:_MOST])}. Move them away, or `git stash --include-untracked` "
        "them, and merge again."
    )


def _refuse_strategy(context: MergeContext, call: MergeMission) -> Steps[None]:
    """Refuse a strategy that would fail half-way on this host."""
    yield from ()
    contract = context.contract
    if contract.dialect is Dialect.F1 and call.strategy == MergeStrategy.SQUASH:
        what = "squash that commits what it has merged; use merge, or a host that has"
        raise UnsupportedByHost(what, since="2.1.0", release=str(contract.release))
    if contract.dialect in KEEP_BRANCHES and call.strategy == MergeStrategy.REBASE:
        what = "rebase of branches that are checked out in worktrees; use merge, or a host that has"
        raise UnsupportedByHost(what, since="3.2.0", release=str(contract.release))


def _refuse_tags(context: MergeContext, _: MergeMission) -> Steps[None]:
    """Refuse tags named like a branch: hosts pass short names, which git resolves to the tag."""
    own = (context.target, context.layout.planning_branch, context.integration.mission)
    names = (*own, *(yield from context.branches()))
    tags = {f"refs/tags/{name}": name for name in names}
    listed = yield from git("for-each-ref", "--format=%(refname)", *tags, folder=context.top)
    for ref in listed.split("\n"):
        if name := tags.get(ref):
            msg = (
                f"there is a tag {name} beside the branch {name}, and the host would take the tag "
                f"for the branch. Rename the tag: git tag {name}-tag {ref} && git tag -d {name}"
            )
            raise GitFailed(msg)


def _refuse_dirty_target(context: MergeContext, _: MergeMission) -> Steps[None]:
    """Refuse a target with uncommitted changes, before the host has merged half of it."""
    if not context.contract.supports(Feature.CLEAN_TARGET):
        return
    path = (yield from branches(context.top, context.target)).get(context.target)
    found = (yield from dirty(path, untracked=False)) if path else ()
    own = (f"{context.folder}/", *HOST_STATE)
    if others := [name for name in found if not name.startswith(own)]:
        msg = (
            f"{path}, where {context.target} is checked out, has uncommitted changes: "
            f"{', '.join(others[:_MOST])}. This host does not merge then. Commit or stash them."
        )
        raise WouldLoseWork(msg, tuple(f"{path}/{name}" for name in others))


def _refuse_overwriting(context: MergeContext, _: MergeMission) -> Steps[None]:
    """Refuse to merge over untracked and changed files of the user that the lanes have as well."""
    path = yield from context.checkout()
    if path is None:
        return
    new = sorted({f for work in (yield from context.work()).values() for f in work.files})
    theirs = [name for name in new if not name.startswith(f"{context.folder}/")]
    found = yield from _untracked(path, theirs)
    if not context.contract.supports(Feature.CLEAN_TARGET):
        found |= set(theirs) & set((yield from dirty(path, untracked=False)))
    if found:
        raise WouldLoseWork(_in_the_way(path, found), tuple(f"{path}/{n}" for n in sorted(found)))


def _untracked(path: str, names: Iterable[str]) -> Steps[set[str]]:
    """Return the untracked files at these paths, below them, or in place of their folders.

    Files that git ignores are included: it would overwrite them.
    """
    wanted = set(names)
    folders = {str(above) for name in wanted for above in PurePosixPath(name).parents} - {"."}
    found = yield from _list_others(path, wanted)
    return found | (folders & (yield from _list_others(path, folders, "--directory")))


def _list_others(path: str, names: Iterable[str], *options: str) -> Steps[set[str]]:
    every, found = [f":(literal){name}" for name in sorted(names)], set[str]()
    for start in range(0, len(every), _AT_ONCE):
        some = every[start : start + _AT_ONCE]
        listed = yield from git("ls-files", "--others", "-z", *options, "--", *some, folder=path)
        found.update(filter(None, listed.split("\0")))
    return found


_AT_ANY_TIME: tuple[Check, ...] = (
    _refuse_strategy,
    _refuse_tags,
    _refuse_dirty_target,
    _refuse_overwriting,
)
