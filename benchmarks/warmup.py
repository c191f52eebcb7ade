"""Time a kernel's way from decorating to compiled, in this fresh process: `warmup.py minijit|numba NAME`.

Prints JSON: `imported`, the seconds of the import alone; `seconds` from decorating until compiled code
exists, the kernel's own calls on the way included; `calls`, how many those were. Importing is apart, since a
program pays it once; what a library imports lazily counts where it happens, which is in the first call.
"""

import importlib
import json
import sys
from collections.abc import Callable
from time import perf_counter
from types import ModuleType
from typing import Any

from kernels import named

GIVE_UP_AFTER = 5.0


def main() -> None:
    peer, name = sys.argv[1:]
    kernel = named(name)
    start = perf_counter()
    module = importlib.import_module(peer)
    imported = perf_counter() - start
    start = perf_counter()
    function = module.jit(kernel.function) if peer == "minijit" else module.njit(kernel.function)
    call = kernel.call(function)
    call()
    calls = 1
    while not is_compiled(module, function):
        if perf_counter() - start > GIVE_UP_AFTER:
            raise SystemExit(f"not compiled after {calls} calls")
        call()
        calls += 1
    print(json.dumps({"imported": imported, "seconds": perf_counter() - start, "calls": calls}))


def is_compiled(module: ModuleType, function: Callable[..., Any]) -> bool:
    """Ask minijit; numba has compiled when its first call returns."""
    return module.__name__ == "numba" or module.is_compiled(function)


if __name__ == "__main__":
    main()
