"""Tests of `spec_kitty_orchestrator.attempt`."""

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from spec_kitty_orchestrator.agents import KNOWN, Agent
from spec_kitty_orchestrator.attempt import (
    AttemptResult,
    end_strays,
    end_unknown_attempts,
    no_agent_left,
    run_attempt,
    unknown_attempts,
)
from spec_kitty_orchestrator.errors import StorageProblem, UsageProblem, WorkPackageFailed
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.runners import ExitRecord, LeftProcess, keeper, local
from spec_kitty_orchestrator.state.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptStopped,
    Claimed,
    Implemented,
    LaneReported,
    WarningGiven,
)
from spec_kitty_orchestrator.work_package import WorkPackageRun
from tests.orchestrator.hosts import SLUG
from tests.orchestrator.processes import eventually, gone, number_in
from tests.orchestrator.runners.agents import keeper_of
from tests.orchestrator.worlds import World, world

AGENT = """\
if number == 1:
    Path("one.pid").write_text(f"{os.getpid()}\\n")
    if Path("slow").exists():
        time.sleep(60)
print(wp, role, number, os.environ["SPEC_KITTY_MISSION"], prompt)
"""


@pytest.fixture
def w(repo: Path) -> World:
    """Return a world whose agent prints its prompt and environment in the repository."""
    made = world(repo, implement=AGENT, review=AGENT)
    made.write(Claimed(wp="WP01", workspace=str(repo), prompt="/p", base="b", target="work"))
    return made


def attempt(
    w: World, role: Role = "implement", prompt: str = "words", *, agent: Agent | None = None
) -> AttemptResult:
    """Run an attempt in a new run, with an agent of its own if one is given."""
    run = w.start(agent_timeout=60.0)
    if agent:
        run = evolve(run, agents={**run.agents, role: agent})

    async def told() -> str:
        return prompt

    try:
        return anyio.run(run_attempt, run, "WP01", role, told)
    finally:
        run.journal.close()


def started(role: Role, directory: Path) -> AttemptStarted:
    """Return the start of the first attempt."""
    return AttemptStarted(wp="WP01", role=role, number=1, agent="script", directory=str(directory))


def left(w: World, role: Role, *, code: str) -> Path:
    """Leave a running agent, as after the death of an orchestrator."""
    directory = w.log(1, role)
    w.write(started(role, directory))
    argv = (sys.executable, "-I", "-S", "-c", code)
    local.launch(
        local.AgentProcessSpec(
            directory=directory,
            argv=argv,
            cwd=w.root,
            env={},
            prompt="",
            time_limit=60.0,
            repository=w.root,
        )
    )
    return directory


def numbers(w: World) -> list[int]:
    """Return the numbers of the attempts that were started."""
    return [event.number for event in w.events(AttemptStarted)]


def test_an_agent_is_told_what_it_is_for(w: World) -> None:
    """The environment names role, mission, work package and attempt; stdin is the prompt."""
    result = attempt(w)
    assert result.text == "WP01 implement 1 pay-01ABCDEF words\n"
    assert result.failure is None
    assert (w.log(1, "implement") / "prompt.md").read_text() == "words"


def test_attempts_are_counted_over_both_roles(w: World) -> None:
    """Each attempt has a number and a folder of its own."""
    attempt(w)
    w.write(Implemented(wp="WP01", number=1, head="h"))
    assert attempt(w, "review").attempt.directory == str(w.log(2, "review"))


def test_an_agent_that_still_runs_is_picked_up(w: World) -> None:
    """After a crash of the orchestrator, the next one re-attaches to the running agent."""
    left(w, "implement", code="import time; time.sleep(0.3); print('early')")
    result = attempt(w)
    assert result.text == "early\n"
    assert numbers(w) == [1]


def test_an_agent_that_has_ended_meanwhile_is_read(w: World) -> None:
    """The result of an agent that ended without an orchestrator is used."""
    directory = left(w, "implement", code="print('early')")
    anyio.run(local.wait, directory)
    assert attempt(w).text == "early\n"
    assert numbers(w) == [1]


