"""Make OpenTelemetry spans of a run: run, turns of work packages, attempts, host calls.

Spans are made only if the program has loaded OpenTelemetry, as ``opentelemetry-instrument
spec-kitty-orchestrator ...`` does; otherwise none of its modules are imported.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from spec_kitty_client import Observer, trace_calls

__all__ = ["Spans"]


class Spans:
    """The spans of one run. Without OpenTelemetry its methods do nothing."""

    def __init__(self) -> None:
        self._tracer: Any = None
        self._root: Any = None
        if "opentelemetry.trace" in sys.modules:
            from opentelemetry import trace

            self._tracer = trace.get_tracer("spec_kitty_orchestrator")

    @property
    def observer(self) -> Observer | None:
        """An observer that makes a span of each host call, as a child of the current one."""
        return trace_calls() if self._tracer else None

    @contextmanager
    def run(self, mission: str) -> Generator[None]:
        """Make the span of the whole run, the parent of all others."""
        with self.step("orchestrate", mission=mission):
            if self._tracer:
                from opentelemetry import context

                self._root = context.get_current()
            yield

    @contextmanager
    def turn(self, wp: str, lane: str) -> Generator[None]:
        """Make the span of one turn of a work package, as a child of the run's span."""
        with self.step(f"{wp} from {lane}", context=self._root, work_package=wp, lane=lane):
            yield

    @contextmanager
    def step(self, name: str, context: Any = None, **about: str | int) -> Generator[None]:
        """Make a span, a child of the current one.

        Args:
            name: Its name.
            context: The parent's context. None: the current one.
            about: Its attributes, without the prefix ``spec_kitty.``.
        """
        if self._tracer is None:
            yield
            return
        attributes = {f"spec_kitty.{key}": value for key, value in about.items()}
        with self._tracer.start_as_current_span(name, context=context, attributes=attributes):
            yield
