"""The same page as own_loop.py for asyncio or trio: all work packages that are ready at once.

    python own_async_loop.py REPOSITORY MISSION IMPLEMENT-COMMAND REVIEW-COMMAND

Agents run side by side. The SDK sends calls that change the mission one after another, because
hosts lose commits otherwise.
"""

import sys

import anyio

from spec_kitty_client import (
    AsyncClient,
    AsyncWorkPackageHandle,
    Lane,
    Policy,
    Review,
    SpecKittyError,
)

POLICY = Policy(
    orchestrator_id="own-loop",
    orchestrator_version="1.0",
    agent_family="script",
    approval_mode="full_auto",
    sandbox_mode="workspace_write",
    network_mode="open",
)
ROUNDS = 3


async def run(folder: str, *words: str) -> int:
    """Run a program in a folder and return its exit code."""
    done = await anyio.run_process(words, cwd=folder, check=False, stdout=None, stderr=None)
    return done.returncode


async def git(folder: str, *words: str) -> str:
    """Run git in a folder and return what it prints."""
    done = await anyio.run_process(["git", *words], cwd=folder, stderr=None)
    return done.stdout.decode().strip()


async def implement_once(folder: str, implement: str, wp_id: str, number: int) -> str:
    """Run the agent, commit what it left, and return the commit."""
    if await run(folder, implement, wp_id):
        raise SystemExit(f"{wp_id}: {implement} failed")
    await git(folder, "add", "--all")
    if await run(folder, "git", "diff", "--cached", "--quiet"):
        await git(folder, "commit", "--quiet", f"--message={wp_id}: round {number}")
    return await git(folder, "rev-parse", "HEAD")


async def work(wp: AsyncWorkPackageHandle, programs: list[str], commits: list[str]) -> None:
    """Take a work package from planned to done and note the commit that was approved."""
    implement, review = programs
    folder = (await wp.claim()).workspace_path
    for number in range(1, ROUNDS + 1):
        head = await implement_once(folder, implement, wp.wp_id, number)
        await wp.submit_for_review(subtasks="complete")
        await wp.begin_review()
        verdict = Review("own-loop", f"{wp.wp_id}-round-{number}")
        if await run(folder, review, wp.wp_id) == 0:
            await wp.finish(verdict)
            commits.append(head)
            return
        await wp.request_changes(verdict, note="see the review")
    await wp.block("changes were asked for too often")
    raise SystemExit(f"{wp.wp_id} is blocked")


async def main(*arguments: str) -> None:
    """Run the mission and merge it."""
    repository, name, *programs = arguments
    async with AsyncClient(repository, actor="own-loop", policy=POLICY) as client:
        mission, commits = client.mission(name), list[str]()
        layout = await mission.layout()
        while ready := [wp.wp_id for wp in await mission.ready()]:
            async with anyio.create_task_group() as tasks:
                for wp in ready:
                    if any(other in ready[: ready.index(wp)] for other in layout.sharing(wp)):
                        continue  # it works in the same worktree as one that starts now
                    tasks.start_soon(work, mission.work_package(wp), programs, commits)
        lanes = (await mission.state()).lanes()
        if left := [wp for wp, lane in lanes.items() if lane != Lane.DONE]:
            raise SystemExit(f"nothing is ready, and not done are {', '.join(left)}")
        try:
            await mission.accept()
        except SpecKittyError as e:
            print(f"not accepted: {e}", file=sys.stderr)
        merged = await mission.merge(commits=commits)
        print(f"merged into {merged.target} at {merged.after}")


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
