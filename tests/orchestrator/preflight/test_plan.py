"""Tests of `spec_kitty_orchestrator.preflight.plan`."""

from pathlib import Path

import pytest

from spec_kitty_orchestrator import agents
from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.preflight import plan
from spec_kitty_orchestrator.settings import Settings


def test_the_default_policy_is_what_agents_are_given() -> None:
    """The default policy states the real sandbox: none for a script, one for known agents."""
    modes = {name: plan.default_policy(agent).sandbox_mode for name, agent in agents.KNOWN.items()}
    assert set(modes.values()) == {"workspace_write"}
    script_policy = plan.default_policy(agents.script.agent(("x",)))
    assert (script_policy.sandbox_mode, script_policy.agent_family) == ("none", "script")


@pytest.mark.parametrize(
    ("link", "to"),
    [
        (".worktrees", "/tmp"),
        (".worktrees", "nowhere"),
        (".worktrees", "kitty-specs"),
        (".worktrees/034-payment-lane-a", "../../elsewhere"),
    ],
)
def test_worktrees_are_made_in_the_repository_only(repo: Path, link: str, to: str) -> None:
    """A link that somebody committed leads no host and no agent out of the repository."""
    path = repo / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(to)
    git(repo, "add", "--force", link)
    git(repo, "commit", "--quiet", "--message=link")
    settings = Settings(repo_root=repo, impl_agent="script:true", review_agent="script:true")
    with pytest.raises(UsageProblem, match=f"symbolic link to {to}.* Remove the link: rm {path}$"):
        plan.make_plan(settings)
    path.unlink()
    (repo / ".worktrees" / "a").mkdir(parents=True)
    assert plan.make_plan(settings).settings == settings


def test_a_protected_branch_is_named_unless_it_is_allowed(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts refuse to commit on main; the variable and the file that allow it are respected."""
    assert plan.protected_branch(repo) is None
    git(repo, "checkout", "--quiet", "-b", "main")
    assert plan.protected_branch(repo) == "main"
    monkeypatch.setenv("SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS", "1")
    assert plan.protected_branch(repo) is None
    monkeypatch.delenv("SPEC_KITTY_ALLOW_PROTECTED_BRANCH_COMMITS")
    (repo / ".kittify").mkdir(exist_ok=True)
    (repo / ".kittify" / "config.yaml").write_text("protection:\n  protected_branches: []\n")
    assert plan.protected_branch(repo) is None


def commit_mission(repo: Path, meta: str) -> None:
    """Commit a mission on the branch that is checked out."""
    folder = repo / "kitty-specs" / "034-payment"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(meta)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message=mission")


@pytest.mark.parametrize(
    ("meta", "branches"),
    [
        ('{"target_branch": "release"}', "release"),
        ('{"target_branch": "deleted"}', "release or work"),
        ("{}", "release or work"),
        ("[", "release or work"),
        ("[]", "release or work"),
    ],
)
def test_the_branch_of_a_mission_is_found(repo: Path, meta: str, branches: str) -> None:
    """The branch that the mission names is found, else those that have it; never a lane branch."""
    commit_mission(repo, meta)
    for branch in ("release", "kitty/mission-034-payment-lane-a"):
        git(repo, "branch", branch)
    git(repo, "checkout", "--quiet", "-b", "main")
    advice = f"Check out the branch of the mission: git checkout {branches}"
    assert plan.where_it_is(repo, "034") == plan.how_to_leave(repo, "034-payment") == advice
    assert plan.where_it_is(repo, "035") == ""


def test_a_mission_on_a_protected_branch_has_no_other(repo: Path) -> None:
    """For a mission on main, the advice is to move it or to allow commits on main."""
    git(repo, "checkout", "--quiet", "-b", "main")
    commit_mission(repo, '{"target_branch": "main"}')
    assert plan.where_it_is(repo, "034-payment") == ""
    assert f"{plan.PROTECTION_OFF}=1" in plan.how_to_leave(repo, "034-payment")
