"""Tests of `spec_kitty_client.api.envelope`."""

import json
import time
from typing import Any

import pytest

from spec_kitty_client.api.commands import (
    Command,
    MergeMission,
    MissionState,
    StartImplementation,
    Transition,
)
from spec_kitty_client.api.envelope import conclude, find
from spec_kitty_client.api.spelling import names_of
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.codes import ErrorCode, UnknownErrorCode
from spec_kitty_client.errors import (
    Conflict,
    EnvironmentProblem,
    HostCannotStart,
    HostCrashed,
    HostRejected,
    HostTimeout,
    IntegrationFailed,
    ProtocolError,
    UsageRejected,
)
from tests.client.answers import completed, envelope, line, refusal, success

STATE = MissionState(mission="pay")
MERGE = MergeMission(mission="pay")
START = StartImplementation(mission="pay", wp="WP01", actor="ada", policy=None)
MOVE = Transition(mission="pay", wp="WP01", to="done", actor="ada")
SEVEN = list(envelope("mission-state"))


def test_a_success_gives_the_reply_and_its_envelope() -> None:
    """`conclude` returns the reply, and the envelope that it came in."""
    reply, found = conclude(STATE, success("mission-state"))

    assert reply.mission_slug == "pay-01ABCDEF"
    assert found.contract_version == "1.5.0"
    assert found.correlation_id == "corr-1"
    assert found.success is True


def test_the_lines_of_git_are_not_in_the_way() -> None:
    """The SDK finds the envelope of a merge after the lines that git printed."""
    stdout = b"Deleted branch kitty/a (was 1a3).\nDeleted branch kitty/b (was 50f).\n"
    reply, _ = conclude(MERGE, completed(stdout + line("merge-mission")))

    assert reply.merged is True


def test_what_comes_after_the_envelope_is_not_in_the_way() -> None:
    """The SDK finds an envelope that other lines follow, and returns those as the rest."""
    found, rest = find("before\n" + line("mission-state").decode() + "after\n{}\n[1]\n")

    assert found is not None
    assert found.command == "orchestrator-api.mission-state"
    assert rest == "before\nafter\n{}\n[1]"


def test_the_last_envelope_counts() -> None:
    """Of two envelopes in the output the SDK takes the last one."""
    first = line("mission-state", correlation_id="old")
    found, rest = find((first + line("mission-state", correlation_id="new")).decode())

    assert found is not None
    assert found.correlation_id == "new"
    assert "old" in rest


def pretty(verb: str, indent: int = 2, **changes: Any) -> str:
    """Return an envelope as a wrapper may print it, over several lines."""
    return json.dumps(envelope(verb, **changes), indent=indent) + "\n"


@pytest.mark.parametrize("indent", [0, 1, 2, 4])
@pytest.mark.parametrize("margin", ["", "  ", "\n \n"])
def test_an_envelope_over_several_lines_is_understood(indent: int, margin: str) -> None:
    """The SDK reads an envelope that a wrapper, such as jq, printed over several lines."""
    found, rest = find(margin + pretty("mission-state", indent) + margin)

    assert found is not None
    assert found.data == envelope("mission-state")["data"]
    assert rest.strip() == ""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_around_an_envelope_over_several_lines_are_kept(end: str) -> None:
    """The SDK finds a pretty-printed envelope between other lines, and returns those."""
    text = f"Deleted branch x.\n{pretty('merge-mission')}{{}}\n[1]\n".replace("\n", end)
    found, rest = find(text)

    assert found is not None
    assert found.command == "orchestrator-api.merge-mission"
    assert rest.split() == ["Deleted", "branch", "x.", "{}", "[1]"]


def test_the_last_envelope_over_several_lines_counts() -> None:
    """Of two pretty-printed envelopes the SDK takes the last one."""
    text = pretty("mission-state", correlation_id="old") + pretty("mission-state")
    found, rest = find(text)

    assert found is not None
    assert found.correlation_id == "corr-1"
    assert json.loads(rest)["correlation_id"] == "old"


