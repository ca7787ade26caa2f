"""Tests of `spec_kitty_client.testing.host.arguments`: valid calls and usage errors."""

import json

import pytest

from spec_kitty_client.testing.host import NotSimulated, Release, SimulatedHost
from spec_kitty_client.testing.host.answers import Misused
from spec_kitty_client.testing.host.arguments import Asked, Help, understand
from tests.client.releases import RELEASES

NEWEST = Release("3.2.7")
STATE = ("orchestrator-api", "mission-state")
MOVE = ("orchestrator-api", "transition", "--mission=m", "--wp=WP01", "--actor=a")


def test_a_value_follows_or_is_attached() -> None:
    """The value of an option may be the next argument, or follow an equals sign."""
    followed = understand((*STATE, "--mission", "m"), NEWEST)
    assert followed == understand((*STATE, "--mission=m"), NEWEST)
    assert followed == Asked("mission-state", "mission-state", {"mission": "m"})


@pytest.mark.parametrize("value", ["", " ", "--to", "-x", "a=b", 'two\n"lines"', "é"])
def test_a_value_may_be_anything(value: str) -> None:
    """A value is taken unchanged, even if it looks like an option."""
    assert understand((*STATE, f"--mission={value}"), NEWEST).options == {"mission": value}
    assert understand((*STATE, "--mission", value), NEWEST).options == {"mission": value}


def test_the_last_one_counts() -> None:
    """Of a repeated option the last value counts."""
    assert understand((*STATE, "--mission=a", "--mission=b"), NEWEST).options == {"mission": "b"}


def test_a_flag_has_no_value() -> None:
    """A flag with a value is refused."""
    assert understand((*MOVE, "--to=done", "--force"), NEWEST).options["force"] == ""
    with pytest.raises(Misused, match="does not take a value"):
        understand((*MOVE, "--to=done", "--force=yes"), NEWEST)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("orchestrator-api",), "Missing command"),
        (("orchestrator-api", "--bogus"), "No such option: --bogus"),
        (("orchestrator-api", "bogus"), "No such command 'bogus'"),
        (("orchestrator-api", "feature-state", "--feature=x"), "No such command"),
        (STATE, "Missing option '--mission'"),
        ((*STATE, "--mission"), "requires an argument"),
        ((*STATE, "--mission=m", "--wp=WP01"), "No such option: --wp"),
        ((*STATE, "--mission=m", "--feature=m"), "No such option: --feature"),
        ((*STATE, "--mission=m", "more"), "extra argument"),
        ((*STATE, "--mission=m", "--"), "extra argument"),
        (MOVE, "Missing option '--to'"),
        (tuple(w for w in (*MOVE, "--to=done") if "actor" not in w), "Missing option '--actor'"),
    ],
)
def test_what_is_no_call_is_refused_unread(args: tuple[str, ...], why: str) -> None:
    """Missing, extra and unknown arguments are usage errors."""
    with pytest.raises(Misused, match=why):
        understand(args, NEWEST)


@pytest.mark.parametrize("args", [("--help",), ("mission-state", "--help")])
def test_help_goes_first(args: tuple[str, ...]) -> None:
    """--help works without required options, and is no error."""
    with pytest.raises(Help):
        understand(("orchestrator-api", *args), NEWEST)
    done = SimulatedHost().run(("orchestrator-api", *args), time_limit=1)
    assert (done.exit_code, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Usage: ")


@pytest.mark.parametrize("release", RELEASES)
def test_misuse_has_an_envelope_from_2_1_0_on(release: str) -> None:
    """A usage error is text on stderr on 1.0.x, and later an envelope; the exit code is 2."""
    done = SimulatedHost(release=release).run(("orchestrator-api", "bogus"), time_limit=1)
    assert done.exit_code == 2
    if release.startswith("1.0."):
        assert done.stdout == b""
        assert b"No such command 'bogus'" in done.stderr
        return
    envelope = json.loads(done.stdout)
    assert (envelope["error_code"], envelope["success"]) == ("USAGE_ERROR", False)
    assert envelope["command"] == "orchestrator-api.unknown"
    assert done.stderr == b""


@pytest.mark.parametrize(("release", "known"), [("1.0.3", True), ("2.1.0", False)])
def test_only_1_0_has_the_option_json(release: str, known: bool) -> None:
    """1.0.3 accepts --json, and 2.1.0 refuses it."""
    args = ("orchestrator-api", "contract-version", "--json")
    if known:
        assert understand(args, Release(release)).options == {"json": ""}
    else:
        with pytest.raises(Misused, match="No such option: --json"):
            understand(args, Release(release))


@pytest.mark.parametrize("release", ["1.0.0", "3.0.3"])
def test_a_feature_is_a_mission(release: str) -> None:
    """The verb and options of old hosts get their newest names."""
    asked = understand(("orchestrator-api", "feature-state", "--feature=m"), Release(release))
    assert asked == Asked("feature-state", "mission-state", {"mission": "m"})
    with pytest.raises(Misused, match="No such command 'mission-state'"):
        understand(STATE, Release(release))


@pytest.mark.parametrize(
    ("option", "without", "with_it"),
    [("evidence-json", "3.0.3", "3.1.0"), ("review-result-json", "3.2.5", "3.2.6")],
)
def test_an_option_came_with_a_release(option: str, without: str, with_it: str) -> None:
    """A release refuses options that came later."""
    new = ("orchestrator-api", "transition", "--wp=WP01", "--to=done", "--actor=a", f"--{option}=x")
    assert option in understand((*new, "--mission=m"), Release(with_it)).options
    selector = "feature" if without.startswith("3.0") else "mission"
    with pytest.raises(Misused, match=option):
        understand((*new, f"--{selector}=m"), Release(without))


@pytest.mark.parametrize("args", [(), ("agent", "tasks"), ("upgrade",)])
def test_other_commands_are_not_simulated(args: tuple[str, ...]) -> None:
    """Other commands raise NotSimulated instead of a wrong usage error."""
    with pytest.raises(NotSimulated, match="only orchestrator-api"):
        understand(args, NEWEST)


def test_a_verb_of_design_is_not_simulated() -> None:
    """A design verb raises NotSimulated on releases that have it, and is unknown on others."""
    with pytest.raises(NotSimulated, match="design-status"):
        understand(("orchestrator-api", "design-status"), NEWEST)
    with pytest.raises(Misused, match="No such command"):
        understand(("orchestrator-api", "design-status"), Release("3.2.5"))


HALVES = ("\ud800", "\udcff", "x\udfffy")
WHERE = (
    ("{}",),
    ("--{}=x",),
    ("--mission={0}", "--feature={0}"),
    ("--mission=m", "--feature=m", "--wp={}", "--actor={}", "--note={}", "--to={}"),
    ("--mission=m", "--wp=WP01", "--to=for_review", "--policy={}", "--actor=a"),
)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("half", HALVES)
def test_half_a_character_is_answered(release: str, half: str) -> None:
    """The host answers a call with a lone surrogate in any argument with a refusal."""
    host = SimulatedHost(release=release)
    calls = [("orchestrator-api", half), ("orchestrator-api", f"--{half}")]
    for name in ("transition", "merge-mission", "append-history", "list-ready"):
        calls += [("orchestrator-api", name, *(w.format(half) for w in words)) for words in WHERE]
    for call in calls:
        done = host.run(call, time_limit=1)
        assert done.exit_code in (1, 2), call
        assert done.stdout or done.stderr
        assert done.argv == ("spec-kitty", *call)
