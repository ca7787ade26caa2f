"""Tests of `spec_kitty_client.testing.pytest_plugin` and `plugin`."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from spec_kitty_client import Client, HostTimeout
from spec_kitty_client.contract.dialects import Dialect, dialect_of
from spec_kitty_client.testing import Fault, SimulatedHost, Tape
from spec_kitty_client.testing.host import Release
from spec_kitty_client.testing.plugin import (
    DEFAULT,
    Faulty,
    Marked,
    MarkerMisused,
    PlannedMission,
)
from tests.snippets import ROOT, plugin

pytest_plugins = ["pytester"]

ONE = "def test_it(simulated_host, mission): assert simulated_host.lanes()"


@pytest.fixture(autouse=True)
def _plugin(pytester: pytest.Pytester) -> None:
    """Run pytest with the plugin, strict markers and warnings as errors."""
    named = " ".join(f"-p {name}" for name in plugin())
    pytester.makeini(f"[pytest]\naddopts = --strict-markers {named}\nfilterwarnings = error\n")


def ids(pytester: pytest.Pytester, text: str, *args: str) -> list[str]:
    """Return the names of the tests in a file, all of which pass."""
    pytester.makepyfile(text)
    result = pytester.runpytest("-v", *args)
    names = [line.partition("::")[2].split()[0] for line in result.outlines if "PASSED" in line]
    result.assert_outcomes(passed=len(names))
    return names


def marked(arguments: str, test: str = ONE) -> str:
    return f"import pytest\n\n@pytest.mark.spec_kitty({arguments})\n{test}\n"


# Loading


FILE = "spec_kitty_client/testing/pytest_plugin.py"


def test_the_entry_point_is_the_plugin() -> None:
    """The entry point names a module of the wheel that has all fixtures."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"spec_kitty": "_spec_kitty_pytest"}
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {FILE: "_spec_kitty_pytest.py"}
    fixtures = vars(import_module("spec_kitty_client.testing.pytest_plugin"))
    assert {"simulated_host", "mission", "faulty", "tape"} <= fixtures.keys()


