"""Tests of `spec_kitty_client.testing.tape` and of its placeholders."""

import json
import os
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread

import pytest

from spec_kitty_client import AsyncClient, Client, Completed, Review
from spec_kitty_client.errors import HostNotFound, HostTimeout, NotFound, SpecKittyError
from spec_kitty_client.testing.placeholders import Ids, Placeholders
from spec_kitty_client.testing.tape import Tape, TapeDamaged, TapeMismatch
from spec_kitty_client.transports import (
    AsyncGitTransport,
    Closeable,
    GitTransport,
    HasIdentity,
    Transport,
)
from tests.client.answers import POLICY, Scripted, completed, line, success
from tests.client.simulated import SLUG, AsyncWithGit, Simulated, WithGit

REVIEW = Review(reviewer="rev", reference="r1")
READ = ("orchestrator-api", "mission-state", f"--mission={SLUG}")
ULID = "01JQW3Z8Y7X6V5T4S3R2Q1P0N9"
OTHER = "01JQW3Z8Y7X6V5T4S3R2Q1P0NA"
CORR = "corr-0123456789abcdef0123456789abcdef"


def client(transport: Transport) -> Client:
    """Return a client with an actor and a policy."""
    return Client(actor="ada", policy=POLICY, transport=transport)


def work(mine: Client) -> str:
    """Take a work package from planned to done, and return its lane."""
    mine.start_implementation(SLUG, "WP01")
    mine.mission(SLUG).work_package("WP01").submit_for_review()
    mine.mission(SLUG).work_package("WP01").begin_review()
    mine.mission(SLUG).work_package("WP01").finish(REVIEW)
    return mine.mission_state(SLUG).lanes()["WP01"]


def both(tape: Tape, host: Transport, there: Tape | None = None) -> Iterator[Transport]:
    """Yield a transport that records a host, and then the replay of that."""
    yield tape.record(host)
    yield (there or tape).replay(strict=False)


def lines(path: Path) -> list[dict[str, object]]:
    """Return the lines of a tape."""
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("release", ["1.0.3", "3.1.10", "3.2.7"])
@pytest.mark.parametrize("strict", [True, False])
def test_a_replay_answers_as_the_host_did(release: str, strict: bool, tmp_path: Path) -> None:
    """A replay gives the same replies without a host."""
    tape = Tape(tmp_path / "tape.jsonl")
    recorded = work(client(tape.record(Simulated(release))))
    with tape.replay(strict=strict) as transport:
        assert work(client(transport)) == recorded == "done"


@pytest.mark.anyio
async def test_the_same_without_blocking(tmp_path: Path) -> None:
    """An async client records the same tape as a blocking one, and replays it."""
    one, two = (Tape(tmp_path / name) for name in ("one", "two"))
    host = WithGit("3.2.7")
    mine = AsyncClient(actor="ada", policy=POLICY, transport=one.record_async(AsyncWithGit(host)))
    await mine.start_implementation(SLUG, "WP01")
    client(two.record(WithGit("3.2.7"))).start_implementation(SLUG, "WP01")
    assert one.path.read_text() == two.path.read_text()

    transport = two.replay_async()
    mine = AsyncClient(actor="ada", policy=POLICY, transport=transport)
    started = await mine.start_implementation(SLUG, "WP01")
    assert started.to_lane == "in_progress"
    with pytest.raises(TapeMismatch) as e:
        await mine.mission_state(SLUG)
    with pytest.raises(TapeMismatch) as again:
        transport.close()
    assert again.value is e.value


def test_git_is_recorded_as_well(repo: Path, tmp_path: Path) -> None:
    """A workflow verb that makes a worktree is replayed in a folder without a repository."""
    host = WithGit("1.0.3", root=repo)
    recorded = (
        client(Tape(tmp_path / "tape", root=repo).record(host))
        .mission(SLUG)
        .work_package("WP01")
        .claim()
    )
    assert Path(recorded.workspace_path).is_dir()

    elsewhere = tmp_path / "elsewhere"
    with Tape(tmp_path / "tape", root=elsewhere).replay() as transport:
        started = client(transport).mission(SLUG).work_package("WP01").claim()
    assert started.workspace_path == f"{elsewhere}/.worktrees/{SLUG}-WP01"
    assert str(repo) not in (tmp_path / "tape").read_text()


