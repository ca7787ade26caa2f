"""Properties of the policies that the SDK accepts, for any values."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from spec_kitty_client import Contract, Policy, PolicyError, PolicyRule, policy_problems
from spec_kitty_client.policy.rules import BANNED_FLAGS, SECRET_WORDS
from spec_kitty_client.testing.strategies.contracts import contracts, hosts
from spec_kitty_client.testing.strategies.policies import policies, policy_json

from .values import attempt, json_values, secret

TEXTS = [name for name in Policy.REQUIRED if name != "dangerous_flags"]

harmless = st.text(max_size=30).filter(lambda t: not secret(t))
spellings = st.sampled_from(SECRET_WORDS).flatmap(
    lambda word: st.tuples(*(st.sampled_from([c, c.upper()]) for c in word)).map("".join)
)
secrets = st.builds("{}{}{}".format, harmless, spellings, harmless)
flags = st.lists(harmless.filter(lambda f: f not in BANNED_FLAGS), max_size=3)
extras = st.dictionaries(
    st.text(max_size=10).filter(lambda k: k not in {*Policy.REQUIRED, "tool_restrictions"}),
    json_values.filter(lambda v: not secret(v)),
    max_size=4,
)


@st.composite
def good(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a policy object that every host accepts."""
    raw: dict[str, Any] = {name: draw(harmless) for name in TEXTS}
    raw["dangerous_flags"] = draw(flags)
    if draw(st.booleans()):
        raw["tool_restrictions"] = draw(st.none() | harmless)
    return {**draw(extras), **raw}


no_text = json_values.filter(lambda v: not isinstance(v, str) and not secret(v))
no_list = json_values.filter(lambda v: not isinstance(v, list) and not secret(v))
MISSING = object()


@st.composite
def broken(draw: st.DrawFn) -> tuple[dict[str, Any], set[str]]:
    """Draw a policy with something wrong in some fields, and the paths of what is wrong."""
    raw = draw(good())
    wrong = draw(st.sets(st.sampled_from([*TEXTS, "dangerous_flags", "tool_restrictions", "more"])))
    paths = set()
    for name in wrong:
        if name == "dangerous_flags":
            bad, path = draw(
                st.one_of(
                    st.tuples(no_list, st.just(name)),
                    st.just((MISSING, name)),
                    st.tuples(
                        st.one_of(st.sampled_from(sorted(BANNED_FLAGS)), secrets, no_text).map(
                            lambda flag: ["--fine", flag]
                        ),
                        st.just(f"{name}[1]"),
                    ),
                )
            )
        elif name == "tool_restrictions":
            bad = draw(secrets | no_text.filter(lambda v: v is not None))
            path = name
        elif name == "more":
            bad = draw(secrets.map(lambda s: {"deep": ["fine", {"er": s}]}))
            path = "more.deep[1].er"
        else:
            bad = draw(st.one_of(no_text, secrets, st.just(MISSING)))
            path = name
        raw[name] = bad
        paths.add(path)
    return {k: v for k, v in raw.items() if v is not MISSING}, paths


anything = st.dictionaries(
    st.sampled_from([*Policy.REQUIRED, "tool_restrictions", "more"]), json_values
)


def verdict(raw: object) -> Policy | PolicyError:
    """Return the policy, or the error that refuses it."""
    return attempt(PolicyError, lambda: Policy.from_dict(raw))


@given(good())
def test_what_every_host_accepts_is_accepted(raw: dict[str, Any]) -> None:
    """The SDK accepts what every host accepts, and drops nothing but null tool_restrictions."""
    sent = Policy.from_dict(raw).to_dict()

    assert sent == {k: v for k, v in raw.items() if (k, v) != ("tool_restrictions", None)}


@given(good())
def test_a_policy_survives_its_own_text(raw: dict[str, Any]) -> None:
    """Reading what was written gives an equal policy and the same text again."""
    policy = Policy.from_dict(raw)
    copy = Policy.from_json(policy.to_json())

    assert copy == policy
    assert copy.to_json() == policy.to_json()
    assert json.loads(policy.to_json()) == policy.to_dict()


