"""Planted bugs, one for each stage, and how a process gets them.

    python planting.py BUG PROGRAM ARGUMENTS...

runs a program in a minijit that has the bug. What the tools must find out about each is in `BUGS`: the stage, and
whether the bug shows only with LLVM's passes.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from minijit.backend.lower_ops import LOWER
from minijit.build import numbers
from minijit.ir.region import Op, Region
from minijit.opt import pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.backend.lower import Emitter


def _replace_pass(name: str, run: Callable[[Region], Region]) -> None:
    pipeline.PASSES = tuple((known, run if known == name else old) for known, old in pipeline.PASSES)


def _bad_wrap() -> None:
    """Products wrap, masked or not."""
    from dataclasses import replace

    def changed(op: Op) -> Op:
        return Op("int_mul_wrap", op.args, op.result) if op.name == "int_mul" else op

    def wrap(region: Region) -> Region:
        return replace(region, blocks=tuple(replace(b, ops=tuple(map(changed, b.ops))) for b in region.blocks))

    _replace_pass("wrap", wrap)


def _bad_builder() -> None:
    numbers._INT_OPS["^"] = ("int_or", None)


def _bad_lowering() -> None:
    LOWER["int_mul"] = LOWER["int_mul_wrap"]


def _bad_for_llvm() -> None:
    """The sum is looked at to find out whether it has overflowed, after LLVM was told that it does not."""

    def lower(e: Emitter, op: Op) -> None:
        left, right = map(e.use, op.args)
        total = e.let(f"add nsw i64 {left}, {right}")
        e.leave_unless(e.let(f"icmp sge i64 {total}, {left}"), op)
        e.define(op, f"add i64 {total}, 0")

    LOWER["int_add"] = lower


def _crash() -> None:
    """A pass that ends the process when it meets a left shift."""
    old = dict(pipeline.PASSES)["count"]

    def count(region: Region) -> Region:
        if any(op.name == "int_lshift" for block in region.blocks for op in block.ops):
            os.kill(os.getpid(), signal.SIGSEGV)
        return old(region)

    _replace_pass("count", count)


@dataclass(frozen=True, slots=True)
class Bug:
    plant: Callable[[], Any]
    stage: str
    needs_llvm: bool = False


BUGS = {
    "none": Bug(lambda: None, ""),
    "wrap": Bug(_bad_wrap, "wrap"),
    "builder": Bug(_bad_builder, "build"),
    "lowering": Bug(_bad_lowering, "lower"),
    "llvm": Bug(_bad_for_llvm, "lower", needs_llvm=True),
    "crash": Bug(_crash, "count"),
}

PROGRAM = """
import sys
from minijit import jit

@jit
def harmless(n):
    s = 0.0
    while s < n:
        s += 0.5
    return s

@jit
def product(a, b):
    return a * b

@jit
def bits(a, b):
    return a ^ b

@jit
def total(n):
    s = 2**63 - 1000
    k = 0
    while k < n:
        k = k + 1
        s = s + 7
    return s

@jit
def shifted(a, b):
    return a << b

for k in range(60):
    values = harmless(k), product(k + 2**40, 3), bits(k, 5), total(100), shifted(k, 2), harmless(k + 0.5)
print(values, product(2**40, 2**40), bits(7, 5), total(300), *sys.argv[1:])
"""


def main(bug: str, program: str, *arguments: str) -> None:
    BUGS[bug].plant()
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
