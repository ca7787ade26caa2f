"""Make stdout and stderr safe for a run that lasts all night.

A character that a stream cannot encode is printed as an escape. When the reader of a pipe has
gone (``orchestrate | head``), the rest of the output is dropped: the run continues, and its exit
code is the same as with a reader.
"""

import os
import sys
from io import TextIOWrapper

__all__ = ["DurableStream", "repair_streams"]


class DurableStream(TextIOWrapper):
    """A text stream that drops its output once nobody can read it."""

    def write(self, text: str, /) -> int:
        """Write a text, or drop it."""
        try:
            return super().write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop what is buffered."""
        try:
            super().flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        """Point the file descriptor at /dev/null; buffered bytes go there too."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def repair_streams() -> None:
    """Replace `sys.stdout` and `sys.stderr` by streams that never fail."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the descriptor was closed by the shell: `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, TextIOWrapper):
            setattr(sys, name, _durable(stream))


def _durable(stream: TextIOWrapper) -> DurableStream:
    encoding, lines = stream.encoding, stream.line_buffering
    stream.flush()
    return DurableStream(
        stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=lines
    )