@pytest.mark.anyio
async def test_git_is_recorded_without_blocking(repo: Path, tmp_path: Path) -> None:
    """The async transports record and replay calls of git."""
    tape = Tape(tmp_path / "tape", root=repo)
    host = WithGit("1.0.3", root=repo)
    mine = AsyncClient(actor="ada", policy=POLICY, transport=tape.record_async(AsyncWithGit(host)))
    recorded = await mine.mission(SLUG).work_package("WP01").claim()
    with tape.replay_async() as transport:
        mine = AsyncClient(actor="ada", policy=POLICY, transport=transport)
        assert await mine.mission(SLUG).work_package("WP01").claim() == recorded


class IdentifiedHost(Simulated):
    """A host that has an identity and can be closed."""

    def identity(self) -> str:
        return "host"

    def prepare(self) -> None:
        """Start nothing."""

    def close(self) -> None:
        """End nothing."""


@pytest.mark.parametrize("wrapped", [Simulated("3.2.7"), WithGit("3.2.7"), IdentifiedHost("3.2.7")])
def test_what_the_transports_can_do(wrapped: Transport, tmp_path: Path) -> None:
    """Recording and replay can run git if the host can, and neither has an identity."""
    tape = Tape(tmp_path / "tape")
    recording, replay = tape.record(wrapped), tape.replay()
    has_git = isinstance(wrapped, GitTransport)
    for transport in (recording, replay, tape.replay_async()):
        assert isinstance(transport, GitTransport | AsyncGitTransport) == has_git
        assert not isinstance(transport, HasIdentity)
    assert isinstance(recording, Closeable) == isinstance(wrapped, Closeable)
    assert not isinstance(replay, Closeable)


# The lines of a tape


def test_every_call_is_on_the_tape_at_once(tmp_path: Path) -> None:
    """A killed recording has all calls that had ended."""
    tape = Tape(tmp_path / "tape")
    recording = tape.record(Simulated("3.2.7"))
    for n in range(3):
        recording.run(READ, time_limit=1.0)
        assert len(lines(tape.path)) == n + 2


def test_a_tape_is_not_overwritten(tmp_path: Path) -> None:
    """Recording refuses a tape that exists, and replaces it only with `overwrite`."""
    tape = Tape(tmp_path / "tape")
    tape.record(Simulated("3.2.7")).run(READ, time_limit=1.0)
    before = tape.path.read_bytes()
    with pytest.raises(FileExistsError):
        tape.record(Simulated("3.2.7"))
    assert tape.path.read_bytes() == before
    tape.record(Simulated("3.2.7"), overwrite=True)
    assert len(lines(tape.path)) == 1


def test_what_differs_is_not_on_the_tape(tmp_path: Path) -> None:
    """A tape has a placeholder for each path, time and id, numbered in the order of values."""
    root = tmp_path / "repo"
    data = {
        "mission_id": ULID,
        "path": f"{root}/kitty-specs/{ULID}",
        "beside": f"{root}-old/x",
        "home": os.path.expanduser("~/x"),  # noqa: PTH111
        "temp": f"{tempfile.gettempdir()}/spec.",
        "commit": "a" * 40,
        "uuid": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "correlation": CORR,
        "at": [
            "2026-11-21T00:00:00.123+00:00",
            "2026-11-21 00:00:00",
            "2026-11-21T00:00:00.123+00:00",
        ],
    }
    host = Scripted(success("mission-state", data))
    tape = Tape(tmp_path / "tape", root=root)
    tape.record(host).run(("x", f"--id={OTHER}", f"--root={root}"), time_limit=1.0)
    _, taped = lines(tape.path)
    answered = json.loads(str(taped["stdout"]))

    assert taped["args"] == ["x", "--id={ulid:1}", "--root={root}"]
    assert answered["timestamp"] == "{time:1}"
    assert answered["data"] == {
        "mission_id": "{ulid:2}",
        "path": "{root}/kitty-specs/{ulid:2}",
        "beside": "{temp}" + f"{root}-old/x".removeprefix(tempfile.gettempdir()),
        "home": "{home}/x",
        "temp": "{temp}/spec.",
        "commit": "{commit:1}",
        "uuid": "{uuid:1}",
        "correlation": "corr-{hex:1}",
        "at": ["{time:2}", "{time:3}", "{time:2}"],
    }


