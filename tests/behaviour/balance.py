"""References and memory before and after many runs of compiled code."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence

SLACK = 200
"""So many blocks may be there more, or less: whatever else the process does."""


def stays(run: Callable[[int], object], first: int, times: int, held: Sequence[object]) -> None:
    """After the first rounds, many more leave as many blocks behind as there were, and as many references to what is
    held."""
    run(first)
    counts = [sys.getrefcount(each) for each in held]
    gc.collect()
    before = sys.getallocatedblocks()
    run(times)
    gc.collect()
    assert abs(sys.getallocatedblocks() - before) < SLACK
    assert [sys.getrefcount(each) for each in held] == counts
