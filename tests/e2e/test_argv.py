"""The host parses exactly the values that the SDK has spelled, for any values."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from spec_kitty_client._engine.core import Core
from spec_kitty_client.api.commands import (
    AcceptMission,
    AppendHistory,
    Command,
    ContractVersion,
    StartImplementation,
    Transition,
)
from spec_kitty_client.api.reviews import Evidence, ReviewResult, ReviewVerdict
from spec_kitty_client.api.spelling import names_of, spell
from spec_kitty_client.api.verbs import VERBS
from spec_kitty_client.contract import Contract, recognise
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.contract.lanes import Lane, UnknownLane, lanes_of
from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.policy import Policy
from spec_kitty_client.transports.process import host_environment
from tests.property.test_policies import good
from tests.property.values import json_values, names

from .conftest import POLICY

PARSER = Path(__file__).with_name("parser.py")
LONGEST = 128 * 1024 - 1  # bytes of an argument, Linux MAX_ARG_STRLEN
NASTY = ("--force", "-h", "--help", "--", "-", "=", "--note=x", "a=b=c", "", " ", "\n", "\u2028")
NASTY += (
    "'\"`$(x)\\",
    "\t \r\n",
    "*?[a]~",
    "@file",
    "%s{0}$HOME",
    "\ufeff",
    "\U0001f408",
    "e\u0301",
)
LONGEST_VERSION = LONGEST - len("--provider-version=")
FULL = "--force --\n" * 9_090 + "1234567890"  # 100,000 bytes


class Parser:
    """The host's option parser, in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, argv: Sequence[str]) -> dict[str, Any]:
        """Return the verb and the options that the host parses from some arguments."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(argv) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def interpreter(script: Path) -> str:
    """Return the Python of a console script; installers hide a long path behind a shell."""
    first, second = script.read_text("utf-8").splitlines()[:2]
    return shlex.split(second)[1] if first.endswith("/sh") else first.removeprefix("#!").strip()


def run(folder: Path, argv: Sequence[str]) -> dict[str, Any]:
    """Run the host itself, and return its envelope."""
    host = Path(os.environ["E2E_HOST"])
    done = subprocess.run(
        [host, *argv],
        cwd=folder,
        env=host_environment(host, os.environ),
        check=False,
        capture_output=True,
    )
    assert done.stdout.startswith(b"{"), (done.returncode, done.stdout, done.stderr[-2000:])
    envelope: dict[str, Any] = json.loads(done.stdout)
    return envelope


@pytest.fixture(scope="module")
def parser(home: Path) -> Iterator[Parser]:
    """The parser of the host under test."""
    host = Path(os.environ["E2E_HOST"])
    process = subprocess.Popen(
        [interpreter(host), "-P", str(PARSER)],
        cwd=home,
        env=host_environment(host, os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Parser(process)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository without a single mission."""
    folder = tmp_path_factory.mktemp("nothing")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def contract(repository: Path, release: Version) -> Contract:
    """The contract of the host, as a client negotiates it."""
    envelope = run(repository, spell(ContractVersion()))
    found = recognise(envelope["contract_version"], release)
    assert found
    return found


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

words = st.sampled_from(NASTY) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
)
json_objects = st.dictionaries(words, json_values, max_size=3)
results = st.builds(
    ReviewResult,
    reviewer=words,
    verdict=st.sampled_from(ReviewVerdict),
    reference=words,
    feedback_path=st.none() | words,
)
evidence = st.builds(
    Evidence,
    reviewer=words,
    verdict=st.sampled_from(ReviewVerdict),
    reference=words,
    repos=st.lists(json_objects, max_size=2).map(tuple),
    verification=st.lists(json_objects, max_size=2).map(tuple),
)

# All kinds of values except enums, for which every member is tried.
KINDS: dict[object, st.SearchStrategy[Any]] = {
    NoneType: st.none(),
    bool: st.booleans(),
    Policy: good().map(Policy.from_dict),
    Evidence: evidence,
    ReviewResult: results,
    UnknownLane: st.nothing(),
    Mapping[str, Any]: json_objects,
    Mapping[str, str]: st.dictionaries(words, words, max_size=3),
    Sequence[str]: st.lists(words, max_size=4),
}


def texts(option: str) -> st.SearchStrategy[str]:
    """Return texts for an option; some are long, up to what an argument can hold."""
    room = LONGEST - len(f"{option}=")
    long = st.builds(
        lambda unit, share: unit * int(room * share / len(unit.encode())),
        st.sampled_from(["x", "-", "é", "\U0001f408", "=\n", " --force"]),
        st.sampled_from([0.1, 0.5, 1]),
    )
    return words | words | long


def values(attribute: "attrs.Attribute[Any]", contract: Contract) -> st.SearchStrategy[Any]:
    """Return every value that a field of a command may have on a host."""
    option = attribute.metadata["option"]
    if Version(attribute.metadata.get("since", "0")) > contract.release:
        return st.just(attribute.default)
    named = attribute.validator is not None
    kinds = KINDS | {
        str: names if named else texts(option),
        Lane: st.sampled_from(sorted(lanes_of(contract.dialect))),
    }
    if attribute.name == "mission":  # the host takes these words unchanged
        kinds[str] = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True).filter(
            lambda name: ".." not in name
        )
    if option == "--actor":  # a client refuses an empty actor
        kinds[str] = texts(option).filter(str.strip)
    parts = get_args(attribute.type) if isinstance(attribute.type, UnionType) else [attribute.type]
    return st.one_of(kinds[p] if p in kinds else st.sampled_from(p) for p in parts)


@cache
def commands(kind: type[Command[Any]], contract: Contract) -> st.SearchStrategy[Command[Any]]:
    """Return every call of a verb; actor and policy are filled in as a client does."""
    fields = {a.name: values(a, contract) for a in attrs.fields(kind)}
    return st.builds(kind, **fields).map(complete)