def test_secrets_and_other_names(tmp_path: Path) -> None:
    """Values in `known` are never written to the tape, and come back in a replay."""
    host = Scripted(completed(b"s3cr3t! run-17, run-18", stderr=b"demo-WP01 s3cr3t! run-18"))
    known = {"password": "s3cr3t!", "mission": "demo"}
    patterns = {"run": r"run-\d+"}
    Tape(tmp_path / "tape", known=known, patterns=patterns).record(host).run(
        ("--note=s3cr3t!", "--mission=demo"), time_limit=1.0
    )
    text = (tmp_path / "tape").read_text()
    assert "s3cr3t" not in text
    assert '"{mission}-WP01 {password} {run:2}"' in text

    mine = {"password": "other", "mission": "x"}
    replay = Tape(tmp_path / "tape", known=mine, patterns=patterns).replay()
    done = replay.run(("--note=other", "--mission=x"), time_limit=1.0)
    assert done.stdout == b"other run-1, run-2"
    assert done.stderr == b"x-WP01 other run-2"


def test_bytes_survive(tmp_path: Path) -> None:
    """Bytes that are not UTF-8, and text like placeholders, come back unchanged."""
    output = (
        bytes(range(256))
        + b"\xed\xa0\x80 {root} {=root} {ulid:1} {{time:2}} {x}"
        + "\u00e9\U0001f408".encode()
    )
    host = Scripted(completed(output, stderr=output[::-1], exit_code=-9))
    tape = Tape(tmp_path / "tape")
    tape.record(host).run(("--note={root}",), time_limit=1.0)
    done = tape.replay().run(("--note={root}",), time_limit=7.0)
    assert (done.stdout, done.stderr, done.exit_code) == (output, output[::-1], -9)
    assert done.time_limit == 7.0
    assert done.argv == ("spec-kitty", "--note={root}")


def test_paths_are_spelled_as_json_where_they_are_in_json(tmp_path: Path) -> None:
    """A folder with quotes or letters beyond ASCII is replayed as a host would print it."""
    odd = tmp_path / 'caf\u00e9 "x"'
    plain = Tape(tmp_path / "plain", root=tmp_path / "repo")
    prose = f"in {tmp_path}/repo\n".encode()
    plain.record(Scripted(completed(prose + line("x", {"path": f"{tmp_path}/repo/a"})))).run(
        (), time_limit=1.0
    )
    there = Tape(plain.path, root=odd).replay().run((), time_limit=1.0)
    first, second = there.stdout.splitlines()
    assert first.decode() == f"in {odd}"
    assert json.loads(second)["data"]["path"] == f"{odd}/a"

    laid_out = json.dumps({"path": f"{tmp_path}/repo/a"}, indent=2).encode()
    many = Tape(tmp_path / "many", root=tmp_path / "repo")
    many.record(Scripted(completed(laid_out))).run((), time_limit=1.0)
    done = Tape(many.path, root=odd).replay().run((), time_limit=1.0)
    assert json.loads(done.stdout) == {"path": f"{odd}/a"}

    back = Tape(tmp_path / "odd", root=odd)
    back.record(Scripted(there)).run((), time_limit=1.0)
    assert lines(back.path)[1] == lines(plain.path)[1]


def test_timeouts_and_missing_hosts_are_recorded(tmp_path: Path) -> None:
    """A recorded failure fails in the same way in a replay."""

    class Gone:
        def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
            if "list-ready" in args:
                return completed(exit_code=None)
            msg = f"There is no program {tmp_path}/repo/bin."
            raise HostNotFound(msg)

    tape = Tape(tmp_path / "tape", root=tmp_path / "repo")
    replayed = Tape(tmp_path / "tape", root=tmp_path / "other")
    for transport, root in zip(both(tape, Gone(), replayed), ("repo", "other"), strict=True):
        mine = client(transport)
        with pytest.raises(HostTimeout):
            mine.list_ready(SLUG)
        with pytest.raises(HostNotFound, match=f"/{root}/bin"):
            mine.mission_state(SLUG)


