"""minijit leaves nothing to the garbage collector: what it no longer needs is gone at once.

A program sees what is collected (`gc.callbacks`, `gc.garbage`, the numbers that `gc.collect` gives), and when.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import FunctionType

from isolated import isolated

sys.path.insert(0, str(Path(__file__).parents[1] / "oracle"))


@isolated
def test_no_garbage_in_cycles() -> None:
    """Drivers that come and go, regions that are compiled, killed and replaced, recordings that come to nothing."""
    from runs import Case, compare, warm_up

    for seed in range(60):
        case = Case(seed)
        warm_up(case.stress)
        gc.collect()  # what was loaded may have left something
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        compare(case)
        gc.collect()
        ours = [
            type(o).__qualname__
            for o in gc.garbage
            if "minijit" in type(o).__module__ or "ctypes" in type(o).__module__
        ]
        functions = [
            o.__qualname__ for o in gc.garbage if isinstance(o, FunctionType) and "minijit" in str(o.__module__)
        ]
        assert not ours + functions, (seed, ours, functions)
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