def test_an_envelope_on_one_line_wins_over_one_on_several() -> None:
    """The SDK prefers an envelope on one line, as hosts print it, to one on several lines."""
    found, rest = find(line("mission-state").decode() + pretty("list-ready"))

    assert found is not None
    assert found.command == "orchestrator-api.mission-state"
    assert json.loads(rest) == envelope("list-ready")


@pytest.mark.parametrize("after", ["}", ";", " {}", '"'])
def test_more_on_the_last_line_of_an_envelope_makes_it_none(after: str) -> None:
    """The SDK finds no envelope where more text follows on its last line."""
    text = pretty("mission-state").rstrip() + after

    assert find(text) == (None, text)


def test_an_envelope_within_another_object_is_no_answer() -> None:
    """The SDK does not take an envelope within another object for the answer."""
    text = json.dumps({"log": [envelope("mission-state")] * 2}, indent=2)

    assert find(text) == (None, text)


def test_a_refusal_over_several_lines_is_a_refusal() -> None:
    """A pretty-printed refusal raises the error of its code."""
    with pytest.raises(HostRejected) as e:
        conclude(MOVE, completed(pretty("transition", code="WP_NOT_FOUND").encode(), exit_code=1))

    assert e.value.code is ErrorCode.WP_NOT_FOUND
    assert e.value.outcome == "not_applied"
    assert e.value.failure.stdout == ""


def test_megabytes_that_begin_like_an_envelope_are_read_in_linear_time() -> None:
    """The SDK does not parse hostile output once for each of its lines."""
    text = '{"a":[\n' * 900 + "1,\n" * 10**6
    begun = time.process_time()

    assert find(text) == (None, text)
    assert time.process_time() - begun < 10  # seconds; 900 parses take more than a minute


@pytest.mark.parametrize("key", SEVEN)
def test_an_object_without_one_of_the_keys_is_no_envelope(key: str) -> None:
    """An object without all seven keys is not an envelope."""
    raw = envelope("mission-state")
    del raw[key]

    assert find(json.dumps(raw))[0] is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("contract_version", 1.5),
        ("command", None),
        ("timestamp", 0),
        ("correlation_id", ["corr"]),
        ("success", 1),
        ("success", None),
        ("error_code", 7),
        ("data", None),
        ("data", []),
    ],
)
def test_a_key_of_the_wrong_type_makes_no_envelope(key: str, value: object) -> None:
    """An object whose keys have other types than in the contract is not an envelope."""
    assert find(json.dumps({**envelope("mission-state"), key: value}))[0] is None


def test_further_keys_do_no_harm() -> None:
    """An envelope may have further keys."""
    found, _ = find(json.dumps({**envelope("mission-state"), "trace": "x"}))

    assert found is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "{",
        "{}",
        "[]",
        "null",
        "{" * 50_000,
        '{"a":' * 50_000,
        '{"a":' + "1" * 5000 + "}",
    ],
    ids=range(9),
)
def test_a_text_without_an_envelope_comes_back_whole(text: str) -> None:
    """The parser returns hostile text unchanged, and raises nothing."""
    assert find(text) == (None, text)


def test_no_answer_in_time_is_a_timeout() -> None:
    """HostTimeout names the time limit in seconds, and keeps the output so far."""
    with pytest.raises(HostTimeout, match=r"within 2\.5 s") as e:
        conclude(STATE, completed(b"half an ans", exit_code=None, time_limit=2.5))

    assert e.value.failure.stdout == "half an ans"
    assert e.value.failure.exit_code is None


def test_an_answer_of_a_host_that_would_not_end_is_a_timeout() -> None:
    """A mutation that printed a success and then hung has an unknown outcome."""
    with pytest.raises(HostTimeout) as e:
        conclude(MOVE, completed(line("transition"), exit_code=None))

    assert e.value.outcome == "unknown"


def test_a_timeout_keeps_the_answer_that_was_printed() -> None:
    """The error of a timeout has all output of the host, an envelope included."""
    with pytest.raises(HostTimeout) as e:
        conclude(MOVE, completed(line("transition"), exit_code=None))

    kept = e.value.failure
    assert kept.correlation_id == "corr-1" or "corr-1" in kept.stdout