# Ids


def test_an_id_that_a_host_made_up_is_known_in_later_calls(tmp_path: Path) -> None:
    """A replay matches a call with an id that the replay itself has answered."""
    host = Scripted(success("specify", {"id": ULID}), success("plan", {"id": ULID}))
    tape = Tape(tmp_path / "tape")
    recording = tape.record(host)
    recording.run(("specify",), time_limit=1.0)
    recording.run(("plan", f"--id={ULID}"), time_limit=1.0)

    with tape.replay() as replay:
        answered = json.loads(replay.run(("specify",), time_limit=1.0).stdout)["data"]["id"]
        assert answered not in (ULID, OTHER)
        assert len(answered) == 26
        again = replay.run(("plan", f"--id={answered}"), time_limit=1.0)
        assert json.loads(again.stdout)["data"]["id"] == answered


def test_an_id_of_the_caller_is_taken_over(tmp_path: Path) -> None:
    """A replay takes the caller's new id in place of the recorded one, and answers with it."""
    host = Scripted(success("plan", {"id": ULID}), success("plan", {"id": ULID}))
    tape = Tape(tmp_path / "tape")
    recording = tape.record(host)
    for _ in range(2):
        recording.run(("plan", f"--id={ULID}", f"--again={ULID}"), time_limit=1.0)

    replay = tape.replay()
    done = replay.run(("plan", f"--id={OTHER}", f"--again={OTHER}"), time_limit=1.0)
    assert json.loads(done.stdout)["data"]["id"] == OTHER
    with pytest.raises(TapeMismatch, match=ULID):
        replay.run(("plan", f"--id={ULID}", f"--again={ULID}"), time_limit=1.0)


def test_two_ids_are_not_one() -> None:
    """A call with two equal ids does not match a recorded call with two different ones."""
    hidden = Placeholders({}, {})
    assert not hidden.match(("{ulid:1}", "{ulid:2}"), (ULID, ULID), Ids())
    assert not hidden.match(("{ulid:1}", "{ulid:1}"), (ULID, OTHER), Ids())
    assert hidden.match(("{ulid:1}", "{ulid:2}"), (ULID, OTHER), Ids())
    assert not hidden.match(("{ulid:1}",), (ULID, OTHER), Ids())
    ids = Ids()
    assert hidden.match(("{ulid:1}",), (ULID,), ids)
    assert not hidden.match(("{ulid:2}",), (ULID,), ids)


def test_a_path_is_a_path_of_its_own() -> None:
    """A name that only begins or ends like a known path is another one."""
    hidden = Placeholders({"root": "/repo", "secret": "key"}, {})
    for text in ("/var/repo", "/repos", "/repo-2", "/repo.old", "/repo_2"):
        assert hidden.hide(text, Ids()) == text
    for text in ("--at=/repo", "file:///repo/x", "/repo.", "'/repo'", "in /repo"):
        assert "{root}" in hidden.hide(text, Ids())
    assert hidden.hide("monkeys", Ids()) == "mon{secret}s"


def test_what_does_not_match_binds_nothing() -> None:
    """A call that does not match binds no id."""
    hidden, ids = Placeholders({}, {}), Ids()
    assert not hidden.match(("{ulid:1}", "x"), (ULID, "y"), ids)
    assert hidden.match(("{ulid:1}", "x"), (OTHER, "x"), ids)


@pytest.mark.parametrize("names", [{"root": "x", "not a name": "y"}, {"time": "x"}])
def test_names_of_placeholders(names: dict[str, str], tmp_path: Path) -> None:
    """A tape refuses an invalid or reserved name of a placeholder, and writes nothing."""
    with pytest.raises(ValueError, match="cannot name a placeholder"):
        Tape(tmp_path / "tape", known=names).record(Scripted())
    assert not (tmp_path / "tape").exists()


