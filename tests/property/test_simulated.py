"""Properties of the simulated host, for any sequence of calls."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict
from hypothesis import given
from hypothesis import strategies as st

from spec_kitty_client.api.spelling import spell
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import Lane, lanes_of, moves
from spec_kitty_client.testing import strategies
from spec_kitty_client.testing.host import Release, SimulatedHost
from spec_kitty_client.testing.host.store import _opened, make
from spec_kitty_client.testing.strategies import HostScript

every_dialect = pytest.mark.parametrize("dialect", list(Dialect))
READS = {"mission-state", "list-ready", "resolve-workspace", "contract-version"}
_HOST_ACTOR = "merge"  # the actor that a host records for its own moves


def host_of(script: HostScript) -> SimulatedHost:
    release = Release(str(script.contract.release))
    return SimulatedHost(dict(script.mission), release=release, slug=script.slug)


def ask(host: SimulatedHost, script: HostScript, command: Any) -> tuple[int | None, bytes]:
    done = host.run(spell(command, script.contract), time_limit=1)
    return done.exit_code, done.stdout


@every_dialect
@given(data=st.data())
def test_every_move_was_allowed_or_forced(dialect: Dialect, data: st.DataObject) -> None:
    """The simulated host moves a work package only from its lane, and as its release allows."""
    script = data.draw(strategies.host_scripts(dialect))
    host = host_of(script)
    for command in script.commands:
        ask(host, script, command)
    at = dict.fromkeys(script.mission, "planned")
    for move in host.mission.moves:
        assert move.before == at[move.wp]
        known = (Lane(move.before), Lane(move.after)) in moves(dialect)
        assert known or move.forced or move.actor == _HOST_ACTOR
        at[move.wp] = move.after
    assert at == host.lanes()
    assert set(at.values()) <= lanes_of(dialect)


@every_dialect
@given(data=st.data())
def test_what_is_refused_or_read_changes_nothing(dialect: Dialect, data: st.DataObject) -> None:
    """A read or a refused call does not change the board.

    A claim that is refused may leave its worktree: hosts from 3.2.2 on make that first.
    """
    script = data.draw(strategies.host_scripts(dialect))
    host = host_of(script)
    for command in script.commands:
        before = deepcopy(host.missions)
        made, unmerged = set(host.mission.branches), set(host.mission.unmerged)
        code, _ = ask(host, script, command)
        if code != 0 or command.verb in READS:
            after = deepcopy(host.missions)
            claims = command.verb in ("start-implementation", "transition")
            if claims and dialect.has(Feature.WORKTREES):
                after[host.mission.slug].branches = made
                after[host.mission.slug].unmerged = unmerged
            assert after == before


@every_dialect
@given(data=st.data())
def test_every_answer_is_one_envelope(dialect: Dialect, data: st.DataObject) -> None:
    """An answer's success agrees with the exit code, and its data is an object."""
    script = data.draw(strategies.host_scripts(dialect))
    host = host_of(script)
    for command in script.commands:
        code, stdout = ask(host, script, command)
        envelope = json.loads(stdout)
        assert envelope["success"] is (code == 0) is (envelope["error_code"] is None)
        assert isinstance(envelope["data"], dict)


@every_dialect
@given(data=st.data())
def test_a_state_is_read_as_it_was_written(
    dialect: Dialect, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A host restored from its folder is equal to the one that wrote it, after any call."""
    script = data.draw(strategies.host_scripts(dialect))
    folder: Path = tmp_path_factory.mktemp("host") / "host"
    release = str(script.contract.release)
    make(folder, dict(script.mission), release=release, slug=script.slug)
    memory = host_of(script)
    for command in script.commands:
        code, _ = ask(memory, script, command)
        with _opened(folder) as stored:
            assert ask(stored, script, command)[0] == code
    with _opened(folder) as stored:
        for missions in (stored.missions, memory.missions):
            for mission in missions.values():
                mission.accepted_at = None  # a time, and each host reads the clock itself
        assert asdict(stored.mission) == asdict(memory.mission)