@pytest.mark.parametrize(
    ("stdout", "stderr", "exit_code", "text"),
    [
        (b"", b"", 1, "printed nothing (exit code 1)"),
        (b"hello\n", b"", 0, "invalid response (exit code 0): spec-kitty printed 'hello'"),
        (b"x" * 99, b"", 0, "printed '" + "x" * 80 + "...'"),
        (b"", b"Traceback\n  x\nStoreError: bad line\n\n", 1, "StoreError: bad line"),
        (b"", b"\xff\xfe broken\n", 1, "broken"),
        (b"", b"", -9, "exit code -9"),
    ],
)
def test_no_answer_is_told_with_what_was_seen(
    stdout: bytes, stderr: bytes, exit_code: int, text: str
) -> None:
    """ProtocolError shows the output, the last line of a traceback, or else the exit code."""
    with pytest.raises(ProtocolError) as e:
        conclude(STATE, completed(stdout, exit_code=exit_code, stderr=stderr))

    assert text in str(e.value)


@pytest.mark.parametrize(
    ("exit_code", "text"),
    [(4, "run `spec-kitty upgrade`"), (5, "upgrade spec-kitty-cli"), (6, "restore .kittify")],
)
def test_the_gate_of_a_project_says_what_to_do(exit_code: int, text: str) -> None:
    """Exit codes 4 to 6 without an envelope say what to do, and that nothing was done."""
    with pytest.raises(EnvironmentProblem) as e:
        conclude(MOVE, completed(exit_code=exit_code, stderr=b"This project ...\n"))

    assert text in str(e.value)
    assert e.value.outcome == "not_applied"
    assert e.value.retryable is False


BOX = """\
Usage: spec-kitty orchestrator-api [OPTIONS] COMMAND [ARGS]...
Try 'spec-kitty orchestrator-api --help' for help.
╭─ Error ───────────────────────────╮
│ No such command 'mission-state'.  │
╰───────────────────────────────────╯
"""


@pytest.mark.parametrize(
    "stderr",
    [BOX, "Usage: spec-kitty ...\n\nError: No such command 'mission-state'.\n"],
    ids=["box", "plain"],
)
def test_prose_of_the_option_parser_is_a_usage_error(stderr: str) -> None:
    """The SDK reads the prose of the option parser, up to 3.1.0, as USAGE_ERROR."""
    with pytest.raises(UsageRejected, match="No such command 'mission-state'") as e:
        conclude(MOVE, completed(exit_code=2, stderr=stderr.encode()))

    assert e.value.code is ErrorCode.USAGE_ERROR
    assert e.value.outcome == "not_applied"
    assert e.value.retryable is False


def test_exit_code_2_without_a_word_is_no_answer() -> None:
    """Exit code 2 without output is not taken for a usage error."""
    with pytest.raises(ProtocolError, match=r"printed nothing \(exit code 2\)"):
        conclude(STATE, completed(exit_code=2))


CRASH = """\
Traceback (most recent call last):
  File "/host/bin/spec-kitty", line 8, in <module>
    sys.exit(main())
  File "/host/specify_cli/orchestrator_api/commands.py", line 700, in transition
    raise ValueError(lane)
ValueError: unknown lane
"""
IMPORT_CRASH = """\
Traceback (most recent call last):
  File "/host/bin/spec-kitty", line 5, in <module>
    from specify_cli import main
  File "/host/specify_cli/__init__.py", line 60, in <module>
    from typer.core import Missing
AttributeError: module 'typer' has no attribute 'rich_utils'
"""
LATE_IMPORT_CRASH = """\
Traceback (most recent call last):
  File "/host/bin/spec-kitty", line 8, in <module>
    sys.exit(main())
  File "/host/click/core.py", line 1442, in invoke
    return callback()
  File "/host/specify_cli/merge.py", line 3, in <module>
    import nothing
ModuleNotFoundError: No module named 'nothing'
"""