@given(st.one_of(good(), anything, broken().map(lambda b: b[0])))
def test_an_accepted_policy_never_holds_a_secret(raw: dict[str, Any]) -> None:
    """No secret word is in any value at any depth, nor a flag that hosts ban."""
    policy = verdict(raw)

    if isinstance(policy, Policy):
        assert not secret(policy.to_dict())
        assert not secret(json.loads(policy.to_json()))
        assert not BANNED_FLAGS & set(policy.dangerous_flags)
    else:
        assert policy.problems


@given(broken())
def test_every_broken_field_is_reported_at_once(case: tuple[dict[str, Any], set[str]]) -> None:
    """The error has exactly one problem per broken field, each with its path."""
    raw, paths = case
    assume(paths)
    error = verdict(raw)

    assert isinstance(error, PolicyError)
    assert {problem.path for problem in error.problems} == paths
    assert all(str(problem) in str(error) for problem in error.problems)


@example(({**dict.fromkeys(TEXTS, "x"), "dangerous_flags": None}, {"dangerous_flags"}))
@given(broken())
def test_building_and_parsing_agree(case: tuple[dict[str, Any], set[str]]) -> None:
    """A policy made in code is judged like the same one read from a file."""
    raw, _ = case
    assume(set(Policy.REQUIRED) <= raw.keys())
    known = {k: v for k, v in raw.items() if k in {*Policy.REQUIRED, "tool_restrictions"}}
    extra = {k: v for k, v in raw.items() if k not in known}
    parsed = verdict(raw)
    built = attempt(PolicyError, lambda: Policy(**known, extra=extra))

    assert type(built) is type(parsed)
    if isinstance(parsed, PolicyError) and isinstance(built, PolicyError):
        assert {*map(str, built.problems)} == {*map(str, parsed.problems)}


@given(harmless.map("<{}>".format), spellings, harmless)
def test_an_error_shows_the_word_and_not_the_secret(before: str, word: str, after: str) -> None:
    """The error has the word, but not the text around it."""
    fine = {**dict.fromkeys(TEXTS, "x"), "dangerous_flags": []}
    error = verdict({**fine, "more": before + word + after})

    assert isinstance(error, PolicyError)
    assert before not in f"{error} {error.problems[0].__notes__} {error.problems[0].args}"
    assert error.problems[0].word is not None
    assert error.problems[0].word.lower() in SECRET_WORDS


@given(st.text() | json_values.map(json.dumps) | policy_json())
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    """Any text gives a policy or a PolicyError, and no other error."""
    policy = attempt(PolicyError, lambda: Policy.from_json(text))

    if isinstance(policy, Policy):
        assert policy == Policy.from_json(policy.to_json())
    else:
        assert str(policy).startswith("policy: ")


@given(policy_json(), contracts())
def test_for_a_host_is_by_the_rules_that_it_has(text: str, contract: Contract) -> None:
    """`for_contract` builds a policy exactly where `policy_problems` finds none for that host."""
    problems = policy_problems(text, contract.release)
    policy = attempt(PolicyError, lambda: Policy.for_contract(text, contract))

    assert isinstance(policy, Policy) is (not problems)
    if isinstance(policy, Policy):
        assert not policy_problems(policy.to_json(), contract.release)
    else:
        assert [*map(str, policy.problems)] == [*map(str, problems)]


@given(policy_json())
def test_a_later_host_never_has_fewer_problems(text: str) -> None:
    """A later host reports every problem of an earlier one, and the newest host reports all."""
    found = [{*map(str, policy_problems(text, host.release))} for host in hosts()]

    assert all(before <= after for before, after in pairwise(found))
    assert found[-1] == {*map(str, policy_problems(text))}


@given(policy_json(), st.sampled_from(PolicyRule))
def test_a_rule_is_the_only_thing_that_its_problems_depend_on(text: str, rule: PolicyRule) -> None:
    """The SDK reports no problem of a rule for a release that does not have the rule yet."""
    assume(rule.since is not None)
    before = [host.release for host in hosts() if not rule.applies_to(host.release)]
    problems = policy_problems(text)

    for release in before:
        gone = {*map(str, problems)} - {*map(str, policy_problems(text, release))}
        assert {str(p) for p in problems if p.rule is rule} <= gone


@given(policies(), st.sampled_from(TEXTS), harmless)
def test_a_change_is_as_if_built_so(policy: Policy, field: str, text: str) -> None:
    """`evolve` gives the same policy as `from_dict` with the changed object."""
    assert policy.evolve(**{field: text}) == Policy.from_dict({**policy.to_dict(), field: text})