def test_an_agent_of_the_other_role_is_ended_first(w: World) -> None:
    """The agent of an earlier step is ended before one of the other role starts."""
    code = "import os, time; f = open('own.pid', 'w'); f.write(f'{os.getpid()}\\n'); f.close()\n"
    left(w, "implement", code=code + "time.sleep(60)")
    pid = number_in(w.root / "own.pid")
    assert attempt(w, "review").attempt.number == 2
    assert gone(pid)
    assert w.events(AttemptStopped)[0].reason == "stopped"


def test_a_run_that_was_lost_is_started_anew(w: World) -> None:
    """After a crash of the machine, the agent is started again."""
    w.write(started("implement", w.log(1, "implement")))
    assert attempt(w).attempt.number == 2
    assert w.events(AttemptStopped)[0].reason == "lost"


def unknown(w: World, code: str = "import time; time.sleep(60)") -> Path:
    """Leave a running agent that the journal does not know."""
    directory = left(w, "implement", code=code)
    for path in (w.files.journal, w.files.copy(SLUG)):
        path.unlink(missing_ok=True)
    return directory


def test_an_agent_that_the_journal_does_not_know_is_ended(w: World) -> None:
    """A live agent that the journal does not know is ended."""
    directory = unknown(w)
    run = w.start()
    anyio.run(end_unknown_attempts, run)
    run.journal.close()
    assert not local.is_alive(directory)
    (stopped,) = w.events(AttemptStopped)
    assert (stopped.wp, stopped.role, stopped.number) == ("WP01", "implement", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("removed", ["logs", "logs/pay-01ABCDEF/WP01", ""])
def test_an_agent_whose_folder_is_gone_is_ended(w: World, removed: str) -> None:
    """After `git clean -fdx` and the death of the keeper, no second agent starts beside it."""
    code = (
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "f = open('child.pid', 'w'); f.write(f'{child.pid}\\n'); f.close()\n"
        "time.sleep(60)"
    )
    directory = left(w, "implement", code=code)
    pid = number_in(w.root / "child.pid")
    os.kill(keeper_of(directory), signal.SIGKILL)
    assert eventually(lambda: not local.is_alive(directory))
    shutil.rmtree(w.root / ".kittify" / removed)
    run = w.start()
    anyio.run(end_strays, run)
    run.journal.close()
    assert eventually(partial(gone, pid))
    (warning,) = w.events(WarningGiven)
    assert f"ended the processes of agents whose folders were removed: {pid} (" in warning.message


def test_an_agent_whose_folder_is_there_is_no_stray(w: World) -> None:
    """The agents of all missions that can be re-attached to are left alone."""
    directory = left(w, "implement", code="import time; time.sleep(60)")
    run = w.start()
    anyio.run(end_strays, run)
    run.journal.close()
    assert local.is_alive(directory)
    assert w.events(WarningGiven) == []
    anyio.run(local.stop, directory)


def test_an_agent_that_the_journal_knows_is_left_alone(w: World) -> None:
    """An agent that can be re-attached to is not ended."""
    directory = left(w, "implement", code="import time; time.sleep(60)")
    run = w.start()
    anyio.run(end_unknown_attempts, run)
    run.journal.close()
    assert local.is_alive(directory)
    assert unknown_attempts(run.logs, run.history) == []
    anyio.run(local.stop, directory)


def attended(w: World, lane: str) -> list[bool]:
    """Return whether an agent that an earlier run left is alive during a run, and after it."""
    directory = left(w, "implement", code="import time; time.sleep(60)")
    w.write(LaneReported(wp="WP01", lane=lane))
    run, alive = w.start(), list[bool]()

    async def main() -> None:
        async with no_agent_left(run):
            alive.append(local.is_alive(directory))
        alive.append(local.is_alive(directory))

    anyio.run(main)
    run.journal.close()
    return alive


@pytest.mark.parametrize("lane", ["done", "canceled", "blocked", "planned"])
def test_an_agent_of_a_work_package_that_a_person_moved_is_ended_first(w: World, lane: str) -> None:
    """During the run and its merge no old agent writes in that worktree."""
    assert attended(w, lane) == [False, False]
    assert [e.reason for e in w.events(AttemptStopped)] == ["stopped"]


def test_an_agent_that_a_run_does_not_wait_for_is_ended_with_it(w: World) -> None:
    """A run ends an old agent whose work package never had a slot in it."""
    assert attended(w, "in_progress") == [True, False]


def test_a_turn_that_fails_ends_the_agent_that_it_did_not_reach(w: World) -> None:
    """Another work package gets the slot, so no agent may go on in it."""
    directory = left(w, "review", code="import time; time.sleep(60)")
    w.host.put("WP01", "for_review")
    w.host.faults["start-review"] = ["before", "before"]
    run = w.start()

    async def main() -> None:
        (wp,) = (await run.host.state()).work_packages
        with pytest.raises(WorkPackageFailed):
            await WorkPackageRun(run, wp).run_turn()

    anyio.run(main)
    run.journal.close()
    assert not local.is_alive(directory)
    assert [e.reason for e in w.events(AttemptStopped)] == ["stopped"]


def test_agents_are_ended_even_if_that_cannot_be_recorded(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves no agent alive."""

    def full(*_: object) -> None:
        raise StorageProblem("no space left on device")

    monkeypatch.setattr("spec_kitty_orchestrator.attempt._record_stop", full)
    with pytest.raises(StorageProblem):
        attended(w, "done")
    assert not local.is_alive(w.log(1, "implement"))


def test_an_agent_whose_start_is_lost_is_found_in_the_copy(w: World) -> None:
    """If only the journal has lost the start of an agent, the run re-attaches to it."""
    left(w, "implement", code="import time; time.sleep(0.3); print('early')")
    w.files.copy(SLUG).parent.mkdir(parents=True, exist_ok=True)
    w.files.copy(SLUG).write_bytes(w.files.journal.read_bytes())
    w.files.journal.write_bytes(b"x")
    assert attempt(w).text == "early\n"
    assert w.events(AttemptStopped) == []


def chosen_earlier(w: World, agent: str, setting: str, code: str) -> None:
    """Leave an ended agent that an earlier run has chosen."""
    directory = left(w, "implement", code=code)
    anyio.run(local.wait, directory)
    w.files.journal.unlink()
    w.write(evolve(started("implement", directory), agent=agent, setting=setting))


def test_an_earlier_agent_is_read_with_its_own_reader(w: World) -> None:
    """After `resume --impl-agent`, the earlier agent's output is read by its own reader."""
    answer = '{"type": "result", "result": "from claude", "is_error": false}'
    chosen_earlier(w, "claude-code", "claude-code", f"print({answer!r})")
    assert attempt(w).text == "from claude"


@pytest.mark.parametrize("setting", ["", "gone-agent"])
def test_an_earlier_agent_that_is_unknown_is_run_anew(w: World, setting: str) -> None:
    """The run of an unknown earlier agent is started again, and counts as no failure."""
    chosen_earlier(w, "gone-agent", setting, "print('early')")
    result = attempt(w)
    assert (result.failure, result.attempt.number) == (None, 2)
    assert [event.kind for event in w.events(AttemptFailed)] == []
    assert len(w.events(AttemptStopped)) == 1


def test_the_setting_of_the_agent_is_recorded(w: World) -> None:
    """The journal records the setting of each attempt's agent."""
    attempt(w)
    assert w.events(AttemptStarted)[0].setting == w.implementer


def test_the_log_of_a_work_package_is_no_link(w: World, tmp_path: Path) -> None:
    """No prompt is written through a log folder that is a symbolic link."""
    logs = w.log(1, "implement").parent
    logs.parent.mkdir(parents=True, exist_ok=True)
    logs.symlink_to(tmp_path)
    with pytest.raises(UsageProblem, match="symbolic link"):
        attempt(w)


def test_a_folder_that_is_there_is_not_used_again(w: World) -> None:
    """The files of an unrecorded attempt are kept."""
    w.log(1, "implement").mkdir(parents=True)
    assert attempt(w).attempt.number == 2


def test_a_program_that_is_not_there_is_a_failure(w: World) -> None:
    """A missing program is a failure that names it."""
    run = w.start()
    run.journal.close()
    agent = run.agents["implement"]
    vanished = evolve(agent, argv=lambda *_: ("/no/such/agent",))
    failure = attempt(w, agent=vanished).failure
    assert failure == "script could not be started: No such file or directory: /no/such/agent"


def test_the_intent_is_written_before_the_effect(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start of an attempt is in the journal before the agent is launched."""

    def dies(_process: local.AgentProcessSpec) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "launch", dies)
    with pytest.raises(KeyboardInterrupt):
        attempt(w)
    opened = w.history().running
    assert opened
    assert opened.directory == str(w.log(1, "implement"))


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("sys.exit(3)", "script ended with exit code 3; see "),
        ("sys.exit('one\\ntwo')", "script ended with exit code 1 (two); see "),
        ("os.kill(os.getpid(), 9)", "script was killed by signal 9; see "),
        ("sys.exit('x' * 5000)", "script ended with exit code 1 (" + "x" * 300 + "...); see "),
    ],
)
def test_a_failure_says_how_it_ended_and_where_to_look(w: World, body: str, failure: str) -> None:
    """The reason is short, has the agent's last words, and names the folder of the attempt."""
    (w.root.parent / "implement.py").write_text("import os, sys\n" + body)
    assert attempt(w).failure == failure + str(w.log(1, "implement"))


def test_the_words_of_a_failed_run_are_kept(w: World) -> None:
    """The answer of a failed run is kept, because it may hold a verdict."""
    (w.root.parent / "implement.py").write_text("import sys\nprint('words')\nsys.exit(1)")
    result = attempt(w)
    assert result.text == "words\n"
    assert result.failure


def test_an_agent_that_says_that_it_failed_has(w: World) -> None:
    """An error in the output is a failure, also with exit code 0."""
    line = '{"type": "result", "is_error": true, "result": "no\\ncredit"}'
    (w.root.parent / "implement.py").write_text(f"print({line!r})")
    run = w.start()
    run.journal.close()
    agent = evolve(KNOWN["claude-code"], argv=run.agents["implement"].argv)
    assert attempt(w, agent=agent).failure == f"claude-code: no credit; see {w.log(1, 'implement')}"


def test_an_agent_without_an_answer_is_told_with_its_exit_code(w: World) -> None:
    """For an agent without an answer, the failure has the exit code and the last line of stderr."""
    (w.root.parent / "implement.py").write_text("import sys\nsys.exit('no network')")
    run = w.start()
    run.journal.close()
    agent = evolve(KNOWN["claude-code"], argv=run.agents["implement"].argv)
    told = "claude-code ended with exit code 1 (its output has no result; no network); see "
    assert attempt(w, agent=agent).failure == told + str(w.log(1, "implement"))


def test_the_files_of_an_attempt_have_their_names(w: World) -> None:
    """The documentation names these files, and users open them."""
    directory = Path(attempt(w).attempt.directory)
    names = {path.name for path in directory.iterdir()}
    assert names >= {keeper.PROMPT, keeper.OUTPUT, keeper.ERRORS, keeper.EXIT}


def test_processes_that_an_agent_leaves_are_named(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that could not be ended is in a warning, with the command that ends it."""
    left = LeftProcess(pid=77, command="mysqld", why="it belongs to another user")
    plain_wait = local.wait

    async def wait(directory: Path) -> ExitRecord:
        return evolve(await plain_wait(directory), left=(left,))

    monkeypatch.setattr(local, "wait", wait)
    assert attempt(w).failure is None
    (warning,) = w.events(WarningGiven)
    assert warning.message == (
        "WP01: the agent has left process 77 (mysqld): it belongs to another user. End it with: "
        "sudo kill -9 77"
    )
