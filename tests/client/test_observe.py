"""Tests of `spec_kitty_client.observe`: the events, logs and spans of calls."""

import logging
import os
import pickle
from pathlib import Path

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from spec_kitty_client import (
    AsyncClient,
    CallEnded,
    CallStarted,
    Client,
    HostTimeout,
    NotFound,
    trace_calls,
)
from spec_kitty_client.testing import AsyncSimulatedHost, Fault, FaultyTransport, SimulatedHost
from spec_kitty_client.transports.process import ProcessTransport
from tests.client.answers import POLICY

Event = CallStarted | CallEnded


@pytest.fixture
def host() -> SimulatedHost:
    return SimulatedHost({"WP01": []})


@pytest.fixture
def seen() -> list[Event]:
    return []


def test_a_call_is_seen_before_and_after(host: SimulatedHost, seen: list[Event]) -> None:
    """The SDK reports start and end of a call, with verb, time, exit code and correlation id."""
    client = Client(transport=host, on_call=seen.append)

    client.mission_state(host.mission.slug)

    started, ended = seen
    assert isinstance(started, CallStarted)
    assert isinstance(ended, CallEnded)
    assert started.number == ended.number
    assert started.verb == ended.verb == "mission-state"
    assert started.argv == ("orchestrator-api", "mission-state", f"--mission={host.mission.slug}")
    assert (started.transport, started.time_limit) == ("SimulatedHost", 120)
    assert (ended.exit_code, ended.error, ended.warm) == (0, None, False)
    assert ended.correlation_id
    assert 0 <= ended.seconds < 60


def test_the_policy_is_not_shown(host: SimulatedHost, seen: list[Event]) -> None:
    """Call events show `--policy=***` in place of the policy."""
    client = Client(transport=host, actor="ada", policy=POLICY, on_call=seen.append)

    client.start_implementation(host.mission.slug, "WP01")

    claims = [e for e in seen if e.verb == "start-implementation"]
    assert len(claims) == 2
    for event in claims:
        assert "--policy=***" in event.argv
        assert POLICY.orchestrator_id not in repr(event)


def test_a_refusal_is_seen(host: SimulatedHost, seen: list[Event]) -> None:
    """The end event of a refused call has the class of the error and the host's code."""
    client = Client(transport=host, on_call=seen.append)

    with pytest.raises(NotFound):
        client.mission_state("000-nope")

    ended = seen[-1]
    assert isinstance(ended, CallEnded)
    assert (ended.error, ended.error_code) == ("NotFound", "MISSION_NOT_FOUND")
    assert (ended.exit_code, bool(ended.correlation_id)) == (1, True)


def test_every_retry_and_question_is_seen(host: SimulatedHost, seen: list[Event]) -> None:
    """The SDK reports each call that a workflow verb makes, one after another."""
    client = Client(transport=host, actor="ada", policy=POLICY, on_call=seen.append)

    client.mission(host.mission.slug).work_package("WP01").claim()

    verbs = [e.verb for e in seen]
    assert verbs == ["contract-version"] * 2 + ["start-implementation"] * 2
    numbers = [e.number for e in seen]
    assert numbers[0] == numbers[1] < numbers[2] == numbers[3]


def test_a_call_without_an_answer_is_seen(host: SimulatedHost, seen: list[Event]) -> None:
    """The end event of a call that timed out names the error and has no exit code."""
    faulty = FaultyTransport(host, {"mission-state": [Fault.TIMEOUT_BEFORE]})
    client = Client(transport=faulty, on_call=seen.append)

    with pytest.raises(HostTimeout):
        client.mission_state(host.mission.slug)

    ended = seen[-1]
    assert isinstance(ended, CallEnded)
    assert (ended.error, ended.exit_code) == ("HostTimeout", None)


def test_a_call_that_is_given_up_is_seen(host: SimulatedHost, seen: list[Event]) -> None:
    """The SDK reports the end of a cancelled call before the cancellation goes on."""

    class Slow(AsyncSimulatedHost):
        async def run(self, args, *, time_limit):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            await anyio.sleep_forever()

    async def main() -> None:
        client = AsyncClient(transport=Slow(host), on_call=seen.append)
        with anyio.move_on_after(0.01):
            await client.mission_state(host.mission.slug)
        assert [type(e) for e in seen] == [CallStarted, CallEnded]

    anyio.run(main)
    ended = seen[-1]
    assert isinstance(ended, CallEnded)
    assert ended.error == "GeneratorExit"


