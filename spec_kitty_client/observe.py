"""Observe every call to a host, with a function, the log or OpenTelemetry.

`Client(on_call=...)` gets a `CallStarted` and a `CallEnded` for each call. The logger
``spec_kitty_client`` says the same at level DEBUG. `trace_calls` makes OpenTelemetry spans.
"""

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from attrs import field, frozen

from spec_kitty_client.codes import AnyErrorCode
from spec_kitty_client.values import Value

if TYPE_CHECKING:
    import logging

    from opentelemetry.trace import Span, TracerProvider

__all__ = ["CallEnded", "CallStarted", "Observer", "trace_calls"]

_LOGGER = "spec_kitty_client"
_HIDDEN = "--policy="
_numbers = itertools.count(1)


@frozen(kw_only=True)
class CallStarted(Value):
    """A call to the host begins."""

    number: int
    """A number that is unique in this process; the `CallEnded` has the same."""
    verb: str
    """The verb by its newest name, or ``--version``."""
    argv: tuple[str, ...]
    """The arguments after the program's name, with the policy replaced by ``***``."""
    transport: str
    """Name of the transport's class."""
    time_limit: float
    """The time limit of the call, in seconds."""
    env: dict[str, str] = field(factory=dict, repr=False, eq=False)
    """Variables for the host of this call; an observer may add some."""


@frozen(kw_only=True)
class CallEnded(Value):
    """A call to the host has ended, or was cut short."""

    number: int
    """The number of its `CallStarted`."""
    verb: str
    """The verb by its newest name, or ``--version``."""
    argv: tuple[str, ...]
    """The arguments after the program's name, with the policy replaced by ``***``."""
    transport: str
    """Name of the transport's class."""
    seconds: float
    """The duration of the call."""
    warm: bool = False
    """Whether a warm host answered."""
    exit_code: int | None = None
    """None if the host was ended, or was never started."""
    error: str | None = None
    """Name of the exception's class; None: a success."""
    error_code: AnyErrorCode | None = None
    """The host's code of a refusal."""
    correlation_id: str | None = None
    """The host's id of the call, if it has answered."""


Observer = Callable[[CallStarted | CallEnded], None]
"""A function that is called before and after every host call, in the thread or task that makes it.
It must not wait, and must not call the same client; an exception of it is logged, not raised.
"""


class Observation:
    """One call under observation, from `Observation.begin` to the end of a ``with`` block."""

    def __init__(self, observer: Observer | None, started: CallStarted) -> None:
        self.env: dict[str, str] = started.env
        self.warm = False
        self.exit_code: int | None = None
        self.correlation_id: str | None = None
        self._observer = observer
        self._started = started
        self._at = time.perf_counter()
        self._tell(started)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        about, failure = self._started, getattr(error, "failure", None)
        ended = CallEnded(
            number=about.number,
            verb=about.verb,
            argv=about.argv,
            transport=about.transport,
            seconds=time.perf_counter() - self._at,
            warm=self.warm,
            exit_code=self.exit_code,
            error=kind.__name__ if kind else None,
            error_code=getattr(failure, "code", None),
            correlation_id=self.correlation_id or getattr(failure, "correlation_id", None),
        )
        self._tell(ended)

    def _tell(self, event: CallStarted | CallEnded) -> None:
        if log := _log():
            log.debug("%s", event)
        if self._observer is None:
            return
        try:
            self._observer(event)
        except Exception:
            import logging

            logging.getLogger(_LOGGER).exception("on_call raised an exception; the call goes on")


def _log() -> "logging.Logger | None":
    """Return the logger if it is at DEBUG; None also if the program has not imported `logging`."""
    if "logging" not in sys.modules:
        return None
    import logging  # 8 ms, so only if the program has imported it

    logger = logging.getLogger(_LOGGER)
    return logger if logger.isEnabledFor(logging.DEBUG) else None


class Unobserved:
    """A stand-in for an observation without an observer."""

    env: dict[str, str] | None = None
    warm: bool = False
    exit_code: int | None = None
    correlation_id: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def begin(
    observer: Observer | None, verb: str, args: Sequence[str], time_limit: float, transport: object
) -> Observation | Unobserved:
    """Return the observation of a call that begins now."""
    if observer is None and _log() is None:
        return Unobserved()
    started = CallStarted(
        number=next(_numbers),
        verb=verb,
        argv=tuple(f"{_HIDDEN}***" if a.startswith(_HIDDEN) else a for a in args),
        transport=type(transport).__name__,
        time_limit=time_limit,
    )
    return Observation(observer, started)


def trace_calls(tracer_provider: "TracerProvider | None" = None) -> Observer:
    """Return an observer that makes an OpenTelemetry span of every call.

    A span is a child of the current span, and the host gets it as ``TRACEPARENT``. Needs the
    extra ``otel``: ``pip install 'spec-kitty-client[otel]'``.

    Args:
        tracer_provider: The provider that gets the spans. None: the global provider.

    Raises:
        ModuleNotFoundError: If OpenTelemetry is not installed.
    """
    return _Tracer(tracer_provider)


class _Tracer:
    def __init__(self, provider: "TracerProvider | None") -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = trace.get_tracer("spec_kitty_client", tracer_provider=provider)
        self._spans: dict[int, Span] = {}

    def __call__(self, event: CallStarted | CallEnded) -> None:
        if isinstance(event, CallStarted):
            self._start(event)
        elif span := self._spans.pop(event.number, None):
            self._end(span, event)

    def _start(self, event: CallStarted) -> None:
        about = {
            "spec_kitty.verb": event.verb,
            "spec_kitty.transport": event.transport,
            "process.command_args": event.argv,
        }
        kind = self._trace.SpanKind.CLIENT
        span = self._tracer.start_span(f"spec-kitty {event.verb}", kind=kind, attributes=about)
        self._spans[event.number] = span
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=self._trace.set_span_in_context(span))
        event.env.update({name.upper(): value for name, value in carrier.items()})

    def _end(self, span: "Span", event: CallEnded) -> None:
        about: dict[str, Any] = {
            "spec_kitty.warm": event.warm,
            "process.exit_code": event.exit_code,
            "error.type": event.error,
            "spec_kitty.error_code": event.error_code and str(event.error_code),
            "spec_kitty.correlation_id": event.correlation_id,
        }
        span.set_attributes({name: value for name, value in about.items() if value is not None})
        if event.error is not None:
            span.set_status(self._trace.StatusCode.ERROR, event.error_code or event.error)
        span.end()
