"""An orchestrator of its own in one page: every work package of a mission, one after another.

    python own_loop.py REPOSITORY MISSION IMPLEMENT-COMMAND REVIEW-COMMAND

Both commands run in the worktree, with the id of the work package as their argument. The review
approves with exit code 0 and asks for changes with any other.
"""

import subprocess
import sys

from spec_kitty_client import Client, Lane, Policy, Review, SpecKittyError, WorkPackageHandle

POLICY = Policy(
    orchestrator_id="own-loop",
    orchestrator_version="1.0",
    agent_family="script",
    approval_mode="full_auto",
    sandbox_mode="workspace_write",
    network_mode="open",
)
ROUNDS = 3


def commit(folder: str, message: str) -> str:
    """Commit everything in a worktree and return the commit."""
    git = ["git", "-C", folder]
    subprocess.run([*git, "add", "--all"], check=True)
    if subprocess.run([*git, "diff", "--cached", "--quiet"], check=False).returncode:
        subprocess.run([*git, "commit", "--quiet", f"--message={message}"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return head.stdout.strip()


def work(wp: WorkPackageHandle, implement: str, review: str) -> str:
    """Take a work package from planned to done and return the commit that was approved."""
    folder = wp.claim().workspace_path
    for number in range(1, ROUNDS + 1):
        subprocess.run([implement, wp.wp_id], cwd=folder, check=True)
        head = commit(folder, f"{wp.wp_id}: round {number}")
        wp.submit_for_review(subtasks="complete")
        wp.begin_review()
        verdict = Review("own-loop", f"{wp.wp_id}-round-{number}")
        if subprocess.run([review, wp.wp_id], cwd=folder, check=False).returncode == 0:
            wp.finish(verdict)
            return head
        wp.request_changes(verdict, note="see the review")
    wp.block("changes were asked for too often")
    raise SystemExit(f"{wp.wp_id} is blocked")


def main(repository: str, name: str, implement: str, review: str) -> None:
    """Run the mission and merge it."""
    with Client(repository, actor="own-loop", policy=POLICY) as client:
        mission, commits = client.mission(name), list[str]()
        while ready := mission.ready():
            commits.append(work(mission.work_package(ready[0]), implement, review))
        if left := [wp for wp, lane in mission.state().lanes().items() if lane != Lane.DONE]:
            raise SystemExit(f"nothing is ready, and not done are {', '.join(left)}")
        try:
            mission.accept()
        except SpecKittyError as e:
            print(f"not accepted: {e}", file=sys.stderr)
        merged = mission.merge(commits=commits)
        print(f"merged into {merged.target} at {merged.after}")


if __name__ == "__main__":
    main(*sys.argv[1:])
