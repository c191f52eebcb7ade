"""The setting `limit`: only the first regions are compiled, and the last of them with its first passes."""

from __future__ import annotations

import pytest

from conftest import RunPython
from minijit.opt.pipeline import PASSES

PROGRAM = """
import minijit
from minijit.events import Aborted, AbortReason, Compiled

events = []
minijit.subscribe(events.append)

def functions():
    @minijit.jit
    def one(a):
        return a * 3 & 255

    @minijit.jit
    def two(a):
        return a + 0.5

    @minijit.jit
    def three(n):
        s = 0
        while s < n:
            s += 1
        return s

    return one, two, three

def run():
    for f in functions():
        for k in range(300):
            f(k)

run()
print("compiled:", *(event.function.split(".")[-1] for event in events if isinstance(event, Compiled)))
left_out = [event for event in events if isinstance(event, Aborted) and event.reason is AbortReason.LIMIT]
print("first left out:", *(f"{event.function.split('.')[-1]}, {event.detail.partition(',')[0]}" for event in left_out[:1]))
"""


@pytest.mark.parametrize(
    ("limit", "compiled", "left_out"),
    [
        ("0", "", "one, region 1"),
        ("1", "one", "two, region 2"),
        ("2:0", "one two", "three, region 3"),
        ("5", "one two three three", ""),
        ("", "one two three three", ""),
    ],
)
def test_so_many_regions_are_compiled(limit: str, compiled: str, left_out: str, run_python: RunPython) -> None:
    done = run_python(PROGRAM, env={"MINIJIT_LIMIT": limit})
    assert (done.returncode, done.stderr) == (0, "")
    lines = [f"compiled: {compiled}", f"first left out: {left_out}"]
    assert done.stdout.splitlines() == list(map(str.strip, lines))


@pytest.mark.parametrize("passes", [0, 3, len(PASSES), len(PASSES) + 5])
def test_the_last_has_so_many_passes(passes: int, run_python: RunPython) -> None:
    done = run_python(PROGRAM, env={"MINIJIT_LIMIT": f"2:{passes}", "MINIJIT_DUMP": "passes"})
    assert done.returncode == 0, done.stderr
    run = [line.removeprefix("---- after ") for line in done.stderr.splitlines() if line.startswith("---- after ")]
    names = [name for name, _ in PASSES]
    assert run == [*names, *names[:passes]]


def test_a_new_driver_counts_anew(run_python: RunPython) -> None:
    again = "\nminijit.disable()\nevents.clear()\nminijit.enable()\nrun()\n"
    told = 'print(*(event.function.split(".")[-1] for event in events if isinstance(event, Compiled)))'
    done = run_python(PROGRAM + again + told, env={"MINIJIT_LIMIT": "2"})
    assert done.stdout.splitlines()[-1] == "one two", done.stderr


def test_what_is_there_already_stays(run_python: RunPython) -> None:
    """A bridge is a compilation, too: where it is left out, the region without it goes on."""
    program = """
import minijit
@minijit.jit
def f(n):
    s = 0
    for k in range(n):
        s += 1 if k < 1000 else 2
    return s
assert [f(n) for n in (500, 900, 1070, 1040)] == [500, 900, 1140, 1080]
print(minijit.stats().compilations, minijit.stats(f).live_regions)
"""
    assert run_python(program, env={"MINIJIT_LIMIT": "1"}).stdout == "1 1\n"
