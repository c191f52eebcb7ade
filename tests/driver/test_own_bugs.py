"""What a bug of ours does to a program: it is reported once, and the program goes on.

In: a program in a process of its own, in which a part of minijit is made to fail. Out: what it prints.
"""

from __future__ import annotations

import pytest

from conftest import RunPython

PROGRAM = """
import minijit
from minijit.driver import hot, offers

def fails(*_):
    raise ZeroDivisionError("planted")

{part} = fails

def f(n):
    s = 0
    for i in range(n):
        s += i & 3
    return s

minijit.enable(minijit.Config(threshold=100, deny="{deny}", call_threshold=5, loop_threshold=20))
if "{deny}":
    minijit.jit(f)
print([f(400) for _ in range(50)] == [600] * 50, minijit.is_enabled(), minijit.stats().entries)
minijit.disable()
"""


@pytest.mark.parametrize(
    ("part", "deny"),
    [
        ("hot.loop_kinds", ""),
        ("hot.loop_kinds", "*"),
        ("hot.call_kinds", "*"),
        ("offers.Offers.take_on", ""),
    ],
)
def test_is_reported_once(run_python: RunPython, part: str, deny: str) -> None:
    result = run_python(PROGRAM.format(part=part, deny=deny))
    assert result.stdout == "True False 0\n", result.stderr
    assert result.returncode == 0
    assert result.stderr.count("minijit is off: it has failed") == 1
    assert result.stderr.count("please report this bug in minijit:\nTraceback") == 1
    assert result.stderr.count("ZeroDivisionError: planted") == 1
