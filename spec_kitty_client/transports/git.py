"""The environment and settings of git calls: this repository only, and output for programs.

Transports and the orchestrator call git in this way. The user's settings for recording work stay in
force: identity, signing, hooks, filters, line endings, merge drivers.
"""

from collections.abc import Mapping, Sequence

__all__ = ["GIT_REDIRECTS", "GIT_SET", "GIT_UNSET", "git_environment", "git_words"]

GIT_REDIRECTS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)
"""Variables that point git at another repository, for example inside a hook."""

GIT_UNSET = (
    *GIT_REDIRECTS,
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_DEFAULT_HASH",
    "GIT_QUARANTINE_PATH",
)
"""Variables that a git call must not inherit: the redirects, and those that change its output."""

GIT_SET = {"GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "LC_ALL": "C.UTF-8"}
"""Variables of every git call: no prompt, no editor, messages in English."""

_SETTINGS = {
    "color.ui": "false",
    "core.bigFileThreshold": "16m",  # git reads larger files in pieces, and does not compare them
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "diff.mnemonicPrefix": "false",
    "diff.noprefix": "false",
    "diff.relative": "false",
    "diff.submodule": "short",
    "grep.column": "false",
    "grep.fullName": "false",
    "grep.lineNumber": "false",
    "log.showSignature": "false",
    "merge.autoStash": "false",
    "merge.ff": "true",
    "submodule.recurse": "false",
}
"""Settings that override the user's, because they change the output or what a command does."""


def git_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a git call.

    Args:
        base: The environment to start from.
    """
    return {k: v for k, v in base.items() if k not in GIT_UNSET} | GIT_SET


def git_words(args: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a git command: settings that override the user's, then the arguments.

    Args:
        args: The arguments after ``git``. A ``diff`` is made by git itself, without the user's
            programs that show or convert files.
    """
    settings = [word for item in _SETTINGS.items() for word in ("-c", "=".join(item))]
    command, *rest = args
    plain = ("--no-color", "--no-ext-diff", "--no-textconv") if command == "diff" else ()
    return (*settings, command, *plain, *rest)
