"""How much C stack there is: that of the main thread, which the system grows up to a limit. Others may have little."""

from __future__ import annotations

import resource

ENOUGH = 4 << 20
"""Bytes that must be left where there is said to be much room."""
USUAL = 8 << 20
"""What the main thread's stack may grow to where no less is allowed."""


def roomy_stack() -> tuple[int, int]:
    """Between which addresses of the main thread's stack there is much room below; (0, 0) where that is not known."""
    try:
        with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
            ends = [int(line.split()[0].partition("-")[2], 16) for line in maps if line.rstrip().endswith("[stack]")]
    except OSError:
        return 0, 0
    limit, _ = resource.getrlimit(resource.RLIMIT_STACK)
    size = USUAL if limit == resource.RLIM_INFINITY else min(limit, USUAL)
    if not ends or size <= ENOUGH:
        return 0, 0
    return ends[0] - size + ENOUGH, ends[0]
