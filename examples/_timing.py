"""Run an example's kernel plain, and with `--jit` compiled as well, and compare.

In: a function and its arguments. Out: its result; both times, the speed-up and whether the results are
identical are printed. The plain run comes first, since `minijit.jit` changes how the very same function
object runs. The compiled run's time includes its warm-up: recording and compiling.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run[T]:
    """What one run gave, and how long it took."""

    result: T
    seconds: float


def parser(description: str) -> argparse.ArgumentParser:
    """Give an argument parser that knows `--jit`."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--jit", action="store_true", help="run plain first, then compiled, and compare")
    return made


def timed[T](work: Callable[[], T]) -> Run[T]:
    start = time.perf_counter()
    result = work()
    return Run(result, time.perf_counter() - start)


def compare[T](work: Callable[[], T], kernel: Callable[..., object], *, jit: bool) -> T:
    """Run `work`, which spends its time in `kernel`, plain and on request compiled; print the times."""
    plain = timed(work)
    print(f"interpreted {plain.seconds:9.3f} s")
    if jit:
        import minijit

        minijit.jit(kernel)
        report(plain, timed(work))
    return plain.result


def report[T](plain: Run[T], compiled: Run[T]) -> None:
    print(f"compiled    {compiled.seconds:9.3f} s   {plain.seconds / compiled.seconds:.1f} times as fast")
    if compiled.result != plain.result:
        raise SystemExit("the results differ")
    print("the results are identical")
