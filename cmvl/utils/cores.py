"""How many cores there are for this process; a machine may have more."""

import math
import os
from contextlib import suppress
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def cores() -> int:
    """By its affinity and by its container's quota (docker --cpus, limits of Kubernetes)."""
    affinity = getattr(os, "sched_getaffinity", None)
    there = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(there, quota())))


def quota() -> float:
    """Cores' worth of time that control groups leave, of version 1 or 2; infinity: all of it."""
    limits = [math.inf]
    with suppress(OSError):
        for line in OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            base, own = GROUPS / ("cpu" if controllers else ""), Path(path.lstrip("/"))
            limits += [_limit(base / group) for group in (own, *own.parents)]
    return min(limits)


def _limit(group: Path) -> float:
    """Of one group. A container has its own as the root, whatever its path is outside."""
    with suppress(OSError, ValueError):  # not there, or "max"
        if (both := group / "cpu.max").exists():
            allowed, period = map(int, both.read_text().split())
        else:
            allowed, period = (
                int((group / f"cpu.cfs_{what}_us").read_text()) for what in ("quota", "period")
            )
        return allowed / period if allowed > 0 else math.inf
    return math.inf