def test_who_does_not_use_it_does_not_pay() -> None:
    """The plugin's module imports nothing that pytest has not imported."""
    code = (
        "import pytest, runpy, sys; runpy.run_path('/dev/null'); old = {*sys.modules};"
        f"runpy.run_path({FILE!r}); print(sorted({{*sys.modules}} - old))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_a_run_without_our_fixtures_imports_nothing_of_ours(pytester: pytest.Pytester) -> None:
    """A run of tests without the plugin's fixtures does not import the SDK."""
    text = "import sys\ndef test_it(): assert not [m for m in sys.modules if 'spec_kitty_c' in m]"
    pytester.makepyfile(text)
    pytester.makepyfile(installed_plugin=(ROOT / FILE).read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\naddopts = -p installed_plugin\npythonpath = .\n")
    result = pytester.runpytest_subprocess("-p", "no:spec_kitty")
    result.assert_outcomes(passed=1)


def test_everything_is_told_by_help(pytester: pytest.Pytester) -> None:
    """Pytest lists the marker, the fixtures and the option of the plugin."""
    pytester.makepyfile(ONE)
    markers = pytester.runpytest("--markers").outlines
    assert any("@pytest.mark.spec_kitty(dialects=(), releases=()" in line for line in markers)
    fixtures = pytester.runpytest("--fixtures").outlines
    for name in ("simulated_host", "mission", "faulty", "tape"):
        assert any(line.startswith(f"{name} ") for line in fixtures)
    assert any("--spec-kitty-record" in line for line in pytester.runpytest("--help").outlines)


# The marker


def test_without_a_marker_it_is_the_newest_release(pytester: pytest.Pytester) -> None:
    """A test without a marker runs once, on 3.2.7, with two work packages and no id."""
    text = (
        "def test_it(simulated_host, mission):\n"
        "    assert simulated_host.release.name == '3.2.7'\n"
        "    assert mission.plan == {'WP01': (), 'WP02': ('WP01',)}\n"
        "    assert mission.slug == simulated_host.mission.slug\n"
    )
    assert ids(pytester, text) == ["test_it"]


def test_a_marker_names_dialects_and_releases(pytester: pytest.Pytester) -> None:
    """A test runs once on each host that its marker names, with the release as its id."""
    text = marked("dialects=['F1', 'M4'], releases=['3.2.2', '3.2.7']")
    assert ids(pytester, text) == ["test_it[1.0.3]", "test_it[3.2.7]", "test_it[3.2.2]"]


def test_the_fixture_is_the_host_that_the_id_names(pytester: pytest.Pytester) -> None:
    """The fixture's release is the one in the test's id."""
    test = (
        "def test_it(simulated_host, request):\n"
        "    assert request.node.name == f'test_it[{simulated_host.release.name}]'"
    )
    assert len(ids(pytester, marked("dialects='all'", test))) == len(Dialect)


def test_all_dialects_are_one_host_each() -> None:
    """``all`` names a release of every dialect, the default among them."""
    hosts = Marked(dialects="all").hosts()
    assert [dialect_of(Release(host).version) for host in hosts] == list(Dialect)
    assert DEFAULT in hosts


def test_the_closest_marker_counts(pytester: pytest.Pytester) -> None:
    """A test's marker replaces the plan of its module, and keeps the module's hosts."""
    text = (
        "import pytest\n"
        "pytestmark = pytest.mark.spec_kitty(dialects='F2', plan={'WP01': []})\n"
        "@pytest.mark.spec_kitty(plan={'WP07': []})\n"
        "def test_it(mission): assert mission.plan == {'WP07': ()}\n"
        "def test_other(mission): assert mission.plan == {'WP01': ()}\n"
        "def test_third(): pass\n"
    )
    assert ids(pytester, text) == ["test_it[3.0.3]", "test_other[3.0.3]", "test_third"]


def test_git_is_behind_it_where_the_marker_says_so(pytester: pytest.Pytester) -> None:
    """With ``git`` the host has a repository in the test's own folder."""
    test = (
        "def test_it(simulated_host, tmp_path):\n"
        "    assert simulated_host.folder.parent == tmp_path\n"
        "    assert (simulated_host.folder / '.git').is_dir()"
    )
    text = marked("dialects=['F1', 'M4'], git=True", test)
    assert ids(pytester, text) == ["test_it[1.0.3]", "test_it[3.2.7]"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dialects": ["M9"]}, r"'M9'. Use F1, F2, M0, M1, M2, M3, M4, M5, or \"all\""),
        ({"dialects": ["F1", "all"]}, "there is no dialect 'all'"),
        ({"releases": ["0.9.0"]}, "Use 1.0.0 or later"),
        ({"releases": ["newest"]}, "'newest' is not a release"),
        ({"releases": ["99.0"]}, "host 99.0 is newer than 4.0.0rc7"),
        ({"releases": [3]}, "a release is text, such as '3.2.7', and not 3"),
    ],
)
def test_a_host_that_there_is_not_is_explained(arguments: dict[str, Any], message: str) -> None:
    """A marker with an unknown host is refused, and no test is run."""
    with pytest.raises(MarkerMisused, match=message):
        Marked(**arguments).hosts()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("dialects='M9'", "there is no dialect 'M9'"),
        (
            "'F1'",
            "does not take 'F1'",
        ),
        (
            "dialect='F1'",
            "does not take dialect",
        ),
    ],
)
def test_a_wrong_marker_ends_the_collection(
    pytester: pytest.Pytester, arguments: str, message: str
) -> None:
    """Pytest shows the message of a wrong marker, without a traceback of the plugin."""
    pytester.makepyfile(marked(arguments))
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    assert message in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    assert "plugin.py" not in result.stdout.str()


def test_a_plan_that_is_none_is_an_error_of_its_test(pytester: pytest.Pytester) -> None:
    """A plan with a cycle is an error of the test that uses it."""
    pytester.makepyfile(marked("plan={'WP01': ['WP01']}"))
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the work packages WP01 depend on each other in a cycle"])


