"""Getting the GIL back soon where other threads compute.

Who loads modules or compiles gives the GIL away a thousand times, to read files and while LLVM works, and each time
gets it back when another thread has had it for the switch interval, of 5 ms. That is seconds, in which the program does
not get faster. So the interval is a short one meanwhile: what others compute takes no longer for that.
"""

from __future__ import annotations

import _thread
import sys

INTERVAL = 0.0002
"""In seconds."""


def hurry() -> float | None:
    """Has waiting threads get the GIL soon; what `rest` takes. None where there is but one thread, or they do
    already."""
    before = sys.getswitchinterval()
    if not _thread._count() or before < 2 * INTERVAL:
        return None
    sys.setswitchinterval(INTERVAL)
    return before


def rest(before: float | None) -> None:
    """Puts the interval back, if nobody else has changed it since."""
    if before is not None and abs(sys.getswitchinterval() - INTERVAL) < INTERVAL / 100:
        sys.setswitchinterval(before)
