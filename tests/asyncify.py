"""Generate the async client and handles from the sync ones: ``python -m tests.asyncify``."""

import re
from pathlib import Path

import spec_kitty_client

PACKAGE = Path(spec_kitty_client.__file__).parent
SAME = "_at|contract|design|mission|prepare|work_package"  # methods that do not wait, and stay sync
NAMES = ("client", "design_client", "mission")

WORDS = (  # patterns and their replacements, applied in order
    (
        r"^`aio\.(\w+)` is made of this file by.*?change this one\.",
        r"Made of `\1`; change that one.",
    ),
    (r"\bspec_kitty_client\.(client|design_client|mission)\b", r"spec_kitty_client.aio.\1"),
    (r"\b(Client|DesignClient|MissionHandle|WorkPackageHandle|Driver)\b", r"Async\1"),
    (r"\b(Transport|ProcessTransport|WarmTransport)\b", r"Async\1"),
    (r"\bIterator\b", "AsyncIterator"),
    (r"Calls a host and waits for its answer\.", "Calls a host without blocking an event loop."),
    (r"can be used by several threads", "can be used by several tasks"),
    (r"\bdef close\(", "def aclose("),
    (r"\bself\.close\(", "self.aclose("),
    (r"\.close\(\)", ".aclose()"),
    (r"__(enter|exit|iter)__", r"__a\1__"),
    (r"^    def (?=__a(?:enter|exit|iter)__|aclose)", "    async def "),
    (
        r"^    def (?!__|_at\(|contract\(|design\(|mission\(|prepare\(|work_package\()",
        "    async def ",
    ),
    (r"self\._driver\.(aclose|negotiate|call|read|change|sleep)\(", r"await self._driver.\1("),
    (r"self\.(aclose|call|state)\(", r"await self.\1("),
)


def asyncify(source: str) -> str:
    """Return the text of the async module, before it is formatted."""
    for pattern, becomes in WORDS:
        source = re.sub(pattern, becomes, source, flags=re.MULTILINE | re.DOTALL)
    return source


if __name__ == "__main__":
    for name in NAMES:
        text = asyncify((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
        (PACKAGE / "aio" / f"{name}.py").write_text(text, encoding="utf-8")