# Calls that are not on the tape


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    """A tape with three calls: two reads, and a transition between them."""
    tape = Tape(tmp_path / "tape.jsonl")
    host = Simulated("3.2.7")
    host.put("WP01", "in_progress")
    recording = tape.record(host)
    mine = client(recording)
    mine.mission_state(SLUG)
    mine.transition(SLUG, "WP01", "for_review", note="all done")
    mine.mission_state(SLUG)
    return tape


def test_another_call_is_shown_as_a_difference(tape: Tape) -> None:
    """TapeMismatch has the call's number, and the difference of the recorded and the made one."""
    mine = client(tape.replay())
    mine.mission_state(SLUG)
    with pytest.raises(TapeMismatch) as e:
        mine.transition(SLUG, "WP01", "for_review", note="nearly done")
    shown = str(e.value).splitlines()
    assert shown[0] == f"{tape.path}: call 2 of 3 differs from the call made"
    assert shown[1:3] == ["--- recorded", "+++ made"]
    assert [text for text in shown[4:] if not text.startswith(" ")] == [
        "---note=all done",
        "+--note=nearly done",
    ]
    assert " spec-kitty" in shown
    assert '   "agent_family": "none",' in shown


def test_the_order_counts(tape: Tape) -> None:
    """A strict replay refuses a call out of its order."""
    with pytest.raises(TapeMismatch, match="call 1 of 3"):
        client(tape.replay()).transition(SLUG, "WP01", "for_review", note="all done")


def test_a_call_after_the_end(tape: Tape) -> None:
    """A strict replay refuses a call after the last one on the tape."""
    mine = client(tape.replay())
    mine.mission_state(SLUG)
    mine.transition(SLUG, "WP01", "for_review", note="all done")
    mine.mission_state(SLUG)
    with pytest.raises(TapeMismatch, match=r"no call is left on the tape for\n  spec-kitty\n"):
        mine.mission_state(SLUG)


def test_calls_that_were_not_made(tape: Tape) -> None:
    """A strict replay ends with an error that lists the calls not made, or with the test's own."""
    with pytest.raises(TapeMismatch) as e, tape.replay() as transport:
        client(transport).mission_state(SLUG)
    shown = str(e.value).splitlines()
    assert shown[0] == f"{tape.path}: 2 of 3 calls were not made"
    assert [text.split(" --")[0] for text in shown[1:]] == [
        "  2: spec-kitty orchestrator-api transition",
        "  3: spec-kitty orchestrator-api mission-state",
    ]
    with pytest.raises(KeyError), tape.replay():
        raise KeyError


def test_a_long_list_of_calls_that_were_not_made(tmp_path: Path) -> None:
    """TapeMismatch lists ten calls that were not made, and counts the rest."""
    tape = Tape(tmp_path / "tape")
    recording = tape.record(Simulated("3.2.7"))
    for _ in range(25):
        recording.run(READ, time_limit=1.0)
    with pytest.raises(TapeMismatch) as e:
        tape.replay().close()
    assert len(str(e.value).splitlines()) == 12
    assert str(e.value).endswith("and 15 more")


def test_a_mismatch_that_was_caught_is_told_at_the_end(tape: Tape) -> None:
    """A replay raises a mismatch again at its end if it was caught before."""

    def play() -> None:
        with tape.replay(strict=False) as transport, pytest.raises(TapeMismatch):
            client(transport).list_ready(SLUG)

    with pytest.raises(TapeMismatch, match="list-ready"):
        play()
    assert not issubclass(TapeMismatch, SpecKittyError)


def test_matching_takes_calls_in_any_order(tape: Tape) -> None:
    """A replay that is not strict answers reads in order, and then repeats the last answer."""
    with tape.replay(strict=False) as transport:
        mine = client(transport)
        seen = [mine.mission_state(SLUG).lanes()["WP01"] for _ in range(4)]
        assert seen == ["in_progress", "for_review", "for_review", "for_review"]
        mine.transition(SLUG, "WP01", "for_review", note="all done")


def test_matching_does_not_need_all_calls(tape: Tape) -> None:
    """A replay that is not strict allows calls that are not made."""
    with tape.replay(strict=False) as transport:
        seen = client(transport).mission_state(SLUG).lanes()
    assert seen == {"WP01": "in_progress"}


