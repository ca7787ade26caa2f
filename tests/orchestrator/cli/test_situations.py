"""Mistakes of users: each ends with one message that says what helps."""

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import field, frozen

from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.git.calls import git
from spec_kitty_orchestrator.state.events import NoteGiven
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.journal import Journal
from tests.orchestrator.commands import Command
from tests.orchestrator.hosts import SLUG
from tests.orchestrator.programs import Program

AGENTS = ("--impl-agent=script:true", "--review-agent=script:true")
RUN = ("orchestrate", SLUG, *AGENTS)
TOML = Path(".kittify", "orchestrator.toml")


def nothing() -> None:
    """Leave the repository as it is."""


def writes(name: str | Path, text: str) -> Callable[[], None]:
    """Return a function that writes a file of the repository."""

    def write() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)

    return write


def two_missions() -> None:
    """Make the folders of two missions."""
    for slug in (SLUG, "034-refund"):
        Path("kitty-specs", slug).mkdir()


def damaged_journal() -> None:
    """Record a run whose journal cannot be read from its first line on."""
    places = StateFiles(Path.cwd())
    places.make()
    journal = Journal(places.journal, mission=SLUG, run="r")
    for message in ("one", "two"):
        journal.write(NoteGiven(message=message))
    journal.close()
    places.journal.write_bytes(b"x\n" * 2)


def on_main() -> None:
    """Put the mission on its own branch, and check out main."""
    writes(f"kitty-specs/{SLUG}/meta.json", '{"target_branch": "work"}')()
    git(Path.cwd(), "add", "--all")
    git(Path.cwd(), "commit", "--quiet", "--message=mission")
    git(Path.cwd(), "checkout", "--quiet", "-b", "main")


@frozen(kw_only=True)
class Situation:
    """One mistake, with the words of the message."""

    words: tuple[str, ...]
    code: ExitCode = ExitCode.USAGE
    told: str
    before: Callable[[], None] = field(default=nothing)


