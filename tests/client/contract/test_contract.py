"""Tests of `spec_kitty_client.contract`."""

import warnings
from typing import Any

import pytest
from packaging.version import Version

from spec_kitty_client.api import commands
from spec_kitty_client.api.commands import (
    AcceptMission,
    AppendHistory,
    Command,
    ContractVersion,
    ListReady,
    MergeMission,
    MissionState,
    ResolveWorkspace,
    StartImplementation,
    StartReview,
    Transition,
)
from spec_kitty_client.api.reviews import Evidence, ReviewResult, ReviewVerdict
from spec_kitty_client.api.spelling import spell
from spec_kitty_client.contract import (
    NEWEST_TESTED,
    OLDEST,
    Contract,
    UntestedHostWarning,
    recognise,
    release_in,
)
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.errors import InvalidCall, UnsupportedByHost, UnsupportedHost
from tests.client.releases import CONTRACTS, RELEASES

QUIET = "SPEC_KITTY_CLIENT_NO_VERSION_WARNING"
WP = {"mission": "pay", "wp": "WP01"}
RESULT = ReviewResult(reviewer="rev", verdict=ReviewVerdict.APPROVED, reference="r1")


def host(release: str) -> Contract:
    """Return the contract of a host of this release."""
    versions = [c for c, since in CONTRACTS.items() if Version(since) <= Version(release)]
    return Contract(Version(versions[-1] if versions else "1.0.0"), Version(release))


@pytest.mark.parametrize(("version", "release"), CONTRACTS.items())
def test_a_contract_that_tells_its_host_is_recognised(version: str, release: str) -> None:
    """From contract 1.1.0 on the version is enough, and there is no warning."""
    assert recognise(version) == Contract(Version(version), Version(release))


@pytest.mark.parametrize("version", ["1.4.7", "1.5.9", "1.15.3"])
def test_a_contract_between_two_known_ones_is_taken_for_the_older(version: str) -> None:
    """The SDK takes an unknown contract version for the known one before it."""
    older = max(Version(v) for v in CONTRACTS if Version(v) < Version(version))
    found = recognise(version)

    assert found is not None
    assert str(found.release) == CONTRACTS[str(older)]


@pytest.mark.parametrize("version", ["1.0.0", "1.0.1"])
def test_the_oldest_contract_does_not_tell(version: str) -> None:
    """Contract 1.0.0 needs the release, because five dialects share it."""
    assert recognise(version) is None


@pytest.mark.parametrize("release", ["1.0.0", "2.1.3", "3.1.0", "3.1.10", "3.2.1"])
def test_the_oldest_contract_with_its_release_is_recognised(release: str) -> None:
    """For contract 1.0.0 the release is kept exactly as the host reports it."""
    found = recognise("1.0.0", Version(release))

    assert found == Contract(Version("1.0.0"), Version(release))
    assert found.dialect == RELEASES[release]


def test_the_range_that_is_tested() -> None:
    """The bounds are contract versions of hosts that this SDK is tested with."""
    assert (str(OLDEST), str(NEWEST_TESTED)) == ("1.0.0", "1.16.0")


@pytest.mark.parametrize("version", ["0.9.9", "1.0.0rc1", "0"])
def test_an_older_contract_is_refused_with_the_way_out(version: str) -> None:
    """The error for a host that is too old has the command that upgrades it."""
    with pytest.raises(UnsupportedHost, match="pip install --upgrade spec-kitty-cli") as e:
        recognise(version)

    assert version in str(e.value)


@pytest.mark.parametrize("version", ["", "banana", "1.5.0-final-final", "vv1"])
def test_what_is_no_version_is_refused(version: str) -> None:
    """The SDK refuses a host whose contract version is not a version."""
    with pytest.raises(UnsupportedHost) as e:
        recognise(version)

    assert repr(version) in str(e.value)


def test_what_is_no_version_is_refused_with_the_way_out() -> None:
    """The error for a version that is not one says what to check."""
    with pytest.raises(UnsupportedHost, match=r"spec-kitty( |-cli)"):
        recognise("banana")


def test_a_version_with_thousands_of_digits_is_refused() -> None:
    """A version with thousands of digits raises UnsupportedHost."""
    with pytest.raises(UnsupportedHost):
        recognise("1." + "9" * 5000)


