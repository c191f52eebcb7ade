"""How one call is timed, everywhere alike.

In: a callable without arguments. Out: seconds per call. A call is repeated until one timing is long enough
for the clock and the machine's noise, 20 ms by default; the numbers of several such timings are the samples,
and medians of samples are what is compared. Runs on Python 3.9, since `kernels.py` does.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

AT_LEAST = 0.02
WARM_UP = 0.25


def seconds_per_call(call: Callable[[], Any], loops: int) -> float:
    start = perf_counter()
    for _ in range(loops):
        call()
    return (perf_counter() - start) / loops


def loops_for(call: Callable[[], Any], at_least: float = AT_LEAST) -> int:
    """Find how many calls take `at_least` seconds."""
    loops = 1
    while True:
        taken = seconds_per_call(call, loops) * loops
        if taken >= at_least:
            return loops
        # A tenth more than needed, and at most tenfold, since first calls may be slower than later ones.
        loops = max(loops + 1, min(loops * 10, int(1.1 * loops * at_least / max(taken, 1e-9))))


def warm(call: Callable[[], Any]) -> None:
    """Call until any JIT has compiled what it is going to compile."""
    end = perf_counter() + WARM_UP
    while perf_counter() < end:
        call()
