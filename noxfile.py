"""Every check of this project. Plain ``nox`` runs what CI runs; the rest goes by name."""

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|venv"
nox.options.error_on_missing_interpreters = True

PROJECT = nox.project.load_toml("pyproject.toml")
OLD_TYPER = "typer<0.26"  # a newer one breaks hosts 2.1 to 3.2.5, which do not say so
HOSTS: dict[str, tuple[str, ...]] = {  # release: what its environment needs beside it
    "1.0.3": (),
    "2.1.3": (OLD_TYPER,),
    "3.0.3": (OLD_TYPER,),
    "3.1.0": (OLD_TYPER,),
    "3.1.10": (OLD_TYPER,),
    "3.2.1": (OLD_TYPER,),
    "3.2.5": (OLD_TYPER,),
    "3.2.6.2": (),
    "3.2.7": (),
    "4.0.0rc7": (),
}
DOES_NOT_START = "3.2.1"  # with the newest typer; that is recorded as well
RECORDED = {**HOSTS, "3.2.2": (OLD_TYPER,)}
NEWEST = "3.2.7"
PYTHONS = [
    classifier.rpartition(" :: ")[2]
    for classifier in PROJECT["project"]["classifiers"]
    if classifier.startswith("Programming Language :: Python :: 3.")
]
WITHOUT_IO = tuple(
    f"tests/client/{name}"
    for name in ("api", "contract", "policy", "_engine", "test_client.py", "test_errors.py")
)
CI_HOSTS = ("1.0.3", "3.1.10", NEWEST)
nox.options.sessions = [
    *("lint", "types", "docs", "tests", "lowest(quick)"),
    *(f"e2e(host={host!r})" for host in CI_HOSTS),
]


