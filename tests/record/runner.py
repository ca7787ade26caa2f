"""Run by the host's own interpreter: imports the host once and forks for every call.

A host takes seconds to import and tenths of one to answer. Standard library only, and nothing
of this project: it is not installed where this runs.
"""

import atexit
import contextlib
import importlib
import importlib.metadata
import json
import os
import signal
import sys
import traceback
from pathlib import Path

_LIMIT = 300  # seconds for one call
_INSTALLERS = (
    "bootstrap.ensure_runtime",
    "agent_skills.ensure_global_agent_skills",
    "agent_commands.ensure_global_agent_commands",
)
_TRIED: set[str] = set()


def main() -> None:
    """Answer requests, one line of JSON each, with exit codes."""
    sys.path.pop(0)  # this folder, whose modules are none of the host's business
    program, folder = sys.argv[1:]
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="spec-kitty")
    run = entry.load()
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for line in requests:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(run, program, Path(folder), request)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()
        _catch_up(Path(folder) / "modules")
        if status == 0 and not request["argv"][0].startswith("-"):
            _settle()


def _catch_up(modules: Path) -> None:
    """Import what the child imported late, so that the next one has it."""
    if not modules.exists():
        return
    for name in modules.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(BaseException):
            importlib.import_module(name)
        _TRIED.add(name)
    modules.unlink()


def _settle() -> None:
    """Skip what a call has done in HOME: 4.0 looks through all of it in every call."""
    for name in _INSTALLERS:
        module, function = name.split(".")
        with contextlib.suppress(ImportError):
            host = importlib.import_module(f"specify_cli.runtime.{module}")
            if hasattr(host, function):
                setattr(host, function, lambda: None)


def _child(run, program, folder, request):  # noqa: ANN001, ANN202 - what the host gives
    signal.alarm(_LIMIT)
    before = set(sys.modules)
    code = 1
    try:
        for number, (name, flags) in enumerate(
            [("stdin", os.O_RDONLY), ("stdout", os.O_RDWR), ("stderr", os.O_RDWR)]
        ):
            os.dup2(os.open(folder / name, flags), number)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        sys.argv = [program, *request["argv"]]
        code = _as_script(run)
        new = set(sys.modules) - before - _TRIED
        (folder / "modules").write_text("\n".join(sorted(new)), encoding="utf-8")
    finally:
        os._exit(code)


def _as_script(run) -> int:  # noqa: ANN001
    """Do what ``sys.exit(main())`` at the end of a script does."""
    try:
        code = run()
    except SystemExit as e:
        code = e.code
    except BaseException as e:  # noqa: BLE001 - the interpreter's part
        hook = sys.excepthook or traceback.print_exception  # the host may have set its own
        hook(type(e), e, e.__traceback__)
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)  # noqa: T201
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


if __name__ == "__main__":
    main()
