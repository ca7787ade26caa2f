"""The host's own option parser, without the effect of a call. Run by the host's interpreter.

Reads one JSON list per line, the words after the program's name, and answers each with
``{"verb": [...], "params": {option: value}}``, or ``{"error": ...}`` if the host would refuse
to read them. It uses the standard library and the host's modules only.
"""

import contextlib
import importlib
import io
import json
import os
import sys
from importlib.metadata import entry_points
from typing import Any

PROGRAM = "spec-kitty"
NOT_GIVEN = {None, "DEFAULT"}


def command_tree() -> Any:
    """Return the command tree of a real start, which is stopped at the parser."""
    sys.argv = [PROGRAM, "orchestrator-api"]
    (script,) = entry_points(group="console_scripts", name=PROGRAM)
    main = script.load()
    typer = importlib.import_module("typer.main")
    started: list[Any] = []
    typer.Typer.__call__ = lambda app, *_, **__: started.append(app)
    main()
    return typer.get_command(started[0])


def contexts(root: Any, argv: list[str]) -> list[Any]:
    """Parse as the host does, from group to group, without calling a command."""
    with contextlib.ExitStack() as entered:
        chain = [entered.enter_context(root.make_context(PROGRAM, argv))]
        while hasattr(chain[-1].command, "resolve_command"):
            here = chain[-1]
            words = [*here._protected_args, *here.args]
            name, command, rest = here.command.resolve_command(here, words)
            here.invoked_subcommand = name
            context = command.make_context(name, rest, parent=here)
            chain.append(entered.enter_context(context))
    return chain


def params(context: Any) -> dict[str, Any]:
    """Return the given values by option, without the host's defaults."""
    return {
        max(param.opts, key=len): context.params[param.name]
        for param in context.command.get_params(context)
        if getattr(context.get_parameter_source(param.name), "name", None) not in NOT_GIVEN
    }


def answer(root: Any, argv: list[str]) -> dict[str, Any]:
    """Return the verb and options that the host parses from some words."""
    sys.argv[1:] = argv
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            chain = contexts(root, list(argv))
            given = {name: value for each in chain for name, value in params(each).items()}
    except (Exception, SystemExit) as e:  # noqa: BLE001 - any error is an answer
        return {"error": f"{type(e).__name__}: {e} {said.getvalue()}"[:1000]}
    return {"verb": [context.info_name for context in chain[1:]], "params": given}


def word(choice: Any) -> Any:
    """Return the word for a parsed value; the host parses some words as enums."""
    return choice.value


def serve() -> None:
    """Answer each line of stdin; output of the host goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    root = command_tree()
    for line in sys.stdin:
        answers.write(json.dumps(answer(root, json.loads(line)), default=word) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
