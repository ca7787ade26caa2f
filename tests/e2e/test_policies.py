"""The SDK's judgement of a policy compared with the real host's, text by text."""

import json
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, event, given, settings
from packaging.version import Version

from spec_kitty_client import Contract, Policy, PolicyError, PolicyRule, policy_problems
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.testing.strategies.policies import policy_json
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.transports.warm import WarmTransport

TEXTS = int(os.environ.get("POLICY_TEXTS", "200"))  # `nox -s policies` tries about 20,000
ASKING = settings(
    database=None,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
GOOD = {
    "orchestrator_id": "tests",
    "orchestrator_version": "1",
    "agent_family": "none",
    "approval_mode": "manual",
    "sandbox_mode": "none",
    "network_mode": "none",
    "dangerous_flags": [],
}
Ask = Callable[[str], bool]


def sent(text: str | None = None, /, **fields: object) -> str:
    """Return a valid policy with some fields changed, or with one more in this spelling."""
    written = json.dumps({**GOOD, **fields}, ensure_ascii=False)
    return written if text is None else f'{written[:-1]}, "more": {text}}}'


TELLING = {
    "nothing": "",
    "space": " ",
    "good": sent(),
    "space around": f"\r\n\t {sent()} \n",
    "no-break space before": f"\u00a0{sent()}",
    "byte order mark": f"\ufeff{sent()}",
    "more behind": f"{sent()} {{}}",
    "cut off": sent()[:-1],
    "a list": "[]",
    "a string": '"text"',
    "null": "null",
    "nothing in it": "{}",
    "NaN": sent("NaN"),
    "infinite": sent("-1e999"),
    "as many digits as can be": sent("9" * 4300),
    "a digit too many": sent("9" * 4301),
    "a digit too many, after a minus": sent("-" + "9" * 4301),
    "half a character": sent('"\\ud800"'),
    "a name of half a character": sent('1, "\\ud800": "key"'),
    "null character": sent('"\\u0000"'),
    "newline in a string": sent('"\n"'),
    "delete in a string": sent('"\x7f"'),
    "escaped key": sent('"mon\\u006b\\u0065y"'),
    "kelvin sign": sent(agent_family="\u212aey"),
    "long s": sent(agent_family="\u017fecret"),
    "dotless and dotted i": sent(agent_family="credent\u0131al credent\u0130al"),
    "zero width space": sent(agent_family="ke\u200by"),
    "a secret that is said again": sent('"key", "more": "fine"'),
    "a secret said last": sent('"fine", "more": "key"'),
    "a flag list that is said again": sent('1, "dangerous_flags": null'),
    "secret as a name": sent(password="x", more={"token": "x"}),
    "secret in a list": sent(more=["key"]),
    "secret among flags": sent(dangerous_flags=["--api-key"]),
    "secret in what is no text": sent(orchestrator_id=["key"]),
    "secret in restrictions": sent(tool_restrictions="no keys"),
    "secret deep in restrictions": sent(tool_restrictions={"a": ["no keys"]}),
    "flags null": sent(dangerous_flags=None),
    "flags text": sent(dangerous_flags="--safe"),
    "flags an object": sent(dangerous_flags={}),
    "flag a number": sent(dangerous_flags=[1]),
    "flag a banned one": sent(dangerous_flags=["--yolo"]),
    "flag nearly banned": sent(dangerous_flags=["--YOLO", " --yolo", "--yolo=1"]),
    "flag banned, but elsewhere": sent(agent_family="--yolo", more=["--yolo"]),
    "id true": sent(orchestrator_id=True),
    "id null": sent(orchestrator_id=None),
    "id empty": sent(orchestrator_id=""),
    "restrictions null": sent(tool_restrictions=None),
    "restrictions false": sent(tool_restrictions=False),
    "restrictions empty": sent(tool_restrictions=""),
    "as deep as can be": sent("[" * 99 + "]" * 99),
    "as deep as can be in restrictions": sent(tool_restrictions=json.loads("[" * 99 + "]" * 99)),
    "beyond all depth": "[" * 60_000 + "]" * 60_000,
    "huge": sent(more="x" * 100_000),
}


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory, release: Version) -> Iterator[Ask]:
    """Whether the host accepts a policy, which it checks before it looks for the mission."""
    host = ProcessTransport(
        repo=tmp_path_factory.mktemp("nowhere"), executable=os.environ["E2E_HOST"]
    )
    transport = WarmTransport(host, only=True)
    word = "mission" if release >= Dialect.M0.first_release else "feature"
    args = ("orchestrator-api", "start-implementation", f"--{word}=no", "--wp=W", "--actor=a")

    def accepted(text: str) -> bool:
        done = transport.run((*args, f"--policy={text}"), time_limit=120)
        if not done.stdout and b"RecursionError" in done.stderr:
            return False
        code = json.loads(done.stdout)["error_code"]
        refused = {"POLICY_VALIDATION_FAILED", "POLICY_METADATA_REQUIRED"}
        assert code in {f"{word.upper()}_NOT_FOUND", *refused}
        return code not in refused

    yield accepted
    transport.close()


def test_we_judge_a_telling_policy_as_the_host_does(ask: Ask, release: Version) -> None:
    """The SDK and this host judge policies at the edge of a rule alike."""
    # In one test, because pytest changes the environment per test, which reloads the warm host.
    ours = {name: not policy_problems(text, release) for name, text in TELLING.items()}
    assert {name: ask(text) for name, text in TELLING.items()} == ours


@settings(ASKING, max_examples=TEXTS)
@given(text=policy_json())
def test_we_judge_any_policy_as_the_host_does(ask: Ask, release: Version, text: str) -> None:
    """The SDK's rules of this release and the host judge any policy-like text alike."""
    problems = policy_problems(text, release)
    for rule in {problem.rule for problem in problems}:
        event(f"we refuse it: {rule}")
    accepted = ask(text)
    event("the host takes it" if accepted else "the host refuses it")
    assert accepted is (not problems), problems


@settings(ASKING, max_examples=max(TEXTS // 10, 1))
@given(text=policy_json())
def test_what_we_build_of_a_text_is_accepted(ask: Ask, release: Version, text: str) -> None:
    """The host accepts every policy that the SDK has built by the rules of its release."""
    try:
        policy = Policy.for_contract(text, Contract(Version("1.0.0"), release))
    except PolicyError:
        return
    assert ask(policy.to_json())


def test_a_policy_that_is_too_deep_crashes_the_host(ask: Ask) -> None:
    """A policy beyond the nesting rule makes the host crash instead of answering."""
    text = TELLING["beyond all depth"]
    assert {problem.rule for problem in policy_problems(text)} == {PolicyRule.NESTING}
    assert not ask(text)
