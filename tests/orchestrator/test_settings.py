"""Tests of `spec_kitty_orchestrator.settings`."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spec_kitty_client import MergeStrategy
from spec_kitty_orchestrator import settings as config
from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.settings import Order, Settings

NEEDED: dict[str, Any] = {
    "mission": "m",
    "repo_root": Path("/r"),
    "impl_agent": "a",
    "review_agent": "b",
}
MANY = {"codex": 2, "claude-code": 3}


def toml(root: Path, text: str) -> Path:
    """Write the settings file of a repository."""
    path = root / ".kittify" / "orchestrator.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def variable(name: str) -> str:
    """Return the name of a setting in the environment."""
    return config.ENV_PREFIX + name.upper()


def test_flags_win_over_everything(tmp_path: Path) -> None:
    """A flag replaces what the environment and the file say."""
    toml(tmp_path, "max_rounds = 1\n")
    found = config.load({"max_rounds": 3}, tmp_path, {variable("max_rounds"): "2"})
    assert found == {"max_rounds": 3}


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A variable replaces a line of the file; a flag that is not given replaces nothing."""
    toml(tmp_path, "max_rounds = 1\nactor = 'file'\n")
    found = config.load({"max_rounds": None}, tmp_path, {variable("max_rounds"): "2"})
    assert found == {"max_rounds": 2, "actor": "file"}


def test_defaults_fill_the_rest() -> None:
    """A setting that nobody gave has its default."""
    made = config.make({**NEEDED, "max_rounds": 7})
    assert (made.max_rounds, made.max_attempts, made.merge) == (7, 2, False)


def test_the_file_can_be_left_out(tmp_path: Path) -> None:
    """A resumed run takes the settings of its first run and not the file's of today."""
    toml(tmp_path, "nonsense = 1\n")
    assert config.load({}, tmp_path, {}, use_file=False) == {}


def test_there_need_be_no_file(tmp_path: Path) -> None:
    """A repository without a settings file is usual."""
    assert config.load({}, tmp_path, {}) == {}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_concurrent", "2", 2),
        ("agent_timeout", "1.5", 1.5),
        ("agent_timeout", "60", 60.0),
        ("accept", "no", False),
        ("merge", "ON", True),
        ("push", "", False),
        ("strategy", "squash", MergeStrategy.SQUASH),
        ("policy", "p.json", Path("p.json")),
        ("target", "release", "release"),
        ("host_timeout", "3", 3.0),
        ("max_implementing", "3", 3),
        ("order", "plan", Order.PLAN),
        ("max_per_agent", "codex=2", {"codex": 2}),
        ("max_per_agent", "codex=2, claude-code=3 script=1,", {**MANY, "script": 1}),
        ("max_per_agent", "", {}),
    ],
)
def test_text_stands_for_any_kind(tmp_path: Path, name: str, text: str, value: object) -> None:
    """What the environment gives as text becomes the setting's own kind."""
    found = config.load({}, tmp_path, {variable(name): text})[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("words", [["codex=2", "claude-code=3"], ["codex=2,claude-code=3"]])
def test_a_flag_may_be_repeated(tmp_path: Path, words: list[str]) -> None:
    """Limits of several agents are given in as many flags, or in one."""
    assert config.load({"max_per_agent": words}, tmp_path, {}) == {"max_per_agent": MANY}


def test_the_file_has_a_table_for_agents(tmp_path: Path) -> None:
    """What is a list of words elsewhere is a table in TOML, on one line or on several."""
    toml(tmp_path, "max_per_agent = {codex = 2, claude-code = 3}\n")
    assert config.load({}, tmp_path, {}) == {"max_per_agent": MANY}
    toml(tmp_path, "[max-per-agent]\ncodex = 2\nclaude-code = 3\n")
    assert config.load({}, tmp_path, {}) == {"max_per_agent": MANY}


@pytest.mark.parametrize("key", ["max_concurrent", "max-concurrent"])
def test_keys_of_the_file_may_be_spelled_like_flags(tmp_path: Path, key: str) -> None:
    """Dashes and underscores mean the same in the file."""
    toml(tmp_path, f"{key} = 2\n")
    assert config.load({}, tmp_path, {}) == {"max_concurrent": 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_rounds", "many"),
        ("accept", "maybe"),
        ("strategy", "octopus"),
        ("heartbeat", "soon"),
        ("order", "shortest"),
        ("max_per_agent", "codex"),
        ("max_per_agent", "codex=many"),
        ("max_per_agent", "codex=1=2"),
    ],
)
def test_a_bad_variable_is_named(tmp_path: Path, name: str, value: str) -> None:
    """A variable that cannot be understood is named with its value."""
    with pytest.raises(UsageProblem) as caught:
        config.load({}, tmp_path, {variable(name): value})
    assert str(caught.value).startswith(f"{variable(name)}: {value!r} is not of the kind ")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("max_rounds = 1.5", "1.5"),
        ("max_rounds = true", "True"),
        ("max_rounds = 'x'", "'x'"),
        ("accept = 1", "1"),
        ("actor = 1", "1"),
        ("actor = ['a']", "['a']"),
        ("strategy = 'octopus'", "'octopus'"),
        ("policy = {}", "{}"),
        ("order = 1", "1"),
        ("max_per_agent = 2", "2"),
        ("max_per_agent = {codex = true}", "{'codex': True}"),
        ("max_per_agent = [2]", "[2]"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, shown: str) -> None:
    """A value of the wrong kind is named with the file, the key and the value."""
    path = toml(tmp_path, line)
    with pytest.raises(UsageProblem) as caught:
        config.load({}, tmp_path, {})
    key = line.partition(" ")[0]
    assert str(caught.value).startswith(f"{path}: {key}: {shown} is not of the kind ")


