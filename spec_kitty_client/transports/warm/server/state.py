"""The state of a process that every module in it shares."""

import atexit
import builtins
import contextlib
import gc
import locale
import logging
import os
import resource
import signal
import sys
import threading
import types
import warnings
from collections.abc import Generator
from typing import Any

__all__ = ["changes", "private", "state", "threads", "undone"]


_USUAL: tuple[Any, ...] = [], logging.NOTSET, True, False  # settings of a logger


def private(module: types.ModuleType) -> Any:
    """Return a standard module as Any, to read its private attributes."""
    return module


@contextlib.contextmanager
def undone() -> Generator[None]:
    """Restore all process-wide settings that a program changes."""
    before, folder, argv = state(), os.getcwd(), list(sys.argv)
    captured, main = private(logging)._warnings_showwarning, sys.modules["__main__"]
    logs = [
        (x, list(x.handlers), [(h, h.level) for h in x.handlers], x.level, x.propagate, x.disabled)
        for _, x in _loggers()
    ]
    try:
        yield
    finally:
        for logger, handlers, levels, level, propagate, disabled in logs:
            logger.handlers[:] = handlers
            for handler, own in levels:
                handler.setLevel(own)
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled
        private(logging)._warnings_showwarning = captured
        warnings.showwarning, sys.excepthook = before["warnings"][0], before["hooks"][0]
        warnings.resetwarnings()
        private(warnings).filters.extend(before["warnings"][1])
        os.environ.clear()
        os.environ.update(before["environment"])
        os.chdir(folder)
        sys.path[:], sys.argv[:], sys.modules["__main__"] = before["paths"][0], argv, main
        for number, was in before["signals"].items():
            if was is not None and signal.getsignal(number) != was:
                signal.signal(number, was)


def _loggers() -> list[tuple[str, logging.Logger]]:
    known = logging.root.manager.loggerDict.items()
    return [("", logging.root), *((n, x) for n, x in known if isinstance(x, logging.Logger))]


def _settings(logger: logging.Logger) -> tuple[Any, ...]:
    handlers = [
        (type(h), h.level) for h in logger.handlers if not isinstance(h, logging.NullHandler)
    ]
    return handlers, logger.level, logger.propagate, logger.disabled


def state() -> dict[str, Any]:
    """Return all process-wide settings, by name."""
    umask = os.umask(0)
    os.umask(umask)
    socket, random = sys.modules.get("socket"), sys.modules.get("random")
    limits = [getattr(resource, x) for x in dir(resource) if x.startswith("RLIMIT_")]
    return {
        "environment": dict(os.environ),
        "folder": os.path.realpath("."),
        "umask": umask,
        "paths": (list(sys.path), list(sys.meta_path), list(sys.path_hooks)),
        "warnings": (warnings.showwarning, list(warnings.filters)),
        "loggers": {n: about for n, x in _loggers() if (about := _settings(x)) != _USUAL},
        "logging": (logging.root.manager.disable, logging.getLogRecordFactory()),
        "signals": {n: signal.getsignal(n) for n in signal.valid_signals()},
        "locale": locale.setlocale(locale.LC_ALL),
        "builtins": dict(vars(builtins)),
        "hooks": (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook),
        "exit": private(atexit)._ncallbacks(),
        "threads": threads(),
        "limits": {number: resource.getrlimit(number) for number in limits},
        "sockets": (private(socket).getdefaulttimeout() if socket else None,),
        "random": private(random).getstate() if random else None,
        "streams": [
            (x, getattr(x, "encoding", None), getattr(x, "errors", None))
            for x in (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        ],
        "open files": _open_files(),
        "interpreter": (sys.getrecursionlimit(), sys.gettrace(), sys.getprofile()),
        "collector": (gc.isenabled(), gc.get_threshold(), list(gc.callbacks)),
    }


def changes(before: dict[str, Any], after: dict[str, Any] | None = None) -> list[str]:
    """Return the names of the settings that differ, by default from the current ones."""
    now = after or state()
    return [name for name in before if before[name] not in (None, now[name])]


def threads() -> int:
    """Return the number of threads; a fork has only the one that forks."""
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    return threading.active_count()


def _open_files() -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(os.listdir("/dev/fd"))
    return []