SITUATIONS = {
    "folder does not exist": Situation(
        words=("status", "--repo-root=/nope"), told="--repo-root: /nope does not exist."
    ),
    "file in the place of a folder": Situation(
        words=("doctor", "--repo-root=README.md"), told="--repo-root: README.md is not a folder."
    ),
    "status before any run": Situation(
        words=("status",),
        before=two_missions,
        told=f"orchestrate MISSION. Missions here: 034-refund, {SLUG}",
    ),
    "resume before any run": Situation(
        words=("resume",), told="There is no mission in ", before=nothing
    ),
    "no mission": Situation(
        words=("orchestrate",),
        before=two_missions,
        told=f"Which mission? Name it as MISSION. Missions here: 034-refund, {SLUG}",
    ),
    "two missions": Situation(
        words=("orchestrate", "a", "--mission=b"),
        told="Two missions are given: a and --mission b. Name one.",
    ),
    "two missions, the other name of the flag": Situation(
        words=("status", "a", "--feature=b"),
        told="Two missions are given: a and --feature b. Name one.",
    ),
    "word too many": Situation(
        words=("status", "a", "b"),
        told="Unexpected argument: b. See `spec-kitty-orchestrator status --help`",
    ),
    "mistyped command": Situation(
        words=("orchestrat",), told='Unknown command "orchestrat". Did you mean "orchestrate"?'
    ),
    "mistyped flag": Situation(
        words=("orchestrate", "--merg"), told="Unknown option: --merg. Did you mean --merge?"
    ),
    "program instead of agent": Situation(
        words=("orchestrate", SLUG, "--impl-agent=claude"),
        told="Unknown agent 'claude'. Did you mean claude-code?",
    ),
    "unknown agent with a limit": Situation(
        words=(*RUN, "--max-per-agent=gemini=1"),
        told="--max-per-agent: unknown agent 'gemini'. Available: claude-code, codex, opencode",
    ),
    "quote not closed in the file": Situation(
        words=RUN,
        before=writes(TOML, 'merge = true\nactor = "me\n'),
        told='line 2 is not valid TOML: a quote is not closed. Correct this line: actor = "me',
    ),
    "unknown key in the file": Situation(
        words=RUN,
        before=writes(TOML, 'implementer = "codex"\n'),
        told="unknown setting 'implementer'. Did you mean impl_agent?",
    ),
    "policy does not exist": Situation(
        words=(*RUN, "--policy=nope.json"),
        told="or write one: spec-kitty-orchestrator policy init",
    ),
    "policy is not JSON": Situation(
        words=(*RUN, "--policy=p.json"),
        before=writes("p.json", "{"),
        told="p.json: the policy is not JSON: ",
    ),
    "policy with several mistakes": Situation(
        words=(*RUN, "--policy=p.json"),
        before=writes("p.json", '{"orchestrator_id": "my token", "orchestrator_version": 1}'),
        told="contains 'token', which hosts treat as a secret, also inside a word. Correct",
    ),
    "damaged journal": Situation(
        words=("status",),
        before=damaged_journal,
        told="is damaged: 2 lines cannot be read. 0 events were read from the copies",
    ),
    "protected branch": Situation(
        words=RUN, before=on_main, told="Check out the branch of the mission: git checkout work"
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS.keys())
def test_a_mistake_is_one_message_that_helps(
    host: Program, run: Command, situation: Situation
) -> None:
    """Each mistake is one message with the cause and the remedy; no lane changes."""
    situation.before()
    ended = run(*situation.words)
    assert ended.code == situation.code
    assert ended.out == ""
    assert ended.err.startswith("spec-kitty-orchestrator: ")
    assert situation.told in ended.err
    assert set(host.calls) <= {"contract-version"}


def test_the_same_mission_twice_is_no_mistake(host: Program, run: Command) -> None:
    """MISSION and --mission may be given together if they are equal."""
    assert run(*RUN, f"--mission={SLUG}", "--dry-run").code == ExitCode.DONE


def test_a_mission_of_the_word_wins_over_the_file(host: Program, run: Command) -> None:
    """MISSION wins over the settings file, as --mission does."""
    writes(TOML, "mission = 'other'\n")()
    assert f"Mission {SLUG} on contract" in run(*RUN, "--dry-run").out


def test_a_missing_host_ends_demo_as_it_ends_orchestrate(
    bare: Path, repo: Path, run: Command
) -> None:
    """Without a host, demo and orchestrate have the same exit code and name the installation."""
    codes = {run(*RUN, f"--repo-root={repo}").code, run("demo").code}
    assert codes == {ExitCode.HOST}


def test_a_missing_git_is_told(
    repo: Path, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A missing git is reported as such, and not as a missing repository."""
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    ended = run("status", f"--repo-root={repo}")
    assert ended.code == ExitCode.USAGE
    assert ended.err.endswith(": There is no program 'git' on PATH. Install git.\n")


def test_a_program_that_is_not_the_host_is_named(host: Program, run: Command) -> None:
    """For a program that is not the host, the message has its path, its output and a next call."""
    host.prints("hello\n")
    ended = run(*RUN)
    assert ended.code == ExitCode.HOST
    program = host.folder / "spec-kitty"
    assert f"{program} printed 'hello'" in ended.err
    assert ended.err.endswith(f"{program} orchestrator-api mission-state --mission={SLUG}\n")


def test_a_host_that_is_not_executable_is_named(host: Program, run: Command) -> None:
    """A host that is not executable is reported as such, and not as missing."""
    program = host.folder / "spec-kitty"
    program.chmod(0o644)
    ended = run(*RUN)
    assert ended.code == ExitCode.HOST
    assert f"{program} is not executable. Run: chmod +x {program}" in ended.err


def test_a_mission_on_another_branch_is_found(host: Program, run: Command) -> None:
    """The branch that has the mission is named, with the command that checks it out."""
    on_main()
    git(Path.cwd(), "checkout", "--quiet", "--orphan", "elsewhere")
    git(Path.cwd(), "rm", "-rf", "--quiet", "kitty-specs")
    git(Path.cwd(), "commit", "--quiet", "--message=bare")
    host.says("mission-state", {"message": "there is no such mission"}, "MISSION_NOT_FOUND")
    ended = run(*RUN)
    assert ended.code == ExitCode.USAGE
    assert "does not exist in kitty-specs/ on the branch that is checked out." in ended.err
    assert ended.err.endswith("Check out the branch of the mission: git checkout work\n")


def test_every_line_of_help_fits_80_columns(run: Command) -> None:
    """No help is wrapped in the middle of a default."""
    commands = ("orchestrate", "resume", "status", "abort", "agents", "policy", "doctor", "demo")
    pages = [run(*words, "--help").out for words in ((), *((name,) for name in commands))]
    lines = [line for page in pages for line in page.splitlines()]
    assert max(map(len, lines)) <= 80
    flags = [line for line in lines if line.startswith("  --")]
    assert len(flags) > 50
    assert all(line.count("[") == line.count("]") for line in flags)


@pytest.mark.parametrize("group", ["Mission:", "Agents:", "Limits:", "Finish:"])
def test_settings_are_grouped_by_subject(run: Command, group: str) -> None:
    """The help groups the settings by subject."""
    assert group in run("orchestrate", "--help").out.splitlines()


def test_no_message_names_attributes_of_python(host: Program, run: Command) -> None:
    """No message of the command line names attributes of Python objects."""
    for code in ("WP_ALREADY_CLAIMED", "PREFLIGHT_FAILED", "MISSION_NOT_READY"):
        host.says("mission-state", {"message": "no"}, code)
        assert "failure." not in run(*RUN).err
