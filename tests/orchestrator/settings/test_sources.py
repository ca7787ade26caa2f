"""Tests of `spec_kitty_orchestrator.settings`."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as from_strategy
from hypothesis import strategies as st

from spec_kitty_client import MergeStrategy
from spec_kitty_orchestrator.errors import UsageProblem
from spec_kitty_orchestrator.settings import ENV_PREFIX, Order, Settings, Strategy
from spec_kitty_orchestrator.settings.sources import environment, journal, read, save, settings_file

MANY = {"codex": 2, "claude-code": 3}


def toml(root: Path, text: str) -> Path:
    """Write the settings file of a repository."""
    path = root / ".kittify" / "orchestrator.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def variable(name: str) -> str:
    """Return the name of a setting in the environment."""
    return ENV_PREFIX + name.upper()


def given(
    root: Path, environ: dict[str, str] | None = None, *words: str, file: bool = True
) -> dict[str, Any]:
    """Return the settings that differ from the defaults."""
    sources = [environment(environ or {}), *([settings_file(root)] if file else [])]
    made = read(*sources, words=words)
    return {k: v for k, v in attrs.asdict(made).items() if v != getattr(Settings(), k)}


def complaint(root: Path, environ: dict[str, str] | None = None, *words: str) -> str:
    """Return the message about invalid settings."""
    with pytest.raises(UsageProblem) as caught:
        given(root, environ, *words)
    return str(caught.value)


def test_flags_win_over_everything(tmp_path: Path) -> None:
    """A flag replaces the value of the environment and of the file."""
    toml(tmp_path, "max_rounds = 1\n")
    assert given(tmp_path, {variable("max_rounds"): "2"}, "--max-rounds=9") == {"max_rounds": 9}


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A variable replaces a key of the file; all other keys count."""
    toml(tmp_path, "max_rounds = 1\nactor = 'file'\n")
    found = given(tmp_path, {variable("max_rounds"): "2"})
    assert found == {"max_rounds": 2, "actor": "file"}


def test_a_flag_wins_over_its_default_in_the_file(tmp_path: Path) -> None:
    """A flag with the default value still replaces the file's value."""
    toml(tmp_path, "accept = false\nmax_rounds = 1\n")
    assert given(tmp_path, None, "--accept", "--max-rounds=3") == {}


def test_the_file_can_be_left_out(tmp_path: Path) -> None:
    """A settings file that is not among the sources is not read, not even for errors."""
    toml(tmp_path, "nonsense = 1\n")
    assert given(tmp_path, file=False) == {}


def test_there_need_be_no_file(tmp_path: Path) -> None:
    """A repository without a settings file has the defaults."""
    assert given(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_concurrent", "2", 2),
        ("agent_timeout", "1.5", 1.5),
        ("agent_timeout", "60", 60.0),
        ("accept", "no", False),
        ("accept", "", False),
        ("accept", "off", False),
        ("merge", "ON", True),
        ("merge", "yes", True),
        ("strategy", "squash", "squash"),
        ("policy", "p.json", Path("p.json")),
        ("target", "release", "release"),
        ("target", "none", "none"),
        ("host_timeout", "3", 3.0),
        ("max_implementing", "3", 3),
        ("order", "plan", Order.PLAN),
        ("max_per_agent", "codex=2", {"codex": 2}),
        ("max_per_agent", "codex=2, claude-code=3 script=1,", {**MANY, "script": 1}),
    ],
)
def test_text_becomes_the_type_of_the_setting(
    tmp_path: Path, name: str, text: str, value: object
) -> None:
    """Text of the environment is converted to the type of each setting."""
    found = given(tmp_path, {variable(name): text})[name]
    assert found == value
    assert type(found) is type(value)


def test_an_empty_variable_clears_the_limits_of_the_file(tmp_path: Path) -> None:
    """An empty variable removes the limits per agent of the file."""
    toml(tmp_path, "max_per_agent = {codex = 2}\n")
    assert given(tmp_path, {variable("max_per_agent"): ""}) == {}


