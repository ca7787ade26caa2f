"""The demo's agent: a small program in the place of a coding agent, with no key and no network.

It reads the prompt as any agent does. As an implementer it writes the file that the work
package asks for; at its first try at WP03 it forgets the docstring. As a reviewer it reads
the file and asks for changes when the docstring is missing.
"""

import ast
import json
import os
import re
import sys
from pathlib import Path

FORGETFUL_AT = "WP03"


def implement(wp: str, path: Path, prompt: str) -> str:
    """Write the module; at WP03 without its docstring, until a reviewer asks for it."""
    forgets = wp == FORGETFUL_AT and "A reviewer asked for changes" not in prompt
    docstring = "" if forgets else f'    """Return the name of {wp}."""\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"def status() -> str:\n{docstring}    return {wp!r}\n", encoding="utf-8")
    return f"Wrote {path}."


def review(path: Path) -> str:
    """Look at the module and return a verdict."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    findings = [
        {
            "id": f"F{number}",
            "severity": "blocking",
            "where": f"{path}:{node.lineno}",
            "what": f"{node.name}() has no docstring",
        }
        for number, node in enumerate(functions, 1)
        if not ast.get_docstring(node)
    ]
    verdict = {
        "verdict": "changes_requested" if findings else "approved",
        "summary": "The docstring is missing." if findings else "The module is complete.",
        "findings": findings,
    }
    return f"I have read {path}.\n\n{json.dumps(verdict, indent=1)}"


def main() -> None:
    """Do what the prompt and the environment ask for."""
    prompt = sys.stdin.read()
    asked = re.search(r"Create `([^`]+)`", prompt)
    if asked is None:
        sys.exit("The prompt names no file.")
    path = Path(asked[1])
    if os.environ["SPEC_KITTY_ROLE"] == "review":
        print(review(path))
    else:
        print(implement(os.environ["SPEC_KITTY_WP"], path, prompt))


if __name__ == "__main__":
    main()