def group(*names: str) -> list[str]:
    return nox.project.dependency_groups(PROJECT, *names)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and which module may import which."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Two type checkers over the packages, and a third over the public API as a user writes it."""
    session.install(".", *group("types"))
    session.run(
        "mypy", "spec_kitty_client", "spec_kitty_orchestrator", "tests/typing", "docs/examples"
    )
    session.run("pyright")
    # Complete: every public symbol has a type that all checkers agree on.
    session.run("pyright", "--verifytypes=spec_kitty_client", "--ignoreexternal")
    session.run("pyrefly", "check", "tests/typing/api.py")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, with every link looked after."""
    session.install(*group("docs"))
    session.run("mkdocs", "build", "--strict", "--site-dir", session.create_tmp())


@nox.session
def tests(session: nox.Session) -> None:
    """Unit and property tests."""
    session.install(".", *group("tests"))
    session.run("pytest", "--numprocesses=auto", "-m=not long", *session.posargs)


@nox.session
@nox.parametrize("only", [nox.param(WITHOUT_IO, id="quick"), nox.param((), id="all")])
def lowest(session: nox.Session, only: tuple[str, ...]) -> None:
    """Unit and property tests with the oldest dependencies that pyproject.toml allows.

    ``quick`` runs what starts no process: the SDK without workflow, transports and testing kit.
    """
    session.install("uv")
    python = f"--python={session.virtualenv.location}"
    oldest = ("--resolution=lowest-direct", ".[testing,otel]", *group("tests"))
    session.run("uv", "pip", "install", "--quiet", python, *oldest)
    session.run("pytest", "--numprocesses=auto", "-m=not long", *only, *session.posargs)


@nox.session(python=PYTHONS)
def pythons(session: nox.Session) -> None:
    """Unit and property tests of the built wheel, beside a copy of the tests alone."""
    session.install("build", *group("tests"))
    # Not `create_tmp`: pytest would put the folders of tests there, below this pyproject.toml.
    folder = Path(session.cache_dir).resolve() / f"wheel-{session.python}"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--wheel", f"--outdir={folder}", silent=True)
    session.install(*map(str, folder.glob("*.whl")))
    for name in ("tests", "docs"):
        shutil.copytree(name, folder / name)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(name, folder)
    session.chdir(folder)
    session.run("pytest", "--numprocesses=auto", "-m=not long", *session.posargs)


@nox.session
@nox.parametrize("host", list(HOSTS))
def e2e(session: nox.Session, host: str) -> None:
    """End to end on a real host, which has an environment of its own."""
    session.install(".", *group("tests"))
    spec_kitty = host_environment(session, host)
    # Not an argument, so that options alone (-k merge) still mean these tests.
    where = ["--override-ini=testpaths=tests/e2e"]
    where.append("-m=not long" if host == NEWEST else "-m=not once and not long")
    session.run(
        "pytest", "--numprocesses=auto", *where, *session.posargs, env={"E2E_HOST": str(spec_kitty)}
    )


@nox.session
def shapes(session: nox.Session) -> None:
    """Missions of all shapes and topologies, and a long comparison of hosts. 10 minutes."""
    session.install(".", *group("tests"))
    env = {"E2E_HOST": str(host_environment(session, NEWEST))}
    where = "--override-ini=testpaths=tests/e2e"
    session.run("pytest", "--numprocesses=auto", where, "-m=long", *session.posargs, env=env)


@nox.session
def reliability(session: nox.Session) -> None:
    """Runs that are killed at each of their effects, and that are to end while something hangs."""
    session.install(".", *group("tests"))
    env = {"CRASH_EVERY": "1"}
    where = ("tests/crash", "tests/orchestrator/test_interruption.py")
    session.run("pytest", "--numprocesses=auto", *where, *session.posargs, env=env)


@nox.session
def simulation(session: nox.Session) -> None:
    """20,000 missions under trouble of every kind, each decided by a seed. A quarter of an hour."""
    session.install(".", *group("tests"))
    session.run("python", "-m", "tests.sim", *(session.posargs or ["--seeds", "20000"]))


@nox.session
@nox.parametrize("host", list(HOSTS))
def storm(session: nox.Session, host: str) -> None:
    """1,000 calls of a warm host, 8 at a time, some of which are killed."""
    session.install(".", *group("tests"))
    env = {"E2E_HOST": str(host_environment(session, host)), "STORM": "1000"}
    session.run("pytest", "tests/e2e/test_warm.py", "-k=storm", *session.posargs, env=env)


@nox.session
@nox.parametrize("host", ["1.0.3", "3.1.10", "3.2.2", NEWEST])
def policies(session: nox.Session, host: str) -> None:
    """20,000 generated policies: what we say of each, and what the host does. 15 minutes."""
    session.install(".", *group("tests"))
    env = {"E2E_HOST": str(host_environment(session, host)), "POLICY_TEXTS": "20000"}
    told = "--hypothesis-show-statistics"
    session.run("pytest", "tests/e2e/test_policies.py", told, *session.posargs, env=env)


@nox.session
@nox.parametrize("host", list(HOSTS))
def differential(session: nox.Session, host: str) -> None:
    """300 sequences of up to 25 calls, on a real host and a simulated one, without and with git."""
    session.install(".", *group("tests"))
    env = {"E2E_HOST": str(host_environment(session, host)), "DIFFERENTIAL": "300"}
    session.run("pytest", "tests/e2e/test_differential.py", *session.posargs, env=env)


@nox.session
def journal(session: nox.Session) -> None:
    """A real journal, cut at every byte and with every byte flipped: half an hour."""
    session.install(".", *group("tests"))
    where = "tests/orchestrator/state/test_every_byte.py"
    session.run("pytest", "-n2", "-rP", where, *session.posargs, env={"EVERY_BYTE": "1"})


@nox.session
def mutants(session: nox.Session) -> None:
    """Every rule switched off, one at a time: a test has to fail. Writes tests/mutants/TABLE.md."""
    session.install(".", *group("tests"))
    session.run("python", "-m", "tests.mutants", "--table=tests/mutants/TABLE.md", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """How fast calls, missions and commands are, against the baseline. A quiet machine."""
    session.install(".", *group("tests"))  # virtual time is trio's
    hosts = [f"--host={host_environment(session, host)}" for host in (NEWEST, "1.0.3")]
    baseline = "--baseline=tests/bench/baseline.json"
    session.run("python", "-m", "tests.bench", *hosts, baseline, *session.posargs)


@nox.session
@nox.parametrize("host", list(RECORDED))
def equality(session: nox.Session, host: str) -> None:
    """Every recorded scenario, warm and cold: the same answers, files and commits."""
    session.install(".")
    options = ["--host", str(host_environment(session, host)), "--release", host]
    session.run("python", "-m", "tests.record.equality", *options, *session.posargs)


@nox.session
@nox.parametrize("host", list(RECORDED))
def record(session: nox.Session, host: str) -> None:
    """Write tests/corpus anew: what a real host answers, to every call and every mistake.

    ``-- --only=planning,sharing`` plays some scenarios, and leaves the rest of the record alone.
    """
    session.install(".")
    spec_kitty = host_environment(session, host)
    options = ["--host", str(spec_kitty), "--release", host]
    if host == DOES_NOT_START:
        options += ["--broken-host", str(host_environment(session, host, broken=True))]
    session.run("python", "-m", "tests.record", *options, *session.posargs)


def host_environment(session: nox.Session, version: str, *, broken: bool = False) -> Path:
    """Install a host beside the sessions, once, and return its program."""
    name = f"host-{version}" + ("-broken" if broken else "")
    needs = () if broken else RECORDED[version]
    home = Path(session.cache_dir).resolve() / name
    spec_kitty = home / "bin" / "spec-kitty"
    ready = home / "ready"  # an installation that was cut short is begun anew
    if not ready.exists():
        python = home / "bin" / "python"
        session.run("python", "-m", "venv", "--clear", str(home), silent=True)
        # pip, because uv does not take what these releases pin and their makers have yanked.
        session.run(
            str(python), "-m", "pip", "install", "--quiet", f"spec-kitty-cli=={version}",
            *needs, external=True, env={"HOME": os.environ.get("HOME", "/")},
        )  # fmt: skip
        ready.touch()
    return spec_kitty