@pytest.mark.parametrize("stderr", [CRASH, LATE_IMPORT_CRASH], ids=["in a call", "late import"])
def test_a_traceback_of_a_call_is_a_crash_with_an_unknown_outcome(stderr: str) -> None:
    """A traceback of a call raises HostCrashed with an unknown outcome."""
    with pytest.raises(HostCrashed) as e:
        conclude(MOVE, completed(exit_code=1, stderr=stderr.encode()))

    assert type(e.value) is HostCrashed
    assert e.value.outcome == "unknown"
    assert stderr.splitlines()[-1] in str(e.value)


def test_a_host_that_does_not_start_has_done_nothing() -> None:
    """A traceback while the host loads, as with a new typer, raises HostCannotStart."""
    with pytest.raises(HostCannotStart, match=r"typer<0\.26") as e:
        conclude(MOVE, completed(exit_code=1, stderr=IMPORT_CRASH.encode()))

    assert e.value.outcome == "not_applied"
    assert e.value.retryable is False


@pytest.mark.parametrize(
    ("verb", "old", "new"),
    [
        ("feature-state", "feature_slug", "mission_slug"),
        ("mission-state", "mission_slug", "mission_slug"),
    ],
)
def test_the_words_of_old_hosts_are_understood(verb: str, old: str, new: str) -> None:
    """The names of hosts up to 3.0.3, such as feature_slug, are read as the newest ones."""
    data = {old: "001-pay", "summary": {"planned": 1}, "work_packages": []}
    reply, _ = conclude(STATE, success(verb, data, version="1.0.0"))

    assert getattr(reply, new) == "001-pay"
    assert reply.extra == {}


def test_the_total_of_the_oldest_hosts_is_no_lane() -> None:
    """The SDK takes the total_work_packages of 1.0.x out of the summary of lanes."""
    summary = {"planned": 1, "done": 1, "total_work_packages": 2}
    data = {"feature_slug": "001-pay", "summary": summary, "work_packages": []}
    reply, _ = conclude(STATE, success("feature-state", data, version="1.0.0"))

    assert reply.summary == {"planned": 1, "done": 1}
    assert reply.extra == {"total_work_packages": 2}


def test_a_merge_may_answer_under_its_newest_name() -> None:
    """The SDK accepts a merge's answer as consolidate-mission, its name since 4.0.0rc5."""
    data = envelope("merge-mission")["data"]
    reply, _ = conclude(MERGE, success("consolidate-mission", data, version="1.16.0"))

    assert reply.merged is True


def test_an_error_code_raises_its_class_with_all_the_facts() -> None:
    """The error of a refusal has the data of the envelope and the facts of the call."""
    data = {"message": "WP01 is claimed", "claimed_by": "bob", "requesting_actor": "ada"}
    with pytest.raises(Conflict) as e:
        conclude(START, refusal("start-implementation", "WP_ALREADY_CLAIMED", data))

    known = e.value.failure
    assert known.data["claimed_by"] == "bob"
    assert known.verb == "start-implementation"
    assert known.mutates is True
    assert known.exit_code == 1
    assert known.argv == ("spec-kitty", "orchestrator-api")
    assert (known.correlation_id, known.contract_version) == ("corr-1", "1.5.0")
    assert known.message == "WP01 is claimed"


def test_the_details_of_a_failed_merge_are_in_the_text() -> None:
    """The text of a failed merge has the host's list of errors after its message."""
    data = {"message": "Merge failed", "errors": ["CONFLICT in a.txt\n", "CONFLICT in b.txt"]}
    with pytest.raises(IntegrationFailed, match=r"Merge failed: CONFLICT in a\.txt: CONFLICT in b"):
        conclude(MERGE, refusal("merge-mission", "PREFLIGHT_FAILED", data))


@pytest.mark.parametrize("data", [{}, {"message": None}, {"message": 3, "errors": "x"}])
def test_a_refusal_without_a_message_names_its_code(data: dict[str, Any]) -> None:
    """The text of a refusal without a message names the code."""
    with pytest.raises(IntegrationFailed, match="the host answered MERGE_FAILED"):
        conclude(MERGE, refusal("merge-mission", "MERGE_FAILED", data))