def test_matching_answers_no_mutation_twice(tape: Tape) -> None:
    """A replay answers a mutation once; the error shows the most similar call."""
    mine = client(tape.replay(strict=False))
    mine.mission_state(SLUG)
    with pytest.raises(TapeMismatch, match="call 2 of 3 is the most similar to the call"):
        mine.transition(SLUG, "WP01", "for_review", note="nearly done")
    mine.transition(SLUG, "WP01", "for_review", note="all done")
    with pytest.raises(TapeMismatch):
        mine.transition(SLUG, "WP01", "for_review", note="all done")


def test_parallel_calls_are_recorded_and_matched(tmp_path: Path) -> None:
    """Parallel calls are recorded as whole lines, each of which answers one call."""
    tape = Tape(tmp_path / "tape")

    def calls(transport: Transport, n: int, seen: list[bytes]) -> None:
        for i in range(20):
            done = transport.run(
                ("orchestrator-api", "append-history", f"--note={n}/{i}"), time_limit=1
            )
            seen.append(done.stdout)

    class Echo:
        def run(self, args: Sequence[str], *, time_limit: float) -> Completed:
            return completed(args[-1].encode())

    for transport in both(tape, Echo()):
        seen: list[bytes] = []
        threads = [Thread(target=calls, args=(transport, n, seen)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == sorted(
            f"--note={n}/{i}".encode() for n in range(5) for i in range(20)
        )


# Damage


def test_a_cut_line_is_named(tape: Tape) -> None:
    """A replay refuses a tape with a cut line, and names the line."""
    text = tape.path.read_text()
    tape.path.write_text(text[: len(text) - 40])
    with pytest.raises(TapeDamaged, match=r"tape\.jsonl, line 4: this is not JSON") as e:
        tape.replay()
    assert e.value.line == 4
    assert isinstance(e.value, SpecKittyError)
    assert str(pickle.loads(pickle.dumps(e.value))) == str(e.value)  # noqa: S301


@pytest.mark.parametrize(
    ("number", "text", "what"),
    [
        (1, '{"tape": 99}', "not the header of a tape of format 1"),
        (1, '{"contract_version": "1.0.0"}', "not the header"),
        (1, "hello", "not JSON"),
        (2, "[]", "not a JSON object"),
        (2, "{}", "not a call"),
        (2, '{"program": "rm", "args": []}', "not a call"),
        (2, '{"program": "git", "args": "abc"}', "args are a list, not str"),
        (2, '{"program": "git", "args": [1]}', "not a call"),
        (2, '{"program": "git", "args": [], "stdout": 1}', "not a call"),
        (2, '{"program": "git", "args": [], "else": 1}', "not a call"),
        (2, "[" * 100_000, "not JSON"),
    ],
)
def test_damage_is_named(tape: Tape, number: int, text: str, what: str) -> None:
    """A replay refuses a malformed line before its first call, and names the line."""
    whole = tape.path.read_text().splitlines()
    whole[number - 1] = text
    tape.path.write_text("\n".join(whole))
    with pytest.raises(TapeDamaged, match=what) as e:
        tape.replay()
    assert e.value.line == number


def test_an_empty_file_is_no_tape(tmp_path: Path) -> None:
    """An empty or missing file is refused."""
    (tmp_path / "tape").touch()
    with pytest.raises(TapeDamaged, match="line 1"):
        Tape(tmp_path / "tape").replay()
    with pytest.raises(FileNotFoundError):
        Tape(tmp_path / "none").replay()


def test_a_tape_with_other_placeholders(tape: Tape) -> None:
    """A replay refuses a tape that has other placeholders than it knows."""
    with pytest.raises(ValueError, match="Give the tape the same `known` and `patterns`"):
        Tape(tape.path, known={"mission": SLUG}).replay()


def test_a_refusal_is_replayed(tmp_path: Path) -> None:
    """An error of the host is the same error in a replay."""
    tape = Tape(tmp_path / "tape")
    for transport in both(tape, Simulated("3.2.7")):
        with pytest.raises(NotFound) as e:
            client(transport).mission_state("nope")
        assert e.value.code == "MISSION_NOT_FOUND"