def complete(command: Command[Any]) -> Command[Any]:
    """Fill in actor and policy as a client does."""
    return Core("claude", POLICY, None, None)._complete(command)


def as_json(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def held(value: object) -> object:
    """Return the value that the host must parse; for JSON, the decoded value."""
    if isinstance(value, Policy):
        return as_json(value.to_dict())
    if isinstance(value, ReviewResult):
        return as_json({k: v for k, v in attrs.asdict(value).items() if v is not None})
    if isinstance(value, Evidence):
        review = attrs.asdict(value)
        lists = {name: list(review.pop(name)) for name in ("repos", "verification")}
        return as_json({"review": review, **lists})
    if isinstance(value, Mapping | tuple):
        return as_json(value)
    return value if value is True else str(value)


def understood(value: object, read: object) -> object:
    """Return the value that the host has parsed; for JSON, the decoded value."""
    is_json = isinstance(value, Policy | ReviewResult | Evidence | Mapping | tuple)
    return as_json(json.loads(read)) if is_json and isinstance(read, str) else read


def differences(command: Command[Any], contract: Contract, parser: Parser) -> list[str]:
    """Return the differences between a call and the parsed options; long texts are cut."""
    argv = spell(command, contract)
    answer = parser(argv)
    if "error" in answer:
        return [answer["error"]]
    assert argv[1] in names_of(command.verb)
    assert answer["verb"] == ["orchestrator-api", argv[1]]
    renamed = {"--mission": "--feature"} if contract.dialect in {Dialect.F1, Dialect.F2} else {}
    named = {a.metadata["option"]: getattr(command, a.name) for a in attrs.fields(type(command))}
    sent = {renamed.get(k, k): v for k, v in named.items() if v is not None and v is not False}
    read = {k: understood(sent.get(k), v) for k, v in answer["params"].items()}
    wanted = {k: held(v) for k, v in sent.items()}
    return [
        f"{name}: {wanted.get(name)!r:.100} was read as {read.get(name)!r:.100}"
        for name in sorted({*wanted, *read})
        if (wanted.get(name), type(wanted.get(name))) != (read.get(name), type(read.get(name)))
    ]


@pytest.mark.parametrize("verb", VERBS)
@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
def test_the_host_reads_what_a_command_holds(
    verb: str, data: st.DataObject, contract: Contract, parser: Parser
) -> None:
    """No value of any option is lost, changed, or taken for another option or a flag."""
    if not contract.supports(VERBS[verb]):
        pytest.skip("this host has no such verb")
    command = data.draw(commands(VERBS[verb], contract))

    assert differences(command, contract, parser) == []


@pytest.mark.parametrize("size", [0, 100_000, LONGEST - len("--note=")])
def test_a_note_arrives_whole(size: int, contract: Contract, parser: Parser) -> None:
    """The host reads an empty note, one of 100,000 bytes and the longest that can be sent."""
    note = (FULL * 2)[:size]
    command = AppendHistory(mission="pay", wp="WP01", note=note, actor="--help")
    answer = parser(spell(command, contract))

    assert answer["verb"] == ["orchestrator-api", "append-history"]
    assert answer["params"]["--note"] == note


def test_a_long_policy_arrives_whole(contract: Contract, parser: Parser) -> None:
    """The host reads every byte of a policy with a field of 100,000 bytes."""
    policy = attrs.evolve(POLICY, extra={"why": FULL, "--force": ["-h", None, 1.5, {"=": True}]})
    command = StartImplementation(mission="pay", wp="--", actor="=", policy=policy)

    assert differences(command, contract, parser) == []


@pytest.mark.parametrize(
    "note", [*NASTY, FULL[: LONGEST - len("--note=")]], ids=lambda n: ascii(n)[:20]
)
def test_the_nastiest_values_arrive_in_every_text(
    note: str, contract: Contract, parser: Parser
) -> None:
    """A value that looks like an option, or is blank, stays a value in every option."""
    command = Transition(
        mission="pay", wp="-h", to=Lane.BLOCKED, actor=note, note=note, review_ref=note
    )

    assert differences(command, contract, parser) == []


@pytest.mark.parametrize("word", ["".join(NASTY), (FULL * 2)[:LONGEST_VERSION]], ids=len)
def test_a_value_arrives_in_the_process_itself(
    word: str, repository: Path, contract: Contract
) -> None:
    """The host process answers with exactly the text of the call, up to the longest."""
    envelope = run(repository, spell(ContractVersion(provider_version=word), contract))

    assert envelope["error_code"] == "CONTRACT_VERSION_MISMATCH"
    assert envelope["data"]["provider_version"] == word


def test_calls_about_no_mission_are_understood(repository: Path, contract: Contract) -> None:
    """A call about an unknown mission, with any options, is not a usage error."""
    nasty = "".join(NASTY)
    calls = (
        AppendHistory(mission="pay", wp="--help", note=FULL, actor=nasty),
        Transition(
            mission="pay",
            wp="-h",
            to=Lane.IN_PROGRESS,
            actor="--force",
            policy=attrs.evolve(POLICY, extra={"--": nasty}),
            note="--",
            review_ref="",
        ),
    )
    codes = {run(repository, spell(call, contract))["error_code"] for call in calls}

    assert codes <= {"FEATURE_NOT_FOUND", "MISSION_NOT_FOUND"}


def test_an_origin_check_is_a_word_of_the_contract() -> None:
    """A word outside the parser's fixed choice is refused before a host is started."""
    with pytest.raises(InvalidCall, match="enforce"):
        AcceptMission(mission="pay", actor="ada", origin_check="--force")