def test_a_bad_flag_is_named(tmp_path: Path) -> None:
    """A flag's value that cannot be understood is named as it was typed, with the choices."""
    with pytest.raises(UsageProblem, match=r"--strategy: 'x' is not .* merge\|squash\|rebase"):
        config.load({"strategy": "x"}, tmp_path, {})


SECONDS = ("agent_timeout", "host_timeout", "heartbeat")
every_time = pytest.mark.parametrize("name", SECONDS)


@every_time
@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "Infinity", "1e400"])
def test_a_time_without_end_is_refused_in_the_environment(
    tmp_path: Path, name: str, text: str
) -> None:
    """No limit is no limit by mistake: the variable is named, and no run begins."""
    with pytest.raises(UsageProblem) as caught:
        config.load({}, tmp_path, {variable(name): text})
    assert str(caught.value) == (
        f"{variable(name)}: {text!r} is not of the kind finite number of seconds"
    )


@every_time
@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e400", "1" + "0" * 400])
def test_a_time_without_end_is_refused_in_the_file(tmp_path: Path, name: str, text: str) -> None:
    """TOML has words of its own for them, and numbers too large for any clock."""
    path = toml(tmp_path, f"{name} = {text}\n")
    with pytest.raises(UsageProblem) as caught:
        config.load({}, tmp_path, {})
    assert str(caught.value).startswith(f"{path}: {name}: ")
    assert str(caught.value).endswith(" is not of the kind finite number of seconds")


@every_time
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_time_without_end_is_refused_everywhere(tmp_path: Path, name: str, value: float) -> None:
    """A flag, a journal and the settings themselves refuse it, each by the setting's name."""
    flag = "--" + name.replace("_", "-")
    with pytest.raises(UsageProblem, match=f"^{flag}: {value} is not of the kind finite number"):
        config.load({name: value}, tmp_path, {})
    with pytest.raises(UsageProblem, match=f"^the journal: {name}: {value} is not of the kind"):
        config.restore({name: value})
    with pytest.raises(UsageProblem, match=f"'{name}' must be .*: {value}"):
        config.make({**NEEDED, name: value})