def test_hosts_are_the_same_on_every_worker(pytester: pytest.Pytester) -> None:
    """With pytest-xdist the tests are the same in all workers, and pass."""
    pytester.makepyfile(marked("dialects='all'"))
    result = pytester.runpytest_subprocess("-n2")
    result.assert_outcomes(passed=len(Dialect))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_tests_can_use_the_fixtures(pytester: pytest.Pytester, backend: str) -> None:
    """The fixtures work under asyncio and trio."""
    text = (
        "import pytest\n"
        "from spec_kitty_client import AsyncClient\n"
        "from spec_kitty_client.testing import AsyncSimulatedHost\n"
        "@pytest.fixture\n"
        f"def anyio_backend(): return {backend!r}\n"
        "@pytest.mark.anyio\n"
        "@pytest.mark.spec_kitty(dialects=['F1', 'M4'])\n"
        "async def test_it(simulated_host, mission):\n"
        "    client = AsyncClient(transport=AsyncSimulatedHost(simulated_host))\n"
        "    state = await client.mission_state(mission.slug)\n"
        "    assert set(state.lanes()) == set(mission.plan)\n"
    )
    assert len(ids(pytester, text)) == 2


def test_a_conftest_may_have_its_own_host(pytester: pytest.Pytester) -> None:
    """A user's fixture replaces the plugin's host, and the other fixtures use it."""
    pytester.makeconftest(
        "import pytest\n"
        "from spec_kitty_client.testing import SimulatedHost\n"
        "@pytest.fixture\n"
        "def simulated_host(): return SimulatedHost({'WP09': []}, slug='own')\n"
    )
    text = (
        "def test_it(mission, faulty):\n"
        "    assert (mission.slug, [*mission.plan]) == ('own', ['WP09'])\n"
        "    assert faulty.host.mission.slug == 'own'\n"
    )
    assert ids(pytester, marked("dialects='all'", text)) == ["test_it"]


# Faults


def test_a_fault_hits_the_call_it_is_for() -> None:
    """A fault affects the call that the script names, and is listed afterwards."""
    host = SimulatedHost()
    faulty = Faulty(host)
    client = Client(transport=faulty({"append-history": [Fault.HANG_AFTER]}), actor="ada")
    with pytest.raises(HostTimeout):
        client.append_history(PlannedMission.of(host).slug, "WP01", "a note")
    assert [happened.fault for happened in faulty.happened()] == [Fault.HANG_AFTER]


def test_chance_is_the_same_for_the_same_seed() -> None:
    """The same seed gives the same faults, and another seed gives others."""

    def play(seed: int) -> list[Fault]:
        faulty = Faulty(SimulatedHost())
        transport = faulty.by_chance(seed, 0.5)
        client = Client(transport=transport)
        for _ in range(20):
            try:
                client.contract_version()
            except Exception:  # noqa: BLE001, S112 - faults are what this is about
                continue
        return [happened.fault for happened in faulty.happened()]

    assert play(7) == play(7) != play(8)


def test_a_failed_test_shows_its_faults(pytester: pytest.Pytester) -> None:
    """A failed test prints its faults; a passed one prints nothing."""
    pytester.makepyfile(
        "import pytest\n"
        "from spec_kitty_client import Client, HostTimeout\n"
        "from spec_kitty_client.testing import Fault\n"
        "@pytest.mark.parametrize('fine', [True, False])\n"
        "def test_it(faulty, mission, fine):\n"
        "    faults = {'append-history': [Fault.TIMEOUT_AFTER]}\n"
        "    client = Client(transport=faulty(faults), actor='ada')\n"
        "    with pytest.raises(HostTimeout):\n"
        "        client.append_history(mission.slug, 'WP01', f'note {fine}')\n"
        "    assert fine\n"
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=1, failed=1)
    shown = [line for line in result.outlines if line.startswith("time-out after: ")]
    assert len(shown) == 1
    assert "--note=note False" in shown[0]


# Tapes

READS = "def test_it(tape):\n    Client(transport=tape).contract_version()\n"
IMPORT = "from spec_kitty_client import Client\n"


