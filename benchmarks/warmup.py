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

import kernels
from kernels import named

GIVE_UP_AFTER = 5.0


def main() -> None:
    peer, name = sys.argv[1:]
    kernel = named(name)
    start = perf_counter()
    module = importlib.import_module(peer)
    imported = perf_counter() - start
    start = perf_counter()
    compiled = module.jit if peer == "minijit" else module.njit
    functions = [compiled(function) for function in (*kernel.helpers, kernel.function)]
    for function in functions:
        # Where they find each other.
        setattr(kernels, function.__name__, function)
    call = kernel.call(functions[-1])
    call()
    calls = 1
    while not is_compiled(module, functions):
        if perf_counter() - start > GIVE_UP_AFTER:
            raise SystemExit(f"not compiled after {calls} calls")
        call()
        calls += 1
    print(json.dumps({"imported": imported, "seconds": perf_counter() - start, "calls": calls}))


def is_compiled(module: ModuleType, functions: list[Callable[..., Any]]) -> bool:
    """Ask minijit, of helpers if there are some; numba has compiled when its first call returns."""
    return module.__name__ == "numba" or all(map(module.is_compiled, functions[:-1] or functions))


if __name__ == "__main__":
    main()