def test_half_a_character_in_an_answer_can_be_printed() -> None:
    """The error keeps a lone surrogate of the answer, and its text shows it as an escape."""
    data = {"message": "no \ud800", "errors": ["\udcff"]}
    with pytest.raises(IntegrationFailed) as e:
        conclude(MERGE, refusal("merge-mission", "PREFLIGHT_FAILED", data))

    assert e.value.failure.data == data
    assert b"no \\ud800: \\udcff" in str(e.value).encode("utf-8")


def test_an_unknown_code_is_a_refusal() -> None:
    """A refusal with an unknown code raises HostRejected."""
    with pytest.raises(HostRejected) as e:
        conclude(STATE, refusal("mission-state", "WP_ON_FIRE"))

    assert e.value.code == UnknownErrorCode("WP_ON_FIRE")


def test_a_refusal_by_the_option_parser_need_not_name_the_verb() -> None:
    """The SDK accepts the option parser's refusal, which names the verb "unknown"."""
    stdout = line("unknown", {"message": "No such option"}, code="USAGE_ERROR")
    with pytest.raises(UsageRejected, match="No such option"):
        conclude(STATE, completed(stdout, exit_code=2))


def test_success_with_a_bad_exit_code_is_no_success() -> None:
    """A success with a bad exit code has an unknown outcome."""
    with pytest.raises(ProtocolError, match="exit code is 1") as e:
        conclude(MOVE, completed(line("transition"), exit_code=1))

    assert e.value.outcome == "unknown"
    assert e.value.failure.data["to_lane"] == "approved"


@pytest.mark.parametrize("code", ["WP_NOT_FOUND", "WP_ON_FIRE", ""])
@pytest.mark.parametrize(
    ("command", "verb", "outcome"),
    [(STATE, "mission-state", "not_applied"), (MOVE, "transition", "unknown")],
)
def test_success_with_an_error_code_is_no_success(
    code: str, command: Command[Any], verb: str, outcome: str
) -> None:
    """A success with an error code has an unknown outcome."""
    with pytest.raises(ProtocolError, match=f"success, but has the error code '{code}'") as e:
        conclude(command, success(verb, error_code=code))

    assert e.value.outcome == outcome
    assert e.value.code is None
    assert e.value.retryable is (outcome == "not_applied")
    assert e.value.failure.data == envelope(verb)["data"]


@pytest.mark.parametrize("code", [None, ""])
def test_a_refusal_without_a_code_is_a_refusal(code: str | None) -> None:
    """A refusal without an error code raises HostRejected."""
    answer = completed(line("transition", {}, success=False, error_code=code), exit_code=1)
    with pytest.raises(HostRejected) as e:
        conclude(MOVE, answer)

    assert type(e.value) is HostRejected
    assert e.value.code is None
    assert e.value.outcome == "unknown"


@pytest.mark.parametrize("code", [None, "MISSION_NOT_FOUND"])
def test_the_answer_to_another_call_is_no_answer(code: str | None) -> None:
    """The SDK refuses the answer to another verb, a success or a refusal."""
    answer = completed(line("list-ready", code=code), exit_code=0 if code is None else 1)
    with pytest.raises(ProtocolError, match=r"'orchestrator-api\.list-ready'") as e:
        conclude(STATE, answer)

    assert e.value.code is None


def test_a_refusal_of_another_call_leaves_a_change_in_doubt() -> None:
    """The outcome of a mutation is unknown when the answer is to another verb."""
    with pytest.raises(ProtocolError, match="the answer is to") as e:
        conclude(MOVE, refusal("start-review", "WP_NOT_FOUND"))

    assert e.value.outcome == "unknown"
    assert e.value.retryable is False


def test_a_success_of_no_verb_is_no_answer() -> None:
    """A success for the verb "unknown" is refused: only the option parser's refusals use it."""
    with pytest.raises(ProtocolError, match=r"'orchestrator-api\.unknown'"):
        conclude(MOVE, success("unknown", envelope("transition")["data"]))


def test_the_name_of_another_call_is_cut_in_the_message() -> None:
    """The SDK cuts a long name of a verb in the error."""
    with pytest.raises(ProtocolError) as e:
        conclude(STATE, success("x" * 10**6))

    assert len(str(e.value)) < 1000


