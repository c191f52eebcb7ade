"""`MINIJIT=check`: it finds what is wrong in a plain program, and finds nothing where nothing is wrong.

In: programs that know nothing of minijit, run in processes that have a bug of the catalogue, or none. Out: what they
print, which is what they print without minijit, since the first wrong result is found and put right; and what is said on
standard error.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import ROOT, Completed, RunPython
from minijit.oracle.bisect import bisect

MUTATION = Path(__file__).with_name("mutation.py")
CHECK = {"MINIJIT": "check", "MINIJIT_STATS": "1", "MINIJIT_THRESHOLD": "900"}
ROUNDS = 25_000
"""Calls, of which the first 900 and some more are the interpreter's in any case."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A bug of the catalogue, a function with the arguments of its calls, and what is said of the first wrong call, in
    part."""

    mutant: str
    function: str
    arguments: str
    call: str
    interpreted: str
    compiled: str

    @property
    def program(self) -> str:
        return f"""
import math
def f({self.function}
def call(*arguments):
    try:
        return f(*arguments)
    except Exception as error:
        return type(error), error.args
for k in range({ROUNDS}):
    print(repr(call({self.arguments})))
"""


DIFFERENCES = {
    "value": Difference("floor-division-like-c", "a): return (a - 10**6) // 7", "k", r"f\(\d+\)", r"-\d+", r"-\d+"),
    "sign of zero": Difference("sign-of-zero", "x): return x % -1.0", "float(k % 9)", r"f\(\d.0\)", "-0.0", "0.0"),
    "type": Difference("bools-are-ints", "a): return (a > 3) | (a < 2)", "k % 6", r"f\(\d\)", "(True|False)", "[01]"),
    "an exception in place of a value": Difference(
        "locals-swapped",
        "a, b):\n    s = b * b\n    return s // b",
        "0, 3 + k % 2 * 2**40",
        r"f\(0, 1099511627779\)",
        "1099511627779",
        r"raised ZeroDivisionError\('integer division or modulo by zero'\) at line 5",
    ),
    "a value in place of an exception": Difference(
        "domain",
        "x): return math.exp(x) + 1.0",
        "2000.0 if k % 7 == 6 else 0.5",
        r"f\(2000.0\)",
        r"raised OverflowError\('math range error'\) at line 3",
        "inf",
    ),
}


def told(done: Completed) -> list[str]:
    """What was said, without the counters."""
    return [line for line in done.stderr.splitlines() if not line.startswith(("minijit: stats", "minijit: place"))]


def counted(done: Completed, name: str) -> int:
    found = re.search(rf" {name}=(\d+)", done.stderr)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("kind", DIFFERENCES)
def test_a_wrong_result_is_found(kind: str, tmp_path: Path, run_python: RunPython) -> None:
    wrong = DIFFERENCES[kind]
    path = tmp_path / "program.py"
    path.write_text(wrong.program)
    plain = run_python(path)
    found = run_python(MUTATION, wrong.mutant, path, env=CHECK)
    assert (found.returncode, found.stdout) == (0, plain.stdout)
    first, second, third, last = told(found)
    assert re.fullmatch(rf"minijit: difference in f \(.*program\.py:3\): {wrong.call}", first)
    assert re.fullmatch(rf"minijit:   interpreted: {wrong.interpreted}( \(\w+\))?, which the program gets", second)
    assert re.fullmatch(rf"minijit:   compiled:    {wrong.compiled}( \(\w+\))?, by f@0 for \([a-z, ]+\)", third)
    assert last.endswith("MINIJIT=1 python -m minijit bisect PROGRAM")
    assert counted(found, "differences") == 1


@pytest.mark.parametrize("kind", DIFFERENCES)
def test_nothing_is_found_where_nothing_is_wrong(kind: str, tmp_path: Path, run_python: RunPython) -> None:
    path = tmp_path / "program.py"
    path.write_text(DIFFERENCES[kind].program)
    plain, found = run_python(path), run_python(path, env=CHECK)
    assert (found.returncode, found.stdout) == (0, plain.stdout)
    assert told(found) == []
    assert counted(found, "checks") > 8


KERNELS = f"""
import sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
from kernels import KERNELS
for kernel in KERNELS:
    call = kernel.call(kernel.function)
    for _ in range(40):
        assert call() == kernel.expected, kernel
    if len(kernel.arguments) == 1 and kernel.driver is None:
        for size in range(1, min(300, kernel.arguments[0])):
            kernel.function(size)
"""


def test_nothing_is_found_in_the_kernels(run_python: RunPython) -> None:
    found = run_python(KERNELS, env=CHECK | {"MINIJIT_THRESHOLD": "100", "MINIJIT_COMPILE_SECONDS": "100"})
    assert (found.returncode, told(found)) == (0, [])
    assert counted(found, "checks") > 100


def test_bisect_finds_what_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the program prints differs in its runs, whatever the environment says."""
    wrong = DIFFERENCES["type"]
    path = tmp_path / "program.py"
    path.write_text(wrong.program)
    monkeypatch.setenv("MINIJIT", "check")
    monkeypatch.setenv("MINIJIT_THRESHOLD", CHECK["MINIJIT_THRESHOLD"])
    found = bisect([sys.executable, str(MUTATION), wrong.mutant, str(path)])
    assert found is not None
    assert (found.function, found.offset, found.stage) == ("f", 0, "build")