@pytest.mark.parametrize("version", ["1.16.1", "1.17.0", "2.0.0"])
def test_a_newer_contract_works_with_a_warning(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK uses a host with a newer contract, and warns that it is not tested."""
    monkeypatch.delenv(QUIET, raising=False)

    with pytest.warns(UntestedHostWarning, match=QUIET):
        contract = recognise(version)

    assert contract is not None
    assert contract.dialect is Dialect.M5


def test_the_warning_can_be_silenced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that the warning names switches the warning off."""
    monkeypatch.setenv(QUIET, "1")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        contract = recognise("1.99.0")

    assert contract is not None
    assert contract.version == Version("1.99.0")


BANNER = "\n".join(["   /\\_/\\  ", " ( o.o ) spec-kitty version of the banner"] * 14)


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("spec-kitty-cli version 3.2.7\n", "3.2.7"),
        ("spec-kitty-cli version 3.2.6.2", "3.2.6.2"),
        ("spec-kitty-cli version 4.0.0rc7\n\n", "4.0.0rc7"),
        (f"{BANNER}\n\nspec-kitty-cli version 3.1.10\n", "3.1.10"),
        ("wrapper version 9.9.9\nspec-kitty-cli version 1.0.3\n", "1.0.3"),
    ],
)
def test_the_release_is_what_the_version_ends_with(text: str, release: str) -> None:
    """The release is found after the 28 lines of banner that hosts up to 3.1.x print."""
    assert release_in(text) == Version(release)


@pytest.mark.parametrize("text", ["", "hello\n", "spec-kitty-cli version unknown\n", "\ufffd"])
def test_no_release_is_told_with_what_was_said(text: str) -> None:
    """The error for output of --version without a release has that output."""
    with pytest.raises(UnsupportedHost, match="--version") as e:
        release_in(text)

    assert repr(text.strip()) in str(e.value)


def test_a_release_without_the_api_is_refused() -> None:
    """The SDK refuses a release before 1.0.0, which has no orchestrator-api."""
    with pytest.raises(UnsupportedHost, match=r"0\.14\.2 has no orchestrator-api"):
        release_in("spec-kitty-cli version 0.14.2")


# How calls are spelled.

BARE: list[Command[Any]] = [
    ContractVersion(),
    MissionState(mission="pay"),
    ListReady(mission="pay"),
    StartImplementation(**WP),
    StartReview(**WP),
    Transition(**WP, to="done"),
    AppendHistory(**WP, note="n"),
    AcceptMission(mission="pay"),
    MergeMission(mission="pay"),
]
FEATURE = [
    "contract-version",
    "feature-state",
    "list-ready",
    "start-implementation",
    "start-review",
    "transition",
    "append-history",
    "accept-feature",
    "merge-feature",
]
MISSION = [name.replace("feature", "mission") for name in FEATURE]
LATER = [*MISSION[:-1], "consolidate-mission"]
NAMES = {
    **dict.fromkeys(["F1", "F2"], FEATURE),
    **dict.fromkeys(["M0", "M1", "M2", "M3", "M4"], MISSION),
    "M5": LATER,
}


@pytest.mark.parametrize("release", RELEASES)
def test_every_verb_is_called_by_the_name_it_has_on_that_host(release: str) -> None:
    """The SDK spells feature up to 3.0.3, then mission, and consolidate from 4.0.0rc5 on."""
    names = [spell(command, host(release))[1] for command in BARE]

    assert names == NAMES[RELEASES[release]]


@pytest.mark.parametrize("release", RELEASES)
def test_every_verb_selects_its_mission_as_that_host_wants_it(release: str) -> None:
    """The SDK sends --feature up to 3.0.3 and --mission later, and never both."""
    word = "--feature=pay" if RELEASES[release] in ("F1", "F2") else "--mission=pay"
    for command in BARE[1:]:
        group, _, *options = spell(command, host(release))
        assert group == "orchestrator-api"
        assert word in options
        assert len([o for o in options if "mission=" in o or "feature=" in o]) == 1


@pytest.mark.parametrize("release", RELEASES)
def test_no_host_is_sent_the_option_that_only_the_oldest_takes(release: str) -> None:
    """The SDK never sends --json, which only 1.0.x accepts."""
    for command in BARE:
        assert not [o for o in spell(command, host(release)) if o.startswith("--json")]


@pytest.mark.parametrize("release", ["1.0.3", "3.0.3"])
def test_only_the_option_itself_is_renamed(release: str) -> None:
    """The SDK renames the option --mission, but not a value that begins like it."""
    note = AppendHistory(mission="--mission=x", wp="WP01", note="--mission=y", actor="--mission=z")

    assert spell(note, host(release))[2:] == (
        "--feature=--mission=x",
        "--wp=WP01",
        "--note=--mission=y",
        "--actor=--mission=z",
    )