VERB_NAMES = [(verb, name) for verb in VERBS for name in sorted(names_of(verb))]


@pytest.mark.parametrize(("verb", "name"), VERB_NAMES)
def test_a_refusal_may_name_the_verb_as_any_host_does(verb: str, name: str) -> None:
    """The SDK accepts a refusal under each name that hosts have for the verb."""
    with pytest.raises(HostRejected) as e:
        conclude(_made_up(VERBS[verb]), refusal(name, "MISSION_NOT_FOUND"))

    assert e.value.code is ErrorCode.MISSION_NOT_FOUND


def _made_up(kind: type[Command[Any]]) -> Command[Any]:
    """Return a call of a verb without its options."""
    about = {"verb": kind.verb, "reply_type": kind.reply_type, "mutates": kind.mutates}
    made: Command[Any] = type("MadeUp", (Command,), about)()
    return made


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"work_packages": None}, "data.work_packages"),
        ({"work_packages": 3}, "data.work_packages"),
        ({"work_packages": ["WP01"]}, "data.work_packages[0]"),
        ({"work_packages": [{"lane": "done"}]}, "data.work_packages[0].wp_id"),
        ({"work_packages": [{"wp_id": 1, "lane": "done"}]}, "data.work_packages[0].wp_id"),
        ({"work_packages": [{"wp_id": "WP01", "lane": None}]}, "data.work_packages[0].lane"),
        ({"summary": {"planned": "1"}}, "data.summary"),
        ({"summary": {"planned": True}}, "data.summary"),
        ({"summary": []}, "data.summary"),
        ({"mission_slug": 7}, "data.mission_slug"),
    ],
)
def test_a_payload_against_the_contract_is_named_by_its_place(
    data: dict[str, Any], path: str
) -> None:
    """The SDK refuses a field of a wrong type, and the error has its path."""
    answer = success("mission-state", {**envelope("mission-state")["data"], **data})
    with pytest.raises(ProtocolError) as e:
        conclude(STATE, answer)

    assert path in str(e.value)
    assert e.value.failure.contract_version == "1.5.0"


@pytest.mark.parametrize(
    "data",
    [
        {"work_packages": {}},
        {"work_packages": ""},
        {"work_packages": [{"wp_id": "WP02", "lane": "planned", "dependencies": "WP01"}]},
        {"work_packages": [{"wp_id": "WP02", "lane": "planned", "dependencies": {"WP01": 1}}]},
    ],
)
def test_what_is_no_list_is_not_taken_for_one(data: dict[str, Any]) -> None:
    """The SDK refuses a text or an object where the contract has a list."""
    answer = success("mission-state", {**envelope("mission-state")["data"], **data})
    with pytest.raises(ProtocolError):
        conclude(STATE, answer)


def test_bytes_that_are_no_text_are_kept_readable() -> None:
    """Bytes that are not UTF-8 are escaped in the error, not dropped."""
    with pytest.raises(ProtocolError) as e:
        conclude(STATE, completed(b"caf\xe9\n", exit_code=1, stderr=b"\xff\n"))

    assert e.value.failure.stdout == "caf\\xe9\n"
    assert e.value.failure.stderr == "\\xff\n"


def test_an_error_keeps_the_end_of_a_long_output() -> None:
    """An error keeps only the end of a long output."""
    with pytest.raises(ProtocolError) as e:
        conclude(STATE, completed(b"x" * 10**6 + b"end", exit_code=1, stderr=b"y" * 10**6 + b"E"))

    assert e.value.failure.stdout.endswith("end")
    assert e.value.failure.stderr.endswith("E")
    assert len(e.value.failure.stdout) == len(e.value.failure.stderr) == 64 * 1024


def test_the_envelope_is_not_repeated_in_the_output_of_an_error() -> None:
    """The error's stdout has only the output beside the envelope."""
    stdout = b"noise\n" + line("mission-state", code="MISSION_NOT_FOUND")
    with pytest.raises(HostRejected) as e:
        conclude(STATE, completed(stdout, exit_code=1))

    assert e.value.failure.stdout == "noise"