def test_an_observer_that_fails_stops_no_call(
    host: SimulatedHost, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK logs an observer's exception, and the call still returns its reply."""

    def broken(event: Event) -> None:
        raise ZeroDivisionError

    client = Client(transport=host, on_call=broken)

    assert client.mission_state(host.mission.slug).mission_slug == host.mission.slug
    assert "on_call raised an exception" in caplog.text


def test_the_log_is_silent_by_default(
    host: SimulatedHost, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK logs nothing about a call at level INFO."""
    with caplog.at_level(logging.INFO, logger="spec_kitty_client"):
        Client(transport=host).mission_state(host.mission.slug)

    assert caplog.records == []


def test_the_log_tells_every_call_at_level_debug(
    host: SimulatedHost, caplog: pytest.LogCaptureFixture
) -> None:
    """At level DEBUG the SDK logs both events of each call, without the policy."""
    client = Client(transport=host, actor="ada", policy=POLICY)
    with caplog.at_level(logging.DEBUG, logger="spec_kitty_client"):
        client.start_implementation(host.mission.slug, "WP01")

    events = [r.args[0] for r in caplog.records if isinstance(r.args, tuple)]
    assert [type(e) for e in events] == [CallStarted, CallEnded] * 2
    assert POLICY.orchestrator_id not in caplog.text


def test_events_are_plain_values(host: SimulatedHost, seen: list[Event]) -> None:
    """Call events pickle, and work in `match`."""
    Client(transport=host, on_call=seen.append).mission_state(host.mission.slug)

    assert pickle.loads(pickle.dumps(seen)) == seen  # noqa: S301 - our own
    match seen[-1]:
        case CallEnded(verb="mission-state", error=None):
            pass
        case other:
            pytest.fail(repr(other))


@pytest.fixture
def spans() -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def test_a_call_is_a_span(
    host: SimulatedHost, spans: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    """A call is a span below the current one; a refused call's span has status ERROR."""
    provider, exporter = spans
    client = Client(transport=host, on_call=trace_calls(provider))

    with provider.get_tracer("test").start_as_current_span("mine"):
        client.mission_state(host.mission.slug)
        with pytest.raises(NotFound):
            client.mission_state("000-nope")

    good, bad, mine = exporter.get_finished_spans()
    assert [s.name for s in (good, bad, mine)] == ["spec-kitty mission-state"] * 2 + ["mine"]
    for span in (good, bad):
        assert span.parent is not None
        assert span.parent.span_id == mine.context.span_id
        assert span.attributes is not None
        assert span.attributes["spec_kitty.verb"] == "mission-state"
    assert good.status.status_code == StatusCode.UNSET
    assert bad.status.status_code == StatusCode.ERROR
    assert bad.attributes is not None
    assert bad.attributes["spec_kitty.error_code"] == "MISSION_NOT_FOUND"


def test_the_host_gets_the_span(
    tmp_path: Path, spans: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    """Each host process finds the span of its own call in TRACEPARENT."""
    program = tmp_path / "spec-kitty"
    traceparents = tmp_path / "traceparents"
    program.write_text(f'#!/bin/sh\necho "$TRACEPARENT" >> {traceparents}\n', encoding="utf-8")
    program.chmod(0o755)
    provider, exporter = spans
    transport = ProcessTransport(repo=tmp_path, executable=str(program))
    client = Client(transport=transport, on_call=trace_calls(provider))

    for _ in range(2):
        with pytest.raises(Exception, match="nothing"):
            client.mission_state("m")

    ids = [f"{s.context.span_id:016x}" for s in exporter.get_finished_spans()]
    assert [line.split("-")[2] for line in traceparents.read_text().split()] == ids
    assert len(set(ids)) == len(ids) >= 2
    assert "TRACEPARENT" not in os.environ