def record(pytester: pytest.Pytester, path: str, calls: int = 1) -> Path:
    """Record calls of contract-version on a tape, where a test looks for it."""
    tape = pytester.path / "tapes" / path
    tape.parent.mkdir(parents=True)
    client = Client(transport=Tape(tape).record(SimulatedHost()))
    for _ in range(calls):
        client.contract_version()
    return tape


def test_a_tape_is_replayed(pytester: pytest.Pytester) -> None:
    """The fixture replays the tape of the test's file and name, without a host."""
    record(pytester, "test_a_tape_is_replayed/test_it.jsonl")
    assert ids(pytester, IMPORT + READS) == ["test_it"]


def test_names_of_tests_are_told_apart(pytester: pytest.Pytester) -> None:
    """Each class and parameter has its own tape, with any characters in the name."""
    pytester.makepyfile(
        "import pytest\n"
        "class TestIt:\n"
        "    @pytest.mark.parametrize('x', ['a/b', 'a b', '..'])\n"
        "    def test_it(self, tape, x): pass\n"
    )
    result = pytester.runpytest()
    result.assert_outcomes(errors=3)
    where = pytester.path / "tapes" / "test_names_of_tests_are_told_apart"
    for name in ("TestIt.test_it[a%2Fb]", "TestIt.test_it[a b]", "TestIt.test_it[..]"):
        assert f"there is no tape {where / name}.jsonl. Record it: " in result.stdout.str()


def test_a_missing_tape_says_how_to_get_it(pytester: pytest.Pytester) -> None:
    """Without a tape the error names the command that records it."""
    pytester.makepyfile(test_mine=IMPORT + READS)
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["E *Record it: pytest --spec-kitty-record=REPOSITORY 'test_mine.py::test_it'"]
    )


def test_calls_that_are_not_made_are_an_error(pytester: pytest.Pytester) -> None:
    """A test that makes fewer calls than its tape has gets an error."""
    record(pytester, "test_calls_that_are_not_made_are_an_error/test_it.jsonl", calls=2)
    pytester.makepyfile(IMPORT + READS)
    result = pytester.runpytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E *1 of 2 calls were not made"])


def test_a_failure_is_not_told_twice(pytester: pytest.Pytester) -> None:
    """A failed test gets no second error for calls that it did not make."""
    record(pytester, "test_a_failure_is_not_told_twice/test_it.jsonl")
    pytester.makepyfile("def test_it(tape): assert False")
    pytester.runpytest().assert_outcomes(failed=1)


def host_on_path(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a simulated host on PATH as ``spec-kitty``."""
    make = [sys.executable, "-m", "spec_kitty_client.testing.host", "make", "host"]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subprocess.run(make, cwd=pytester.path, check=True, stdout=subprocess.DEVNULL)
    monkeypatch.setenv("PATH", str(pytester.path / "host" / "bin"), prepend=":")


def test_a_tape_is_recorded_and_then_replayed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run replays a tape that was recorded with the option."""
    (pytester.path / "project").mkdir()
    pytester.makepyfile(test_mine=IMPORT + READS)
    with monkeypatch.context() as patch:
        host_on_path(pytester, patch)
        pytester.runpytest("--spec-kitty-record=project").assert_outcomes(passed=1)
    assert (pytester.path / "tapes/test_mine/test_it.jsonl").is_file()
    pytester.runpytest().assert_outcomes(passed=1)


def test_a_recording_that_fails_leaves_the_old_tape(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a passed test replaces its tape."""
    host_on_path(pytester, monkeypatch)
    tape = record(pytester, "test_mine/test_it.jsonl")
    before = tape.read_bytes()
    pytester.makepyfile(test_mine=f"{IMPORT}{READS}    assert False\n")
    pytester.runpytest("--spec-kitty-record=.").assert_outcomes(failed=1)
    assert tape.read_bytes() == before


def test_a_repository_that_is_not_there_is_told(pytester: pytest.Pytester) -> None:
    """Recording in a folder that does not exist is refused."""
    pytester.makepyfile(READS)
    result = pytester.runpytest("--spec-kitty-record=nowhere")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"E *there is no repository {pytester.path}/nowhere to record in"])
