"""A host that makes every call in one process.

The host's own interpreter runs it; see `alone`. It imports the standard library only.
"""

import contextlib
import functools
import io
import json
import os
import sys
from pathlib import Path
from typing import Any


def _once(code: Any, script: str, argv: list[str]) -> dict[str, Any]:
    sys.argv[:] = [script, *argv]
    out, err, exit_code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            exec(code, {"__name__": "__main__", "__file__": script})  # noqa: S102 - the host's script
        except SystemExit as e:
            exit_code = e.code if isinstance(e.code, int) else int(e.code is not None)
    return {"exit_code": exit_code, "stdout": out.getvalue(), "stderr": err.getvalue()}


def _main(script: str) -> None:
    requests, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    sys.path[0] = str(Path(script).parent)
    code = compile(Path(script).read_bytes(), script, "exec")
    _once(code, script, ["--version"])
    typer: Any = sys.modules.get("typer.main")
    if typer is not None:  # as a fork server keeps the commands
        typer.get_command = functools.cache(typer.get_command)
    for line in requests:
        argv, folder = json.loads(line)
        os.chdir(folder)
        replies.write(json.dumps(_once(code, script, argv)) + "\n")
        replies.flush()


if __name__ == "__main__":
    _main(sys.argv[1])
