"""The shell script that runs a program on another machine, and ends its processes.

It needs a POSIX shell and its usual tools, and ``setsid`` or bash. The script is the first text on
its input. The end of that input means that the caller is gone.
"""

import math
import os
import shlex
from collections.abc import Mapping, Sequence

from attrs import frozen

from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.transports.program import GRACE, LARGEST, LONGEST_WAIT

__all__ = ["OTHER_HOME", "READ", "Task", "environment", "found", "path"]

_ITS_OWN_CLOCK = 30  # seconds after the time limit when the other machine ends the host by itself

# The first shell reads the script's exact size; a script that arrives in part does not parse.
READ = "exec sh -c 'eval \"$(head -c {})\"'"

# Names begin with k_ because the host's environment is in the same namespace.
_BEFORE = r"""
k_say() { printf %s "$k_mark$1;"; }
k_refuse() { { k_say refused; printf %s "$1"; k_say end; } >&2; exit 1; }
k_tools=$PATH
# A group of its own for the host: by setsid, which macOS has not; or by the job control of
# bash, because other shells have it at a terminal only.
k_own=setsid
command -v setsid >/dev/null || {
  k_own=; set -m
  case $- in *m*) ;; *) k_refuse "Install setsid or bash there: no group can be made." ;; esac
}
"""
_REST = r"""
k_path=$PATH PATH=$k_tools
k_dir=$(mktemp -d) || k_refuse "No temporary files can be made there."
exec 3<&0 </dev/null 4>"$k_dir/out" 5>"$k_dir/err" 6<"$k_dir/out" 7<"$k_dir/err" 8>&2
rm -r "$k_dir"
k_say begun; k_say begun >&2
exec 2>/dev/null
# Only a shell that is replaced by the host tells a host that cannot be started from one that
# ends with the same exit code.
(
  exec $k_own sh -c '
    shopt -s execfail 2>/dev/null
    trap "printf %s \"$1failed;\" >&2" EXIT
    printf %s "$1host;" >&2
    PATH=$2
    shift 2
    exec "$@"
    exit
  ' sh "$k_mark" "$k_path" "$@"
) >&4 2>&5 3<&- 4>&- 5>&- 6<&- 7<&- 8>&- &
k_host=$!
k_end() {
  trap "" TERM
  kill -TERM "-$k_host" || kill -TERM "$k_host"
  k_i=0
  while kill -0 "$k_host" && [ "$k_i" -lt "$k_grace" ]; do sleep 0.1; k_i=$((k_i + 1)); done
  kill -KILL "-$k_host"
}
( read -r k_x <&3; k_end ) >/dev/null 4>&- 5>&- 6<&- 7<&- 8>&- &
k_line=$!
# KILL, because a child that has just been forked still has the trap, and would go on.
( trap 'kill -KILL "$!"; exit' TERM; sleep "$k_limit" & wait "$!"; k_end
) >/dev/null 3<&- 4>&- 5>&- 6<&- 7<&- 8>&- &
k_clock=$!
exec 3<&- 4>&- 5>&-
wait "$k_host"
k_code=$?
# Whichever of them is ending the host ignores this and is waited for.
kill -TERM "$k_line" "$k_clock"
wait "$k_line" "$k_clock"
tail -c "$k_largest" <&6
k_say end
exec >&8
tail -c "$k_largest" <&7
k_say code; printf %s "$k_code"; k_say end
"""


def path(given: str) -> str:
    """Return an absolute path on the other machine, as a shell word; ``~`` is the login folder."""
    if given.startswith("/"):
        return shlex.quote(given)
    return '"$PWD"/' + shlex.quote(given.removeprefix("~").removeprefix("/"))


@frozen(kw_only=True)
class Task:
    """A program to run on the other machine."""

    words: tuple[str, ...]
    """The words as a user would type them."""
    folder: str
    nowhere: str
    """The error message if there is no such folder."""
    steps: Sequence[str]
    """Shell commands that set the environment, and ``k_host`` to the path of the program."""

    def script(self, mark: str, time_limit: float) -> bytes:
        """Return the script for the first shell.

        Raises:
            InvalidCall: If there is a NUL in it, which would be lost on the way.
        """
        limit = math.ceil(min(time_limit, LONGEST_WAIT)) + _ITS_OWN_CLOCK
        numbers = f"k_limit={limit} k_grace={GRACE * 10:.0f} k_largest={LARGEST}"
        argv = f'set -- "$k_host" {shlex.join(self.words[1:])}'
        cd = f"cd {path(self.folder)} || k_refuse {shlex.quote(self.nowhere)}"
        lines = (f"{{ k_mark={mark} {numbers}", _BEFORE, *self.steps, argv, cd, _REST, "}")
        if "\0" in (script := "\n".join(lines)):
            raise InvalidCall("A word of the call has a NUL character. Remove it.")
        return os.fsencode(script)


OTHER_HOME = """
if [ -z "${GIT_CONFIG_GLOBAL+x}" ]; then
  GIT_CONFIG_GLOBAL=$HOME/.gitconfig k_other=${XDG_CONFIG_HOME:-$HOME/.config}/git/config
  [ -e "$GIT_CONFIG_GLOBAL" ] || [ ! -e "$k_other" ] || GIT_CONFIG_GLOBAL=$k_other
fi
HOME=@ SPEC_KITTY_HOME=@/.spec-kitty
export GIT_CONFIG_GLOBAL HOME SPEC_KITTY_HOME
"""


def environment(
    given: Mapping[str, str], unset: Sequence[str], fixed: Mapping[str, str]
) -> list[str]:
    """Return the steps that set an environment: given variables, minus some, plus fixed ones."""

    def export(env: Mapping[str, str]) -> list[str]:
        return [f"export {name}={shlex.quote(value)}" for name, value in env.items()]

    return [*export(given), f"unset {' '.join(unset)}", *export(fixed)]


def found(name: str, missing: str) -> list[str]:
    """Return the steps that find a program, or end with a message."""
    where = path(name) if "/" in name else f"$(command -v {shlex.quote(name)})"
    check = '[ -f "$k_host" ] && [ -x "$k_host" ]'
    return [f"k_host={where}", f"{check} || k_refuse {shlex.quote(missing)}"]