@pytest.mark.parametrize(
    "words",
    [
        ("--max-per-agent=codex=2", "--max-per-agent=claude-code=3"),
        ("--max-per-agent", "codex=2,claude-code=3"),
    ],
)
def test_a_flag_may_be_repeated(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Limits of several agents are given in as many flags, or in one."""
    assert given(tmp_path, None, *words) == {"max_per_agent": MANY}


def test_the_file_has_a_table_for_agents(tmp_path: Path) -> None:
    """The limits per agent are a table in TOML, on one line or on several."""
    toml(tmp_path, "max_per_agent = {codex = 2, claude-code = 3}\n")
    assert given(tmp_path) == {"max_per_agent": MANY}
    toml(tmp_path, "[max-per-agent]\ncodex = 2\nclaude-code = 3\n")
    assert given(tmp_path) == {"max_per_agent": MANY}


@pytest.mark.parametrize("key", ["max_concurrent", "max-concurrent"])
def test_keys_of_the_file_may_be_spelled_like_flags(tmp_path: Path, key: str) -> None:
    """Dashes and underscores mean the same in the file."""
    toml(tmp_path, f"{key} = 2\n")
    assert given(tmp_path) == {"max_concurrent": 2}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_rounds", "many", "expected an integer, not 'many'"),
        ("max_rounds", "1.5", "expected an integer, not '1.5'"),
        ("accept", "maybe", "expected yes or no, not 'maybe'"),
        ("strategy", "octopus", "invalid value 'octopus'. Available: merge, squash, rebase"),
        ("heartbeat", "soon", "expected a finite number of seconds, not 'soon'"),
        ("order", "plann", "invalid value 'plann'. Did you mean plan? Available: longest-path, "),
        ("max_per_agent", "codex", "expected AGENT=NUMBER, for example codex=2, not 'codex'"),
        ("max_per_agent", "codex=many", "expected AGENT=NUMBER, for example codex=2, not "),
        ("max_per_agent", "codex=1=2", "expected AGENT=NUMBER, for example codex=2, not "),
    ],
)
def test_a_bad_variable_or_flag_is_named(
    tmp_path: Path, name: str, value: str, expected: str
) -> None:
    """An invalid value is named with the variable or the flag, as the user wrote it."""
    told = complaint(tmp_path, {variable(name): value})
    assert told.startswith(f"{variable(name)}: {expected}")
    if name != "accept":
        flag = "--" + name.replace("_", "-")
        assert complaint(tmp_path, None, flag, value).startswith(f"{flag}: {expected}")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("max_rounds = 1.5", "expected an integer, not 1.5"),
        ("max_rounds = true", "expected an integer, not True"),
        ("max_rounds = 'x'", "expected an integer, not 'x'"),
        ("accept = 1", "expected true or false, not 1"),
        ("actor = 1", "expected text, not 1"),
        ("actor = ['a']", "expected text, not ['a']"),
        ("strategy = 'octopus'", "invalid value 'octopus'. Available: merge, squash, rebase"),
        ("policy = {}", "expected text, not {}"),
        ("order = 1", "expected text, not 1"),
        ("max_per_agent = 2", "expected AGENT=NUMBER, for example codex=2, not 2"),
        ("max_per_agent = {codex = true}", "expected AGENT=NUMBER with a number of at least 1"),
        ("max_per_agent = [2]", "expected AGENT=NUMBER, for example codex=2, not [2]"),
        ("max-rounds = 'x'", "expected an integer, not 'x'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    """A value of the wrong type is named with the file and the key, as the user wrote them."""
    path = toml(tmp_path, line)
    key = line.partition(" ")[0]
    assert complaint(tmp_path).startswith(f"{path}: {key}: {expected}")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--max-rounds=1", "--max-rounds=2"), "--max-rounds is given twice. Leave one of them"),
        (("--max-rounds",), "--max-rounds needs a value."),
        (("--max-round=1",), "Unknown option: --max-round. Did you mean --max-rounds?"),
        (("extra",), "Unexpected argument: extra."),
    ],
)
def test_a_slip_on_the_command_line_is_named(
    tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    """A parse error is one sentence with the word that the user typed."""
    assert complaint(tmp_path, None, *words).startswith(expected)


SECONDS = ("agent_timeout", "host_timeout", "heartbeat")
every_time = pytest.mark.parametrize("name", SECONDS)


@every_time
@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "Infinity", "1e400", "0", "-1"])
def test_a_time_without_end_is_refused_in_the_environment(
    tmp_path: Path, name: str, text: str
) -> None:
    """An infinite time limit is refused, and the message names the variable."""
    told = complaint(tmp_path, {variable(name): text})
    assert told.startswith(f"{variable(name)}: expected a finite number of seconds above 0, not ")


@every_time
@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e400", "1" + "0" * 400])
def test_a_time_without_end_is_refused_in_the_file(tmp_path: Path, name: str, text: str) -> None:
    """Infinite and NaN values of TOML, and too large numbers, are refused."""
    path = toml(tmp_path, f"{name} = {text}\n")
    told = complaint(tmp_path)
    assert told.startswith(f"{path}: {name}: expected a finite number of seconds above 0, not ")


@every_time
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_time_without_end_is_refused_everywhere(tmp_path: Path, name: str, value: float) -> None:
    """A flag, the journal and `Settings` refuse an infinite time, and name the setting."""
    flag, why = "--" + name.replace("_", "-"), "expected a finite number of seconds above 0"
    assert complaint(tmp_path, None, f"{flag}={value}").startswith(f"{flag}: {why}, not {value}")
    with pytest.raises(UsageProblem, match=f"^the journal: {name}: {why}"):
        read(journal({name: value}))
    with pytest.raises(ValueError, match=f"^{name}: {why}, not {value}"):
        Settings(**{name: value})


@pytest.mark.parametrize("line", ["max_rounds = inf", "max_rounds = nan", "max_rounds = -inf"])
def test_a_count_without_end_is_refused(tmp_path: Path, line: str) -> None:
    """An infinite count is refused with a message and no traceback."""
    path = toml(tmp_path, line)
    assert complaint(tmp_path).startswith(f"{path}: max_rounds: expected an integer, not ")
    toml(tmp_path, "max_per_agent = {codex = inf}")
    assert complaint(tmp_path).endswith("not codex=inf")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("max_rouns", "max_rounds"),
        ("implementer", "impl_agent"),
        ("reviewer", "review_agent"),
        ("repo_root", None),
        ("repo-root", None),
        ("table.max_rounds", None),
    ],
)
def test_an_unknown_key_is_named(tmp_path: Path, key: str, meant: str | None) -> None:
    """An unknown key is named with the file, the nearest setting and all settings."""
    path = toml(tmp_path, f"{key} = 1\n")
    hint = f"Did you mean {meant}? " if meant else ""
    told = complaint(tmp_path)
    assert told.startswith(f"{path}: unknown setting '{key.partition('.')[0]}'. {hint}Available: ")
    assert "max_rounds" in told
    assert "repo_root," not in told


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("max_rounds = \n", "max_rounds =", "Invalid value"),
        ('merge = true\nactor = "me\npush = true\n', 'actor = "me', "a quote is not closed"),
        ('actor = "me', 'actor = "me', "a quote is not closed"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, line: str, reason: str) -> None:
    """A file that is not TOML is named with the line to correct."""
    path = toml(tmp_path, text)
    number = text.splitlines().index(next(x for x in text.splitlines() if x.startswith(line))) + 1
    assert complaint(tmp_path) == (
        f"{path}, line {number} is not valid TOML: {reason}. Correct this line: {line}"
    )


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """A byte order mark, which editors on Windows write, is accepted."""
    path = toml(tmp_path, "max_rounds = 1\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert given(tmp_path) == {"max_rounds": 1}


@pytest.mark.parametrize(
    ("line", "name", "found"),
    [
        ("policy = 'p.json'", "policy", "{root}/p.json"),
        ("policy = '../p.json'", "policy", "{above}/p.json"),
        ("policy = '/etc/p.json'", "policy", "/etc/p.json"),
        ("impl-agent = 'script:./a.sh --fast'", "impl_agent", "script:{root}/a.sh --fast"),
        ("review_agent = 'script:bin/a'", "review_agent", "script:{root}/bin/a"),
        ("review_agent = 'script:/bin/a x'", "review_agent", "script:/bin/a x"),
        ("impl_agent = 'script:python3 ./a.py'", "impl_agent", "script:python3 ./a.py"),
        ("impl_agent = 'codex'", "impl_agent", "codex"),
        ("actor = './a'", "actor", "./a"),
    ],
)
def test_a_path_in_the_file_starts_from_its_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, name: str, found: str
) -> None:
    """Relative paths in the file start from the repository, in any current folder."""
    toml(tmp_path, line + "\n")
    monkeypatch.chdir("/")
    expected = found.format(root=tmp_path, above=tmp_path.parent)
    assert str(given(tmp_path)[name]) == expected


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A settings file in another encoding, or a folder in its place, is one message."""
    path = toml(tmp_path, "")
    path.write_bytes(b"actor = '\xff'\n")
    assert "cannot be read" in complaint(tmp_path)
    path.unlink()
    path.mkdir()
    assert "cannot be read" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("max_concurrent", 0, "must be at least 1, not 0"),
        ("max_rounds", -1, "must be at least 0, not -1"),
        ("max_attempts", 0, "must be at least 1, not 0"),
        ("agent_timeout", 0.0, "expected a finite number of seconds above 0, not 0.0"),
        ("host_timeout", -1.0, "expected a finite number of seconds above 0, not -1.0"),
        ("max_implementing", 0, "must be at least 1, not 0"),
        ("max_reviewing", 0, "must be at least 1, not 0"),
        ("max_per_agent", {"codex": 0}, "expected AGENT=NUMBER with a number of at least 1"),
        ("max_per_agent", {"": 1}, "expected AGENT=NUMBER with a number of at least 1"),
    ],
)
def test_settings_made_in_python_have_the_same_ranges(name: str, value: object, why: str) -> None:
    """`Settings` made in Python checks the same ranges as the command line."""
    with pytest.raises(ValueError, match=f"^{name}: {re.escape(why)}"):
        Settings(**{name: value})


def test_strategies_are_those_of_the_sdk() -> None:
    """The repeated names of strategies are those of the SDK."""
    assert get_args(Strategy) == tuple(MergeStrategy)


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
    strategy=st.sampled_from(get_args(Strategy)),
    push=st.booleans(),
    max_rounds=st.integers(0, 99),
    max_attempts=st.integers(1, 99),
    agent_timeout=st.floats(0.1, 1e6),
    host_timeout=st.none() | st.floats(0.1, 1e6),
    heartbeat=st.floats(0.1, 1e6),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@from_strategy(made=SETTINGS)
def test_what_is_saved_can_be_restored(made: Settings) -> None:
    """A resumed run has exactly the settings of the run before."""
    saved = json.loads(json.dumps(save(made)))
    restored = read(journal(saved))
    assert attrs.evolve(restored, mission=made.mission, repo_root=made.repo_root) == made


def test_settings_that_are_no_more_are_forgotten() -> None:
    """Settings of an older journal that no longer exist are ignored."""
    assert read(journal({"max_rounds": 1, "colour": "red"})) == Settings(max_rounds=1)
