"""Missions in the shapes of public repositories: each runs, or is refused before it starts."""

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from packaging.version import Version

from .lab import Lab
from .shape_maker import PROTECTION_OFF, blank, make
from .shapes import SHAPES

SEEN_ON = Version("3.2.7")


@pytest.fixture(params=SHAPES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a shape."""
    return str(request.param)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, release: Version) -> Path:
    """A project without missions, made once, because ``init`` is slow."""
    root = tmp_path_factory.mktemp("blank") / "project"
    return blank(Path(os.environ["E2E_HOST"]), str(release), root)


@pytest.fixture
def lab(
    tmp_path: Path, release: Version, project: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> Lab:
    """Make a mission of the shape, in the environment of its users."""
    if release != SEEN_ON:
        pytest.skip(f"the shapes are made for host {SEEN_ON}")
    shape = SHAPES[name]
    host = Path(os.environ["E2E_HOST"])
    made = make(host, str(release), tmp_path / "project", shape, project)
    if shape.branch == "main":
        monkeypatch.setenv(PROTECTION_OFF, "1")
    return Lab(tmp_path, made)


@pytest.mark.long
def test_a_shape_is_run_to_its_end_or_refused_before_it(lab: Lab, name: str) -> None:
    """Doctor, dry run and run agree on whether a mission can be run, before any agent starts."""
    shape = SHAPES[name]

    doctor = lab.run("doctor", "--mission", lab.slug)
    dry = lab.run("orchestrate", "--dry-run", "--json")
    done = lab.run("orchestrate", "--merge", "--no-accept")

    told = f"{doctor.stdout}\n{dry.stdout}{dry.stderr}\n{done.stdout}{done.stderr}"
    print(told)  # noqa: T201 - helps to explain a failure
    of_mission = [line for line in doctor.stdout.splitlines() if "mission  " in line]
    if shape.missing:
        assert of_mission, told
        for said in (of_mission[0], dry.stdout + dry.stderr, done.stdout + done.stderr):
            assert re.search(shape.missing, said), told
        assert (dry.returncode, done.returncode) == (2, 2), told
        assert not lab.runs("implement")
        return
    assert of_mission, told
    assert of_mission[0].startswith("ok"), told
    assert dry.returncode == 0, told
    assert json.loads(dry.stdout)["layout"]["target"] == shape.branch
    assert done.returncode == 0, told
    once = dict.fromkeys(lab.mission.packages, 1)
    assert lab.runs("implement") == Counter(once)
    assert lab.in_branch(shape.branch) == {p.makes for p in lab.mission.packages.values()}