@pytest.mark.parametrize("line", ["max_rounds = inf", "max_rounds = nan", "max_rounds = -inf"])
def test_a_count_without_end_is_refused(tmp_path: Path, line: str) -> None:
    """An endless number of rounds is a message and no traceback."""
    path = toml(tmp_path, line)
    with pytest.raises(UsageProblem) as caught:
        config.load({}, tmp_path, {})
    assert str(caught.value).startswith(f"{path}: max_rounds: ")
    toml(tmp_path, "max_per_agent = {codex = inf}")
    with pytest.raises(UsageProblem, match=r"max_per_agent: \{'codex': inf\} is not of the kind"):
        config.load({}, tmp_path, {})


@pytest.mark.parametrize("key", ["max_rouns", "repo_root", "repo-root", "table.max_rounds"])
def test_an_unknown_key_is_named(tmp_path: Path, key: str) -> None:
    """A key that is no setting is named with the file, and with the keys that there are."""
    path = toml(tmp_path, f"{key} = 1\n")
    with pytest.raises(UsageProblem) as caught:
        config.load({}, tmp_path, {})
    assert f"{path}: there is no setting '{key.partition('.')[0]}'" in str(caught.value)
    assert "max_rounds" in str(caught.value)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """A file that is no TOML is named with the place where it breaks."""
    path = toml(tmp_path, "max_rounds = \n")
    with pytest.raises(UsageProblem, match="line 1") as caught:
        config.load({}, tmp_path, {})
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A settings file in another encoding, or a folder in its place, is one message."""
    path = toml(tmp_path, "")
    path.write_bytes(b"actor = '\xff'\n")
    with pytest.raises(UsageProblem, match="cannot be read"):
        config.load({}, tmp_path, {})
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageProblem, match="cannot be read"):
        config.load({}, tmp_path, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_concurrent", 0),
        ("max_rounds", -1),
        ("max_attempts", 0),
        ("agent_timeout", 0.0),
        ("host_timeout", -1.0),
        ("heartbeat", float("nan")),
        ("max_implementing", 0),
        ("max_reviewing", 0),
        ("max_per_agent", 0),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: float) -> None:
    """A number that makes no sense is named with its setting."""
    given = {"codex": value} if name == "max_per_agent" else value
    with pytest.raises(UsageProblem) as caught:
        config.make({**NEEDED, name: given})
    assert f"'{name}'" in str(caught.value)
    assert str(value) in str(caught.value)


def test_a_mission_is_needed() -> None:
    """Without a mission nothing is guessed, and the message says how to find one."""
    with pytest.raises(UsageProblem, match="--mission"):
        config.make({**NEEDED, "mission": None})


TEXT = st.text(min_size=1, max_size=20)
SETTINGS = st.builds(
    Settings,
    mission=TEXT,
    repo_root=st.just(Path("/r")),
    impl_agent=TEXT,
    review_agent=TEXT,
    max_concurrent=st.integers(1, 99),
    max_implementing=st.none() | st.integers(1, 99),
    max_reviewing=st.none() | st.integers(1, 99),
    max_per_agent=st.dictionaries(TEXT, st.integers(1, 99), max_size=3),
    order=st.sampled_from(Order),
    actor=TEXT,
    policy=st.none() | st.sampled_from([Path("p.json"), Path("/a/b c.json")]),
    accept=st.booleans(),
    merge=st.booleans(),
    target=st.none() | TEXT,
    strategy=st.sampled_from(MergeStrategy),
    push=st.booleans(),
    max_rounds=st.integers(0, 99),
    max_attempts=st.integers(1, 99),
    agent_timeout=st.floats(0.1, 1e6),
    host_timeout=st.none() | st.floats(0.1, 1e6),
    heartbeat=st.floats(0.1, 1e6),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(made=SETTINGS)
def test_what_is_saved_can_be_restored(made: Settings) -> None:
    """A resumed run has exactly the settings of the run before."""
    assert config.make(config.restore(json.loads(json.dumps(config.save(made))))) == made


def test_settings_that_are_no_more_are_forgotten() -> None:
    """A journal of an older release may name settings that this one does not have."""
    assert config.restore({"max_rounds": 1, "colour": "red"}) == {"max_rounds": 1}
