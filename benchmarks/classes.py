"""The class kernels: interpreted, with all functions and methods decorated, and in C with structs.

    python benchmarks/classes.py [--rounds 7] [--kernel NAME ...]

In: this interpreter, in which minijit is installed; gcc, where there is one. Out: a table of medians, the speed-up over
the interpreter, and minijit's time over that of C. The contenders take turns round by round. Every result is compared
with the one that the kernel must give; the exit status is 1 if minijit gives another.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import class_kernels
import minijit
import peers
from decorated import functions_of
from run import cell, means, print_table
from timing import loops_for, seconds_per_call, warm

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

COMPILED = "compiled"
WARM_ROUNDS = 8


def compiled_module() -> ModuleType:
    """The kernels once more, as a module of their own, with all functions and methods decorated."""
    specification = importlib.util.spec_from_file_location(COMPILED, class_kernels.__file__)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[COMPILED] = module
    specification.loader.exec_module(module)
    for function in functions_of(vars(module), COMPILED):
        minijit.jit(function)
    return module


def twin(kernel: class_kernels.Kernel) -> Callable[..., Any] | None:
    """The C function; None where there is no compiler."""
    try:
        found = getattr(peers.twins("class_twins.c"), kernel.name)
    except peers.Unavailable:
        return None
    found.restype = peers.c_type(kernel.expected)
    found.argtypes = [peers.c_type(argument) for argument in kernel.arguments]
    return found  # type: ignore[no-any-return]


def measure(kernel: class_kernels.Kernel, module: ModuleType, rounds: int) -> tuple[dict[str, float], bool]:
    """The medians in seconds, and whether minijit gives what it must."""
    ways = {"interpreted": kernel.function, "minijit": getattr(module, kernel.name), "gcc": twin(kernel)}
    calls = {name: partial(function, *kernel.arguments) for name, function in ways.items() if function is not None}
    is_right = all(calls["minijit"]() == kernel.expected for _ in range(WARM_ROUNDS))
    loops = {}
    for name, call in calls.items():
        warm(call)
        assert name == "minijit" or call() == kernel.expected, f"{name} gives {call()!r} for {kernel.name}"
        loops[name] = loops_for(call)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            samples[name].append(seconds_per_call(call, loops[name]))
    is_right &= calls["minijit"]() == kernel.expected
    return {name: statistics.median(each) for name, each in samples.items()}, is_right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kernel", nargs="*", default=[kernel.name for kernel in class_kernels.KERNELS])
    chosen = parser.parse_args()
    module, lines, wrong = compiled_module(), [], []
    columns: list[list[float | None]] = [[], []]
    for kernel in class_kernels.KERNELS:
        if kernel.name not in chosen.kernel:
            continue
        found, is_right = measure(kernel, module, chosen.rounds)
        wrong += [kernel.name] * (not is_right)
        columns[0].append(found["interpreted"] / found["minijit"])
        columns[1].append(found["minijit"] / found["gcc"] if "gcc" in found else None)
        times = (found.get(name) for name in ("interpreted", "minijit", "gcc"))
        milliseconds = [cell(None if seconds is None else 1e3 * seconds, "{:.3f}") for seconds in times]
        lines.append([kernel.name, *milliseconds, cell(columns[0][-1], "{:.1f}"), cell(columns[1][-1])])
    head = ["kernel", "interpreted ms", "minijit ms", "gcc ms", "speed-up", "minijit/gcc"]
    print_table(head, lines + means(["", "", ""], columns))
    for name in wrong:
        print(f"{name}: minijit gives something else")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
