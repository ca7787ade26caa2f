"""The machine and the commit of a measurement, and the load during it."""

import datetime as dt
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Load", "about", "spent"]


def about() -> dict[str, Any]:
    """Return machine, date and commit."""
    return {
        "machine": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gb": round(psutil.virtual_memory().total / 2**30),
            "os": f"{_distribution()}, Linux {platform.release()}",
            "python": platform.python_version(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": _git("rev-parse", "HEAD"),
        "changed_since": bool(_git("status", "--porcelain")),
    }


class Load:
    """The load of this machine from now on."""

    def __init__(self) -> None:
        self._busy, self._since = _busy(), time.perf_counter()

    def other(self, ours: float) -> float:
        """Return the number of processors that other programs kept busy."""
        return max(0.0, _busy() - self._busy - ours) / (time.perf_counter() - self._since)


def _busy() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


def spent(pid: int) -> float:
    """Return the processor seconds of a process and of its reaped children."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _git(*args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
