"""An orchestrator of its own in one page: every work package of a mission, one after another.

    python own_loop.py REPOSITORY MISSION IMPLEMENT-COMMAND REVIEW-COMMAND

Both commands run in the worktree, with the id of the work package as their argument. The review
approves with exit code 0 and asks for changes with any other.
"""

import subprocess
import sys

from spec_kitty_client import AcceptanceUnavailable, Client, HostError, Lane, Policy, Review

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


def work(client: Client, mission: str, wp: str, implement: str, review: str) -> str:
    """Take a work package from planned to done and return the commit that was approved."""
    folder = client.claim(mission, wp).workspace_path
    for number in range(1, ROUNDS + 1):
        subprocess.run([implement, wp], cwd=folder, check=True)
        head = commit(folder, f"{wp}: round {number}")
        client.submit_for_review(mission, wp, subtasks="complete")
        client.begin_review(mission, wp)
        verdict = Review(reviewer="own-loop", reference=f"{wp}-round-{number}")
        if subprocess.run([review, wp], cwd=folder, check=False).returncode == 0:
            client.finish(mission, wp, verdict)
            return head
        client.request_changes(mission, wp, verdict, note="see the review")
    client.block(mission, wp, "changes were asked for too often", verdict)
    raise SystemExit(f"{wp} is blocked")


def main(repository: str, mission: str, implement: str, review: str) -> None:
    """Run the mission and merge it."""
    with Client(repository, actor="own-loop", policy=POLICY) as client:
        commits = []
        while ready := client.list_ready(mission).ready_work_packages:
            commits.append(work(client, mission, ready[0].wp_id, implement, review))
        lanes = client.mission_state(mission).lanes()
        if left := [wp for wp, lane in lanes.items() if lane != Lane.DONE]:
            raise SystemExit(f"nothing is ready, and not done are {', '.join(left)}")
        try:
            client.accept(mission)
        except (AcceptanceUnavailable, HostError) as e:
            print(f"not accepted: {e}", file=sys.stderr)
        merged = client.merge(mission, commits=commits)
        print(f"merged into {merged.target} at {merged.after}")


if __name__ == "__main__":
    main(*sys.argv[1:])
