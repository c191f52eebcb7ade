"""pyperformance's programs of classes, with all their functions decorated, beside the same interpreted.

    python benchmarks/decorated.py [--rounds 3] [--benchmark NAME ...]

In: this interpreter, in which minijit and pyperformance are installed (`pip install 'minijit[costs]'`). Out: for each
benchmark the median time of both ways, in processes that take turns, and the ratio; in the end the geometric mean.

A benchmark's script is executed as a module whose `pyperf.Runner` only notes what is to be timed. Decorated is what the
module defines: its functions, and the methods and properties of its classes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import FunctionType
from typing import Any

NAMES = "float chaos raytrace richards deltablue hexiom go nbody spectral_norm".split()
WARM, TIMED = 5.0, 3.0
"""Seconds."""


class Noted(BaseException):
    """What the script wanted timed."""


class Runner:
    """Stands in for pyperf's."""

    def __init__(self, *_: object, **__: object) -> None:
        self.metadata: dict[str, object] = {}
        self.argparser = argparse.ArgumentParser()

    def parse_args(self) -> argparse.Namespace:
        return self.argparser.parse_args([])

    def bench_func(self, _name: str, function: Any, *arguments: object, **_: object) -> None:
        raise Noted(lambda: function(*arguments))

    def bench_time_func(self, _name: str, function: Any, *arguments: object, **_: object) -> None:
        raise Noted(lambda: function(1, *arguments))


def functions_of(namespace: dict[str, Any], module: str) -> list[FunctionType]:
    """All that a module defines."""
    found: list[FunctionType] = []
    for value in list(namespace.values()):
        if isinstance(value, type) and value.__module__ == module:
            for own in vars(value).values():
                parts = (own.fget, own.fset) if isinstance(own, property) else (getattr(own, "__func__", own),)
                found += [part for part in parts if isinstance(part, FunctionType)]
        elif isinstance(value, FunctionType) and value.__module__ == module:
            found.append(value)
    return found


def run(name: str, decorated: bool) -> None:
    """Prints the samples of one way, in seconds."""
    import pyperf

    pyperf.Runner = Runner
    sys.argv = [name]
    (root,) = importlib.util.find_spec("pyperformance").submodule_search_locations  # type: ignore[union-attr]
    path = Path(root, "data-files", "benchmarks", f"bm_{name}", "run_benchmark.py")
    namespace = {"__name__": "__main__", "__file__": str(path)}
    try:
        exec(compile(path.read_text(), str(path), "exec"), namespace)
    except Noted as noted:
        (work,) = noted.args
    if decorated:
        import minijit

        for function in functions_of(namespace, "__main__"):
            minijit.jit(function)
    samples: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < WARM + TIMED:
        began = time.perf_counter()
        work()
        if began - start > WARM or not samples:
            samples.append(time.perf_counter() - began)
    print(json.dumps(samples[1:] or samples))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--benchmark", nargs="*", default=NAMES)
    parser.add_argument("--way", choices=("plain", "decorated"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.way:
        run(chosen.benchmark[0], chosen.way == "decorated")
        return
    ratios = []
    for name in chosen.benchmark:
        samples: dict[str, list[float]] = {"plain": [], "decorated": []}
        for _ in range(chosen.rounds):
            for way, kept in samples.items():
                command = [sys.executable, __file__, "--way", way, "--benchmark", name]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                kept.extend(json.loads(done.stdout.splitlines()[-1]))
        plain, decorated = map(statistics.median, samples.values())
        ratios.append(plain / decorated)
        print(f"{name:<14} {1e3 * plain:8.2f} ms, decorated {1e3 * decorated:8.2f} ms, {ratios[-1]:6.2f} x", flush=True)
    print(f"geometric mean of {len(ratios)}: {statistics.geometric_mean(ratios):.2f}")


if __name__ == "__main__":
    main()