def test_a_command_is_spelled_below_the_group_of_the_api() -> None:
    """The SDK spells group, verb and options, without a contract by the names of most hosts."""
    note = AppendHistory(mission="pay", wp="WP01", note="it works", actor="ada")

    assert spell(ContractVersion()) == ("orchestrator-api", "contract-version")
    assert spell(note) == (
        "orchestrator-api",
        "append-history",
        "--mission=pay",
        "--wp=WP01",
        "--note=it works",
        "--actor=ada",
    )


NEWER: list[tuple[Command[Any], str, str]] = [
    (ResolveWorkspace(**WP), "resolve-workspace", "3.2.4"),
    (
        Transition(**WP, to="done", evidence=Evidence.of(RESULT)),
        "--evidence-json of transition",
        "3.1.0",
    ),
    (
        Transition(**WP, to="done", review_result=RESULT),
        "--review-result-json of transition",
        "3.2.6",
    ),
    (
        Transition(**WP, to="for_review", subtasks_complete=True),
        "--subtasks-complete of transition",
        "3.1.0",
    ),
    (
        Transition(**WP, to="for_review", implementation_evidence_present=True),
        "--implementation-evidence-present of transition",
        "3.1.0",
    ),
    (Transition(**WP, to="claimed"), "lane claimed", "2.1.0"),
    (Transition(**WP, to="approved"), "lane approved", "2.1.0"),
    (Transition(**WP, to="in_review"), "lane in_review", "3.1.1"),
]
newer = pytest.mark.parametrize(
    ("command", "what", "since"), NEWER, ids=[what for _, what, _ in NEWER]
)


@newer
def test_what_a_host_has_not_is_refused_with_both_releases(
    command: Command[Any], what: str, since: str
) -> None:
    """The error names the verb, option or lane, the host, and the first release that has it."""
    for release in RELEASES:
        if Version(release) >= Version(since):
            assert spell(command, host(release))
            assert host(release).supports(command)
            continue
        with pytest.raises(UnsupportedByHost) as e:
            spell(command, host(release))
        assert (e.value.what, e.value.since, e.value.release) == (what, since, release)
        assert not host(release).supports(command)


@pytest.mark.parametrize("release", RELEASES)
def test_which_verbs_a_host_has(release: str) -> None:
    """`supports` takes a command or its class, and knows which hosts have which verb."""
    contract = host(release)
    for command in BARE:
        assert contract.supports(type(command))
        assert contract.supports(command)
    newer = Version(release) >= Version("3.2.4")
    assert contract.supports(commands.ResolveWorkspace) is newer


SINCE = {
    Feature.CLAIMED_LANE: "2.1.0",
    Feature.APPROVED_LANE: "2.1.0",
    Feature.EVIDENCE: "3.1.0",
    Feature.LANES: "3.1.0",
    Feature.IN_REVIEW_LANE: "3.1.1",
    Feature.DEPENDENCY_CHECK: "3.2.0",
    Feature.REPEATABLE_REVIEW: "3.2.0",
    Feature.APPROVED_IS_ENOUGH: "3.2.0",
    Feature.CLEAN_TARGET: "3.2.0",
    Feature.CANCELED_IS_ENOUGH: "3.2.6",
    Feature.WORKTREES: "3.2.2",
    Feature.MISSION_IDS: "3.2.6",
    Feature.REVIEW_RESULT: "3.2.6",
    Feature.PROTECTED_BRANCHES: "3.2.0",
    Feature.MERGE_TARGET: "3.2.2",
    Feature.SUBTASK_GATE: "2.1.0",
    Feature.SUBTASK_EVENTS: "3.2.6",
    Feature.COORD_ACCEPT: "4.0.0rc5",
    Feature.MERGE_NEEDS_CHECKOUT: "4.0.0rc5",
    Feature.PLANNING_IN_CHECKOUT: "4.0.0rc5",
}


def test_every_feature_has_a_first_release() -> None:
    """Every feature has a first release."""
    assert set(SINCE) == set(Feature)


@pytest.mark.parametrize("feature", SINCE)
def test_which_hosts_have_a_feature(feature: Feature) -> None:
    """Hosts have a feature from its first release on, and not before."""
    having = {r for r in RELEASES if host(r).supports(feature)}

    assert having == {r for r in RELEASES if Version(r) >= Version(SINCE[feature])}


@pytest.mark.parametrize("name", ["\u00e9", "-x", "a b", "_x"])
def test_a_name_that_hosts_crash_at_is_not_sent(name: str) -> None:
    """The SDK refuses a mission name at which hosts from 3.2.0 on crash."""
    call = MissionState(mission=name)
    with pytest.raises(InvalidCall, match="not a slug or id"):
        spell(call, Contract(Version("1.5.0"), Version("3.2.7")))
    assert spell(call, Contract(Version("1.0.0"), Version("3.1.10")))[-1] == f"--mission={name}"
