"""Makes the async client of the sync one: ``python -m tests.asyncify`` writes the file."""

import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "spec_kitty_client"
SOURCE, TARGET = PACKAGE / "client.py", PACKAGE / "async_client.py"

WORDS = (  # pattern, what it becomes; one after the other
    (
        r'^"""The client: .*?"""',
        '"""The client for anyio event loops, made of `client`; see there."""',
    ),
    (r"^import time\n", ""),
    (r"from threading import Lock\n", ""),
    (r"\bClient\b(?!`)", "AsyncClient"),
    (
        r'    """Calls a host and waits for its answer.*?"""\n',
        '    """Calls a host without blocking an event loop. See `Client` for the arguments."""\n',
    ),
    (r"\bTransport\b", "AsyncTransport"),
    (r"\bGitTransport\b", "AsyncGitTransport"),
    (r"\b(Process|Warm)Transport\b(?!`)", r"Async\1Transport"),
    (r"\bIterator\b", "AsyncIterator"),
    (r"^( +)([^\n]*)= Lock\(\)", r"\1import anyio\n\n\1\2= anyio.Lock()"),
    (r"^( +)time\.sleep\(", r"\1import anyio\n\n\1await anyio.sleep("),
    (r"with self\._negotiation", "async with self._negotiation"),
    (r"\.caller\(\)", ".async_caller()"),
    (r"^    def (?!__|contract\(|close\(|prepare\(|_package)", "    async def "),
    (
        r"return self\.(call|_call|_drive|_do|_git|negotiate|_transport|_retry)\b",
        r"return await self.\1",
    ),
    (r"answer = self\._do", "answer = await self._do"),
    (r"in self\._drive", "in await self._drive"),
    (r"^            self\._sleep", "            await self._sleep"),
)


def asyncify(source: str) -> str:
    """Return the text of the async client, before it is formatted."""
    for pattern, becomes in WORDS:
        source = re.sub(pattern, becomes, source, flags=re.MULTILINE | re.DOTALL)
    return source


if __name__ == "__main__":
    TARGET.write_text(asyncify(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
